//! QUIC (RFC 9000, 9369), its drafts and what came before them: by the long header. By name only.

use super::bytes::be32;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// QUIC.
pub static PROTOCOL: Protocol = Protocol { name: "quic", manner: Manner::Carrier };

/// QUIC on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe);

/// Longest connection identifier (RFC 9000, section 17.2) in bytes.
const ID_BYTES_MAX: u8 = 20;

/// Shortest first datagram of a client (RFC 9000, section 14.1) in bytes.
const INITIAL_BYTES_MIN: usize = 1_200;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    let [flags, ..] = bytes else { return Match::No };
    if flags & 0x80 == 0 {
        return Match::when(google(bytes));
    }
    let (Some(version), Some(id_bytes)) = (be32(bytes, 1), bytes.get(5)) else { return Match::No };
    let source = 6 + usize::from(*id_bytes);
    let Some(source_bytes) = bytes.get(source) else { return Match::No };
    let ids = *id_bytes <= ID_BYTES_MAX && *source_bytes <= ID_BYTES_MAX;
    if version == 0 {
        // Version negotiation: a list of versions fills the rest.
        let list = bytes.len().checked_sub(source + 1 + usize::from(*source_bytes));
        return Match::when(ids && list.is_some_and(|list| list >= 4 && list % 4 == 0));
    }
    let fixed = flags & 0x40 != 0;
    // A server's first datagram may be short; a client's may not.
    let long = probe.first == Side::Responder || bytes.len() >= INITIAL_BYTES_MIN;
    Match::when(ids && fixed && long && is_version(version))
}

/// Version 1 and 2, the drafts of version 1, Facebook's and Google's.
fn is_version(version: u32) -> bool {
    let google = version.to_be_bytes();
    matches!(version, 1 | 0x6b33_43cf | 0xff00_0001..=0xff00_0022 | 0xface_b000..=0xface_b00f)
        || matches!(google, [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9'])
        || version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// Google's own, until its version 43: flags, connection, version, and an opening of its handshake.
fn google(bytes: &[u8]) -> bool {
    let [flags, _, _, _, _, _, _, _, _, b'Q', b'0', tens, ones, ..] = bytes else { return false };
    flags & 0x09 == 0x09 && tens.is_ascii_digit() && ones.is_ascii_digit() && bytes.len() > 100
}
