//! What protocols say of themselves on a flow: who is called, by which handshake, with which answer.

use std::net::IpAddr;

use compact_str::CompactString;

use super::Side;

/// What was learnt about a flow from its content. Filled as the handshakes pass.
#[derive(Clone, Debug, Default)]
pub struct FlowFacts {
    /// TLS handshake, when there was one (STARTTLS and TLS on any port included).
    pub tls: Option<Box<TlsFacts>>,
    /// The first HTTP/1 request, when there was one.
    pub http: Option<Box<HttpFacts>>,
    /// SSH banners, when they passed.
    pub ssh: Option<Box<SshFacts>>,
}

/// A TLS handshake, as far as it was visible. TLS 1.3 hides the certificate.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// Server name from the ClientHello, lower case, without a final dot.
    pub sni: Option<Box<str>>,
    /// Application protocols that the client offers, in its order.
    pub alpn_offered: Vec<Box<str>>,
    /// The application protocol that the server chose (hidden in TLS 1.3).
    pub alpn: Option<Box<str>>,
    /// Negotiated version as on the wire: 0x0304 for TLS 1.3. 0 before the ServerHello.
    pub version: u16,
    /// Highest version that the client offers.
    pub client_version: u16,
    /// Cipher suite that the server chose. 0 before the ServerHello.
    pub cipher: u16,
    /// JA3 of the client: 32 hexadecimal digits (Salesforce, 2017).
    pub ja3: Option<Box<str>>,
    /// JA3S of the server.
    pub ja3s: Option<Box<str>>,
    /// JA4 of the client (FoxIO, BSD-3-Clause part).
    pub ja4: Option<Box<str>>,
    /// The server's own certificate, where visible.
    pub certificate: Option<Box<Certificate>>,
    /// The session resumed an earlier one (session id or ticket; TLS 1.3: pre-shared key chosen).
    pub resumed: bool,
    /// Both sides sent encrypted application data or Finished: the handshake completed.
    pub established: bool,
}

/// The parts of an X.509 certificate that say whose it is and how it was made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Certificate {
    /// Subject as an RFC 4514 string, at most 256 bytes.
    pub subject: Box<str>,
    /// Issuer as an RFC 4514 string, at most 256 bytes.
    pub issuer: Box<str>,
    /// Serial number in hexadecimal.
    pub serial: Box<str>,
    /// Start of validity, seconds since the epoch.
    pub not_before: i64,
    /// End of validity, seconds since the epoch.
    pub not_after: i64,
    /// Subject equals issuer.
    pub self_signed: bool,
    /// Names it is valid for (subject alternative names), at most 16.
    pub names: Vec<Box<str>>,
    /// SHA-1 of the DER form in hexadecimal, as EVE's `fingerprint` without colons.
    pub fingerprint: Box<str>,
}

/// An HTTP/1 request line and the headers that say who asks whom. Most of its texts are short: kept
/// in place, they cost no memory of their own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpFacts {
    /// `GET`, `POST`, …
    pub method: CompactString,
    /// Request target, at most 256 bytes.
    pub path: CompactString,
    /// `Host` header without port and final dot, lower case.
    pub host: Option<CompactString>,
    /// `User-Agent` header, at most 256 bytes.
    pub user_agent: Option<CompactString>,
    /// `Upgrade` header, lower case: `websocket`, `spdy/3.1`.
    pub upgrade: Option<CompactString>,
    /// Status code of the response; 0 before it was seen.
    pub status: u16,
}

/// The identification lines of an SSH connection (RFC 4253, section 4.2).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SshFacts {
    /// `SSH-2.0-OpenSSH_9.2`, from the originator.
    pub originator: Option<Box<str>>,
    /// The same from the responder.
    pub responder: Option<Box<str>>,
}

/// One question of a DNS message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DnsQuestion {
    /// Name without the final dot, lower case; labels with odd bytes escaped as `\NNN`.
    pub name: String,
    /// Query type number: 1 is A.
    pub qtype: u16,
}

/// One answer of a DNS message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsAnswer {
    /// Owner name, as in [`DnsQuestion::name`].
    pub name: String,
    /// Record type number.
    pub rtype: u16,
    /// Time to live in seconds.
    pub ttl_s: u32,
    /// The data.
    pub data: DnsData,
    /// Length of the record data on the wire in bytes.
    pub data_bytes: u16,
}

/// The data of a DNS answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DnsData {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME, NS, PTR, MX's exchange, SRV's target.
    Name(String),
    /// Any other, in its presentation form, at most 512 bytes.
    Text(String),
}

/// A DNS message, query or response. Lives in a buffer that the next message reuses.
#[derive(Clone, Debug, Default)]
pub struct DnsMessage {
    /// Transaction id.
    pub id: u16,
    /// The message is a response.
    pub response: bool,
    /// Response code, EDNS extension included: 3 is NXDOMAIN.
    pub rcode: u16,
    /// The flags word as on the wire.
    pub flags: u16,
    /// Questions; the first is what the message is about.
    pub questions: Vec<DnsQuestion>,
    /// Answer section.
    pub answers: Vec<DnsAnswer>,
    /// Records in the authority section.
    pub authorities: u16,
    /// Records in the additional section, EDNS's OPT included.
    pub additionals: u16,
    /// Length of the message on the wire in bytes.
    pub bytes: u32,
    /// The message ended early (snap length or malformed); what is here was read before that.
    pub truncated: bool,
}

/// What a protocol parser learnt just now.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A DNS message, over UDP or TCP.
    Dns {
        /// Who sent it.
        from: Side,
        /// What it says.
        message: &'a DnsMessage,
    },
    /// The ClientHello was read: name, fingerprint.
    TlsClientHello(&'a TlsFacts),
    /// The handshake is as complete as it will get: time for a record.
    TlsHandshake(&'a TlsFacts),
    /// An HTTP/1 request.
    HttpRequest(&'a HttpFacts),
    /// An HTTP/1 response's status line; the facts hold the request it answers.
    HttpResponse(&'a HttpFacts),
    /// An SSH banner was read.
    Ssh(&'a SshFacts),
}
