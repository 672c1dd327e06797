//! Reading: formats, compression, merging, damage.

#![cfg(feature = "live")]
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Order, Pcapng, datagrams, gzip, pcap, pcap_as, shared_captures, zstd};
use tempfile::TempDir;
use vethwatch::capture::{self, InputError, Interface, Next, Opening, Source};
use vethwatch::decode::LinkType;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_772_366_400 * SECOND;

/// What came out of a source.
#[derive(Debug, Default, PartialEq)]
struct Read {
    links: Vec<(u32, Interface)>,
    frames: Vec<(u32, u64, Vec<u8>)>,
    damages: Vec<String>,
}

impl Read {
    fn times(&self) -> Vec<u64> {
        self.frames.iter().map(|(_, at, _)| (at - START) / (SECOND / 10)).collect()
    }

    fn links_of_frames(&self) -> Vec<u32> {
        self.frames.iter().map(|(link, ..)| *link).collect()
    }

    fn packets(&self) -> Vec<(u64, Vec<u8>)> {
        self.frames.iter().map(|(_, at, bytes)| (*at, bytes.clone())).collect()
    }
}

fn drain(source: &mut impl Source) -> Read {
    let mut read = Read::default();
    loop {
        match source.next() {
            Next::Link(link, interface) => read.links.push((link.0, interface)),
            Next::Frame(link, frame) => {
                assert!(read.links.iter().any(|(known, _)| *known == link.0), "{link:?} untold");
                read.frames.push((link.0, frame.at.nanos(), frame.bytes.to_vec()));
            }
            Next::LinkGone(_) => {}
            Next::End => break,
        }
    }
    assert!(matches!(source.next(), Next::End), "the end is the end");
    read.damages = source.damages().iter().map(ToString::to_string).collect();
    assert!(source.damages().is_empty(), "damages are told once");
    read
}

fn read(inputs: &[PathBuf]) -> Result<Read, InputError> {
    Ok(match capture::open(inputs)?.source {
        Opening::Pcap(mut source) => drain(&mut *source),
        Opening::Pcapng(mut source) => drain(&mut *source),
        Opening::Merged(mut source) => drain(&mut *source),
    })
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Reads one file of these bytes; its name in messages is `FILE`.
    fn read(&self, bytes: &[u8]) -> Result<Read, InputError> {
        let path = self.write("file", bytes);
        let mut read = read(std::slice::from_ref(&path))?;
        for damage in &mut read.damages {
            *damage = damage.replace(&path.display().to_string(), "FILE");
        }
        Ok(read)
    }
}

#[test]
fn reads_either_byte_order_and_either_precision() {
    let packets = datagrams(START + 123_456_789, SECOND, 0, 5);
    let micros: Vec<_> =
        packets.iter().map(|(at, bytes)| (at / 1_000 * 1_000, bytes.clone())).collect();
    for order in [Order::Little, Order::Big] {
        for (nanos, expected) in [(true, &packets), (false, &micros)] {
            let read = Folder::new().read(&pcap_as(order, nanos, 1, &packets)).unwrap();
            assert_eq!(&read.packets(), expected, "{order:?}, nanoseconds: {nanos}");
            assert_eq!(read.links.len(), 1);
            assert_eq!(read.links[0].1.snaplen, 262_144);
        }
    }
}

#[test]
fn undoes_compression_whatever_the_name_says() {
    let packets = datagrams(START, SECOND, 0, 2_000);
    let plain = pcap(&packets);
    let (first, second) = plain.split_at(plain.len() / 2);
    let mut skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec();
    skippable.extend(zstd(first));
    skippable.extend(b"\x5f\x2a\x4d\x18\0\0\0\0");
    skippable.extend(zstd(second));
    let mut pcapng = Pcapng::new(Order::Little);
    pcapng.interface(1, None, Some(9));
    for (at, bytes) in &packets {
        pcapng.packet(0, *at, bytes);
    }
    for (case, bytes) in [
        ("gzip", gzip(&plain)),
        ("gzip in two members", [gzip(first), gzip(second)].concat()),
        ("zstd", zstd(&plain)),
        ("zstd in two frames", [zstd(first), zstd(second)].concat()),
        ("zstd with skippable frames", skippable),
        ("pcapng, gzip", gzip(&pcapng.bytes)),
        ("pcapng, zstd", zstd(&pcapng.bytes)),
        ("pcapng, plain", pcapng.bytes.clone()),
    ] {
        let read = Folder::new().read(&bytes).unwrap();
        assert!(read.packets() == packets, "{case}: {} frames", read.frames.len());
        assert_eq!(read.damages, [""; 0], "{case}");
    }
}

#[test]
fn merges_by_time_and_keeps_the_order_of_equals() {
    let folder = Folder::new();
    let tenths = SECOND / 10;
    let a = folder.write("a", &pcap(&datagrams(START, 2 * tenths, 0, 4)));
    let b = folder.write("b", &gzip(&pcap(&datagrams(START + tenths, tenths, 100, 4))));
    let merged = read(&[a.clone(), b.clone()]).unwrap();
    assert_eq!(merged.times(), [0, 1, 2, 2, 3, 4, 4, 6]);
    assert_eq!(merged.links_of_frames(), [0, 1, 0, 1, 1, 0, 1, 0], "of equals, the first named");
    let other_way = read(&[b, a]).unwrap();
    assert_eq!(other_way.times(), merged.times());
    // Links are numbered as they appear, and the file that is named second begins first.
    assert_eq!(other_way.links_of_frames(), [0, 1, 1, 0, 1, 1, 0, 0]);
}

#[test]
fn a_file_that_follows_another_continues_its_link() {
    let folder = Folder::new();
    let packets = datagrams(START, SECOND, 0, 9);
    let whole = folder.write("whole", &pcap(&packets));
    let whole = read(&[whole]).unwrap();
    // By name, not by time; the last one holds no packets.
    for (name, range) in [("1", 3..6), ("2", 6..9), ("3", 0..3), ("4", 0..0)] {
        folder.write(name, &pcap(&packets[range]));
    }
    fs::remove_file(folder.path().join("whole")).unwrap();
    folder.write("readme", b"not a capture");
    folder.write("empty", b"");
    fs::create_dir(folder.path().join("below")).unwrap();
    assert_eq!(read(&[folder.path().to_owned()]).unwrap(), whole);
    let opened = capture::open(&[folder.path().to_owned()]).unwrap();
    assert_eq!(opened.notes.len(), 2, "{:?}", opened.notes);
}

#[test]
fn a_pcapng_interface_is_a_link() {
    for order in [Order::Little, Order::Big] {
        let packets = datagrams(START, SECOND, 0, 4);
        let ip = |index: usize| packets[index].1[14..].to_vec();
        let mut file = Pcapng::new(order);
        file.interface(1, Some("veth0"), Some(9));
        file.interface(101, Some("tun0"), None);
        file.packet(0, packets[0].0, &packets[0].1);
        file.packet(1, packets[1].0 / 1_000, &ip(1));
        file.simple_packet(&packets[0].1);
        file.old_packet(1, packets[2].0 / 1_000, &ip(2));
        // A second section describes the first interface again, and another one.
        file.section();
        file.interface(1, Some("veth0"), Some(9));
        file.interface(1, Some("veth1"), Some(9));
        file.packet(1, packets[3].0, &packets[3].1);
        file.packet(0, packets[3].0, &packets[3].1);
        let read = Folder::new().read(&file.bytes).unwrap();
        let links: Vec<_> = read
            .links
            .iter()
            .map(|(link, interface)| {
                (*link, interface.name.as_deref().unwrap(), interface.link_type)
            })
            .collect();
        assert_eq!(
            links,
            [
                (0, "veth0", LinkType::Ethernet),
                (1, "tun0", LinkType::RawIp),
                (2, "veth1", LinkType::Ethernet)
            ],
            "{order:?}"
        );
        assert_eq!(
            read.frames,
            [
                (0, packets[0].0, packets[0].1.clone()),
                (1, packets[1].0, ip(1)),
                // A simple packet has no time: the latest is taken.
                (0, packets[1].0, packets[0].1.clone()),
                (1, packets[2].0, ip(2)),
                (2, packets[3].0, packets[3].1.clone()),
                (0, packets[3].0, packets[3].1.clone()),
            ],
            "{order:?}"
        );
        assert_eq!(read.damages, [""; 0]);
    }
}

#[test]
fn damage_ends_a_file_and_is_told() {
    let packets = datagrams(START, SECOND, 0, 1_000);
    let plain = pcap(&packets);
    let record = 16 + packets[500].1.len();
    let half = 24 + packets[..500].iter().map(|(_, bytes)| 16 + bytes.len()).sum::<usize>();
    let mut corrupt = plain.clone();
    corrupt[half + 8..half + 12].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let zipped = gzip(&plain);
    let mut zip_corrupt = zipped.clone();
    let end = zip_corrupt.len();
    zip_corrupt[end - 8] ^= 1;
    let mut pcapng = Pcapng::new(Order::Little);
    pcapng.interface(1, None, Some(9));
    for (at, bytes) in &packets[..10] {
        pcapng.packet(0, *at, bytes);
    }
    let pcapng_cut = pcapng.bytes[..pcapng.bytes.len() - 5].to_vec();
    let mut pcapng_stranger = Pcapng { order: Order::Little, bytes: pcapng.bytes.clone() };
    pcapng_stranger.packet(7, START, &packets[0].1);
    let mut pcapng_huge = pcapng.bytes.clone();
    pcapng_huge.extend([6, 0, 0, 0, 0xf0, 0xff, 0xff, 0x7f]);
    pcapng_huge.resize(pcapng_huge.len() + (40 << 20), 0);
    let mut pcapng_skips = Pcapng { order: Order::Little, bytes: pcapng.bytes };
    pcapng_skips.interface(127, Some("wlan0"), None);
    pcapng_skips.packet(1, START, &packets[0].1);
    pcapng_skips.packet(1, START, &packets[0].1);
    pcapng_skips.packet(0, packets[0].0, &packets[0].1);
    let mut told = String::new();
    for (case, bytes, frames) in [
        ("cut off in a record", plain[..half + record - 1].to_vec(), 500),
        ("cut off in a record's header", plain[..half + 7].to_vec(), 500),
        ("cut off between records", plain[..half].to_vec(), 500),
        ("a length that cannot be", corrupt, 500),
        ("gzip, the capture cut off", gzip(&plain[..half + 7]), 500),
        ("zstd, the capture cut off", zstd(&plain[..half + 7]), 500),
        ("gzip with a wrong checksum", zip_corrupt, 1_000),
        ("gzip with something behind it", [zipped.as_slice(), b"more"].concat(), 1_000),
        ("pcapng, cut off", pcapng_cut, 9),
        ("pcapng, an interface never described", pcapng_stranger.bytes, 10),
        ("pcapng, a block too large", pcapng_huge, 10),
        ("pcapng, an interface that cannot be decoded", pcapng_skips.bytes, 11),
    ] {
        let read = Folder::new().read(&bytes).unwrap();
        assert_eq!(read.frames.len(), frames, "{case}");
        told += &format!("{case}: {frames} frames\n    {}\n", read.damages.join("\n    "));
    }
    insta::assert_snapshot!("damages", told);
    // Where compressed data ends or breaks, what came before it is read. Longer input, since zstd
    // gives nothing before a block of 128 KiB is whole.
    let packets = datagrams(START, SECOND, 0, 9_000);
    let plain = pcap(&packets);
    let (zipped, squeezed) = (gzip(&plain), zstd(&plain));
    for (case, bytes) in [
        ("gzip cut off", zipped[..zipped.len() / 2].to_vec()),
        ("zstd cut off", squeezed[..squeezed.len() / 2].to_vec()),
        ("zstd followed by something else", [squeezed.as_slice(), b"more"].concat()),
    ] {
        let read = Folder::new().read(&bytes).unwrap();
        assert!(!read.frames.is_empty(), "{case}: nothing read");
        assert!(read.packets() == packets[..read.frames.len()], "{case}: other packets");
        assert_eq!(read.damages.len(), 1, "{case}");
        let compression = &case[..4];
        assert!(read.damages[0].contains(compression), "{case}: {}", read.damages[0]);
    }
}

#[test]
fn reads_pcapng_as_libpcap_does() {
    let Some(captures) = shared_captures() else { return };
    let mut compared = 0;
    let mut refused = 0;
    for folder in fs::read_dir(captures.join("public")).unwrap() {
        let Ok(files) = fs::read_dir(folder.unwrap().path()) else { continue };
        for file in files {
            let path = file.unwrap().path();
            let head = fs::read(&path).map(|bytes| bytes.get(..4) == Some(b"\x0a\x0d\x0d\x0a"));
            if !head.unwrap_or(false) {
                continue;
            }
            let (theirs, theirs_complete) = with_libpcap(&path);
            match read(std::slice::from_ref(&path)) {
                Ok(ours) => {
                    let ours_packets = ours.packets();
                    let same = ours_packets.len().min(theirs.len());
                    assert!(
                        ours_packets[..same] == theirs[..same],
                        "{}: packets differ",
                        path.display()
                    );
                    let skipped = !ours.damages.is_empty();
                    assert!(
                        skipped || !theirs_complete || ours_packets.len() == theirs.len(),
                        "{}: {} packets, libpcap has {}",
                        path.display(),
                        ours_packets.len(),
                        theirs.len()
                    );
                    assert!(ours_packets.len() >= theirs.len() || skipped, "{}", path.display());
                    compared += usize::from(theirs_complete);
                    refused += usize::from(!theirs_complete);
                }
                Err(error) => println!("{error}"),
            }
        }
    }
    println!("{compared} pcapng files read as libpcap does, {refused} that it does not read whole");
    assert!(compared > 20);
}

fn with_libpcap(path: &Path) -> (Vec<(u64, Vec<u8>)>, bool) {
    let mut packets = Vec::new();
    let precision = pcap::Precision::Nano;
    let Ok(mut capture) = pcap::Capture::from_file_with_precision(path, precision) else {
        return (packets, false);
    };
    loop {
        match capture.next_packet() {
            Ok(packet) => {
                let ts = packet.header.ts;
                packets.push((ts.tv_sec as u64 * SECOND + ts.tv_usec as u64, packet.data.to_vec()));
            }
            Err(pcap::Error::NoMorePackets) => return (packets, true),
            Err(_) => return (packets, false),
        }
    }
}

proptest::proptest! {
    /// Any change of a few bytes is survived, and reading comes to an end.
    #[test]
    fn survives_any_damage(
        changes in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..8),
        cut in proptest::num::usize::ANY,
        kind in 0..4_usize,
    ) {
        let packets = datagrams(START, SECOND, 0, 5);
        let mut pcapng = Pcapng::new(if kind == 0 { Order::Big } else { Order::Little });
        pcapng.interface(1, Some("veth0"), Some(9));
        pcapng.interface(113, Some("any"), None);
        for (number, (at, bytes)) in packets.iter().enumerate() {
            pcapng.packet(number as u32 % 2, *at, bytes);
            pcapng.simple_packet(bytes);
            pcapng.old_packet(0, *at, bytes);
        }
        let mut bytes = match kind {
            0 | 1 => pcapng.bytes,
            2 => zstd(&pcap(&packets)),
            _ => gzip(&pcapng.bytes),
        };
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut % 64 % bytes.len());
        // Whether it can be read at all is not the question.
        let _ = Folder::new().read(&bytes);
    }
}
