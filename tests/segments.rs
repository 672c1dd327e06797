//! Cutting a TCP stream into other segments changes no finding: not its rule, its peer or its
//! severity, and none appears or goes.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;

use common::{OwnedFrame, own_captures};
use vethwatch::config::Config;
use vethwatch::engine::Engine;
use vethwatch::record::{Output, Record, RecordKind};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PUSH: u8 = 0x08;

/// Segments of one side that stand so near to each other may have been one (nanoseconds).
const NEAR_NS: u64 = 1_000_000;

/// What an IP packet carries at most (bytes), with room for the headers.
const LARGEST: usize = 65_400;

/// How often each was reported: state, detector, rule, peer, severity, title. Their numbers and the
/// moment at which the last of the evidence came are left out.
#[derive(Debug, Default, Eq, PartialEq)]
struct Findings(BTreeMap<String, usize>);

impl Output for Findings {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert
    }

    fn record(&mut self, record: &Record<'_>) {
        let Record::Alert(alert) = record else { return };
        let finding = &alert.finding;
        let line = format!(
            "{:?} {} {} {} {:?} {}",
            alert.state,
            alert.detector,
            finding.rule.id,
            finding.peer,
            finding.severity,
            finding.title
        );
        *self.0.entry(line).or_default() += 1;
    }
}

fn findings(frames: &[OwnedFrame]) -> Findings {
    let mut engine = Engine::new(&Config::default()).unwrap();
    let mut output = Findings::default();
    for frame in frames {
        engine.handle(frame.as_input(), &mut output);
    }
    engine.finish(&mut output);
    output
}

/// Where a frame's TCP segment stands in it.
struct Segment {
    v6: bool,
    tcp: usize,
    start: usize,
    end: usize,
    from: (IpAddr, u16),
    to: (IpAddr, u16),
    seq: u32,
    flags: u8,
}

const IP: usize = 14;

impl Segment {
    /// `None` where it is no whole TCP segment in Ethernet.
    fn of(frame: &OwnedFrame) -> Option<Self> {
        let bytes = &frame.bytes;
        if bytes.len() < IP + 40 || bytes.len() != frame.wire_bytes as usize {
            return None;
        }
        let (v6, header) = match ([bytes[12], bytes[13]], bytes[IP] >> 4) {
            ([0x08, 0x00], 4) if bytes[IP + 9] == 6 => (false, usize::from(bytes[IP] & 15) * 4),
            ([0x86, 0xdd], 6) if bytes[IP + 6] == 6 => (true, 40),
            _ => return None,
        };
        let tcp = IP + header;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let end = IP + usize::from(if v6 { 40 + word(IP + 4) } else { word(IP + 2) });
        let start = tcp + usize::from(bytes[tcp + 12] >> 4) * 4;
        let ip = |at: usize| -> IpAddr {
            if v6 {
                <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap().into()
            } else {
                <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap().into()
            }
        };
        let (source, destination) = if v6 { (IP + 8, IP + 24) } else { (IP + 12, IP + 16) };
        (end <= bytes.len() && start <= end).then(|| Self {
            v6,
            tcp,
            start,
            end,
            from: (ip(source), word(tcp)),
            to: (ip(destination), word(tcp + 2)),
            seq: u32::from_be_bytes(bytes[tcp + 4..tcp + 8].try_into().unwrap()),
            flags: bytes[tcp + 13],
        })
    }

    fn bytes(&self) -> usize {
        self.end - self.start
    }

    /// The frame with other payload, `offset` bytes further on in the stream.
    fn with(&self, frame: &OwnedFrame, offset: usize, payload: &[u8], last: bool) -> OwnedFrame {
        let mut bytes = frame.bytes[..self.start].to_vec();
        bytes.extend(payload);
        let seq = self.seq.wrapping_add(offset as u32);
        bytes[self.tcp + 4..self.tcp + 8].copy_from_slice(&seq.to_be_bytes());
        if !last {
            bytes[self.tcp + 13] &= !(FIN | PUSH);
        }
        let length = (bytes.len() - IP - if self.v6 { 40 } else { 0 }) as u16;
        let at = IP + if self.v6 { 4 } else { 2 };
        bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
        OwnedFrame { wire_bytes: bytes.len() as u32, bytes, ..frame.clone() }
    }
}

/// Each segment as several: `sizes` are used in turn.
fn cut(frames: &[OwnedFrame], sizes: &[usize]) -> Vec<OwnedFrame> {
    let mut sizes = sizes.iter().cycle();
    let mut out = Vec::new();
    for frame in frames {
        let Some(segment) = Segment::of(frame).filter(|s| s.bytes() > 1 && s.flags & SYN == 0)
        else {
            out.push(frame.clone());
            continue;
        };
        let mut place = segment.start;
        while place < segment.end {
            let end = segment.end.min(place + sizes.next().unwrap());
            let last = end == segment.end;
            out.push(segment.with(frame, place - segment.start, &frame.bytes[place..end], last));
            place = end;
        }
    }
    out
}

/// Segments of one side that follow each other at once, as one: no other packet of the same
/// connection stands between them. Like those that a receiver merges, it has the last one's time.
fn join(frames: &[OwnedFrame]) -> Vec<OwnedFrame> {
    let mut out: Vec<OwnedFrame> = Vec::new();
    let mut latest: BTreeMap<_, usize> = BTreeMap::new();
    for frame in frames {
        let Some(segment) = Segment::of(frame) else {
            out.push(frame.clone());
            continue;
        };
        let ends = (segment.from.min(segment.to), segment.from.max(segment.to));
        let before = latest.get(&ends).copied().and_then(|at| Some((at, Segment::of(&out[at])?)));
        let joined = before.filter(|(at, before)| {
            let near = frame.at.nanos().saturating_sub(out[*at].at.nanos()) <= NEAR_NS;
            near && before.from == segment.from
                && before.bytes() > 0
                && segment.bytes() > 0
                && (before.flags | segment.flags & !FIN) & (SYN | FIN | RST) == 0
                && before.seq.wrapping_add(before.bytes() as u32) == segment.seq
                && before.bytes() + segment.bytes() <= LARGEST
        });
        // The later one's place in time: others' packets in between come first.
        let number = out.len();
        if let Some((at, before)) = joined {
            let mut payload = out[at].bytes[before.start..before.end].to_vec();
            payload.extend(&frame.bytes[segment.start..segment.end]);
            let offset = before.seq.wrapping_sub(segment.seq) as usize;
            let whole = segment.with(frame, offset, &payload, true);
            out[at].bytes.clear();
            out.push(whole);
        } else {
            out.push(frame.clone());
        }
        latest.insert(ends, number);
    }
    out.retain(|frame| !frame.bytes.is_empty());
    out
}

#[test]
fn other_segments_change_no_finding() {
    let mut found = 0;
    let mut wrong = Vec::new();
    for path in own_captures() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let frames = common::frames(&path).unwrap();
        let plain = findings(&frames);
        found += plain.0.len();
        let joined = join(&frames);
        let bytes: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
        // Byte by byte where that stays quick.
        let few = if bytes < 60_000 { 1 } else { 23 };
        for (case, other) in [
            ("small pieces", cut(&frames, &[few])),
            ("pieces of 100 bytes", cut(&frames, &[100])),
            ("pieces of 536 bytes", cut(&joined, &[536])),
            ("pieces of 1,400 bytes", cut(&joined, &[1_400])),
            ("pieces of many sizes", cut(&joined, &[1, 700, 3, 2_000, 17, 64, 5, 9_000])),
            ("the first byte alone", cut(&frames, &[1, LARGEST])),
            ("joined", joined),
        ] {
            let other = findings(&other);
            if plain != other {
                wrong.push(format!("{name}, {case}: {:#?} became {:#?}", plain.0, other.0));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found >= 20, "only {found} findings in all of them");
}
