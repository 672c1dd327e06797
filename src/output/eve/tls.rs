//! TLS records.

use tls_parser::TlsCipherSuite;

use super::json::{self, key, raw};
use crate::container::Container;
use crate::event::TlsFacts;

/// Writes what follows `proto`, and ends the line.
pub(super) fn write(buffer: &mut Vec<u8>, tls: &TlsFacts, containers: &[Option<&Container>; 2]) {
    raw!(buffer, ",\"tls\":{\"version\":");
    version(buffer, tls.version);
    if let Some(sni) = &tls.sni {
        key!(buffer, "sni");
        json::string(buffer, sni);
    }
    if let Some(certificate) = &tls.certificate {
        key!(buffer, "subject");
        json::string(buffer, &certificate.subject);
        key!(buffer, "issuerdn");
        json::string(buffer, &certificate.issuer);
        key!(buffer, "serial");
        colons(buffer, &certificate.serial, u8::to_ascii_uppercase);
        key!(buffer, "fingerprint");
        colons(buffer, &certificate.fingerprint, u8::to_ascii_lowercase);
        key!(buffer, "notbefore");
        json::date_time(buffer, certificate.not_before);
        key!(buffer, "notafter");
        json::date_time(buffer, certificate.not_after);
        super::strings(buffer, "subjectaltname", &certificate.names);
    }
    if tls.resumed {
        raw!(buffer, ",\"session_resumed\":true");
    }
    if let Some(hash) = &tls.ja3 {
        raw!(buffer, ",\"ja3\":{\"hash\":");
        json::string(buffer, hash);
        buffer.push(b'}');
    }
    if let Some(hash) = &tls.ja3s {
        raw!(buffer, ",\"ja3s\":{\"hash\":");
        json::string(buffer, hash);
        buffer.push(b'}');
    }
    if let Some(ja4) = &tls.ja4 {
        key!(buffer, "ja4");
        json::string(buffer, ja4);
    }
    super::strings(buffer, "client_alpns", &tls.alpn_offered);
    if let Some(alpn) = &tls.alpn {
        super::strings(buffer, "server_alpns", std::slice::from_ref(alpn));
    }
    buffer.push(b'}');
    super::containers(buffer, containers);
    raw!(buffer, ",\"vethwatch\":{\"established\":");
    json::boolean(buffer, tls.established);
    if tls.client_version != 0 {
        key!(buffer, "client_version");
        version(buffer, tls.client_version);
    }
    if tls.version != 0 {
        key!(buffer, "cipher_suite");
        cipher_suite(buffer, tls.cipher);
    }
    if let Some(certificate) = &tls.certificate {
        key!(buffer, "self_signed");
        json::boolean(buffer, certificate.self_signed);
    }
    super::sides(buffer, containers);
    raw!(buffer, "}}\n");
}

/// As Suricata names versions; `UNDETERMINED` before the ServerHello.
fn version(buffer: &mut Vec<u8>, number: u16) {
    match number {
        0 => raw!(buffer, "\"UNDETERMINED\""),
        0x0002 => raw!(buffer, "\"SSLv2\""),
        0x0300 => raw!(buffer, "\"SSLv3\""),
        0x0301 => raw!(buffer, "\"TLSv1\""),
        0x0302 => raw!(buffer, "\"TLS 1.1\""),
        0x0303 => raw!(buffer, "\"TLS 1.2\""),
        0x0304 => raw!(buffer, "\"TLS 1.3\""),
        other => hex_number(buffer, other),
    }
}

/// The IANA name, else the number.
fn cipher_suite(buffer: &mut Vec<u8>, number: u16) {
    match TlsCipherSuite::from_id(number) {
        Some(suite) => json::name(buffer, suite.name),
        None => hex_number(buffer, number),
    }
}

/// `"0x0a0a"`
fn hex_number(buffer: &mut Vec<u8>, number: u16) {
    raw!(buffer, "\"0x");
    for byte in number.to_be_bytes() {
        buffer.extend_from_slice(&json::hex_pair(byte));
    }
    buffer.push(b'"');
}

/// `0A:F1` from hexadecimal digits, in the given case.
fn colons(buffer: &mut Vec<u8>, digits: &str, case: impl Fn(&u8) -> u8) {
    buffer.push(b'"');
    for (place, digit) in digits.bytes().filter(u8::is_ascii_hexdigit).enumerate() {
        if place > 0 && place.is_multiple_of(2) {
            buffer.push(b':');
        }
        buffer.push(case(&digit));
    }
    buffer.push(b'"');
}
