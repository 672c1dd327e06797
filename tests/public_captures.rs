//! Public captures of real attacks and of harmless programs: what others found in them is found, and
//! nothing is said of what is known to be harmless.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
#[path = "support/captures.rs"]
mod captures;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use vethwatch::detect::Severity;
use vethwatch::record::{Output, Record, RecordKind};

/// The manifest's word for what each detector looks for.
const KINDS: [(&str, &str); 3] =
    [("reverse_shell", "reverse_shell"), ("beacon", "beacon"), ("exfil", "exfiltration")];

/// What is in a capture and is not found, and why.
const NOT_FOUND: &[(&str, &str)] = &[
    (
        "corelight__zeek-caldera-detector__ragdoll.pcap",
        "ten calls between two containers of one network, whose gaps vary by half",
    ),
    (
        "corelight__zeek-agenttesla-detector__agenttesla_ftp_f9421792.pcap",
        "533 bytes by FTP: nothing in their volume tells them from any upload",
    ),
];

/// Detector and peer of each alert of `medium` or above.
#[derive(Default)]
struct Alerts(BTreeSet<(String, String)>);

impl Output for Alerts {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Alert(alert) = record
            && alert.severity() >= Severity::Medium
        {
            self.0.insert((alert.detector.to_string(), alert.finding.peer.to_string()));
        }
    }
}

fn alerts(path: &Path) -> Alerts {
    let mut output = Alerts::default();
    captures::analyse(path, &mut output);
    output
}

#[test]
fn what_others_found_is_found_and_no_trap_is_reported() {
    let Some(folder) = common::captures() else { return };
    let manifest = fs::read_to_string(folder.join("public/manifest.jsonl")).unwrap();
    let (mut found, mut traps) = (0, 0);
    let mut wrong = Vec::new();
    for line in manifest.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let (file, category) = (entry["file"].as_str().unwrap(), &entry["category"]);
        let expected: Vec<(&str, String)> = entry["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|finding| {
                let (_, detector) = KINDS.iter().find(|(kind, _)| finding["kind"] == **kind)?;
                Some((*detector, format!("{}:{}", finding["dst"].as_str()?, finding["port"])))
            })
            .collect();
        let harmless = category == "benign" || entry["must_not_report"].is_array();
        if expected.is_empty() && !harmless {
            continue;
        }
        let path = folder.join("public").join(category.as_str().unwrap()).join(file);
        let Alerts(mut got) = alerts(&path);
        let known = NOT_FOUND.iter().any(|(name, _)| *name == file);
        for (detector, peer) in expected {
            let is_found = got.remove(&(detector.to_string(), peer.clone()));
            found += usize::from(is_found);
            if is_found == known {
                wrong.push(format!("{file}: {detector} to {peer}: found is {is_found}"));
            }
        }
        if harmless {
            traps += 1;
            wrong.extend(got.iter().map(|(detector, peer)| format!("{file}: {detector} {peer}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found >= 4 && traps >= 20, "only {found} findings and {traps} traps");
}
