//! Connections that have just ended: their stragglers open no flow.
//!
//! A connection whose two FINs are acknowledged is over. To keep the whole flow for the packets that
//! may trail behind (a FIN sent again, an acknowledgement that was late) would keep as many flows as
//! open and end within seconds, all of them long out of the cache. What tells a straggler is small.

use super::key::FlowKey;
use crate::decode::Tcp;
use crate::time::Timestamp;

/// Connections remembered (count); each in the place that its hash gives it, over the one before.
/// Forgotten too early, a straggler is a flow of its own that was picked up midway.
const PLACES: usize = 4_096;

/// The connections that ended last.
#[derive(Debug)]
pub(super) struct RecentlyEnded {
    places: Box<[Place]>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: FlowKey,
    /// Sequence number after the FIN of the low and of the high end.
    ends: [u32; 2],
    until: Timestamp,
}

impl RecentlyEnded {
    /// Memory (bytes).
    pub(super) const BYTES: usize = PLACES * size_of::<Place>();

    pub(super) fn new() -> Self {
        let nothing = Place { key: FlowKey::default(), ends: [0; 2], until: Timestamp::default() };
        Self { places: vec![nothing; PLACES].into_boxed_slice() }
    }

    /// Remembers a connection until `until`. `ends` are the sequence numbers after the FIN of the low
    /// and of the high end.
    pub(super) fn remember(&mut self, hash: u64, key: FlowKey, ends: [u32; 2], until: Timestamp) {
        if let Some(place) = self.places.get_mut(place_of(hash)) {
            *place = Place { key, ends, until };
        }
    }

    /// The segment belongs to a connection that is over, and brings nothing that was not there before
    /// its end. Payload behind the end is something else: an end can be played to a listener by two
    /// who go on talking.
    pub(super) fn is_straggler(
        &self,
        hash: u64,
        key: &FlowKey,
        at: Timestamp,
        tcp: &Tcp,
        (source_low, payload_bytes): (bool, u32),
    ) -> bool {
        if tcp.has(Tcp::SYN) {
            return false;
        }
        let Some(place) = self.places.get(place_of(hash)) else { return false };
        if at > place.until || place.key != *key {
            return false;
        }
        let end = place.ends[usize::from(!source_low)];
        let behind = tcp.sequence.wrapping_add(payload_bytes).wrapping_sub(end).cast_signed();
        payload_bytes == 0 || behind < 0
    }
}

const fn place_of(hash: u64) -> usize {
    hash as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Timestamp = Timestamp::from_nanos(2_000_000_000);

    fn segment(sequence: u32, flags: u8) -> Tcp {
        Tcp { source: 1, destination: 2, sequence, acknowledgement: 0, flags, window: 0 }
    }

    #[test]
    fn only_what_brings_nothing_new_is_a_straggler() {
        let mut recent = RecentlyEnded::new();
        let key = FlowKey::default();
        recent.remember(7, key, [1_000, 5_000], END);
        let low = |at, tcp: Tcp, payload| recent.is_straggler(7, &key, at, &tcp, (true, payload));
        for (case, expected, got) in [
            ("the last acknowledgement again", true, low(END, segment(1_000, Tcp::ACK), 0)),
            ("its FIN again", true, low(END, segment(999, Tcp::FIN | Tcp::ACK), 0)),
            ("its last bytes again", true, low(END, segment(899, Tcp::ACK), 100)),
            ("a reset", true, low(END, segment(1_000, Tcp::RST), 0)),
            ("bytes behind its end", false, low(END, segment(1_000, Tcp::ACK), 1)),
            ("bytes that reach over it", false, low(END, segment(990, Tcp::ACK), 20)),
            ("another connection opens", false, low(END, segment(77, Tcp::SYN), 0)),
            (
                "too late",
                false,
                low(END.after(std::time::Duration::from_nanos(1)), segment(1_000, Tcp::ACK), 0),
            ),
        ] {
            assert_eq!(got, expected, "{case}");
        }
    }
}
