//! The project's own captures: what the TOML file beside each names is found, and nothing else.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vethwatch::config::Config;
use vethwatch::decode::{Frame, LinkType};
use vethwatch::detect::{DETECTORS, Severity};
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::record::{Output, Record, RecordKind};
use vethwatch::time::Timestamp;

/// What is true of a capture.
#[derive(Deserialize)]
struct Truth {
    container: IpAddr,
    container_ip6: IpAddr,
    hard: bool,
    packets: usize,
    #[serde(default)]
    finding: Vec<Expected>,
}

/// A finding that a capture holds.
#[derive(Deserialize)]
struct Expected {
    detector: String,
    rule: Option<String>,
    peer: IpAddr,
    /// Other detectors that may name the same peer.
    #[serde(default)]
    also: Vec<String>,
    /// One finding of a group suffices.
    group: Option<String>,
}

/// An alert, as far as it is compared.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    detector: &'static str,
    rule: &'static str,
    container: IpAddr,
    peer: IpAddr,
    severity: Severity,
}

#[derive(Default)]
struct Alerts(Vec<Got>);

impl Output for Alerts {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert
    }

    fn record(&mut self, record: &Record<'_>) {
        let Record::Alert(alert) = record else { return };
        if alert.finding.severity < Severity::Medium {
            return;
        }
        let got = Got {
            detector: alert.detector,
            rule: alert.finding.rule.id,
            container: alert.container.ip,
            peer: alert.finding.peer.ip,
            severity: alert.finding.severity,
        };
        if !self.0.contains(&got) {
            self.0.push(got);
        }
    }
}

/// The frames of a capture that `pcaps/make` wrote: pcap, little-endian, microseconds, Ethernet.
fn frames(bytes: &[u8]) -> Vec<Frame<'_>> {
    assert_eq!(bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1], "pcap, little-endian, microseconds");
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut frames) = (24, Vec::new());
    while at < bytes.len() {
        let length = word(at + 8) as usize;
        frames.push(Frame {
            at: Timestamp::from_nanos(
                u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4)) * 1_000,
            ),
            link_type: LinkType::Ethernet,
            wire_bytes: word(at + 12),
            bytes: &bytes[at + 16..at + 16 + length],
        });
        at += 16 + length;
    }
    frames
}

/// Every capture below `folder`, in the order of their names.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(captures(&path));
        } else if path.extension().is_some_and(|it| it == "pcap") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn alerts(frames: Vec<Frame<'_>>) -> Vec<Got> {
    let mut engine = Engine::new(&Config::default()).unwrap();
    let mut output = Alerts::default();
    for frame in frames {
        engine.handle(Input::Frame { link: LinkId(0), frame }, &mut output);
    }
    engine.finish(&mut output);
    output.0
}

/// What is wrong with the alerts of one capture, a line each.
fn complaints(truth: &Truth, got: &[Got]) -> String {
    let mut text = String::new();
    let known = |detector: &str| DETECTORS.iter().any(|it| it.id == detector);
    let hit = |want: &Expected| {
        got.iter().any(|it| {
            it.detector == want.detector
                && it.peer == want.peer
                && want.rule.as_deref().is_none_or(|rule| rule == it.rule)
        })
    };
    for want in truth.finding.iter().filter(|it| known(&it.detector)) {
        let of_group = |it: &&Expected| it.group.is_some() && it.group == want.group;
        if !hit(want) && !truth.finding.iter().filter(of_group).any(hit) {
            let _ = writeln!(text, "  missed: {} with {}", want.detector, want.peer);
        }
    }
    for it in got {
        let mine = it.container == truth.container || it.container == truth.container_ip6;
        let meant = truth.finding.iter().any(|want| {
            want.peer == it.peer
                && (want.detector == it.detector || want.also.iter().any(|id| id == it.detector))
        });
        if !mine || !meant {
            let _ = writeln!(text, "  false: {it:?}");
        }
    }
    text
}

#[test]
fn each_capture_shows_what_it_holds_and_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps");
    let (mut failures, mut doubts, mut seen) = (String::new(), String::new(), 0);
    for path in captures(&folder) {
        let name = path.strip_prefix(&folder).unwrap().display();
        let text = std::fs::read_to_string(path.with_extension("toml")).unwrap();
        let truth: Truth = toml::from_str(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(frames(&bytes).len(), truth.packets, "{name}: packets");
        seen += 1;
        let wrong = complaints(&truth, &alerts(frames(&bytes)));
        if !wrong.is_empty() {
            let list = if truth.hard { &mut doubts } else { &mut failures };
            let _ = write!(list, "{name}\n{wrong}");
        }
    }
    assert!(seen >= 40, "only {seen} captures");
    if !doubts.is_empty() {
        println!("where a doubt is honest (hard = true):\n{doubts}");
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// All of them at once are a node's capture: no finding of one is lost among the others, be it of a
/// container that only answers.
#[test]
fn together_they_show_what_each_shows_alone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/malicious");
    let files: Vec<_> = captures(&folder).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let alone: Vec<_> = files.iter().flat_map(|bytes| alerts(frames(bytes))).collect();
    assert!(alone.iter().any(|it| it.rule == "shell.bind"), "no bind shell among them");
    let mut together: Vec<_> = files.iter().flat_map(|bytes| frames(bytes)).collect();
    together.sort_by_key(|frame| frame.at);
    let together = alerts(together);
    let is_lost = |one: &&Got| {
        let place = |got: &Got| (got.detector, got.container, got.peer);
        !together.iter().any(|other| place(other) == place(one))
    };
    let lost: Vec<_> = alone.iter().filter(is_lost).collect();
    assert!(lost.is_empty(), "lost among the others: {lost:?}");
}
