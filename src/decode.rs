//! Frames to packets.
//!
//! Checksums are not verified: a veth leaves them unfilled. A frame that the snap length cut decodes
//! as far as it goes; volumes come from the IP lengths, never from the captured ones.
//!
//! A frame is unwrapped from the outside in, one file a layer: [`link`], [`network`], [`tunnel`],
//! [`transport`]; [`walk`] is what they share. [`fragments`] puts IP packets together again.

mod walk;
mod link;
mod network;
mod tunnel;
mod transport;
mod fragments;

use std::cell::Cell;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::fragments::FragmentCounts;
use self::fragments::Reassembly;
use self::walk::{TunnelPorts, Walk};
use crate::event::{Endpoint, IpProtocol, Tunnel};
use crate::time::Timestamp;

/// What a frame begins with: libpcap's DLT or LINKTYPE values that vethwatch reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkType {
    /// Ethernet (1).
    Ethernet,
    /// Linux cooked capture, version 1 (113).
    LinuxSll,
    /// Linux cooked capture, version 2 (276).
    LinuxSll2,
    /// IPv4 or IPv6 without a link header (12, 14, 101, 228, 229).
    RawIp,
    /// BSD loopback: address family in host byte order of the writer (0).
    Null,
    /// OpenBSD loopback: address family in network byte order (108).
    Loop,
}

impl LinkType {
    /// From the number in a capture file's header; `None` where vethwatch cannot read it.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            113 => Some(Self::LinuxSll),
            276 => Some(Self::LinuxSll2),
            12 | 14 | 101 | 228 | 229 => Some(Self::RawIp),
            0 => Some(Self::Null),
            108 => Some(Self::Loop),
            _ => None,
        }
    }

    /// The number that a capture file's header has for it.
    pub const fn number(self) -> u32 {
        match self {
            Self::Ethernet => 1,
            Self::LinuxSll => 113,
            Self::LinuxSll2 => 276,
            Self::RawIp => 101,
            Self::Null => 0,
            Self::Loop => 108,
        }
    }
}

/// A frame as captured.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it was captured.
    pub at: Timestamp,
    /// What it begins with.
    pub link_type: LinkType,
    /// Length on the wire in bytes; more than `bytes` where the snap length cut it.
    pub wire_bytes: u32,
    /// Captured bytes.
    pub bytes: &'a [u8],
}

impl Frame<'_> {
    /// Link addresses (source, destination), where it is Ethernet.
    pub fn link_addresses(&self) -> Option<([u8; 6], [u8; 6])> {
        if self.link_type != LinkType::Ethernet {
            return None;
        }
        let (destination, rest) = self.bytes.split_first_chunk()?;
        Some((*rest.first_chunk()?, *destination))
    }

    /// Whether the capturing host sent the frame, where its link header says so: Linux cooked
    /// captures do (`PACKET_OUTGOING` is 4 in `linux/if_packet.h`).
    pub fn is_outgoing(&self) -> Option<bool> {
        const OUTGOING: u8 = 4;
        match self.link_type {
            LinkType::LinuxSll => self.bytes.get(1).map(|kind| *kind == OUTGOING),
            LinkType::LinuxSll2 => self.bytes.get(10).map(|kind| *kind == OUTGOING),
            _ => None,
        }
    }

    /// The frame is on the host's loopback interface (`ARPHRD_LOOPBACK` is 772 in `linux/if_arp.h`),
    /// where its link header says so.
    pub fn is_loopback(&self) -> bool {
        const LOOPBACK: [u8; 2] = 772_u16.to_be_bytes();
        match self.link_type {
            LinkType::LinuxSll => self.bytes.get(2..4) == Some(&LOOPBACK),
            LinkType::LinuxSll2 => self.bytes.get(8..10) == Some(&LOOPBACK),
            LinkType::Null | LinkType::Loop => true,
            LinkType::Ethernet | LinkType::RawIp => false,
        }
    }
}

/// One IP packet, unwrapped.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper protocol.
    pub protocol: IpProtocol,
    /// What of the upper protocol's header matters.
    pub transport: Transport,
    /// IP packet on the wire, header included, in bytes. Where the header's length is zero (GRO
    /// above 64 KiB), from the frame's length.
    pub ip_bytes: u32,
    /// Time to live (IPv4) or hop limit (IPv6): each router on the way took one (hops).
    pub hop_limit: u8,
    /// Captured payload above the transport header; ends at the IP length (Ethernet padding is no
    /// part of it).
    pub payload: &'a [u8],
    /// Payload on the wire in bytes.
    pub payload_bytes: u32,
    /// Outermost VLAN identifier; 0 without a tag.
    pub vlan: u16,
    /// Innermost tunnel around this packet.
    pub tunnel: Option<Tunnel>,
}

impl Packet<'_> {
    /// Where it comes from.
    pub const fn from(&self) -> Endpoint {
        Endpoint { ip: self.source, port: self.transport.ports().0 }
    }

    /// Where it goes.
    pub const fn to(&self) -> Endpoint {
        Endpoint { ip: self.destination, port: self.transport.ports().1 }
    }
}

/// The transport header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp(Tcp),
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// SCTP: the ports of its common header. The payload is its chunks.
    Sctp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP or ICMPv6. The payload is what follows the 8-byte header.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier of an echo message; 0 otherwise.
        id: u16,
        /// Sequence number of an echo message; 0 otherwise.
        sequence: u16,
    },
    /// Any other; also a header that the snap length cut away.
    Other,
}

impl Transport {
    const fn ports(&self) -> (u16, u16) {
        match self {
            Self::Tcp(tcp) => (tcp.source, tcp.destination),
            Self::Udp { source, destination } | Self::Sctp { source, destination } => {
                (*source, *destination)
            }
            Self::Icmp { .. } | Self::Other => (0, 0),
        }
    }
}

/// The parts of a TCP header that flow tracking reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number of the first payload byte (of the SYN, where there is one).
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// The flags byte: see the constants.
    pub flags: u8,
    /// Window as on the wire, unscaled.
    pub window: u16,
}

impl Tcp {
    /// Sender is done.
    pub const FIN: u8 = 0x01;
    /// Opens.
    pub const SYN: u8 = 0x02;
    /// Aborts.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// Acknowledgement number is valid.
    pub const ACK: u8 = 0x10;

    /// All of `flags` are set.
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// `[decode]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// UDP ports taken as VXLAN (IANA 4789; 8472 is Linux's and flannel's default).
    pub vxlan_ports: Vec<u16>,
    /// UDP ports taken as Geneve (IANA 6081).
    pub geneve_ports: Vec<u16>,
    /// IP packets under reassembly at a time (count).
    pub fragments_max: usize,
    /// Bytes held for packets under reassembly, over all of them.
    pub fragment_bytes_max: usize,
    /// A packet whose fragments have not all come after this is dropped (seconds; Linux: 30).
    pub fragment_timeout_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            vxlan_ports: vec![4789, 8472],
            geneve_ports: vec![6081],
            fragments_max: 256,
            fragment_bytes_max: 4 << 20,
            fragment_timeout_s: 30,
        }
    }
}

/// Why a frame yielded no packet. Counted per variant; never logged per packet, never fatal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside its link header, or inside the tags that follow it.
    #[error("the frame ends inside its link header")]
    NoLink,
    /// Not IP: ARP, LLDP and the like.
    #[error("the frame holds no IP packet")]
    NotIp,
    /// The frame ends inside its IP header.
    #[error("the frame ends inside its IP header")]
    NoIp,
    /// The IP header contradicts itself.
    #[error("the IP header contradicts itself")]
    BadIp,
    /// More headers inside one another than are followed.
    #[error("more headers inside one another than are followed")]
    TooDeep,
    /// A fragment: kept, or dropped for its bound.
    #[error("a fragment, and the rest is not there yet")]
    Fragment,
}

/// Turns frames into packets; holds the fragments that wait for their rest.
#[derive(Debug)]
pub struct Decoder {
    ports: TunnelPorts,
    reassembly: Reassembly,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Decoder {
    /// A decoder with nothing held.
    pub fn new(settings: Settings) -> Self {
        Self { ports: TunnelPorts::new(&settings), reassembly: Reassembly::new(&settings) }
    }

    /// The packet in a frame; for tunnels, the innermost. The fragment that completes a packet
    /// gives the whole of it.
    ///
    /// # Errors
    /// Says why there is none.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>) -> Result<Packet<'a>, DecodeError> {
        let stopped = Cell::new(None);
        match Walk::new(&self.ports, &stopped).frame(frame) {
            Err(DecodeError::Fragment) => {
                self.reassembly.resume(frame.at, &self.ports, stopped.take())
            }
            done => done,
        }
    }

    /// Frames that hold more tunnels inside one another than are followed, since the last time
    /// (count). Each gave the packet of the last tunnel that was.
    pub fn take_too_deep(&self) -> u64 {
        self.ports.too_deep.take()
    }

    /// What became of the fragments so far.
    pub const fn fragments(&self) -> FragmentCounts {
        self.reassembly.counts()
    }
}

#[cfg(test)]
mod tests;
