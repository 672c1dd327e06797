//! Stratum and its kin: what miners speak with their pools, JSON-RPC in lines.

use super::text::{contains_ignore_case, first_line};
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// Stratum.
pub static PROTOCOL: Protocol = Protocol { name: "stratum", manner: Manner::Push };

/// Stratum on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe);

/// Longest first line (bytes).
const LINE_BYTES_MAX: usize = 500;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if bytes.first() != Some(&b'{') {
        return Match::No;
    }
    let line = match first_line(bytes) {
        Some(line) => line,
        // Some pools' clients send no line's end.
        None if bytes.ends_with(b"}") => bytes,
        None => return Match::so_far(bytes.len() < LINE_BYTES_MAX),
    };
    let has = |word: &[u8]| contains_ignore_case(line, word);
    let mining = has(b"\"mining.")
        || has(b"\"eth_submitlogin\"")
        || has(b"\"eth_getwork\"")
        || (has(b"\"login\"") && has(b"\"pass\"") && (has(b"\"agent\"") || has(b"\"params\"")));
    let request = has(b"\"method\"") && mining;
    if request {
        return Match::Yes;
    }
    if first_line(bytes).is_some() { Match::No } else { Match::Maybe }
}
