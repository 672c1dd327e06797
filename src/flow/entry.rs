//! One flow under way: counters, TCP state, streams and turns, packet by packet.

use super::key::opens;
use super::stream::{Place, Stream};
use super::turns::Turns;
use super::{Flow, History, Settings, SideCounters, State, TcpEnding};
use crate::decode::{Packet, Tcp, Transport};
use crate::event::{FlowFacts, IpProtocol, LinkId, Side, Zone};
use crate::time::Timestamp;

/// A flow with what is tracked about it; `S` is its protocol session. What each packet writes stands
/// first, in cache lines of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Entry<S> {
    streams: [Stream; 2],
    pub(super) originator_low: bool,
    pub(super) has_waited: bool,
    answered: bool,
    /// The handshake, or the first answer, was announced.
    pub established: bool,
    initial_sequence: u32,
    fins: [bool; 2],
    /// The flow as others see it.
    pub flow: Flow,
    /// Who speaks.
    pub turns: Turns,
    /// Payload since the last volume event, per side (bytes).
    pub unreported_bytes: [u64; 2],
    /// When the last volume event was.
    pub volume_at: Timestamp,
    /// When the last record was.
    pub reported_at: Timestamp,
    /// Its protocol session.
    pub session: S,
}

/// What of a packet's payload is new, and where it stands in the stream.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Bytes lost just before it.
    pub gap_bytes: u32,
    /// Bytes at the start of the packet's payload that were seen before.
    pub skip_bytes: u32,
    /// New bytes on the wire; 0 where the packet brings nothing new now.
    pub new_bytes: u32,
    /// Payload that had to wait and could not: a bound was hit (bytes).
    pub dropped_bytes: u32,
}

impl Segment {
    pub(super) const NOTHING: Self =
        Self { gap_bytes: 0, skip_bytes: 0, new_bytes: 0, dropped_bytes: 0 };

    /// Of a segment that had waited.
    pub(crate) const fn of_due(due: &Due) -> Self {
        let Due { gap_bytes, new_bytes, .. } = *due;
        Self { gap_bytes, new_bytes, ..Self::NOTHING }
    }
}

/// A segment that had waited and is due.
#[derive(Debug)]
pub struct Due {
    /// Bytes lost just before it.
    pub gap_bytes: u32,
    /// Its captured bytes.
    pub bytes: Vec<u8>,
    /// New bytes on the wire.
    pub new_bytes: u32,
}

/// Datagrams that one question and its answers take; with more, both ways, it is a conversation
/// (Linux's conntrack also keeps only those for longer).
const EXCHANGE_PACKETS: u64 = 4;

impl<S: Default> Entry<S> {
    /// A flow that this packet opens.
    pub(super) fn open(
        id: u64,
        at: Timestamp,
        link: LinkId,
        packet: &Packet<'_>,
        source_low: bool,
    ) -> Self {
        let opening = opens(packet);
        let (originator, responder) = if opening.source_opens {
            (packet.from(), packet.to())
        } else {
            (packet.to(), packet.from())
        };
        let state = match packet.transport {
            Transport::Tcp(tcp) if tcp.has(Tcp::SYN) => State::Opening,
            Transport::Tcp(_) => State::Established,
            Transport::Icmp { .. } => State::Icmp,
            Transport::Udp { .. } | Transport::Sctp { .. } | Transport::Other => State::Datagram,
        };
        let icmp = match packet.transport {
            Transport::Icmp { kind, code, .. } => Some((kind, code)),
            _ => None,
        };
        let mut history = History::default();
        if opening.midstream && packet.protocol == IpProtocol::TCP && !opening.source_opens {
            history.note(b'^', Side::Originator);
        }
        Self {
            flow: Flow {
                id,
                originator,
                responder,
                protocol: packet.protocol,
                vlan: packet.vlan,
                tunnel: packet.tunnel.map(Box::new),
                icmp,
                link,
                opened: at,
                last: at,
                state,
                ending: TcpEnding::None,
                sides: [SideCounters::default(); 2],
                history,
                midstream: opening.midstream,
                direction_inferred: !opening.seen && opening.midstream,
                app: None,
                outer: None,
                app_unknown: false,
                facts: FlowFacts::default(),
                name: None,
                containers: [None; 2],
                zones: [Zone::External; 2],
            },
            session: S::default(),
            turns: Turns::new(),
            unreported_bytes: [0; 2],
            volume_at: at,
            reported_at: at,
            established: false,
            originator_low: source_low == opening.source_opens,
            has_waited: false,
            answered: false,
            initial_sequence: 0,
            fins: [false; 2],
            streams: [Stream::default(), Stream::default()],
        }
    }

    /// A SYN on this flow's addresses and ports opens another connection.
    pub(super) fn is_reused_by(&self, syn: &Tcp) -> bool {
        match self.flow.state {
            State::Opening => false,
            State::Closed => true,
            _ => self.initial_sequence != syn.sequence,
        }
    }

    /// Counts a packet. `room` is what may wait over all flows (bytes). Returns what is new in its
    /// payload, and whether the flow is established by it.
    pub(super) fn count(
        &mut self,
        at: Timestamp,
        from: Side,
        packet: &Packet<'_>,
        settings: &Settings,
        room: usize,
    ) -> (Segment, bool) {
        let flow = &mut self.flow;
        flow.last = at;
        let side = &mut flow.sides[from.index()];
        side.packets += 1;
        side.ip_bytes += u64::from(packet.ip_bytes);
        if packet.payload.len() < packet.payload_bytes as usize {
            side.cut_frames = side.cut_frames.saturating_add(1);
        }
        let segment = match &packet.transport {
            Transport::Tcp(tcp) => self.count_tcp(at, from, tcp, packet, settings, room),
            _ => {
                let both = flow.sides.iter().all(|side| side.packets > 0);
                if flow.state == State::Datagram && both && flow.packets() > EXCHANGE_PACKETS {
                    flow.state = State::DatagramReplied;
                }
                Segment { new_bytes: packet.payload_bytes, ..Segment::NOTHING }
            }
        };
        self.flow.sides[from.index()].payload_bytes += u64::from(segment.new_bytes);
        self.flow.sides[from.index()].gap_bytes += u64::from(segment.gap_bytes);
        let established = !self.established && self.is_established(from);
        self.established |= established;
        (segment, established)
    }

    fn is_established(&self, from: Side) -> bool {
        let both = self.flow.sides.iter().all(|side| side.packets > 0);
        match self.flow.state {
            State::Opening | State::Closed => false,
            State::Established => both && (self.flow.midstream || from == Side::Originator),
            State::Datagram | State::DatagramReplied | State::Icmp => both,
        }
    }

    fn count_tcp(
        &mut self,
        at: Timestamp,
        from: Side,
        tcp: &Tcp,
        packet: &Packet<'_>,
        settings: &Settings,
        room: usize,
    ) -> Segment {
        let flow = &mut self.flow;
        flow.sides[from.index()].tcp_flags |= tcp.flags;
        let mut sequence = tcp.sequence;
        if tcp.flags & (Tcp::SYN | Tcp::FIN | Tcp::RST) != 0 {
            self.control(from, tcp);
            if tcp.has(Tcp::SYN) {
                sequence = sequence.wrapping_add(1);
            }
        } else if self.flow.state == State::Opening
            && tcp.has(Tcp::ACK)
            && (self.answered || from == Side::Originator)
        {
            // Whoever acknowledges more than a SYN has seen the other's, captured or not.
            self.flow.state = State::Established;
        }
        if tcp.has(Tcp::ACK) {
            self.streams[from.other().index()].acknowledge(tcp.acknowledgement);
        }
        if packet.payload_bytes == 0 || tcp.has(Tcp::RST) {
            if tcp.flags & (Tcp::SYN | Tcp::FIN | Tcp::RST) == 0 {
                self.flow.history.note(b'A', from);
            }
            return Segment::NOTHING;
        }
        self.place(at, from, sequence, packet, settings, room)
    }

    fn control(&mut self, from: Side, tcp: &Tcp) {
        let flow = &mut self.flow;
        if tcp.has(Tcp::SYN) {
            self.streams[from.index()].open(tcp.sequence);
            if tcp.has(Tcp::ACK) {
                self.answered = true;
                flow.history.note(b'H', from);
            } else {
                self.initial_sequence = tcp.sequence;
                flow.history.note(b'S', from);
                if flow.sides[from.index()].packets > 1 {
                    flow.history.note(b'T', from);
                    let side = &mut flow.sides[from.index()];
                    side.retransmissions = side.retransmissions.saturating_add(1);
                }
            }
        }
        if tcp.has(Tcp::RST) {
            flow.history.note(b'R', from);
            if flow.state != State::Closed {
                flow.ending = TcpEnding::Reset(from);
                flow.state = State::Closed;
            }
        } else if tcp.has(Tcp::FIN) {
            flow.history.note(b'F', from);
            self.fins[from.index()] = true;
            if self.fins == [true; 2] && flow.state != State::Closed {
                flow.ending = TcpEnding::Fin;
                flow.state = State::Closed;
            }
        }
    }

    /// Finds the place of a packet's payload in its stream, or lets it wait.
    fn place(
        &mut self,
        at: Timestamp,
        from: Side,
        sequence: u32,
        packet: &Packet<'_>,
        settings: &Settings,
        room: usize,
    ) -> Segment {
        let flow = &mut self.flow;
        let wire_bytes = packet.payload_bytes;
        let stream = &mut self.streams[from.index()];
        let side = &mut flow.sides[from.index()];
        let keep = side.payload_bytes < u64::from(settings.content_bytes);
        let (gap_bytes, place) = stream.place(sequence, wire_bytes, keep);
        match place {
            Place::Next { skip } => {
                flow.history.note(b'D', from);
                if gap_bytes > 0 {
                    flow.history.note(b'G', from);
                }
                if skip > 0 {
                    flow.history.note(b'T', from);
                }
                let new_bytes = wire_bytes - skip;
                Segment { gap_bytes, skip_bytes: skip, new_bytes, dropped_bytes: 0 }
            }
            Place::Old => {
                if wire_bytes > 1 {
                    side.retransmissions = side.retransmissions.saturating_add(1);
                    flow.history.note(b'T', from);
                }
                Segment::NOTHING
            }
            Place::Late => {
                let late = u64::from(wire_bytes);
                side.gap_bytes = side.gap_bytes.saturating_sub(late);
                side.payload_bytes += late;
                self.unreported_bytes[from.index()] += late;
                Segment::NOTHING
            }
            Place::Early { .. } => {
                self.has_waited = true;
                let bound = settings.stream_bytes_max.min(room + stream.waiting_bytes());
                let kept = stream.wait(at, sequence, wire_bytes, packet.payload, bound);
                let dropped_bytes = if kept { 0 } else { wire_bytes };
                Segment { dropped_bytes, ..Segment::NOTHING }
            }
        }
    }

    /// The sequence numbers after both FINs (of originator and responder), where they are
    /// acknowledged: nothing more can come.
    pub(super) fn acknowledged_ends(&self) -> Option<[u32; 2]> {
        if self.flow.ending != TcpEnding::Fin {
            return None;
        }
        let [one, other] = &self.streams;
        Some([one.acknowledged_end()?, other.acknowledged_end()?])
    }

    /// The next segment of a side that had waited and is due; all of them, where `give_up`.
    pub fn next_due(&mut self, at: Timestamp, from: Side, give_up: bool) -> Option<Due> {
        if !self.has_waited {
            return None;
        }
        let due = self.streams[from.index()].next_due(at, give_up)?;
        let side = &mut self.flow.sides[from.index()];
        side.payload_bytes += u64::from(due.wire_bytes);
        side.gap_bytes += u64::from(due.gap);
        self.flow.history.note(b'D', from);
        if due.gap > 0 {
            self.flow.history.note(b'G', from);
        }
        Some(Due { gap_bytes: due.gap, bytes: due.bytes, new_bytes: due.wire_bytes })
    }

    /// Something waits for a hole to fill.
    pub const fn has_waiting(&self, from: Side) -> bool {
        self.has_waited && self.streams[from.index()].has_waiting()
    }

    /// Payload that waits (bytes).
    pub fn waiting_bytes(&self) -> usize {
        if !self.has_waited {
            return 0;
        }
        self.streams.iter().map(Stream::waiting_bytes).sum()
    }

    /// The originator and the responder were taken for one another: swaps them.
    pub fn turn_around(&mut self) {
        let flow = &mut self.flow;
        std::mem::swap(&mut flow.originator, &mut flow.responder);
        flow.sides.swap(0, 1);
        flow.containers.swap(0, 1);
        flow.zones.swap(0, 1);
        flow.history.turn_around();
        self.unreported_bytes.swap(0, 1);
        self.fins.swap(0, 1);
        self.streams.swap(0, 1);
        self.turns.turn_around();
        self.originator_low = !self.originator_low;
    }
}
