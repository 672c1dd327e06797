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
    let length = bytes.len();
    // Whole blocks are checked faster than what is left over behind them.
    pad(&mut bytes);
    // Only ASCII was written, so this cannot fail; and it keeps the capacity.
    *text = String::from_utf8(bytes).unwrap_or_default();
    text.truncate(length);
    end
}

fn read_bytes(message: &[u8], start: usize, text: &mut Vec<u8>) -> Option<usize> {
    let mut run = start;
    let mut end = None;
    let mut pointers = 0;
    let mut room = NAME_BYTES_MAX - 1;
    // Label after label up to a pointer or the root: a run, which lies in one piece.
    loop {
        let rest = message.get(run..)?;
        let length = write_run(rest.get(..room + 1).unwrap_or(rest), text)?;
        room = room.checked_sub(length)?;
        let at = run + length;
        match *message.get(at)? {
            0 => return Some(end.unwrap_or(at + 1)),
            high @ 0xc0.. => {
                let target = usize::from(u16::from_be_bytes([high & 0x3f, *message.get(at + 1)?]));
                pointers += 1;
                // Strictly backwards, so that no chain can be a ring.
                if target >= run || pointers > POINTERS_MAX {
                    return None;
                }
                end = end.or(Some(at + 2));
                run = target;
            }
            _ => return None,
        }
    }
}

/// Bytes that are gone over at a time.
const BLOCK: usize = 16;

/// Fills up to whole blocks, with what looks like a label.
fn pad(text: &mut Vec<u8>) {
    text.extend_from_slice(&[b'a'; BLOCK][..text.len().wrapping_neg() % BLOCK]);
}

/// Writes the run of labels at the beginning of `rest` and returns its length: copied whole, lengths
/// replaced by dots, and gone over once. Only what holds an odd byte is written label by label.
/// `None` if `rest` ends within the run.
fn write_run(rest: &[u8], text: &mut Vec<u8>) -> Option<usize> {
    let before = text.len();
    // Behind an earlier run the first length becomes a dot; else there is none before it.
    let skip = usize::from(before == 0);
    let mut at = match *rest.first()? {
        first @ 1..=63 => usize::from(first) + 1,
        _ => return Some(0),
    };
    text.extend_from_slice(rest.get(skip..)?);
    let written = text.get_mut(before..)?;
    if skip == 0 {
        written[0] = b'.';
    }
    let mut labels = 1u8;
    while let length @ 1..=63 = *rest.get(at)? {
        *written.get_mut(at - skip)? = b'.';
        at += usize::from(length) + 1;
        labels += 1;
    }
    text.truncate(before + at - skip);
    text.extend_from_slice(&[b'a'; BLOCK][..(at - skip).wrapping_neg() % BLOCK]);
    // A dot within a label shows in their number, which fits a byte as the name does.
    let mut odd = [0u8; BLOCK];
    let mut dots = [0u8; BLOCK];
    for block in text.get_mut(before..)?.as_chunks_mut::<BLOCK>().0 {
        for ((byte, odd), dots) in block.iter_mut().zip(&mut odd).zip(&mut dots) {
            *odd |= u8::from((*byte <= b' ') | (*byte >= 0x7f) | (*byte == b'\\'));
            *dots += u8::from(*byte == b'.');
            let upper = byte.wrapping_sub(b'A') < 26;
            *byte |= u8::from(upper) << 5;
        }
    }
    let dots = dots.iter().fold(0u8, |sum, dots| sum.wrapping_add(*dots));
    if u128::from_le_bytes(odd) != 0 || dots + skip as u8 != labels {
        text.truncate(before);
        write_odd(rest.get(..at)?, text);
    } else {
        text.truncate(before + at - skip);
    }
    Some(at)
}

#[cold]
fn write_odd(run: &[u8], text: &mut Vec<u8>) {
    let mut rest = run;
    while let Some((length, after)) = rest.split_first() {
        let (label, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        if !text.is_empty() {
            text.push(b'.');
        }
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
    fn every_byte_is_written_as_it_should_be() {
        for byte in 0..=u8::MAX {
            for place in 0..9 {
                let mut label = [b'x'; 9];
                label[place] = byte;
                let message = [&b"\x09"[..], &label, b"\0"].concat();
                let mut text = String::new();
                assert_eq!(read(&message, 0, &mut text), Some(11));
                let written = match byte {
                    b'!'..=b'~' if !b".\\".contains(&byte) => {
                        char::from(byte.to_ascii_lowercase()).to_string()
                    }
                    _ => format!("\\{byte:03}"),
                };
                let expected = format!("{}{written}{}", "x".repeat(place), "x".repeat(8 - place));
                assert_eq!(text, expected, "byte {byte} at {place}");
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
