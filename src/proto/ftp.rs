//! FTP control (RFC 959): a greeting with code 220 (or 120), then a command of its own. Every line
//! of the server is a reply or within one of many lines, every line of the client a command.

use super::dialogue::{Dialogue, Grammar, Says, is_command, may_be_command, reply_code};
use super::text::first_line;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// FTP control.
pub static PROTOCOL: Protocol = Protocol { name: "ftp", manner: Manner::Interactive };

/// FTP control on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe)
    .read_by(|| Box::new(Dialogue::<Ftp>::default()))
    .may_start_tls()
    .of_both_sides();

const FIRST: &[&[u8]] = &[b"USER", b"AUTH", b"FEAT", b"SYST", b"OPTS", b"HOST", b"CLNT"];

const COMMANDS: &[&[u8]] = &[
    b"ABOR", b"ACCT", b"ADAT", b"ALLO", b"APPE", b"AUTH", b"CCC", b"CDUP", b"CLNT", b"CWD",
    b"DELE", b"EPRT", b"EPSV", b"FEAT", b"HELP", b"HOST", b"LANG", b"LIST", b"MDTM", b"MFMT",
    b"MKD", b"MLSD", b"MLST", b"MODE", b"NLST", b"NOOP", b"OPTS", b"PASS", b"PASV", b"PBSZ",
    b"PORT", b"PROT", b"PWD", b"QUIT", b"REIN", b"REST", b"RETR", b"RMD", b"RNFR", b"RNTO",
    b"SITE", b"SIZE", b"SMNT", b"STAT", b"STOR", b"STOU", b"STRU", b"SYST", b"TYPE", b"USER",
    b"XCUP", b"XCWD", b"XMKD", b"XPWD", b"XRMD",
];

fn probe(probe: &Probe<'_>) -> Match {
    let opening = probe.opening();
    if probe.first != Side::Responder {
        return Match::No;
    }
    let greets = match (Match::prefix(opening, b"220"), Match::prefix(opening, b"120")) {
        (Match::No, other) | (other, _) => other,
    };
    if greets != Match::Yes || opening.get(3).is_some_and(|next| !b" -".contains(next)) {
        return if greets == Match::Maybe { Match::Maybe } else { Match::No };
    }
    let answer = probe.answer();
    match first_line(answer) {
        _ if answer.is_empty() => Match::Awaits,
        Some(line) => Match::when(is_command(line, FIRST)),
        None => Match::so_far(may_be_command(answer, FIRST)),
    }
}

#[derive(Default)]
struct Ftp {
    /// The code of a reply of many lines that goes on.
    within: Option<u16>,
}

impl Grammar for Ftp {
    fn line(&mut self, from: Side, line: &[u8]) -> Says {
        match (from, reply_code(line), self.within) {
            (Side::Responder, Some((code, dash)), within) => {
                if within.is_none_or(|within| within == code) {
                    self.within = dash.then_some(code);
                }
                if (100..700).contains(&code) { Says::Fits } else { Says::Contradicts }
            }
            (Side::Responder, None, Some(_)) => Says::Fits,
            (Side::Responder, None, None) => Says::Contradicts,
            // Telnet's interrupt and synch come before ABOR.
            (Side::Originator, ..) if is_command(line, COMMANDS) || line.first() == Some(&0xff) => {
                Says::Fits
            }
            (Side::Originator, ..) => Says::Contradicts,
        }
    }
}
