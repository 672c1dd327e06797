//! Lines out of a stream, for protocols that speak in them.

use compact_str::CompactString;
use memchr::memchr;

/// Splits one direction into lines, holding at most `N` bytes of one that is incomplete.
#[derive(Debug, Default)]
pub(crate) struct Lines<const N: usize> {
    held: Vec<u8>,
    /// The held line was handed out.
    spent: bool,
}

/// What [`Lines::next`] found.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Line<'a> {
    /// A line without its `\n` or `\r\n`.
    Whole(&'a [u8]),
    /// No line ends within the bytes there are.
    More,
    /// No line ends within `N` bytes.
    TooLong,
}

impl<const N: usize> Lines<N> {
    /// Takes the next line off `bytes`.
    pub(crate) fn next<'s, 'b: 's>(&'s mut self, bytes: &mut &'b [u8]) -> Line<'s> {
        if self.spent {
            self.held.clear();
            self.spent = false;
        }
        match memchr(b'\n', bytes) {
            Some(end) => {
                let (line, rest) = bytes.split_at(end);
                *bytes = &rest[1..];
                if self.held.len() + line.len() > N {
                    return Line::TooLong;
                }
                if self.held.is_empty() {
                    return Line::Whole(trim(line));
                }
                self.held.extend_from_slice(line);
                self.spent = true;
                Line::Whole(trim(&self.held))
            }
            None if self.held.len() + bytes.len() > N => Line::TooLong,
            None => {
                self.held.extend_from_slice(bytes);
                *bytes = &[];
                Line::More
            }
        }
    }
}

/// The first line of some bytes without its end; `None` if it has none yet.
pub(crate) fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    bytes.get(..end).map(trim)
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// At most `bytes_max` bytes as text; what is no graphic ASCII and no space as `?`.
pub(crate) fn text(bytes: &[u8], bytes_max: usize) -> CompactString {
    let bytes = bytes.get(..bytes_max).unwrap_or(bytes);
    let is_printable = |byte: &u8| matches!(byte, b' '..0x7f);
    match std::str::from_utf8(bytes) {
        // Nearly always.
        Ok(text) if bytes.iter().all(is_printable) => text.into(),
        _ => {
            let shown = |byte: &u8| if is_printable(byte) { char::from(*byte) } else { '?' };
            bytes.iter().map(shown).collect()
        }
    }
}

/// Whether ASCII text holds a word, which is in lower case.
pub(crate) fn contains_ignore_case(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len().max(1)).any(|window| window.eq_ignore_ascii_case(word))
}
/// A host's name without the dot of the root: `a.example.` is `a.example`.
pub(super) fn without_final_dots(name: &[u8]) -> &[u8] {
    let dots = name.iter().rev().take_while(|byte| **byte == b'.').count();
    &name[..name.len() - dots]
}
