//! SIP (RFC 3261): a request or status line with its version, in datagrams or over TCP.

use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// SIP.
pub static PROTOCOL: Protocol = Protocol { name: "sip", manner: Manner::Push };

/// SIP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).over_both();

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    let begins = METHODS.iter().fold(Match::prefix(bytes, b"SIP/2.0 "), |so_far, method| {
        let asked = Match::prefix(bytes, method);
        if asked == Match::No {
            return so_far;
        }
        let target = bytes.get(method.len()..).unwrap_or_default();
        let named = [&b" sip:"[..], b" sips:", b" tel:"]
            .iter()
            .fold(Match::No, |named, scheme| named.or(Match::prefix(target, scheme)));
        so_far.or(asked.and(named))
    });
    if begins == Match::No {
        return Match::No;
    }
    let whole = match first_line(bytes) {
        Some(line) => Match::when(line.starts_with(b"SIP/2.0 ") || line.ends_with(b" SIP/2.0")),
        None => Match::so_far(probe.stream),
    };
    begins.and(whole)
}

const METHODS: [&[u8]; 14] = [
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"OPTIONS",
    b"REGISTER",
    b"PRACK",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"PUBLISH",
    b"INFO",
    b"REFER",
    b"MESSAGE",
    b"UPDATE",
];
