//! RTSP (RFC 7826): a request line with its version.

use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// RTSP.
pub static PROTOCOL: Protocol = Protocol { name: "rtsp", manner: Manner::RequestResponse };

/// RTSP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    let begins = METHODS.iter().fold(Match::No, |so_far, method| {
        let asked = Match::prefix(bytes, method);
        if asked == Match::No {
            return so_far;
        }
        let target = bytes.get(method.len()..).unwrap_or_default();
        let named = Match::prefix(target, b" rtsp://").or(Match::prefix(target, b" * RTSP/"));
        so_far.or(asked.and(named))
    });
    if begins == Match::No {
        return Match::No;
    }
    begins.and(match first_line(bytes) {
        Some(line) => Match::when(line.ends_with(b" RTSP/1.0") || line.ends_with(b" RTSP/2.0")),
        None => Match::Maybe,
    })
});

const METHODS: [&[u8]; 8] = [
    b"OPTIONS",
    b"DESCRIBE",
    b"SETUP",
    b"PLAY",
    b"ANNOUNCE",
    b"GET_PARAMETER",
    b"SET_PARAMETER",
    b"TEARDOWN",
];
