//! Flows: both directions of one conversation, who opened it, and how it went.

mod community_id;
pub mod entry;
mod key;
mod recent;
mod stream;
pub mod table;
pub mod turns;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{Endpoint, FlowFacts, IpProtocol, LinkId, Name, Protocol, Side, Tunnel, Zone};
use crate::time::Timestamp;

/// `[flow]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Flows held at a time (count). Full, unanswered openings go first, then closed flows, then
    /// idle datagram flows, then the longest idle of the rest.
    pub flows_max: usize,
    /// TCP: nothing answered the SYN for this long (seconds; Zeek's attempt delay is 5).
    pub opening_timeout_s: u64,
    /// TCP: established and silent for this long (seconds).
    pub established_timeout_s: u64,
    /// TCP: kept after a RST, or FINs that were not acknowledged (seconds). Without a flow, stragglers
    /// of connections that ended properly are known for as long.
    pub closed_timeout_s: u64,
    /// UDP and others, one direction only or a single exchange: silent for this long (seconds;
    /// Linux's conntrack: 30).
    pub datagram_timeout_s: u64,
    /// UDP and others, both directions and more than 4 packets: silent for this long (seconds;
    /// Linux's conntrack: 120).
    pub datagram_replied_timeout_s: u64,
    /// ICMP: silent for this long (seconds).
    pub icmp_timeout_s: u64,
    /// An open flow with traffic is reported again after this long (seconds).
    pub active_timeout_s: u64,
    /// Payload of each direction that protocol parsers and detectors see from its start (bytes).
    pub content_bytes: u32,
    /// Out-of-order segments held per flow direction (bytes).
    pub stream_bytes_max: usize,
    /// Out-of-order segments held over all flows (bytes).
    pub streams_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flows_max: 65_536,
            opening_timeout_s: 5,
            established_timeout_s: 3_600,
            closed_timeout_s: 2,
            datagram_timeout_s: 30,
            datagram_replied_timeout_s: 120,
            icmp_timeout_s: 30,
            active_timeout_s: 60,
            content_bytes: 16_384,
            stream_bytes_max: 65_536,
            streams_bytes_max: 8 << 20,
        }
    }
}

/// Where a flow stands. One list of idle flows per variant, see [`table`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// TCP: a SYN and no answer yet.
    Opening,
    /// TCP: SYN and SYN-ACK passed, or data mid-stream.
    Established,
    /// TCP: both FINs or a RST passed.
    Closed,
    /// Datagrams in one direction, or one question and its answers.
    Datagram,
    /// A conversation of datagrams in both directions.
    DatagramReplied,
    /// ICMP.
    Icmp,
}

impl State {
    pub(crate) const COUNT: usize = 6;

    /// Which flows go first when the table is full: what a flood is made of, then what is over,
    /// and conversations last.
    pub(crate) const EVICTION_ORDER: [Self; Self::COUNT] = [
        Self::Opening,
        Self::Closed,
        Self::Datagram,
        Self::Icmp,
        Self::DatagramReplied,
        Self::Established,
    ];
}

/// How a TCP connection went, in the words of EVE's `tcp.state`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TcpEnding {
    /// Not over, or nothing that ends it was seen.
    #[default]
    None,
    /// Both FINs.
    Fin,
    /// A reset from the given side.
    Reset(Side),
}

/// What one side sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct SideCounters {
    /// IP packets (count).
    pub packets: u64,
    /// IP packets with headers (bytes).
    pub ip_bytes: u64,
    /// Payload without retransmissions (bytes).
    pub payload_bytes: u64,
    /// Segments that brought nothing new (count).
    pub retransmissions: u32,
    /// Payload that was acknowledged or passed over, and never seen (bytes).
    pub gap_bytes: u64,
    /// Frames cut by the snap length (count).
    pub cut_frames: u32,
    /// TCP flags seen, together.
    pub tcp_flags: u8,
}

/// What happened on a TCP connection, in order, as Zeek's `conn.log` history writes it: upper case
/// from the originator, lower case from the responder; `S` SYN, `H` SYN-ACK, `A` ACK, `D` data,
/// `F` FIN, `R` RST, `T` retransmission, `G` gap, `^` direction was turned around. Each at most
/// once; 16 at most.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct History {
    letters: [u8; 16],
    /// The letters in it, one bit each: most of what is noted is known.
    noted: u64,
}

impl History {
    const fn bit(letter: u8) -> u64 {
        1 << (letter & 0x3f)
    }

    /// Notes that `letter` (upper case) came from `side`, if it has not before.
    pub fn note(&mut self, letter: u8, side: Side) {
        let letter = if side == Side::Responder { letter.to_ascii_lowercase() } else { letter };
        let bit = Self::bit(letter);
        if self.noted & bit == 0 {
            self.noted |= bit;
            if let Some(place) = self.letters.iter_mut().find(|place| **place == 0) {
                *place = letter;
            }
        }
    }

    /// Swaps the sides, and says so with `^`.
    pub fn turn_around(&mut self) {
        for letter in &mut self.letters {
            *letter = if letter.is_ascii_uppercase() {
                letter.to_ascii_lowercase()
            } else {
                letter.to_ascii_uppercase()
            };
        }
        self.letters.rotate_right(1);
        self.letters[0] = b'^';
        self.noted = self.letters.iter().fold(0, |noted, letter| noted | Self::bit(*letter));
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        let length = self.letters.iter().position(|letter| *letter == 0).unwrap_or(16);
        std::str::from_utf8(&self.letters[..length]).unwrap_or_default()
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One conversation. What each packet writes stands first and together: a flow that is not in the
/// cache costs two or three lines, not six.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Flow {
    /// Last packet.
    pub last: Timestamp,
    /// Per side, index by [`Side::index`].
    pub sides: [SideCounters; 2],
    /// Where it stands.
    pub state: State,
    /// How it ended.
    pub ending: TcpEnding,
    /// What happened, in order.
    pub history: History,
    /// Its beginning was not seen.
    pub midstream: bool,
    /// On which sides containers stand: numbers of the container table, index by [`Side::index`].
    pub containers: [Option<u32>; 2],
    /// Unique in one run, from 1, in the order of opening.
    pub id: u64,
    /// Who opened it.
    pub originator: Endpoint,
    /// Who was called. For ICMP, the host that was asked.
    pub responder: Endpoint,
    /// Upper protocol.
    pub protocol: IpProtocol,
    /// Outermost VLAN identifier; 0 without.
    pub vlan: u16,
    /// Innermost tunnel around it.
    pub tunnel: Option<Box<Tunnel>>,
    /// ICMP: type and code of the first message.
    pub icmp: Option<(u8, u8)>,
    /// The interface that saw it first.
    pub link: LinkId,
    /// First packet.
    pub opened: Timestamp,
    /// Who opened it is a guess (from ports and addresses), not seen.
    pub direction_inferred: bool,
    /// The protocol by its first bytes.
    pub app: Option<&'static Protocol>,
    /// The protocol that it began with, where another runs inside it by now: `smtp` before TLS.
    pub outer: Option<&'static Protocol>,
    /// The first bytes fit no known protocol.
    pub app_unknown: bool,
    /// What handshakes said.
    pub facts: FlowFacts,
    /// Name of the responder: SNI or HTTP host, else a DNS answer that the originator got.
    pub name: Option<Name>,
    /// Where the ends lie; index by [`Side::index`].
    pub zones: [Zone; 2],
}

impl Flow {
    /// The endpoint on a side.
    pub const fn endpoint(&self, side: Side) -> Endpoint {
        match side {
            Side::Originator => self.originator,
            Side::Responder => self.responder,
        }
    }

    /// Name of the protocol by content: `failed` where the first bytes fit none, `None` before
    /// there were enough.
    pub const fn app_name(&self) -> Option<&'static str> {
        match self.app {
            Some(app) => Some(app.name),
            None if self.app_unknown => Some("failed"),
            None => None,
        }
    }

    /// Packets of both sides (count).
    pub const fn packets(&self) -> u64 {
        self.sides[0].packets + self.sides[1].packets
    }

    /// A TCP connection of which one side was not seen, though it must have spoken: the other
    /// acknowledged what it said.
    pub const fn is_one_sided(&self) -> bool {
        let [one, other] = &self.sides;
        self.protocol.0 == IpProtocol::TCP.0
            && (one.packets == 0 && self.has_acknowledged(Side::Responder) && other.packets > 2
                || other.packets == 0 && self.has_acknowledged(Side::Originator) && one.packets > 2)
    }

    /// TCP: this side acknowledged something that the other had sent.
    pub const fn has_acknowledged(&self, side: Side) -> bool {
        const ACK: u8 = 0x10;
        self.sides[side.index()].tcp_flags & ACK != 0
    }

    /// A TCP connection that was open before its first packet was seen: how it began, and the name
    /// that was asked for before, is unknown.
    pub fn was_open_before(&self) -> bool {
        self.protocol == IpProtocol::TCP && self.midstream && self.direction_inferred
    }

    /// Payload of one side (bytes).
    pub const fn payload_bytes(&self, side: Side) -> u64 {
        self.sides[side.index()].payload_bytes
    }

    /// Community ID, version 1 with seed 0 (Corelight's specification): equal for both directions
    /// and in all tools.
    pub fn community_id(&self) -> String {
        community_id::community_id(self.originator, self.responder, self.protocol, self.icmp)
    }
}
