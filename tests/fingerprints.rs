//! TLS against public captures: JA4 of every client equals what others computed.
//!
//! The captures come with two values each: one by the project that published the capture, one
//! computed anew by another program. Where both agree the value must be ours. What differs is listed
//! in `docs/comparison.md`, which this test's output fills.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod common;
#[path = "support/captures.rs"]
mod captures;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use vethwatch::record::{Output, Record, RecordKind};

/// Not those of QUIC, which encrypts them, nor of DTLS: neither is read yet.
fn over_tcp(ja4: &str) -> bool {
    ja4.starts_with('t')
}

/// Captures in which some expected fingerprint is not ours, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("ntop__nDPI__tls_invalid_reads.pcap", "one client is inside GTP-U, which is not unwrapped"),
    ("zeek__zeek__irc-starttls.pcap", "the others do not look for TLS after IRC's STARTTLS"),
];

/// What the TLS records of a capture say, each value once.
#[derive(Default)]
struct Fingerprints {
    ja4: BTreeSet<String>,
    /// JA3, JA3S, and the SHA-1 of certificates.
    others: BTreeSet<String>,
}

impl Output for Fingerprints {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Tls
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Tls { tls, .. } = record {
            self.ja4.extend(tls.ja4.as_deref().map(String::from));
            let certificate = tls.certificate.as_ref().map(|certificate| &certificate.fingerprint);
            let others = [tls.ja3.as_ref(), tls.ja3s.as_ref(), certificate];
            self.others.extend(others.into_iter().flatten().map(ToString::to_string));
        }
    }
}

fn fingerprints_of(path: &Path) -> Fingerprints {
    let mut output = Fingerprints::default();
    captures::analyse(path, &mut output);
    output
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

#[test]
fn ja4_equals_what_others_computed() {
    let Some(folder) = common::captures() else { return };
    let manifest = fs::read_to_string(folder.join("public/manifest.jsonl")).unwrap();
    let (mut equal, mut elsewhere) = (0, 0);
    let mut wrong = Vec::new();
    for line in manifest.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        if entry["category"] != "tls_fingerprint" {
            continue;
        }
        let file = entry["file"].as_str().unwrap();
        let [expected, recomputed] =
            ["expected", "recomputed"].map(|key| strings(&entry["ja4_client"][key]));
        let of_tcp = |set: &BTreeSet<String>| -> BTreeSet<String> {
            set.iter().filter(|ja4| over_tcp(ja4)).cloned().collect()
        };
        let got = fingerprints_of(&folder.join("public/tls_fingerprint").join(file)).ja4;
        let (expected_tcp, recomputed_tcp) = (of_tcp(&expected), of_tcp(&recomputed));
        let skipped = expected.len() - expected_tcp.len();
        elsewhere += skipped;
        let same = got == expected_tcp;
        let known = DIFFERENT.iter().find(|(name, _)| *name == file);
        let verdict = match (same, got == recomputed_tcp, known) {
            (true, ..) if got.is_empty() => "none over TCP",
            (true, ..) => "equal",
            (false, true, _) => "equal to the second value",
            (false, false, Some((_, why))) => why,
            (false, false, None) => "different",
        };
        let confidence = entry["confidence"].as_str().unwrap();
        println!("| {file} | {confidence} | {} | {skipped} | {verdict} |", got.len());
        if !same && (confidence == "high" || (got != recomputed_tcp && known.is_none())) {
            wrong.push(format!(
                "{file} ({confidence}): {got:?} is not {expected_tcp:?} nor {recomputed_tcp:?}"
            ));
        }
        if known.is_some() && same {
            wrong.push(format!("{file} is equal now: take it off the list"));
        }
        equal += usize::from(same && confidence == "high" && !got.is_empty());
    }
    println!("{equal} captures of high confidence are equal; {elsewhere} values are not over TCP");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(equal >= 40, "only {equal} captures were compared");
}

/// What nDPI writes before a value.
const MARKS: [&str; 3] = ["[JA3C: ", "[JA3S: ", "[Certificate SHA-1: "];

/// Values of nDPI that are not ours, and why.
const NOT_OURS: &[(&str, &str)] = &[
    ("53611273a714cb4789c8222932efd5a7", "the client is inside GTP-U, which is not unwrapped"),
    ("9d5430e6dfce44459702b74d790df353", "the same connection"),
];

#[test]
fn ja3_and_certificates_equal_what_others_logged() {
    let Some(folder) = common::captures() else { return };
    let mut compared = 0;
    let mut wrong = Vec::new();
    for log in captures::files_below(&folder.join("public/tls_fingerprint")) {
        let name = log.file_name().unwrap().to_string_lossy().into_owned();
        let (capture, expected) = if let Some(capture) = name.strip_suffix(".expected.txt") {
            let text = fs::read_to_string(&log).unwrap();
            let mut values = BTreeSet::new();
            for flow in text.lines().filter(|line| line.contains("\tTCP ")) {
                for mark in MARKS {
                    if let Some((_, rest)) = flow.split_once(mark) {
                        let value = rest.split([']', ' ']).next().unwrap_or_default();
                        values.insert(value.replace(':', "").to_ascii_lowercase());
                    }
                }
            }
            (capture, values)
        } else if let Some(capture) = name.strip_suffix(".expected.json")
            && name.starts_with("arkime")
        {
            let log: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
            let mut values = BTreeSet::new();
            for session in log["sessions3"].as_array().into_iter().flatten() {
                let tls = &session["body"]["tls"];
                values.extend(strings(&tls["ja3"]));
                values.extend(strings(&tls["ja3s"]));
            }
            (capture, values)
        } else {
            continue;
        };
        let got = fingerprints_of(&log.with_file_name(capture)).others;
        for value in &expected {
            compared += 1;
            let known = NOT_OURS.iter().any(|(other, _)| other == value);
            if !got.contains(value) && !known {
                wrong.push(format!("{capture}: {value} is missing"));
            }
            if got.contains(value) && known {
                wrong.push(format!("{capture}: {value} is ours now: take it off the list"));
            }
        }
        println!("| {capture} | {} values |", expected.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 100, "only {compared} values were compared");
}

/// The protocol that flows end with and the one that they began with, of flows that changed it.
#[derive(Default)]
struct Changes(Vec<(Option<&'static str>, Option<&'static str>)>);

impl Output for Changes {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Flow
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Flow { flow, end: Some(_), .. } = record {
            self.0.push((flow.app_name(), flow.outer.map(|outer| outer.name)));
        }
    }
}

#[test]
fn what_went_over_to_tls_is_known_by_what_it_was() {
    let Some(folder) = common::captures() else { return };
    for (file, outer) in
        [("arkime__arkime__smtp-starttls.pcap", "smtp"), ("zeek__zeek__irc-starttls.pcap", "irc")]
    {
        let mut changes = Changes::default();
        captures::analyse(&folder.join("public/tls_fingerprint").join(file), &mut changes);
        assert_eq!(changes.0, [(Some("tls"), Some(outer))], "{file}");
    }
}
