//! Finds where TLS begins within another protocol (STARTTLS and its like), by the head of a
//! ClientHello, wherever segments are cut.

/// Head of a ClientHello: record header, message header, version (bytes).
const HEAD_BYTES: usize = 11;

/// Shortest ClientHello behind its message header: version, random, three lengths (bytes).
const HELLO_BYTES_MIN: u16 = 38;

/// The last bytes of a stream, as many as may be the beginning of a head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    held: [u8; HEAD_BYTES - 1],
    held_bytes: u8,
}

/// Where a ClientHello begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Begin {
    /// Within what came before: these bytes of it, then all of the segment.
    Before([u8; HEAD_BYTES - 1], usize),
    /// At this place of the segment.
    At(usize),
}

impl Watch {
    /// Looks at the next bytes of a stream.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Option<Begin> {
        let held_bytes = usize::from(self.held_bytes);
        let held = self.held.get(..held_bytes).unwrap_or_default();
        // The seam: what was held, and as much of the new as a head may reach into.
        let mut seam = [0; 2 * (HEAD_BYTES - 1)];
        let reach = bytes.len().min(HEAD_BYTES - 1);
        seam[..held_bytes].copy_from_slice(held);
        seam[held_bytes..held_bytes + reach].copy_from_slice(&bytes[..reach]);
        let seam = &seam[..held_bytes + reach];
        for start in 0..held_bytes {
            if is_head(&seam[start..]) {
                let mut before = [0; HEAD_BYTES - 1];
                let length = held_bytes - start;
                before[..length].copy_from_slice(&held[start..]);
                return Some(Begin::Before(before, length));
            }
        }
        for start in memchr::memchr_iter(0x16, bytes) {
            if is_head(&bytes[start..]) {
                return Some(Begin::At(start));
            }
        }
        let tail = if bytes.len() >= self.held.len() { bytes } else { seam };
        let tail = &tail[tail.len() - tail.len().min(self.held.len())..];
        self.held[..tail.len()].copy_from_slice(tail);
        self.held_bytes = tail.len() as u8;
        None
    }
}

/// A handshake record with a ClientHello at its beginning, whose lengths agree.
fn is_head(bytes: &[u8]) -> bool {
    let [22, 3, 0..=3, a, b, 1, 0, c, d, 3, 0..=3, ..] = bytes else { return false };
    let (record, hello) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    hello >= HELLO_BYTES_MIN
        && record >= HELLO_BYTES_MIN
        && u32::from(record) <= u32::from(hello) + 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_found_wherever_segments_are_cut() {
        let hello = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03";
        let stream = [&b"STARTTLS\r\n\x16\x03\x01"[..], hello, &b"\x16\x03"[..]].concat();
        for cut in 0..=stream.len() {
            let mut watch = Watch::default();
            let (one, two) = stream.split_at(cut);
            let first = watch.look(one);
            let place = match (first, cut) {
                (Some(Begin::At(place)), _) => place,
                (None, _) => match watch.look(two) {
                    Some(Begin::At(place)) => cut + place,
                    Some(Begin::Before(_, length)) => cut - length,
                    None => usize::MAX,
                },
                (Some(before), _) => panic!("{before:?} in the first segment"),
            };
            assert_eq!(place, 13, "cut at {cut}");
        }
    }
}
