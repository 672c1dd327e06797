//! The nouns between the layers: who speaks, what was said, what a container did.

mod facts;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::facts::{
    Certificate, DnsAnswer, DnsData, DnsMessage, DnsQuestion, Fact, FlowFacts, HttpFacts, SshFacts,
    TlsFacts,
};
use crate::time::Timestamp;

/// An interface of the capture: a veth in live capture, a capture file's interface in replay.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LinkId(pub u32);

/// One end of a flow. Says who sent a packet, and on which end a container stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Side {
    /// The end that opened the flow.
    Originator,
    /// The end that was called.
    Responder,
}

impl Side {
    /// The other end.
    pub const fn other(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }

    /// 0 for the originator, 1 for the responder: for arrays of two.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// An address and a port. The port is 0 where the protocol has none.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Endpoint {
    /// IPv4 or IPv6; never an IPv4-mapped IPv6 address.
    pub ip: IpAddr,
    /// TCP or UDP port; 0 for other protocols.
    pub port: u16,
}

/// `192.0.2.1:443`, `[2001:db8::1]:443`, and without `:0` where there is no port.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (ip, 0) => write!(f, "{ip}"),
            (IpAddr::V4(ip), port) => write!(f, "{ip}:{port}"),
            (IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
        }
    }
}

/// IP protocol number, with the names that EVE uses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// None: what is said is about no packet (255 is reserved).
    pub const NONE: Self = Self(255);
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("ICMP"),
            Self::TCP => f.write_str("TCP"),
            Self::UDP => f.write_str("UDP"),
            Self::ICMPV6 => f.write_str("IPv6-ICMP"),
            Self::SCTP => f.write_str("SCTP"),
            Self(2) => f.write_str("IGMP"),
            Self(47) => f.write_str("GRE"),
            Self(50) => f.write_str("ESP"),
            Self(51) => f.write_str("AH"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

/// How a packet was wrapped on its way.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TunnelKind {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// RFC 2784, 2890; ERSPAN and NVGRE too.
    Gre,
    /// IPv4 or IPv6 directly in IP (RFC 2003, 2473, 4213).
    IpInIp,
}

/// The innermost tunnel around a packet: part of its flow's key, so that equal addresses in two
/// overlay networks stay two flows. The outer flow is a carrier and is not counted again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tunnel {
    /// Which encapsulation.
    pub kind: TunnelKind,
    /// VXLAN or Geneve network identifier, GRE key; 0 where there is none.
    pub id: u32,
    /// Outer source address.
    pub source: IpAddr,
    /// Outer destination address.
    pub destination: IpAddr,
}

/// What a protocol is called and how its conversations run. One constant per file in `proto/`.
#[derive(Debug, Eq, PartialEq)]
pub struct Protocol {
    /// Name in records, as Suricata's `app_proto` where it has one: `tls`, `http`, `ssh`.
    pub name: &'static str,
    /// How its conversations run, for those who judge a flow by who drives it.
    pub manner: Manner,
}

/// How a protocol's conversations run when they are what they claim to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// The originator asks, the responder answers: HTTP/1, DNS, Redis, PostgreSQL, SMTP.
    /// A responder that drives such a flow by its content is not possible.
    RequestResponse,
    /// Messages in both directions at any time: MQTT, AMQP, NATS, HTTP/2, Kafka consumers.
    Push,
    /// Carries anything, encrypted or wrapped: TLS, SSH, WebSocket, SOCKS.
    Carrier,
    /// An interactive session whose originator types: Telnet, FTP control, rlogin.
    Interactive,
}

/// A run of payload of one side, ended by the other side's answer, by a silence of
/// [`Turn::SILENCE`] or by the flow's end. Retransmissions and keep-alives are no part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Who spoke.
    pub from: Side,
    /// Payload in bytes.
    pub bytes: u64,
    /// Packets with payload. Of datagrams this says how many messages there were; how a TCP stream
    /// was cut into segments says nothing, and nobody may judge by it.
    pub packets: u32,
    /// First payload.
    pub started: Timestamp,
    /// Last payload.
    pub ended: Timestamp,
    /// Nanoseconds since any payload before it; `None` for the flow's first.
    pub silence_ns: Option<u64>,
    /// Who spoke before; `None` for the flow's first.
    pub before: Option<Side>,
    /// Position among the flow's turns, from 0.
    pub number: u32,
}

impl Turn {
    /// A pause of this many nanoseconds ends a turn (0.5 s, the OFF time of Zhang & Paxson,
    /// "Detecting Stepping Stones", USENIX Security 2000).
    pub const SILENCE_NS: u64 = 500_000_000;
    /// After this many turns only those that break a silence are reported one by one.
    pub const REPORTED_MAX: u32 = 64;
    /// Content of each reported turn that is delivered, wherever in the stream it stands (bytes): a
    /// screen's worth of lines.
    pub const HEAD_BYTES: u64 = 1_024;
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlowEnd {
    /// Both sides closed, or one reset.
    Closed,
    /// Nothing more was seen for the time-out of its state.
    Idle,
    /// It had to make room: a bound was hit.
    Evicted,
    /// A new connection took its addresses and ports.
    Reused,
    /// The capture ended.
    CaptureEnd,
}

/// What a detector sees of one container's traffic, in packet-time order, bounded in size.
/// Each event comes with its flow, and with the side on which the container stands.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The first packet of a flow.
    FlowOpened,
    /// TCP: the three-way handshake completed. UDP: the first reply. Mid-stream: both sides spoke.
    FlowEstablished,
    /// Stream payload in order: the first [`crate::flow::Settings::content_bytes`] of each
    /// direction, and the first [`Turn::HEAD_BYTES`] of each turn that is reported, however late.
    /// Both limits are places in the stream, whatever its segments are.
    Data {
        /// Who sent it.
        from: Side,
        /// Position of the first byte in its direction, from 0; counts what was not delivered too.
        offset: u64,
        /// The payload; at most one segment.
        bytes: &'a [u8],
        /// The first bytes of a turn that is reported.
        turn_head: bool,
    },
    /// A datagram's payload as sent (UDP), within the same limits as [`Event::Data`].
    Datagram {
        /// Who sent it.
        from: Side,
        /// Captured payload.
        bytes: &'a [u8],
        /// Payload on the wire in bytes.
        wire_bytes: u32,
    },
    /// An ICMP message; `flow` holds the pair of hosts.
    Icmp {
        /// Who sent it.
        from: Side,
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// What follows the 8-byte header.
        bytes: &'a [u8],
    },
    /// One side finished speaking.
    Turn {
        /// What it said, and when.
        turn: Turn,
        /// Payload of each side up to the turn's end (bytes); index by [`Side::index`].
        totals: [u64; 2],
    },
    /// The flow moved this much since the last such event: every 64 KiB, every 10 s with traffic,
    /// and at its end.
    Volume {
        /// Payload bytes per side since the last event, without retransmissions;
        /// index by [`Side::index`].
        payload_bytes: [u64; 2],
    },
    /// A protocol parser learnt something.
    Fact(Fact<'a>),
    /// The flow is over.
    FlowClosed(FlowEnd),
}

impl Event<'_> {
    /// Its kind.
    pub const fn kind(&self) -> EventKinds {
        match self {
            Self::FlowOpened | Self::FlowEstablished => EventKinds::OPENED,
            Self::Data { .. } | Self::Datagram { .. } | Self::Icmp { .. } => EventKinds::CONTENT,
            Self::Turn { .. } => EventKinds::TURN,
            Self::Volume { .. } => EventKinds::VOLUME,
            Self::Fact(_) => EventKinds::FACT,
            Self::FlowClosed(_) => EventKinds::CLOSED,
        }
    }
}

/// Kinds of events: what a detector hears of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EventKinds(u8);

impl EventKinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// [`Event::FlowOpened`] and [`Event::FlowEstablished`].
    pub const OPENED: Self = Self(1);
    /// Payload as it was sent: [`Event::Data`], [`Event::Datagram`] and [`Event::Icmp`].
    pub const CONTENT: Self = Self(2);
    /// [`Event::Turn`].
    pub const TURN: Self = Self(4);
    /// [`Event::Volume`].
    pub const VOLUME: Self = Self(8);
    /// [`Event::Fact`].
    pub const FACT: Self = Self(16);
    /// [`Event::FlowClosed`].
    pub const CLOSED: Self = Self(32);

    /// These and those.
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// One of those is among these.
    pub const fn meet(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// A name that flows share.
pub type Name = Arc<str>;

/// Where an address lies, as seen from a container.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Zone {
    /// Loopback.
    Host,
    /// 169.254.0.0/16 and fe80::/10: metadata services live here.
    LinkLocal,
    /// Pod, service and node networks, and other private ranges (RFC 1918, 4193, 6598).
    Cluster,
    /// Multicast and broadcast.
    Group,
    /// Anything else: the outside.
    External,
}

impl Zone {
    /// The zone of an address by its range alone; networks from the configuration are asked first
    /// by the container table.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                match (a, b) {
                    (127, _) => Self::Host,
                    (169, 254) => Self::LinkLocal,
                    (10, _) | (192, 168) | (172, 16..=31) | (100, 64..=127) => Self::Cluster,
                    (224..=239, _) => Self::Group,
                    _ if v4.is_broadcast() || v4.is_unspecified() => Self::Group,
                    _ => Self::External,
                }
            }
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        match v6.octets() {
            [0xff, ..] => Self::Group,
            [0xfe, second, ..] if second & 0xc0 == 0x80 => Self::LinkLocal,
            [first, ..] if first & 0xfe == 0xfc => Self::Cluster,
            _ if v6.is_loopback() => Self::Host,
            _ if v6.is_unspecified() => Self::Group,
            _ => Self::External,
        }
    }
}
