//! Kafka: a request header, and a response with the same correlation number.

use super::bytes::{be16, be32};
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// Kafka.
pub static PROTOCOL: Protocol = Protocol { name: "kafka", manner: Manner::Push };

/// Kafka on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).of_both_sides();

/// Greatest request number and version in use, with room for some years.
const KEY_MAX: u16 = 110;
const VERSION_MAX: u16 = 24;

/// Longest first request (bytes).
const REQUEST_BYTES_MAX: u32 = 1 << 20;

fn probe(probe: &Probe<'_>) -> Match {
    let (bytes, answer) = (probe.opening(), probe.answer());
    if probe.first != Side::Originator || bytes.first().is_some_and(|high| *high != 0) {
        return Match::No;
    }
    let (Some(length), Some(key), Some(version), Some(correlation), Some(name)) =
        (be32(bytes, 0), be16(bytes, 4), be16(bytes, 6), be32(bytes, 8), be16(bytes, 12))
    else {
        return Match::Maybe;
    };
    // 0xffff is a client without a name.
    let name_bytes = if name == u16::MAX { 0 } else { usize::from(name) };
    if !(10..=REQUEST_BYTES_MAX).contains(&length)
        || key > KEY_MAX
        || version > VERSION_MAX
        || name_bytes + 10 > length as usize
    {
        return Match::No;
    }
    let name = bytes.get(14..).unwrap_or_default();
    let name = name.get(..name_bytes).unwrap_or(name);
    if !name.iter().all(|byte| (b' '..0x7f).contains(byte)) {
        return Match::No;
    }
    if name.len() < name_bytes {
        return Match::Maybe;
    }
    match (answer, be32(answer, 4)) {
        ([], _) => Match::Awaits,
        (_, None) => Match::Maybe,
        (_, Some(number)) => Match::when(number == correlation),
    }
}
