//! Microsoft SQL Server (TDS): the packet before the login, with its table of options.

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// Microsoft SQL Server.
pub static PROTOCOL: Protocol = Protocol { name: "tds", manner: Manner::RequestResponse };

/// Microsoft SQL Server on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).may_start_tls();

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first != Side::Originator {
        return Match::No;
    }
    match Match::prefix(bytes, &[0x12, 1]) {
        Match::Yes => {}
        other => return other,
    }
    let (Some(length), Some(token), Some(offset)) = (be16(bytes, 2), bytes.get(8), be16(bytes, 9))
    else {
        return Match::Maybe;
    };
    // The first option is the version, and its value lies behind a table of fives and an end.
    Match::when((20..4_096).contains(&length) && *token == 0 && offset % 5 == 1 && offset < 64)
}
