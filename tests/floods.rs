//! Floods stay within memory, are counted, and do not hide a reverse shell in their midst.
#![allow(clippy::unwrap_used, missing_docs)]
#![cfg(target_os = "linux")]

mod common;

use std::io::{BufWriter, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use common::OwnedFrame;
use etherparse::PacketBuilder;
use serde_json::Value;

/// Most resident memory that a flood may take (KiB: 128 MiB).
const RESIDENT_MAX_KIB: u64 = 128 * 1024;

/// Without optimisation, a tenth of the flood: `cargo test --release --test floods` sends all of it.
const SHARE: usize = if cfg!(debug_assertions) { 10 } else { 1 };

/// The container of the capture in whose midst the flood is.
const CONTAINER: [u8; 4] = [10, 244, 9, 225];

#[test]
fn five_million_syns_from_a_million_sources() {
    let shell = shell();
    let mut random = Random(1);
    let mut sources = 0u32;
    let (alerts, stats) = flood(&shell, 5_000_000 / SHARE, |out| {
        // A permutation of 2^20 sources: multiplication by an odd number.
        let source = sources.wrapping_mul(2_654_435_761) & 0xf_ffff;
        sources += 1;
        let ip = Ipv4Addr::from_bits(0x0b00_0000 | source).octets();
        let port = 1_024 + (random.next() % 60_000) as u16;
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(ip, CONTAINER, 64)
            .tcp(port, 80, random.next() as u32, 65_535)
            .syn()
            .write(out, &[])
            .unwrap();
    });
    assert!(finds_the_shell(&alerts), "{alerts:?}");
    assert!(
        SHARE > 1 || count(&stats, "flows_evicted") > 1_000_000,
        "what had to go is counted: {stats}"
    );
}

#[test]
fn a_million_distinct_dns_names() {
    let shell = shell();
    let mut number = 0u32;
    let (alerts, stats) = flood(&shell, 1_000_000 / SHARE, |out| {
        number += 1;
        let name = format!("h{number:07x}");
        let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        message.push(name.len() as u8);
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(b"\x05flood\x07example\0\0\x01\0\x01");
        message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04");
        message.extend_from_slice(&Ipv4Addr::from_bits(0x0b00_0000 | number).octets());
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 96, 0, 10], CONTAINER, 64)
            .udp(53, 40_000 + (number % 1_000) as u16)
            .write(out, &message)
            .unwrap();
    });
    assert!(finds_the_shell(&alerts), "{alerts:?}");
    assert!(count(&stats, "dns_messages") >= 1_000_000 / SHARE as u64, "{stats}");
    assert!(count(&stats, "names_evicted") > 900_000 / SHARE as u64, "{stats}");
}

fn shell() -> Vec<OwnedFrame> {
    common::frames(Path::new("pcaps/reverse-shell.pcap")).unwrap()
}

fn finds_the_shell(alerts: &[Value]) -> bool {
    alerts.iter().any(|alert| {
        alert["vethwatch"]["detector"] == "reverse_shell" && alert["dest_port"] == 1234
    })
}

fn count(stats: &Value, key: &str) -> u64 {
    fn find(value: &Value, key: &str) -> Option<u64> {
        match value {
            Value::Object(map) => {
                map.iter().find_map(
                    |(name, value)| {
                        if name == key { value.as_u64() } else { find(value, key) }
                    },
                )
            }
            _ => None,
        }
    }
    find(stats, key).unwrap_or_else(|| panic!("no `{key}` in {stats}"))
}

/// Replays a capture with `frames` flood frames spread evenly over its time, from standard input.
/// Returns the alerts and the last counters; fails if the process took more memory than it may.
fn flood(
    capture: &[OwnedFrame],
    frames: usize,
    mut make: impl FnMut(&mut Vec<u8>),
) -> (Vec<Value>, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vethwatch"))
        .args(["replay", "--format", "eve", "--events", "alert,stats", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let mut pipe = BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
    let header = [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 262_144, 1];
    header.iter().for_each(|word| pipe.write_all(&word.to_le_bytes()).unwrap());
    let (first, last) = (capture[0].at.nanos(), capture[capture.len() - 1].at.nanos());
    let step = (last - first) / frames as u64;
    let mut real = capture.iter().peekable();
    let mut bytes = Vec::new();
    for number in 0..frames as u64 {
        let at = first + number * step;
        while let Some(frame) = real.next_if(|frame| frame.at.nanos() <= at) {
            record(&mut pipe, frame.at.nanos(), frame.wire_bytes, &frame.bytes);
        }
        bytes.clear();
        make(&mut bytes);
        record(&mut pipe, at, bytes.len() as u32, &bytes);
    }
    for frame in real {
        record(&mut pipe, frame.at.nanos(), frame.wire_bytes, &frame.bytes);
    }
    pipe.flush().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    eprintln!("peak resident memory: {peak_kib} KiB");
    assert!(peak_kib < RESIDENT_MAX_KIB, "{peak_kib} KiB resident");
    drop(pipe);
    assert!(child.wait().unwrap().success());
    let lines: Vec<Value> =
        reader.join().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (alerts, mut rest): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line["event_type"] == "alert");
    (alerts, rest.pop().unwrap())
}

fn record(out: &mut impl Write, at_ns: u64, wire_bytes: u32, bytes: &[u8]) {
    let words = [
        (at_ns / 1_000_000_000) as u32,
        (at_ns % 1_000_000_000) as u32,
        bytes.len() as u32,
        wire_bytes,
    ];
    words.iter().for_each(|word| out.write_all(&word.to_le_bytes()).unwrap());
    out.write_all(bytes).unwrap();
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}
