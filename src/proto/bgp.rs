//! BGP (RFC 4271): an OPEN message behind its marker.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// BGP.
pub static PROTOCOL: Protocol = Protocol { name: "bgp", manner: Manner::Push };

/// BGP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    Match::prefix(bytes, &[0xff; 16]).and(match bytes.get(16..20) {
        Some([0, length, 1, 4]) => Match::when(*length >= 29),
        Some(_) => Match::No,
        None => Match::Maybe,
    })
});
