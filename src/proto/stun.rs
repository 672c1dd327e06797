//! STUN and TURN (RFC 8489), with and without the magic number.

use super::bytes::{be16, be32};
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// STUN.
pub static PROTOCOL: Protocol = Protocol { name: "stun", manner: Manner::RequestResponse };

/// STUN on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe).over_both();

const MAGIC: u32 = 0x2112_a442;
const HEADER_BYTES: usize = 20;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    let (Some(kind), Some(length)) = (be16(bytes, 0), be16(bytes, 2)) else {
        return Match::so_far(probe.stream && bytes.first().is_none_or(|high| *high < 2));
    };
    // Methods in use lie below 16, and the class is spread over two bits.
    if kind & !0x0110 > 0x0f || length % 4 != 0 {
        return Match::No;
    }
    match be32(bytes, 4) {
        Some(MAGIC) if probe.stream => {
            let begun = bytes.len() >= HEADER_BYTES;
            if begun { Match::Yes } else { Match::Maybe }
        }
        Some(MAGIC) => Match::when(HEADER_BYTES + usize::from(length) == bytes.len()),
        Some(_) if probe.stream => Match::No,
        // RFC 3489 had no magic number.
        Some(_) => Match::when(
            matches!(kind, 0x0001 | 0x0101 | 0x0111)
                && HEADER_BYTES + usize::from(length) == bytes.len()
                && attributes_fit(bytes.get(HEADER_BYTES..).unwrap_or_default()),
        ),
        None => Match::so_far(probe.stream),
    }
}

fn attributes_fit(attributes: &[u8]) -> bool {
    let mut rest = attributes;
    while !rest.is_empty() {
        let Some(length) = be16(rest, 2) else { return false };
        let Some(after) = rest.get(4 + usize::from(length).next_multiple_of(4)..) else {
            return false;
        };
        rest = after;
    }
    true
}
