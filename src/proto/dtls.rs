//! DTLS 1.0 to 1.3 (RFC 6347, 9147): a record whose length fits its datagram. By name only.

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// DTLS.
pub static PROTOCOL: Protocol = Protocol { name: "dtls", manner: Manner::Carrier };

/// DTLS on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe);

const HEADER_BYTES: usize = 13;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    // 1.0 before it was one (OpenSSL 0.9.8) has 1.0 as its version.
    let [kind @ 20..=23, major, minor, ..] = bytes else { return Match::No };
    let version = matches!((*major, *minor), (0xfe, 0xff | 0xfd) | (1, 0));
    let whole = be16(bytes, 11)
        .is_some_and(|length| length > 0 && HEADER_BYTES + usize::from(length) <= bytes.len());
    let message = match bytes.get(HEADER_BYTES) {
        // Epoch 0 is in plain: a hello of either side, or a request for a cookie.
        Some(message) if *kind == 22 && be16(bytes, 3) == Some(0) => matches!(message, 1..=3),
        Some(_) => true,
        None => false,
    };
    Match::when(version && whole && message)
}
