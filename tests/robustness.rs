//! Whatever comes in, the engine goes on: no panic, no stall, no memory beyond its bounds.
//!
//! Runs with debug assertions, so arithmetic that overflows fails here and not in the field.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
#[path = "support/captures.rs"]
mod captures;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use captures::CapturedFrame;
use proptest::collection::vec;
use proptest::prelude::*;
use vethwatch::config::Config;
use vethwatch::decode::{Decoder, Frame, LinkType, Packet};
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::record::{Output, Record, RecordKind};
use vethwatch::time::Timestamp;

const LINK_TYPES: [LinkType; 6] = [
    LinkType::Ethernet,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
    LinkType::RawIp,
    LinkType::Null,
    LinkType::Loop,
];

/// Prints every record, so that every field of it is read, and keeps nothing.
struct Nothing;

impl Output for Nothing {
    fn wants(&self, _kind: RecordKind) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Alert(alert) => write!(self, "{alert:?}"),
            Record::Flow { flow, .. } => write!(self, "{flow:?} {}", flow.community_id()),
            Record::Dns { message, .. } => write!(self, "{message:?}"),
            Record::Tls { tls, .. } => write!(self, "{tls:?}"),
            Record::Stats { stats, .. } => write!(self, "{stats:?}"),
        }
        .unwrap();
    }
}

impl std::fmt::Write for Nothing {
    fn write_str(&mut self, _text: &str) -> std::fmt::Result {
        Ok(())
    }
}

/// What must hold for any packet from any bytes.
fn check(packet: &Packet<'_>) {
    assert!(packet.payload.len() as u64 <= u64::from(packet.payload_bytes), "{packet:?}");
    assert!(packet.payload_bytes <= packet.ip_bytes, "{packet:?}");
    assert!(packet.vlan < 0x1000, "{packet:?}");
}

/// Frames through an engine of its own, which has seen them all at its end.
fn through_engine(config: &Config, frames: &[(u8, CapturedFrame)]) {
    let mut engine = Engine::new(config).unwrap();
    let mut fed = 0;
    for (link, frame) in frames {
        let Some(link_type) = LinkType::from_number(frame.link_type) else { continue };
        let frame = Frame {
            at: Timestamp::from_nanos(frame.at_ns),
            link_type,
            wire_bytes: frame.wire_bytes,
            bytes: &frame.bytes,
        };
        engine.handle(Input::Frame { link: LinkId(u32::from(*link)), frame }, &mut Nothing);
        fed += 1;
    }
    engine.finish(&mut Nothing);
    assert_eq!(engine.stats().frames, fed);
}

/// Frames through a decoder: as the link type they are, and as every other.
fn through_decoder(frames: &[CapturedFrame]) {
    let mut decoders = LINK_TYPES.map(|link_type| (link_type, Decoder::default()));
    for frame in frames {
        for (link_type, decoder) in &mut decoders {
            let frame = Frame {
                at: Timestamp::from_nanos(frame.at_ns),
                link_type: *link_type,
                wire_bytes: frame.wire_bytes,
                bytes: &frame.bytes,
            };
            if let Ok(packet) = decoder.decode(&frame) {
                check(&packet);
            }
        }
    }
}

#[test]
fn every_public_capture_passes() {
    let Some(captures) = common::captures() else { return };
    let mut total = 0;
    for file in captures::files_below(&captures.join("public")) {
        let frames = captures::frames(&file);
        total += frames.len();
        through_decoder(&frames);
        let frames: Vec<_> = frames.into_iter().map(|frame| (0, frame)).collect();
        through_engine(&Config::default(), &frames);
    }
    assert!(total > 20_000, "only {total} frames: are the captures read at all?");
}

/// Every bound at its least: all that makes room does so all the time.
fn tightest() -> Config {
    let mut tables = toml::Table::try_from(Config::default()).unwrap();
    let mut bounds = 0;
    // Live capture's own have a least that is more than 1, and nothing here to bound.
    for (_, table) in tables.iter_mut().filter(|(name, _)| *name != "capture") {
        for (key, value) in table.as_table_mut().into_iter().flatten() {
            if key.ends_with("_max") || key.ends_with("_bytes") {
                *value = 1.into();
                bounds += 1;
            }
        }
    }
    assert!(bounds > 10, "only {bounds} bounds");
    let text = tables.to_string();
    Config::parse(&text).unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn every_public_capture_passes_the_tightest_bounds() {
    let Some(captures) = common::captures() else { return };
    for file in captures::files_below(&captures.join("public")) {
        let frames: Vec<_> = captures::frames(&file).into_iter().map(|frame| (0, frame)).collect();
        through_engine(&tightest(), &frames);
    }
}

/// The frames that the mutations start from: of the project's captures, and of the public ones
/// where they are.
static SEEDS: LazyLock<Vec<CapturedFrame>> = LazyLock::new(|| {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps");
    let mut files = captures::files_below(&own);
    files.extend(common::captures().iter().flat_map(|folder| {
        ["decode_tunnel", "dns_parse", "malformed", "tcp_evasion", "tls_fingerprint"]
            .iter()
            .flat_map(|kind| captures::files_below(&folder.join("public").join(kind)))
    }));
    let seeds: Vec<_> = files
        .iter()
        .flat_map(|file| captures::frames(file).into_iter().take(12))
        .filter(|frame| LinkType::from_number(frame.link_type).is_some())
        .collect();
    assert!(seeds.len() > 100, "only {} seeds", seeds.len());
    seeds
});

/// What is done to a frame.
#[derive(Clone, Debug)]
enum Change {
    /// A byte becomes another.
    Set(usize, u8),
    /// The frame ends here, on the wire or in the capture only.
    Cut(usize, bool),
    /// A part comes twice.
    Repeat(usize, usize),
    /// It was longer on the wire.
    Wire(u32),
    /// It is taken for another link type.
    Link(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        // Headers lie at the front, and length fields like the extremes.
        8 => (0..96_usize, prop_oneof![any::<u8>(), Just(0), Just(0xff)])
            .prop_map(|(at, to)| Change::Set(at, to)),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, to)| Change::Set(at, to)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, wire)| Change::Cut(at, wire)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(at, length)| Change::Repeat(at, length)),
        1 => any::<u32>().prop_map(Change::Wire),
        1 => (0..LINK_TYPES.len()).prop_map(Change::Link),
    ]
}

fn apply(frame: &mut CapturedFrame, change: &Change) {
    let length = frame.bytes.len();
    if length == 0 {
        return;
    }
    match *change {
        Change::Set(at, to) => frame.bytes[at % length] = to,
        Change::Cut(at, wire) => {
            frame.bytes.truncate(at % length);
            if wire {
                frame.wire_bytes = frame.bytes.len() as u32;
            }
        }
        Change::Repeat(at, more) => {
            let at = at % length;
            let part = frame.bytes[at..(at + more % 64).min(length)].to_vec();
            frame.bytes.splice(at..at, part);
            frame.wire_bytes = frame.bytes.len() as u32;
        }
        Change::Wire(bytes) => frame.wire_bytes = bytes,
        Change::Link(number) => frame.link_type = [1, 113, 276, 101, 0, 108][number],
    }
}

/// Time between two frames (ns): none, little, much, back, and far beyond any capture.
fn step() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(0),
        8 => 0..2_000_000_000_i64,
        2 => 0..4_000_000_000_000_i64,
        1 => -100_000_000_000..0_i64,
        1 => any::<i64>(),
    ]
}

/// A capture of mutated frames: of one or more seeds, each as often as it comes.
fn mutated_capture() -> impl Strategy<Value = Vec<(u8, CapturedFrame)>> {
    let frame = (any::<prop::sample::Index>(), vec(change(), 0..6), step(), 0..3_u8);
    vec(frame, 1..40).prop_map(|frames| {
        let mut at_ns = 1_700_000_000_000_000_000_u64;
        frames
            .into_iter()
            .map(|(seed, changes, step_ns, link)| {
                let mut frame = SEEDS[seed.index(SEEDS.len())].clone();
                changes.iter().for_each(|change| apply(&mut frame, change));
                at_ns = at_ns.saturating_add_signed(step_ns);
                frame.at_ns = at_ns;
                (link, frame)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_or_not(
        frames in vec((vec(any::<u8>(), 0..200), any::<u32>(), step()), 1..8),
    ) {
        let mut at_ns = 0_u64;
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(bytes, wire_bytes, step_ns)| {
                at_ns = at_ns.saturating_add_signed(step_ns);
                CapturedFrame { at_ns, link_type: 1, wire_bytes, bytes }
            })
            .collect();
        through_decoder(&frames);
    }

    #[test]
    fn mutated_frames_decode_or_not(capture in mutated_capture()) {
        let frames: Vec<_> = capture.into_iter().map(|(_, frame)| frame).collect();
        through_decoder(&frames);
    }

    #[test]
    fn mutated_captures_pass_the_engine(capture in mutated_capture()) {
        through_engine(&Config::default(), &capture);
    }

    #[test]
    fn mutated_captures_pass_the_tightest_bounds(capture in mutated_capture()) {
        through_engine(&tightest(), &capture);
    }
}
