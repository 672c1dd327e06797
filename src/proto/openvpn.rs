//! OpenVPN: the first reset of either side, over UDP and over TCP.

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// OpenVPN.
pub static PROTOCOL: Protocol = Protocol { name: "openvpn", manner: Manner::Carrier };

/// OpenVPN on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe).over_both();

/// P_CONTROL_HARD_RESET of client and server, versions 2 and 3, with key 0.
const RESETS: [u8; 3] = [7 << 3, 8 << 3, 10 << 3];

/// Lengths of a reset without and with an authentication (HMAC of 16, 20, 32, 64 bytes, and
/// `tls-crypt`), in bytes.
const LENGTHS: [usize; 7] = [14, 26, 38, 42, 54, 86, 62];

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if !probe.stream {
        return Match::when(is_reset(bytes));
    }
    let Some(length) = be16(bytes, 0) else { return Match::so_far(matches!(bytes, [0])) };
    if !LENGTHS.contains(&usize::from(length)) {
        return Match::No;
    }
    match bytes.get(2..) {
        Some(message) if message.len() == usize::from(length) => Match::when(is_reset(message)),
        Some(message) if message.len() < usize::from(length) => {
            Match::so_far(message.first().is_none_or(|first| RESETS.contains(first)))
        }
        _ => Match::No,
    }
}

/// An operation, a session, and in plain an empty list of acknowledgements and packet 0.
fn is_reset(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| RESETS.contains(first))
        && LENGTHS.contains(&bytes.len())
        && (bytes.len() != 14 || bytes.ends_with(&[0; 5]))
        && bytes.get(1..9).is_some_and(|session| session != [0; 8])
}
