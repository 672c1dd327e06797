//! DHCP for IPv4 (RFC 2131) and IPv6 (RFC 8415).

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// DHCP.
pub static PROTOCOL: Protocol = Protocol { name: "dhcp", manner: Manner::RequestResponse };

/// DHCP.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe);

/// What stands before the options (RFC 2131, section 3).
const COOKIE: [u8; 4] = [99, 130, 83, 99];

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if matches!(probe.port, 546 | 547) {
        return Match::when(version6(bytes));
    }
    let cookie = bytes.get(236..240) == Some(&COOKIE[..]);
    Match::when(matches!(bytes, [1 | 2, 1, 6, ..]) && cookie)
}

/// A message type, a transaction, and options that fill the rest.
fn version6(bytes: &[u8]) -> bool {
    let [1..=11, _, _, _, options @ ..] = bytes else { return false };
    let mut rest = options;
    while !rest.is_empty() {
        let Some(length) = be16(rest, 2) else { return false };
        let Some(after) = rest.get(4 + usize::from(length)..) else { return false };
        rest = after;
    }
    !options.is_empty()
}
