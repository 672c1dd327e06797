//! What a flow's bytes are wrapped in: what can be read of them, and what their rhythm may mean.

use super::heads::{Head, Opening};
use super::rhythm::Framing;
use crate::detect::Seen;
use crate::event::{Manner, Turn};

/// What a flow's bytes are wrapped in, as far as that matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Channel {
    /// No known protocol: text, or a cipher of its own.
    Raw,
    /// TLS, whatever is inside.
    Tls,
    /// SSH.
    Ssh,
    /// An HTTP/1 connection that was upgraded.
    Upgraded,
    /// A protocol that is what it claims to be, as far as its first bytes tell.
    Known,
}

impl Channel {
    pub(super) fn of(seen: &Seen<'_>) -> Self {
        match seen.flow.app {
            None => Self::Raw,
            Some(app) => match app.name {
                "tls" => Self::Tls,
                "ssh" => Self::Ssh,
                "websocket" => Self::Upgraded,
                // What is typed over it is text in the clear, and its options are few bytes.
                "telnet" | "rlogin" => Self::Raw,
                "http" if is_upgraded(seen) => Self::Upgraded,
                _ if app.manner == Manner::Carrier => Self::Raw,
                _ => Self::Known,
            },
        }
    }

    pub(super) const fn is_cipher(self) -> bool {
        matches!(self, Self::Tls | Self::Ssh)
    }

    /// TLS 1.3 adds 22 bytes to a record (RFC 8446, 5.2), TLS 1.2 with AES-GCM 29. SSH adds 28 or
    /// more, and a keystroke inside a second SSH of its own takes up to 180 bytes. A server's
    /// WebSocket frame takes 2 (RFC 6455); in TLS it may carry a little JSON around a key.
    pub(super) const fn framing(self) -> Framing {
        match self {
            Self::Tls => Framing { overhead_bytes: 22, keystroke_bytes: 40 },
            Self::Ssh => Framing { overhead_bytes: 28, keystroke_bytes: 152 },
            Self::Upgraded => Framing { overhead_bytes: 2, keystroke_bytes: 40 },
            Self::Raw | Self::Known => Framing { overhead_bytes: 0, keystroke_bytes: 48 },
        }
    }
}

/// The first request of an HTTP connection asked for another protocol, and got it.
fn is_upgraded(seen: &Seen<'_>) -> bool {
    seen.flow
        .facts
        .http
        .as_deref()
        .is_some_and(|http| http.upgrade.is_some() && matches!(http.status, 0 | 101))
}

/// What is said on such a channel can be read as text. What begins as a known protocol, or with a
/// handshake, may be a disguise, but only the peer shows it.
pub(super) const fn may_be_read(channel: Channel, own: bool) -> bool {
    match channel {
        Channel::Raw => true,
        Channel::Known | Channel::Tls | Channel::Ssh => !own,
        // Masked frames: judged by rhythm.
        Channel::Upgraded => false,
    }
}

/// Whether a turn that begins so is read. No record of TLS and no packet of SSH is a whole line with
/// a command: it contradicts the handshake before it.
pub(super) fn opening(
    head: &Head,
    channel: Channel,
    own: bool,
    more: bool,
    whole: bool,
) -> Opening {
    match head.opening(own, channel != Channel::Raw, more, whole) {
        Opening::Read if channel.is_cipher() && !head.is_command() => Opening::Pass,
        opening => opening,
    }
}

const SSH_PORT: u16 = 22;

/// Whether the rhythm of this flow may mean anything.
pub(super) fn has_rhythm(seen: &Seen<'_>, channel: Channel) -> bool {
    if channel == Channel::Known {
        return false;
    }
    if seen.outbound() {
        return true;
    }
    // Servers are driven from outside by nature; an SSH server is asked for a shell by design.
    let web = seen.flow.facts.tls.as_deref().is_some_and(|tls| !tls.alpn_offered.is_empty());
    // Without its first bytes, SSH is told by its port.
    let older_ssh = seen.flow.midstream && seen.flow.responder.port == SSH_PORT;
    channel != Channel::Ssh && !older_ssh && !web
}

/// Turns of a handshake (count): a hello each, the client's keys and end, the server's end and tickets
/// (RFC 8446, 2; RFC 5246, 7.3). A hello that is asked for again adds two that nobody waits for.
const HANDSHAKE_TURNS: u32 = 4;

/// A turn of a handshake that is not over. One that the capture lacks a part of never seems to be, and
/// must not hide what follows.
pub(super) fn is_handshake(seen: &Seen<'_>, turn: &Turn) -> bool {
    let tls = seen.flow.facts.tls.as_deref();
    turn.number < HANDSHAKE_TURNS && tls.is_some_and(|tls| !tls.established)
}
