//! TLS (RFC 8446, 5246) over TCP, on any port and after any STARTTLS: what both hellos say, the
//! server's certificate where it is visible, and whether the handshake completed.
//!
//! Records and handshake messages may be cut anywhere by segments, and messages by records. What
//! lies whole in a segment is read where it lies; only messages of interest are held, up to
//! [`Settings::tls_handshake_bytes_max`](super::Settings::tls_handshake_bytes_max).

mod certificate;
mod fingerprint;
mod hello;
mod record;
mod watch;
#[cfg(test)]
mod tests;

use super::{Appetite, Match, Parser, Probe, Registration, Sink};
use crate::event::{Fact, Manner, Protocol, Side, TlsFacts};
pub(crate) use watch::{Begin, Watch};

use record::{Content, Half, Piece};

/// TLS, and SSL before it.
pub static PROTOCOL: Protocol = Protocol { name: "tls", manner: Manner::Carrier };

/// TLS on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).read_by(|| Box::new(Tls::default()));

/// TLS 1.3 as on the wire.
const TLS_1_3: u16 = 0x0304;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;

/// Shortest encrypted record of any version, which holds a tag or a MAC of 16 bytes at least, but for
/// ciphers that RFC 7366 and 8446 have left behind.
const CIPHERTEXT_BYTES_MIN: usize = 16;

/// Shortest encrypted record of TLS 1.3 that can hold a Finished message: 4 of header, 32 of hash,
/// 1 of type, 16 of tag (bytes). Shorter ones hold an alert.
const FINISHED_BYTES_MIN: usize = 53;

/// Shortest one that can hold the server's first encrypted message, EncryptedExtensions without any:
/// 4 of header, 2 of length, 1 of type, 16 of tag (bytes). An alert takes 19.
const ENCRYPTED_EXTENSIONS_BYTES_MIN: usize = 23;

/// A handshake record with a hello in it; mid-stream, a run of records of application data.
fn probe(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return hello::probe_sslv2(bytes);
    }
    match bytes.first() {
        Some(22) => {}
        Some(23) if probe.midstream => return record::probe_midstream(bytes),
        _ => return Match::No,
    }
    let at = |place: usize, test: fn(u8) -> bool| bytes.get(place).is_none_or(|byte| test(*byte));
    let fits = at(1, |major| major == 3)
        && at(2, |minor| minor <= 4)
        && at(3, |high| high <= record::LENGTH_HIGH_MAX)
        && at(5, |kind| kind == CLIENT_HELLO || kind == SERVER_HELLO)
        && at(6, |high| high <= 1)
        && at(9, |major| major == 3 || major == 0x7f);
    match (fits, bytes.len() >= 11) {
        (false, _) => Match::No,
        (true, false) => Match::Maybe,
        (true, true) => Match::when(bytes[3] > 0 || bytes[4] >= 4),
    }
}

#[derive(Default)]
struct Tls {
    facts: TlsFacts,
    halves: [Half; 2],
    /// Who sent the ClientHello, or did not send the ServerHello.
    client: Option<Side>,
    /// The client's session id, to see whether the server takes it up again.
    session_id: Option<Box<[u8]>>,
    /// Whose hello has the form of SSL 2, while it is read.
    sslv2: Option<Side>,
    server_hello: bool,
    server_key_exchange: bool,
    reported: bool,
}

impl Parser for Tls {
    fn data(&mut self, from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite {
        let first_byte = bytes.first().copied().unwrap_or_default();
        // One side has such a hello; another's that begins so would mix what both hold.
        if self.client.is_none()
            && self.sslv2.is_none()
            && self.halves[from.index()].passed == 0
            && first_byte & 0x80 != 0
        {
            self.sslv2 = Some(from);
        }
        if self.sslv2 == Some(from) {
            return self.sslv2(from, bytes, sink);
        }
        let mut half = std::mem::take(&mut self.halves[from.index()]);
        let appetite = self.records(from, &mut half, bytes, sink);
        self.halves[from.index()] = half;
        appetite
    }

    fn gap(&mut self, from: Side, bytes: u64, sink: &mut Sink<'_>) -> Appetite {
        if self.halves[from.index()].skip(bytes) {
            return Appetite::All;
        }
        self.report(sink);
        Appetite::Done
    }

    fn close(&mut self, sink: &mut Sink<'_>) {
        self.report(sink);
    }
}

impl Tls {
    fn records(
        &mut self,
        from: Side,
        half: &mut Half,
        bytes: &[u8],
        sink: &mut Sink<'_>,
    ) -> Appetite {
        half.passed += bytes.len();
        let mut bytes = bytes;
        loop {
            match half.next(&mut bytes) {
                Piece::Record(kind, length) => {
                    if let Some(appetite) = self.record(from, half, kind, length, sink) {
                        return appetite;
                    }
                }
                Piece::Handshake(fragment) => {
                    let most = sink.settings.tls_handshake_bytes_max;
                    if !half.messages(fragment, most, |kind, body| {
                        self.message(from, kind, body, sink);
                    }) {
                        self.report(sink);
                        return Appetite::Done;
                    }
                }
                Piece::More => break,
                Piece::Broken => {
                    self.report(sink);
                    return Appetite::Contradicted;
                }
            }
        }
        if half.passed > sink.settings.tls_handshake_bytes_max {
            self.report(sink);
            return Appetite::Done;
        }
        Appetite::All
    }

    /// A record begins. `Some` where it ends the handshake.
    fn record(
        &mut self,
        from: Side,
        half: &mut Half,
        kind: Content,
        length: usize,
        sink: &mut Sink<'_>,
    ) -> Option<Appetite> {
        let from_server = self.client.is_some_and(|client| client != from);
        let lost = half.lost || self.halves[from.other().index()].lost;
        if kind == Content::ApplicationData
            && (length < CIPHERTEXT_BYTES_MIN || from_server && !self.server_hello && !lost)
        {
            self.report(sink);
            return Some(Appetite::Contradicted);
        }
        match kind {
            Content::ChangeCipherSpec => {
                // Before TLS 1.3 the server goes straight to encryption when it resumes.
                if from_server && self.server_hello && self.facts.version < TLS_1_3 {
                    self.facts.resumed |=
                        self.facts.certificate.is_none() && !self.server_key_exchange;
                }
                half.changed = true;
            }
            // Encrypted, a Finished and an alert look alike but for their length.
            Content::ApplicationData if self.facts.version >= TLS_1_3 && !half.ciphered => {
                let first_bytes_min =
                    if from_server { ENCRYPTED_EXTENSIONS_BYTES_MIN } else { FINISHED_BYTES_MIN };
                if length < first_bytes_min {
                    self.report(sink);
                    return Some(Appetite::Done);
                }
                half.ciphered = true;
            }
            Content::ApplicationData => half.ciphered = true,
            // In TLS 1.3 that record is a dummy, and a second ClientHello may follow it.
            Content::Handshake if half.changed => {
                half.ciphered = (1..TLS_1_3).contains(&self.facts.version);
            }
            Content::Alert if self.server_hello || from_server => {
                self.report(sink);
                return Some(Appetite::Done);
            }
            Content::Handshake | Content::Alert | Content::Heartbeat => {}
        }
        let other = &self.halves[from.other().index()];
        if half.ciphered && other.ciphered {
            self.facts.established = true;
            self.report(sink);
            return Some(Appetite::Done);
        }
        None
    }

    fn message(&mut self, from: Side, kind: u8, body: &[u8], sink: &mut Sink<'_>) {
        match kind {
            CLIENT_HELLO if !self.server_hello && self.client != Some(from.other()) => {
                let Some((facts, session_id)) = hello::client(body, sink.scratch) else { return };
                // The server asked for another hello, and it may differ: a record for each.
                if self.client.is_some() {
                    (sink.fact)(Fact::TlsHandshake(&self.facts));
                }
                self.facts = facts;
                self.client = Some(from);
                self.session_id = session_id;
                (sink.fact)(Fact::TlsClientHello(&self.facts));
            }
            SERVER_HELLO if self.client != Some(from) => {
                self.client = Some(from.other());
                if hello::is_retry_request(body) {
                    self.facts.version = TLS_1_3;
                    return;
                }
                self.server_hello = true;
                let session_id = hello::server(body, &mut self.facts, sink.scratch);
                if self.facts.version < TLS_1_3 {
                    self.facts.resumed |= session_id
                        .is_some_and(|session_id| self.session_id.as_deref() == Some(session_id));
                }
            }
            CERTIFICATE if self.client != Some(from) && self.facts.certificate.is_none() => {
                if let Some(der) = certificate::first(body) {
                    self.facts.certificate = certificate::read(der).map(Box::new);
                    // A certificate is sent only where nothing was resumed.
                    self.facts.resumed = false;
                }
            }
            SERVER_KEY_EXCHANGE if self.client != Some(from) => self.server_key_exchange = true,
            _ => {}
        }
    }

    /// A hello in the form of SSL 2, from old clients that offer something newer.
    fn sslv2(&mut self, from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite {
        let half = &mut self.halves[from.index()];
        let mut rest = bytes;
        let Some(message) = half.sslv2(&mut rest) else { return Appetite::All };
        self.sslv2 = None;
        hello::sslv2(&message, &mut self.facts);
        self.client = Some(from);
        (sink.fact)(Fact::TlsClientHello(&self.facts));
        if self.facts.client_version < 0x0300 {
            // The rest of SSL 2 is nothing that later versions know.
            self.report(sink);
            return Appetite::Done;
        }
        self.data(from, rest, sink)
    }

    fn report(&mut self, sink: &mut Sink<'_>) {
        if !self.reported && self.client.is_some() {
            self.reported = true;
            (sink.fact)(Fact::TlsHandshake(&self.facts));
        }
    }
}
