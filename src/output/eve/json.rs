//! JSON straight into a byte buffer: no tree, no formatting machinery, nothing allocated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::time::{Timestamp, civil_date};

/// `,"key":`: a member after the first.
macro_rules! key {
    ($buffer:expr, $key:literal) => {
        $buffer.extend_from_slice(concat!(",\"", $key, "\":").as_bytes())
    };
}

/// Bytes as they are, from literals.
macro_rules! raw {
    ($buffer:expr, $($text:literal),+) => {
        $buffer.extend_from_slice(concat!($($text),+).as_bytes())
    };
}

pub(super) use {key, raw};

/// How each byte of a string is written: 0 as it is; `u` as `\u00XX`; `c` if a control character
/// of Latin-1 begins here; any other after a backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[0x7f] = b'u';
    table[0xc2] = b'c';
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A string with its quotes. Beside what JSON demands, DEL and the control characters of Latin-1
/// are escaped: records are read on terminals, and their strings come from attackers.
pub(super) fn string(buffer: &mut Vec<u8>, text: &str) {
    buffer.push(b'"');
    string_part(buffer, text);
    buffer.push(b'"');
}

/// As [`string()`], without the quotes.
pub(super) fn string_part(buffer: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        buffer.extend_from_slice(bytes);
    } else {
        escaped(buffer, bytes);
    }
}

/// A name that this program gave, with its quotes: known to need no escapes.
pub(super) fn name(buffer: &mut Vec<u8>, name: &'static str) {
    buffer.push(b'"');
    buffer.extend_from_slice(name.as_bytes());
    buffer.push(b'"');
}

/// Nothing to escape, and ASCII, as nearly all strings are. Looks at sixteen or eight bytes at a
/// time, the last ones overlapping those before.
fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        let (chunks, _) = bytes.as_chunks::<16>();
        chunks.iter().all(plain) && plain(last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        plain(first) && plain(last)
    } else {
        bytes.iter().all(|byte| ESCAPES[usize::from(*byte)] == 0)
    }
}

/// Written without branches, for the compiler to vectorise.
fn plain<const N: usize>(chunk: &[u8; N]) -> bool {
    let mut odd = false;
    for byte in chunk {
        odd |= (*byte < 0x20) | (*byte >= 0x7f) | (*byte == b'"') | (*byte == b'\\');
    }
    !odd
}

#[cold]
fn escaped(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let mut written = 0;
    for (place, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES[usize::from(*byte)];
        if escape == 0 {
            continue;
        }
        let mut code = *byte;
        if escape == b'c' {
            match bytes.get(place + 1) {
                Some(next @ 0x80..=0x9f) => code = *next,
                _ => continue,
            }
        }
        buffer.extend_from_slice(&bytes[written..place]);
        written = place + 1;
        match escape {
            b'u' | b'c' => {
                let [high, low] = hex_pair(code);
                buffer.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                written += usize::from(escape == b'c');
            }
            short => buffer.extend_from_slice(&[b'\\', short]),
        }
    }
    buffer.extend_from_slice(&bytes[written..]);
}

/// The two hexadecimal digits of a byte.
pub(super) const fn hex_pair(byte: u8) -> [u8; 2] {
    [HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]
}

/// A whole number.
pub(super) fn number(buffer: &mut Vec<u8>, number: impl itoa::Integer) {
    buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `true` or `false`.
pub(super) fn boolean(buffer: &mut Vec<u8>, value: bool) {
    buffer.extend_from_slice(if value { b"true" } else { b"false" });
}

/// An address with its quotes, as RFC 5952 writes it.
pub(super) fn ip(buffer: &mut Vec<u8>, ip: IpAddr) {
    buffer.push(b'"');
    match ip {
        IpAddr::V4(v4) => ipv4(buffer, v4),
        IpAddr::V6(v6) => ipv6(buffer, v6),
    }
    buffer.push(b'"');
}

/// Each octet in decimal with a dot after it, and the length of that.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = [b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8];
        let last = b'0' + (octet % 10) as u8;
        table[octet] = match octet {
            0..10 => ([last, b'.', 0, 0], 2),
            10..100 => ([digits[1], last, b'.', 0], 3),
            _ => ([digits[0], digits[1], last, b'.'], 4),
        };
        octet += 1;
    }
    table
};

fn ipv4(buffer: &mut Vec<u8>, ip: Ipv4Addr) {
    let mut text = [0; 16];
    let mut length = 0;
    for octet in ip.octets() {
        let (digits, used) = OCTETS[usize::from(octet)];
        text[length..length + 4].copy_from_slice(&digits);
        length += usize::from(used);
    }
    buffer.extend_from_slice(&text[..length - 1]);
}

fn ipv6(buffer: &mut Vec<u8>, ip: Ipv6Addr) {
    if let Some(v4) = ip.to_ipv4_mapped() {
        raw!(buffer, "::ffff:");
        return ipv4(buffer, v4);
    }
    let groups = ip.segments();
    let zeros = longest_zeros(&groups);
    let mut place = 0;
    while place < 8 {
        if zeros.len() > 1 && place == zeros.start {
            raw!(buffer, "::");
            place = zeros.end;
            continue;
        }
        if place > 0 && !(zeros.len() > 1 && place == zeros.end) {
            buffer.push(b':');
        }
        let group = groups[place];
        let digits = (16 - group.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            buffer.push(HEX[usize::from(group >> (4 * digit) & 15)]);
        }
        place += 1;
    }
}

/// The longest run of zero groups, the first of equals.
fn longest_zeros(groups: &[u16; 8]) -> std::ops::Range<usize> {
    let (mut best, mut start) = (0..0, 0);
    for (place, group) in groups.iter().enumerate() {
        if *group != 0 {
            start = place + 1;
        } else if place + 1 - start > best.len() {
            best = start..place + 1;
        }
    }
    best
}

/// Writes times of day quickly by keeping the text of the day.
#[derive(Default)]
pub(super) struct Clock {
    day: Option<u64>,
    /// `2026-03-01T`
    date: [u8; 11],
}

impl Clock {
    const SECONDS_PER_DAY: u64 = 86_400;

    /// `"2026-03-01T12:00:07.125000Z"`, as [`Timestamp`] prints.
    pub(super) fn timestamp(&mut self, buffer: &mut Vec<u8>, at: Timestamp) {
        let (seconds, micros) = (at.nanos() / 1_000_000_000, at.nanos() % 1_000_000_000 / 1_000);
        let (day, second) = (seconds / Self::SECONDS_PER_DAY, seconds % Self::SECONDS_PER_DAY);
        if self.day != Some(day) {
            self.day = Some(day);
            let (year, month, day) = civil_date(day);
            let [[y, y2], [y3, y4]] = [pair(year / 100), pair(year % 100)];
            let [[m, m2], [d, d2]] = [pair(month), pair(day)];
            self.date = [y, y2, y3, y4, b'-', m, m2, b'-', d, d2, b'T'];
        }
        let [[h, h2], [m, m2], [s, s2]] =
            [pair(second / 3_600), pair(second / 60 % 60), pair(second % 60)];
        let [[u, u2], [u3, u4], [u5, u6]] =
            [pair(micros / 10_000), pair(micros / 100 % 100), pair(micros % 100)];
        buffer.push(b'"');
        buffer.extend_from_slice(&self.date);
        buffer.extend_from_slice(&[
            h, h2, b':', m, m2, b':', s, s2, b'.', u, u2, u3, u4, u5, u6, b'Z', b'"',
        ]);
    }
}

/// Two decimal digits of a number below 100.
const fn pair(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// Seconds since the epoch, the years before it and far after it included, as a certificate's
/// validity in EVE: `2017-01-04T10:48:43`.
pub(super) fn date_time(buffer: &mut Vec<u8>, seconds: i64) {
    let days = seconds.div_euclid(86_400).saturating_add(DAYS_FROM_YEAR_0);
    let second = seconds.rem_euclid(86_400).unsigned_abs();
    // Years outside 0 to 9999 cannot be written; ASN.1 cannot either.
    let days = days.clamp(0, LAST_DAY + DAYS_FROM_YEAR_0).unsigned_abs();
    // 400 years have the same days as any other 400: reckon in the era after the epoch.
    let (era, day) = (days / 146_097, days % 146_097);
    let (year, month, day) = civil_date(day + DAYS_TO_YEAR_2000);
    let year = year - 2_000 + era * 400;
    buffer.push(b'"');
    for two in [pair(year / 100), pair(year % 100)] {
        buffer.extend_from_slice(&two);
    }
    for (sign, number) in
        [(b'-', month), (b'-', day), (b'T', second / 3_600), (b':', second / 60 % 60)]
    {
        buffer.push(sign);
        buffer.extend_from_slice(&pair(number));
    }
    buffer.push(b':');
    buffer.extend_from_slice(&pair(second % 60));
    buffer.push(b'"');
}

/// Days from 0000-01-01 to 1970-01-01.
const DAYS_FROM_YEAR_0: i64 = 719_528;
/// Days from 1970-01-01 to 2000-01-01.
const DAYS_TO_YEAR_2000: u64 = 10_957;
/// 9999-12-31 in days from 1970-01-01.
const LAST_DAY: i64 = 2_932_896;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut buffer = Vec::new();
        write(&mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn control_characters_are_escaped() {
        for (string, expected) in [
            ("plain", r#""plain""#),
            ("a\"b\\c\n", r#""a\"b\\c\n""#),
            ("\u{1b}[31m", r#""\u001b[31m""#),
            ("\u{7f}", r#""\u007f""#),
            ("\u{9b}31m", r#""\u009b31m""#),
            ("\u{a0}é日本", "\"\u{a0}é日本\""),
        ] {
            assert_eq!(text(|buffer| super::string(buffer, string)), expected);
        }
    }

    #[test]
    fn certificate_dates_reach_from_year_0_to_9999() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (1_483_526_923, "2017-01-04T10:48:43"),
            (-1, "1969-12-31T23:59:59"),
            (-631_152_000, "1950-01-01T00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (-62_167_219_200, "0000-01-01T00:00:00"),
            (i64::MAX, "9999-12-31T15:30:07"),
            (i64::MIN, "0000-01-01T08:29:52"),
        ] {
            let written = text(|buffer| date_time(buffer, seconds));
            assert_eq!(written, format!("\"{expected}\""));
        }
    }

    proptest! {
        #[test]
        fn any_string_reads_back(string in ".*") {
            let written = text(|buffer| super::string(buffer, &string));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), string);
        }

        /// One odd character at any place of a string of any length around the sizes of chunks.
        #[test]
        fn an_odd_character_is_found_wherever_it_is(
            before in "[a-z]{0,36}", odd in "[\"\\\\\u{0}-\u{1f}\u{7f}-\u{a0}]", after in "[a-z]{0,36}",
        ) {
            let string = format!("{before}{odd}{after}");
            let written = text(|buffer| super::string(buffer, &string));
            prop_assert!(!written.contains(char::is_control), "{written:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), string);
        }

        #[test]
        fn any_address_is_written_as_the_standard_library_does(
            v4: u32, v6: u128, hole in 0..128u32, length in 0..129u32,
        ) {
            let mask = u128::MAX.checked_shl(length).map_or(0, |ones| !ones).rotate_left(hole);
            for address in [
                IpAddr::V4(v4.into()), IpAddr::V6(v6.into()), IpAddr::V6((v6 & !mask).into()),
                IpAddr::V6(Ipv4Addr::from(v4).to_ipv6_mapped()),
            ] {
                prop_assert_eq!(text(|buffer| ip(buffer, address)), format!("\"{address}\""));
            }
        }

        #[test]
        fn any_time_is_written_as_timestamps_print(nanos: u64, others: [u64; 2]) {
            let mut clock = Clock::default();
            for nanos in [others[0], nanos, others[1], nanos] {
                let at = Timestamp::from_nanos(nanos);
                let written = text(|buffer| clock.timestamp(buffer, at));
                prop_assert_eq!(written, format!("\"{at}\""));
            }
        }
    }
}
