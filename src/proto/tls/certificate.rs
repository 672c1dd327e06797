//! The server's own certificate, where the handshake shows it (TLS 1.2 and before).

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use sha1::{Digest, Sha1};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::fingerprint::push_hex;
use crate::event::Certificate;

/// Names kept of one certificate (count).
const NAMES_MAX: usize = 16;

/// Longest subject or issuer (bytes).
const SUBJECT_BYTES_MAX: usize = 256;

/// Longest serial number (bytes): RFC 5280, section 4.1.2.2, allows 20.
const SERIAL_BYTES_MAX: usize = 32;

/// The first certificate of a Certificate message's body (TLS 1.2 and before), in its DER form.
pub(super) fn first(body: &[u8]) -> Option<&[u8]> {
    let [_, _, _, a, b, c, rest @ ..] = body else { return None };
    let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    rest.get(..length)
}

/// Reads it. `None` where it is no certificate.
pub(super) fn read(der: &[u8]) -> Option<Certificate> {
    // Extensions are many and costly; one of them is of interest.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (_, certificate) = parser.parse(der).ok()?;
    let mut serial = String::new();
    let raw_serial = certificate.raw_serial();
    push_hex(raw_serial.get(..SERIAL_BYTES_MAX).unwrap_or(raw_serial), &mut serial);
    let mut fingerprint = String::with_capacity(40);
    push_hex(&Sha1::digest(der), &mut fingerprint);
    Some(Certificate {
        subject: name_text(certificate.subject()),
        issuer: name_text(certificate.issuer()),
        serial: serial.into(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        names: names(&certificate),
        fingerprint: fingerprint.into(),
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let extension =
        certificate.iter_extensions().find(|other| other.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
    let Some(extension) = extension else { return Vec::new() };
    let Ok((_, names)) = SubjectAlternativeName::from_der(extension.value) else {
        return Vec::new();
    };
    names.general_names.iter().filter_map(general_name).take(NAMES_MAX).collect()
}

fn general_name(name: &GeneralName<'_>) -> Option<Box<str>> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
            let mut text = name.trim_end_matches('.').to_ascii_lowercase();
            cut(&mut text);
            Some(text.into())
        }
        GeneralName::IPAddress(bytes) => {
            if let Ok(octets) = <[u8; 4]>::try_from(*bytes) {
                return Some(Ipv4Addr::from(octets).to_string().into());
            }
            let octets = <[u8; 16]>::try_from(*bytes).ok()?;
            Some(Ipv6Addr::from(octets).to_string().into())
        }
        _ => None,
    }
}

/// RFC 4514: last part first, commas between, special characters escaped.
fn name_text(name: &X509Name<'_>) -> Box<str> {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::with_capacity(64);
    for part in parts.iter().rev() {
        for (number, attribute) in part.iter().enumerate() {
            if !text.is_empty() {
                text.push(if number == 0 { ',' } else { '+' });
            }
            let kind = attribute.attr_type().to_id_string();
            text.push_str(short_name(&kind));
            text.push('=');
            match attribute.as_str() {
                Ok(value) => escape(value, &mut text),
                Err(_) => {
                    text.push('#');
                    push_hex(attribute.as_slice(), &mut text);
                }
            }
            if text.len() > SUBJECT_BYTES_MAX {
                cut(&mut text);
                return text.into();
            }
        }
    }
    text.into()
}

/// The short names of RFC 4514, section 3, and the one for mail that all tools know.
fn short_name(kind: &str) -> &str {
    match kind {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    }
}

fn escape(value: &str, text: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (place, letter) in value.chars().enumerate() {
        match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', letter]),
            '#' if place == 0 => text.push_str("\\#"),
            ' ' if place == 0 || place == last => text.push_str("\\ "),
            letter if letter.is_control() => {
                let _ = write!(text, "\\{:02x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
}

fn cut(text: &mut String) {
    let mut end = text.len().min(SUBJECT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
