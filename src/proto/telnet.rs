//! Telnet (RFC 854): negotiation of options from both sides before any text.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// Telnet.
pub static PROTOCOL: Protocol = Protocol { name: "telnet", manner: Manner::Interactive };

/// Telnet on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).of_both_sides();

fn probe(probe: &Probe<'_>) -> Match {
    let opening = negotiation(probe.opening());
    match probe.answer() {
        [] => opening.and(Match::Awaits),
        answer => opening.and(negotiation(answer)),
    }
}

/// WILL, WON'T, DO or DON'T, and an option.
fn negotiation(bytes: &[u8]) -> Match {
    match bytes {
        [255, 251..=254, option, ..] => Match::when(*option < 50 || *option == 255),
        [255] | [255, 251..=254] => Match::Maybe,
        _ => Match::No,
    }
}
