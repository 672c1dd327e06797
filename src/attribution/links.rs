//! The interfaces of this network namespace, as the kernel tells of them.
//!
//! A veth's other end is found by its peer's index and namespace (`IFLA_LINK`, `IFLA_LINK_NETNSID`);
//! no name is parsed. Needs no privilege.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Route, is_lost};

/// `RTNLGRP_LINK` of linux/rtnetlink.h.
const RTNLGRP_LINK: u32 = 1;
/// Datagrams that are read before the caller gets its turn (count).
const BATCH: usize = 256;
/// Longest interface name that the kernel has (bytes), for the strings that we keep.
const NAME_BYTES: usize = 15;

/// What an interface is, by the kernel's `IFLA_INFO_KIND`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LinkKind {
    /// One end of a virtual cable.
    Veth,
    /// As a veth, steered by eBPF (Cilium).
    Netkit,
    /// A switch.
    Bridge,
    /// A second address on another interface, which its frames leave by directly.
    Macvlan,
    /// As macvlan, with the same link address.
    Ipvlan,
    /// An overlay's tunnel.
    Vxlan,
    /// A tunnel, of which the kernel does not tell by which namespace it sends.
    Wireguard,
    /// An interface whose other end is a program (user-mode networks, virtual machines).
    Tun,
    /// Goes nowhere.
    Dummy,
    /// This host to itself.
    Loopback,
    /// Hardware, or a virtual function of it (SR-IOV): no kind, or a device behind it.
    Physical,
    /// Another kind, as the kernel calls it.
    Other(String),
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Veth => "veth",
            Self::Netkit => "netkit",
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Vxlan => "vxlan",
            Self::Wireguard => "wireguard",
            Self::Tun => "tun",
            Self::Dummy => "dummy",
            Self::Loopback => "loopback",
            Self::Physical => "physical",
            Self::Other(name) => name,
        })
    }
}

/// An interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its number in this namespace: what a capture is opened with.
    pub index: u32,
    /// Its name, for people; it can change.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Set up by its owner (`IFF_UP`).
    pub up: bool,
    /// Works: it is up and its other end is too (`IFF_RUNNING`).
    pub running: bool,
    /// Index of the bridge or bond that it belongs to.
    pub master: Option<u32>,
    /// Index of its other end, or of the interface below it, in that one's namespace.
    pub peer_index: Option<u32>,
    /// Number that this namespace has for the namespace of its other end. Absent: in this one.
    pub peer_nsid: Option<i32>,
}

impl Link {
    /// The host's side of a container's interface: a virtual cable into another network namespace.
    ///
    /// Macvlan, ipvlan and moved hardware have no such side; a tap stands in the namespace of the
    /// program behind it; what has its lower interface elsewhere (`peer_nsid` on other kinds) is a
    /// container's way out, not ours.
    pub const fn is_container_side(&self) -> bool {
        matches!(self.kind, LinkKind::Veth | LinkKind::Netkit) && self.peer_nsid.is_some()
    }

    pub(super) fn of(message: LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            kind: LinkKind::Physical,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Running),
            master: None,
            peer_index: None,
            peer_nsid: None,
        };
        let mut hardware = false;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => {
                    link.name = name.chars().take(NAME_BYTES).collect();
                }
                LinkAttribute::Controller(master) => link.master = Some(master),
                LinkAttribute::Link(peer) if peer != 0 => link.peer_index = Some(peer),
                // Negative: the kernel could not give it a number.
                LinkAttribute::LinkNetNsId(nsid) if nsid >= 0 => link.peer_nsid = Some(nsid),
                // InfiniBand, modems and switch chips have a kind and are hardware all the same.
                LinkAttribute::ParentDevName(_) => hardware = true,
                LinkAttribute::LinkInfo(infos) => {
                    let kind = infos.into_iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind),
                        _ => None,
                    });
                    link.kind = kind.map_or(LinkKind::Physical, kind_of);
                }
                _ => {}
            }
        }
        if hardware {
            link.kind = LinkKind::Physical;
        }
        if flags.contains(LinkFlags::Loopback) {
            link.kind = LinkKind::Loopback;
        }
        link
    }
}

fn kind_of(kind: InfoKind) -> LinkKind {
    match kind {
        InfoKind::Veth => LinkKind::Veth,
        InfoKind::Netkit => LinkKind::Netkit,
        InfoKind::Bridge => LinkKind::Bridge,
        InfoKind::MacVlan | InfoKind::MacVtap => LinkKind::Macvlan,
        InfoKind::IpVlan | InfoKind::IpVtap => LinkKind::Ipvlan,
        InfoKind::Vxlan => LinkKind::Vxlan,
        InfoKind::Wireguard => LinkKind::Wireguard,
        InfoKind::Tun => LinkKind::Tun,
        InfoKind::Dummy => LinkKind::Dummy,
        other => LinkKind::Other(other.to_string().chars().take(NAME_BYTES).collect()),
    }
}

/// What happened to an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LinkEvent {
    /// It is there.
    Appeared(Link),
    /// Something about it changed: up, name, master, other end.
    Changed(Link),
    /// It is gone: deleted, or moved to another namespace.
    Vanished(Link),
}

/// The interfaces, kept up to date.
pub struct LinkMonitor {
    events: Route,
    requests: Route,
    links: BTreeMap<u32, Link>,
    /// Messages that could not be read (count).
    pub unread: u64,
    /// Times that the kernel had dropped events, so that all was read anew (count).
    pub lost: u64,
}

impl LinkMonitor {
    /// Listens, then reads what is there.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        let mut monitor = Self {
            events: Route::open(&[RTNLGRP_LINK])?,
            requests: Route::open(&[])?,
            links: BTreeMap::new(),
            unread: 0,
            lost: 0,
        };
        monitor.read_anew()?;
        Ok(monitor)
    }

    /// The interfaces by index.
    pub const fn links(&self) -> &BTreeMap<u32, Link> {
        &self.links
    }

    /// What happened, waiting `at_most` for something to happen. After lost events everything is
    /// read anew, and what differs is told.
    ///
    /// # Errors
    /// The kernel's socket fails.
    pub fn wait(&mut self, at_most: Duration) -> io::Result<Vec<LinkEvent>> {
        let mut told = Vec::new();
        if !self.events.wait(at_most)? {
            return Ok(told);
        }
        for _ in 0..BATCH {
            match self.events.receive() {
                Ok((messages, unread)) => {
                    self.unread += u64::from(unread);
                    for message in messages {
                        if let NetlinkPayload::InnerMessage(message) = message.payload {
                            self.hear(message, &mut told);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_lost(&error) => {
                    self.lost += 1;
                    told.extend(self.read_anew()?);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    fn hear(&mut self, message: RouteNetlinkMessage, told: &mut Vec<LinkEvent>) {
        match message {
            // Bridges tell of their ports by the same messages: leaving a bridge is no end.
            RouteNetlinkMessage::NewLink(message) if is_plain(&message) => {
                self.put(Link::of(message), told);
            }
            RouteNetlinkMessage::DelLink(message) if is_plain(&message) => {
                let Some(link) = self.links.remove(&message.header.index) else { return };
                let index = link.index;
                told.push(LinkEvent::Vanished(link));
                self.look_at_peers_of(index, told);
            }
            _ => {}
        }
    }

    /// The kernel does not tell that a cable's other end has moved to another namespace: it tells
    /// that the other end is gone from this one.
    fn look_at_peers_of(&mut self, index: u32, told: &mut Vec<LinkEvent>) {
        let peers: Vec<u32> = self
            .links
            .values()
            .filter(|link| link.peer_index == Some(index) && link.peer_nsid.is_none())
            .map(|link| link.index)
            .collect();
        for peer in peers {
            let mut request = LinkMessage::default();
            request.header.index = peer;
            let answers = self.requests.request(RouteNetlinkMessage::GetLink(request));
            for answer in answers.unwrap_or_default() {
                if let RouteNetlinkMessage::NewLink(message) = answer {
                    self.put(Link::of(message), told);
                }
            }
        }
    }

    fn put(&mut self, link: Link, told: &mut Vec<LinkEvent>) {
        match self.links.insert(link.index, link.clone()) {
            None => told.push(LinkEvent::Appeared(link)),
            Some(before) if before != link => told.push(LinkEvent::Changed(link)),
            Some(_) => {}
        }
    }

    /// Reads all links, and tells what differs from what was known.
    fn read_anew(&mut self) -> io::Result<Vec<LinkEvent>> {
        let (found, unread) = dump(&mut self.requests, None)?;
        self.unread += u64::from(unread);
        let mut told = Vec::new();
        let gone: Vec<u32> = self
            .links
            .keys()
            .filter(|index| !found.iter().any(|link| link.index == **index))
            .copied()
            .collect();
        for index in gone {
            told.extend(self.links.remove(&index).map(LinkEvent::Vanished));
        }
        for link in found {
            self.put(link, &mut told);
        }
        Ok(told)
    }
}

fn is_plain(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

/// All links of this namespace, or of the one that has this number here (needs `NET_ADMIN` over
/// that one); and how many could not be read.
pub(super) fn dump(route: &mut Route, nsid: Option<i32>) -> io::Result<(Vec<Link>, u32)> {
    let mut request = LinkMessage::default();
    request.attributes.extend(nsid.map(LinkAttribute::IfNetnsId));
    let (answers, unread) = route.dump(RouteNetlinkMessage::GetLink(request))?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(Link::of(message)),
        _ => None,
    });
    Ok((links.collect(), unread))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel tells of a link: `kind` by its driver, `parent` the device behind it.
    fn told(kind: Option<InfoKind>, parent: Option<&str>) -> Link {
        let mut message = LinkMessage::default();
        let attributes = &mut message.attributes;
        attributes.extend(kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])));
        attributes.extend(parent.map(|parent| LinkAttribute::ParentDevName(parent.to_owned())));
        Link::of(message)
    }

    #[test]
    fn what_has_a_device_behind_it_is_hardware() {
        use LinkKind::{Netkit, Other, Physical};
        for (case, kind, parent, expected) in [
            ("a virtual function", None, Some("0000:01:10.0"), Physical),
            ("hardware before Linux 5.14", None, None, Physical),
            ("InfiniBand", Some(InfoKind::Ipoib), Some("0000:02:00.0"), Physical),
            ("netkit", Some(InfoKind::Netkit), None, Netkit),
            ("a VLAN", Some(InfoKind::Vlan), None, Other("vlan".to_owned())),
        ] {
            assert_eq!(told(kind, parent).kind, expected, "{case}");
        }
    }
}
