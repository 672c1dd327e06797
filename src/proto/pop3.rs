//! POP3 (RFC 1939): a greeting `+OK`, then a command of its own. Replies begin with `+` or `-ERR`,
//! until one of many lines comes.

use super::dialogue::{Dialogue, Grammar, Says, is_command, may_be_command};
use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// POP3.
pub static PROTOCOL: Protocol = Protocol { name: "pop3", manner: Manner::RequestResponse };

/// POP3 on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe)
    .read_by(|| Box::new(Dialogue::<Pop3>::default()))
    .may_start_tls()
    .of_both_sides();

const COMMANDS: &[&[u8]] = &[
    b"USER", b"PASS", b"APOP", b"AUTH", b"CAPA", b"STLS", b"STAT", b"LIST", b"RETR", b"DELE",
    b"NOOP", b"RSET", b"QUIT", b"TOP", b"UIDL", b"UTF8", b"LANG",
];

/// Commands whose reply has many lines.
const LISTING: &[&[u8]] = &[b"CAPA", b"LIST", b"RETR", b"TOP", b"UIDL", b"LANG"];

fn probe(probe: &Probe<'_>) -> Match {
    if probe.first != Side::Responder {
        return Match::No;
    }
    match Match::prefix(probe.opening(), b"+OK") {
        Match::Yes => {}
        other => return other,
    }
    let answer = probe.answer();
    match first_line(answer) {
        _ if answer.is_empty() => Match::Awaits,
        Some(line) => Match::when(is_command(line, COMMANDS)),
        None => Match::so_far(may_be_command(answer, COMMANDS)),
    }
}

#[derive(Default)]
struct Pop3 {
    /// Commands that passed, the greeting among them; and replies.
    authenticates: bool,
    listing: bool,
    text: bool,
}

impl Grammar for Pop3 {
    fn line(&mut self, from: Side, line: &[u8]) -> Says {
        match from {
            Side::Responder if self.text => {
                self.text = line != b".";
                Says::Fits
            }
            Side::Responder if line.starts_with(b"+OK") => {
                self.text = std::mem::take(&mut self.listing);
                Says::Fits
            }
            Side::Responder => {
                self.listing = false;
                self.authenticates = line.starts_with(b"+ ") || line == b"+";
                let fits = self.authenticates || line.starts_with(b"-ERR");
                if fits { Says::Fits } else { Says::Contradicts }
            }
            Side::Originator if is_command(line, &[b"RETR"]) => Says::Opaque,
            Side::Originator if is_command(line, COMMANDS) => {
                // LIST and UIDL with a number have a reply of one line.
                self.listing = is_command(line, LISTING) && !line.contains(&b' ');
                Says::Fits
            }
            Side::Originator if self.authenticates => Says::Fits,
            Side::Originator => Says::Contradicts,
        }
    }
}
