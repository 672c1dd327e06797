//! NTP (RFC 5905): versions 1 to 4, and the control messages of `ntpq`.

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// NTP.
pub static PROTOCOL: Protocol = Protocol { name: "ntp", manner: Manner::RequestResponse };

/// NTP on any port; on others than its own, a plain request or response of version 4.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe);

const PORT: u16 = 123;
const HEADER_BYTES: usize = 48;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    let [flags, stratum, poll, ..] = bytes else { return Match::No };
    let (version, mode) = ((flags >> 3) & 7, flags & 7);
    if probe.port == PORT && mode == 6 {
        // Flags, sequence, status, association, offset, count of data.
        let count = be16(bytes, 10).map(usize::from);
        return Match::when(count.is_some_and(|count| bytes.len() >= 12 + count));
    }
    let whole = bytes.len() >= HEADER_BYTES && bytes.len().is_multiple_of(4);
    let plausible = (1..=4).contains(&version) && *stratum <= 16 && *poll <= 17;
    let modes = if probe.port == PORT {
        (1..=5).contains(&mode)
    } else {
        version == 4 && matches!(mode, 3 | 4) && bytes.len() == HEADER_BYTES
    };
    Match::when(whole && plausible && modes)
}
