//! What must hold however a capture is made: the same records again, from more ticks, from more
//! files, and within every bound.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{OwnedFrame, own_captures, run};
use proptest::collection::vec;
use proptest::prelude::*;
use vethwatch::capture::{self, Next, Opening, Source};
use vethwatch::config::Config;
use vethwatch::decode::{Frame, LinkType};
use vethwatch::detect::Severity;
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::output::{Events, Look, Options, Sink, eve};
use vethwatch::record::{Output, Record, RecordKind};
use vethwatch::time::Timestamp;

/// A few of them, of each kind, for what takes long.
fn some_captures() -> impl Iterator<Item = (PathBuf, Vec<OwnedFrame>)> {
    own_captures().into_iter().step_by(5).map(|path| {
        let frames = common::frames(&path).unwrap();
        (path, frames)
    })
}

/// An EVE output into memory.
fn eve_of(feed: impl FnOnce(&mut dyn Output)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eve.json");
    let writer = Box::new(fs::File::create(&path).unwrap());
    let look = Look { width: Look::WIDTH, colour: false };
    let mut output: Box<dyn Sink> =
        (eve::REGISTRATION.make)(Options { events: Events::ALL, look }, writer);
    feed(&mut *output);
    output.flush();
    assert!(output.take_error().is_none());
    drop(output);
    fs::read(path).unwrap()
}

fn eve_of_files(files: &[String]) -> Vec<u8> {
    fn feed<S: Source>(source: &mut S, engine: &mut Engine, output: &mut dyn Output) {
        loop {
            match source.next() {
                Next::Frame(link, frame) => engine.handle(Input::Frame { link, frame }, output),
                Next::Link(..) | Next::LinkGone(_) => {}
                Next::End => return,
            }
        }
    }
    eve_of(|output| {
        let mut engine = Engine::new(&Config::default()).unwrap();
        let files: Vec<std::path::PathBuf> = files.iter().map(Into::into).collect();
        match capture::open(&files).unwrap().source {
            Opening::Pcap(mut source) => feed(&mut *source, &mut engine, output),
            Opening::Pcapng(mut source) => feed(&mut *source, &mut engine, output),
            Opening::Merged(mut source) => feed(&mut *source, &mut engine, output),
        }
        engine.finish(output);
    })
}

#[test]
fn the_same_capture_gives_the_same_bytes() {
    for path in own_captures() {
        let files = [path.display().to_string()];
        let once = eve_of_files(&files);
        assert!(!once.is_empty(), "{}", path.display());
        assert!(once == eve_of_files(&files), "{}: two runs differ", path.display());
    }
}

/// The lines of a run with ticks between the frames: after each frame, as many parts of the time to
/// the next one as `parts` says, going round.
fn run_with_ticks(frames: &[OwnedFrame], parts: &[Vec<f64>]) -> Vec<String> {
    let mut engine = Engine::new(&Config::default()).unwrap();
    let mut lines = common::Lines::default();
    for (number, frame) in frames.iter().enumerate() {
        engine.handle(frame.as_input(), &mut lines);
        let next = frames.get(number + 1).map_or(frame.at, |next| next.at);
        let gap = next.nanos().saturating_sub(frame.at.nanos());
        let mut ticks: Vec<u64> = parts[number % parts.len()]
            .iter()
            .map(|part| frame.at.nanos() + (gap as f64 * part) as u64)
            .map(|at| at.min(next.nanos()))
            .collect();
        ticks.sort_unstable();
        for at in ticks {
            engine.handle(Input::Tick { at: Timestamp::from_nanos(at) }, &mut lines);
        }
    }
    engine.finish(&mut lines);
    lines.lines
}

fn assert_same(name: &Path, plain: &[String], other: &[String], what: &str) {
    for (plain, other) in plain.iter().zip(other) {
        assert_eq!(plain, other, "{}: {what}", name.display());
    }
    assert_eq!(plain.len(), other.len(), "{}: {what}", name.display());
}

#[test]
fn extra_ticks_change_nothing() {
    let patterns = [vec![vec![1.0]], vec![vec![], vec![0.3, 0.999], vec![0.5; 3], vec![1e-9]]];
    for (path, frames) in some_captures() {
        let plain = run(&Config::default(), &frames);
        for parts in &patterns {
            let ticked = run_with_ticks(&frames, parts);
            assert_same(&path, &plain, &ticked, "with ticks");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn ticks_at_any_time_change_nothing(
        gaps_s in vec(prop_oneof![0.0..2.0, 0.0..700.0, 0.0..90_000.0], 2..40),
        parts in vec(vec(0.0..1.0, 0..4), 1..8),
    ) {
        // A container asks, connects, beats and uploads; the times are what matters here.
        let mut at = 1_772_366_400.0;
        let mut frames = Vec::new();
        for (number, gap_s) in gaps_s.iter().enumerate() {
            at += gap_s;
            let time = Timestamp::from_nanos((at * 1e9) as u64);
            frames.extend(conversation(time, number as u16));
        }
        let plain = run(&Config::default(), &frames);
        prop_assert_eq!(plain, run_with_ticks(&frames, &parts));
    }
}

/// A connection of a container with one answer, within a millisecond: 30 kB out.
fn conversation(at: Timestamp, number: u16) -> Vec<OwnedFrame> {
    let (container, outside) = ([10, 244, 1, 7], [203, 0, 113, 9]);
    let port = 40_000 + number;
    let frame = |step: u64, out: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]| {
        let (from, to) = if out {
            ((container, port), (outside, 443))
        } else {
            ((outside, 443), (container, port))
        };
        let bytes = segment(from, to, flags, (seq, ack), payload);
        OwnedFrame {
            at: Timestamp::from_nanos(at.nanos() + step * 100_000),
            link_type: LinkType::Ethernet,
            wire_bytes: bytes.len() as u32,
            bytes,
        }
    };
    let body = vec![0x5a; 30_000];
    vec![
        frame(0, true, SYN, 100, 0, &[]),
        frame(1, false, SYN | ACK, 900, 101, &[]),
        frame(2, true, ACK, 101, 901, &body),
        frame(3, false, ACK, 901, 30_101, b"ok"),
        frame(4, true, ACK | FIN, 30_101, 903, &[]),
        frame(5, false, ACK | FIN, 903, 30_102, &[]),
    ]
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// An Ethernet frame with a TCP segment.
fn segment(
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    flags: u8,
    (seq, ack): (u32, u32),
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    let length = (40 + payload.len()) as u16;
    bytes.extend([0x45, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend(from.0);
    bytes.extend(to.0);
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// Writes frames as a pcap file with times in nanoseconds.
fn write_pcap(path: &Path, frames: &[OwnedFrame]) {
    let mut bytes = Vec::new();
    let link_type = match frames[0].link_type {
        LinkType::Ethernet => 1_u32,
        other => panic!("{other:?} is not written here"),
    };
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, link_type] {
        bytes.extend(word.to_le_bytes());
    }
    for frame in frames {
        let (seconds, nanos) = (frame.at.nanos() / 1_000_000_000, frame.at.nanos() % 1_000_000_000);
        for word in [seconds as u32, nanos as u32, frame.bytes.len() as u32, frame.wire_bytes] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&frame.bytes);
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_capture_split_into_files_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for (path, frames) in some_captures() {
        let whole = eve_of_files(&[path.display().to_string()]);
        for parts in [2, 3] {
            let length = frames.len().div_ceil(parts);
            let files: Vec<String> = frames
                .chunks(length)
                .enumerate()
                .map(|(number, part)| {
                    let file = folder.path().join(format!("part{number}.pcap"));
                    write_pcap(&file, part);
                    file.display().to_string()
                })
                .collect();
            assert!(whole == eve_of_files(&files), "{} in {parts} files", path.display());
            // The order of the command line is not the order of time.
            let turned: Vec<String> = files.into_iter().rev().collect();
            assert!(whole == eve_of_files(&turned), "{} in {parts} files", path.display());
        }
    }
}

/// Takes findings and nothing else.
struct Findings;

impl Output for Findings {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert
    }

    fn record(&mut self, _record: &Record<'_>) {}
}

/// A configuration in which every bound is tiny.
fn tiny() -> Config {
    let text = "
        [flow]
        flows_max = 16
        stream_bytes_max = 256
        streams_bytes_max = 1024
        [containers]
        pod_networks = [\"10.0.0.0/8\"]
        containers_max = 4
        names_max = 4
        [baseline]
        destinations_max = 8
        container_destinations_max = 4
        [alert]
        open_max = 2
        [detect.exfiltration]
        destinations_max = 2
        ports_max = 2
    ";
    toml::from_str(text).unwrap()
}

/// A frame of a random conversation between many hosts: TCP, UDP, DNS answers, gaps in sequences.
fn random_frame() -> impl Strategy<Value = (u64, Vec<u8>)> {
    let host = (any::<bool>(), 0..12_u8, 0..4_u8).prop_map(|(inside, host, net)| {
        if inside { [10, 244, 0, host] } else { [203, 0, 113 + net, host] }
    });
    let flags = prop_oneof![Just(SYN), Just(SYN | ACK), Just(ACK), Just(ACK | FIN), Just(4)];
    let port = || prop_oneof![1 => Just(53_u16), 1 => Just(443), 2 => 40_000..40_100_u16];
    (
        host.clone(),
        host,
        (port(), port()),
        flags,
        (0..200_000_u32, 0..200_000_u32),
        vec(any::<u8>(), 0..400),
        0..3_000_000_000_u64,
        any::<bool>(),
    )
        .prop_map(|(from, to, ports, flags, numbers, payload, gap_ns, udp)| {
            let bytes = segment((from, ports.0), (to, ports.1), flags, numbers, &payload);
            (gap_ns, if udp { as_udp(bytes, &payload) } else { bytes })
        })
}

/// The same ends and payload as a datagram.
fn as_udp(mut frame: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    frame.truncate(38);
    frame[23] = 17;
    let length = (8 + payload.len()) as u16;
    frame[16..18].copy_from_slice(&(20 + length).to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_bound_holds(steps in vec(random_frame(), 200..600)) {
        let config = tiny();
        let mut engine = Engine::new(&config).unwrap();
        let mut at_ns = 1_772_366_400_000_000_000;
        for (gap_ns, bytes) in &steps {
            at_ns += gap_ns;
            let frame = Frame {
                at: Timestamp::from_nanos(at_ns),
                link_type: LinkType::Ethernet,
                wire_bytes: bytes.len() as u32,
                bytes,
            };
            engine.handle(Input::Frame { link: LinkId(0), frame }, &mut Findings);
            let stats = engine.stats();
            prop_assert!(stats.flows_open <= config.flow.flows_max as u64, "{stats:?}");
            prop_assert!(stats.containers <= config.containers.containers_max as u64, "{stats:?}");
        }
        let stats = engine.stats().clone();
        prop_assert!(stats.flows_evicted > 0, "no flow had to make room: {stats:?}");
        prop_assert!(stats.containers_refused > 0, "no container was refused: {stats:?}");
        prop_assert!(stats.destinations_evicted > 0, "no destination was forgotten: {stats:?}");
        engine.finish(&mut Findings);
        prop_assert_eq!(engine.stats().flows_open, 0);
    }
}

/// The worst severity of each rule's alerts.
#[derive(Default)]
struct Worst(BTreeMap<&'static str, Severity>);

impl Output for Worst {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert
    }

    fn record(&mut self, record: &Record<'_>) {
        let Record::Alert(alert) = record else { return };
        let worst = self.0.entry(alert.finding.rule.id).or_default();
        *worst = alert.severity().max(*worst);
    }
}

/// Whoever robs one pod and can send a packet from another, or in its name, gains nothing by it.
#[test]
fn a_packet_in_the_name_of_other_pods_excuses_nothing() {
    let config: Config = toml::from_str("[containers]\npod_networks = ['10.244.0.0/16']").unwrap();
    let worst = |frames: &[OwnedFrame]| {
        let (mut engine, mut output) = (Engine::new(&config).unwrap(), Worst::default());
        frames.iter().for_each(|frame| engine.handle(frame.as_input(), &mut output));
        engine.finish(&mut output);
        output.0
    };
    let mut checked = 0;
    for path in own_captures() {
        let name = path.display().to_string();
        if !name.contains("malicious/exfil") && !name.contains("malicious/beacon") {
            continue;
        }
        let frames = common::frames(&path).unwrap();
        // Each opening packet of the pod's own, once more from three others: Ethernet, IPv4, TCP.
        let opens = |bytes: &[u8]| {
            bytes.len() >= 54
                && bytes[12..15] == [8, 0, 0x45]
                && bytes[23] == 6
                && bytes[26..28] == [10, 244]
                && bytes[47] & 0x3f == 2
        };
        let mut more = Vec::new();
        for frame in &frames {
            for last in [7, 8, 9].into_iter().filter(|_| opens(&frame.bytes)) {
                let mut forged = frame.clone();
                forged.bytes[28..30].copy_from_slice(&[77, last]);
                more.push(forged);
            }
            more.push(frame.clone());
        }
        checked += usize::from(more.len() > frames.len());
        let after = worst(&more);
        for (rule, severity) in worst(&frames) {
            let now = after.get(rule).copied().unwrap_or_default();
            assert!(now >= severity, "{name}: {rule} falls from {severity:?} to {now:?}");
        }
    }
    assert!(checked >= 4, "only {checked} captures");
}

#[test]
fn other_settings_of_detectors_judge_what_comes_after_them() {
    let path = Path::new("pcaps/malicious/beacon-https-j0.pcap");
    let frames = common::frames(path).unwrap();
    let alerts = |before: &str, after: &str| {
        let [before, after] = [before, after].map(|text| Config::parse(text).unwrap());
        let mut engine = Engine::new(&before).unwrap();
        let mut output = common::Lines::default();
        // Its one container, and its first beat, are known by then.
        let (first, rest) = frames.split_at(100);
        first.iter().for_each(|frame| engine.handle(frame.as_input(), &mut output));
        engine.reconfigure(&after).unwrap();
        rest.iter().for_each(|frame| engine.handle(frame.as_input(), &mut output));
        engine.finish(&mut output);
        output.lines.iter().filter(|line| line.starts_with("alert ")).count()
    };
    let deaf = "[detect.beacon]\nperiod_min_s = 3600.0\n";
    assert_eq!((alerts(deaf, deaf), alerts("", deaf)), (0, 0));
    assert!(alerts("", "") > 0 && alerts(deaf, "") > 0);
}

#[test]
fn what_detectors_forget_early_is_counted() {
    let frames = common::frames(Path::new("pcaps/malicious/exfil-split.pcap")).unwrap();
    let tight =
        "[detect.beacon]\ncandidates_max = 2\n[detect.exfiltration]\ndestinations_max = 2\n";
    for (text, forgets) in [("", false), (tight, true)] {
        let mut engine = Engine::new(&Config::parse(text).unwrap()).unwrap();
        frames.iter().for_each(|frame| engine.handle(frame.as_input(), &mut Findings));
        engine.finish(&mut Findings);
        let counted = &engine.stats().detectors_evicted;
        for detector in ["beacon", "exfiltration"] {
            assert_eq!(counted[detector] > 0, forgets, "{detector}: {counted:?}");
        }
    }
}

#[test]
fn a_snap_length_hides_no_shell_in_tls() {
    for name in ["shell-ncat-ssl", "shell-socat-tls-pty", "shell-openssl-fifo"] {
        for snap in [300, 512, 1_000] {
            let path = format!("pcaps/malicious/{name}.pcap");
            let mut frames = common::frames(Path::new(&path)).unwrap();
            frames.iter_mut().for_each(|frame| frame.bytes.truncate(snap));
            let mut engine = Engine::new(&Config::default()).unwrap();
            let mut worst = Worst::default();
            frames.iter().for_each(|frame| engine.handle(frame.as_input(), &mut worst));
            engine.finish(&mut worst);
            let shell = worst.0.iter().any(|(rule, severity)| {
                rule.starts_with("shell.") && *severity >= Severity::Medium
            });
            assert!(shell, "{name} cut to {snap} bytes: {:?}", worst.0);
        }
    }
}
