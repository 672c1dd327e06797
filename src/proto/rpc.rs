//! ONC RPC (RFC 5531): calls of the port mapper, NFS and what belongs to them.

use super::bytes::be32;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// ONC RPC.
pub static PROTOCOL: Protocol = Protocol { name: "rpc", manner: Manner::RequestResponse };

/// NFS, which runs on it.
pub static NFS: Protocol = Protocol { name: "nfs", manner: Manner::RequestResponse };

/// ONC RPC on any port, but for NFS.
pub const REGISTRATION: Registration =
    Registration::datagram(&PROTOCOL, |probe| call(probe, |program| program != NFS_PROGRAM))
        .over_both();

/// NFS on any port.
pub const NFS_REGISTRATION: Registration =
    Registration::datagram(&NFS, |probe| call(probe, |program| program == NFS_PROGRAM)).over_both();

const NFS_PROGRAM: u32 = 100_003;

fn call(probe: &Probe<'_>, wanted: fn(u32) -> bool) -> Match {
    let bytes = probe.opening();
    let message = if probe.stream {
        // A last fragment of plausible length.
        if bytes.first().is_some_and(|first| *first != 0x80) {
            return Match::No;
        }
        bytes.get(4..).unwrap_or_default()
    } else {
        bytes
    };
    let (Some(kind), Some(version), Some(program)) =
        (be32(message, 4), be32(message, 8), be32(message, 12))
    else {
        return Match::so_far(probe.stream);
    };
    let known = matches!(program, 100_000 | NFS_PROGRAM | 100_005 | 100_021 | 100_024 | 100_227);
    Match::when(kind == 0 && version == 2 && known && wanted(program))
}
