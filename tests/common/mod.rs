//! What several tests need: captures into the engine, records out as text.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use vethwatch::config::Config;
use vethwatch::decode::{Frame, LinkType};
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::record::{Output, Record, RecordKind, Summary};
use vethwatch::time::Timestamp;

/// A frame with its own bytes.
#[derive(Clone, Debug)]
pub struct OwnedFrame {
    pub at: Timestamp,
    pub link_type: LinkType,
    pub wire_bytes: u32,
    pub bytes: Vec<u8>,
}

impl OwnedFrame {
    pub fn as_input(&self) -> Input<'_> {
        let Self { at, link_type, wire_bytes, ref bytes } = *self;
        Input::Frame { link: LinkId(0), frame: Frame { at, link_type, wire_bytes, bytes } }
    }
}

/// All frames of a capture file; those before its damage, where it is damaged. `None` where its link
/// type cannot be read.
pub fn frames(path: &Path) -> Option<Vec<OwnedFrame>> {
    let mut capture = pcap::Capture::from_file_with_precision(path, pcap::Precision::Nano).ok()?;
    let link_type = LinkType::from_number(capture.get_datalink().0 as u32)?;
    let mut frames = Vec::new();
    while let Ok(packet) = capture.next_packet() {
        let header = packet.header;
        frames.push(OwnedFrame {
            at: Timestamp::from_nanos(
                (header.ts.tv_sec as u64)
                    .wrapping_mul(1_000_000_000)
                    .wrapping_add(header.ts.tv_usec as u64),
            ),
            link_type,
            wire_bytes: header.len,
            bytes: packet.data.to_vec(),
        });
    }
    Some(frames)
}

/// The project's own captures, in the order of their names.
pub fn own_captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps");
    let mut found = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "pcap") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 40, "only {} captures", found.len());
    found
}

/// Where the labelled captures are, or `None` with a word about it.
pub fn captures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let path = std::env::var_os("VETHWATCH_CAPTURES").map_or(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    let why = format!("skipped: no captures at {} (set VETHWATCH_CAPTURES)\n", path.display());
    // The macros' output is kept back for a test that passes.
    std::io::stderr().write_all(why.as_bytes()).unwrap();
    None
}

/// Keeps each record in a line of text.
#[derive(Default)]
pub struct Lines {
    pub lines: Vec<String>,
}

impl Output for Lines {
    fn wants(&self, _kind: RecordKind) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) {
        self.lines.push(match record {
            Record::Alert(alert) => format!("alert {alert:?}"),
            Record::Flow { at, flow, end, .. } => format!("flow {at} {end:?} {flow:?}"),
            Record::Dns { at, flow, from, message, .. } => {
                format!("dns {at} {} {from:?} {message:?}", flow.id)
            }
            Record::Tls { at, flow, tls, .. } => format!("tls {at} {} {tls:?}", flow.id),
            Record::Stats { at, stats } => format!("stats {at} {stats:?}"),
        });
    }

    fn finish(&mut self, summary: &Summary<'_>) {
        for container in summary.containers {
            self.lines.push(format!("container {container:?}"));
        }
        self.lines.push(format!("end {:?}", summary.stats));
    }
}

/// Runs the engine over frames.
pub fn run(config: &Config, frames: &[OwnedFrame]) -> Vec<String> {
    let mut engine = Engine::new(config).unwrap();
    let mut lines = Lines::default();
    for frame in frames {
        engine.handle(frame.as_input(), &mut lines);
    }
    engine.finish(&mut lines);
    lines.lines
}
