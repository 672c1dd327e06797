//! The record layer of one direction, and handshake messages out of its records.

use super::{CERTIFICATE, CLIENT_HELLO, SERVER_HELLO};
use crate::proto::Match;

/// Longest record in bytes: 16 KiB and what encryption may add (RFC 5246, section 6.2.3).
const RECORD_BYTES_MAX: usize = 16_384 + 2_048;

/// First byte of the greatest length.
pub(super) const LENGTH_HIGH_MAX: u8 = (RECORD_BYTES_MAX >> 8) as u8;

/// Longest hello in the form of SSL 2 that is read, in bytes. Real ones have some 130.
const SSLV2_BYTES_MAX: usize = 1_024;

const HEADER_BYTES: usize = 5;

/// What a record carries.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Content {
    ChangeCipherSpec,
    Alert,
    #[default]
    Handshake,
    ApplicationData,
    Heartbeat,
}

/// The next thing in a direction.
pub(super) enum Piece<'a> {
    /// A record of this length in bytes begins.
    Record(Content, usize),
    /// A part of a record with handshake messages in plain.
    Handshake(&'a [u8]),
    /// Nothing without more bytes.
    More,
    /// Not a record.
    Broken,
}

/// One direction.
#[derive(Default)]
pub(super) struct Half {
    /// A record's header, as far as it came.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// What the record carries, and how much of it is to come (bytes).
    content: Content,
    left: usize,
    /// A handshake message that is of interest and incomplete.
    held: Vec<u8>,
    /// Bytes to come of a handshake message of which no more is of interest.
    skip: usize,
    /// Bytes that passed.
    pub(super) passed: usize,
    /// A message that is read was lost in part.
    pub(super) lost: bool,
    /// A ChangeCipherSpec passed.
    pub(super) changed: bool,
    /// Something encrypted passed.
    pub(super) ciphered: bool,
}

impl Half {
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Piece<'a> {
        while self.left > 0 {
            let (part, rest) = bytes.split_at(self.left.min(bytes.len()));
            if part.is_empty() {
                return Piece::More;
            }
            *bytes = rest;
            self.left -= part.len();
            if self.content == Content::Handshake && !self.ciphered {
                return Piece::Handshake(part);
            }
        }
        while let Some(place) = self.header.get_mut(self.header_bytes) {
            let Some((first, rest)) = bytes.split_first() else { return Piece::More };
            *place = *first;
            self.header_bytes += 1;
            *bytes = rest;
        }
        self.header_bytes = 0;
        let [kind, major, minor, high, low] = self.header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if major != 3 || minor > 4 || length > RECORD_BYTES_MAX {
            return Piece::Broken;
        }
        self.content = match kind {
            20 => Content::ChangeCipherSpec,
            21 => Content::Alert,
            22 => Content::Handshake,
            23 => Content::ApplicationData,
            24 => Content::Heartbeat,
            _ => return Piece::Broken,
        };
        self.left = length;
        Piece::Record(self.content, length)
    }

    /// Takes a part of the handshake stream and passes on the messages of interest: kind, and body
    /// as far as it is of interest. False if one is longer than `bytes_max`.
    pub(super) fn messages(
        &mut self,
        fragment: &[u8],
        bytes_max: usize,
        mut take: impl FnMut(u8, &[u8]),
    ) -> bool {
        let mut rest = fragment;
        loop {
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            rest = &rest[skipped..];
            if rest.is_empty() {
                return true;
            }
            if self.held.is_empty() {
                let needed = needed(rest);
                if let Some(message) = rest.get(..needed) {
                    self.skip = length(message).saturating_sub(needed);
                    rest = &rest[needed..];
                    take(message[0], &message[4..]);
                    continue;
                }
            }
            let needed = needed(&self.held);
            if needed > bytes_max {
                return false;
            }
            let (part, after) = rest.split_at((needed - self.held.len()).min(rest.len()));
            self.held.extend_from_slice(part);
            rest = after;
            if self.held.len() >= self::needed(&self.held) {
                self.skip = length(&self.held).saturating_sub(self.held.len());
                take(self.held[0], &self.held[4..]);
                self.held = Vec::new();
            }
        }
    }

    /// Passes over lost bytes, if all of them lie where nothing is read, or in one message that is read:
    /// what comes after it shows whether this is TLS at all.
    pub(super) fn skip(&mut self, bytes: u64) -> bool {
        let Ok(bytes) = usize::try_from(bytes) else { return false };
        if bytes > self.left {
            return false;
        }
        if self.content == Content::Handshake && !self.ciphered {
            if bytes > self.skip {
                let rest = length(&self.held).checked_sub(self.held.len());
                match rest.filter(|rest| self.held.len() >= 4 && bytes <= *rest) {
                    Some(rest) => self.skip = rest,
                    None => return false,
                }
                self.held = Vec::new();
                self.lost = true;
            }
            self.skip -= bytes;
        }
        self.left -= bytes;
        true
    }

    /// Collects a hello in the form of SSL 2 off `bytes`, and returns it when it is whole.
    pub(super) fn sslv2(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        loop {
            let needed = match self.held.as_slice() {
                [high, low, ..] => 2 + usize::from(u16::from_be_bytes([high & 0x7f, *low])),
                _ => 2,
            };
            if needed > 2 && (self.held.len() >= needed || needed > SSLV2_BYTES_MAX) {
                self.passed += self.held.len();
                return Some(std::mem::take(&mut self.held));
            }
            let (part, rest) = bytes.split_at((needed - self.held.len()).min(bytes.len()));
            if part.is_empty() {
                return None;
            }
            self.held.extend_from_slice(part);
            *bytes = rest;
        }
    }
}

/// Whole length of the message that begins so, in bytes.
fn length(message: &[u8]) -> usize {
    match message {
        [_, a, b, c, ..] => 4 + word24(*a, *b, *c),
        _ => 4,
    }
}

/// How much of the message that begins so is of interest, in bytes: hellos whole, of a certificate
/// chain the first, of others the header.
fn needed(message: &[u8]) -> usize {
    match message {
        [CLIENT_HELLO | SERVER_HELLO, _, _, _, ..] => length(message),
        [CERTIFICATE, _, _, _, _, _, _, a, b, c, ..] => {
            length(message).min(10 + word24(*a, *b, *c))
        }
        [CERTIFICATE, _, _, _, ..] => length(message).min(10),
        _ => 4,
    }
}

fn word24(a: u8, b: u8, c: u8) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

/// Records of application data, one after the other: a stream that was picked up midway.
pub(super) fn probe_midstream(bytes: &[u8]) -> Match {
    let mut rest = bytes;
    let mut records = 0;
    loop {
        let [kind, major, minor, high, low] = match rest {
            [a, b, c, d, e, ..] => [*a, *b, *c, *d, *e],
            [] if records > 0 => return Match::Yes,
            _ => return Match::Maybe,
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != 23 || major != 3 || minor > 4 || length == 0 || length > RECORD_BYTES_MAX {
            return Match::No;
        }
        records += 1;
        if records == 3 {
            return Match::Yes;
        }
        let Some(after) = rest.get(HEADER_BYTES + length..) else { return Match::Maybe };
        rest = after;
    }
}
