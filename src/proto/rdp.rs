//! RDP: a connection request of X.224 within TPKT (RFC 2126), with a cookie or a negotiation.

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// RDP.
pub static PROTOCOL: Protocol = Protocol { name: "rdp", manner: Manner::Interactive };

/// RDP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).may_start_tls();

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first != Side::Originator {
        return Match::No;
    }
    match Match::prefix(bytes, &[3, 0]) {
        Match::Yes => {}
        other => return other,
    }
    let (Some(length), Some(x224), Some(kind)) = (be16(bytes, 2), bytes.get(4), bytes.get(5))
    else {
        return Match::Maybe;
    };
    if usize::from(*x224) + 5 != usize::from(length) || *kind != 0xe0 {
        return Match::No;
    }
    match (bytes.get(6..11), bytes.get(11..)) {
        (Some([0, 0, _, _, 0]), Some(rest)) if length > 11 => {
            Match::prefix(rest, b"Cookie: ").or(Match::prefix(rest, b"\x01\x00\x08\x00"))
        }
        (Some([0, 0, _, _, 0]), _) => Match::Yes,
        (Some(_), _) => Match::No,
        (None, _) => Match::Maybe,
    }
}
