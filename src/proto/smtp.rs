//! SMTP (RFC 5321): a greeting with code 220, then `EHLO` or its like. Until the message itself,
//! every line of the server is a reply and every line of the client a command.

use super::dialogue::{Dialogue, Grammar, Says, is_command, may_be_command, reply_code};
use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// SMTP.
pub static PROTOCOL: Protocol = Protocol { name: "smtp", manner: Manner::RequestResponse };

/// SMTP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe)
    .read_by(|| Box::new(Dialogue::<Smtp>::default()))
    .may_start_tls()
    .of_both_sides();

const HELLOS: &[&[u8]] = &[b"EHLO", b"HELO", b"LHLO"];

const COMMANDS: &[&[u8]] = &[
    b"EHLO",
    b"HELO",
    b"LHLO",
    b"MAIL",
    b"RCPT",
    b"DATA",
    b"BDAT",
    b"RSET",
    b"VRFY",
    b"EXPN",
    b"HELP",
    b"NOOP",
    b"QUIT",
    b"AUTH",
    b"STARTTLS",
    b"XCLIENT",
    b"XFORWARD",
    b"ETRN",
    b"ATRN",
];

fn probe(probe: &Probe<'_>) -> Match {
    if probe.first != Side::Responder {
        return Match::No;
    }
    let greets = Match::prefix(probe.opening(), b"220");
    if greets != Match::Yes || probe.opening().get(3).is_some_and(|next| !b" -".contains(next)) {
        return if greets == Match::Maybe { Match::Maybe } else { Match::No };
    }
    let answer = probe.answer();
    if answer.is_empty() {
        return Match::Awaits;
    }
    match first_line(answer) {
        Some(line) => Match::when(is_command(line, HELLOS) && line.len() > 5),
        None => Match::so_far(may_be_command(answer, HELLOS)),
    }
}

#[derive(Default)]
struct Smtp {
    /// A dialogue of AUTH goes on: lines in base64.
    authenticates: bool,
}

impl Grammar for Smtp {
    fn line(&mut self, from: Side, line: &[u8]) -> Says {
        match (from, reply_code(line)) {
            // Mail comes.
            (Side::Responder, Some((354, _))) => Says::Opaque,
            (Side::Responder, Some((code, _))) => {
                self.authenticates = code == 334;
                if (200..600).contains(&code) { Says::Fits } else { Says::Contradicts }
            }
            (Side::Responder, None) => Says::Contradicts,
            (Side::Originator, _) if is_command(line, &[b"BDAT"]) => Says::Opaque,
            (Side::Originator, _) if is_command(line, COMMANDS) => Says::Fits,
            (Side::Originator, _) if self.authenticates && is_base64(line) => Says::Fits,
            (Side::Originator, _) => Says::Contradicts,
        }
    }
}

fn is_base64(line: &[u8]) -> bool {
    line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=*".contains(byte))
}
