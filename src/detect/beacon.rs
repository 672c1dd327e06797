//! Beacons: a container calls an unusual destination on a timer.
//!
//! An implant asks its controller for work at intervals, with jitter to look less like a timer.
//! Two things have to come together. *Timing*: the gaps are too regular for chance ([`rhythm`]), in
//! new connections, datagrams, bursts inside one connection, attempts that nobody answers, or DNS
//! queries for ever new names under one domain. *Standing*: the destination is unusual
//! ([`standing`]), for software calls home on timers all day. [`score`] adds both up.
//!
//! Only flows that the container opens are looked at: what calls in is a probe, a scrape, a client.
//!
//! How it is evaded: sleeps with a heavy tail, fewer than nine beats in a run, a new name or address
//! for each call, a destination that everybody uses, and beats inside traffic that is wanted.
//!
//! What is bounded, and who profits: [`Settings::series_max`] and [`Settings::candidates_max`].

mod case;
mod explain;
mod names;
mod ports;
mod rhythm;
mod rules;
mod score;
mod series;
mod settings;
mod standing;

use crate::baseline::{Baseline, DestinationKey};
use crate::container::Container;
use crate::detect::{Describe, Detector, Finding, Rule, Seen, Verdict};
use crate::event::{DnsMessage, Event, EventKinds, Fact, IpProtocol, Side, Turn};
use crate::flow::Flow;
use crate::time::Timestamp;

use case::Case;
use explain::Kind;
use names::Domain;
use series::{Series, Table, Tracked};
use standing::Traits;

pub use settings::Settings;

/// A silence that separates two beats of one conversation (nanoseconds; `algorithms`: a burst ends
/// after 1 s).
const BURST_SILENCE_NS: u64 = 1_000_000_000;
const BURST_SILENCE_S: f64 = 1.0;

/// Findings kept open per container (count).
const RAISED_MAX: usize = 64;

/// Shortest silence that closes a finding (seconds).
const CLOSE_MIN_S: f64 = 60.0;

/// A finding that is open.
#[derive(Debug)]
struct Raised {
    kind: Kind,
    key: u64,
    last: Timestamp,
    period_s: f64,
    /// Beats when it was judged last (count).
    beats: u64,
    /// What it was judged by then, to be judged once more at its end.
    flow: Box<Flow>,
}

/// Domains, or addresses, that are counted at most.
const IN_STEP_MAX: usize = 32;
/// Mean gaps this much apart are the same pace (ratio).
const SAME_PACE: f64 = 0.1;

/// The detector of one container.
#[derive(Debug)]
pub struct Beacon {
    settings: Settings,
    connections: Table<Traits>,
    datagrams: Table<Traits>,
    unanswered: Table<Traits>,
    streams: Table<()>,
    domains: Table<Domain>,
    /// Series that answers of the peer belong to: that of the latest beat.
    answering: Option<Answering>,
    raised: Vec<Raised>,
}

/// Whose answer is awaited.
#[derive(Clone, Copy, Debug)]
struct Answering {
    flow: u64,
    key: u64,
    datagram: bool,
    to: Side,
}

impl Describe for Beacon {
    const ID: &'static str = "beacon";
    const RULES: &'static [&'static Rule] = rules::ALL;
    const ADS: &'static str = include_str!("../../docs/ads/beacon.md");
    const HEARS: EventKinds = EventKinds::TURN.and(EventKinds::FACT).and(EventKinds::CLOSED);
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), String> {
        settings.check()
    }

    fn new(settings: &Settings) -> Self {
        let (candidates, series) = (settings.candidates_max, settings.series_max);
        Self {
            connections: Table::new(candidates, series),
            datagrams: Table::new(candidates, series),
            unanswered: Table::new(candidates, series),
            streams: Table::new(candidates, series),
            domains: Table::new(candidates, series),
            answering: None,
            raised: Vec::new(),
            settings: settings.clone(),
        }
    }

    fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

impl Detector for Beacon {
    fn observe(&mut self, seen: &Seen<'_>, event: &Event<'_>, verdicts: &mut Vec<Verdict>) {
        if !seen.outbound() {
            return;
        }
        match event {
            Event::Turn { turn, .. } => match seen.flow.protocol {
                IpProtocol::TCP => self.stream_turn(seen, turn, verdicts),
                IpProtocol::UDP => self.datagram_turn(seen, turn, verdicts),
                _ => {}
            },
            Event::FlowClosed(_) => self.closed(seen, verdicts),
            Event::Fact(Fact::Dns { from: Side::Originator, message }) if !message.response => {
                self.query(seen, message, verdicts);
            }
            _ => {}
        }
    }

    fn end_minute(
        &mut self,
        at: Timestamp,
        container: &Container,
        node: &Baseline,
        verdicts: &mut Vec<Verdict>,
    ) {
        let mut ended = Vec::new();
        let mut raised = std::mem::take(&mut self.raised);
        raised.retain_mut(|open| {
            open.last = self.last(open.kind, open.key).unwrap_or(open.last);
            let silence_s = at.seconds_since(open.last);
            let over = silence_s > (self.settings.close_periods * open.period_s).max(CLOSE_MIN_S);
            if over {
                ended.extend(self.judged_at_end(open, container, node));
                ended.push(Verdict::Close { rule: open.kind.rule(), subject: open.key });
            }
            !over
        });
        self.raised = raised;
        verdicts.append(&mut ended);
    }

    fn sum_up(&mut self, container: &Container, node: &Baseline, verdicts: &mut Vec<Verdict>) {
        verdicts.extend(
            self.raised.iter().filter_map(|open| self.judged_at_end(open, container, node)),
        );
    }

    fn forgotten(&self) -> u64 {
        [&self.connections, &self.datagrams, &self.unanswered]
            .map(Table::evicted)
            .iter()
            .sum::<u64>()
            + self.streams.evicted()
            + self.domains.evicted()
    }
}

impl Beacon {
    /// A turn over TCP: the first makes its connection a beat, later ones may be beats within it.
    fn stream_turn(&mut self, seen: &Seen<'_>, turn: &Turn, verdicts: &mut Vec<Verdict>) {
        let flow = seen.flow;
        if turn.number == 0 {
            self.note_use(flow);
            if !flow.midstream && standing::is_watched(flow, seen.peer_zone()) {
                self.connection(seen, verdicts);
            }
        } else if turn.silence_ns.is_some_and(|silence| silence >= BURST_SILENCE_NS) {
            if standing::is_watched(flow, seen.peer_zone()) && !self.is_ping(flow, turn) {
                self.burst(seen, turn, verdicts);
            }
        } else if self.answering.is_some() {
            self.answer(seen.flow, turn);
        }
    }

    /// A connection to a host whose name was asked for: that lookup was one.
    fn note_use(&mut self, flow: &Flow) {
        if self.domains.is_empty() {
            return;
        }
        let domain = standing::name_of(flow).and_then(names::split);
        if let Some((_, domain)) = domain
            && let Some(tracked) = self.domains.get_mut(DestinationKey::of_name(domain).0)
        {
            tracked.about.connections += 1;
        }
    }

    fn connection(&mut self, seen: &Seen<'_>, verdicts: &mut Vec<Verdict>) {
        let flow = seen.flow;
        let key = key_of(flow);
        let port = flow.originator.port;
        let Some(tracked) = self.connections.beat(key, flow.opened, port, false) else { return };
        tracked.about.learn(flow);
        if tracked.series.take_due() {
            self.judge(Kind::Connections, key, seen, verdicts);
        }
    }

    /// A ping of a protocol inside TLS or WebSocket, to a peer that has a name.
    fn is_ping(&self, flow: &Flow, turn: &Turn) -> bool {
        let carrier = matches!(flow.app.map(|app| app.name), Some("tls" | "websocket" | "http2"));
        carrier && turn.bytes <= self.settings.ping_bytes && standing::name_of(flow).is_some()
    }

    fn burst(&mut self, seen: &Seen<'_>, turn: &Turn, verdicts: &mut Vec<Verdict>) {
        let flow = seen.flow;
        let (kind, key) = bursts_of(flow)[turn.from.index()];
        self.answering = Some(Answering { flow: flow.id, key, datagram: false, to: turn.from });
        let Some(tracked) = self.streams.beat(key, turn.started, 0, false) else { return };
        tracked.series.note_sizes(turn.bytes, 0);
        if tracked.series.take_due() {
            self.judge(kind, key, seen, verdicts);
        }
    }

    /// A turn over UDP: one that begins a conversation or breaks a silence is a beat.
    fn datagram_turn(&mut self, seen: &Seen<'_>, turn: &Turn, verdicts: &mut Vec<Verdict>) {
        let flow = seen.flow;
        let begins = turn.silence_ns.is_none_or(|silence| silence >= BURST_SILENCE_NS);
        if turn.from == Side::Responder || !begins {
            if self.answering.is_some() {
                self.answer(flow, turn);
            }
            return;
        }
        if !standing::is_watched(flow, seen.peer_zone()) || is_clock(flow, turn) {
            return;
        }
        let key = key_of(flow);
        self.answering =
            Some(Answering { flow: flow.id, key, datagram: true, to: Side::Originator });
        let port = flow.originator.port;
        let Some(tracked) = self.datagrams.beat(key, turn.started, port, false) else { return };
        tracked.series.note_sizes(turn.bytes, 0);
        tracked.about.learn(flow);
        if tracked.series.take_due() {
            self.judge(Kind::Datagrams, key, seen, verdicts);
        }
    }

    /// A turn that breaks no silence: the answer to the latest beat, if it comes from its peer.
    fn answer(&mut self, flow: &Flow, turn: &Turn) {
        let Some(waiting) = self.answering.filter(|waiting| waiting.flow == flow.id) else {
            return;
        };
        if turn.from == waiting.to {
            return;
        }
        let bytes = turn.bytes;
        if waiting.datagram {
            if let Some(tracked) = self.datagrams.get_mut(waiting.key) {
                tracked.series.note_answer(bytes);
                tracked.about.answered = true;
            }
        } else if let Some(tracked) = self.streams.get_mut(waiting.key) {
            tracked.series.note_answer(bytes);
        }
    }

    fn closed(&mut self, seen: &Seen<'_>, verdicts: &mut Vec<Verdict>) {
        let flow = seen.flow;
        if flow.protocol != IpProtocol::TCP || !standing::is_watched(flow, seen.peer_zone()) {
            return;
        }
        let history = flow.history.as_str();
        // Whoever acknowledges was answered, though the answer may not have been captured.
        let answered = history.contains('h') || flow.has_acknowledged(Side::Originator);
        if history.starts_with('S') && !answered {
            self.unanswered(seen, verdicts);
        } else if !flow.midstream
            && let Some(tracked) = self.connections.get_mut(key_of(flow))
        {
            let [sent, received] =
                [Side::Originator, Side::Responder].map(|side| flow.payload_bytes(side));
            tracked.series.note_sizes(sent, received);
            tracked.about.learn(flow);
        }
        // Only a flow that lasted can have had beats within.
        if flow.last.seconds_since(flow.opened) >= BURST_SILENCE_S {
            for (kind, key) in bursts_of(flow) {
                let open = self.raised.iter().find(|open| open.kind == kind && open.key == key);
                let found =
                    open.and_then(|open| self.judged_at_end(open, seen.container, seen.node));
                verdicts.extend(found);
                self.streams.remove(key);
            }
        }
    }

    fn unanswered(&mut self, seen: &Seen<'_>, verdicts: &mut Vec<Verdict>) {
        let flow = seen.flow;
        let key = key_of(flow);
        // A SYN that is sent again after the flow's time-out opens a flow from the same port.
        let tracked = self.unanswered.beat(key, flow.opened, flow.originator.port, true);
        if tracked.is_some_and(|tracked| tracked.series.take_due()) {
            self.judge(Kind::Unanswered, key, seen, verdicts);
        }
    }

    /// A DNS query: a beat of its registrable domain, if what stands before it is new.
    fn query(&mut self, seen: &Seen<'_>, message: &DnsMessage, verdicts: &mut Vec<Verdict>) {
        let Some(question) = message.questions.first() else { return };
        let Some((part, domain)) = names::split(&question.name) else { return };
        let (key, hash) = (DestinationKey::of_name(domain).0, DestinationKey::of_name(part).0);
        // The name takes the place of the port: the same one again is the other address family, or
        // a retry. Where the answer is the message, the same question makes sense again, and a
        // retry has the same transaction id.
        let again = if names::carries_data(question.qtype) { message.id } else { 0 };
        let token = hash as u16 ^ again;
        let Some(tracked) = self.domains.beat(key, seen.at, token, true) else { return };
        tracked.series.note_sizes(question.name.len() as u64, hash & 0xffff_ffff);
        tracked.about.learn(question, part);
        if tracked.about.name.is_empty() {
            tracked.about.name = domain.into();
        }
        if tracked.series.take_due() {
            self.judge(Kind::Queries, key, seen, verdicts);
        }
    }

    /// Puts a series on trial, and notes what is found.
    fn judge(&mut self, kind: Kind, key: u64, seen: &Seen<'_>, verdicts: &mut Vec<Verdict>) {
        let Some((finding, period_s)) = self.try_series(kind, key, seen) else { return };
        let beats = self.beats(kind, key);
        if let Some(open) = self.raised.iter_mut().find(|open| open.key == key && open.kind == kind)
        {
            (open.period_s, open.beats) = (period_s, beats);
            open.flow.as_mut().clone_from(seen.flow);
        } else {
            if self.raised.len() >= RAISED_MAX {
                self.raised.remove(0);
            }
            let (last, flow) = (finding.first_seen, Box::new(seen.flow.clone()));
            self.raised.push(Raised { kind, key, last, period_s, beats, flow });
        }
        verdicts.push(Verdict::Raise(Box::new(finding)));
    }

    fn try_series(&self, kind: Kind, key: u64, seen: &Seen<'_>) -> Option<(Finding, f64)> {
        let settings = &self.settings;
        let case = |many, in_step| Case { kind, key, many, in_step };
        match kind {
            Kind::Connections | Kind::Datagrams | Kind::Unanswered => {
                let table = self.flows(kind);
                let Tracked { series, about } = table.peek(key)?;
                let in_step = in_step(table, series, about);
                case(table.is_many(settings.many_series), in_step)
                    .judge(settings, seen, series, about)
            }
            Kind::OwnBursts | Kind::PeerBursts => {
                let flow = seen.flow;
                // What it spoke before it was seen, other connections to the same port may have shown.
                let known = self.connections.peek(key_of(flow)).filter(|_| flow.was_open_before());
                let mut traits = known.map_or_else(Traits::default, |known| known.about.protocol());
                traits.learn(flow);
                let series = &self.streams.peek(key)?.series;
                let many = self.streams.is_many(settings.many_series);
                case(many, 1).judge(settings, seen, series, &traits)
            }
            Kind::Queries => {
                let Tracked { series, about } = self.domains.peek(key)?;
                case(self.domains.is_many(settings.many_series), 1)
                    .judge_domain(settings, seen, series, about)
            }
        }
    }

    /// An open finding with the numbers of the end, where it has had beats since it was judged and
    /// they still suffice.
    fn judged_at_end(
        &self,
        open: &Raised,
        container: &Container,
        node: &Baseline,
    ) -> Option<Verdict> {
        let at = self.last(open.kind, open.key)?;
        if self.beats(open.kind, open.key) <= open.beats {
            return None;
        }
        let (side, flow) = (Side::Originator, open.flow.as_ref());
        let seen = Seen { at, side, flow, container, node, allow: &() };
        let (mut finding, _) = self.try_series(open.kind, open.key, &seen)?;
        finding.last_seen = Some(at);
        Some(Verdict::Raise(Box::new(finding)))
    }

    const fn flows(&self, kind: Kind) -> &Table<Traits> {
        match kind {
            Kind::Datagrams => &self.datagrams,
            Kind::Unanswered => &self.unanswered,
            _ => &self.connections,
        }
    }

    fn series(&self, kind: Kind, key: u64) -> Option<&Series> {
        match kind {
            Kind::Queries => self.domains.peek(key).map(|tracked| &tracked.series),
            Kind::OwnBursts | Kind::PeerBursts => {
                self.streams.peek(key).map(|tracked| &tracked.series)
            }
            _ => self.flows(kind).peek(key).map(|tracked| &tracked.series),
        }
    }

    fn last(&self, kind: Kind, key: u64) -> Option<Timestamp> {
        self.series(kind, key).map(|series| series.last)
    }

    fn beats(&self, kind: Kind, key: u64) -> u64 {
        self.series(kind, key).map_or(0, |series| series.beats)
    }
}

/// Named places that are called at the pace of this series and since the same time, its own included
/// (count, at most [`IN_STEP_MAX`]): registrable domains, or addresses where those are more. 1 where it has
/// no name. Many things happen once a minute; what came later is no part of them.
fn in_step(table: &Table<Traits>, series: &Series, about: &Traits) -> usize {
    let (Some(own), Some(pace_s)) = (about.place, series.pace_s()) else { return 1 };
    let mut places = own.map(|own| [own; IN_STEP_MAX]);
    let mut counts = [1; 2];
    for Tracked { series: other, about } in table.iter() {
        let (Some(place), Some(other_s)) = (about.place, other.pace_s()) else { continue };
        let (earlier, later) = (series.first.min(other.first), series.first.max(other.first));
        let same = (other_s - pace_s).abs() <= SAME_PACE * pace_s
            && later.seconds_since(earlier) <= pace_s;
        if !same {
            continue;
        }
        for ((known, count), one) in places.iter_mut().zip(&mut counts).zip(place) {
            if *count < IN_STEP_MAX && !known.contains(&one) {
                known[*count] = one;
                *count += 1;
            }
        }
    }
    counts.into_iter().max().unwrap_or(1)
}

/// Of a flow's destination: name or address, port and protocol.
fn key_of(flow: &Flow) -> u64 {
    let place = u64::from(flow.responder.port) << 8 | u64::from(flow.protocol.0);
    // Fibonacci hashing spreads what the destination's hash is mixed with (Knuth, 6.4).
    DestinationKey::of_flow(flow).0 ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The series of bursts within a flow: the container's, and its peer's.
const fn bursts_of(flow: &Flow) -> [(Kind, u64); 2] {
    [(Kind::OwnBursts, flow.id << 1), (Kind::PeerBursts, flow.id << 1 | 1)]
}

/// A datagram of NTP's own length to NTP's port (RFC 5905, section 7.3).
const fn is_clock(flow: &Flow, turn: &Turn) -> bool {
    flow.responder.port == 123 && turn.bytes == 48 * turn.packets as u64
}

#[cfg(test)]
mod tests;
