//! One flow's way through the table: probe, dispatch, and fall back where the stream contradicts.

use std::fmt;

use super::{Appetite, Match, Over, PROTOCOLS, Parser, Probe, Reader, Registration, Sink};
use crate::event::{Protocol, Side};

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

/// The protocol state of one flow. Small until a parser is needed, and small again after it.
#[derive(Default)]
pub struct Session {
    stage: Stage,
    verdict: Verdict,
    restarts: u8,
    datagrams: u8,
    all: bool,
    midstream: bool,
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
    Row(usize),
    Undecided { awaits: bool },
    Nothing,
}

impl Session {
    /// For a flow whose beginning was not seen: protocols that can be told midway are looked for
    /// too. Others take its bytes for a beginning, and mostly find that they are none.
    pub fn midstream() -> Self {
        Self { midstream: true, ..Self::default() }
    }

    /// Whether bytes at this position of their direction are worth passing to [`Self::data`].
    /// `content_bytes` is [`crate::flow::Settings::content_bytes`]; a parser that bounds itself
    /// (TLS up to the end of its handshake, DNS over TCP) sees what lies beyond too.
    pub const fn wants(&self, offset: u64, content_bytes: u32) -> bool {
        match self.stage {
            Stage::Done => false,
            Stage::Datagrams(_) => true,
            _ => self.all || offset < content_bytes as u64,
        }
    }

    /// What is known so far.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
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
        if !bytes.is_empty() {
            self.feed(from, bytes, stream, port, sink);
        }
        self.verdict
    }

    /// `bytes` of this side's stream were lost.
    pub fn gap(&mut self, from: Side, bytes: u64, port: u16, sink: &mut Sink<'_>) -> Verdict {
        match &mut self.stage {
            Stage::Parsing(parser) => {
                let appetite = parser.gap(from, bytes, sink);
                self.act(appetite, from, &[], true, port, sink);
            }
            // The first bytes are what names a protocol; behind a gap there are none.
            Stage::Fresh | Stage::Probing(_) => self.unknown(),
            Stage::Datagrams(_) | Stage::Done => {}
        }
        self.verdict
    }

    /// The flow is over: parsers report what they have.
    pub fn close(&mut self, sink: &mut Sink<'_>) -> Verdict {
        if let Stage::Parsing(parser) = &mut self.stage {
            parser.close(sink);
        }
        self.stage = Stage::Done;
        self.verdict
    }

    fn feed(&mut self, from: Side, bytes: &[u8], stream: bool, port: u16, sink: &mut Sink<'_>) {
        match &mut self.stage {
            Stage::Done => {}
            Stage::Fresh => self.open(from, bytes, stream, port, sink),
            Stage::Probing(held) => {
                held.take(from, bytes, sink.settings.probe_bytes);
                self.probe_held(port, sink);
            }
            Stage::Datagrams(read) => {
                let appetite = read(from, bytes, sink);
                self.act(appetite, from, bytes, stream, port, sink);
            }
            Stage::Parsing(parser) => {
                let appetite = parser.data(from, bytes, sink);
                self.act(appetite, from, bytes, stream, port, sink);
            }
        }
    }

    /// The first bytes of a flow, or the first after a restart. Usually they decide, without a copy.
    fn open(&mut self, from: Side, bytes: &[u8], stream: bool, port: u16, sink: &mut Sink<'_>) {
        let mut sides: [&[u8]; 2] = [&[]; 2];
        sides[from.index()] = bytes;
        let probe = Probe { stream, bytes: sides, first: from, port, midstream: self.midstream };
        // What a tunnel's outside was says nothing about its inside.
        self.verdict = Verdict::Undecided;
        let mut start = 0;
        loop {
            match search(&probe, start) {
                Found::Row(row) => {
                    if self.begin(&PROTOCOLS[row], from, bytes, stream, port, sink) {
                        return;
                    }
                    start = row + 1;
                }
                Found::Undecided { awaits } if stream => {
                    let full = bytes.len() >= sink.settings.probe_bytes;
                    if full && !awaits {
                        return self.unknown();
                    }
                    let mut held =
                        Held { first: from, bytes: [Vec::new(), Vec::new()], dropped: [0; 2] };
                    held.take(from, bytes, sink.settings.probe_bytes);
                    self.stage = Stage::Probing(Box::new(held));
                    return;
                }
                Found::Undecided { .. } => {
                    self.datagrams += 1;
                    if self.datagrams >= DATAGRAMS_MAX {
                        self.unknown();
                    }
                    return;
                }
                Found::Nothing => return self.unknown(),
            }
        }
    }

    /// Hands first bytes to the reader of a row. False if it declines them outright: then another
    /// row may have them.
    fn begin(
        &mut self,
        registration: &'static Registration,
        from: Side,
        bytes: &[u8],
        stream: bool,
        port: u16,
        sink: &mut Sink<'_>,
    ) -> bool {
        let appetite = match registration.reader {
            Reader::None => Appetite::Done,
            Reader::Datagrams(read) => {
                self.stage = Stage::Datagrams(read);
                read(from, bytes, sink)
            }
            Reader::Parser(make) => {
                let mut parser = make();
                let appetite = parser.data(from, bytes, sink);
                self.stage = Stage::Parsing(parser);
                appetite
            }
        };
        if appetite == Appetite::Contradicted {
            self.stage = Stage::Fresh;
            return false;
        }
        self.verdict = Verdict::Known(registration.protocol);
        self.act(appetite, from, bytes, stream, port, sink);
        true
    }

    /// More bytes came while probing.
    fn probe_held(&mut self, port: u16, sink: &mut Sink<'_>) {
        let Stage::Probing(held) = &self.stage else { return };
        let probe = Probe {
            stream: true,
            bytes: held.sides(),
            first: held.first,
            port,
            midstream: self.midstream,
        };
        match search(&probe, 0) {
            Found::Row(row) => {
                let Stage::Probing(held) = std::mem::take(&mut self.stage) else { return };
                self.replay(&PROTOCOLS[row], *held, port, sink);
            }
            Found::Undecided { awaits } => {
                if held.full(sink.settings.probe_bytes, awaits) {
                    self.unknown();
                }
            }
            Found::Nothing => self.unknown(),
        }
    }

    /// A protocol was recognised by bytes of both sides: passes them on, the opening first.
    fn replay(&mut self, row: &'static Registration, held: Held, port: u16, sink: &mut Sink<'_>) {
        let Held { first, bytes, dropped } = held;
        let other = first.other();
        if !self.begin(row, first, &bytes[first.index()], true, port, sink) {
            return self.unknown();
        }
        if dropped[first.index()] > 0 {
            self.gap(first, dropped[first.index()], port, sink);
        }
        if !bytes[other.index()].is_empty() {
            self.feed(other, &bytes[other.index()], true, port, sink);
        }
        if dropped[other.index()] > 0 {
            self.gap(other, dropped[other.index()], port, sink);
        }
    }

    fn act(
        &mut self,
        appetite: Appetite,
        from: Side,
        bytes: &[u8],
        stream: bool,
        port: u16,
        sink: &mut Sink<'_>,
    ) {
        match appetite {
            Appetite::More => self.all = false,
            Appetite::All => self.all = true,
            Appetite::Done => self.stage = Stage::Done,
            Appetite::Upgrade { to, rest } => {
                let rest = &bytes[bytes.len() - rest.min(bytes.len())..];
                if !self.begin(to, from, rest, stream, port, sink) {
                    self.unknown();
                }
            }
            Appetite::Contradicted => self.unknown(),
            Appetite::Restart { rest } => {
                self.restarts += 1;
                self.all = false;
                if self.restarts > RESTARTS_MAX {
                    self.stage = Stage::Done;
                    return;
                }
                self.stage = Stage::Fresh;
                let rest = &bytes[bytes.len() - rest.min(bytes.len())..];
                if !rest.is_empty() {
                    self.feed(from, rest, stream, port, sink);
                }
            }
        }
    }

    fn unknown(&mut self) {
        self.verdict = Verdict::Unknown;
        self.stage = Stage::Done;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Fresh => "fresh",
            Stage::Probing(_) => "probing",
            Stage::Datagrams(_) => "datagrams",
            Stage::Parsing(_) => "parsing",
            Stage::Done => "done",
        };
        f.debug_struct("Session").field("stage", &stage).field("verdict", &self.verdict).finish()
    }
}

impl Held {
    fn take(&mut self, from: Side, bytes: &[u8], bytes_max: usize) {
        let held = &mut self.bytes[from.index()];
        let room = bytes_max.saturating_sub(held.len()).min(bytes.len());
        // After the first byte that did not fit, none does: what is held has no holes.
        let room = if self.dropped[from.index()] > 0 { 0 } else { room };
        held.extend_from_slice(&bytes[..room]);
        self.dropped[from.index()] += (bytes.len() - room) as u64;
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

/// The first row from `start` that says yes, unless an earlier one may yet.
fn search(probe: &Probe<'_>, start: usize) -> Found {
    let over = if probe.stream { Over::Datagram } else { Over::Stream };
    let mut undecided = false;
    let mut awaits = false;
    for (row, Registration { over: runs_over, probe: asks, .. }) in
        PROTOCOLS.iter().enumerate().skip(start)
    {
        if *runs_over == over {
            continue;
        }
        match asks(probe) {
            Match::Yes => return Found::Row(row),
            Match::Maybe => undecided = true,
            Match::Awaits => awaits = true,
            Match::No => {}
        }
    }
    if undecided || awaits { Found::Undecided { awaits } } else { Found::Nothing }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{C, S, Said, byte_by_byte, learn};
    use super::*;

    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 64, "{} bytes", size_of::<Session>());
    }

    /// What a flow is, and that it is that however it is cut into segments.
    #[test]
    fn flows_are_named_by_what_they_say() {
        let kexinit = b"\0\0\x01\x04\x05\x14";
        let ssh = [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], kexinit].concat();
        let rows: &[(&str, &str, &[Said<'_>])] = &[
            (
                "a request and its response",
                "http",
                &[
                    (C, b"GET / HTTP/1.1\r\nHost: a.example:80\r\n\r\n"),
                    (S, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
                    (C, b"GET /b HTTP/1.1\r\n\r\n"),
                ],
            ),
            (
                "a proxy's tunnel to something unknown",
                "failed",
                &[
                    (C, b"CONNECT a.example:9 HTTP/1.1\r\n\r\n"),
                    (S, b"HTTP/1.1 200 OK\r\n\r\n"),
                    (S, b"id\n"),
                    (C, b"uid=0(root) gid=0(root)\n"),
                ],
            ),
            (
                "a proxy's tunnel to ssh",
                "ssh",
                &[
                    (C, b"CONNECT a.example:22 HTTP/1.1\r\n\r\n"),
                    (S, b"HTTP/1.1 200 OK\r\n\r\n"),
                    (S, &ssh),
                    (C, &ssh),
                ],
            ),
            (
                "WebSocket after an upgrade",
                "websocket",
                &[
                    (C, b"GET /w HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\n"),
                    (S, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"),
                    (C, b"\x81\x82abcd\x01\x02"),
                ],
            ),
            (
                "a shell after an upgrade",
                "failed",
                &[
                    (C, b"GET /w HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
                    (S, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nid\n"),
                    (C, b"uid=0(root)\n"),
                ],
            ),
            (
                "a shell behind a false response",
                "failed",
                &[(C, b"HTTP/1.1 200 OK\r\n\r\n"), (S, b"id\n")],
            ),
            (
                "a shell behind a false request",
                "failed",
                &[(C, b"GET / HTTP/1.1\r\n\r\n"), (S, b"id\n")],
            ),
            (
                "a shell in a response without end",
                "failed",
                &[
                    (C, b"GET / HTTP/1.1\r\n\r\n"),
                    (S, b"HTTP/1.1 200 OK\r\n\r\nid\n"),
                    (C, b"uid=0(root) gid=0(root)\n"),
                ],
            ),
            ("ssh", "ssh", &[(S, &ssh), (C, &ssh)]),
            (
                "a shell behind a false banner",
                "failed",
                &[(S, b"SSH-2.0-x\r\n"), (C, b"SSH-2.0-x\r\n"), (S, b"uname -a\n")],
            ),
            ("a shell", "failed", &[(S, b"id\n"), (C, b"uid=0(root) gid=0(root)\n")]),
            ("its prompt", "failed", &[(C, b"$ "), (S, b"id\n")]),
            ("a busybox prompt", "failed", &[(C, b"/ # ")]),
            ("a bash prompt", "failed", &[(C, b"sh-5.1$ ")]),
            ("Windows", "failed", &[(C, b"Microsoft Windows [Version 10.0.19045.2965]\r\n")]),
            ("nothing", "-", &[]),
        ];
        for (case, expected, said) in rows {
            let learnt = learn(true, 4444, said);
            assert_eq!(learnt.app, *expected, "{case}: {:?}", learnt.facts);
            let in_bytes = learn(true, 4444, &byte_by_byte(said));
            assert_eq!(in_bytes, learnt, "{case}, byte by byte");
        }
    }
}
