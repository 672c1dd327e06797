//! IRC (RFC 1459, 2812): `NICK`, `USER`, `PASS` or `CAP` from the client, and from the server lines
//! behind a prefix, or `NOTICE` and `PING`.

use super::dialogue::{Dialogue, Grammar, Says, is_command, may_be_command};
use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// IRC.
pub static PROTOCOL: Protocol = Protocol { name: "irc", manner: Manner::Push };

/// IRC on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe)
    .read_by(|| Box::new(Dialogue::<Irc>::default()))
    .may_start_tls()
    .of_both_sides();

const CLIENT: &[&[u8]] = &[
    b"NICK",
    b"USER",
    b"PASS",
    b"CAP",
    b"JOIN",
    b"PRIVMSG",
    b"PART",
    b"QUIT",
    b"PING",
    b"PONG",
    b"MODE",
    b"WHO",
    b"WHOIS",
    b"NOTICE",
    b"TOPIC",
    b"LIST",
    b"NAMES",
    b"AWAY",
    b"AUTHENTICATE",
    b"STARTTLS",
    b"USERHOST",
    b"MOTD",
    b"ISON",
    b"INVITE",
    b"KICK",
    b"LUSERS",
    b"VERSION",
    b"OPER",
    b"PROTOCTL",
    b"WATCH",
    b"MONITOR",
];

const OPENINGS: &[&[u8]] = &[b"NICK", b"USER", b"PASS", b"CAP", b"STARTTLS"];

const SERVER: &[&[u8]] = &[b"PING", b"NOTICE", b"ERROR", b"CAP", b"AUTHENTICATE", b"PONG"];

fn probe(probe: &Probe<'_>) -> Match {
    let [client, server] = probe.bytes;
    let opens = match first_line(client) {
        _ if client.is_empty() => Match::Awaits,
        Some(line) => {
            Match::when(is_command(line, OPENINGS) && (line.len() > 5 || line == b"STARTTLS"))
        }
        None => Match::so_far(may_be_command(client, OPENINGS)),
    };
    let answers = match first_line(server) {
        _ if server.is_empty() => Match::Awaits,
        Some(line) => Match::when(is_server_line(line)),
        None => Match::so_far(server.len() < 64 && starts_server_line(server)),
    };
    match (opens, answers) {
        (Match::No, _) | (_, Match::No) => Match::No,
        (Match::Yes, Match::Yes) => Match::Yes,
        (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
        _ => Match::Awaits,
    }
}

/// `:server 001 nick :text`, or one of few words without a prefix.
fn is_server_line(line: &[u8]) -> bool {
    match line {
        [b':', rest @ ..] => {
            let mut words = rest.split(|byte| *byte == b' ');
            let prefix = words.next().unwrap_or_default();
            let command = words.next().unwrap_or_default();
            !prefix.is_empty()
                && ((command.len() == 3 && command.iter().all(u8::is_ascii_digit))
                    || (command.len() >= 3 && command.iter().all(u8::is_ascii_uppercase)))
        }
        line => is_command(line, SERVER),
    }
}

fn starts_server_line(line: &[u8]) -> bool {
    line.first() == Some(&b':')
        || SERVER.iter().any(|word| line.iter().zip(*word).all(|(byte, letter)| byte == letter))
}

#[derive(Default)]
struct Irc;

impl Grammar for Irc {
    fn line(&mut self, from: Side, line: &[u8]) -> Says {
        let fits = line.is_empty()
            || match from {
                Side::Originator => is_command(line, CLIENT) || line.first() == Some(&b':'),
                Side::Responder => is_server_line(line),
            };
        if fits { Says::Fits } else { Says::Contradicts }
    }
}
