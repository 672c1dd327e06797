//! DNS (RFC 1035) over UDP and TCP, and its kin on the same wire form: mDNS, LLMNR, NetBIOS names.
//!
//! Over UDP each message is read by itself, without state and without allocation once the buffers
//! have grown. A response needs no query. What is not DNS is not taken for it: on the protocol's own
//! port the header must be plausible and the first question readable; on any other port the whole
//! message must fit to its last byte.

mod message;
mod name;

use super::{Appetite, Match, Parser, Probe, Registration, Sink};
use crate::event::{Fact, Manner, Protocol, Side};

pub use message::{ANSWERS_MAX, QUESTIONS_MAX, TEXT_BYTES_MAX, decode};

/// DNS.
pub static DNS: Protocol = Protocol { name: "dns", manner: Manner::RequestResponse };
/// Multicast DNS (RFC 6762).
pub static MDNS: Protocol = Protocol { name: "mdns", manner: Manner::Push };
/// Link-local multicast name resolution (RFC 4795).
pub static LLMNR: Protocol = Protocol { name: "llmnr", manner: Manner::RequestResponse };
/// NetBIOS name service (RFC 1002, section 4.2).
pub static NBNS: Protocol = Protocol { name: "nbns", manner: Manner::RequestResponse };

/// DNS over UDP, on any port.
pub const OVER_UDP: Registration =
    Registration::datagram(&DNS, probe_datagram).datagrams_by(datagram);

/// DNS over TCP, on any port.
pub const OVER_TCP: Registration =
    Registration::stream(&DNS, probe_stream).read_by(|| Box::new(Stream::default()));

/// Multicast DNS.
pub const OVER_MULTICAST: Registration = Registration::datagram(&MDNS, |probe| {
    Match::when(probe.port == 5353 && message::header_fits(probe.opening()))
})
.datagrams_by(datagram);

/// Link-local multicast name resolution.
pub const LINK_LOCAL: Registration = Registration::datagram(&LLMNR, |probe| {
    Match::when(probe.port == 5355 && message::header_fits(probe.opening()))
})
.datagrams_by(datagram);

/// NetBIOS name service. Its names are not DNS names: no facts.
pub const NETBIOS: Registration = Registration::datagram(&NBNS, |probe| {
    Match::when(probe.port == 137 && message::netbios_fits(probe.opening()))
});

const PORT: u16 = 53;

fn probe_datagram(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    Match::when(match probe.port {
        PORT => message::header_fits(bytes),
        137 | 5353 | 5355 => false,
        _ => message::header_fits(bytes) && message::fits_exactly(bytes),
    })
}

/// Longest first message of a stream (bytes). A query has some hundred; a longer length is text.
const FIRST_BYTES_MAX: usize = 4_096;

fn probe_stream(probe: &Probe<'_>) -> Match {
    let bytes = probe.opening();
    if bytes.first().is_some_and(|high| usize::from(*high) << 8 > FIRST_BYTES_MAX) {
        return Match::No;
    }
    // Nobody answers half a message.
    let more = if probe.answer().is_empty() { Match::Maybe } else { Match::No };
    let Some((length, rest)) = bytes.split_first_chunk() else { return more };
    let length = usize::from(u16::from_be_bytes(*length));
    if !(message::HEADER_BYTES..=FIRST_BYTES_MAX).contains(&length) {
        return Match::No;
    }
    if rest.len() < message::HEADER_BYTES {
        return if message::header_may_fit(rest) { more } else { Match::No };
    }
    if !message::header_fits_length(rest, length) {
        return Match::No;
    }
    match rest.get(..length) {
        Some(whole) if probe.port == PORT => Match::when(message::question_fits(whole)),
        Some(whole) => Match::when(message::fits_exactly(whole)),
        // What comes first need not be held whole: a query for one name fits.
        None if probe.port == PORT && message::question_fits(rest) => Match::Yes,
        None => more,
    }
}

/// One datagram: one message.
fn datagram(from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite {
    if decode(bytes, sink.dns_text, sink.dns, sink.scratch).is_err() {
        return Appetite::Contradicted;
    }
    (sink.fact)(Fact::Dns { from, message: sink.dns });
    Appetite::All
}

/// DNS over TCP: messages behind their lengths (RFC 1035, section 4.2.2).
#[derive(Default)]
struct Stream {
    /// Incomplete message of each side, its length included.
    held: [Vec<u8>; 2],
}

impl Parser for Stream {
    fn data(&mut self, from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite {
        let held = &mut self.held[from.index()];
        let mut bytes = bytes;
        while !held.is_empty() {
            let missing = missing(held);
            let (take, rest) = bytes.split_at(missing.min(bytes.len()));
            held.extend_from_slice(take);
            bytes = rest;
            if self::missing(held) == 0 {
                let read = decode(&held[2..], sink.dns_text, sink.dns, sink.scratch);
                held.clear();
                if read.is_err() {
                    return Appetite::Contradicted;
                }
                (sink.fact)(Fact::Dns { from, message: sink.dns });
            } else if bytes.is_empty() {
                return self.bounded(from, sink);
            }
        }
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length))) else { break };
            if decode(message, sink.dns_text, sink.dns, sink.scratch).is_err() {
                return Appetite::Contradicted;
            }
            (sink.fact)(Fact::Dns { from, message: sink.dns });
            bytes = &rest[message.len()..];
        }
        held.extend_from_slice(bytes);
        self.bounded(from, sink)
    }
}

impl Stream {
    fn bounded(&self, from: Side, sink: &Sink<'_>) -> Appetite {
        let held = self.held[from.index()].len();
        if held > sink.settings.dns_tcp_bytes_max.saturating_add(2) {
            return Appetite::Done;
        }
        Appetite::All
    }
}

/// Bytes that `held` needs to be a whole message.
fn missing(held: &[u8]) -> usize {
    match held.split_first_chunk() {
        Some((length, rest)) => usize::from(u16::from_be_bytes(*length)).saturating_sub(rest.len()),
        None => 2 - held.len(),
    }
}
