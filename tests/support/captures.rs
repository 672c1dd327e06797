//! Reads capture files for tests: every frame with its own link type, as far as the file is sound.
//! Needs no libpcap, which refuses files whose interfaces differ in link type.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};

use pcap_parser::{Block, PcapBlockOwned};
use vethwatch::config::Config;
use vethwatch::decode::{Frame, LinkType};
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::record::Output;
use vethwatch::time::Timestamp;

/// A frame, with the number of its link type as the file has it.
#[derive(Clone, Debug)]
pub struct CapturedFrame {
    pub at_ns: u64,
    pub link_type: u32,
    pub wire_bytes: u32,
    pub bytes: Vec<u8>,
}

/// All files below a folder, in the order of their names.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Gives a capture to an engine with the usual settings, as one interface, and its records to
/// `output`. Frames of link types that cannot be decoded are left out.
pub fn analyse(path: &Path, output: &mut dyn Output) {
    let mut engine = Engine::new(&Config::default()).unwrap();
    for frame in frames(path) {
        let Some(link_type) = LinkType::from_number(frame.link_type) else { continue };
        let frame = Frame {
            at: Timestamp::from_nanos(frame.at_ns),
            link_type,
            wire_bytes: frame.wire_bytes,
            bytes: &frame.bytes,
        };
        engine.handle(Input::Frame { link: LinkId(0), frame }, output);
    }
    engine.finish(output);
}

/// The frames of a pcap or pcapng file, up to its end or its first flaw; none for another file.
pub fn frames(path: &Path) -> Vec<CapturedFrame> {
    let Ok(file) = fs::read(path) else { return Vec::new() };
    // Room for the largest block that the file can hold.
    let capacity = file.len() + 65_536;
    let Ok(mut reader) = pcap_parser::create_reader(capacity, &file[..]) else {
        return Vec::new();
    };
    let mut frames = Vec::new();
    let (mut link_type, mut ticks_per_s, mut snap_len) = (0, 1_000_000, 0);
    let mut interfaces: Vec<(u32, u64, u32)> = Vec::new();
    loop {
        match reader.next() {
            Ok((consumed, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        link_type = header.network.0 as u32 & 0x0fff_ffff;
                        snap_len = header.snaplen;
                        if header.is_nanosecond_precision() {
                            ticks_per_s = 1_000_000_000;
                        }
                    }
                    PcapBlockOwned::Legacy(record) => frames.push(CapturedFrame {
                        at_ns: u64::from(record.ts_sec) * 1_000_000_000
                            + u64::from(record.ts_usec) * (1_000_000_000 / ticks_per_s),
                        link_type,
                        wire_bytes: record.origlen,
                        bytes: record.data.to_vec(),
                    }),
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        interfaces.push((
                            interface.linktype.0 as u32,
                            interface.ts_resolution().unwrap_or(1_000_000),
                            interface.snaplen,
                        ))
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let (link_type, ticks_per_s, _) =
                            interfaces.get(packet.if_id as usize).copied().unwrap_or((1, 1, 0));
                        let ticks = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
                        let at_ns = ticks * 1_000_000_000 / u128::from(ticks_per_s.max(1));
                        frames.push(CapturedFrame {
                            at_ns: u64::try_from(at_ns).unwrap_or(u64::MAX),
                            link_type,
                            wire_bytes: packet.origlen,
                            bytes: packet
                                .data
                                .get(..packet.caplen as usize)
                                .unwrap_or(packet.data)
                                .to_vec(),
                        });
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        let (link_type, _, snap_len) =
                            interfaces.first().copied().unwrap_or((1, 1, snap_len));
                        let snap_len = if snap_len == 0 { u32::MAX } else { snap_len };
                        let captured = packet.origlen.min(snap_len) as usize;
                        frames.push(CapturedFrame {
                            at_ns: 0,
                            link_type,
                            wire_bytes: packet.origlen,
                            bytes: packet.data.get(..captured).unwrap_or(packet.data).to_vec(),
                        });
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(consumed);
            }
            // The buffer holds the whole file, so what is incomplete stays so.
            Err(_) => return frames,
        }
    }
}
