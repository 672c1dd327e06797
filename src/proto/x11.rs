//! X11: the set-up of a client, and its answer.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// X11.
pub static PROTOCOL: Protocol = Protocol { name: "x11", manner: Manner::Push };

/// X11 on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    if probe.first != Side::Originator {
        return Match::No;
    }
    let opening = Match::prefix(probe.opening(), b"l\0\x0b\0\0\0")
        .or(Match::prefix(probe.opening(), b"B\0\0\x0b\0\0"))
        .and(Match::so_far(true).or(Match::when(probe.opening().len() >= 12)));
    match (opening, probe.answer()) {
        (Match::Yes, []) => Match::Awaits,
        (opening, []) => opening,
        (opening, answer) => opening.and(Match::when(matches!(answer, [0..=2, ..]))),
    }
})
.of_both_sides();
