//! LDAP (RFC 4511): a message in BER with a first request: bind, search or an extended operation.

use super::bytes::ber;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// LDAP.
pub static PROTOCOL: Protocol = Protocol { name: "ldap", manner: Manner::RequestResponse };

/// LDAP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).may_start_tls();

/// Longest first message (bytes).
const MESSAGE_BYTES_MAX: usize = 65_536;

const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first != Side::Originator || bytes.first().is_some_and(|tag| *tag != 0x30) {
        return Match::No;
    }
    let Some((length, header)) = ber(bytes) else { return Match::so_far(bytes.len() < 6) };
    let content = bytes.get(header..).unwrap_or_default();
    let [2, id_bytes @ 1..=4, rest @ ..] = content else {
        return Match::so_far(content.len() < 2);
    };
    let Some(operation) = rest.get(usize::from(*id_bytes)..) else { return Match::Maybe };
    let (Some(tag), Some((inner, inner_header))) = (operation.first(), ber(operation)) else {
        return Match::so_far(operation.len() < 6);
    };
    // Controls may follow the operation.
    let whole = 2 + usize::from(*id_bytes) + inner_header + inner;
    if length > MESSAGE_BYTES_MAX || whole > length {
        return Match::No;
    }
    let inside = operation.get(inner_header..).unwrap_or_default();
    match *tag {
        BIND => Match::prefix(inside, b"\x02\x01\x03").or(Match::prefix(inside, b"\x02\x01\x02")),
        // A name, then scope and aliases as enumerations.
        SEARCH => Match::prefix(inside, &[4]).and(match ber(inside) {
            Some((name, header)) => {
                let behind = inside.get(header + name..).unwrap_or_default();
                Match::prefix(behind, b"\x0a\x01")
            }
            None => Match::so_far(inside.len() < 6),
        }),
        EXTENDED => match (inside, inside.get(2..)) {
            ([0x80, ..], Some(oid)) => Match::prefix(oid, b"1.3."),
            ([0x80] | [], _) => Match::Maybe,
            _ => Match::No,
        },
        _ => Match::No,
    }
}
