//! PostgreSQL: a start-up message, or a request for TLS, GSSAPI or cancellation.

use super::bytes::be32;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// PostgreSQL, and what speaks as it does.
pub static PROTOCOL: Protocol = Protocol { name: "pgsql", manner: Manner::RequestResponse };

/// PostgreSQL on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).may_start_tls();

/// Longest start-up message (bytes), as servers have it.
const STARTUP_BYTES_MAX: u32 = 10_000;

const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSSAPI: u32 = 80_877_104;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first != Side::Originator || bytes.first().is_some_and(|high| *high != 0) {
        return Match::No;
    }
    let Some(length) = be32(bytes, 0) else { return Match::Maybe };
    if length > STARTUP_BYTES_MAX {
        return Match::No;
    }
    match (be32(bytes, 4), length) {
        (None, _) => Match::Maybe,
        (Some(CANCEL), 16) => Match::when(bytes.len() == 16).or(Match::so_far(bytes.len() < 16)),
        (Some(TLS | GSSAPI), 8) => Match::Yes,
        (Some(version), 9..) if (0x0003_0000..0x0003_0010).contains(&version) => {
            let parameters = bytes.get(8..).unwrap_or_default();
            let named = Match::prefix(parameters, b"user\0");
            let other = parameters.iter().all(|byte| *byte == 0 || (b' '..0x7f).contains(byte));
            named
                .or(Match::when(other && bytes.len() == length as usize))
                .or(Match::so_far(other && bytes.len() < length as usize))
        }
        _ => Match::No,
    }
}
