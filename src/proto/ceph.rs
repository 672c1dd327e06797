//! Ceph's messenger, versions 1 and 2: the banners of both sides.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// Ceph.
pub static PROTOCOL: Protocol = Protocol { name: "ceph", manner: Manner::Push };

/// Ceph on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
        match (banner(probe.opening()), probe.answer()) {
            (Match::Yes, []) => Match::Awaits,
            (opening, []) => opening,
            (opening, answer) => opening.and(banner(answer)),
        }
    })
    .of_both_sides();

fn banner(bytes: &[u8]) -> Match {
    Match::prefix(bytes, b"ceph v027").or(Match::prefix(bytes, b"ceph v2\n"))
}
