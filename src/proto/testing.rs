//! For tests of protocols: a flow as a list of what each side said, and what was learnt from it.

use super::{Scratch, Session, Settings, Sink};
use crate::event::{DnsMessage, Fact, Side};

/// Who says what.
pub(crate) type Said<'a> = (Side, &'a [u8]);

pub(crate) const C: Side = Side::Originator;
pub(crate) const S: Side = Side::Responder;

/// What a flow taught.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Learnt {
    /// Each fact as `Debug` writes it.
    pub(crate) facts: Vec<String>,
    /// Name of the protocol; `failed` where it is unknown, `-` where undecided.
    pub(crate) app: &'static str,
}

/// Passes a flow through a session, and closes it.
pub(crate) fn learn(stream: bool, port: u16, said: &[Said<'_>]) -> Learnt {
    learn_with(Session::default(), stream, port, said)
}

/// As [`learn`], with a session of one's own.
pub(crate) fn learn_with(
    mut session: Session,
    stream: bool,
    port: u16,
    said: &[Said<'_>],
) -> Learnt {
    let mut facts = Vec::new();
    let mut fact = |fact: Fact<'_>| facts.push(format!("{fact:?}"));
    let mut sink = Sink {
        fact: &mut fact,
        dns: &mut DnsMessage::default(),
        scratch: &mut Scratch::default(),
        settings: &Settings::default(),
        dns_text: true,
    };
    for (from, bytes) in said {
        session.data(*from, bytes, stream, port, &mut sink);
    }
    let verdict = session.close(&mut sink);
    let app = match verdict.app() {
        Some(app) => app.name,
        None if verdict.is_unknown() => "failed",
        None => "-",
    };
    Learnt { facts, app }
}

/// The same flow, in segments of one byte.
pub(crate) fn byte_by_byte<'a>(said: &[Said<'a>]) -> Vec<Said<'a>> {
    said.iter().flat_map(|(from, bytes)| bytes.chunks(1).map(|byte| (*from, byte))).collect()
}
