//! SSDP: search and announcement of UPnP, in datagrams.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// SSDP.
pub static PROTOCOL: Protocol = Protocol { name: "ssdp", manner: Manner::Push };

/// SSDP on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    Match::when(
        bytes.starts_with(b"M-SEARCH * HTTP/1.1\r\n")
            || bytes.starts_with(b"NOTIFY * HTTP/1.1\r\n"),
    )
});
