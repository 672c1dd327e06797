//! Bytes to facts: which protocol a flow speaks, by its first bytes and never by its port alone,
//! and what its handshake says. One file per protocol, one row in [`PROTOCOLS`].

use serde::{Deserialize, Serialize};

use crate::event::{DnsMessage, Fact, Protocol, Side};

/// `[proto]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Bytes of each direction after which a stream that fits no protocol counts as unknown.
    pub probe_bytes: usize,
    /// Bytes of a TLS handshake held per flow while it is incomplete.
    pub tls_handshake_bytes_max: usize,
    /// Bytes of a DNS message over TCP held per flow while it is incomplete.
    pub dns_tcp_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { probe_bytes: 512, tls_handshake_bytes_max: 65_536, dns_tcp_bytes_max: 65_536 }
    }
}

/// The first bytes of a flow, for recognising its protocol.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Over TCP; else a datagram.
    pub stream: bool,
    /// First bytes of each side so far; index by [`Side::index`]. For datagrams, the latest alone.
    pub bytes: [&'a [u8]; 2],
    /// Who spoke first.
    pub first: Side,
    /// Port of the responder. A hint, never enough.
    pub port: u16,
}

/// What a probe says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Match {
    /// It is.
    Yes,
    /// It may be: more bytes would tell.
    Maybe,
    /// It is not.
    No,
}

/// Whether a parser wants to see more of its flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Appetite {
    /// Yes.
    More,
    /// It has all it will get, or cannot go on.
    Done,
    /// The rest of the stream is another protocol: probe again from here (after STARTTLS, after a
    /// proxy's CONNECT).
    Restart,
}

/// Where a parser puts what it learns, and buffers that all parsers share.
pub struct Sink<'s> {
    /// Takes a fact.
    pub fact: &'s mut dyn FnMut(Fact<'_>),
    /// Reused for each DNS message.
    pub dns: &'s mut DnsMessage,
    /// Bounds.
    pub settings: &'s Settings,
}

/// Reads one flow of one protocol.
pub trait Parser: Send {
    /// Takes the next bytes in order (for datagrams: one whole datagram).
    fn data(&mut self, from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite;

    /// `bytes` of this side were lost. The default gives up.
    fn gap(&mut self, _from: Side, _bytes: u64) -> Appetite {
        Appetite::Done
    }

    /// The flow is over: report what is there.
    fn close(&mut self, _sink: &mut Sink<'_>) {}
}

/// One row of [`PROTOCOLS`].
pub struct Registration {
    /// Name and manner.
    pub protocol: &'static Protocol,
    /// Recognises it.
    pub probe: fn(&Probe<'_>) -> Match,
    /// Makes its parser, where it has one.
    pub parser: Option<fn() -> Box<dyn Parser>>,
}

/// Every protocol, most specific first: the first that says yes has the flow.
pub const PROTOCOLS: &[Registration] = &[];
