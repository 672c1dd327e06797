//! MySQL and MariaDB: the server's greeting, protocol version 10.

use super::bytes::{be24, le16};
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// MySQL.
pub static PROTOCOL: Protocol = Protocol { name: "mysql", manner: Manner::RequestResponse };

/// MySQL on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).may_start_tls();

/// Longest version text (bytes).
const VERSION_BYTES_MAX: usize = 64;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first != Side::Responder {
        return Match::No;
    }
    let at = |place: usize, expected: u8| bytes.get(place).is_none_or(|byte| *byte == expected);
    if !(at(1, 0) && at(2, 0) && at(3, 0)) {
        return Match::No;
    }
    match bytes.get(4) {
        None => Match::Maybe,
        Some(10) => greeting(bytes),
        // Too many connections, host not allowed: an error in place of a greeting.
        Some(0xff) => {
            let whole = be24(&[bytes[2], bytes[1], bytes[0]], 0).map(|length| length as usize + 4);
            let code = le16(bytes, 5).is_none_or(|code| (1000..2100).contains(&code));
            match (code, whole == Some(bytes.len())) {
                (true, true) => Match::when(bytes.len() > 9),
                (true, false) => Match::so_far(whole > Some(bytes.len())),
                (false, _) => Match::No,
            }
        }
        Some(_) => Match::No,
    }
}

/// Version text, thread, eight bytes of challenge, a zero, capabilities.
fn greeting(bytes: &[u8]) -> Match {
    let version = bytes.get(5..).unwrap_or_default();
    let printable = version.iter().take_while(|byte| byte.is_ascii_graphic() || **byte == b' ');
    let length = printable.count();
    let digit = version.first().is_none_or(u8::is_ascii_digit);
    if length > VERSION_BYTES_MAX || !digit {
        return Match::No;
    }
    match version.get(length..) {
        None | Some([]) => Match::Maybe,
        Some([0, rest @ ..]) => match rest.get(12) {
            Some(filler) => Match::when(length >= 3 && *filler == 0),
            None => Match::Maybe,
        },
        Some(_) => Match::No,
    }
}
