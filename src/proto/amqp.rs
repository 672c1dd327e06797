//! AMQP 0-9-1 and 1.0: a protocol header from the client, a frame or a header in answer.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// AMQP.
pub static PROTOCOL: Protocol = Protocol { name: "amqp", manner: Manner::Push };

/// AMQP on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).may_start_tls().of_both_sides();

fn probe(probe: &Probe<'_>) -> Match {
    let (bytes, answer) = (probe.opening(), probe.answer());
    if probe.first != Side::Originator {
        return Match::No;
    }
    match (Match::prefix(bytes, b"AMQP"), bytes) {
        (Match::Yes, [_, _, _, _, protocol, major, minor, revision, ..]) => {
            let old = *protocol == 0 && *major == 0 && *minor == 9 && *revision == 1;
            let older = *protocol == 1 && *major == 1 && *minor == 0;
            let new = matches!(protocol, 0 | 2 | 3) && (*major, *minor, *revision) == (1, 0, 0);
            match answer {
                _ if !(old || older || new) => Match::No,
                [] => Match::Awaits,
                // Connection.start on channel 0.
                [1, rest @ ..] if old => Match::when(rest.iter().take(2).all(|byte| *byte == 0)),
                answer => Match::prefix(answer, b"AMQP"),
            }
        }
        (Match::Yes, _) => Match::Maybe,
        (other, _) => other,
    }
}
