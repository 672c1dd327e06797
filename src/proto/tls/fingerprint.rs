//! Fingerprints of hellos: JA3 and JA3S (Salesforce, 2017), and JA4 of TLS clients (FoxIO; this part
//! of JA4+ is BSD-3-Clause).
//!
//! JA3 hashes version, ciphers, extensions, groups and point formats in their order, so a client
//! that shuffles its extensions has many. JA4 sorts ciphers and extensions, leaves out the server
//! name and ALPN, which depend on the destination, and keeps a readable head. Both ignore GREASE
//! (RFC 8701).

use md5::{Digest, Md5};
use sha2::Sha256;

use super::hello::Offer;

/// What stands for a hash of nothing in JA4.
const NOTHING: &str = "000000000000";

/// Values that clients send to keep servers tolerant (RFC 8701): 0x0a0a, 0x1a1a, …
pub(super) const fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// JA3 of a client.
pub(super) fn ja3(offer: &Offer, text: &mut Vec<u8>) -> Box<str> {
    text.clear();
    push_decimal(offer.version, text);
    for list in [&offer.ciphers, &offer.extensions, &offer.groups] {
        text.push(b',');
        join(list, text);
    }
    text.push(b',');
    for (number, format) in offer.point_formats.iter().enumerate() {
        if number > 0 {
            text.push(b'-');
        }
        push_decimal(u16::from(*format), text);
    }
    md5(text)
}

/// JA3S of a server.
pub(super) fn ja3s(version: u16, cipher: u16, extensions: &[u16], text: &mut Vec<u8>) -> Box<str> {
    text.clear();
    push_decimal(version, text);
    text.push(b',');
    push_decimal(cipher, text);
    text.push(b',');
    join(extensions, text);
    md5(text)
}

/// JA4 of a client over TCP. `version` is the highest that it offers.
pub(super) fn ja4(offer: Offer, version: u16, text: &mut Vec<u8>) -> Box<str> {
    let Offer { mut ciphers, mut extensions, mut signatures, has_name, alpn, .. } = offer;
    ciphers.retain(|value| !is_grease(*value));
    extensions.retain(|value| !is_grease(*value));
    signatures.retain(|value| !is_grease(*value));
    let mut ja4 = String::with_capacity(36);
    ja4.push('t');
    ja4.push_str(match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    });
    ja4.push(if has_name { 'd' } else { 'i' });
    for count in [ciphers.len(), extensions.len()] {
        let count = count.min(99) as u8;
        ja4.extend([count / 10, count % 10].map(|value| char::from(digit(value))));
    }
    ja4.extend(alpn_ends(alpn.as_deref().unwrap_or_default()));
    ja4.push('_');
    ciphers.sort_unstable();
    text.clear();
    list(&ciphers, text);
    push_hash(text, &mut ja4);
    ja4.push('_');

    // Server name and ALPN count above, and are not part of what is hashed.
    extensions.retain(|value| !matches!(value, 0 | 16));
    extensions.sort_unstable();
    text.clear();
    list(&extensions, text);
    if !signatures.is_empty() {
        text.push(b'_');
        list(&signatures, text);
    }
    push_hash(text, &mut ja4);
    ja4.into()
}

/// The first and last letter of the first protocol offered; if one of them is no letter or digit,
/// those of its hexadecimal form.
fn alpn_ends(alpn: &[u8]) -> [char; 2] {
    let (Some(first), Some(last)) = (alpn.first(), alpn.last()) else { return ['0', '0'] };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last].map(char::from);
    }
    [digit(first >> 4), digit(last & 0xf)].map(char::from)
}

/// Decimal numbers without GREASE, with dashes between them.
fn join(values: &[u16], text: &mut Vec<u8>) {
    let mut dash = false;
    for value in values.iter().filter(|value| !is_grease(**value)) {
        if dash {
            text.push(b'-');
        }
        dash = true;
        push_decimal(*value, text);
    }
}

/// Four hexadecimal digits each, with commas between them.
fn list(values: &[u16], text: &mut Vec<u8>) {
    for (number, value) in values.iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        let [high, low] = value.to_be_bytes();
        text.extend_from_slice(&[high >> 4, high & 0xf, low >> 4, low & 0xf].map(digit));
    }
}

fn push_decimal(value: u16, text: &mut Vec<u8>) {
    let mut digits = [0; 5];
    let mut rest = value;
    let mut first = digits.len();
    for place in digits.iter_mut().rev() {
        *place = digit((rest % 10) as u8);
        rest /= 10;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    text.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// The first twelve hexadecimal digits of the text's SHA-256.
fn push_hash(text: &[u8], ja4: &mut String) {
    if text.is_empty() {
        ja4.push_str(NOTHING);
        return;
    }
    push_hex(&Sha256::digest(text)[..6], ja4);
}

fn md5(text: &[u8]) -> Box<str> {
    let mut hex = String::with_capacity(32);
    push_hex(&Md5::digest(text), &mut hex);
    hex.into()
}

/// Two hexadecimal digits for each byte.
pub(super) fn push_hex(bytes: &[u8], text: &mut String) {
    for part in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(part) {
            *pair = [digit(byte >> 4), digit(byte & 0xf)];
        }
        let digits = digits.get(..2 * part.len()).unwrap_or_default();
        text.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

const fn digit(value: u8) -> u8 {
    match value {
        0..=9 => b'0' + value,
        _ => b'a' + value - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that FoxIO's description of JA4 works through: a Chrome on Windows.
    #[test]
    fn ja4_is_as_its_authors_say() {
        let offer = Offer {
            version: 0x0303,
            versions: vec![0x3a3a, 0x0304, 0x0303],
            ciphers: vec![
                0x7a7a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
                0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x6a6a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005,
                0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x1a1a,
            ],
            groups: Vec::new(),
            point_formats: Vec::new(),
            signatures: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            has_name: true,
            alpn: Some(b"h2".to_vec()),
        };
        let ja4 = ja4(offer, 0x0304, &mut Vec::new());
        assert_eq!(&*ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn alpn_is_told_by_its_ends() {
        for (case, alpn, expected) in [
            ("letters and digits", &b"http/1.1"[..], ['h', '1']),
            ("one letter twice", b"h", ['h', 'h']),
            ("none", b"", ['0', '0']),
            ("an odd byte: hexadecimal", b"\xabh", ['a', '8']),
            ("an odd byte at the end", b"h\xcd", ['6', 'd']),
        ] {
            assert_eq!(alpn_ends(alpn), expected, "{case}");
        }
    }

    #[test]
    fn numbers_are_written_as_others_do() {
        for value in [0, 9, 10, 99, 100, 4_865, 49_195, u16::MAX] {
            let mut text = Vec::new();
            push_decimal(value, &mut text);
            assert_eq!(text, value.to_string().into_bytes());
        }
    }
}
