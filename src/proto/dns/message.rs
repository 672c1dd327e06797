//! One DNS message: header, questions, answers, and a walk over the rest for EDNS.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};

use super::name;
use crate::event::{DnsAnswer, DnsData, DnsMessage, DnsQuestion};
use crate::proto::Scratch;

/// Length of the header in bytes.
pub(super) const HEADER_BYTES: usize = 12;

/// Questions kept of one message (count). Real ones have one; mDNS some more.
pub const QUESTIONS_MAX: usize = 32;

/// Answers kept of one message (count). The rest is walked over, and the message marked truncated.
pub const ANSWERS_MAX: usize = 256;

/// Longest text of a record's data in bytes.
pub const TEXT_BYTES_MAX: usize = 512;

/// Shortest question: root, type, class (bytes).
const QUESTION_BYTES_MIN: usize = 5;
/// Shortest record: root, type, class, time to live, length (bytes).
const RECORD_BYTES_MIN: usize = 11;
/// Records of a response that may lie behind its end (count): see [`header_fits_length`].
const RECORDS_CUT_MAX: usize = 64;

const TYPE_OPT: u16 = 41;

/// Why some bytes are no DNS message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a DNS message")]
pub struct NotDns;

/// Opcodes in use: query, inverse query, status, notify, update, stateful operations.
const fn opcode_fits(flags: u16) -> bool {
    matches!((flags >> 11) & 0xf, 0..=2 | 4..=6)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// Identifier, flags, and the number of questions, answers, authorities and additionals. Read here
/// and not by hickory's `Header`: that takes apart all flags, which costs more than a whole question.
fn header(bytes: &[u8]) -> Option<[u16; 6]> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let (words, _) = header.as_chunks::<2>();
    Some(std::array::from_fn(|number| words.get(number).copied().map_or(0, u16::from_be_bytes)))
}

/// Whether these bytes can begin with a DNS header: opcode in use, and no more questions and
/// records than fit. Any other opcode will do where the message fits to its last byte: a sender that
/// tries odd ones speaks DNS too.
pub(super) fn header_fits(bytes: &[u8]) -> bool {
    header_fits_length(bytes, bytes.len())
        && (word(bytes, 2).is_some_and(opcode_fits) || fits_exactly(bytes))
}

/// As [`header_fits`], for the beginning of a message of `length` bytes.
pub(super) fn header_fits_length(bytes: &[u8], length: usize) -> bool {
    let Some([_, flags, questions, answers, authorities, additionals]) = header(bytes) else {
        return false;
    };
    let records = usize::from(answers) + usize::from(authorities) + usize::from(additionals);
    let least = usize::from(questions) * QUESTION_BYTES_MIN;
    let response = flags & 0x8000 != 0;
    // A response may have been cut, by the snap length or on its way, and its records be missing.
    let fits = least + records * RECORD_BYTES_MIN <= length.saturating_sub(HEADER_BYTES)
        || (response && questions <= 1 && records <= RECORDS_CUT_MAX);
    let says_something = questions > 0 || (response && (records > 0 || flags & 0xf != 0));
    fits && says_something && usize::from(questions) <= QUESTIONS_MAX
}

/// Whether less than a header can still become one.
pub(super) fn header_may_fit(bytes: &[u8]) -> bool {
    word(bytes, 2).is_none_or(opcode_fits)
        && word(bytes, 4).is_none_or(|questions| usize::from(questions) <= QUESTIONS_MAX)
}

/// Whether the first question, if there is one, is whole and of a class in use.
pub(super) fn question_fits(bytes: &[u8]) -> bool {
    if word(bytes, 4) == Some(0) {
        return true;
    }
    name::skip(bytes, HEADER_BYTES).and_then(|end| word(bytes, end + 2)).is_some_and(class_fits)
}

/// Internet, Chaos, Hesiod, none, any; with the top bit that mDNS uses.
const fn class_fits(class: u16) -> bool {
    matches!(class & 0x7fff, 1 | 3 | 4 | 254 | 255)
}

/// Whether the message fills these bytes to the last one, with a question of printable labels. For
/// ports on which DNS is not at home.
pub(super) fn fits_exactly(bytes: &[u8]) -> bool {
    let Some([_, _, questions, answers, authorities, additionals]) = header(bytes) else {
        return false;
    };
    let mut at = HEADER_BYTES;
    for _ in 0..questions {
        let Some(end) = name::skip(bytes, at) else { return false };
        let labels = bytes.get(at..end).unwrap_or_default();
        let printable = labels.iter().all(|byte| *byte < 0x7f || *byte >= 0xc0);
        if !printable || !word(bytes, end + 2).is_some_and(class_fits) {
            return false;
        }
        at = end + 4;
    }
    let records = u32::from(answers) + u32::from(authorities) + u32::from(additionals);
    for _ in 0..records {
        let Some(end) = name::skip(bytes, at) else { return false };
        let Some(length) = word(bytes, end + 8) else { return false };
        at = end + 10 + usize::from(length);
    }
    questions > 0 && at == bytes.len()
}

/// Whether this is a NetBIOS name service packet: one name of 32 letters `A` to `P` (RFC 1002).
pub(super) fn netbios_fits(bytes: &[u8]) -> bool {
    let letters = bytes.get(HEADER_BYTES + 1..HEADER_BYTES + 33).unwrap_or_default();
    bytes.get(HEADER_BYTES) == Some(&32)
        && letters.len() == 32
        && letters.iter().all(|letter| (b'A'..=b'P').contains(letter))
}

/// Reads a message into `message`, whose strings and vectors are reused by way of `scratch`.
/// `text` asks for the presentation form of rare record types.
///
/// # Errors
/// The header is implausible, or the first question cannot be read.
pub fn decode(
    bytes: &[u8],
    text: bool,
    message: &mut DnsMessage,
    scratch: &mut Scratch,
) -> Result<(), NotDns> {
    recycle(message, scratch);
    if !header_fits(bytes) {
        return Err(NotDns);
    }
    let Some([id, flags, questions, answers, authorities, additionals]) = header(bytes) else {
        return Err(NotDns);
    };
    message.id = id;
    message.response = flags & 0x8000 != 0;
    message.flags = flags;
    message.rcode = flags & 0xf;
    message.authorities = authorities;
    message.additionals = additionals;
    message.bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    message.truncated = false;

    let mut reader = Reader { bytes, at: HEADER_BYTES, text, scratch };
    let questions = usize::from(questions);
    // Nearly every message has one question: its place and its text are used again.
    message.questions.resize_with(questions, DnsQuestion::default);
    for number in 0..questions {
        let read = message.questions.get_mut(number).and_then(|place| reader.question(place));
        if read.is_none() {
            message.questions.truncate(number);
            message.truncated = true;
            return if number == 0 { Err(NotDns) } else { Ok(()) };
        }
    }
    for _ in 0..answers {
        if message.answers.len() >= ANSWERS_MAX {
            message.truncated = true;
            if reader.skip_record().is_none() {
                return Ok(());
            }
            continue;
        }
        let mut answer = reader.scratch.answers.pop().unwrap_or_else(empty_answer);
        let read = reader.answer(&message.questions, &mut answer);
        message.answers.push(answer);
        if read.is_none() {
            message.answers.pop();
            message.truncated = true;
            return Ok(());
        }
    }
    let rest = u32::from(authorities) + u32::from(additionals);
    for _ in 0..rest {
        match reader.skip_record() {
            // The upper eight bits of the response code (RFC 6891, section 6.1.3).
            Some((TYPE_OPT, ttl)) => message.rcode |= ((ttl >> 24) as u16) << 4,
            Some(_) => {}
            None => {
                message.truncated = true;
                return Ok(());
            }
        }
    }
    message.truncated |= reader.at < bytes.len();
    Ok(())
}

/// Empties a message but for its questions, and keeps its buffers.
fn recycle(message: &mut DnsMessage, scratch: &mut Scratch) {
    while let Some(answer) = message.answers.pop() {
        scratch.give_answer(answer);
    }
}

const fn empty_answer() -> DnsAnswer {
    DnsAnswer {
        name: String::new(),
        rtype: 0,
        ttl_s: 0,
        data: DnsData::Text(String::new()),
        data_bytes: 0,
    }
}

struct Reader<'b, 's> {
    bytes: &'b [u8],
    /// Where the wire goes on.
    at: usize,
    text: bool,
    scratch: &'s mut Scratch,
}

impl Reader<'_, '_> {
    fn question(&mut self, question: &mut DnsQuestion) -> Option<()> {
        self.at = name::read(self.bytes, self.at, &mut question.name)?;
        let [high, low, _class @ ..] = self.take::<4>()?;
        question.qtype = u16::from_be_bytes([*high, *low]);
        Some(())
    }

    fn answer(&mut self, questions: &[DnsQuestion], answer: &mut DnsAnswer) -> Option<()> {
        match (self.bytes.get(self.at..), questions.first()) {
            // Nearly every answer's owner is a pointer to the question: copy its text.
            (Some([0xc0, 12, ..]), Some(question)) => {
                answer.name.clear();
                answer.name.push_str(&question.name);
                self.at += 2;
            }
            _ => self.at = name::read(self.bytes, self.at, &mut answer.name)?,
        }
        (answer.rtype, answer.ttl_s, answer.data_bytes) = self.record()?;
        let start = self.at;
        let data = self.bytes.get(start..start + usize::from(answer.data_bytes))?;
        self.at += data.len();
        let data = self.data(answer.rtype, start, data);
        match std::mem::replace(&mut answer.data, data) {
            DnsData::Name(string) | DnsData::Text(string) => self.scratch.give_string(string),
            DnsData::Address(_) => {}
        }
        Some(())
    }

    /// Type, time to live and data length of a record, behind its name.
    fn record(&mut self) -> Option<(u16, u32, u16)> {
        let [a, b, _, _, c, d, e, f, g, h] = *self.take::<10>()?;
        let rtype = u16::from_be_bytes([a, b]);
        Some((rtype, u32::from_be_bytes([c, d, e, f]), u16::from_be_bytes([g, h])))
    }

    fn take<const N: usize>(&mut self) -> Option<&[u8; N]> {
        let taken = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }

    /// The data of a record, which lies at `start` of the message. What does not fit its type is
    /// left as an empty text.
    fn data(&mut self, rtype: u16, start: usize, data: &[u8]) -> DnsData {
        match (RecordType::from(rtype), data) {
            (RecordType::A, [a, b, c, d]) => {
                return DnsData::Address(Ipv4Addr::new(*a, *b, *c, *d).into());
            }
            (RecordType::AAAA, data) => {
                if let Ok(octets) = <[u8; 16]>::try_from(data) {
                    return DnsData::Address(Ipv6Addr::from(octets).into());
                }
            }
            (RecordType::CNAME | RecordType::NS | RecordType::PTR, _) => {
                return self.data_name(start, 0, data);
            }
            // DNAME (RFC 6672), for which hickory has no type.
            (RecordType::Unknown(39), _) => return self.data_name(start, 0, data),
            (RecordType::MX, _) => return self.data_name(start, 2, data),
            (RecordType::SRV, _) => return self.data_name(start, 6, data),
            _ => {}
        }
        let mut text = self.scratch.take_string();
        if self.text {
            presentation(self.bytes, rtype, start, data, &mut text);
        }
        DnsData::Text(text)
    }

    /// A name behind `skip` bytes of a record's data; it must end with the data.
    fn data_name(&mut self, start: usize, skip: usize, data: &[u8]) -> DnsData {
        let mut text = self.scratch.take_string();
        if data.len() > skip {
            let end = name::read(self.bytes, start + skip, &mut text);
            if end == Some(start + data.len()) {
                return DnsData::Name(text);
            }
            text.clear();
        }
        DnsData::Text(text)
    }

    /// Type and time to live of a record that is not kept.
    fn skip_record(&mut self) -> Option<(u16, u32)> {
        self.at = name::skip(self.bytes, self.at)?;
        let (rtype, ttl, data_bytes) = self.record()?;
        self.at += usize::from(data_bytes);
        (self.at <= self.bytes.len()).then_some((rtype, ttl))
    }
}

/// Writes the presentation form of a record's data, at most [`TEXT_BYTES_MAX`] bytes.
fn presentation(message: &[u8], rtype: u16, start: usize, data: &[u8], text: &mut String) {
    match RecordType::from(rtype) {
        RecordType::TXT | RecordType::Unknown(99) => strings(data, text),
        RecordType::SOA => soa(message, start, data, text).unwrap_or_default(),
        // Names in other types are not compressed (RFC 3597, section 4), so the data is read by
        // itself: no pointer leads out of it.
        known => {
            let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
            match RData::read(&mut BinDecoder::new(data), known, Restrict::new(length)) {
                Ok(RData::Unknown { .. } | RData::NULL(_)) | Err(_) => generic(data, text),
                Ok(parsed) => {
                    let _ = write!(text, "{parsed}");
                }
            }
        }
    }
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// Character strings (TXT), one after the other with a space between them; odd bytes as `\NNN`.
fn strings(data: &[u8], text: &mut String) {
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let string = after.get(..usize::from(*length)).unwrap_or(after);
        rest = &after[string.len()..];
        if !text.is_empty() {
            text.push(' ');
        }
        for byte in string {
            if (b' '..0x7f).contains(byte) && *byte != b'\\' {
                text.push(char::from(*byte));
            } else {
                let _ = write!(text, "\\{byte:03}");
            }
        }
        if text.len() > TEXT_BYTES_MAX {
            return;
        }
    }
}

fn soa(message: &[u8], start: usize, data: &[u8], text: &mut String) -> Option<()> {
    let mut name = String::new();
    let mut at = name::read(message, start, &mut name)?;
    text.push_str(&name);
    at = name::read(message, at, &mut name)?;
    let _ = write!(text, " {name}");
    let numbers = message.get(at..start + data.len())?;
    for number in numbers.chunks_exact(4) {
        let _ = write!(text, " {}", u32::from_be_bytes(number.try_into().ok()?));
    }
    Some(())
}

/// The form for types without one of their own (RFC 3597, section 5): `\# 3 010203`.
fn generic(data: &[u8], text: &mut String) {
    let _ = write!(text, "\\# {} ", data.len());
    for byte in data.iter().take(TEXT_BYTES_MAX / 2) {
        let _ = write!(text, "{byte:02x}");
    }
}
