//! Redis (RESP 2 and 3): requests as arrays of strings, replies of a type that their first byte
//! names. The inline form is taken for Redis only where the answer is a reply.

use super::text::{Line, Lines, first_line};
use super::{Appetite, Match, Parser, Probe, Registration, Sink};
use crate::event::{Manner, Protocol, Side};

/// Redis, and what speaks as it does.
pub static PROTOCOL: Protocol = Protocol { name: "redis", manner: Manner::RequestResponse };

/// Redis on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).read_by(|| Box::new(Redis::default())).of_both_sides();

/// Longest line (bytes): types and lengths are short, errors and inline commands seldom long.
const LINE_BYTES_MAX: usize = 1_024;

/// Values that are looked at (count).
const VALUES_MAX: u32 = 256;

fn probe(probe: &Probe<'_>) -> Match {
    if probe.first != Side::Originator {
        return Match::No;
    }
    let (opening, answer) = (probe.opening(), probe.answer());
    match opening {
        [b'*', rest @ ..] => array(rest),
        _ => match first_line(opening) {
            Some(line) if is_inline(line) && opening.len() > line.len() + 1 => match answer {
                [] => Match::Awaits,
                [b'+' | b'-' | b'$' | b'*' | b'%', ..] => {
                    if first_line(answer).is_some() {
                        Match::Yes
                    } else {
                        Match::Maybe
                    }
                }
                _ => Match::No,
            },
            None if b"PING\r\n".starts_with(opening) || b"AUTH ".starts_with(opening) => {
                Match::Maybe
            }
            _ => Match::No,
        },
    }
}

fn is_inline(line: &[u8]) -> bool {
    line == b"PING" || line.starts_with(b"AUTH ")
}

/// `N\r\n$M\r\n`, behind the asterisk.
fn array(bytes: &[u8]) -> Match {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(rest) = bytes.get(digits..) else { return Match::No };
    if digits > 7 || (digits == 0 && !rest.is_empty()) {
        return Match::No;
    }
    match Match::prefix(rest, b"\r\n$") {
        Match::Yes => {}
        other => return other,
    }
    let length = rest.get(3..).unwrap_or_default();
    let digits = length.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(end) = length.get(digits..) else { return Match::No };
    match end {
        [] if digits <= 9 => Match::Maybe,
        _ if digits == 0 || digits > 9 => Match::No,
        end => Match::prefix(end, b"\r\n"),
    }
}

#[derive(Default)]
struct Redis {
    sides: [Half; 2],
    values: u32,
}

#[derive(Default)]
struct Half {
    lines: Lines<LINE_BYTES_MAX>,
    /// Bytes of a string and of its line's end to come.
    skip: u64,
}

impl Parser for Redis {
    fn data(&mut self, from: Side, bytes: &[u8], _sink: &mut Sink<'_>) -> Appetite {
        let half = &mut self.sides[from.index()];
        let mut bytes = bytes;
        loop {
            let skipped = half.skip.min(bytes.len() as u64);
            half.skip -= skipped;
            bytes = &bytes[skipped as usize..];
            let line = match half.lines.next(&mut bytes) {
                Line::Whole(line) => line,
                Line::More => return Appetite::More,
                Line::TooLong => return Appetite::Done,
            };
            let inline = from == Side::Originator && is_inline(line);
            match line {
                [b'$' | b'=' | b'!', digits @ ..] => {
                    let Some(length) = number(digits) else { return Appetite::Contradicted };
                    // -1 stands for no string.
                    half.skip = u64::try_from(length).map_or(0, |length| length + 2);
                }
                [b'*' | b'%' | b'~' | b'>' | b'|', digits @ ..] if number(digits).is_some() => {}
                [b':' | b',' | b'(' | b'#' | b'_', ..] => {}
                [b'+' | b'-', ..] if from == Side::Responder => {}
                [] => {}
                _ if inline => {}
                _ => return Appetite::Contradicted,
            }
            self.values += 1;
            if self.values >= VALUES_MAX {
                return Appetite::Done;
            }
        }
    }
}

/// A length, or -1.
fn number(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|number| (-1..=1 << 30).contains(number))
}
