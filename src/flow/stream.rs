//! One direction of a TCP connection, in order.
//!
//! In-order segments pass through without a copy. What comes early waits, within bounds, until the
//! hole before it fills, or is known to be lost: the receiver acknowledged it and we never saw it,
//! or a bound was hit. Overlaps are resolved as Linux does (`tcp_data_queue_ofo`): bytes delivered
//! once stay; among waiting segments the one that starts first keeps its bytes, and a segment that
//! covers a waiting one whole replaces it.

use crate::time::Timestamp;

/// How long the acknowledgement of a hole may run ahead of its data in the capture (nanoseconds):
/// two interfaces' packets are not strictly ordered among one another.
const LATE_NS: u64 = 100_000_000;

/// What a segment turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// The next bytes; the first `skip` of the segment were seen before.
    Next {
        /// Bytes to leave out at its start.
        skip: u32,
    },
    /// All of it was seen before, or it is a keep-alive.
    Old,
    /// Not yet due: bytes before it are missing.
    Early {
        /// How many are missing.
        missing: u32,
    },
    /// It fills a hole that was given up, all of it.
    Late,
}

/// State of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// Sequence number of the next byte; valid once `started`.
    next: u32,
    /// Highest acknowledgement from the other side; valid once `acknowledged`.
    acked: u32,
    /// Bytes of holes that were passed over, and may still come late.
    holes: u32,
    pub(super) started: bool,
    acknowledged: bool,
    /// Segments that wait.
    waiting: Option<Box<Waiting>>,
}

#[derive(Clone, Debug, Default)]
struct Waiting {
    /// Sorted by sequence number from `next` on; they do not overlap.
    segments: Vec<Segment>,
    bytes: usize,
    since: Timestamp,
}

#[derive(Clone, Debug)]
struct Segment {
    sequence: u32,
    /// Length on the wire; more than `bytes` where the snap length cut it.
    wire_bytes: u32,
    bytes: Vec<u8>,
}

/// A waiting segment that is due, for [`Stream::next_due`].
pub(super) struct Due {
    /// Bytes lost before it.
    pub(super) gap: u32,
    /// Its captured bytes.
    pub(super) bytes: Vec<u8>,
    /// New bytes on the wire.
    pub(super) wire_bytes: u32,
}

impl Stream {
    /// The connection opens at this sequence number (of the SYN).
    pub(super) fn open(&mut self, sequence: u32) {
        if !self.started {
            self.started = true;
            self.next = sequence.wrapping_add(1);
        }
    }

    /// Finds the place of a segment, and moves on past it where it is next or its hole is lost.
    /// `payload` is the length on the wire; `keep` says that the caller can let it wait.
    pub(super) fn place(&mut self, sequence: u32, payload: u32, keep: bool) -> (u32, Place) {
        if !self.started {
            self.started = true;
            self.next = sequence;
        }
        let ahead = sequence.wrapping_sub(self.next).cast_signed();
        if ahead == 0 {
            self.next = self.next.wrapping_add(payload);
            return (0, Place::Next { skip: 0 });
        }
        if ahead < 0 {
            let seen = ahead.unsigned_abs();
            if seen < payload {
                self.next = self.next.wrapping_add(payload - seen);
                return (0, Place::Next { skip: seen });
            }
            if payload > 1 && self.holes >= payload {
                self.holes -= payload;
                return (0, Place::Late);
            }
            return (0, Place::Old);
        }
        let missing = ahead.unsigned_abs();
        let lost = self.acknowledged && sequence.wrapping_sub(self.acked).cast_signed() <= 0;
        if self.waiting.is_none() && (lost || !keep) {
            self.skip_to(sequence, missing);
            self.next = self.next.wrapping_add(payload);
            return (missing, Place::Next { skip: 0 });
        }
        (0, Place::Early { missing })
    }

    fn skip_to(&mut self, sequence: u32, missing: u32) {
        self.holes = self.holes.saturating_add(missing);
        self.next = sequence;
    }

    /// Lets a segment wait. Returns false where `bytes_max` does not allow it.
    pub(super) fn wait(
        &mut self,
        at: Timestamp,
        sequence: u32,
        wire_bytes: u32,
        bytes: &[u8],
        bytes_max: usize,
    ) -> bool {
        let next = self.next;
        let waiting = self.waiting.get_or_insert_default();
        if waiting.bytes + bytes.len() > bytes_max || waiting.segments.len() >= 128 {
            return false;
        }
        if waiting.segments.is_empty() {
            waiting.since = at;
        }
        let distance = |number: u32| number.wrapping_sub(next);
        let mut segment = Segment { sequence, wire_bytes, bytes: bytes.to_vec() };
        let place = waiting.segments.partition_point(|w| distance(w.sequence) < distance(sequence));
        if let Some(before) = place.checked_sub(1).and_then(|index| waiting.segments.get(index)) {
            let overlap = (distance(before.sequence) + before.wire_bytes)
                .saturating_sub(distance(segment.sequence));
            if overlap >= segment.wire_bytes {
                return true;
            }
            segment.cut_front(overlap);
        }
        while let Some(after) = waiting.segments.get_mut(place) {
            let overlap = (distance(segment.sequence) + segment.wire_bytes)
                .saturating_sub(distance(after.sequence));
            if overlap == 0 {
                break;
            }
            if after.sequence == segment.sequence && after.wire_bytes >= segment.wire_bytes {
                return true;
            }
            if overlap < after.wire_bytes {
                waiting.bytes -= after.cut_front(overlap);
                break;
            }
            waiting.bytes -= waiting.segments.remove(place).bytes.len();
        }
        waiting.bytes += segment.bytes.len();
        waiting.segments.insert(place, segment);
        true
    }

    /// The other side acknowledged all before `acknowledgement`.
    pub(super) fn acknowledge(&mut self, acknowledgement: u32) {
        if !self.acknowledged || acknowledgement.wrapping_sub(self.acked).cast_signed() > 0 {
            self.acked = acknowledgement;
            self.acknowledged = true;
        }
    }

    /// The sequence number after its FIN, where the other side has acknowledged all of it, the FIN too,
    /// and nothing is missing.
    pub(super) fn acknowledged_end(&self) -> Option<u32> {
        let end = self.next.wrapping_add(1);
        (self.acknowledged && self.acked == end && self.waiting.is_none()).then_some(end)
    }

    /// Something waits: [`Stream::next_due`] is worth asking.
    pub(super) const fn has_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Bytes that wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// The next waiting segment, where it is due: its hole filled, or is lost (`give_up` says so of
    /// all holes: a bound was hit or the flow ends).
    pub(super) fn next_due(&mut self, at: Timestamp, give_up: bool) -> Option<Due> {
        let waiting = self.waiting.as_mut()?;
        let first = waiting.segments.first()?;
        let ahead = first.sequence.wrapping_sub(self.next).cast_signed();
        let gap = ahead.max(0).unsigned_abs();
        if gap > 0 {
            let acked =
                self.acknowledged && first.sequence.wrapping_sub(self.acked).cast_signed() <= 0;
            let late = at.nanos().saturating_sub(waiting.since.nanos()) >= LATE_NS;
            if !(give_up || acked && late) {
                return None;
            }
        }
        let mut segment = waiting.segments.remove(0);
        waiting.bytes -= segment.bytes.len();
        waiting.since = at;
        if waiting.segments.is_empty() {
            self.waiting = None;
        }
        if gap > 0 {
            self.skip_to(segment.sequence, gap);
        } else {
            segment.cut_front(ahead.unsigned_abs().min(segment.wire_bytes));
        }
        self.next = self.next.wrapping_add(segment.wire_bytes);
        Some(Due { gap, bytes: segment.bytes, wire_bytes: segment.wire_bytes })
    }
}

impl Segment {
    /// Leaves out bytes at the start; returns how many captured ones went.
    fn cut_front(&mut self, bytes: u32) -> usize {
        let captured = self.bytes.len().min(bytes as usize);
        self.bytes.drain(..captured);
        self.sequence = self.sequence.wrapping_add(bytes);
        self.wire_bytes -= bytes.min(self.wire_bytes);
        captured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::from_nanos(0);

    /// Sends segments (sequence, text) and gives what comes out, lost bytes as dots.
    fn receive(segments: &[(u32, &str)]) -> String {
        let mut stream = Stream::default();
        stream.open(u32::MAX - 3); // the numbers wrap within the first bytes
        let base = u32::MAX - 2;
        let mut out = String::new();
        for (offset, text) in segments {
            let (sequence, length) = (base.wrapping_add(*offset), text.len() as u32);
            match stream.place(sequence, length, true) {
                (_, Place::Next { skip }) => out.push_str(&text[skip as usize..]),
                (_, Place::Early { .. }) => {
                    assert!(stream.wait(T, sequence, length, text.as_bytes(), 1_000));
                }
                (_, Place::Old | Place::Late) => {}
            }
            while let Some(due) = stream.next_due(T, false) {
                out.push_str(std::str::from_utf8(&due.bytes).unwrap());
            }
        }
        while let Some(due) = stream.next_due(T, true) {
            out.push_str(&".".repeat(due.gap as usize));
            out.push_str(std::str::from_utf8(&due.bytes).unwrap());
        }
        out
    }

    #[test]
    fn gives_bytes_in_order_and_overlaps_as_linux_does() {
        for (case, segments, expected) in [
            ("in order", &[(0, "abc"), (3, "def")][..], "abcdef"),
            ("reordered", &[(3, "def"), (0, "abc"), (6, "g")], "abcdefg"),
            ("retransmitted", &[(0, "abc"), (0, "xyz"), (3, "d")], "abcd"),
            ("overlaps what was read", &[(0, "abc"), (1, "XXdef")], "abcdef"),
            ("hole filled twice", &[(4, "ef"), (0, "abcd"), (2, "XXXX")], "abcdef"),
            ("waiting: the earlier start wins", &[(2, "cde"), (4, "XXg"), (0, "ab")], "abcdeXg"),
            ("waiting: covered whole, replaced", &[(3, "d"), (2, "CDE"), (0, "ab")], "abCDE"),
            ("waiting: the same again, old stays", &[(2, "cd"), (2, "XX"), (0, "ab")], "abcd"),
            ("waiting: the same start, longer", &[(2, "cd"), (2, "XXX"), (0, "ab")], "abXXX"),
            ("never came", &[(0, "ab"), (4, "ef")], "ab..ef"),
        ] {
            assert_eq!(receive(segments), expected, "{case}");
        }
    }

    #[test]
    fn a_hole_that_the_receiver_acknowledged_is_lost() {
        let mut stream = Stream::default();
        stream.open(99);
        stream.acknowledge(120);
        assert_eq!(stream.place(110, 5, true), (10, Place::Next { skip: 0 }));
        assert_eq!(stream.place(100, 10, true), (0, Place::Late), "and may come after all");
        assert_eq!(stream.place(100, 10, true), (0, Place::Old));
        assert_eq!(stream.place(114, 1, true), (0, Place::Old), "a keep-alive");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut stream = Stream::default();
        stream.open(0);
        assert!(stream.wait(T, 10, 5, b"12345", 8));
        assert!(!stream.wait(T, 20, 5, b"12345", 8));
        assert_eq!(stream.waiting_bytes(), 5);
    }
}
