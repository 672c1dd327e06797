//! One flow's way through the table: probe, dispatch, and fall back where the stream contradicts.

use std::fmt;

use super::tls::{self, Begin};
use super::{Appetite, Match, Over, PROTOCOLS, Parser, Probe, Reader, Registration, Sink};
use crate::event::{Fact, Manner, Protocol, Side};

/// What the bytes of a flow say about its protocol.
#[derive(Clone, Copy, Debug, Default)]
pub enum Verdict {
    /// Not enough bytes yet.
    #[default]
    Undecided,
    /// This one. May change: TLS after STARTTLS, the protocol inside a proxy's tunnel.
    Known(&'static Protocol),
    /// None that we know; or the stream contradicts what its first bytes claimed.
    Unknown,
}

impl Verdict {
    /// For [`crate::flow::Flow::app`].
    pub const fn app(self) -> Option<&'static Protocol> {
        match self {
            Self::Known(protocol) => Some(protocol),
            Self::Undecided | Self::Unknown => None,
        }
    }

    /// For [`crate::flow::Flow::app_unknown`].
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Unknown)
    }
}

/// Protocols inside one another in one flow (count): a proxy's CONNECT, then STARTTLS, then TLS.
/// What lies deeper stays the last that was recognised.
const RESTARTS_MAX: u8 = 4;

/// Datagrams that may pass before a flow without a match counts as unknown (count).
const DATAGRAMS_MAX: u8 = 4;

/// Bytes of each direction in which a STARTTLS is looked for. Greetings and capabilities take a few
/// hundred.
const WATCH_BYTES: u64 = 4_096;

/// The protocol state of one flow. Small until a parser is needed, and small again after it.
#[derive(Default)]
pub struct Session {
    stage: Stage,
    known: Option<&'static Registration>,
    outer: Option<&'static Registration>,
    watch: tls::Watch,
    restarts: u8,
    datagrams: u8,
    unknown: bool,
    /// The parser bounds itself.
    all: bool,
    midstream: bool,
    /// The flow's sides were swapped after parsers had begun.
    turned: bool,
}

#[derive(Default)]
enum Stage {
    /// Nothing seen.
    #[default]
    Fresh,
    /// Bytes that fit some protocol so far, and prove none.
    Probing(Box<Held>),
    /// Each datagram by itself.
    Datagrams(fn(Side, &[u8], &mut Sink<'_>) -> Appetite),
    /// The protocol's own parser.
    Parsing(Box<dyn Parser>),
    /// Nothing more to learn, unless TLS begins.
    Watching,
    /// Nothing more to learn.
    Done,
}

/// What was held back while probing.
struct Held {
    first: Side,
    bytes: [Vec<u8>; 2],
    /// Bytes of each side after the held ones that were not kept.
    dropped: [u64; 2],
}

/// What the table says about some first bytes.
enum Found {
    Row(&'static Registration, usize),
    Undecided { awaits: bool },
    Nothing,
}

/// Where a call comes from: what does not change while it is answered.
#[derive(Clone, Copy)]
struct At {
    from: Side,
    stream: bool,
    port: u16,
}

impl Session {
    /// The flow's beginning was not seen: protocols that can be told midway are looked for too.
    /// Others take its bytes for a beginning, and mostly find that they are none.
    pub const fn picked_up_midway(&mut self) {
        self.midstream = true;
    }

    /// The flow's sides have been swapped. Parsers go on with the sides that they know.
    pub const fn turn_around(&mut self) {
        self.turned = !self.turned;
    }

    /// Whether bytes at this position of their direction are worth passing to [`Self::data`].
    /// `content_bytes` is [`crate::flow::Settings::content_bytes`]; a parser that bounds itself
    /// (TLS up to the end of its handshake, DNS over TCP) sees what lies beyond too.
    pub const fn wants(&self, offset: u64, content_bytes: u32) -> bool {
        let content = offset < content_bytes as u64;
        match self.stage {
            Stage::Done => false,
            Stage::Datagrams(_) => true,
            Stage::Watching => content && offset < WATCH_BYTES,
            Stage::Fresh | Stage::Probing(_) | Stage::Parsing(_) => self.all || content,
        }
    }

    /// What is known so far.
    pub const fn verdict(&self) -> Verdict {
        match self.known {
            Some(known) => Verdict::Known(known.protocol),
            None if self.unknown => Verdict::Unknown,
            None => Verdict::Undecided,
        }
    }

    /// The protocol that the flow began with, where another runs inside it now: `smtp` before TLS,
    /// `socks` around what it relays.
    pub fn outer(&self) -> Option<&'static Protocol> {
        self.outer.map(|outer| outer.protocol)
    }

    /// Takes the next stream bytes of a side, in order, or one whole datagram. `port` is the
    /// responder's.
    pub fn data(
        &mut self,
        from: Side,
        bytes: &[u8],
        stream: bool,
        port: u16,
        sink: &mut Sink<'_>,
    ) -> Verdict {
        if let Stage::Datagrams(read) = self.stage {
            // The way of nearly all DNS.
            let appetite = read(from, bytes, sink);
            if appetite != Appetite::All {
                self.act(appetite, At { from, stream, port }, bytes, sink);
            }
        } else if !bytes.is_empty() {
            if self.turned && stream {
                let at = At { from: from.other(), stream, port };
                turned(sink, |sink| self.feed(at, bytes, sink));
            } else {
                self.feed(At { from, stream, port }, bytes, sink);
            }
        }
        self.verdict()
    }

    /// `bytes` of this side's stream were lost.
    pub fn gap(&mut self, from: Side, bytes: u64, port: u16, sink: &mut Sink<'_>) -> Verdict {
        let from = if self.turned { from.other() } else { from };
        match &mut self.stage {
            Stage::Parsing(parser) => {
                let appetite = parser.gap(from, bytes, sink);
                self.act(appetite, At { from, stream: true, port }, &[], sink);
            }
            // The first bytes are what names a protocol; behind a gap there are none.
            Stage::Fresh | Stage::Probing(_) => self.give_up(true),
            Stage::Datagrams(_) | Stage::Watching | Stage::Done => {}
        }
        self.verdict()
    }

    /// The flow is over: parsers report what they have.
    pub fn close(&mut self, sink: &mut Sink<'_>) -> Verdict {
        if let Stage::Parsing(parser) = &mut self.stage {
            parser.close(sink);
        }
        self.stage = Stage::Done;
        self.verdict()
    }

    fn feed(&mut self, at: At, bytes: &[u8], sink: &mut Sink<'_>) {
        if let Some(begin) = self.tls_begins(at, bytes) {
            return self.start_tls(begin, at, bytes, sink);
        }
        match &mut self.stage {
            Stage::Done | Stage::Watching => {}
            Stage::Fresh => self.open(at, bytes, sink),
            Stage::Probing(held) => {
                let rest = held.take(at.from, bytes, sink.settings.probe_bytes);
                self.probe_held(at, rest, sink);
            }
            Stage::Datagrams(_) => {}
            Stage::Parsing(parser) => {
                let appetite = parser.data(at.from, bytes, sink);
                self.act(appetite, at, bytes, sink);
            }
        }
    }

    /// Where the originator goes over to TLS, if it may and does.
    fn tls_begins(&mut self, at: At, bytes: &[u8]) -> Option<Begin> {
        let may = match self.stage {
            Stage::Watching => true,
            Stage::Parsing(_) => self.known.is_some_and(|known| known.may_start_tls),
            _ => false,
        };
        if !may || at.from != Side::Originator || self.restarts >= RESTARTS_MAX {
            return None;
        }
        self.watch.look(bytes)
    }

    /// Looks for TLS in the bytes, too, that named the protocol or named none.
    fn watch_from(&mut self, at: At, bytes: &[u8], sink: &mut Sink<'_>) {
        if let Some(begin) = self.tls_begins(at, bytes) {
            self.start_tls(begin, at, bytes, sink);
        }
    }

    fn start_tls(&mut self, begin: Begin, at: At, bytes: &[u8], sink: &mut Sink<'_>) {
        self.watch = tls::Watch::default();
        self.restart();
        match begin {
            Begin::Before(before, length) => {
                self.feed(at, before.get(..length).unwrap_or_default(), sink);
                self.feed(at, bytes, sink);
            }
            Begin::At(place) => self.feed(at, bytes.get(place..).unwrap_or_default(), sink),
        }
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.all = false;
        self.outer = self.outer.or(self.known);
        self.stage = if self.restarts > RESTARTS_MAX { Stage::Done } else { Stage::Fresh };
    }

    /// The first bytes of a flow, or the first after a restart. Usually they decide, without a copy.
    fn open(&mut self, at: At, bytes: &[u8], sink: &mut Sink<'_>) {
        // What a tunnel's outside was says nothing about its inside.
        self.known = None;
        let mut sides: [&[u8]; 2] = [&[]; 2];
        sides[at.from.index()] = bytes;
        let probe = self.probe(sides, at.from, at);
        let mut start = 0;
        loop {
            match search(&probe, start) {
                Found::Row(registration, row) => {
                    if self.begin(registration, at, bytes, sink) {
                        return;
                    }
                    start = row + 1;
                }
                Found::Undecided { awaits } if at.stream => {
                    let full = bytes.len() >= sink.settings.probe_bytes;
                    if full && !awaits {
                        self.give_up(true);
                        return self.watch_from(at, bytes, sink);
                    }
                    let mut held =
                        Held { first: at.from, bytes: [Vec::new(), Vec::new()], dropped: [0; 2] };
                    held.take(at.from, bytes, sink.settings.probe_bytes);
                    self.stage = Stage::Probing(Box::new(held));
                    return;
                }
                Found::Undecided { .. } => {
                    self.datagrams += 1;
                    if self.datagrams >= DATAGRAMS_MAX {
                        self.give_up(false);
                    }
                    return;
                }
                Found::Nothing => {
                    self.give_up(at.stream);
                    return self.watch_from(at, bytes, sink);
                }
            }
        }
    }

    const fn probe<'a>(&self, bytes: [&'a [u8]; 2], first: Side, at: At) -> Probe<'a> {
        Probe { stream: at.stream, bytes, first, port: at.port, midstream: self.midstream }
    }

    /// Hands first bytes to the reader of a row. False if it declines them outright: then another
    /// row may have them.
    fn begin(
        &mut self,
        registration: &'static Registration,
        at: At,
        bytes: &[u8],
        sink: &mut Sink<'_>,
    ) -> bool {
        let appetite = match registration.reader {
            Reader::None => Appetite::Done,
            Reader::Datagrams(read) => {
                self.stage = Stage::Datagrams(read);
                read(at.from, bytes, sink)
            }
            Reader::Parser(make) => {
                let mut parser = make();
                let appetite = parser.data(at.from, bytes, sink);
                self.stage = Stage::Parsing(parser);
                appetite
            }
        };
        if appetite == Appetite::Contradicted && !at.stream {
            self.stage = Stage::Fresh;
            return false;
        }
        // In a stream, too, whose rest might have come later: then there were no second choice.
        self.known = Some(registration);
        self.act(appetite, at, bytes, sink);
        self.watch_from(at, bytes, sink);
        true
    }

    /// More bytes came while probing; `rest` of them, not held, follows what is.
    fn probe_held(&mut self, at: At, rest: &[u8], sink: &mut Sink<'_>) {
        let Stage::Probing(held) = &self.stage else { return };
        match search(&self.probe(held.sides(), held.first, at), 0) {
            Found::Row(registration, _) => {
                let Stage::Probing(held) = std::mem::take(&mut self.stage) else { return };
                self.replay(registration, *held, (at, rest), sink);
            }
            Found::Undecided { awaits } if !held.full(sink.settings.probe_bytes, awaits) => {}
            Found::Undecided { .. } | Found::Nothing => {
                let Stage::Probing(held) = std::mem::take(&mut self.stage) else { return };
                self.give_up(true);
                let from = Side::Originator;
                self.watch_from(At { from, ..at }, &held.bytes[from.index()], sink);
            }
        }
    }

    /// A protocol was recognised: passes on what was held of both sides, the opening first. The
    /// rest of the bytes that decided it follows those of their side.
    fn replay(
        &mut self,
        registration: &'static Registration,
        held: Held,
        (at, rest): (At, &[u8]),
        sink: &mut Sink<'_>,
    ) {
        let Held { first, bytes, mut dropped } = held;
        let last = at.from;
        dropped[last.index()] -= rest.len() as u64;
        for from in [first, first.other()] {
            let at = At { from, ..at };
            let (bytes, dropped) = (&bytes[from.index()], dropped[from.index()]);
            if from == first {
                if !self.begin(registration, at, bytes, sink) {
                    self.give_up(true);
                    return self.watch_from(at, bytes, sink);
                }
            } else if !bytes.is_empty() {
                self.feed(at, bytes, sink);
            }
            if dropped > 0
                && let Stage::Parsing(parser) = &mut self.stage
            {
                let appetite = parser.gap(from, dropped, sink);
                self.act(appetite, at, &[], sink);
            }
            if from == last && !rest.is_empty() {
                self.feed(at, rest, sink);
            }
        }
    }

    fn act(&mut self, appetite: Appetite, at: At, bytes: &[u8], sink: &mut Sink<'_>) {
        let rest_of = |rest: usize| &bytes[bytes.len() - rest.min(bytes.len())..];
        match appetite {
            Appetite::More => self.all = false,
            Appetite::All => self.all = true,
            Appetite::Done => {
                let may_start_tls = self.known.is_some_and(|known| known.may_start_tls);
                self.stage = if may_start_tls { Stage::Watching } else { Stage::Done };
            }
            Appetite::Upgrade { to, rest } => {
                self.outer = self.outer.or(self.known);
                if !self.begin(to, at, rest_of(rest), sink) {
                    self.give_up(at.stream);
                }
            }
            Appetite::Contradicted => self.give_up(at.stream),
            Appetite::Restart { rest } => {
                self.restart();
                let rest = rest_of(rest);
                if !rest.is_empty() {
                    self.feed(at, rest, sink);
                }
            }
        }
    }

    /// No protocol that we know. TLS may still begin in a stream.
    fn give_up(&mut self, stream: bool) {
        // A carrier that turned out to be false is not what something else may have begun in.
        let carrier = self.known.is_some_and(|known| known.protocol.manner == Manner::Carrier);
        self.unknown = true;
        self.known = None;
        self.all = false;
        self.stage = if stream && !carrier { Stage::Watching } else { Stage::Done };
    }
}

/// Calls `step` with a sink whose facts name the sides as the flow has them now.
fn turned(sink: &mut Sink<'_>, step: impl FnOnce(&mut Sink<'_>)) {
    let Sink { fact, dns, scratch, settings, dns_text } = sink;
    let mut turn = |taken: Fact<'_>| {
        fact(match taken {
            Fact::Dns { from, message } => Fact::Dns { from: from.other(), message },
            other => other,
        });
    };
    step(&mut Sink { fact: &mut turn, dns, scratch, settings, dns_text: *dns_text });
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Fresh => "fresh",
            Stage::Probing(_) => "probing",
            Stage::Datagrams(_) => "datagrams",
            Stage::Parsing(_) => "parsing",
            Stage::Watching => "watching",
            Stage::Done => "done",
        };
        f.debug_struct("Session").field("stage", &stage).field("verdict", &self.verdict()).finish()
    }
}

impl Held {
    /// Holds what there is room for. Returns the bytes behind, if those before them are all held.
    fn take<'a>(&mut self, from: Side, bytes: &'a [u8], bytes_max: usize) -> &'a [u8] {
        let held = &mut self.bytes[from.index()];
        let room = bytes_max.saturating_sub(held.len()).min(bytes.len());
        // After the first byte that did not fit, none does: what is held has no holes.
        let complete = self.dropped[from.index()] == 0;
        let room = if complete { room } else { 0 };
        let (kept, rest) = bytes.split_at(room);
        held.extend_from_slice(kept);
        self.dropped[from.index()] += rest.len() as u64;
        if complete { rest } else { &[] }
    }

    fn sides(&self) -> [&[u8]; 2] {
        [&self.bytes[0], &self.bytes[1]]
    }

    /// No further byte can help: one side is full, and nothing waits for the other.
    fn full(&self, bytes_max: usize, awaits: bool) -> bool {
        let full = |side: usize| self.bytes[side].len() >= bytes_max;
        if awaits { full(0) && full(1) } else { full(0) || full(1) }
    }
}

/// The first row from `start` that says yes.
fn search(probe: &Probe<'_>, start: usize) -> Found {
    let other = if probe.stream { Over::Datagram } else { Over::Stream };
    let mut undecided = false;
    let mut awaits = false;
    for (row, registration) in PROTOCOLS.iter().enumerate().skip(start) {
        if registration.over == other {
            continue;
        }
        match (registration.probe)(probe) {
            Match::Yes => return Found::Row(registration, row),
            Match::Maybe => undecided |= registration.asks_both || probe.answer().is_empty(),
            Match::Awaits => awaits = true,
            Match::No => {}
        }
    }
    if undecided || awaits { Found::Undecided { awaits } } else { Found::Nothing }
}
