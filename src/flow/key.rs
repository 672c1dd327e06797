//! What makes packets one flow.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::decode::{Packet, Transport};
use crate::event::Endpoint;

/// Addresses and ports in a fixed order, protocol, VLAN and tunnel: equal for both directions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct FlowKey {
    low: u128,
    high: u128,
    /// Ports (low, high), VLAN, protocol, and whether the addresses are IPv6.
    rest: u64,
    /// Tunnel identifier and kind, and the scope; 0 without.
    tunnel: u64,
}

impl FlowKey {
    /// The key of a packet, and whether its source is the low end. Packets of different scopes are
    /// never one flow; its low 24 bits count.
    pub(super) fn of(scope: u32, packet: &Packet<'_>) -> (Self, bool) {
        let (from, to) = (packet.from(), packet.to());
        let (source, destination) = match (from.ip, to.ip) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                (source.to_bits().into(), destination.to_bits().into())
            }
            (source, destination) => bits(source, destination),
        };
        let source_low = (source, from.port) <= (destination, to.port);
        let (low, high, low_port, high_port) = if source_low {
            (source, destination, from.port, to.port)
        } else {
            (destination, source, to.port, from.port)
        };
        let family = u64::from(packet.source.is_ipv6());
        let rest = u64::from(low_port)
            | u64::from(high_port) << 16
            | u64::from(packet.vlan & 0xfff) << 32
            | u64::from(packet.protocol.0) << 48
            | family << 56;
        let tunnel =
            packet.tunnel.map_or(0, |tunnel| u64::from(tunnel.id) | (tunnel.kind as u64 + 1) << 32);
        let tunnel = tunnel | u64::from(scope) << 40;
        (Self { low, high, rest, tunnel }, source_low)
    }

    /// Its place in the table. The seed is fixed: the order of records never depends on it, and
    /// colliding keys cost an attacker more packets than they cost us.
    pub(super) fn hash(&self, state: &impl BuildHasher) -> u64 {
        let mut hasher = state.build_hasher();
        for word in [self.low, self.high] {
            (word as u64).hash(&mut hasher);
            ((word >> 64) as u64).hash(&mut hasher);
        }
        self.rest.hash(&mut hasher);
        self.tunnel.hash(&mut hasher);
        hasher.finish()
    }
}

/// Addresses as numbers; the family is kept apart, so IPv4 need not be told from `::a.b.c.d`. Not
/// inlined: IPv4's few bytes would be read as IPv6's sixteen, before their stores are done.
#[inline(never)]
const fn bits(source: IpAddr, destination: IpAddr) -> (u128, u128) {
    const fn of(ip: IpAddr) -> u128 {
        match ip {
            IpAddr::V4(v4) => v4.to_bits() as u128,
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }
    (of(source), of(destination))
}

/// Ports below this are servers' by convention; Linux takes its own from 32768 on
/// (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: u16 = 32_768;

/// Which end was called, by ports alone, when the opening was not seen: the lower of a server's
/// port and an ephemeral one. `None` where the ports do not tell.
pub(super) fn responder_by_port(from: Endpoint, to: Endpoint) -> Option<Endpoint> {
    let server = |port: u16| port != 0 && port < EPHEMERAL;
    match (from.port, to.port) {
        (a, b) if a != 0 && b != 0 && a < 1_024 && b >= 1_024 => Some(from),
        (a, b) if a != 0 && b != 0 && b < 1_024 && a >= 1_024 => Some(to),
        (a, b) if server(a) && b >= EPHEMERAL => Some(from),
        (a, b) if server(b) && a >= EPHEMERAL => Some(to),
        _ => None,
    }
}

/// The source of this packet opened the conversation, and how sure that is.
pub(super) fn opens(packet: &Packet<'_>) -> Opening {
    use crate::decode::Tcp;
    let by_port = match responder_by_port(packet.from(), packet.to()) {
        Some(responder) => responder == packet.to(),
        None => true,
    };
    match packet.transport {
        Transport::Tcp(tcp) if tcp.has(Tcp::SYN) => {
            let source_opens = !tcp.has(Tcp::ACK);
            Opening { source_opens, seen: true, midstream: !source_opens }
        }
        Transport::Tcp(_) => Opening { source_opens: by_port, seen: false, midstream: true },
        Transport::Udp { .. } | Transport::Sctp { .. } => {
            Opening { source_opens: by_port, seen: by_port, midstream: !by_port }
        }
        // Echo replies (0 and 129) answer; so do errors, which are flows of their own.
        Transport::Icmp { kind: 0 | 129, .. } => {
            Opening { source_opens: false, seen: false, midstream: true }
        }
        Transport::Icmp { .. } | Transport::Other => {
            Opening { source_opens: true, seen: true, midstream: false }
        }
    }
}

/// See [`opens`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Opening {
    /// The packet's source opened the flow.
    pub(super) source_opens: bool,
    /// That was seen, not guessed.
    pub(super) seen: bool,
    /// There were packets before.
    pub(super) midstream: bool,
}
