//! Frames of several interfaces, held for a moment so that they can be handed on in time order.

use std::ops::Range;

use crate::decode::{Frame, LinkType};
use crate::event::LinkId;
use crate::time::Timestamp;

/// Frames in a batch (count), and their bytes, from which on it is full.
const FRAMES: usize = 4_096;
const BYTES: usize = 1 << 20;

/// Frames of several interfaces, copied. Its buffers are reused.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    frames: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    at: Timestamp,
    link: LinkId,
    link_type: LinkType,
    wire_bytes: u32,
    bytes: Range<usize>,
}

impl Batch {
    /// A share of it is taken: one of so many interfaces has had its turn.
    pub fn is_full(&self, taken: usize, of: usize) -> bool {
        self.frames.len() >= FRAMES / of * taken || self.bytes.len() >= BYTES / of * taken
    }

    /// Takes a frame.
    pub fn push(&mut self, link: LinkId, frame: &Frame<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame.bytes);
        let Frame { at, link_type, wire_bytes, .. } = *frame;
        self.frames.push(Held { at, link, link_type, wire_bytes, bytes: start..self.bytes.len() });
    }

    /// Hands on all frames, the oldest first, and is empty.
    pub fn hand_on(&mut self, mut take: impl FnMut(LinkId, Frame<'_>)) {
        // Each interface's frames are in order already; equal times stay as they came.
        self.frames.sort_by_key(|held| held.at);
        for held in self.frames.drain(..) {
            let Held { at, link, link_type, wire_bytes, bytes } = held;
            take(link, Frame { at, link_type, wire_bytes, bytes: &self.bytes[bytes] });
        }
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first() {
        let mut batch = Batch::default();
        for (link, at, bytes) in [(0, 3, "a"), (0, 5, "b"), (1, 1, "c"), (1, 3, "d")] {
            let frame = Frame {
                at: Timestamp::from_nanos(at),
                link_type: LinkType::Ethernet,
                wire_bytes: 1,
                bytes: bytes.as_bytes(),
            };
            batch.push(LinkId(link), &frame);
        }
        let mut order = String::new();
        batch.hand_on(|_, frame| order.push(frame.bytes[0] as char));
        assert_eq!(order, "cadb");
        batch.hand_on(|_, _| panic!("it is empty"));
    }
}
