//! IMAP (RFC 9051): a greeting `* OK`, `* PREAUTH` or `* BYE`, then a command behind a tag. Lines are
//! held against that form until the first literal.

use super::dialogue::{Dialogue, Grammar, Says};
use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// IMAP.
pub static PROTOCOL: Protocol = Protocol { name: "imap", manner: Manner::RequestResponse };

/// IMAP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe)
    .read_by(|| Box::new(Dialogue::<Imap>::default()))
    .may_start_tls()
    .of_both_sides();

const COMMANDS: &[&[u8]] = &[
    b"CAPABILITY",
    b"LOGIN",
    b"AUTHENTICATE",
    b"STARTTLS",
    b"ID",
    b"NOOP",
    b"LOGOUT",
    b"ENABLE",
    b"SELECT",
    b"EXAMINE",
    b"LIST",
    b"LSUB",
    b"STATUS",
    b"NAMESPACE",
    b"IDLE",
    b"UID",
    b"FETCH",
    b"SEARCH",
    b"STORE",
    b"COPY",
    b"MOVE",
    b"APPEND",
    b"CREATE",
    b"DELETE",
    b"RENAME",
    b"CLOSE",
    b"UNSELECT",
    b"EXPUNGE",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"CHECK",
    b"COMPRESS",
    b"GETQUOTAROOT",
    b"GETQUOTA",
    b"SORT",
    b"THREAD",
    b"XLIST",
];

const GREETINGS: [&[u8]; 3] = [b"* OK", b"* PREAUTH", b"* BYE"];

fn probe(probe: &Probe<'_>) -> Match {
    if probe.first != Side::Responder {
        return Match::No;
    }
    let greets = GREETINGS.map(|greeting| Match::prefix(probe.opening(), greeting));
    if !greets.contains(&Match::Yes) {
        return if greets.contains(&Match::Maybe) { Match::Maybe } else { Match::No };
    }
    let answer = probe.answer();
    match first_line(answer) {
        _ if answer.is_empty() => Match::Awaits,
        Some(line) => Match::when(is_tagged(line)),
        None => {
            Match::so_far(answer.iter().all(|byte| (b' '..0x7f).contains(byte) || *byte == b'\r'))
        }
    }
}

/// A command behind a tag.
fn is_tagged(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(tag), Some(command)) = (words.next(), words.next()) else { return false };
    !tag.is_empty()
        && tag.iter().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte))
        && COMMANDS.iter().any(|known| command.eq_ignore_ascii_case(known))
}

#[derive(Default)]
struct Imap {
    /// The server asked for more (`+`): what follows is no command.
    goes_on: bool,
}

impl Grammar for Imap {
    fn line(&mut self, from: Side, line: &[u8]) -> Says {
        if line.ends_with(b"}") {
            return Says::Opaque;
        }
        let fits = match from {
            Side::Originator => self.goes_on || is_tagged(line),
            Side::Responder if line.first() == Some(&b'+') => {
                self.goes_on = true;
                true
            }
            Side::Responder => {
                let mut words = line.split(|byte| *byte == b' ');
                let tag = words.next().unwrap_or_default();
                self.goes_on &= tag == b"*";
                tag == b"*" || matches!(words.next(), Some(b"OK" | b"NO" | b"BAD"))
            }
        };
        if fits { Says::Fits } else { Says::Contradicts }
    }
}
