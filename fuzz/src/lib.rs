//! How the targets read their input. Captures are pcap files, so that a crash opens in any tool that
//! reads those, and a capture from anywhere is a seed.

use std::fmt::Write as _;

use vethwatch::config::Config;
use vethwatch::decode::{Frame, LinkType};
use vethwatch::event::{DnsMessage, Fact, Side};
use vethwatch::proto::{Scratch, Settings, Sink};
use vethwatch::record::{Output, Record, RecordKind};
use vethwatch::time::Timestamp;

/// Frames read of one input (count): keeps an input's run short.
const FRAMES_MAX: usize = 2_048;

/// A pcap file, little-endian, microseconds; whatever its header says of itself is ignored, but
/// for the link type and the choice that a target makes by [`Capture::choice`].
pub struct Capture<'a> {
    pub link_type: LinkType,
    /// A field of the header that no writer uses: accuracy of time stamps.
    pub choice: u8,
    records: &'a [u8],
}

impl<'a> Capture<'a> {
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (header, records) = data.split_first_chunk::<24>()?;
        let number = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
        const LINK_TYPES: [LinkType; 6] = [
            LinkType::Ethernet,
            LinkType::LinuxSll,
            LinkType::LinuxSll2,
            LinkType::RawIp,
            LinkType::Null,
            LinkType::Loop,
        ];
        // Every number means some link type, so that no mutation of it is wasted.
        let link_type =
            LinkType::from_number(number).unwrap_or(LINK_TYPES[number as usize % LINK_TYPES.len()]);
        Some(Self { link_type, choice: header[12], records })
    }

    /// The frames. A record that is longer than what is left holds what is left.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'a>> {
        let (mut rest, link_type) = (self.records, self.link_type);
        std::iter::from_fn(move || {
            let (header, after) = rest.split_first_chunk::<16>()?;
            let word = |at: usize| {
                u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let (bytes, after) = after.split_at((word(8) as usize).min(after.len()));
            rest = after;
            let nanos = u64::from(word(0)) * 1_000_000_000 + u64::from(word(4)) * 1_000;
            let at = Timestamp::from_nanos(nanos);
            Some(Frame { at, link_type, wire_bytes: word(12), bytes })
        })
        .take(FRAMES_MAX)
    }
}

/// What both sides of a flow say, in turns: a byte whose highest bit is the side (and whose other
/// bits are the upper part of a length), a byte of length, that many bytes.
pub fn turns(mut rest: &[u8]) -> impl Iterator<Item = (Side, &[u8])> {
    std::iter::from_fn(move || {
        let ([side, low], after) = rest.split_first_chunk::<2>()?;
        let length = usize::from(side & 0x0f) << 8 | usize::from(*low);
        let (bytes, after) = after.split_at(length.min(after.len()));
        rest = after;
        let side = if side & 0x80 == 0 { Side::Originator } else { Side::Responder };
        Some((side, bytes))
    })
}

/// The default configuration, or one whose every bound is 1.
pub fn config(tight: bool) -> Config {
    if !tight {
        return Config::default();
    }
    let mut tables = toml::Table::try_from(Config::default()).expect("settings are a table");
    for (_, table) in &mut tables {
        for (key, value) in table.as_table_mut().into_iter().flatten() {
            if key.ends_with("_max") || key.ends_with("_bytes") {
                *value = 1.into();
            }
        }
    }
    tables.try_into().expect("1 is a legal bound")
}

/// Prints all that it is given, so that every field is read, and keeps none of it.
pub struct Nothing;

impl Nothing {
    pub fn print(&mut self, what: &dyn std::fmt::Debug) {
        write!(self, "{what:?}").expect("nothing that can fail");
    }
}

impl std::fmt::Write for Nothing {
    fn write_str(&mut self, _text: &str) -> std::fmt::Result {
        Ok(())
    }
}

impl Output for Nothing {
    fn wants(&self, _kind: RecordKind) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Alert(alert) => self.print(alert),
            Record::Flow { flow, .. } => {
                self.print(flow);
                self.print(&flow.community_id());
            }
            Record::Dns { message, .. } => self.print(message),
            Record::Tls { tls, .. } => self.print(tls),
            Record::Stats { stats, .. } => self.print(stats),
        }
    }
}

/// Calls `body` with a sink whose facts are printed.
pub fn with_sink(settings: &Settings, body: impl FnOnce(&mut Sink<'_>)) {
    let mut fact = |fact: Fact<'_>| Nothing.print(&fact);
    body(&mut Sink {
        fact: &mut fact,
        dns: &mut DnsMessage::default(),
        scratch: &mut Scratch::default(),
        settings,
        dns_text: true,
    });
}
