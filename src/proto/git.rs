//! Git's own protocol: a request in a line whose length comes first.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// Git.
pub static PROTOCOL: Protocol = Protocol { name: "git", manner: Manner::RequestResponse };

/// Git on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    let length = bytes.get(..4).unwrap_or(bytes);
    if !length.iter().all(u8::is_ascii_hexdigit) {
        return Match::No;
    }
    let Some(request) = bytes.get(4..) else { return Match::Maybe };
    Match::prefix(request, b"git-upload-pack /")
        .or(Match::prefix(request, b"git-receive-pack /"))
        .or(Match::prefix(request, b"git-upload-archive /"))
});
