//! BitTorrent: the handshake of peers (BEP 3) and the messages of its distributed table (BEP 5).

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// BitTorrent.
pub static PROTOCOL: Protocol = Protocol { name: "bittorrent", manner: Manner::Push };

/// Peers.
pub const PEERS: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    Match::prefix(probe.opening(), b"\x13BitTorrent protocol")
});

/// The distributed table.
pub const TABLE: Registration = Registration::datagram(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    let begins = [&b"d1:ad2:id20:"[..], b"d1:rd2:id20:", b"d2:ip6:", b"d1:eli"];
    let query = begins.iter().any(|begin| bytes.starts_with(begin));
    Match::when(query && bytes.ends_with(b"e"))
});
