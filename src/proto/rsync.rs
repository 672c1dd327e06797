//! rsync's own protocol: the versions of both sides.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// rsync.
pub static PROTOCOL: Protocol = Protocol { name: "rsync", manner: Manner::RequestResponse };

/// rsync on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    // Both sides greet, and either may be first.
    match (version(probe.opening()), probe.answer()) {
        (Match::Yes, []) if probe.first == Side::Responder => Match::Awaits,
        (Match::Yes, []) => Match::Awaits,
        (opening, []) => opening,
        (opening, answer) => opening.and(version(answer)),
    }
})
.of_both_sides();

/// `@RSYNCD: 31.0`
fn version(bytes: &[u8]) -> Match {
    Match::prefix(bytes, b"@RSYNCD: ").and(match bytes.get(9) {
        Some(digit) => Match::when(digit.is_ascii_digit()),
        None => Match::Maybe,
    })
}
