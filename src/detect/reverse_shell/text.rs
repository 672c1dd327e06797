//! A conversation as text: lines out of both directions, whichever way they were cut into
//! segments, and how much they look like a shell that the peer drives.

use super::Settings;
use super::commands::{self, Verb};
use super::signs::{self, Signs};
use crate::time::Timestamp;

/// Bytes of a line that are looked at; what follows up to its end is passed over.
const LINE: usize = 96;

/// Where a terminal's control sequence stands (ECMA-48).
#[derive(Clone, Copy, Default, PartialEq)]
enum Escape {
    #[default]
    None,
    Started,
    /// Inside `ESC [`; the flag says that only `?2004` has followed so far, by its length.
    Control(u8),
    /// Inside `ESC ]`: a window title.
    Title,
}

/// One direction's unfinished line.
struct Line {
    bytes: [u8; LINE],
    length: u8,
    escape: Escape,
    /// Position in the stream after the last byte taken.
    next: u64,
    /// Bytes taken, and those of them that are no text (count).
    taken: u32,
    odd: u32,
    /// More than a quarter of at least 64 bytes is no text: three quarters of 7-bit characters are
    /// what Zhang & Paxson's detector of interactive traffic asks for (USENIX Security 2000).
    binary: bool,
    /// Hash of the last whole line.
    last: u32,
}

/// What a byte did to its line.
enum Fed {
    Nothing,
    /// The line is whole.
    Ended,
    /// A terminal was told to bracket what is pasted: an interactive shell asks for input.
    PasteMode,
}

impl Line {
    const fn new() -> Self {
        Self {
            bytes: [0; LINE],
            length: 0,
            escape: Escape::None,
            next: 0,
            taken: 0,
            odd: 0,
            binary: false,
            last: 0,
        }
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    const fn clear(&mut self) {
        self.length = 0;
        self.escape = Escape::None;
    }

    /// `length` bytes follow at `offset`; after a gap, what came before it is no part of the line.
    const fn place(&mut self, offset: Option<u64>, length: usize) {
        if let Some(offset) = offset {
            if self.next != offset {
                self.clear();
            }
            self.next = offset;
        }
        self.next = self.next.saturating_add(length as u64);
    }

    fn feed(&mut self, byte: u8) -> Fed {
        const PASTE: &[u8] = b"?2004h";
        self.taken = self.taken.saturating_add(1);
        // Looked at every 64 bytes, wherever segments end.
        if self.taken.is_multiple_of(64) {
            self.binary |= self.odd * 4 > self.taken;
        }
        match self.escape {
            Escape::None => {}
            Escape::Started => {
                self.escape = match byte {
                    b'[' => Escape::Control(0),
                    b']' => Escape::Title,
                    _ => Escape::None,
                };
                return Fed::Nothing;
            }
            Escape::Control(matched) => {
                let fits = PASTE.get(usize::from(matched)) == Some(&byte);
                let whole = fits && usize::from(matched) + 1 == PASTE.len();
                self.escape = match byte {
                    0x40..=0x7e => Escape::None,
                    _ if fits => Escape::Control(matched + 1),
                    _ => Escape::Control(u8::MAX),
                };
                return if whole { Fed::PasteMode } else { Fed::Nothing };
            }
            Escape::Title => {
                if matches!(byte, 0x07 | 0x1b) {
                    self.escape = Escape::None;
                }
                return Fed::Nothing;
            }
        }
        match byte {
            b'\n' | b'\r' => return Fed::Ended,
            0x1b => self.escape = Escape::Started,
            0x08 | 0x7f => self.length = self.length.saturating_sub(1),
            0x03 | 0x15 => self.length = 0,
            0x20..=0x7e | b'\t' => self.push(byte),
            0x00 | 0x07 => {}
            _ => {
                self.odd = self.odd.saturating_add(1);
                self.push(byte);
            }
        }
        Fed::Nothing
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }
}

/// A text conversation, from the container's side.
pub(super) struct Text {
    own: Line,
    peer: Line,
    /// Verbs of the peer that the container answered, by place in the table of verbs.
    strong: u128,
    weak: u128,
    /// What the container said, and what the peer said.
    own_signs: Signs,
    peer_signs: Signs,
    /// Verbs of the peer that wait for an answer, strong and weak, and since when.
    asked: Option<(u128, u128, Timestamp)>,
    first_verb: Option<u8>,
    /// Whole lines of the peer, those of them that start with a command, and times that the
    /// container answered lines (count).
    lines: u32,
    commands: u32,
    answered: u32,
    /// Lines of the peer that are one word of base64 or hexadecimal digits (count).
    encoded: u32,
    /// Lines that one side sent and the other repeated: an echo shows who types (count).
    own_echoes: u16,
    peer_echoes: u16,
    prompts: u16,
    login: bool,
    root: bool,
    /// Something was learnt since it was last judged.
    news: bool,
}

/// How much a conversation looks like a shell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Sum of evidence; see [`Text::read`].
    pub(super) points: u32,
    /// What the container's output was recognised as.
    pub(super) signs: Signs,
    /// Its output or prompt is root's.
    pub(super) root: bool,
    /// Lines of the peer that start with a command (count).
    pub(super) commands: u32,
    /// Distinct commands that were answered (count).
    pub(super) distinct_commands: u32,
    pub(super) first_command: Option<&'static str>,
    /// The container asked for a login first, as a remote login service does.
    pub(super) login: bool,
    pub(super) echoes: u16,
}

impl Text {
    pub(super) const fn new() -> Self {
        Self {
            own: Line::new(),
            peer: Line::new(),
            strong: 0,
            weak: 0,
            own_signs: Signs::NONE,
            peer_signs: Signs::NONE,
            asked: None,
            first_verb: None,
            lines: 0,
            commands: 0,
            answered: 0,
            encoded: 0,
            own_echoes: 0,
            peer_echoes: 0,
            prompts: 0,
            login: false,
            root: false,
            news: false,
        }
    }

    /// Takes bytes of the peer at a position of its stream (`None`: right after the last), up to
    /// the first place that teaches something. Returns how many, and whether there was such a place.
    pub(super) fn hear_peer(
        &mut self,
        at: Timestamp,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> (usize, bool) {
        if self.see_prompt() | self.take_news() {
            return (0, true);
        }
        self.peer.place(offset, bytes.len());
        for byte in bytes {
            match self.peer.feed(*byte) {
                Fed::Nothing => {}
                Fed::PasteMode => self.peer_signs.add(Signs::PASTE_MODE),
                // A command teaches something once it is answered.
                Fed::Ended => self.end_peer_line(at),
            }
        }
        (bytes.len(), false)
    }

    /// The same for bytes of the container. What a command's answer is shows at the end of a line.
    pub(super) fn hear_own(
        &mut self,
        at: Timestamp,
        offset: Option<u64>,
        bytes: &[u8],
        settings: &Settings,
    ) -> (usize, bool) {
        self.news |= self.take_answer(at, settings);
        let prompt = signs::of_prompt(self.peer.text());
        self.peer_signs.add(prompt);
        for (index, byte) in bytes.iter().enumerate() {
            self.own.place(offset.map(|offset| offset + index as u64), 1);
            let told = match self.own.feed(*byte) {
                Fed::Nothing => false,
                Fed::PasteMode => {
                    self.news |= !self.own_signs.has(Signs::PASTE_MODE);
                    self.own_signs.add(Signs::PASTE_MODE);
                    true
                }
                Fed::Ended => {
                    self.news |= self.end_own_line();
                    true
                }
            };
            if told && self.take_news() {
                return (index + 1, true);
            }
        }
        (bytes.len(), false)
    }

    /// Whether something was learnt that was not yet judged.
    pub(super) const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.news, false)
    }

    /// The container fell silent or the peer speaks: its unfinished line may be a prompt.
    pub(super) fn see_prompt(&mut self) -> bool {
        let prompt = signs::of_prompt(self.own.text());
        if prompt.is_empty() {
            let text = self.own.text().trim_ascii_end();
            self.login |= text.ends_with(b"ogin:") || text.ends_with(b"assword:");
            return false;
        }
        self.prompts = self.prompts.saturating_add(1);
        self.root |= self.own.text().trim_ascii_end().ends_with(b"#");
        self.own_signs.add(prompt);
        // The prompt is read; what the peer's echo appends to it is a line of its own.
        self.own.clear();
        true
    }

    fn end_peer_line(&mut self, at: Timestamp) {
        let line = self.peer.text().trim_ascii();
        if line.is_empty() {
            self.peer.clear();
            return;
        }
        let hash = hash(line);
        self.peer_signs.add(signs::of_line(line));
        if hash == self.own.last {
            self.peer_echoes = self.peer_echoes.saturating_add(1);
        } else {
            let verb = commands::of_command(line);
            self.lines = self.lines.saturating_add(1);
            self.commands = self.commands.saturating_add(u32::from(verb.is_some()));
            self.encoded = self.encoded.saturating_add(u32::from(is_encoded(line)));
            let (strong, weak, _) = self.asked.unwrap_or_default();
            self.asked = Some(match verb {
                Some(Verb::Strong(index)) => {
                    self.first_verb.get_or_insert(index);
                    (strong | 1 << index, weak, at)
                }
                Some(Verb::Weak(index)) => (strong, weak | 1 << index, at),
                None => (strong, weak, at),
            });
        }
        self.peer.last = hash;
        self.peer.clear();
    }

    fn take_answer(&mut self, at: Timestamp, settings: &Settings) -> bool {
        let Some((strong, weak, asked)) = self.asked.take() else { return false };
        if at.seconds_since(asked) > settings.output_within_s {
            return false;
        }
        self.answered = self.answered.saturating_add(1);
        self.strong |= strong;
        self.weak |= weak;
        true
    }

    fn end_own_line(&mut self) -> bool {
        let line = self.own.text().trim_ascii_end();
        let sign = signs::of_line(line);
        let learnt = !sign.is_empty() && !self.own_signs.has(sign);
        self.own_signs.add(sign);
        self.root |= line.starts_with(b"uid=0");
        let typed = line.trim_ascii_start();
        if !typed.is_empty() {
            let hash = hash(typed);
            if hash == self.peer.last {
                self.own_echoes = self.own_echoes.saturating_add(1);
            }
            self.own.last = hash;
        }
        self.own.clear();
        learnt
    }

    /// Neither side speaks text.
    pub(super) const fn is_binary(&self) -> bool {
        self.own.binary || self.peer.binary
    }

    /// Readable, and long enough to say so: what is no shell by its words then hardly is one.
    pub(super) const fn is_readable(&self) -> bool {
        let encoded = self.encoded > 0 && self.encoded * 4 >= self.lines * 3;
        !self.is_binary() && !encoded && self.own.taken >= 16 && self.peer.taken >= 4
    }

    /// Adds up the evidence.
    ///
    /// A distinct command that was answered counts 2 (1 if it may be an English word), at most 6;
    /// a kind of output that shells and their tools write counts 3, at most 9; what only an
    /// interactive shell says counts 4 the first time; a prompt 2, a bare one 1; an echo 1. `known`
    /// says that the stream began as another protocol: then prompts and echoes count nothing.
    /// Without a known command, output counts only beside what interactive shells alone say.
    pub(super) fn read(&self, known: bool) -> Reading {
        let strong = self.strong.count_ones();
        let weak = (self.weak & !self.strong).count_ones();
        let outputs = self.own_signs.outputs();
        let banner = self.own_signs.has(Signs::BANNER);
        let mut points = (2 * strong + weak).min(6) + (3 * outputs.count()).min(9);
        points += u32::from(banner);
        if !known {
            points += match () {
                () if self.own_signs.has(Signs::PROMPT) => 2,
                () if self.own_signs.has(Signs::BARE_PROMPT) => 1,
                () => 0,
            };
            points += u32::from(self.own_echoes > 0) + u32::from(self.prompts >= 3);
        }
        let asked = self.answered > 0 || banner && self.own_signs.has(Signs::PROMPT);
        let shell = strong > 0
            || banner
            || self.answered > 0 && self.own_signs.has(Signs::PROMPT)
            || weak > 0 && !self.own_signs.shell_only().is_empty();
        // The peer says what shells say: then the container is the one who types, unless what it
        // wrote in answer to commands is a shell's output itself.
        let reversed = !self.peer_signs.outputs().is_empty()
            || self.peer_signs.has(Signs::PROMPT)
            || u32::from(self.peer_echoes) > self.commands;
        let own_output = strong > 0 && !outputs.is_empty();
        if !asked || !shell || reversed && !own_output || known && outputs.is_empty() {
            points = 0;
        }
        Reading {
            points,
            signs: self.own_signs,
            root: self.root,
            commands: self.commands,
            distinct_commands: strong + weak,
            first_command: self.first_verb.map(Verb::name),
            login: self.login,
            echoes: self.own_echoes,
        }
    }
}

/// One word of base64 or hexadecimal digits, long enough to be neither a command nor a name.
fn is_encoded(line: &[u8]) -> bool {
    line.len() >= 8
        && line.len().is_multiple_of(4)
        && line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte))
        && (line.ends_with(b"=") || line.iter().any(u8::is_ascii_digit))
}

/// FNV-1a: only to tell lines apart, never a key.
fn hash(line: &[u8]) -> u32 {
    line.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
