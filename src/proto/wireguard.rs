//! WireGuard: messages whose type and length agree.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// WireGuard.
pub static PROTOCOL: Protocol = Protocol { name: "wireguard", manner: Manner::Carrier };

/// WireGuard on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    let [kind, 0, 0, 0, ..] = bytes else { return Match::No };
    Match::when(match kind {
        1 => bytes.len() == 148,
        2 => bytes.len() == 92,
        3 => bytes.len() == 64,
        // Data is padded to 16 bytes, behind a header of 16 and before a tag of 16. Its counter is
        // small enough that the upper half is zero.
        4 => {
            bytes.len() >= 32
                && bytes.len().is_multiple_of(16)
                && bytes.get(12..16) == Some(&[0; 4][..])
        }
        _ => false,
    })
});
