//! How well a container is seen: by the ways out of its network namespace.

use std::collections::BTreeSet;
use std::fmt;

use super::super::links::{Link, LinkKind};

/// Why the traffic of a container, or a part of it, passes no interface of ours.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Unseen {
    /// It uses the host's network.
    HostNetwork,
    /// Its interface is a macvlan.
    Macvlan,
    /// Its interface is an ipvlan.
    Ipvlan,
    /// Its interface is hardware, or a virtual function of it.
    Physical,
    /// A program carries its traffic (slirp4netns, pasta).
    UserMode,
    /// The other end of its interface stands in a third namespace (nested containers).
    Elsewhere,
    /// The same, and it was seen here before.
    Moved,
    /// Its interface sends by one of another namespace: a VLAN of the host's, a tunnel that was moved in.
    Stacked,
}

impl Unseen {
    /// As records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostNetwork => "host_network",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Physical => "physical",
            Self::Stacked => "stacked",
            Self::UserMode => "user_mode",
            Self::Elsewhere => "elsewhere",
            Self::Moved => "moved",
        }
    }

    /// For people.
    pub const fn why(self) -> &'static str {
        match self {
            Self::HostNetwork => {
                "it uses the host's network: its traffic is not told from the host's"
            }
            Self::Macvlan => "its macvlan sends past the host's interfaces",
            Self::Ipvlan => "its ipvlan sends past the host's interfaces",
            Self::Physical => {
                "its interface is hardware or a virtual function (SR-IOV) and bypasses the host"
            }
            Self::Stacked => {
                "its interface (a VLAN, a tunnel) sends by one of another namespace, as that one's traffic"
            }
            Self::UserMode => {
                "a program carries its traffic (user-mode network): it leaves as the host's own"
            }
            Self::Elsewhere => {
                "its interface ends in another namespace (a nested container, or it was moved \
                 there): it is seen at most as the outer container's"
            }
            Self::Moved => {
                "the host's side of its interface was here, and was moved to another namespace"
            }
        }
    }
}

/// How well a container is seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Coverage {
    /// All its traffic passes interfaces of ours.
    Seen,
    /// It is a container within another, by whose interface its traffic passes: it is seen as that one's.
    Nested,
    /// It has further interfaces that are not seen.
    Partial(Vec<Unseen>),
    /// The host's side of its interface is down: nothing passes.
    Down,
    /// It has no interface but loopback: there is nothing to see.
    NoInterface,
    /// Its traffic is not seen.
    Unseen(Unseen),
    /// That could not be found out, and why.
    Unknown(String),
    /// It is not listed any more, and why.
    Gone(&'static str),
}

impl Coverage {
    /// As records write it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Nested => "nested",
            Self::Partial(_) => "partial",
            Self::Down => "interface_down",
            Self::NoInterface => "no_interface",
            Self::Unseen(unseen) => unseen.as_str(),
            Self::Unknown(_) => "unknown",
            Self::Gone(_) => "gone",
        }
    }

    /// Traffic of this container may pass that is not seen.
    pub const fn is_blind(&self) -> bool {
        !matches!(self, Self::Seen | Self::Nested | Self::NoInterface | Self::Gone(_))
    }
}

/// Why, for people.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen => f.write_str("all its traffic passes this host's interfaces"),
            Self::Nested => f.write_str(
                "its traffic passes the interface of the container around it, and is seen as that one's",
            ),
            Self::Partial(unseen) => {
                f.write_str("part of its traffic is seen: ")?;
                for (place, unseen) in unseen.iter().enumerate() {
                    let semicolon = if place > 0 { "; " } else { "" };
                    write!(f, "{semicolon}{}", unseen.why())?;
                }
                Ok(())
            }
            Self::Down => f.write_str("the host's side of its interface is down"),
            Self::NoInterface => f.write_str("it has no interface but loopback: nothing to see"),
            Self::Unseen(unseen) => f.write_str(unseen.why()),
            Self::Unknown(why) => f.write_str(why),
            Self::Gone(why) => f.write_str(why),
        }
    }
}

/// What could be read of the links inside a namespace.
#[derive(Clone, Debug)]
pub(in crate::attribution) enum Inside {
    /// Its links.
    Links(Vec<Link>),
    /// Only whether there is one besides loopback, and why no more.
    Any(bool, String),
    /// Nothing, and why.
    Unread(String),
}

/// How well a container is seen, by its links on the host and those inside its namespace; `past` are
/// the indices of those inside whose other end was here once, and `hosts` says that it has containers of its own.
pub(in crate::attribution) fn judge(
    on_host: &[&Link],
    inside: &Inside,
    past: &BTreeSet<u32>,
    hosts: bool,
) -> Coverage {
    let unseen = match inside {
        Inside::Links(links) => unseen_of(on_host, links, past, hosts),
        Inside::Any(false, _) if on_host.is_empty() => return Coverage::NoInterface,
        Inside::Any(_, why) | Inside::Unread(why) if on_host.is_empty() => {
            return Coverage::Unknown(why.clone());
        }
        // Its cable is seen. Whether there is another interface is not known.
        Inside::Any(..) | Inside::Unread(_) => BTreeSet::new(),
    };
    match (on_host.is_empty(), unseen.first()) {
        (true, Some(first)) => Coverage::Unseen(*first),
        (true, None) => Coverage::NoInterface,
        (false, _) if on_host.iter().all(|link| !link.up) => Coverage::Down,
        (false, None) => Coverage::Seen,
        (false, Some(_)) => Coverage::Partial(unseen.into_iter().collect()),
    }
}

/// Ways out of a namespace that pass no link of ours.
fn unseen_of(
    on_host: &[&Link],
    inside: &[Link],
    past: &BTreeSet<u32>,
    hosts: bool,
) -> BTreeSet<Unseen> {
    // What a container within sends leaves by our cable (Docker in Docker, kind).
    let leads_within = |link: &Link| !on_host.is_empty() && (hosts || link.master.is_some());
    let goes_outside = |link: &Link| link.peer_nsid.is_some();
    let ways = inside.iter().filter(|link| link.up).filter_map(|link| match link.kind {
        LinkKind::Macvlan if goes_outside(link) => Some(Unseen::Macvlan),
        LinkKind::Ipvlan if goes_outside(link) => Some(Unseen::Ipvlan),
        LinkKind::Physical => Some(Unseen::Physical),
        // Beside a cable these are tunnels that are carried by it.
        LinkKind::Tun if on_host.is_empty() => Some(Unseen::UserMode),
        LinkKind::Wireguard if on_host.is_empty() => Some(Unseen::Stacked),
        LinkKind::Veth | LinkKind::Netkit if goes_outside(link) => {
            let ours = on_host.iter().any(|host| host.peer_index == Some(link.index));
            let moved = past.contains(&link.index);
            let away = if moved { Unseen::Moved } else { Unseen::Elsewhere };
            (!ours && (moved || !leads_within(link))).then_some(away)
        }
        _ => goes_outside(link).then_some(Unseen::Stacked),
    });
    ways.collect()
}
