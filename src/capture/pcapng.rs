//! pcapng through the `pcap-parser` crate, which tells each frame's interface.

use std::io::{Cursor, Read};
use std::ops::Range;

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{
    Block, InterfaceDescriptionBlock, OptionCode, PcapBlockOwned, PcapError, PcapNGReader,
};

use super::compressed::Stream;
use super::damage::{Damage, DamageKind, Origin};
use super::libpcap::link_type_name;
use super::{CONTAINER_LINK, Interface, Next, Source, pod};
use crate::container::Named;
use crate::decode::{Frame, LinkType};
use crate::event::LinkId;
use crate::time::Timestamp;

/// Bytes read ahead.
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes in which the first block is expected to fit.
const HEAD_BYTES: usize = 4 << 10;
/// A block larger than this is taken for damage (bytes; libpcap's own limit).
const BLOCK_BYTES_MAX: usize = 16 << 20;
/// A file with more interfaces than this is taken for damage (count).
const INTERFACES_MAX: usize = 4_096;
/// Where a packet's data begins in an Enhanced Packet Block, and in the Packet Block that it
/// replaced (bytes).
const PACKET_DATA_AT: usize = 28;
/// Where a packet's data begins in a Simple Packet Block (bytes).
const SIMPLE_PACKET_DATA_AT: usize = 12;
/// Type of the Packet Block, obsolete since 2004 and still met in old files.
const PACKET_BLOCK: u32 = 2;

/// Reads a pcapng file: any number of sections, of interfaces and of link types.
pub struct PcapngReader {
    reader: PcapNGReader<Stream>,
    buffer_bytes: usize,
    /// Bytes of the block last handed out, to be given back before the next.
    held: usize,
    big_endian: bool,
    /// Interfaces of this section, by number.
    interfaces: Vec<SectionInterface>,
    /// Links of the file, with the interface's number in its section.
    links: Vec<(usize, Interface)>,
    /// An interface met while opening.
    pending: Option<LinkId>,
    skipped: Vec<(String, u64)>,
    latest: Timestamp,
    frames: u64,
    origin: Origin,
}

impl std::fmt::Debug for PcapngReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcapngReader")
            .field("origin", &self.origin)
            .field("links", &self.links)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// An interface of the current section.
#[derive(Clone, Debug)]
struct SectionInterface {
    /// `None` where its link type cannot be decoded.
    link: Option<(LinkId, LinkType)>,
    /// Index into `skipped`, where there is no link.
    skipped: usize,
    clock: Clock,
    snaplen: u32,
}

/// How an interface writes time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Nanoseconds per unit, where that is a whole number; else 0.
    unit_ns: u64,
    /// Units per second; 0 where that is more than can be counted.
    per_second: u128,
    offset_s: i64,
}

impl Clock {
    /// From `if_tsresol` and `if_tsoffset`.
    fn new(resolution: u8, offset_s: i64) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
        let per_second = base.checked_pow(exponent).unwrap_or(0);
        let unit_ns = if per_second > 0 && 1_000_000_000 % per_second == 0 {
            (1_000_000_000 / per_second) as u64
        } else {
            0
        };
        Self { unit_ns, per_second, offset_s }
    }

    fn timestamp(self, high: u32, low: u32) -> Timestamp {
        let units = u64::from(high) << 32 | u64::from(low);
        let nanos = if self.unit_ns > 0 {
            units.saturating_mul(self.unit_ns)
        } else {
            let nanos = (u128::from(units) * 1_000_000_000).checked_div(self.per_second);
            u64::try_from(nanos.unwrap_or(0)).unwrap_or(u64::MAX)
        };
        let offset_ns = self.offset_s.saturating_mul(1_000_000_000);
        Timestamp::from_nanos(nanos.saturating_add_signed(offset_ns))
    }
}

/// What one block gave, free of borrows.
enum Step {
    /// A new link.
    Link(LinkId),
    /// A frame; its bytes lie in this range of the reader's data.
    Frame { link: LinkId, link_type: LinkType, at: Timestamp, wire_bytes: u32, bytes: Range<usize> },
    /// A container's link is gone.
    Gone(LinkId),
    /// A frame of an interface that cannot be decoded; its index in `skipped`.
    Skipped(usize),
    /// No more.
    End,
}

/// A packet block, whichever its type.
struct PacketBlock {
    interface: usize,
    /// High and low half of the time stamp; `None` where the block has none.
    time: Option<(u32, u32)>,
    wire_bytes: u32,
    bytes: Range<usize>,
}

/// What an interface's block says of it.
struct Described {
    name: Option<String>,
    snaplen: u32,
    of_container: bool,
    pod: Option<Box<Named>>,
}

/// What a block means.
enum Meaning {
    Section { big_endian: bool },
    Interface { number: i32, described: Described, clock: Clock },
    Packet(PacketBlock),
    Statistics { interface: usize },
    Nothing,
    Damage(&'static str),
}

/// Why a pcapng file cannot be opened.
pub(super) enum OpenError {
    /// What is wrong.
    Damaged(String),
    /// Its only interfaces so far have this link type.
    LinkType(String),
}

impl PcapngReader {
    /// Opens a stream that begins with a section header.
    pub(super) fn new(stream: Stream, origin: Origin) -> Result<Self, OpenError> {
        let mut stream = stream;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        // The crate wants the first block whole in its first read, which a pipe may not give.
        let read = (&mut stream).take(HEAD_BYTES as u64).read_to_end(&mut head);
        read.map_err(|error| OpenError::Damaged(error.to_string()))?;
        let stream: Stream = Box::new(Cursor::new(head).chain(stream));
        let reader = PcapNGReader::new(BUFFER_BYTES, stream).map_err(|error| {
            OpenError::Damaged(match error {
                PcapError::Incomplete(_) => "it ends inside its first block".to_owned(),
                _ => "its section header is damaged".to_owned(),
            })
        })?;
        let mut this = Self {
            reader,
            buffer_bytes: BUFFER_BYTES,
            held: 0,
            big_endian: false,
            interfaces: Vec::new(),
            links: Vec::new(),
            pending: None,
            skipped: Vec::new(),
            latest: Timestamp::default(),
            frames: 0,
            origin,
        };
        match this.step() {
            Step::Link(link) => this.pending = Some(link),
            Step::Skipped(index) => {
                return Err(OpenError::LinkType(this.skipped[index].0.clone()));
            }
            Step::Frame { .. } | Step::Gone(_) | Step::End => {}
        }
        Ok(this)
    }

    /// Takes blocks until one gives something.
    fn step(&mut self) -> Step {
        if self.origin.ended() {
            return Step::End;
        }
        loop {
            let held = std::mem::take(&mut self.held);
            if held > 0 {
                self.reader.consume(held);
            }
            let meaning = match self.reader.next() {
                Ok((length, block)) => {
                    self.held = length;
                    Meaning::of(&block, self.big_endian)
                }
                Err(PcapError::Eof) => return self.end(None),
                Err(PcapError::UnexpectedEof) => return self.end(Some(DamageKind::CutOff)),
                Err(PcapError::Incomplete(_)) => {
                    if self.reader.refill().is_err() {
                        return self.end(Some(DamageKind::Corrupt("it cannot be read".into())));
                    }
                    continue;
                }
                Err(PcapError::BufferTooSmall) => {
                    self.buffer_bytes *= 2;
                    if self.buffer_bytes > 2 * BLOCK_BYTES_MAX
                        || !self.reader.grow(self.buffer_bytes)
                    {
                        let reason = format!("a block claims more than {BLOCK_BYTES_MAX} bytes");
                        return self.end(Some(DamageKind::Corrupt(reason)));
                    }
                    continue;
                }
                Err(_) => Meaning::Damage("a block contradicts itself"),
            };
            match self.take(meaning) {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(reason) => return self.end(Some(DamageKind::Corrupt(reason.to_owned()))),
            }
        }
    }

    fn take(&mut self, meaning: Meaning) -> Result<Option<Step>, &'static str> {
        match meaning {
            Meaning::Section { big_endian } => {
                self.big_endian = big_endian;
                self.interfaces.clear();
                Ok(None)
            }
            Meaning::Interface { number, described, clock } => {
                self.interface(number, described, clock)
            }
            Meaning::Packet(packet) => self.packet(packet).map(Some),
            Meaning::Statistics { interface } => {
                // Of others' interfaces it says nothing that matters here.
                let link = self.interfaces.get(interface).and_then(|known| known.link);
                let of_container = |link: &LinkId| {
                    let known = self.links.get(link.0 as usize);
                    known.is_some_and(|(_, link)| link.of_container || link.pod.is_some())
                };
                Ok(link.map(|(link, _)| link).filter(of_container).map(Step::Gone))
            }
            Meaning::Nothing => Ok(None),
            Meaning::Damage(reason) => Err(reason),
        }
    }

    fn interface(
        &mut self,
        number: i32,
        described: Described,
        clock: Clock,
    ) -> Result<Option<Step>, &'static str> {
        let Described { name, snaplen, of_container, pod } = described;
        let place = self.interfaces.len();
        if place >= INTERFACES_MAX {
            return Err("it has too many interfaces");
        }
        let Some(link_type) = u32::try_from(number).ok().and_then(LinkType::from_number) else {
            let name = link_type_name(number);
            let known = self.skipped.iter().position(|(skipped, _)| *skipped == name);
            let skipped = known.unwrap_or_else(|| {
                self.skipped.push((name, 0));
                self.skipped.len() - 1
            });
            self.interfaces.push(SectionInterface { link: None, skipped, clock, snaplen });
            return Ok(None);
        };
        // The same interface, described again by a later section, stays one link.
        let described = (place, Interface { name, link_type, snaplen, of_container, pod });
        let known = self.links.iter().position(|link| *link == described);
        let index = match known {
            Some(index) => index,
            None if self.links.len() >= INTERFACES_MAX => return Err("it has too many interfaces"),
            None => {
                self.links.push(described);
                self.links.len() - 1
            }
        };
        let link = LinkId(index as u32);
        let entry = SectionInterface { link: Some((link, link_type)), skipped: 0, clock, snaplen };
        self.interfaces.push(entry);
        Ok(known.is_none().then_some(Step::Link(link)))
    }

    fn packet(&mut self, packet: PacketBlock) -> Result<Step, &'static str> {
        let PacketBlock { interface, time, wire_bytes, bytes } = packet;
        let Some(interface) = self.interfaces.get(interface) else {
            return Err("a packet names an interface that was never described");
        };
        let Some((link, link_type)) = interface.link else {
            return Ok(Step::Skipped(interface.skipped));
        };
        let at = match time {
            Some((high, low)) => interface.clock.timestamp(high, low),
            None => self.latest,
        };
        // Simple packets say only how long they were on the wire.
        let captured = match interface.snaplen {
            0 => bytes.len(),
            snaplen if time.is_none() => bytes.len().min(snaplen as usize),
            _ => bytes.len(),
        };
        let bytes = bytes.start..bytes.start + captured;
        self.latest = at;
        self.frames += 1;
        Ok(Step::Frame { link, link_type, at, wire_bytes, bytes })
    }

    fn end(&mut self, kind: Option<DamageKind>) -> Step {
        let consumed = self.reader.consumed() as u64;
        self.origin.end(kind, self.frames, consumed);
        for (link_type, frames) in std::mem::take(&mut self.skipped) {
            if frames > 0 {
                let kind = DamageKind::Skipped { frames, link_type };
                self.origin.add(kind, self.frames, consumed);
            }
        }
        Step::End
    }
}

impl Source for PcapngReader {
    fn next(&mut self) -> Next<'_> {
        let mut step = match self.pending.take() {
            Some(link) => Step::Link(link),
            None => self.step(),
        };
        while let Step::Skipped(index) = step {
            self.skipped[index].1 += 1;
            step = self.step();
        }
        match step {
            Step::Link(link) => match self.links.get(link.0 as usize) {
                Some((_, interface)) => Next::Link(link, interface.clone()),
                None => Next::End,
            },
            Step::Frame { link, link_type, at, wire_bytes, bytes } => {
                let bytes = self.reader.data().get(bytes).unwrap_or_default();
                Next::Frame(link, Frame { at, link_type, wire_bytes, bytes })
            }
            Step::Gone(link) => Next::LinkGone(link),
            Step::Skipped(_) | Step::End => Next::End,
        }
    }

    fn position(&self) -> u64 {
        self.origin.position(self.reader.consumed() as u64)
    }

    fn damages(&mut self) -> Vec<Damage> {
        self.origin.take()
    }
}

impl Meaning {
    fn of(block: &PcapBlockOwned<'_>, big_endian: bool) -> Self {
        let PcapBlockOwned::NG(block) = block else { return Self::Nothing };
        match block {
            Block::SectionHeader(section) => Self::Section { big_endian: section.big_endian() },
            Block::InterfaceDescription(interface) => Self::interface(interface, big_endian),
            Block::EnhancedPacket(packet) => Self::Packet(PacketBlock {
                interface: packet.if_id as usize,
                time: Some((packet.ts_high, packet.ts_low)),
                wire_bytes: packet.origlen,
                bytes: data(PACKET_DATA_AT, packet.packet_data().len()),
            }),
            Block::InterfaceStatistics(statistics) => {
                Self::Statistics { interface: statistics.if_id as usize }
            }
            Block::SimplePacket(packet) => Self::Packet(PacketBlock {
                interface: 0,
                time: None,
                wire_bytes: packet.origlen,
                bytes: data(SIMPLE_PACKET_DATA_AT, packet.packet_data().len()),
            }),
            Block::Unknown(block) if block_type(block.block_type, big_endian) == PACKET_BLOCK => {
                Self::old_packet(block.data, big_endian)
            }
            _ => Self::Nothing,
        }
    }

    fn interface(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        // The crate reads the offset as little endian whatever the section's byte order is.
        let offset_s = if big_endian { block.if_tsoffset.swap_bytes() } else { block.if_tsoffset };
        Self::Interface {
            number: block.linktype.0,
            described: Described {
                name: block.if_name().and_then(Result::ok).map(printable),
                snaplen: block.snaplen,
                of_container: block.if_description().and_then(Result::ok) == Some(CONTAINER_LINK),
                pod: block
                    .options
                    .iter()
                    .filter(|option| option.code == OptionCode::Comment)
                    .find_map(|option| pod::read(option.as_str().ok()?)),
            },
            clock: Clock::new(block.if_tsresol, offset_s),
        }
    }

    fn old_packet(body: &[u8], big_endian: bool) -> Self {
        let word = |at: usize| -> Option<u32> {
            let bytes: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
            Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        };
        let fields = || -> Option<PacketBlock> {
            let first = word(0)?;
            let captured = (word(12)? as usize).min(body.len().checked_sub(20)?);
            Some(PacketBlock {
                interface: if big_endian { first >> 16 } else { first & 0xffff } as usize,
                time: Some((word(4)?, word(8)?)),
                wire_bytes: word(16)?,
                bytes: data(PACKET_DATA_AT, captured),
            })
        };
        fields().map_or(Self::Damage("a packet block is too short"), Self::Packet)
    }
}

const fn data(at: usize, length: usize) -> Range<usize> {
    at..at + length
}

/// The crate reads block types as little endian.
const fn block_type(raw: u32, big_endian: bool) -> u32 {
    if big_endian { raw.swap_bytes() } else { raw }
}

/// An interface's name, fit for records: no control characters, 64 characters at most.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_time_in_any_unit() {
        for (case, resolution, offset_s, units, expected_ns) in [
            ("microseconds", 6, 0, 1_500_000, 1_500_000_000),
            ("nanoseconds", 9, 0, 1_500_000_000, 1_500_000_000),
            ("seconds", 0, 0, 2, 2_000_000_000),
            ("picoseconds", 12, 0, 1_500_000_000_000, 1_500_000_000),
            ("1024ths of a second", 0x80 | 10, 0, 1_536, 1_500_000_000),
            ("an offset", 6, 10, 500_000, 10_500_000_000),
            ("an offset before the epoch", 6, -10, 500_000, 0),
            ("more units per second than can be counted", 127, 0, 500_000, 0),
            ("more seconds than can be counted", 0, i64::MAX, u64::MAX, u64::MAX),
        ] {
            let at = Clock::new(resolution, offset_s)
                .timestamp((units >> 32) as u32, (units & 0xffff_ffff) as u32);
            assert_eq!(at.nanos(), expected_ns, "{case}");
        }
    }
}
