//! ZooKeeper: a connection request, which has one of two lengths.

use super::bytes::be32;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// ZooKeeper.
pub static PROTOCOL: Protocol = Protocol { name: "zookeeper", manner: Manner::Push };

/// ZooKeeper on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    let head =
        Match::prefix(bytes, b"\0\0\0\x2c\0\0\0\0").or(Match::prefix(bytes, b"\0\0\0\x2d\0\0\0\0"));
    // Version, last transaction, time-out, session, a password of 16 bytes.
    head.and(match (be32(bytes, 16), be32(bytes, 28)) {
        (Some(timeout_ms), Some(password)) => {
            Match::when(password == 16 && (1..=3_600_000).contains(&timeout_ms))
        }
        _ => Match::Maybe,
    })
});
