//! memcached: its text form, where request and answer both fit, and its binary form.

use super::bytes::{be16, be32};
use super::dialogue::{is_command, may_be_command};
use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// memcached.
pub static PROTOCOL: Protocol = Protocol { name: "memcached", manner: Manner::RequestResponse };

/// memcached on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).of_both_sides();

const REQUESTS: &[&[u8]] = &[
    b"get",
    b"gets",
    b"gat",
    b"gats",
    b"set",
    b"add",
    b"replace",
    b"append",
    b"prepend",
    b"cas",
    b"incr",
    b"decr",
    b"delete",
    b"touch",
    b"stats",
    b"version",
    b"mg",
    b"ms",
    b"md",
    b"mn",
    b"flush_all",
    b"verbosity",
];

const ANSWERS: &[&[u8]] = &[
    b"VALUE",
    b"END",
    b"STORED",
    b"NOT_STORED",
    b"EXISTS",
    b"NOT_FOUND",
    b"DELETED",
    b"TOUCHED",
    b"STAT",
    b"VERSION",
    b"OK",
    b"HD",
    b"VA",
    b"EN",
    b"NS",
    b"EX",
    b"NF",
    b"MN",
    b"CLIENT_ERROR",
];

fn probe(probe: &Probe<'_>) -> Match {
    let (opening, answer) = (probe.opening(), probe.answer());
    if probe.first != Side::Originator {
        return Match::No;
    }
    if opening.first() == Some(&0x80) {
        return binary(opening);
    }
    // Real clients end lines as the protocol says; what is typed into a shell ends otherwise.
    let Some(line) = first_line(opening) else {
        return Match::so_far(may_be_command(opening, REQUESTS) && answer.is_empty());
    };
    if !opening.get(line.len()..).is_some_and(|end| end.starts_with(b"\r\n"))
        || !is_command(line, REQUESTS)
        || !line.first().is_some_and(u8::is_ascii_lowercase)
    {
        return Match::No;
    }
    match first_line(answer) {
        _ if answer.is_empty() => Match::Awaits,
        Some(line) => {
            let number = !line.is_empty() && line.iter().all(u8::is_ascii_digit);
            Match::when((is_command(line, ANSWERS) || number) && answer.ends_with(b"\r\n"))
        }
        None => Match::so_far(answer.len() < 300),
    }
}

/// A request header: magic, a known operation, lengths that add up.
fn binary(bytes: &[u8]) -> Match {
    let (Some(key), Some(body)) = (be16(bytes, 2), be32(bytes, 8)) else { return Match::Maybe };
    let (Some(operation), Some(extras), Some(kind)) = (bytes.get(1), bytes.get(4), bytes.get(5))
    else {
        return Match::Maybe;
    };
    let least = u32::from(key) + u32::from(*extras);
    Match::when(
        *operation <= 0x3d && *extras <= 32 && *kind == 0 && body >= least && body < 1 << 21,
    )
}
