//! Fluentd's forward protocol: an array in MessagePack of a tag and entries; or the greeting of a
//! server that wants a login.

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// Fluentd's forward protocol.
pub static PROTOCOL: Protocol = Protocol { name: "fluent", manner: Manner::Push };

/// Fluentd on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe);

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first == Side::Responder {
        return Match::prefix(bytes, b"\x92\xa4HELO");
    }
    let [0x92..=0x94, rest @ ..] = bytes else { return Match::No };
    let (length, header) = match rest {
        [short @ 0xa1..=0xbf, ..] => (usize::from(short & 0x1f), 1),
        [0xd9, length, ..] => (usize::from(*length), 2),
        [0xda, ..] => match be16(rest, 1) {
            Some(length) => (usize::from(length), 3),
            None => return Match::Maybe,
        },
        [] | [0xd9] => return Match::Maybe,
        _ => return Match::No,
    };
    let tag = rest.get(header..).unwrap_or_default();
    let tag = tag.get(..length).unwrap_or(tag);
    if length > 255 || !tag.iter().all(u8::is_ascii_graphic) {
        return Match::No;
    }
    match rest.get(header + length) {
        None => Match::Maybe,
        // Entries as an array, binary or text; or a time: number or extension.
        Some(next) => Match::when(matches!(
            next,
            0x90..=0x9f | 0xdc | 0xdd | 0xc4..=0xc6 | 0xd9..=0xdb | 0xce | 0xcf | 0xd2 | 0xd3 | 0xd7
        )),
    }
}
