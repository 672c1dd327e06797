//! Reverse shells: a container runs a shell, and the other end of one of its flows drives it.
//!
//! Two things give it away. *Text*: commands come in, and what shells and their tools write goes
//! out ([`text`], [`commands`], [`signs`]). *Rhythm*: the container opened the flow, yet the other side breaks
//! every silence with something small, and the container answers at once with more ([`rhythm`]);
//! that works through TLS, SSH, WebSockets and ciphers of their own. Bind shells are the same with
//! the flow opened from outside, where rhythm proves little, for every server is driven so.
//!
//! What is bounded, and who profits: `watched_max` flows are watched per container, the longest
//! quiet is forgotten first. Who fills it with conversations that pause hides an encrypted shell
//! for as long; a plaintext one is seen again with its next command.

mod commands;
mod destination;
mod explain;
mod rhythm;
mod rules;
mod settings;
mod signs;
mod text;
mod verdict;

use crate::baseline::DestinationKey;
use crate::bounded::BoundedMap;
use crate::detect::{Describe, Detector, Rule, Seen, Severity, Verdict};
use crate::event::{Event, Fact, IpProtocol, Manner, Side, Turn};
use crate::time::Timestamp;

use rhythm::{Framing, Rhythm};
use text::Text;
use verdict::Case;

pub use settings::Settings;

/// Findings kept open per container (count): what one peer does is one finding, however many
/// connections it takes.
const OPEN_MAX: usize = 64;

/// A turn of this number or later may begin a watch: those before it are a handshake's or a single
/// question's, and most flows end with them.
const FIRST_TURN: u32 = 2;

/// Scripts leave no silence: a flow with as many turns is looked at all the same.
const QUICK_TURN: u32 = 8;

/// One flow under watch.
struct Watch {
    rhythm: Rhythm,
    text: Option<Box<Text>>,
    /// Flows to the same port of the container when the watch began (count).
    served: u16,
    /// When the watch began.
    since: Timestamp,
    /// What was reported: rule, severity, magnitude.
    reported: Option<(&'static Rule, Severity, f64)>,
}

/// A finding that is open.
struct Open {
    rule: &'static Rule,
    /// Flows under it that are open (count).
    flows: u32,
    last: Timestamp,
}

/// The detector of one container.
pub struct ReverseShell {
    settings: Settings,
    watched: BoundedMap<u64, Watch>,
    open: BoundedMap<(u64, &'static str), Open>,
    served: Served,
}

/// How often the container's ports were called, roughly: two ports may share a place, and then the
/// later one begins anew.
struct Served([(u16, u16); 64]);

impl Served {
    fn note(&mut self, port: u16) {
        if let Some(place) = self.0.get_mut(usize::from(port % 64)) {
            let count = if place.0 == port { place.1.saturating_add(1) } else { 1 };
            *place = (port, count);
        }
    }

    fn count(&self, port: u16) -> u16 {
        self.0
            .get(usize::from(port % 64))
            .filter(|place| place.0 == port)
            .map_or(0, |place| place.1)
    }
}

/// What a flow's bytes are wrapped in, as far as that matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Channel {
    /// No known protocol: text, or a cipher of its own.
    Raw,
    /// TLS, whatever is inside.
    Tls,
    /// SSH.
    Ssh,
    /// An HTTP/1 connection that was upgraded.
    Upgraded,
    /// A protocol that is what it claims to be, as far as its first bytes tell.
    Known,
}

impl Channel {
    fn of(seen: &Seen<'_>) -> Self {
        let facts = seen.flow.facts.as_deref();
        let upgraded = facts
            .and_then(|facts| facts.http.as_deref())
            .is_some_and(|http| http.upgrade.is_some() && matches!(http.status, 0 | 101));
        match seen.flow.app {
            None => Self::Raw,
            Some(app) => match app.name {
                "tls" => Self::Tls,
                "ssh" => Self::Ssh,
                "websocket" => Self::Upgraded,
                // What is typed over it is text in the clear, and its options are few bytes.
                "telnet" | "rlogin" => Self::Raw,
                "http" if upgraded => Self::Upgraded,
                _ if app.manner == Manner::Carrier => Self::Raw,
                _ => Self::Known,
            },
        }
    }

    /// TLS 1.3 adds 22 bytes to a record (RFC 8446, 5.2), TLS 1.2 with AES-GCM 29. SSH adds 28 or
    /// more, and a keystroke inside a second SSH of its own takes up to 180 bytes. A server's
    /// WebSocket frame takes 2 (RFC 6455); in TLS it may carry a little JSON around a key.
    const fn framing(self) -> Framing {
        match self {
            Self::Tls => Framing { overhead_bytes: 22, keystroke_bytes: 40 },
            Self::Ssh => Framing { overhead_bytes: 28, keystroke_bytes: 152 },
            Self::Upgraded => Framing { overhead_bytes: 2, keystroke_bytes: 40 },
            Self::Raw | Self::Known => Framing { overhead_bytes: 0, keystroke_bytes: 48 },
        }
    }
}

impl Detector for ReverseShell {
    fn observe(&mut self, seen: &Seen<'_>, event: &Event<'_>, verdicts: &mut Vec<Verdict>) {
        match event {
            Event::Turn(turn) => self.turn(seen, turn, verdicts),
            Event::Data { from, offset, bytes, turn_head } => {
                self.data(seen, (*from, Some(*offset), *turn_head), bytes, verdicts);
            }
            // Protocols of datagrams are what each datagram says they are.
            Event::Datagram { from, bytes, .. } if seen.flow.app.is_none() => {
                self.data(seen, (*from, None, true), bytes, verdicts);
            }
            Event::FlowEstablished if !seen.outbound() => {
                self.served.note(seen.flow.endpoint(seen.side).port);
            }
            Event::Fact(Fact::TlsHandshake(_)) => self.encrypted(seen),
            Event::FlowClosed(_) => self.closed(seen, verdicts),
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
}

impl ReverseShell {
    fn turn(&mut self, seen: &Seen<'_>, turn: &Turn, verdicts: &mut Vec<Verdict>) {
        if turn.number < FIRST_TURN && self.watched.is_empty() || !is_stream(seen) {
            return;
        }
        let channel = Channel::of(seen);
        let pause = turn.silence_ns.is_some_and(|silence| silence >= self.settings.silence_ns());
        let question = turn.from != seen.side && pause && turn.number >= FIRST_TURN;
        if !self.watched.contains(&seen.flow.id) {
            let begins = question || turn.number == QUICK_TURN && seen.outbound();
            if !begins || !self.is_candidate(seen, channel) {
                return;
            }
            let watch = self.begin(seen, channel == Channel::Raw);
            self.watched.insert(seen.flow.id, watch);
        }
        let Some(watch) = self.watched.get_mut(&seen.flow.id) else { return };
        if channel == Channel::Tls && !is_established(seen) {
            return;
        }
        let totals = seen.sent_received();
        watch.rhythm.turn(turn, seen.side, totals, channel.framing(), &self.settings);
        if let (true, Some(text)) = (turn.from == seen.side, &mut watch.text) {
            text.see_prompt();
        }
        self.judge(seen, channel, verdicts);
    }

    /// Whether the rhythm of this flow may mean anything.
    fn is_candidate(&self, seen: &Seen<'_>, channel: Channel) -> bool {
        if channel == Channel::Known {
            return false;
        }
        if seen.outbound() {
            return true;
        }
        // Servers are driven from outside by nature; an SSH server is asked for a shell by design.
        let web = seen
            .flow
            .facts
            .as_deref()
            .and_then(|facts| facts.tls.as_deref())
            .is_some_and(|tls| !tls.alpn_offered.is_empty());
        channel != Channel::Ssh && !web
    }

    fn begin(&self, seen: &Seen<'_>, readable: bool) -> Watch {
        Watch {
            rhythm: Rhythm::new(seen.flow.payload_bytes(seen.side)),
            text: readable.then(|| Box::new(Text::new())),
            served: self.served.count(seen.flow.endpoint(seen.side).port),
            since: seen.at,
            reported: None,
        }
    }

    fn data(
        &mut self,
        seen: &Seen<'_>,
        (from, offset, head): (Side, Option<u64>, bool),
        bytes: &[u8],
        verdicts: &mut Vec<Verdict>,
    ) {
        let own = from == seen.side;
        let begins = head && may_be_text(bytes) && if own { greets(bytes) } else { asks(bytes) };
        if !begins && self.watched.is_empty() {
            return;
        }
        let channel = Channel::of(seen);
        if matches!(channel, Channel::Tls | Channel::Ssh) {
            return;
        }
        if !self.watched.contains(&seen.flow.id) {
            if !begins || own && channel == Channel::Known {
                return;
            }
            let watch = self.begin(seen, true);
            self.watched.insert(seen.flow.id, watch);
        }
        let Some(watch) = self.watched.get_mut(&seen.flow.id) else { return };
        let Some(text) = &mut watch.text else { return };
        let mut room = [0; FRAME];
        let (bytes, offset) = match channel {
            Channel::Upgraded => (unframed(bytes, &mut room).unwrap_or(bytes), None),
            _ => (bytes, offset),
        };
        let learnt = if own {
            text.hear_own(seen.at, offset, bytes, &self.settings)
        } else {
            text.hear_peer(seen.at, offset, bytes)
        };
        if text.is_binary() {
            watch.text = None;
        } else if learnt {
            self.judge(seen, channel, verdicts);
        }
    }

    /// The flow is TLS from here on: what looked like text before (STARTTLS) is over.
    fn encrypted(&mut self, seen: &Seen<'_>) {
        if let Some(watch) = self.watched.get_mut(&seen.flow.id) {
            watch.text = None;
        }
    }

    fn judge(&mut self, seen: &Seen<'_>, channel: Channel, verdicts: &mut Vec<Verdict>) {
        let Some(watch) = self.watched.get_mut(&seen.flow.id) else { return };
        let Some(case) = Case::of(watch, seen, channel, &self.settings) else { return };
        let known = watch.reported;
        let grown = known.is_none_or(|(rule, severity, magnitude)| {
            case.severity > severity
                || rule.id == case.rule.id && case.magnitude >= 10.0 * magnitude
        });
        if !grown {
            return;
        }
        watch.reported = Some((case.rule, case.severity, case.magnitude));
        let subject = subject(seen);
        if known.is_none_or(|(rule, ..)| rule.id != case.rule.id) {
            if let Some((rule, ..)) = known {
                self.leave(seen.at, (subject, rule.id));
            }
            let open = self.open.get_or_insert_with((subject, case.rule.id), || Open {
                rule: case.rule,
                flows: 0,
                last: seen.at,
            });
            open.flows += 1;
            open.last = seen.at;
        }
        let mut finding = case.finding(seen, &self.settings);
        finding.subject = subject;
        verdicts.push(Verdict::Raise(Box::new(finding)));
    }

    fn closed(&mut self, seen: &Seen<'_>, verdicts: &mut Vec<Verdict>) {
        if self.watched.is_empty() || !self.watched.contains(&seen.flow.id) {
            return;
        }
        self.judge(seen, Channel::of(seen), verdicts);
        if let Some(Watch { reported: Some((rule, ..)), .. }) = self.watched.remove(&seen.flow.id) {
            self.leave(seen.at, (subject(seen), rule.id));
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
    type Settings = Settings;

    fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            watched: BoundedMap::new(settings.watched_max),
            open: BoundedMap::new(OPEN_MAX),
            served: Served([(0, 0); 64]),
        }
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

/// The handshake is over, or was not seen at all.
fn is_established(seen: &Seen<'_>) -> bool {
    seen.flow
        .facts
        .as_deref()
        .and_then(|facts| facts.tls.as_deref())
        .is_none_or(|tls| tls.established)
}

fn may_be_text(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| matches!(first, 0x1b | b'\r' | b'\n' | 0x20..=0x7e))
}

/// The peer's turn may begin with a command, or with its first keys. Cheap: most flows stop here.
fn asks(bytes: &[u8]) -> bool {
    match bytes {
        [first, ..] if first.is_ascii_uppercase() || first.is_ascii_digit() => false,
        [_] | [_, _] | [_, _, _] => true,
        _ => {
            let line = bytes.get(..64).unwrap_or(bytes);
            let end = line.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let path = bytes.starts_with(b"./") || bytes.starts_with(b"/");
            commands::of_command(line.get(..end.unwrap_or(line.len())).unwrap_or(line)).is_some()
                || end.is_some() && path
        }
    }
}

/// The container's turn may begin with what a shell says of its own accord.
fn greets(bytes: &[u8]) -> bool {
    const HEADS: [&[u8]; 8] = [
        b"\x1b[?2004h",
        b"\x1b]0;",
        b"bash: ",
        b"/bin/",
        b"sh: ",
        b"Microsoft Windows [",
        b"BusyBox v",
        b"Windows Power",
    ];
    HEADS.iter().any(|head| bytes.starts_with(head))
        || bytes.len() <= 256
            && !signs::of_prompt(bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or(bytes))
                .is_empty()
}

/// Longest WebSocket payload that is looked at (bytes).
const FRAME: usize = 512;

/// The payload of the WebSocket frame at the start of `bytes` (RFC 6455, section 5.2), unmasked.
fn unframed<'a>(bytes: &'a [u8], room: &'a mut [u8; FRAME]) -> Option<&'a [u8]> {
    let [head, second, rest @ ..] = bytes else { return None };
    if !matches!(head & 0x0f, 0..=2) || head & 0x70 != 0 {
        return Some(&[]);
    }
    let (length, rest) = match second & 0x7f {
        126 => {
            let [high, low, rest @ ..] = rest else { return None };
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        127 => return None,
        length => (usize::from(length), rest),
    };
    if second & 0x80 == 0 {
        return Some(rest.get(..length).unwrap_or(rest));
    }
    let [a, b, c, d, rest @ ..] = rest else { return None };
    let mut written = 0;
    for ((slot, byte), key) in
        room.iter_mut().zip(rest.iter().take(length)).zip([a, b, c, d].into_iter().cycle())
    {
        *slot = byte ^ key;
        written += 1;
    }
    room.get(..written)
}

#[cfg(test)]
mod tests;
