//! VNC's remote framebuffer (RFC 6143): the versions of both sides.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// VNC.
pub static PROTOCOL: Protocol = Protocol { name: "rfb", manner: Manner::Interactive };

/// VNC on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    if probe.first != Side::Responder {
        return Match::No;
    }
    match (version(probe.opening()), probe.answer()) {
        (Match::Yes, []) => Match::Awaits,
        (opening, []) => opening,
        (opening, answer) => opening.and(version(answer)),
    }
})
.of_both_sides();

/// `RFB 003.008` and a line's end.
fn version(bytes: &[u8]) -> Match {
    Match::prefix(bytes, b"RFB 00").and(match bytes.get(6..12) {
        Some([major, b'.', a, b, c, b'\n']) => {
            Match::when([major, a, b, c].iter().all(|digit| digit.is_ascii_digit()))
        }
        Some(_) => Match::No,
        None => Match::Maybe,
    })
}
