//! All flows: found by key, ended by time-out, bounded in number.
//!
//! Slots live in chunks, so that growth copies nothing. Time-outs are kept by a wheel of one bucket
//! per second of packet time: a packet only writes its flow's `last`; when a bucket's second has
//! passed, each flow in it either ends or moves to the bucket of its real deadline. So the cost per
//! packet is constant, and flows end at the same packet time whatever ticks came between.
//! For evictions, each [`State`] has a queue in the order of entering it.

mod order;

use hashbrown::HashTable;

use super::entry::{Entry, Segment};
use super::key::FlowKey;
use super::recent::RecentlyEnded;
use super::{Settings, State};
use crate::decode::{Packet, Tcp, Transport};
use crate::event::{FlowEnd, LinkId, Side};
use crate::time::Timestamp;

/// Seconds around the wheel; longer time-outs are taken in several rounds.
const WHEEL: usize = 4_096;
/// Slots per chunk.
const CHUNK: usize = 1_024;
/// Established flows looked at for an idle one before the oldest has to go.
const SECOND_CHANCES: u32 = 8;
/// No slot.
const NONE: u32 = u32::MAX;

/// Number of a flow's slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowRef(u32);

/// What a packet did to its flow.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    /// Its slot.
    pub flow: FlowRef,
    /// Who sent the packet.
    pub from: Side,
    /// The packet opened it.
    pub new: bool,
    /// The handshake completed, or the first answer came.
    pub established: bool,
    /// The connection is over: both sides are done, or one gave up.
    pub closed: bool,
    /// Nothing more can come: both sides are done, and know it of one another.
    pub complete: bool,
    /// What the packet brought of the stream.
    pub segment: Segment,
}

/// A flow that left the table, and why.
#[derive(Debug)]
pub struct Ended<S> {
    /// Packet time of its end.
    pub at: Timestamp,
    /// Why.
    pub end: FlowEnd,
    /// The flow.
    pub entry: Entry<S>,
}

/// A flow's place. Key and flow lie side by side, so that a packet's one search brings both: their
/// cache lines are fetched at once, not one after the other.
#[derive(Debug)]
#[repr(C)]
struct Slot<S> {
    key: FlowKey,
    hash: u64,
    /// Neighbours in the wheel's bucket; `next` is the next free slot where this one is free.
    previous: u32,
    next: u32,
    bucket: u16,
    /// The queue it is in.
    state: State,
    queue_previous: u32,
    queue_next: u32,
    queued_at: Timestamp,
    entry: Option<Entry<S>>,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    head: u32,
    tail: u32,
}

/// All flows.
#[derive(Debug)]
pub struct FlowTable<S> {
    settings: Settings,
    hasher: foldhash::fast::FixedState,
    index: HashTable<u32>,
    chunks: Vec<Vec<Slot<S>>>,
    /// The slot of the packet before; its flow may be gone.
    latest: u32,
    free: u32,
    wheel: Box<[u32]>,
    /// The last second that was processed.
    second: Option<u64>,
    queues: [Queue; State::COUNT],
    recent: RecentlyEnded,
    stragglers: u64,
    opened: u64,
    /// Numbers of flows begin with the first and go on by the second.
    numbers: [u64; 2],
    evicted: u64,
    waiting_bytes: usize,
    stream_bytes_dropped: u64,
}

impl<S: Default> FlowTable<S> {
    /// Memory per flow: its slot, and its share of an index that is half full (bytes).
    pub const FLOW_BYTES: usize = size_of::<Slot<S>>() + 2 * (size_of::<u32>() + 1);
    /// Memory without any flow (bytes).
    pub const BYTES: usize = WHEEL * size_of::<u32>() + RecentlyEnded::BYTES;

    /// No flows.
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            hasher: foldhash::fast::FixedState::default(),
            index: HashTable::new(),
            chunks: Vec::new(),
            latest: NONE,
            free: NONE,
            wheel: vec![NONE; WHEEL].into_boxed_slice(),
            second: None,
            queues: [Queue { head: NONE, tail: NONE }; State::COUNT],
            recent: RecentlyEnded::new(),
            stragglers: 0,
            opened: 0,
            numbers: [1, 1],
            evicted: 0,
            waiting_bytes: 0,
            stream_bytes_dropped: 0,
        }
    }

    /// Numbers of flows begin with `first` and go on by `step`: several tables give none twice.
    pub const fn number_from(&mut self, first: u64, step: u64) {
        self.numbers = [first, step];
    }

    /// Flows open (count).
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// No flow is open.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Flows opened so far (count).
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// Flows that had to make room so far (count).
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Packets that came after the end of their connection and belong to no flow (count).
    pub const fn stragglers(&self) -> u64 {
        self.stragglers
    }

    /// Payload that could not wait for its turn: a bound was hit (bytes).
    pub const fn stream_bytes_dropped(&self) -> u64 {
        self.stream_bytes_dropped
    }

    /// Payload that waits for a hole before it to fill (bytes).
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Counts a packet to its flow, which it may open. Flows that end for it (a port that is used
    /// again, a bound) go to `ended`. Packets of different scopes are never one flow: 0 where
    /// interfaces see the same traffic, else one of each interface's own.
    pub fn track(
        &mut self,
        at: Timestamp,
        (link, scope): (LinkId, u32),
        packet: &Packet<'_>,
        ended: &mut Vec<Ended<S>>,
    ) -> Tracked {
        let (key, source_low) = FlowKey::of(scope, packet);
        // Packets of one flow often follow one another.
        let (hash, mut found) = match slot(&self.chunks, self.latest) {
            Some(slot) if slot.key == key && slot.entry.is_some() => (slot.hash, Some(self.latest)),
            _ => {
                let hash = key.hash(&self.hasher);
                (hash, self.find(hash, &key))
            }
        };
        if let (Some(number), Transport::Tcp(tcp)) = (found, &packet.transport)
            && tcp.has(Tcp::SYN)
            && !tcp.has(Tcp::ACK)
            && self.entry_ref(number).is_some_and(|entry| entry.is_reused_by(tcp))
        {
            ended.extend(self.end(number, at, FlowEnd::Reused));
            found = None;
        }
        if let (None, Transport::Tcp(tcp)) = (found, &packet.transport) {
            let about = (source_low, packet.payload_bytes);
            if self.recent.is_straggler(hash, &key, at, tcp, about) {
                self.stragglers += 1;
                return Tracked::nothing(NONE);
            }
        }
        let new = found.is_none();
        let number = match found {
            Some(number) => number,
            None => self.open(at, link, packet, (key, hash, source_low), ended),
        };
        self.latest = number;
        let settings = &self.settings;
        let Some(slot) = slot_mut(&mut self.chunks, number) else {
            return Tracked::nothing(number); // unreachable: the index holds used slots only
        };
        let Some(entry) = slot.entry.as_mut() else { return Tracked::nothing(number) };
        let from =
            if source_low == entry.originator_low { Side::Originator } else { Side::Responder };
        let waiting = entry.waiting_bytes();
        let room = settings.streams_bytes_max.saturating_sub(self.waiting_bytes);
        let (segment, established) = entry.count(at, from, packet, settings, room);
        if entry.has_waited {
            self.waiting_bytes = self.waiting_bytes - waiting + entry.waiting_bytes();
        }
        if segment.dropped_bytes > 0 {
            self.stream_bytes_dropped += u64::from(segment.dropped_bytes);
        }
        let state = entry.flow.state;
        let closed = state == State::Closed && slot.state != State::Closed;
        let complete = state == State::Closed && entry.acknowledged_ends().is_some();
        if slot.state != state {
            self.change_state(number, at, state);
        }
        Tracked { flow: FlowRef(number), from, new, established, closed, complete, segment }
    }

    /// The flow in a slot. Valid until flows end.
    pub fn get_mut(&mut self, flow: FlowRef) -> Option<&mut Entry<S>> {
        slot_mut(&mut self.chunks, flow.0)?.entry.as_mut()
    }

    /// Notes that waiting payload of a flow was taken or dropped.
    pub fn settle_waiting(&mut self, before: usize, after: usize) {
        self.waiting_bytes = (self.waiting_bytes + after).saturating_sub(before);
    }

    /// The last second whose end was processed; `None` before the first packet.
    pub const fn second(&self) -> Option<u64> {
        self.second
    }

    /// Sets the second at which packet time begins, or skips time in which no flow is open.
    pub fn start_at(&mut self, second: u64) {
        self.second = Some(second);
    }

    /// Ends the flows whose time-out has passed at the end of the next second.
    pub fn end_second(&mut self, ended: &mut Vec<Ended<S>>) {
        let second = self.second.map_or(0, |second| second + 1);
        self.second = Some(second);
        let at = Timestamp::from_nanos(second.saturating_mul(1_000_000_000));
        let bucket = (second % WHEEL as u64) as usize;
        let mut number = std::mem::replace(&mut self.wheel[bucket], NONE);
        while let Some(slot) = slot_mut(&mut self.chunks, number) {
            let next = slot.next;
            (slot.previous, slot.next) = (NONE, NONE);
            let deadline = slot.entry.as_ref().map(|entry| self.settings.deadline(&entry.flow));
            match deadline {
                Some(deadline) if deadline > at => self.schedule(number, deadline),
                Some(_) => ended.extend(self.end_unscheduled(number, at, FlowEnd::Idle)),
                None => {}
            }
            number = next;
        }
    }

    /// The open flows in the order of their opening.
    pub fn in_order(&self) -> Vec<FlowRef> {
        let mut order: Vec<(u64, u32)> = (0..)
            .zip(self.chunks.iter())
            .flat_map(|(chunk, slots)| (chunk * CHUNK as u32..).zip(slots))
            .filter_map(|(number, slot)| Some((slot.entry.as_ref()?.flow.id, number)))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, number)| FlowRef(number)).collect()
    }

    /// The open flows of one interface, in the order of their opening.
    pub fn of_link(&self, link: LinkId) -> Vec<FlowRef> {
        let mut flows = self.in_order();
        flows.retain(|flow| self.entry_ref(flow.0).is_some_and(|entry| entry.flow.link == link));
        flows
    }

    /// Forgets a flow that is complete and was dealt with, but for what tells its stragglers.
    pub fn remove(&mut self, flow: FlowRef, at: Timestamp) {
        let until = at.after(std::time::Duration::from_secs(self.settings.closed_timeout_s));
        if let Some(slot) = slot(&self.chunks, flow.0)
            && let Some(entry) = &slot.entry
            && let Some([originator, responder]) = entry.acknowledged_ends()
        {
            let ends = if entry.originator_low {
                [originator, responder]
            } else {
                [responder, originator]
            };
            self.recent.remember(slot.hash, slot.key, ends, until);
        }
        self.unschedule(flow.0);
        if let Some(entry) = self.vacate(flow.0) {
            *entry = None;
        }
    }

    /// Takes a flow out: the capture is over.
    pub fn end_capture(&mut self, flow: FlowRef, at: Timestamp) -> Option<Ended<S>> {
        self.end(flow.0, at, FlowEnd::CaptureEnd)
    }

    fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        self.index
            .find(hash, |number| slot(&self.chunks, *number).is_some_and(|slot| slot.key == *key))
            .copied()
    }

    fn entry_ref(&self, number: u32) -> Option<&Entry<S>> {
        slot(&self.chunks, number)?.entry.as_ref()
    }

    fn open(
        &mut self,
        at: Timestamp,
        link: LinkId,
        packet: &Packet<'_>,
        (key, hash, source_low): (FlowKey, u64, bool),
        ended: &mut Vec<Ended<S>>,
    ) -> u32 {
        if self.index.len() >= self.settings.flows_max.max(1) {
            self.evict(at, ended);
        }
        let [first, step] = self.numbers;
        let number = first + self.opened * step;
        self.opened += 1;
        let entry = Entry::open(number, at, link, packet, source_low);
        let (state, deadline) = (entry.flow.state, self.settings.deadline(&entry.flow));
        let slot = Slot {
            key,
            hash,
            previous: NONE,
            next: NONE,
            bucket: 0,
            state,
            queue_previous: NONE,
            queue_next: NONE,
            queued_at: at,
            entry: Some(entry),
        };
        let number = match slot_mut(&mut self.chunks, self.free) {
            Some(place) => {
                let number = self.free;
                self.free = place.next;
                *place = slot;
                number
            }
            None => self.append(slot),
        };
        let chunks = &self.chunks;
        let hash_of = |number: &u32| self::slot(chunks, *number).map_or(0, |slot| slot.hash);
        self.index.insert_unique(hash, number, hash_of);
        self.schedule(number, deadline);
        self.enqueue(number, state);
        number
    }

    fn append(&mut self, slot: Slot<S>) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(slot);
        (chunk * CHUNK + self.chunks[chunk].len() - 1) as u32
    }

    /// Makes room: see [`Settings::flows_max`].
    fn evict(&mut self, at: Timestamp, ended: &mut Vec<Ended<S>>) {
        for state in State::EVICTION_ORDER {
            let mut number = self.queues[state as usize].head;
            for _ in 0..SECOND_CHANCES {
                let Some(slot) = slot(&self.chunks, number) else { break };
                let busy =
                    slot.entry.as_ref().is_some_and(|entry| entry.flow.last > slot.queued_at);
                if state != State::Established && state != State::DatagramReplied || !busy {
                    break;
                }
                self.dequeue(number);
                if let Some(slot) = slot_mut(&mut self.chunks, number) {
                    slot.queued_at = at;
                }
                self.enqueue(number, state);
                number = self.queues[state as usize].head;
            }
            if let Some(gone) = self.end(number, at, FlowEnd::Evicted) {
                self.evicted += 1;
                ended.push(gone);
                return;
            }
        }
    }

    fn change_state(&mut self, number: u32, at: Timestamp, state: State) {
        self.dequeue(number);
        self.unschedule(number);
        let Some(slot) = slot_mut(&mut self.chunks, number) else { return };
        (slot.state, slot.queued_at) = (state, at);
        let deadline = slot.entry.as_ref().map_or(at, |entry| self.settings.deadline(&entry.flow));
        self.enqueue(number, state);
        self.schedule(number, deadline);
    }

    fn end(&mut self, number: u32, at: Timestamp, end: FlowEnd) -> Option<Ended<S>> {
        self.unschedule(number);
        self.end_unscheduled(number, at, end)
    }

    fn end_unscheduled(&mut self, number: u32, at: Timestamp, end: FlowEnd) -> Option<Ended<S>> {
        let entry = self.vacate(number)?.take()?;
        let end = match (end, entry.flow.state) {
            (_, State::Closed) => FlowEnd::Closed,
            _ => end,
        };
        Some(Ended { at, end, entry })
    }

    /// Gives a slot back that is in no bucket any more. What is left of its flow is to be taken or
    /// dropped in its place.
    fn vacate(&mut self, number: u32) -> Option<&mut Option<Entry<S>>> {
        self.dequeue(number);
        let free = self.free;
        let slot = slot_mut(&mut self.chunks, number)?;
        let waiting_bytes = slot.entry.as_ref()?.waiting_bytes();
        slot.next = free;
        self.free = number;
        if let Ok(place) = self.index.find_entry(slot.hash, |other| *other == number) {
            place.remove();
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting_bytes);
        Some(&mut slot.entry)
    }
}

impl Tracked {
    const fn nothing(number: u32) -> Self {
        Self {
            flow: FlowRef(number),
            from: Side::Originator,
            new: false,
            established: false,
            closed: false,
            complete: false,
            segment: Segment::NOTHING,
        }
    }
}

impl Settings {
    /// When a flow has been silent for too long.
    fn deadline(&self, flow: &super::Flow) -> Timestamp {
        let seconds = match flow.state {
            State::Opening => self.opening_timeout_s,
            State::Established => self.established_timeout_s,
            State::Closed => self.closed_timeout_s,
            State::Datagram => self.datagram_timeout_s,
            State::DatagramReplied => self.datagram_replied_timeout_s,
            State::Icmp => self.icmp_timeout_s,
        };
        flow.last.after(std::time::Duration::from_secs(seconds))
    }
}

fn slot<S>(chunks: &[Vec<Slot<S>>], number: u32) -> Option<&Slot<S>> {
    let number = number as usize;
    chunks.get(number / CHUNK)?.get(number % CHUNK)
}

fn slot_mut<S>(chunks: &mut [Vec<Slot<S>>], number: u32) -> Option<&mut Slot<S>> {
    let number = number as usize;
    chunks.get_mut(number / CHUNK)?.get_mut(number % CHUNK)
}
