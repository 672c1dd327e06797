//! Domain names out of a message: compressed on the wire, lower case and escaped as text.
//!
//! Read by hand rather than by `hickory_proto::rr::Name`, for two reasons. That type follows chains
//! of pointers without a limit on their number, so a message of 64 KiB made of pointers costs
//! thousands of steps for each of its names. And it builds the name before it can be written as
//! text: see `docs/comparison.md` for the cost of both.

/// Most pointers that are followed in one name (count). A name of 255 bytes has 127 labels at most;
/// a pointer for each is more than any sender needs.
const POINTERS_MAX: usize = 127;

/// Longest name on the wire with its lengths (RFC 1035, section 2.3.4) in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Reads the name at `start` into `text`, and returns where the wire goes on behind it. Lower case,
/// without the final dot; dots, backslashes and what is no graphic ASCII inside a label as `\NNN`
/// (decimal). `None` if the name does not end within the message, is too long, or points forward.
pub(super) fn read(message: &[u8], start: usize, text: &mut String) -> Option<usize> {
    let mut bytes = std::mem::take(text).into_bytes();
    bytes.clear();
    let end = read_bytes(message, start, &mut bytes);
    // Only ASCII was written, so this cannot fail; and it keeps the capacity.
    *text = String::from_utf8(bytes).unwrap_or_default();
    end
}

fn read_bytes(message: &[u8], start: usize, text: &mut Vec<u8>) -> Option<usize> {
    let mut at = start;
    let mut run_start = start;
    let mut end = None;
    let mut pointers = 0;
    let mut wire_bytes = 1;
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some(end.unwrap_or(at + 1)),
            1..=63 => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                wire_bytes += label.len() + 1;
                if wire_bytes > NAME_BYTES_MAX {
                    return None;
                }
                write_label(label, text);
                at += label.len() + 1;
            }
            0xc0.. => {
                let target =
                    usize::from(u16::from_be_bytes([length & 0x3f, *message.get(at + 1)?]));
                pointers += 1;
                // Strictly backwards, so that no chain can be a ring.
                if target >= run_start || pointers > POINTERS_MAX {
                    return None;
                }
                end = end.or(Some(at + 2));
                at = target;
                run_start = target;
            }
            _ => return None,
        }
    }
}

fn write_label(label: &[u8], text: &mut Vec<u8>) {
    if !text.is_empty() {
        text.push(b'.');
    }
    let start = text.len();
    text.extend_from_slice(label);
    let mut odd = false;
    for byte in text.iter_mut().skip(start) {
        odd |= !is_plain(*byte);
        *byte = byte.to_ascii_lowercase();
    }
    if odd {
        text.truncate(start);
        for byte in label {
            if is_plain(*byte) {
                text.push(byte.to_ascii_lowercase());
            } else {
                let digits = [byte / 100, byte / 10 % 10, byte % 10].map(|digit| b'0' + digit);
                text.push(b'\\');
                text.extend_from_slice(&digits);
            }
        }
    }
}

const fn is_plain(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && byte != b'.' && byte != b'\\'
}

/// Where the wire goes on behind the name at `start`, without reading it.
pub(super) fn skip(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += usize::from(length) + 1,
            0xc0.. => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
        if at - start > NAME_BYTES_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_text() {
        let message: &[u8] =
            b"\x03www\x07Example\x03COM\0\x04mail\xc0\x04\xc0\x11\x03a.b\x02 \xff\0";
        for (case, start, expected) in [
            ("plain, in lower case", 0, Some(("www.example.com", 17))),
            ("a label and a pointer", 17, Some(("mail.example.com", 24))),
            ("a pointer to a pointer", 24, Some(("mail.example.com", 26))),
            ("odd bytes are escaped", 26, Some(("a\\046b.\\032\\255", 34))),
            ("the root has no text", 16, Some(("", 17))),
            ("it does not begin within the message", 99, None),
        ] {
            let mut text = String::from("old");
            let end = read(message, start, &mut text);
            assert_eq!(end.map(|end| (text.as_str(), end)), expected, "{case}");
            if let Some((_, end)) = expected {
                assert_eq!(skip(message, start), Some(end), "{case}");
            }
        }
    }

    #[test]
    fn bad_names_are_refused() {
        let long: Vec<u8> = [&[63u8; 64][..]; 4].concat().into_iter().chain([0]).collect();
        // Behind a root, each pointer leads to the one before it.
        let chain: Vec<u8> = [0, 0]
            .into_iter()
            .chain((0..200u16).flat_map(|i| (0xc000 | (2 * i)).to_be_bytes()))
            .collect();
        for (case, message, start) in [
            ("a pointer to itself", &b"\xc0\x00"[..], 0),
            ("a pointer forward", b"\xc0\x02\0", 0),
            ("a ring of two", b"\x01a\xc0\x00", 0),
            ("it ends within a label", b"\x05ab", 0),
            ("it has no end", b"\x01a", 0),
            ("half a pointer", b"\x01a\xc0", 0),
            ("reserved label types", b"\x40a\0", 0),
            ("more than 255 bytes", &long, 0),
            ("more pointers than any sender needs", &chain, 400),
        ] {
            assert_eq!(read(message, start, &mut String::new()), None, "{case}");
        }
    }
}
