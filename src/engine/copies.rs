//! Copies: where several interfaces of a host are captured together, a packet is seen on each that it
//! passes (`tcpdump -i any` on a node: veth, bridge, uplink), and must count once.

use std::hash::{BuildHasher, Hash, Hasher};

use crate::decode::{Frame, LinkType, Packet, Transport};
use crate::event::LinkId;
use crate::time::Timestamp;

/// A packet crosses a host within this time (nanoseconds); whatever comes later on another interface
/// was sent again.
const CROSSING_NS: u64 = 10_000_000;
/// Packets remembered (count).
const PLACES: usize = 1_024;
/// Payload that is compared (bytes): headers and lengths tell most apart.
const PAYLOAD: usize = 64;

/// The packets of the last moment, each with the interface that had it first.
#[derive(Debug)]
pub(super) struct Copies {
    hasher: foldhash::fast::FixedState,
    first_link: Option<LinkId>,
    /// There is more than one interface.
    several: bool,
    recent: Vec<Recent>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    hash: u64,
    interface: u64,
    number: Option<[u8; 2]>,
    at: Timestamp,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self {
            hasher: foldhash::fast::FixedState::default(),
            first_link: None,
            several: false,
            recent: Vec::new(),
        }
    }

    /// The same packet was seen a moment ago on another interface.
    #[inline]
    pub(super) fn is_copy(
        &mut self,
        at: Timestamp,
        link: LinkId,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
    ) -> bool {
        let first = *self.first_link.get_or_insert(link);
        self.several |= first != link;
        let cooked = matches!(frame.link_type, LinkType::LinuxSll | LinkType::LinuxSll2);
        (self.several || cooked) && self.look(at, interface_of(link, frame), frame, packet)
    }

    #[inline(never)]
    fn look(
        &mut self,
        at: Timestamp,
        interface: u64,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
    ) -> bool {
        if self.recent.is_empty() {
            self.recent = vec![Recent::default(); PLACES];
        }
        let hash = self.hash(packet);
        let Some(place) = self.recent.get_mut(hash as usize % PLACES) else { return false };
        let recent = at.nanos().saturating_sub(place.at.nanos()) <= CROSSING_NS;
        // A packet that is sent again has another number. An overlay hides it.
        let number = identification(frame).filter(|_| packet.tunnel.is_none());
        let same = number.is_none() || place.number.is_none() || number == place.number;
        if place.hash == hash && recent && same && place.interface != interface {
            return true;
        }
        *place = Recent { hash, interface, number, at };
        false
    }

    /// Of what no hop changes.
    fn hash(&self, packet: &Packet<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (packet.from(), packet.to(), packet.protocol, packet.payload_bytes).hash(&mut hasher);
        if let Transport::Tcp(tcp) = &packet.transport {
            (tcp.sequence, tcp.acknowledgement, tcp.flags).hash(&mut hasher);
        }
        packet.payload.get(..PAYLOAD).unwrap_or(packet.payload).hash(&mut hasher);
        hasher.finish()
    }
}

/// IPv4's number of the packet, where its header follows the link's at once.
fn identification(frame: &Frame<'_>) -> Option<[u8; 2]> {
    let start = match frame.link_type {
        LinkType::Ethernet => 14,
        LinkType::LinuxSll => 16,
        LinkType::LinuxSll2 => 20,
        LinkType::RawIp => 0,
        LinkType::Null | LinkType::Loop => 4,
    };
    let header = frame.bytes.get(start..start + 6)?;
    (header[0] >> 4 == 4).then(|| [header[4], header[5]])
}

/// Cooked frames of version 2 name their interface; those of version 1 say at least whether the host
/// sent them.
fn interface_of(link: LinkId, frame: &Frame<'_>) -> u64 {
    let inside = match (frame.link_type, frame.bytes) {
        (LinkType::LinuxSll2, [_, _, _, _, a, b, c, d, ..]) => u32::from_be_bytes([*a, *b, *c, *d]),
        (LinkType::LinuxSll, _) => u32::from(frame.is_outgoing().unwrap_or(false)),
        _ => 0,
    };
    u64::from(link.0) << 32 | u64::from(inside)
}
