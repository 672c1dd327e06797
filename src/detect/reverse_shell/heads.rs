//! The first bytes of turns: whether a conversation is worth reading as text.
//!
//! Decided from the turn's bytes alone, however they were cut into segments: by its first line
//! where the peer may ask for something, by its end where the container may show a prompt. Until
//! then the bytes wait here, `HEADS_MAX` turns at a time; more of them at once, and the one that
//! waited longest is not read (its next turn may be, and its rhythm is judged all the same).

use super::commands::{self, Verb};
use super::signs;
use crate::event::Side;
use crate::time::Timestamp;

/// Bytes of a turn that are looked at: a prompt stands in a turn no longer than that.
const HEAD: usize = 256;

/// Longest first line of the peer that is looked at (bytes).
const LINE: usize = 64;

/// Turns that wait at a time per container (count; 300 bytes each, taken as they come).
const HEADS_MAX: usize = 32;

/// What a turn's first bytes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opening {
    /// A shell, perhaps: read it.
    Read,
    /// Nothing of the kind.
    Pass,
    /// More of the turn has to come, or its end.
    Wait,
}

/// The beginning of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    flow: u64,
    pub(super) from: Side,
    pub(super) at: Timestamp,
    /// Position of the first byte in its direction; `None` in a datagram.
    pub(super) offset: Option<u64>,
    length: u16,
    bytes: [u8; HEAD],
}

impl Head {
    pub(super) const fn new(flow: u64, from: Side, at: Timestamp, offset: Option<u64>) -> Self {
        Self { flow, from, at, offset, length: 0, bytes: [0; HEAD] }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Takes bytes that follow. Returns what does not fit.
    pub(super) fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let free = self.bytes.get_mut(usize::from(self.length)..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        let (taken, rest) = bytes.split_at(taken);
        for (slot, byte) in free.iter_mut().zip(taken) {
            *slot = *byte;
        }
        self.length += u16::try_from(taken.len()).unwrap_or(0);
        rest
    }

    /// The first line is text, and a command that is hardly anything else.
    pub(super) fn is_command(&self) -> bool {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let line = self.text().split(is_end).next().unwrap_or_default();
        line.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e))
            && matches!(commands::of_command(line), Some(Verb::Strong(_)))
    }

    /// What these bytes say; `more` are known to follow them in the turn, `whole` says that none do.
    /// `known` says that the flow began as a known protocol does.
    pub(super) fn opening(&self, own: bool, known: bool, more: bool, whole: bool) -> Opening {
        if own { greets(self.text(), more, whole) } else { asks(self.text(), known, whole) }
    }
}

/// Turns whose beginning does not yet say enough.
#[derive(Debug)]
pub(super) struct Heads {
    waiting: Vec<Head>,
    next: usize,
    evicted: u64,
}

impl Heads {
    pub(super) const fn new() -> Self {
        Self { waiting: Vec::new(), next: 0, evicted: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Turns that had to make room so far (count).
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes the head of a flow's turn out.
    pub(super) fn take(&mut self, flow: u64) -> Option<Head> {
        let place = self.waiting.iter().position(|head| head.flow == flow)?;
        Some(self.waiting.swap_remove(place))
    }

    pub(super) fn put(&mut self, head: Head) {
        if self.waiting.len() < HEADS_MAX {
            self.waiting.push(head);
        } else if let Some(place) = self.waiting.get_mut(self.next % HEADS_MAX) {
            *place = head;
            self.evicted += 1;
            self.next = (self.next + 1) % HEADS_MAX;
        }
    }
}

/// A turn of this side may be text, by its first byte. Cheap: most flows stop here.
pub(super) fn may_open(own: bool, bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| match first {
        b'A'..=b'Z' => own,
        0x1b | b'\r' | b'\n' | 0x20..=0x7e => true,
        _ => false,
    })
}

/// The peer's turn may begin with a command, or with its first keys.
fn asks(bytes: &[u8], known: bool, whole: bool) -> Opening {
    let bytes = match after_chunk_size(bytes).filter(|_| known) {
        Some([]) if !whole => return Opening::Wait,
        Some(rest) if !rest.is_empty() => rest,
        _ => bytes,
    };
    let line = bytes.get(..LINE).unwrap_or(bytes);
    let end = line.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    if end.is_none() && !whole && line.len() < LINE {
        return Opening::Wait;
    }
    let first = line.get(..end.unwrap_or(line.len())).unwrap_or(line);
    let path = first.starts_with(b"./") || first.starts_with(b"/");
    if commands::of_command(first).is_some() || end.is_some() && path {
        return Opening::Read;
    }
    let length = first.len() + usize::from(end.is_some());
    // Many protocols of lines begin with a short one (Redis: `*3`). Keys come alone.
    match () {
        () if length > 3 => Opening::Pass,
        () if !known || whole && bytes.len() <= 4 => Opening::Read,
        () if whole || bytes.len() > 4 => Opening::Pass,
        () => Opening::Wait,
    }
}

/// What follows the size of a chunk of an HTTP body, where the turn begins with one; nothing, if
/// the turn is no further yet.
fn after_chunk_size(bytes: &[u8]) -> Option<&[u8]> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    match bytes.get(digits..).filter(|_| (1..=8).contains(&digits))? {
        [] | [b'\r'] => Some(&[]),
        [b'\r', b'\n', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The container's turn may begin with what a shell says of its own accord.
fn greets(bytes: &[u8], more: bool, whole: bool) -> Opening {
    const HEADS: [&[u8]; 8] = [
        b"\x1b[?2004h",
        b"\x1b]0;",
        b"bash: ",
        b"/bin/",
        b"sh: ",
        b"Microsoft Windows [",
        b"BusyBox v",
        b"Windows Power",
    ];
    match () {
        () if HEADS.iter().any(|head| bytes.starts_with(head)) => Opening::Read,
        // Output that no command on this flow asked for: one on another may have.
        () if has_output(bytes) => Opening::Read,
        () if more => Opening::Pass,
        () if !whole => Opening::Wait,
        () if signs::of_prompt(bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or(bytes))
            .is_empty() =>
        {
            Opening::Pass
        }
        () => Opening::Read,
    }
}

fn has_output(bytes: &[u8]) -> bool {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let mut lines = bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
    lines.any(|line| !signs::of_line(line.trim_ascii_end()).outputs().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_turn_opens_with_does_not_depend_on_its_segments() {
        let long = "x".repeat(400);
        let prompt = format!("{}\nroot@web-0:/# ", "y".repeat(200));
        for (own, text, expected) in [
            (false, "zz\r\n", Opening::Read),
            (false, "*3\r\n$6\r\nCONFIG", Opening::Pass),
            (false, "id\n", Opening::Read),
            (false, "i", Opening::Read),
            (false, "ls -la /tmp", Opening::Read),
            (false, "hello there\n", Opening::Pass),
            (false, "hello there", Opening::Pass),
            (false, "/opt/tool -v\nmore", Opening::Read),
            (false, "8\r\ncd /etc\n\r\n", Opening::Read),
            (false, "17b\r\nls -la\n", Opening::Read),
            (false, "8\r\nhello there\r\n", Opening::Pass),
            (false, &long, Opening::Pass),
            (true, "bash: no job control in this shell\n", Opening::Read),
            (true, "root@web-0:/# ", Opening::Read),
            (true, &prompt, Opening::Read),
            (true, "total 8\ndrwxr-xr-x 2 root root 40 Jan 1 00:00 .\n", Opening::Read),
            (true, "hello\n", Opening::Pass),
            (true, &long, Opening::Pass),
        ] {
            for cut in [1, 2, 3, 7, 64, 100, 1_000] {
                let mut head = Head::new(1, Side::Originator, Timestamp::from_nanos(0), Some(0));
                let mut opening = Opening::Wait;
                for piece in text.as_bytes().chunks(cut) {
                    let more = !head.push(piece).is_empty();
                    opening = head.opening(own, true, more, false);
                    if opening != Opening::Wait {
                        break;
                    }
                }
                if opening == Opening::Wait {
                    opening = head.opening(own, true, false, true);
                }
                assert_eq!(opening, expected, "{text:?} in pieces of {cut}");
            }
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut heads = Heads::new();
        for flow in 1..=100 {
            heads.put(Head::new(flow, Side::Originator, Timestamp::from_nanos(0), Some(0)));
        }
        assert!(heads.waiting.len() <= HEADS_MAX);
        assert_eq!(heads.evicted(), 100 - HEADS_MAX as u64);
        assert!(heads.take(1).is_none());
        assert!(heads.take(100).is_some() && heads.take(100).is_none());
    }
}
