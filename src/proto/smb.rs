//! SMB 1 to 3 over TCP: a session message whose length is plausible, and the protocol's mark.

use super::bytes::be24;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// SMB.
pub static PROTOCOL: Protocol = Protocol { name: "smb", manner: Manner::RequestResponse };

/// SMB on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe);

/// Longest message (bytes).
const MESSAGE_BYTES_MAX: u32 = 0x2_0000;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    match bytes {
        // A session request of NetBIOS (RFC 1002): two names of 34 bytes.
        [0x81, rest @ ..] => Match::prefix(rest, b"\0\0\x44\x20"),
        [0, ..] => {
            let marks = [b"\xffSMB", b"\xfeSMB", b"\xfdSMB"];
            let marked = marks.iter().fold(Match::No, |so_far, mark| {
                so_far.or(Match::prefix(bytes.get(4..).unwrap_or_default(), *mark))
            });
            let length =
                be24(bytes, 1).is_none_or(|length| (32..=MESSAGE_BYTES_MAX).contains(&length));
            if length { marked } else { Match::No }
        }
        _ => Match::No,
    }
}
