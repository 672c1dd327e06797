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

/// The same flow, with the first byte of each thing said in a segment of its own.
pub(crate) fn first_byte_alone<'a>(said: &[Said<'a>]) -> Vec<Said<'a>> {
    said.iter()
        .flat_map(|(from, bytes)| {
            let (first, rest) = bytes.split_at(1.min(bytes.len()));
            [(*from, first), (*from, rest)]
        })
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

/// A TLS record.
pub(crate) fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

/// A handshake message.
pub(crate) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[kind][..], &length[1..], body].concat()
}

/// A ClientHello for `name`, which offers TLS 1.3 if asked to, and resumes `session`.
pub(crate) fn client_hello(name: &str, tls13: bool, session: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name.as_bytes()].concat();
    let names = [&(entry.len() as u16).to_be_bytes()[..], &entry].concat();
    let mut extensions = extension(0, &names);
    extensions.extend(extension(16, b"\0\x0c\x02h2\x08http/1.1"));
    extensions.extend(extension(10, b"\0\x04\0\x1d\0\x17"));
    extensions.extend(extension(13, b"\0\x04\x04\x03\x08\x04"));
    if tls13 {
        extensions.extend(extension(43, b"\x04\x03\x04\x03\x03"));
    }
    let mut body = [&[3, 3][..], &[7; 32], &[session.len() as u8], session].concat();
    body.extend(b"\0\x06\x13\x01\xc0\x2b\xc0\x2f\x01\0");
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    handshake(1, &body)
}

/// A ServerHello that takes TLS 1.3 or 1.2.
pub(crate) fn server_hello(tls13: bool, session: &[u8]) -> Vec<u8> {
    let extensions =
        if tls13 { extension(43, b"\x03\x04") } else { extension(16, b"\0\x03\x02h2") };
    let mut body = [&[3, 3][..], &[9; 32], &[session.len() as u8], session].concat();
    body.extend(if tls13 { b"\x13\x01\0" } else { b"\xc0\x2f\0" });
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    handshake(2, &body)
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
}
