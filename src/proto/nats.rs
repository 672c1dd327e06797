//! NATS: `INFO {…}` from the server, `CONNECT {…}` from the client, then publications both ways.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// NATS.
pub static PROTOCOL: Protocol = Protocol { name: "nats", manner: Manner::Push };

/// NATS on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).may_start_tls().of_both_sides();

fn probe(probe: &Probe<'_>) -> Match {
    if probe.first != Side::Responder {
        return Match::No;
    }
    let greets = Match::prefix(probe.opening(), b"INFO {\"");
    match (greets, probe.answer()) {
        (Match::Yes, []) => Match::Awaits,
        (Match::Yes, [22, ..]) => Match::Yes,
        (Match::Yes, answer) => match Match::prefix(answer, b"CONNECT {") {
            Match::No => Match::prefix(answer, b"PING\r\n"),
            connects => connects,
        },
        (greets, _) => greets,
    }
}
