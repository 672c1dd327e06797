//! HTTP/1 (RFC 9112): who asks whom for what. Facts are those of the first request and its response;
//! after them the framing alone is followed, so that what turns into something else is noticed: a
//! request must follow a request's end, a response must answer it.
//!
//! An upgrade to WebSocket makes the flow that; any other upgrade, and a proxy's CONNECT, let what
//! follows be probed afresh.

use compact_str::CompactString;
use memchr::memchr;

use super::text::{Line, Lines, contains_ignore_case, text, without_final_dots};
use super::{Appetite, Match, Parser, Probe, Registration, Sink, websocket};
use crate::event::{Fact, HttpFacts, Manner, Protocol, Side};

/// HTTP/1.
pub static PROTOCOL: Protocol = Protocol { name: "http", manner: Manner::RequestResponse };

/// HTTP/1 on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).read_by(|| Box::new(Http::default()));

/// Longest line of a head (bytes). Servers refuse longer ones too: 8 KiB is the usual limit.
const LINE_BYTES_MAX: usize = 8_192;

/// Longest text of a fact (bytes).
const FACT_BYTES_MAX: usize = 256;

/// Requests whose framing is followed (count). A connection that served so many is what it says.
const REQUESTS_MAX: u32 = 64;

/// Bytes of a request line without its end that are enough to believe it.
const LONG_LINE_BYTES: usize = 64;

fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if probe.first == Side::Responder {
        // A server that gives up waiting says so unasked (408).
        return Match::prefix(bytes, b"HTTP/1.");
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() < bytes.len() {
        return Match::when(request_line(line.strip_suffix(b"\r").unwrap_or(line)).is_some());
    }
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let Some(target) = words.next() else {
        return Match::so_far(METHODS.iter().any(|known| known.starts_with(method)));
    };
    let printable = target.iter().all(|byte| is_target(*byte) || b" \r".contains(byte));
    if !METHODS.contains(&method) || !printable {
        return Match::No;
    }
    // A long target without a space in it is one: its line need not be held.
    let long = target.len() > LONG_LINE_BYTES && target.iter().all(|byte| is_target(*byte));
    if long && matches!(target, [b'/' | b'h', ..]) { Match::Yes } else { Match::Maybe }
}

/// Methods in use (IANA, HTTP Method Registry), the common ones first; and UPnP's.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"CONNECT",
    b"PATCH",
    b"TRACE",
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"COPY",
    b"LABEL",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"ORDERPATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"NOTIFY",
    b"M-SEARCH",
];

/// Method and target of a request line.
fn request_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let fits = words.next().is_none()
        && METHODS.contains(&method)
        && !target.is_empty()
        && target.iter().all(|byte| is_target(*byte))
        && is_version(version);
    fits.then_some((method, target))
}

/// What a target may hold: anything but spaces and control characters. Some clients send UTF-8.
const fn is_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

/// Code of a status line.
fn status_line(line: &[u8]) -> Option<u16> {
    let (version, rest) = line.split_at_checked(8)?;
    let [b' ', a, b, c, rest @ ..] = rest else { return None };
    if !is_version(version) || !matches!(rest.first(), None | Some(b' ')) {
        return None;
    }
    let digits = [*a, *b, *c];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn is_version(version: &[u8]) -> bool {
    matches!(version, b"HTTP/1.1" | b"HTTP/1.0")
}

#[derive(Default)]
struct Http {
    /// Of each side. Apart, so that a line may lie in them while the rest reads it.
    lines: [Lines<LINE_BYTES_MAX>; 2],
    exchange: Exchange,
}

/// Requests and their responses.
#[derive(Default)]
struct Exchange {
    facts: HttpFacts,
    sides: [Half; 2],
    /// Requests that began, and responses that ended (count).
    requests: u32,
    responses: u32,
    /// The kinds of requests that wait for their response, the oldest lowest: two bits each.
    kinds: u64,
}

/// What a request's kind says about its response.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Plain = 0,
    Head = 1,
    Connect = 2,
}

/// Requests that may wait for their response (count): two bits of `kinds` each.
const WAITING_MAX: u32 = 32;

#[derive(Default)]
struct Half {
    state: State,
    head: Head,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    /// A request or status line comes.
    #[default]
    Start,
    /// Header lines come.
    Headers,
    /// So many bytes of body come.
    Body(u64),
    /// The length of a chunk comes.
    ChunkLength,
    /// So many bytes of a chunk come, and a line's end.
    Chunk(u64),
    /// Lines behind the last chunk come.
    Trailers,
    /// A response's body that ends with the connection.
    UntilClose,
}

/// What a head says about what follows it.
#[derive(Clone, Copy, Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    websocket: bool,
}

impl Parser for Http {
    fn data(&mut self, from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite {
        let Self { lines, exchange } = self;
        let lines = &mut lines[from.index()];
        let mut rest = bytes;
        loop {
            let half = &mut exchange.sides[from.index()];
            match half.state {
                State::UntilClose => return Appetite::More,
                State::Body(0) => {
                    exchange.end_message(from);
                    continue;
                }
                State::Body(left) | State::Chunk(left) if left > 0 => {
                    let passed = left.min(rest.len() as u64);
                    rest = &rest[passed as usize..];
                    half.state = match half.state {
                        State::Body(_) => State::Body(left - passed),
                        _ => State::Chunk(left - passed),
                    };
                    if left > passed {
                        return Appetite::More;
                    }
                    continue;
                }
                _ => {}
            }
            let step = match lines.next(&mut rest) {
                Line::Whole(line) => exchange.line(from, line, rest.len(), sink),
                Line::More => Step::Stop(Appetite::More),
                Line::TooLong => Step::Stop(Appetite::Contradicted),
            };
            if let Step::Stop(appetite) = step {
                return appetite;
            }
            if exchange.responses >= REQUESTS_MAX {
                return Appetite::Done;
            }
        }
    }

    fn gap(&mut self, from: Side, bytes: u64, _sink: &mut Sink<'_>) -> Appetite {
        match &mut self.exchange.sides[from.index()].state {
            State::Body(left) if *left >= bytes => {
                *left -= bytes;
                Appetite::More
            }
            State::UntilClose => Appetite::More,
            _ => Appetite::Done,
        }
    }
}

enum Step {
    Next,
    Stop(Appetite),
}

impl Exchange {
    fn line(&mut self, from: Side, line: &[u8], rest: usize, sink: &mut Sink<'_>) -> Step {
        let half = &mut self.sides[from.index()];
        match half.state {
            State::Start => self.start_line(from, line),
            State::Headers if line.is_empty() => self.end_head(from, rest, sink),
            State::Headers => self.header(from, line),
            State::ChunkLength => match chunk_length(line) {
                Some(0) => self.go_on(from, State::Trailers),
                Some(length) => self.go_on(from, State::Chunk(length)),
                None => Step::Stop(Appetite::Contradicted),
            },
            State::Chunk(_) if line.is_empty() => self.go_on(from, State::ChunkLength),
            State::Trailers if line.is_empty() => {
                self.end_message(from);
                Step::Next
            }
            State::Trailers => Step::Next,
            State::Chunk(_) | State::Body(_) | State::UntilClose => {
                Step::Stop(Appetite::Contradicted)
            }
        }
    }

    fn go_on(&mut self, from: Side, state: State) -> Step {
        self.sides[from.index()].state = state;
        Step::Next
    }

    fn start_line(&mut self, from: Side, line: &[u8]) -> Step {
        // Robust ends skip an empty line before a request (RFC 9112, section 2.2).
        if line.is_empty() {
            return Step::Next;
        }
        let half = &mut self.sides[from.index()];
        half.head = Head::default();
        half.state = State::Headers;
        match from {
            Side::Originator => {
                let Some((method, target)) = request_line(line) else {
                    return Step::Stop(Appetite::Contradicted);
                };
                let waiting = self.requests.saturating_sub(self.responses);
                if waiting >= WAITING_MAX {
                    return Step::Stop(Appetite::Done);
                }
                let kind = match method {
                    b"HEAD" => Kind::Head,
                    b"CONNECT" => Kind::Connect,
                    _ => Kind::Plain,
                };
                self.kinds |= (kind as u64) << (waiting * 2);
                self.requests += 1;
                if self.requests == 1 {
                    self.facts.method = text(method, FACT_BYTES_MAX);
                    self.facts.path = text(target, FACT_BYTES_MAX);
                    if kind == Kind::Connect {
                        self.facts.host = host(target);
                    }
                }
            }
            Side::Responder => match status_line(line) {
                Some(status) => half.head.status = status,
                None => return Step::Stop(Appetite::Contradicted),
            },
        }
        Step::Next
    }

    fn header(&mut self, from: Side, line: &[u8]) -> Step {
        // A line that begins with a space continues the one before it.
        if matches!(line, [b' ' | b'\t', ..]) {
            return Step::Next;
        }
        let Some(colon) = memchr(b':', line) else {
            return Step::Stop(Appetite::Contradicted);
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let head = &mut self.sides[from.index()].head;
        let first = from == Side::Originator && self.requests == 1;
        // By length first: most lines of a head say nothing that matters here.
        match name.len() {
            4 if first && self.facts.host.is_none() && name.eq_ignore_ascii_case(b"host") => {
                self.facts.host = host(value.trim_ascii());
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let value = value.trim_ascii();
                head.websocket |= value.eq_ignore_ascii_case(b"websocket");
                if first {
                    self.facts.upgrade = Some(lower(value));
                }
            }
            10 if first && name.eq_ignore_ascii_case(b"user-agent") => {
                self.facts.user_agent = Some(text(value.trim_ascii(), FACT_BYTES_MAX));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let digits = std::str::from_utf8(value.trim_ascii());
                head.length = digits.ok().and_then(|digits| digits.parse().ok());
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                head.chunked |= contains_ignore_case(value, b"chunked");
            }
            _ => {}
        }
        Step::Next
    }

    fn end_head(&mut self, from: Side, rest: usize, sink: &mut Sink<'_>) -> Step {
        let head = self.sides[from.index()].head;
        if from == Side::Originator {
            if self.requests == 1 {
                (sink.fact)(Fact::HttpRequest(&self.facts));
            }
            self.sides[from.index()].state = match head {
                Head { chunked: true, .. } => State::ChunkLength,
                Head { length: Some(length), .. } => State::Body(length),
                _ => State::Start,
            };
            return Step::Next;
        }
        // Interim responses: the final one follows.
        if (100..200).contains(&head.status) && head.status != 101 {
            return self.go_on(from, State::Start);
        }
        if self.responses == 0 {
            self.facts.status = head.status;
            (sink.fact)(Fact::HttpResponse(&self.facts));
        }
        let kind = self.kinds & 3;
        if head.status == 101 {
            return Step::Stop(if head.websocket {
                Appetite::Upgrade { to: &websocket::REGISTRATION, rest }
            } else {
                Appetite::Restart { rest }
            });
        }
        if kind == Kind::Connect as u64 && (200..300).contains(&head.status) {
            return Step::Stop(Appetite::Restart { rest });
        }
        let bodiless = kind == Kind::Head as u64 || matches!(head.status, 204 | 304);
        self.sides[from.index()].state = match head {
            _ if bodiless => State::Body(0),
            Head { chunked: true, .. } => State::ChunkLength,
            Head { length: Some(length), .. } => State::Body(length),
            _ => State::UntilClose,
        };
        Step::Next
    }

    /// A message with its body is over.
    fn end_message(&mut self, from: Side) {
        self.sides[from.index()].state = State::Start;
        if from == Side::Responder {
            self.responses = self.responses.saturating_add(1);
            self.kinds >>= 2;
        }
    }
}

fn lower(value: &[u8]) -> CompactString {
    let mut lower = text(value, FACT_BYTES_MAX);
    lower.make_ascii_lowercase();
    lower
}

/// Host without port and final dot, lower case.
fn host(value: &[u8]) -> Option<CompactString> {
    let name = match value {
        [b'[', ..] => value.split(|byte| *byte == b']').next()?.get(1..)?,
        _ => value.split(|byte| *byte == b':').next()?,
    };
    let name = without_final_dots(name);
    (!name.is_empty()).then(|| lower(name))
}

/// Length of a chunk: hexadecimal, with extensions behind a semicolon.
fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
