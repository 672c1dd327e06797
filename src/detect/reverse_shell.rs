//! Reverse shells: a container runs a shell, and the other end of one of its flows drives it.
//!
//! Two things give it away. *Text*: commands come in, and what shells and their tools write goes
//! out ([`text`], [`commands`], [`signs`]). *Rhythm*: the container opened the flow, yet the other side breaks
//! every silence with something small, and the container answers at once with more ([`rhythm`]);
//! that works through TLS, SSH, WebSockets and ciphers of their own. Bind shells are the same with
//! the flow opened from outside, where rhythm proves little, for every server is driven so. A shell
//! may take its commands from one flow and write to another of the same peer.
//!
//! What is bounded, and who profits: `watched_max` flows are watched per container, the longest
//! quiet is forgotten first. Who fills it with conversations that pause hides an encrypted shell
//! for as long; a plaintext one is seen again with its next command.

mod channel;
mod commands;
mod destination;
mod explain;
mod forms;
mod heads;
mod line;
mod rhythm;
mod rules;
mod settings;
mod signs;
mod text;
mod told;
mod verbs;
mod verdict;

use std::net::IpAddr;

use crate::baseline::DestinationKey;
use crate::bounded::BoundedMap;
use crate::detect::{Describe, Detector, Rule, Seen, Severity, Verdict};
use crate::event::{Event, EventKinds, Fact, FlowEnd, IpProtocol, Side, Turn};
use crate::time::Timestamp;

use channel::{Channel, has_rhythm, is_handshake, may_be_read, opening};
use heads::{Head, Heads, Opening};
use rhythm::Rhythm;
use text::{Command, Text};
use told::{Tally, Told};
use verdict::{Case, Ground};

pub use settings::Settings;

/// Findings kept open per container (count): what one peer does is one finding, however many
/// connections it takes.
const OPEN_MAX: usize = 64;

/// Peers whose latest command waits for an answer, per container (count).
const ASKED_MAX: usize = 32;

/// Peers whose commands on earlier connections are remembered, per container (count; 250 bytes each).
const TOLD_MAX: usize = 32;

/// A turn of this number or later may begin a watch: those before it are a handshake's or a single
/// question's, and most flows end with them.
const FIRST_TURN: u32 = 2;

/// Scripts leave no silence: a flow with as many turns is looked at all the same.
const QUICK_TURN: u32 = 8;

/// One flow under watch.
struct Watch {
    rhythm: Rhythm,
    text: Option<Box<Text>>,
    /// It was read, and is no text.
    binary: bool,
    /// Short turns of the peer that the snap length cut (count), and its frames that were cut so far.
    cut_turns: u32,
    cut_frames: u32,
    /// When the watch began.
    since: Timestamp,
    /// What was reported: rule, severity, magnitude.
    reported: Option<(&'static Rule, Severity, f64)>,
    /// Commands that the finding counts (count); nothing where it does not count this flow.
    counted: Option<u32>,
}

impl Watch {
    /// The capture lacks what the peer said after half of these silences, or more.
    const fn is_cut(&self, silences: u32) -> bool {
        self.cut_turns > 0 && self.cut_turns.saturating_mul(2) >= silences
    }
}

/// A finding that is open.
struct Open {
    rule: &'static Rule,
    /// Flows under it that are open (count).
    flows: u32,
    last: Timestamp,
    tally: Tally,
}

/// The detector of one container.
pub struct ReverseShell {
    settings: Settings,
    watched: BoundedMap<u64, Watch>,
    heads: Heads,
    open: BoundedMap<(u64, &'static str), Open>,
    /// Commands that wait for an answer, by peer: it may come on another flow.
    asked: BoundedMap<IpAddr, Command>,
    /// What commands on connections that have ended told, by the finding's subject, and when.
    told: BoundedMap<u64, (Timestamp, Told)>,
}

impl Detector for ReverseShell {
    fn observe(&mut self, seen: &Seen<'_>, event: &Event<'_>, verdicts: &mut Vec<Verdict>) {
        match event {
            Event::Turn { turn, totals } => self.turn(seen, turn, *totals, verdicts),
            Event::Data { from, offset, bytes, turn_head } => {
                self.data(seen, (*from, Some(*offset), *turn_head), bytes, verdicts);
            }
            // Protocols of datagrams are what each datagram says they are.
            Event::Datagram { from, bytes, .. } if seen.flow.app.is_none() => {
                self.data(seen, (*from, None, true), bytes, verdicts);
            }
            // What looked like text before (STARTTLS) is over, if the handshake was more than a show.
            Event::Fact(Fact::TlsHandshake(tls)) if tls.established => self.encrypted(seen),
            Event::FlowClosed(end) => self.closed(seen, *end, verdicts),
            _ => {}
        }
    }

    fn end_minute(
        &mut self,
        at: Timestamp,
        _container: &crate::container::Container,
        _node: &crate::baseline::Baseline,
        verdicts: &mut Vec<Verdict>,
    ) {
        if self.open.is_empty() {
            return;
        }
        let joined_s = self.settings.joined_s;
        let over: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.flows == 0 && at.seconds_since(open.last) >= joined_s)
            .map(|(key, open)| (*key, open.rule))
            .collect();
        for (key, rule) in over {
            self.open.remove(&key);
            verdicts.push(Verdict::Close { rule, subject: key.0 });
        }
    }

    fn forgotten(&self) -> u64 {
        let kept = [self.watched.evicted(), self.open.evicted(), self.told.evicted()];
        self.heads.evicted() + kept.into_iter().sum::<u64>()
    }

    fn end_capture(&mut self, verdicts: &mut Vec<Verdict>) {
        let ended = self.open.iter().filter(|(_, open)| open.flows == 0);
        verdicts.extend(
            ended.map(|((subject, _), open)| Verdict::Close { rule: open.rule, subject: *subject }),
        );
    }
}

impl ReverseShell {
    fn turn(
        &mut self,
        seen: &Seen<'_>,
        turn: &Turn,
        totals: [u64; 2],
        verdicts: &mut Vec<Verdict>,
    ) {
        if !self.heads.is_empty()
            && let Some(head) = self.heads.take(seen.flow.id)
        {
            self.end_head(seen, &head, totals, verdicts);
        }
        if turn.number < FIRST_TURN && self.watched.is_empty() || !is_stream(seen) {
            return;
        }
        let pause = turn.silence_ns.is_some_and(|silence| silence >= self.settings.silence_ns());
        let question = turn.from != seen.side && pause && turn.number >= FIRST_TURN;
        let begins = question || turn.number == QUICK_TURN && seen.outbound();
        if !begins && (self.watched.is_empty() || !self.watched.contains(&seen.flow.id)) {
            return;
        }
        let channel = Channel::of(seen);
        if begins && !self.watched.contains(&seen.flow.id) {
            if !has_rhythm(seen, channel) {
                return;
            }
            let own_total = totals[seen.side.index()];
            let text = (channel == Channel::Raw).then(|| self.new_text(seen));
            let watch = begin(seen.at, own_total, text);
            self.watched.insert(seen.flow.id, watch);
        }
        let Some(watch) = self.watched.get_mut(&seen.flow.id) else { return };
        if turn.from != seen.side {
            let cut_frames = seen.flow.sides[turn.from.index()].cut_frames;
            let short = turn.bytes <= u64::from(self.settings.question_bytes_max);
            watch.cut_turns += u32::from(short && cut_frames > watch.cut_frames);
            watch.cut_frames = cut_frames;
        }
        if channel == Channel::Tls && watch.text.is_none() && is_handshake(seen, turn) {
            return;
        }
        let totals = (totals[seen.side.index()], totals[seen.side.other().index()]);
        watch.rhythm.turn(turn, seen.side, totals, channel.framing(), &self.settings);
        if let (true, Some(text)) = (turn.from == seen.side, &mut watch.text) {
            text.see_prompt();
        }
        self.judge(seen, channel, verdicts);
    }

    /// Takes content: a piece of the stream at `offset`, or a datagram.
    fn data(
        &mut self,
        seen: &Seen<'_>,
        (from, offset, head): (Side, Option<u64>, bool),
        bytes: &[u8],
        verdicts: &mut Vec<Verdict>,
    ) {
        let begins = head && heads::may_open(from == seen.side, bytes);
        if !begins && self.watched.is_empty() && self.heads.is_empty() {
            return;
        }
        let id = seen.flow.id;
        if self.is_read(id) {
            self.hear(seen, (from, offset), bytes, verdicts);
            return;
        }
        let waiting = if head { None } else { self.heads.take(id) };
        if !begins && waiting.is_none() {
            return;
        }
        let (channel, own) = (Channel::of(seen), from == seen.side);
        // Any protocol's body may carry the output of what its peer has just asked for elsewhere.
        let awaited = own && channel == Channel::Known && self.awaits(seen);
        if !awaited && !may_be_read(channel, own) {
            return;
        }
        let mut head = waiting.unwrap_or_else(|| Head::new(id, from, seen.at, offset));
        let rest = head.push(bytes);
        let opening = match awaited {
            true => Opening::Read,
            false => opening(&head, channel, own, !rest.is_empty(), offset.is_none()),
        };
        match opening {
            Opening::Pass => {}
            Opening::Wait => self.heads.put(head),
            Opening::Read => {
                let own_total = seen.flow.payload_bytes(seen.side);
                self.begin_reading(seen, &head, own_total, verdicts);
                let follows = head.offset.map(|offset| offset + head.text().len() as u64);
                if !rest.is_empty() {
                    self.hear(seen, (from, follows), rest, verdicts);
                }
            }
        }
    }

    /// The peer has just asked for something, on whichever flow.
    fn awaits(&self, seen: &Seen<'_>) -> bool {
        let asked = self.asked.peek(&seen.peer().ip);
        asked.is_some_and(|command| command.is_due(seen.at, &self.settings))
    }

    /// The flow is read as text, or was and is none.
    fn is_read(&self, flow: u64) -> bool {
        self.watched.peek(&flow).is_some_and(|watch| watch.text.is_some() || watch.binary)
    }

    /// A turn that waited is over: what it began with may be worth reading.
    fn end_head(
        &mut self,
        seen: &Seen<'_>,
        head: &Head,
        totals: [u64; 2],
        verdicts: &mut Vec<Verdict>,
    ) {
        let own = head.from == seen.side;
        let channel = Channel::of(seen);
        if may_be_read(channel, own)
            && opening(head, channel, own, false, true) == Opening::Read
            && !self.is_read(seen.flow.id)
        {
            self.begin_reading(seen, head, totals[seen.side.index()], verdicts);
        }
    }

    /// Watches a flow from the beginning of this turn on. The container has sent `own_total` bytes.
    fn begin_reading(
        &mut self,
        seen: &Seen<'_>,
        head: &Head,
        own_total: u64,
        verdicts: &mut Vec<Verdict>,
    ) {
        let own = head.from == seen.side;
        let own_total = head.offset.filter(|_| own).unwrap_or(own_total);
        let text = Some(self.new_text(seen));
        match self.watched.get_mut(&seen.flow.id) {
            Some(watch) => watch.text = text,
            None => {
                self.watched.insert(seen.flow.id, begin(head.at, own_total, text));
            }
        }
        self.hear(seen, (head.from, head.offset), head.text(), verdicts);
    }

    /// A reader of a flow. A shell may take each command on a connection of its own.
    fn new_text(&mut self, seen: &Seen<'_>) -> Box<Text> {
        let told = self.told.remove(&subject(seen));
        let told = told.filter(|(at, _)| seen.at.seconds_since(*at) <= self.settings.joined_s);
        Box::new(told.map_or_else(Text::new, |(_, told)| Text::resume(told)))
    }

    /// Reads content of a watched flow, and judges at each place in it that taught something.
    fn hear(
        &mut self,
        seen: &Seen<'_>,
        (from, mut offset): (Side, Option<u64>),
        mut bytes: &[u8],
        verdicts: &mut Vec<Verdict>,
    ) {
        let channel = Channel::of(seen);
        if !may_be_read(channel, false) {
            return;
        }
        let datagram = offset.is_none();
        while !bytes.is_empty() {
            let Some(watch) = self.watched.get_mut(&seen.flow.id) else { return };
            let Some(text) = &mut watch.text else { return };
            let peer = seen.peer().ip;
            let (taken, learnt) = if from == seen.side {
                if text.is_unasked()
                    && let Some(command) = self.asked.peek(&peer)
                {
                    text.ask_elsewhere(*command);
                }
                text.hear_own(seen.at, offset, bytes, &self.settings)
            } else {
                text.hear_peer(seen.at, offset, bytes, &self.settings)
            };
            if let Some(command) = text.waiting(seen.peer().port).filter(|_| from != seen.side) {
                self.asked.insert(peer, command);
            }
            bytes = bytes.get(taken..).unwrap_or_default();
            offset = offset.map(|offset| offset + taken as u64);
            // A datagram ends where it ends; in a stream, only what is said ends anything.
            let learnt = learnt || datagram && bytes.is_empty() && text.take_news();
            if text.is_binary() {
                watch.text = None;
                // Of a cipher nothing else was expected; what follows it may be text again.
                watch.binary = !channel.is_cipher();
                return;
            }
            if learnt {
                self.judge(seen, channel, verdicts);
            }
        }
    }

    /// The flow is TLS from here on.
    fn encrypted(&mut self, seen: &Seen<'_>) {
        self.heads.take(seen.flow.id);
        if let Some(watch) = self.watched.get_mut(&seen.flow.id) {
            watch.text = None;
        }
    }

    fn judge(&mut self, seen: &Seen<'_>, channel: Channel, verdicts: &mut Vec<Verdict>) {
        let Some(watch) = self.watched.get_mut(&seen.flow.id) else { return };
        let Some(mut case) = Case::of(watch, seen, channel, &self.settings) else { return };
        let known = watch.reported;
        let grown = known.is_none_or(|(rule, severity, magnitude)| {
            case.severity > severity || rule.id == case.rule.id && case.magnitude > magnitude
        });
        if !grown {
            return;
        }
        watch.reported = Some((case.rule, case.severity, case.magnitude));
        let subject = subject(seen);
        if known.is_none_or(|(rule, ..)| rule.id != case.rule.id) {
            watch.counted = None;
            if let Some((rule, ..)) = known {
                // What it was taken for before is absorbed.
                self.leave(seen.at, (subject, rule.id));
                if self.open.peek(&(subject, rule.id)).is_some_and(|open| open.flows == 0) {
                    self.open.remove(&(subject, rule.id));
                    verdicts.push(Verdict::Close { rule, subject });
                }
            }
            let open = self.open.get_or_insert_with((subject, case.rule.id), || Open {
                rule: case.rule,
                flows: 0,
                last: seen.at,
                tally: Tally::default(),
            });
            open.flows += 1;
            open.last = seen.at;
        }
        if let Ground::Text(reading) = &mut case.ground
            && let Some(open) = self.open.get_mut(&(subject, case.rule.id))
            && let Some(watch) = self.watched.get_mut(&seen.flow.id)
        {
            open.tally.count(reading, &mut watch.counted);
        }
        let mut finding = case.finding(seen, &self.settings);
        finding.subject = subject;
        verdicts.push(Verdict::Raise(Box::new(finding)));
    }

    fn closed(&mut self, seen: &Seen<'_>, end: FlowEnd, verdicts: &mut Vec<Verdict>) {
        self.heads.take(seen.flow.id);
        if self.watched.is_empty() || !self.watched.contains(&seen.flow.id) {
            return;
        }
        self.judge(seen, Channel::of(seen), verdicts);
        let Some(mut watch) = self.watched.remove(&seen.flow.id) else { return };
        if let Some((rule, ..)) = watch.reported
            && let Some(text) = watch.text.as_ref().filter(|_| watch.counted.is_some())
            && let Some(open) = self.open.get_mut(&(subject(seen), rule.id))
        {
            open.tally.end(text.commands, &mut watch.counted);
        }
        // Whoever calls a container is one of many behind an address; whom it calls is one.
        if seen.outbound()
            && let Some(told) = watch.text.and_then(|text| text.told())
        {
            self.told.insert(subject(seen), (seen.at, told));
        }
        if let Some((rule, ..)) = watch.reported
            && end != FlowEnd::CaptureEnd
        {
            let key = (subject(seen), rule.id);
            self.leave(seen.at, key);
            // Another connection may join it: it closes when none has.
            if self.open.peek(&key).is_some_and(|open| open.flows == 0) {
                verdicts.push(Verdict::Pause { rule, subject: key.0 });
            }
        }
    }

    fn leave(&mut self, at: Timestamp, key: (u64, &'static str)) {
        if let Some(open) = self.open.get_mut(&key) {
            open.flows = open.flows.saturating_sub(1);
            open.last = at;
        }
    }
}

impl Describe for ReverseShell {
    const ID: &'static str = "reverse_shell";
    const RULES: &'static [&'static Rule] = rules::ALL;
    const ADS: &'static str = include_str!("../../docs/ads/reverse_shell.md");
    const HEARS: EventKinds =
        EventKinds::CONTENT.and(EventKinds::TURN).and(EventKinds::FACT).and(EventKinds::CLOSED);
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), String> {
        settings.check()
    }

    fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            watched: BoundedMap::new(settings.watched_max),
            heads: Heads::new(),
            open: BoundedMap::new(OPEN_MAX),
            asked: BoundedMap::new(ASKED_MAX),
            told: BoundedMap::new(TOLD_MAX),
        }
    }

    fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

/// The container has sent `own_total` bytes before.
fn begin(since: Timestamp, own_total: u64, text: Option<Box<Text>>) -> Watch {
    Watch {
        rhythm: Rhythm::new(own_total),
        text,
        binary: false,
        cut_turns: 0,
        cut_frames: 0,
        since,
        reported: None,
        counted: None,
    }
}

/// One finding per peer: a shell that connects again and again is one. The port tells apart what
/// one host offers; it is the peer's only where the container called it.
fn subject(seen: &Seen<'_>) -> u64 {
    let peer = seen.peer();
    let port = if seen.outbound() { peer.port } else { seen.flow.endpoint(seen.side).port };
    DestinationKey::of_ip(peer.ip).0.rotate_left(17) ^ u64::from(port)
}

const fn is_stream(seen: &Seen<'_>) -> bool {
    seen.flow.protocol.0 == IpProtocol::TCP.0
}

#[cfg(test)]
mod tests;
