//! WebSocket (RFC 6455): reached by an upgrade of HTTP, never by its first bytes. Frames of both
//! sides are looked at for as long as content passes, so that an upgrade that is followed by
//! something else does not hide it.

use super::{Appetite, Match, Parser, Registration, Sink};
use crate::event::{Manner, Protocol, Side};

/// WebSocket.
pub static PROTOCOL: Protocol = Protocol { name: "websocket", manner: Manner::Carrier };

/// WebSocket, after an upgrade.
pub static REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, |_| Match::No).read_by(|| Box::new(WebSocket::default()));

#[derive(Default)]
struct WebSocket {
    sides: [Half; 2],
}

#[derive(Default)]
struct Half {
    /// A frame's head: flags, length in its three forms, mask.
    head: [u8; 14],
    head_bytes: usize,
    /// Payload to come of the current frame (bytes).
    left: u64,
}

impl Parser for WebSocket {
    fn data(&mut self, from: Side, bytes: &[u8], _sink: &mut Sink<'_>) -> Appetite {
        let half = &mut self.sides[from.index()];
        let mut bytes = bytes;
        loop {
            let passed = half.left.min(bytes.len() as u64);
            half.left -= passed;
            bytes = &bytes[passed as usize..];
            let Some((first, rest)) = bytes.split_first() else { return Appetite::More };
            bytes = rest;
            let Some(place) = half.head.get_mut(half.head_bytes) else {
                return Appetite::Contradicted;
            };
            *place = *first;
            half.head_bytes += 1;
            match half.frame(from) {
                Frame::Part => {}
                Frame::Whole(length) => {
                    half.left = length;
                    half.head_bytes = 0;
                }
                Frame::Broken => return Appetite::Contradicted,
            }
        }
    }
}

enum Frame {
    Part,
    Whole(u64),
    Broken,
}

impl Half {
    /// The frame whose head was read so far.
    fn frame(&self, from: Side) -> Frame {
        let head = self.head.get(..self.head_bytes).unwrap_or_default();
        let [flags, rest @ ..] = head else { return Frame::Part };
        // Continuation, text, binary, close, ping, pong. One reserved bit is for compression.
        if !matches!(flags & 0x0f, 0..=2 | 8..=10) || flags & 0x30 != 0 {
            return Frame::Broken;
        }
        let [length, rest @ ..] = rest else { return Frame::Part };
        // Clients mask what they send, servers do not (section 5.1).
        let masked = length & 0x80 != 0;
        if masked != (from == Side::Originator) {
            return Frame::Broken;
        }
        let (length, mask) = match (length & 0x7f, rest) {
            (126, [a, b, mask @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), mask),
            (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), mask)
            }
            (126 | 127, _) => return Frame::Part,
            (short, mask) => (u64::from(short), mask),
        };
        if length > u64::MAX / 2 {
            return Frame::Broken;
        }
        if masked && mask.len() < 4 { Frame::Part } else { Frame::Whole(length) }
    }
}
