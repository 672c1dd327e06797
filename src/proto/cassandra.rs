//! Cassandra's native protocol, versions 3 to 5: a first request, and a response of its version.

use super::bytes::{be16, be32};
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// Cassandra.
pub static PROTOCOL: Protocol = Protocol { name: "cassandra", manner: Manner::RequestResponse };

/// Cassandra on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).may_start_tls().of_both_sides();

const STARTUP: u8 = 1;
const OPTIONS: u8 = 5;

fn probe(probe: &Probe<'_>) -> Match {
    let (bytes, answer) = (probe.opening(), probe.answer());
    if probe.first != Side::Originator {
        return Match::No;
    }
    let [version @ 3..=5, flags, ..] = bytes else {
        return Match::so_far(matches!(bytes, [3..=5]));
    };
    let (Some(operation), Some(length)) = (bytes.get(4), be32(bytes, 5)) else {
        return Match::so_far(*flags <= 0x1f);
    };
    let options = *operation == OPTIONS && length == 0;
    let startup =
        *operation == STARTUP && (2..4_096).contains(&length) && be16(bytes, 9) < Some(16);
    match answer {
        _ if *flags > 0x1f || !(options || startup) => Match::No,
        [] => Match::Awaits,
        [first, ..] => {
            Match::when(first & 0x80 != 0 && (3..=6).contains(&(first & 0x7f)) && *version >= 3)
        }
    }
}
