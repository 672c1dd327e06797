//! What the two hellos say.

use tls_parser::{
    TlsExtension, TlsMessageHandshake, parse_tls_extension_alpn_content,
    parse_tls_extension_ec_point_formats_content, parse_tls_extension_elliptic_curves_content,
    parse_tls_extension_signature_algorithms_content, parse_tls_extension_sni_content,
    parse_tls_handshake_client_hello, parse_tls_handshake_msg_server_hello,
};

use super::fingerprint::{self, is_grease};
use crate::event::TlsFacts;
use crate::proto::text::without_final_dots;
use crate::proto::{Match, Scratch};

/// Application protocols kept of one offer (count). Browsers offer two, others rarely more.
const ALPN_MAX: usize = 16;

/// Longest name kept (bytes): a DNS name has 255 at most.
const NAME_BYTES_MAX: usize = 255;

/// Extension types (IANA, TLS ExtensionType values).
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const SUPPORTED_GROUPS: u16 = 10;
    pub(super) const EC_POINT_FORMATS: u16 = 11;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const PRE_SHARED_KEY: u16 = 41;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
}

/// The random value that makes a ServerHello a HelloRetryRequest (RFC 8446, section 4.1.3): the
/// SHA-256 of those words.
pub(super) const RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Type and content of each extension, as far as they are whole.
struct Extensions<'a>(&'a [u8]);

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let content = rest.get(..usize::from(u16::from_be_bytes([c, d])))?;
        self.0 = &rest[content.len()..];
        Some((u16::from_be_bytes([a, b]), content))
    }
}

/// What fingerprints are made of.
pub(super) struct Offer {
    pub(super) version: u16,
    pub(super) versions: Vec<u16>,
    pub(super) ciphers: Vec<u16>,
    pub(super) extensions: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) point_formats: Vec<u8>,
    pub(super) signatures: Vec<u16>,
    pub(super) has_name: bool,
    /// First protocol offered, raw.
    pub(super) alpn: Option<Vec<u8>>,
}

/// Reads a ClientHello's body; returns its session id too.
pub(super) fn client(body: &[u8], scratch: &mut Scratch) -> Option<(TlsFacts, Option<Box<[u8]>>)> {
    let mut facts = TlsFacts::default();
    let (_, hello) = parse_tls_handshake_client_hello(body).ok()?;
    let mut offer = Offer {
        version: hello.version.0,
        versions: Vec::new(),
        ciphers: hello.ciphers.iter().map(|cipher| cipher.0).collect(),
        extensions: Vec::with_capacity(24),
        groups: Vec::new(),
        point_formats: Vec::new(),
        signatures: Vec::new(),
        has_name: false,
        alpn: None,
    };
    for (kind, content) in Extensions(hello.ext.unwrap_or_default()) {
        offer.extensions.push(kind);
        client_extension(kind, content, &mut offer, &mut facts);
    }
    let highest = offer.versions.iter().copied().filter(|version| !is_grease(*version)).max();
    facts.client_version = highest.unwrap_or(offer.version);
    facts.ja3 = Some(fingerprint::ja3(&offer, &mut scratch.text));
    facts.ja4 = Some(fingerprint::ja4(offer, facts.client_version, &mut scratch.text));
    Some((facts, hello.session_id.map(Box::from)))
}

fn client_extension(kind: u16, content: &[u8], offer: &mut Offer, facts: &mut TlsFacts) {
    match kind {
        extension::SERVER_NAME => {
            offer.has_name = true;
            if let Ok((_, TlsExtension::SNI(names))) = parse_tls_extension_sni_content(content)
                && let Some((_, name)) = names.iter().find(|(kind, _)| kind.0 == 0)
            {
                facts.sni = name_text(name);
            }
        }
        extension::SUPPORTED_GROUPS => {
            if let Ok((_, TlsExtension::EllipticCurves(groups))) =
                parse_tls_extension_elliptic_curves_content(content)
            {
                offer.groups = groups.iter().map(|group| group.0).collect();
            }
        }
        extension::EC_POINT_FORMATS => {
            if let Ok((_, TlsExtension::EcPointFormats(formats))) =
                parse_tls_extension_ec_point_formats_content(content)
            {
                offer.point_formats = formats.to_vec();
            }
        }
        extension::SIGNATURE_ALGORITHMS => {
            if let Ok((_, TlsExtension::SignatureAlgorithms(signatures))) =
                parse_tls_extension_signature_algorithms_content(content)
            {
                offer.signatures = signatures;
            }
        }
        extension::ALPN => {
            if let Ok((_, TlsExtension::ALPN(protocols))) =
                parse_tls_extension_alpn_content(content)
            {
                offer.alpn = protocols.first().map(|first| first.to_vec());
                facts.alpn_offered =
                    protocols.iter().take(ALPN_MAX).map(|name| alpn_text(name)).collect();
            }
        }
        extension::SUPPORTED_VERSIONS => {
            let (_, list) = content.split_first().unwrap_or((&0, &[]));
            offer.versions =
                list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        }
        _ => {}
    }
}

/// Reads a ServerHello's body into `facts`; returns its session id.
pub(super) fn server<'a>(
    body: &'a [u8],
    facts: &mut TlsFacts,
    scratch: &mut Scratch,
) -> Option<&'a [u8]> {
    let (_, message) = parse_tls_handshake_msg_server_hello(body).ok()?;
    let (version, cipher, extensions, session_id) = match message {
        TlsMessageHandshake::ServerHello(hello) => {
            // The library reads no extensions of SSL 3, which has them all the same.
            let extensions = hello.ext.or_else(|| {
                let fixed = 38 + hello.session_id.map_or(0, <[u8]>::len);
                body.get(fixed + 2..)
            });
            (hello.version.0, hello.cipher.0, extensions, hello.session_id)
        }
        TlsMessageHandshake::ServerHelloV13Draft18(hello) => {
            (hello.version.0, hello.cipher.0, hello.ext, None)
        }
        _ => return None,
    };
    facts.cipher = cipher;
    facts.version = version;
    let mut kinds = Vec::with_capacity(8);
    for (kind, content) in Extensions(extensions.unwrap_or_default()) {
        kinds.push(kind);
        match (kind, content) {
            (extension::SUPPORTED_VERSIONS, [high, low]) => {
                facts.version = u16::from_be_bytes([*high, *low]);
            }
            (extension::PRE_SHARED_KEY, _) => facts.resumed = true,
            (extension::ALPN, content) => {
                if let Ok((_, TlsExtension::ALPN(protocols))) =
                    parse_tls_extension_alpn_content(content)
                {
                    facts.alpn = protocols.first().map(|name| alpn_text(name));
                }
            }
            _ => {}
        }
    }
    // Drafts of TLS 1.3 behave as it does.
    if facts.version >> 8 == 0x7f {
        facts.version = super::TLS_1_3;
    }
    facts.ja3s = Some(fingerprint::ja3s(version, cipher, &kinds, &mut scratch.text));
    session_id
}

/// Whether a ServerHello's body asks for another ClientHello.
pub(super) fn is_retry_request(body: &[u8]) -> bool {
    body.get(2..34) == Some(&RETRY_REQUEST[..])
}

/// Lower case, without a final dot; what is no graphic ASCII as `?`. `None` if there is nothing.
fn name_text(name: &[u8]) -> Option<Box<str>> {
    let name = without_final_dots(name);
    let text: String = name.iter().take(NAME_BYTES_MAX).map(|byte| printable(*byte)).collect();
    (!text.is_empty()).then(|| text.to_ascii_lowercase().into())
}

fn alpn_text(name: &[u8]) -> Box<str> {
    name.iter().map(|byte| printable(*byte)).collect::<String>().into()
}

const fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() { byte as char } else { '?' }
}

/// Whether these bytes begin a hello in the form of SSL 2: message length with the top bit set,
/// kind 1, a version, and three lengths that add up.
pub(super) fn probe_sslv2(bytes: &[u8]) -> Match {
    let at = |place: usize, test: fn(u8) -> bool| bytes.get(place).is_none_or(|byte| test(*byte));
    let begins = at(0, |high| high & 0xfc == 0x80)
        && at(2, |kind| kind == 1)
        && at(3, |major| major == 3 || major == 0)
        && at(4, |minor| minor <= 3)
        && at(7, |high| high == 0)
        && at(9, |high| high == 0);
    match bytes {
        _ if !begins => Match::No,
        [high, low, _, major, minor, a, b, _, session, _, challenge, ..] => {
            let ciphers = usize::from(u16::from_be_bytes([*a, *b]));
            let length = usize::from(u16::from_be_bytes([high & 0x7f, *low]));
            let sum = 9 + ciphers + usize::from(*session) + usize::from(*challenge);
            let version = (*major == 3) != (*minor == 2 && *major == 0);
            Match::when(
                length == sum
                    && version
                    && ciphers > 0
                    && ciphers % 3 == 0
                    && (*session == 0 || *session == 16)
                    && (16..=32).contains(challenge),
            )
        }
        _ => Match::Maybe,
    }
}

/// Reads a hello in the form of SSL 2. It has no extensions; fingerprints are not defined for it.
pub(super) fn sslv2(message: &[u8], facts: &mut TlsFacts) {
    if let [_, _, _, major, minor, ..] = message {
        facts.client_version = u16::from_be_bytes([*major, *minor]);
    }
}
