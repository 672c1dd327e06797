//! One direction's unfinished line, however it was cut into segments, with a terminal's control
//! sequences removed.

/// Bytes of a line that are looked at; what follows up to its end is passed over.
pub(super) const LINE: usize = 96;

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
pub(super) struct Line {
    bytes: [u8; LINE],
    length: u8,
    escape: Escape,
    /// Position in the stream after the last byte taken.
    next: u64,
    /// Bytes taken, and those of them that are no text (count).
    pub(super) taken: u32,
    odd: u32,
    /// White space among the bytes taken, and keys of JSON (`":`; count).
    pub(super) blanks: u16,
    pub(super) keys: u16,
    /// More than a quarter of at least 64 bytes is no text: three quarters of 7-bit characters are
    /// what Zhang & Paxson's detector of interactive traffic asks for (USENIX Security 2000).
    pub(super) binary: bool,
    /// Hash of the last whole line.
    pub(super) last: u32,
}

/// What a byte did to its line.
pub(super) enum Fed {
    Nothing,
    /// The line is whole.
    Ended,
    /// A terminal was told to bracket what is pasted: an interactive shell asks for input.
    PasteMode,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; LINE],
            length: 0,
            escape: Escape::None,
            next: 0,
            taken: 0,
            odd: 0,
            blanks: 0,
            keys: 0,
            binary: false,
            last: 0,
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    pub(super) const fn clear(&mut self) {
        self.length = 0;
        self.escape = Escape::None;
    }

    /// `length` bytes follow at `offset`; after a gap, what came before it is no part of the line.
    pub(super) const fn place(&mut self, offset: Option<u64>, length: usize) {
        if let Some(offset) = offset {
            if self.next != offset {
                self.clear();
            }
            self.next = offset;
        }
        self.next = self.next.saturating_add(length as u64);
    }

    pub(super) fn feed(&mut self, byte: u8) -> Fed {
        const PASTE: &[u8] = b"?2004h";
        self.taken = self.taken.saturating_add(1);
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => self.blanks = self.blanks.saturating_add(1),
            b':' if self.text().ends_with(b"\"") => self.keys = self.keys.saturating_add(1),
            _ => {}
        }
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
