//! How usual a destination is: the second half of the beacon detector, as necessary as the timing.
//!
//! Software calls home on timers all day. What sets a controller apart is whom nobody else calls,
//! who has no name, answers on an odd port, speaks what no protocol does, or shows a certificate
//! that it made itself. Each such oddity is worth points; each has a sentence. What is usual by
//! nature puts a ceiling on the severity, whatever the timing.

use std::net::IpAddr;

use crate::baseline::{DestinationKey, DestinationUse, User};
use crate::container::Container;
use crate::detect::known_services::{Additions, KnownService};
use crate::detect::{Seen, Severity};
use crate::event::{Certificate, IpProtocol, Protocol, Side, TlsFacts, Zone};
use crate::flow::Flow;
use crate::time::Timestamp;

use super::{Settings, names, ports};

/// Most that the destination adds to a score (points of 100).
pub(super) const POINTS_MAX: u32 = 40;

/// As many containers are told apart for a destination (count): it means as many or more.
const USERS_MAX: u32 = 64;

/// From this share of the containers on, use of a named destination is a workload's rather than an
/// intruder's (ratio; RITA lowers its score from 0.5 on).
const HALF: f64 = 0.5;

/// What the flows to a destination showed so far, together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traits {
    /// The protocol by content: a flow that just began has not shown it.
    pub app: Option<&'static Protocol>,
    /// The protocol that went over to that one: `pgsql` before TLS.
    pub outer: Option<&'static Protocol>,
    /// A flow's first bytes fit no protocol.
    pub unknown: bool,
    /// TLS without a server name.
    pub no_server_name: bool,
    /// TLS whose client offers no application protocol: scripts and implants more than products.
    pub no_alpn: bool,
    /// The certificate is signed by its own key.
    pub self_signed: bool,
    /// The certificate does not hold the name that the client asked for.
    pub wrong_name: bool,
    /// The certificate was not valid at the time.
    pub out_of_date: bool,
    /// The peer sent payload.
    pub answered: bool,
    /// All that the peer answered so far was of one size.
    pub alike: bool,
    /// The registrable domain of its name, and its address.
    pub place: Option<[DestinationKey; 2]>,
}

impl Traits {
    /// Only what it speaks.
    pub(super) fn protocol(&self) -> Self {
        Self { app: self.app, outer: self.outer, ..Self::default() }
    }

    /// Adds what one flow showed.
    pub(super) fn learn(&mut self, flow: &Flow) {
        self.app = flow.app.or(self.app);
        self.outer = flow.outer.or(self.outer);
        // What began before it was seen said what it is before.
        self.unknown |= flow.app_unknown && !flow.was_open_before();
        self.answered |= flow.payload_bytes(Side::Responder) > 0;
        if self.place.is_none() {
            let domain = |name| names::split(name).map_or(name, |(_, domain)| domain);
            self.place = name_of(flow).map(|name| {
                [DestinationKey::of_name(domain(name)), DestinationKey::of_ip(flow.responder.ip)]
            });
        }
        let Some(tls) = flow.facts.tls.as_deref() else {
            return;
        };
        self.no_server_name |= tls.sni.is_none();
        self.no_alpn |= tls.alpn_offered.is_empty();
        let Some(certificate) = tls.certificate.as_deref() else { return };
        let at = (flow.opened.nanos() / 1_000_000_000) as i64;
        self.self_signed |= certificate.self_signed;
        self.out_of_date |= at < certificate.not_before || at > certificate.not_after;
        self.wrong_name |= !holds_name(certificate, tls);
    }
}

/// The certificate is made out to the name that the client asked for, or it asked for none.
fn holds_name(certificate: &Certificate, tls: &TlsFacts) -> bool {
    let Some(asked) = tls.sni.as_deref() else { return true };
    if certificate.names.is_empty() {
        return true;
    }
    certificate.names.iter().any(|name| match name.strip_prefix("*.") {
        Some(parent) => {
            asked.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
        }
        None => name.eq_ignore_ascii_case(asked),
    })
}

/// The responder's name, unless it is its address in words.
pub(super) fn name_of(flow: &Flow) -> Option<&str> {
    flow.name.as_deref().filter(|name| !is_address(name))
}

/// No top-level domain ends in a digit (RFC 3696, section 2), so a host that does is an address.
fn is_address(name: &str) -> bool {
    name.bytes().last().is_none_or(|last| last.is_ascii_digit()) || name.contains(':')
}

/// Whether a flow's destination could be a controller at all; what can not is never watched.
pub(super) fn is_watched(flow: &Flow, zone: Zone) -> bool {
    let by_nature = matches!(
        flow.app.map(|app| app.name),
        Some("dns" | "mdns" | "llmnr" | "nbns" | "ntp" | "dhcp" | "ssdp")
    );
    match zone {
        _ if by_nature || is_local_broadcast(flow) => false,
        Zone::External => true,
        // Inside, a name or a protocol on its own port is how services call each other.
        Zone::Cluster => {
            let port = flow.responder.port;
            let usual = flow.app.map(|app| ports::is_usual(app, port).unwrap_or(true));
            name_of(flow).is_none() && usual != Some(true)
        }
        Zone::Host | Zone::LinkLocal | Zone::Group => false,
    }
}

/// A datagram to the last address of a private /24: discovery, whatever the network's size.
fn is_local_broadcast(flow: &Flow) -> bool {
    flow.protocol == IpProtocol::UDP
        && matches!(flow.responder.ip, IpAddr::V4(ip) if ip.is_private() && ip.octets()[3] == 255)
}

/// One oddity.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Oddity {
    /// What it is worth.
    pub points: u32,
    /// What it is, after "the destination".
    pub says: String,
}

/// How a destination stands among the others.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// What is odd about it, the weightiest first.
    pub oddities: Vec<Oddity>,
    /// No finding about it is more severe than this.
    pub ceiling: Severity,
    /// Innocent explanations and what speaks for each.
    pub against: Vec<String>,
    /// Containers of the node that use it, answered and repeatedly (count); 64 means 64 or more.
    pub containers: u32,
    /// Containers of the node that have been there long enough to use it so, or do (count).
    pub old_containers: u32,
    /// Containers of the node (count).
    pub node_containers: u32,
    /// First flow to it from this container.
    pub first_used: Timestamp,
    /// The same in seconds since the container was first seen.
    pub first_used_after_s: f64,
    /// It was in use before it was seen: a name that nobody was seen to ask for is no oddity, nor
    /// is a first use that is none.
    pub used_before: bool,
}

impl Standing {
    /// Points for all oddities together.
    pub(super) fn points(&self) -> u32 {
        self.oddities.iter().map(|oddity| oddity.points).sum::<u32>().min(POINTS_MAX)
    }

    /// Most that it allows: `ceiling`, with a reason.
    pub(super) fn cap(&mut self, ceiling: Severity, why: impl Into<String>) {
        self.ceiling = self.ceiling.min(ceiling);
        self.against.push(why.into());
    }

    /// Adds an oddity.
    pub(super) fn odd(&mut self, points: u32, says: impl Into<String>) {
        self.oddities.push(Oddity { points, says: says.into() });
    }

    /// What node and container know of a destination that is called each `period_s`, before its
    /// nature is looked at.
    pub(super) fn of_key(
        seen: &Seen<'_>,
        key: DestinationKey,
        (first_beat, period_s): (Timestamp, f64),
        settings: &Settings,
    ) -> Self {
        let used = seen.node.destinations.get(key);
        let suspected = used.and_then(|used| used.suspected_since(seen.at));
        // Who was answered a few times: a packet in a sibling's name makes no habit of its. And who
        // was before there was a finding: what takes one container after the other is no heartbeat.
        let others = used.map_or(0, |used| {
            let others = used.others(seen.container.number);
            let own = |user: &&User| {
                user.exchanges >= settings.sibling_exchanges_min
                    && suspected.is_none_or(|since| user.first <= since)
            };
            others.filter(own).count()
        });
        let containers = (others as u32 + 1).min(USERS_MAX);
        let node_containers = seen.node.containers().max(containers);
        // Who is too young to have made as many calls does not count.
        let age_s = period_s * f64::from(settings.sibling_exchanges_min.saturating_add(1));
        let born_ns = seen.at.nanos().saturating_sub((age_s * 1e9) as u64);
        let old = seen.node.containers_since(Timestamp::from_nanos(born_ns));
        let own = seen.container.destinations.get(key);
        let first_used = own.map_or(first_beat, |used| used.first_seen);
        let mut standing = Self {
            oddities: Vec::new(),
            ceiling: Severity::Critical,
            against: Vec::new(),
            containers,
            old_containers: old.max(containers),
            node_containers,
            first_used,
            first_used_after_s: first_used.seconds_since(seen.container.first_seen),
            used_before: own.is_some_and(DestinationUse::was_used_before),
        };
        if node_containers >= settings.siblings_min && containers == 1 {
            standing
                .odd(6, format!("is used by no other of the node's {node_containers} containers"));
        }
        let age_s = standing.first_used_after_s;
        if age_s >= settings.new_after_s && !standing.used_before {
            standing
                .odd(4, format!("was first used {age_s:.0} s after the container was first seen"));
        }
        standing
    }

    /// What nearly every container does is a heartbeat; what half of them do is likely one, to a name.
    /// What fewer do is none: several may be taken at once.
    pub(super) fn excuse_heartbeat(&mut self, named: bool, settings: &Settings) {
        let Self { containers, old_containers: old, .. } = *self;
        let share = f64::from(containers) / f64::from(old.max(1));
        let ceiling = if share >= settings.siblings_share || containers >= USERS_MAX {
            Severity::Info
        } else if named && containers >= settings.siblings_min && share >= HALF {
            Severity::Low
        } else {
            return;
        };
        if old >= settings.siblings_min {
            self.cap(
                ceiling,
                format!(
                    "{containers} of the {old} containers that have called anybody for long enough use it: \
                     a heartbeat of a workload, unless all are taken"
                ),
            );
        }
    }

    /// Of a flow's responder.
    pub(super) fn of_flow(
        seen: &Seen<'_>,
        traits: &Traits,
        beats: (Timestamp, f64),
        settings: &Settings,
    ) -> Self {
        let flow = seen.flow;
        let mut standing = Self::of_key(seen, DestinationKey::of_flow(flow), beats, settings);
        let name = name_of(flow);
        match name {
            Some(name) => standing.judge_name(seen, name, &settings.known_services),
            None if standing.used_before => {}
            None if seen.peer_zone() == Zone::External => {
                let points = if seen.container.names.is_empty() { 12 } else { 14 };
                standing
                    .odd(points, "has no name: the container got its address from no DNS answer");
            }
            None => standing
                .odd(4, "has a private address and no name, though a cluster's services have one"),
        }
        let usual = standing.judge_protocol(flow, traits);
        // An address alone on a port of its own is what an implant carries along.
        if name.is_some() || usual == Some(true) {
            standing.excuse_heartbeat(name.is_some(), settings);
        }
        if seen.peer_zone() != Zone::External {
            standing.judge_inside(seen, traits);
        }
        standing.oddities.sort_by_key(|oddity| std::cmp::Reverse(oddity.points));
        standing
    }

    fn judge_name(&mut self, seen: &Seen<'_>, name: &str, known: &Additions) {
        let Some(service) = known.find(name) else {
            self.odd(8, format!("`{name}` is on no list of known services"));
            return;
        };
        // The client writes the name into its greeting; where DNS says otherwise, it lies.
        let resolved = seen.container.names.of(seen.at, seen.flow.responder.ip);
        if let Some(resolved) = resolved.filter(|resolved| known.find(resolved).is_none()) {
            self.odd(14, format!("calls itself `{name}`, and DNS calls its address `{resolved}`"));
            return;
        }
        let KnownService { entry, category, carries_strangers } = service;
        if carries_strangers {
            self.cap(
                Severity::Low,
                format!("`{entry}` is a known service ({category}), which can carry a stranger's content"),
            );
        } else {
            self.cap(Severity::Info, format!("`{entry}` is a known service ({category})"));
        }
    }

    /// Returns whether what it speaks is on its usual port.
    fn judge_protocol(&mut self, flow: &Flow, traits: &Traits) -> Option<bool> {
        let app = flow.app.or(traits.app);
        if app.is_none() && traits.unknown {
            self.odd(8, "speaks no known protocol");
        }
        let port = flow.responder.port;
        // What went over to TLS is known by what it was before.
        let tls = app.is_some_and(|app| app.name == "tls");
        let outer = traits.outer.filter(|outer| tls && ports::is_usual(outer, port).is_some());
        let spoken = outer.or(app);
        let usual = spoken.and_then(|spoken| ports::is_usual(spoken, port));
        let name = spoken.map_or("", |spoken| spoken.name);
        if usual == Some(false) {
            self.odd(4, format!("speaks {name} on port {port}"));
        }
        for (shows, points, says) in [
            (traits.self_signed, 8, "shows a certificate that it signed itself"),
            (traits.no_server_name, 6, "is asked for no server name in TLS"),
            (traits.wrong_name, 6, "shows a certificate for another name"),
            (traits.out_of_date, 4, "shows a certificate that is out of date"),
            (traits.no_alpn, 2, "is called by a TLS client that offers no application protocol"),
        ] {
            if shows {
                self.odd(points, says);
            }
        }
        // What carries anything, on its port, says nothing about what it carries.
        let carries = matches!(name, "tls" | "http" | "websocket" | "quic" | "http2");
        // A server of one's own has a name, or stands inside; an intruder's need not.
        let known = name_of(flow).is_some() || Zone::of(flow.responder.ip) != Zone::External;
        if usual == Some(true) && !carries && known {
            self.cap(
                Severity::Low,
                format!("{name} on port {port} polls and keeps alive by nature"),
            );
        }
        // A port alone proves nothing: there has to be a name, nothing odd, and no orders.
        let odd = traits.self_signed
            || traits.no_server_name
            || traits.wrong_name
            || traits.out_of_date
            || name_of(flow).is_none();
        if tls
            && outer.is_none()
            && !odd
            && traits.alike
            && let Some(service) = ports::tls_service(port)
        {
            self.cap(
                Severity::Low,
                format!("port {port} is that of {service} in TLS, and all answers so far are alike: no orders"),
            );
        }
        usual
    }

    fn judge_inside(&mut self, seen: &Seen<'_>, traits: &Traits) {
        let ip = seen.flow.responder.ip;
        let place = match Zone::of(ip) {
            Zone::Cluster => "the destination has a private address",
            _ => "the destination is in a network of the configuration",
        };
        let why = if seen.flow.app.or(traits.app).is_some() {
            "speaks a known protocol"
        } else if !traits.answered {
            "never answers: metrics or logs"
        } else if traits.alike {
            "its answers are all alike: a heartbeat, no orders"
        } else if same_network(seen.container, ip) {
            "is a neighbour: in the container's own /16 (IPv6: /64) or Kubernetes' service range"
        } else {
            return;
        };
        self.cap(Severity::Low, format!("{place} and {why}"));
    }
}

/// In the same /16 (IPv6: /64) as one of the container's addresses, or in the range that Kubernetes
/// gives services by default (10.96.0.0/12, kubeadm).
fn same_network(container: &Container, ip: IpAddr) -> bool {
    let near = |own: &IpAddr| match (own, ip) {
        (IpAddr::V4(own), IpAddr::V4(ip)) => own.octets()[..2] == ip.octets()[..2],
        (IpAddr::V6(own), IpAddr::V6(ip)) => own.octets()[..8] == ip.octets()[..8],
        _ => false,
    };
    let service = matches!(ip, IpAddr::V4(ip) if matches!(ip.octets(), [10, 96..=111, ..]));
    service || container.addresses.iter().any(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_name() {
        for (name, expected) in [
            ("203.0.113.9", true),
            ("2001:db8::1", true),
            ("", true),
            ("c2.example", false),
            ("10-0-0-1.pods.example", false),
        ] {
            assert_eq!(is_address(name), expected, "{name}");
        }
    }

    #[test]
    fn a_certificate_holds_names_and_one_level_of_wildcards() {
        for (names, sni, expected) in [
            (&["a.example"][..], Some("a.example"), true),
            (&["*.example.org"], Some("a.example.org"), true),
            (&["*.example.org"], Some("b.a.example.org"), false),
            (&["localhost"], Some("a.example"), false),
            (&[], Some("a.example"), true),
            (&["localhost"], None, true),
        ] {
            let certificate = Certificate {
                names: names.iter().map(|name| (*name).into()).collect(),
                ..Certificate::default()
            };
            let tls = TlsFacts { sni: sni.map(Into::into), ..TlsFacts::default() };
            assert_eq!(holds_name(&certificate, &tls), expected, "{names:?} {sni:?}");
        }
    }
}
