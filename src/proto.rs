//! Bytes to facts: which protocol a flow speaks, by its first bytes and never by its port alone,
//! and what its handshake says. One file per protocol, one row in [`PROTOCOLS`].
//!
//! A protocol is claimed by structure, not by a magic word: lengths must fit, both sides are asked
//! where that is cheap, and a parser goes on watching the exchange. A stream that turns out to be
//! something else falls back to unknown ([`Appetite::Contradicted`]), so that a shell behind a false
//! banner does not pass for mail.

pub mod session;
mod bytes;
mod dialogue;
mod text;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub mod amqp;
pub mod bgp;
pub mod bittorrent;
pub mod cassandra;
pub mod ceph;
pub mod dhcp;
pub mod dns;
pub mod dtls;
pub mod fluent;
pub mod ftp;
pub mod git;
pub mod graphite;
pub mod http;
pub mod http2;
pub mod imap;
pub mod irc;
pub mod kafka;
pub mod ldap;
pub mod memcached;
pub mod mongodb;
pub mod mqtt;
pub mod mysql;
pub mod nats;
pub mod ntp;
pub mod openvpn;
pub mod pop3;
pub mod postgresql;
pub mod quic;
pub mod rdp;
pub mod redis;
pub mod rpc;
pub mod rsync;
pub mod rtsp;
pub mod sip;
pub mod smb;
pub mod smtp;
pub mod snmp;
pub mod socks;
pub mod ssdp;
pub mod ssh;
pub mod statsd;
pub mod stratum;
pub mod stun;
pub mod syslog;
pub mod tds;
pub mod telnet;
pub mod tls;
pub mod tns;
pub mod vnc;
pub mod websocket;
pub mod wireguard;
pub mod x11;
pub mod xmpp;
pub mod zookeeper;

pub use session::{Session, Verdict};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{DnsAnswer, DnsData, DnsMessage, Fact, Protocol, Side};

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
    /// The beginning of the flow was not seen.
    pub midstream: bool,
}

impl<'a> Probe<'a> {
    /// What the side that spoke first said.
    pub const fn opening(&self) -> &'a [u8] {
        self.bytes[self.first.index()]
    }

    /// What the other side said; empty before it spoke.
    pub const fn answer(&self) -> &'a [u8] {
        self.bytes[self.first.other().index()]
    }
}

/// What a probe says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Match {
    /// It is.
    Yes,
    /// It may be: more bytes of those who have spoken would tell.
    Maybe,
    /// It may be: the first bytes of the other side would tell.
    Awaits,
    /// It is not.
    No,
}

impl Match {
    /// Whether `bytes` begin with `magic`; `Maybe` where they are shorter and agree so far.
    #[inline]
    pub fn prefix(bytes: &[u8], magic: &[u8]) -> Self {
        // Of all that is compared with a flow's first bytes, nearly all ends here.
        if let (Some(byte), Some(first)) = (bytes.first(), magic.first())
            && byte != first
        {
            return Self::No;
        }
        let length = bytes.len().min(magic.len());
        match (bytes.get(..length) == magic.get(..length), length == magic.len()) {
            (true, true) => Self::Yes,
            (true, false) => Self::Maybe,
            (false, _) => Self::No,
        }
    }

    /// The result of a test that needed no more bytes.
    pub const fn when(test: bool) -> Self {
        if test { Self::Yes } else { Self::No }
    }

    /// The result of a test that holds so far.
    pub const fn so_far(test: bool) -> Self {
        if test { Self::Maybe } else { Self::No }
    }

    /// Both must hold.
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
            (Self::Awaits, _) | (_, Self::Awaits) => Self::Awaits,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    /// One is enough.
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
            (Self::Awaits, _) | (_, Self::Awaits) => Self::Awaits,
            (Self::No, Self::No) => Self::No,
        }
    }
}

/// Whether a parser wants to see more of its flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Appetite {
    /// Yes, within the first [`crate::flow::Settings::content_bytes`] of each direction.
    More,
    /// Yes, without that limit: the parser bounds itself.
    All,
    /// It has all it will get, or cannot go on.
    Done,
    /// The rest of the stream is another protocol: probe again from here (after STARTTLS, after a
    /// proxy's CONNECT).
    Restart {
        /// Bytes at the end of what was just passed that belong to the other protocol.
        rest: usize,
    },
    /// The rest of the stream is this protocol: both sides agreed on it (WebSocket).
    Upgrade {
        /// Which.
        to: &'static Registration,
        /// Bytes at the end of what was just passed that belong to it.
        rest: usize,
    },
    /// What follows contradicts the protocol that the first bytes claimed.
    Contradicted,
}

/// Where a parser puts what it learns, and buffers that all parsers share.
pub struct Sink<'s> {
    /// Takes a fact.
    pub fact: &'s mut dyn FnMut(Fact<'_>),
    /// Reused for each DNS message.
    pub dns: &'s mut DnsMessage,
    /// Reused by whoever needs a buffer for the length of a call.
    pub scratch: &'s mut Scratch,
    /// Bounds.
    pub settings: &'s Settings,
    /// Write out the data of rare DNS record types ([`crate::event::DnsData::Text`]); else that
    /// text is left empty. Records need it, findings do not.
    pub dns_text: bool,
}

/// Buffers that keep their capacity from one call to the next. Hold nothing between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Text in the making.
    pub(crate) text: Vec<u8>,
    /// Strings of earlier DNS messages, at most [`Scratch::STRINGS_MAX`] of at most
    /// [`Scratch::STRING_BYTES_MAX`].
    pub(crate) strings: Vec<String>,
    /// Answers of earlier DNS messages, within the same bounds.
    pub(crate) answers: Vec<DnsAnswer>,
}

impl Scratch {
    /// Strings kept for reuse (count).
    pub const STRINGS_MAX: usize = 64;
    /// Capacity of a string that is kept for reuse (bytes).
    pub const STRING_BYTES_MAX: usize = 1_024;

    /// An empty string, with capacity if one can be had.
    pub(crate) fn take_string(&mut self) -> String {
        self.strings.pop().unwrap_or_default()
    }

    /// Takes a string back for its capacity.
    pub(crate) fn give_string(&mut self, mut string: String) {
        let fits = (1..=Self::STRING_BYTES_MAX).contains(&string.capacity());
        if fits && self.strings.len() < Self::STRINGS_MAX {
            string.clear();
            self.strings.push(string);
        }
    }

    /// Takes an answer back for the capacity of its strings.
    pub(crate) fn give_answer(&mut self, answer: DnsAnswer) {
        let fits = answer.name.capacity() <= Self::STRING_BYTES_MAX
            && match &answer.data {
                DnsData::Name(string) | DnsData::Text(string) => {
                    string.capacity() <= Self::STRING_BYTES_MAX
                }
                DnsData::Address(_) => true,
            };
        if fits && self.answers.len() < Self::STRINGS_MAX {
            self.answers.push(answer);
        }
    }
}

/// Reads one flow of one protocol.
pub trait Parser: Send {
    /// Takes the next bytes in order (for datagrams: one whole datagram).
    fn data(&mut self, from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite;

    /// `bytes` of this side were lost. The default gives up.
    fn gap(&mut self, _from: Side, _bytes: u64, _sink: &mut Sink<'_>) -> Appetite {
        Appetite::Done
    }

    /// The flow is over: report what is there.
    fn close(&mut self, _sink: &mut Sink<'_>) {}
}

/// On what a protocol runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
    /// Either, with the same first bytes.
    Both,
}

/// How the flow of a recognised protocol is read.
#[derive(Clone, Copy)]
pub enum Reader {
    /// Its name is enough.
    None,
    /// By a parser of its own.
    Parser(fn() -> Box<dyn Parser>),
    /// Each datagram by itself, without state.
    Datagrams(fn(Side, &[u8], &mut Sink<'_>) -> Appetite),
}

/// One row of [`PROTOCOLS`].
pub struct Registration {
    /// Name and manner.
    pub protocol: &'static Protocol,
    /// On what it runs.
    pub over: Over,
    /// Recognises it.
    pub probe: fn(&Probe<'_>) -> Match,
    /// Reads it.
    pub reader: Reader,
    /// TLS may begin midway (STARTTLS and its like).
    pub may_start_tls: bool,
    /// Its probe looks at what both sides say. Of others, half an opening that the other side has
    /// answered already is none: nobody answers half a message.
    pub asks_both: bool,
}

impl Registration {
    /// A protocol on TCP that is recognised and not read further.
    pub const fn stream(protocol: &'static Protocol, probe: fn(&Probe<'_>) -> Match) -> Self {
        Self {
            protocol,
            over: Over::Stream,
            probe,
            reader: Reader::None,
            may_start_tls: false,
            asks_both: false,
        }
    }

    /// The same on UDP.
    pub const fn datagram(protocol: &'static Protocol, probe: fn(&Probe<'_>) -> Match) -> Self {
        Self {
            protocol,
            over: Over::Datagram,
            probe,
            reader: Reader::None,
            may_start_tls: false,
            asks_both: false,
        }
    }

    /// With first bytes that are the same on TCP and on UDP.
    #[must_use]
    pub const fn over_both(mut self) -> Self {
        self.over = Over::Both;
        self
    }

    /// With a parser.
    #[must_use]
    pub const fn read_by(mut self, make: fn() -> Box<dyn Parser>) -> Self {
        self.reader = Reader::Parser(make);
        self
    }

    /// With a reader of single datagrams.
    #[must_use]
    pub const fn datagrams_by(mut self, read: fn(Side, &[u8], &mut Sink<'_>) -> Appetite) -> Self {
        self.reader = Reader::Datagrams(read);
        self
    }

    /// With a probe that looks at both sides.
    #[must_use]
    pub const fn of_both_sides(mut self) -> Self {
        self.asks_both = true;
        self
    }

    /// TLS may begin midway.
    #[must_use]
    pub const fn may_start_tls(mut self) -> Self {
        self.may_start_tls = true;
        self
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.protocol.name).finish()
    }
}

impl PartialEq for Registration {
    fn eq(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.over == other.over
    }
}

impl Eq for Registration {}

/// Every protocol: the first that says yes has the flow, so those that are common or certain come
/// first.
pub const PROTOCOLS: &[Registration] = &[
    dns::OVER_UDP,
    tls::REGISTRATION,
    http::REGISTRATION,
    ssh::REGISTRATION,
    dns::OVER_MULTICAST,
    dns::LINK_LOCAL,
    dns::NETBIOS,
    http2::REGISTRATION,
    quic::REGISTRATION,
    ntp::REGISTRATION,
    postgresql::REGISTRATION,
    redis::REGISTRATION,
    mysql::REGISTRATION,
    mongodb::REGISTRATION,
    kafka::REGISTRATION,
    amqp::REGISTRATION,
    mqtt::REGISTRATION,
    nats::REGISTRATION,
    memcached::REGISTRATION,
    statsd::REGISTRATION,
    graphite::REGISTRATION,
    syslog::OVER_UDP,
    syslog::OVER_TCP,
    fluent::REGISTRATION,
    smtp::REGISTRATION,
    ftp::REGISTRATION,
    imap::REGISTRATION,
    pop3::REGISTRATION,
    ldap::REGISTRATION,
    smb::REGISTRATION,
    rdp::REGISTRATION,
    telnet::REGISTRATION,
    vnc::REGISTRATION,
    x11::REGISTRATION,
    irc::REGISTRATION,
    xmpp::REGISTRATION,
    dhcp::REGISTRATION,
    stun::REGISTRATION,
    dtls::REGISTRATION,
    snmp::REGISTRATION,
    ssdp::REGISTRATION,
    rpc::NFS_REGISTRATION,
    rpc::REGISTRATION,
    cassandra::REGISTRATION,
    zookeeper::REGISTRATION,
    ceph::REGISTRATION,
    tds::REGISTRATION,
    tns::REGISTRATION,
    git::REGISTRATION,
    rsync::REGISTRATION,
    bgp::REGISTRATION,
    rtsp::REGISTRATION,
    sip::REGISTRATION,
    socks::REGISTRATION,
    stratum::REGISTRATION,
    bittorrent::PEERS,
    bittorrent::TABLE,
    wireguard::REGISTRATION,
    openvpn::REGISTRATION,
    dns::OVER_TCP,
];
