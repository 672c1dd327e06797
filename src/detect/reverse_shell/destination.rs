//! The other end of a flow: what is odd about it and what is not. A weight, never a cause.

use std::net::IpAddr;

use super::{Channel, Settings};
use crate::baseline::DestinationKey;
use crate::detect::Seen;
use crate::event::Zone;

/// What the node's containers use for less time than this explains nothing (seconds): replicas that
/// are taken together call the same new name together.
const FAMILIAR_S: f64 = 3_600.0;

/// What is known about the other end. Never a cause, only a weight.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) external: bool,
    pub(super) name: Option<String>,
    /// The entry of the list of known services that its name is under, where the container got
    /// the peer's address by that name.
    pub(super) known: Option<String>,
    pub(super) self_signed: Option<bool>,
    /// TLS on another port than its usual ones, or no known protocol at all.
    pub(super) unusual_port: bool,
    /// The flow is older than the capture: what it began with, and what asked for its name, is unknown.
    pub(super) older: bool,
    /// This is the container's first flow to it.
    pub(super) first_seen: bool,
    /// Containers of the node that use it, this one included (count; 64 or 65 mean as many or more).
    pub(super) siblings: u8,
    /// That they use it explains it: enough of them do, it has a name, the node knew it long before
    /// this flow, and no finding was about it lately.
    pub(super) shared: bool,
}

impl Destination {
    pub(super) fn of(seen: &Seen<'_>, channel: Channel, settings: &Settings) -> Self {
        let flow = seen.flow;
        let key = DestinationKey::of_flow(flow);
        let tls = flow.facts.tls.as_deref();
        let certificate = tls.and_then(|tls| tls.certificate.as_deref());
        let usual: &[u16] = match channel {
            Channel::Tls => &[443, 465, 636, 853, 993, 995, 5671, 6443, 8443, 8883],
            Channel::Ssh => &[22, 2222],
            Channel::Upgraded => &[80, 443, 8080],
            Channel::Raw | Channel::Known => &[],
        };
        let own = seen.container.destinations.get(key);
        let resolved = seen.container.names.of(seen.at, seen.peer().ip);
        let all = seen.node.destinations.get(key);
        // The destination may not have answered this one yet.
        let others = all.map_or(0, |all| all.others(seen.container.number).count());
        let siblings = u8::try_from(others).map_or(u8::MAX, |others| others.saturating_add(1));
        let name = flow.name.as_deref().filter(|name| is_name(name)).map(str::to_owned);
        let familiar = all.is_some_and(|all| {
            flow.opened.seconds_since(all.first_seen) >= FAMILIAR_S && !all.is_suspected(seen.at)
        });
        let known = resolved.and_then(|name| settings.known_services.find(name));
        let older = flow.midstream;
        Self {
            older,
            external: seen.peer_zone() == Zone::External,
            shared: name.is_some() && siblings >= settings.siblings_min && familiar,
            name,
            known: known.filter(|known| !known.carries_strangers).map(|k| k.entry.to_owned()),
            self_signed: certificate.map(|certificate| certificate.self_signed),
            unusual_port: !(usual.contains(&flow.responder.port)
                || older && channel == Channel::Raw),
            first_seen: !older
                && own.is_none_or(|own| own.flows <= 1 || own.first_seen >= flow.opened),
            siblings,
        }
    }

    /// Looks like any service on the Internet: TLS to a name, not with a certificate of its own.
    pub(super) fn is_ordinary(&self, channel: Channel) -> bool {
        let named = self.name.is_some() || self.older;
        channel == Channel::Tls && named && self.self_signed != Some(true)
    }

    /// Reasons to look twice (count, 0 to 4): no name, its own certificate, an unusual port, and
    /// never seen before. What lies before the capture is none.
    pub(super) fn oddities(&self) -> u32 {
        u32::from(self.name.is_none() && !self.older)
            + u32::from(self.self_signed == Some(true))
            + u32::from(self.unusual_port)
            + u32::from(self.first_seen && self.external)
    }
}

/// Not an address in the place of a name.
pub(super) fn is_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_err()
}
