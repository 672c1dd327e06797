//! Follows protocols that speak in lines, to notice when one side stops to.
//!
//! A banner is easily said; to go on speaking the protocol is not. Each line of both sides is held
//! against what that side may say, so that a shell behind a false greeting is found out by the
//! first command that is typed, or by the first output that is none.

use super::text::{Line, Lines};
use super::{Appetite, Parser, Sink};
use crate::event::Side;

/// Lines of both sides that are looked at (count). Who spoke the protocol for so long speaks it.
const LINES_MAX: u32 = 128;

/// Longest line (bytes); longer ones end the watch. RFC 5321 and its like allow 512 to 1000.
const LINE_BYTES_MAX: usize = 2_048;

/// What a line is in its protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Says {
    /// As it should be.
    Fits,
    /// What this protocol never says.
    Contradicts,
    /// It fits, and free text or data follows in which nothing can be told.
    Opaque,
}

/// Judges the lines of one protocol.
pub(crate) trait Grammar: Default + Send {
    /// What the line of a side is.
    fn line(&mut self, from: Side, line: &[u8]) -> Says;
}

/// The watch itself.
#[derive(Default)]
pub(crate) struct Dialogue<G> {
    grammar: G,
    lines: [Lines<LINE_BYTES_MAX>; 2],
    seen: u32,
}

impl<G: Grammar> Parser for Dialogue<G> {
    fn data(&mut self, from: Side, bytes: &[u8], _sink: &mut Sink<'_>) -> Appetite {
        let mut bytes = bytes;
        loop {
            match self.lines[from.index()].next(&mut bytes) {
                Line::Whole(line) => match self.grammar.line(from, line) {
                    Says::Fits => {}
                    Says::Contradicts => return Appetite::Contradicted,
                    Says::Opaque => return Appetite::Done,
                },
                Line::More => return Appetite::More,
                Line::TooLong => return Appetite::Done,
            }
            self.seen += 1;
            if self.seen >= LINES_MAX {
                return Appetite::Done;
            }
        }
    }
}

/// Whether a line begins with one of these commands (in upper case) and then ends or goes on behind
/// a space.
pub(crate) fn is_command(line: &[u8], commands: &[&[u8]]) -> bool {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    commands.iter().any(|command| word.eq_ignore_ascii_case(command))
}

/// Whether a line without its end may still become a command of these.
pub(crate) fn may_be_command(line: &[u8], commands: &[&[u8]]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    is_command(line, commands)
        || commands.iter().any(|command| {
            command.get(..line.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(line))
        })
}

/// The code of a reply line: three digits, then a space, a dash or nothing.
pub(crate) fn reply_code(line: &[u8]) -> Option<(u16, bool)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), None | Some(b' ' | b'-')) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    Some((code, rest.first() == Some(&b'-')))
}
