//! SNMP, versions 1 to 3: a message in BER that fills its datagram.

use super::bytes::ber;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// SNMP.
pub static PROTOCOL: Protocol = Protocol { name: "snmp", manner: Manner::RequestResponse };

/// SNMP on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe);

fn probe(probe: &Probe<'_>) -> Match {
    Match::when(fits(probe.opening()).unwrap_or_default())
}

fn fits(bytes: &[u8]) -> Option<bool> {
    let (length, header) = ber(bytes)?;
    let message = bytes.get(header..)?;
    let [2, 1, version, rest @ ..] = message else { return Some(false) };
    let whole = bytes.first() == Some(&0x30) && message.len() == length;
    Some(match version {
        // A community, then the request itself.
        0 | 1 => {
            let (community, header) = ber(rest)?;
            let request = rest.get(header + community)?;
            whole && rest.first() == Some(&4) && (0xa0..=0xa8).contains(request)
        }
        3 => whole && rest.first() == Some(&0x30),
        _ => false,
    })
}
