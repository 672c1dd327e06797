//! MongoDB's wire protocol: a header of four numbers and a message that fits it.

use super::bytes::le32;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// MongoDB.
pub static PROTOCOL: Protocol = Protocol { name: "mongodb", manner: Manner::RequestResponse };

/// MongoDB on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe);

/// Longest first message (bytes): a greeting has some hundred.
const MESSAGE_BYTES_MAX: u32 = 4_095;

const QUERY: u32 = 2004;
const COMPRESSED: u32 = 2012;
const MESSAGE: u32 = 2013;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first != Side::Originator {
        return Match::No;
    }
    let Some(length) = le32(bytes, 0) else {
        let high = bytes.get(1..).unwrap_or_default();
        return Match::so_far(high.iter().all(|byte| *byte < 16));
    };
    if !(26..=MESSAGE_BYTES_MAX).contains(&length)
        || bytes.get(8..12).is_some_and(|answers| answers != [0; 4] && answers != [0xff; 4])
    {
        return Match::No;
    }
    match le32(bytes, 12) {
        None => Match::Maybe,
        Some(QUERY) => {
            // Flags, then a collection's full name.
            let name = bytes.get(20..).unwrap_or_default();
            match name.iter().position(|byte| *byte == 0) {
                Some(end) => Match::when(name[..end].contains(&b'.') && printable(&name[..end])),
                None => Match::so_far(printable(name) && name.len() < 128),
            }
        }
        Some(MESSAGE) => match (le32(bytes, 16), bytes.get(20), le32(bytes, 21)) {
            // Flags, kind of section, length of its document.
            (Some(flags), Some(kind), Some(document)) => Match::when(
                flags & 0xfffe_fffc == 0 && *kind <= 1 && document < length && document >= 5,
            ),
            _ => Match::Maybe,
        },
        Some(COMPRESSED) => match (le32(bytes, 16), bytes.get(24)) {
            (Some(inner), Some(compressor)) => {
                Match::when(matches!(inner, QUERY | MESSAGE) && *compressor <= 3)
            }
            _ => Match::Maybe,
        },
        Some(_) => Match::No,
    }
}

fn printable(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}
