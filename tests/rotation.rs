//! Records of a live run, in files that others rotate and before readers that go away.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/namespace.rs"]
mod namespace;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Lab, VETHWATCH, within};
use serde_json::Value;

/// A record each second.
const STATS: &str = "[output]\nstats_interval_s = 1\n";

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wait_for_records(path: &Path) -> usize {
    let begin = Instant::now();
    loop {
        let found = records(path).len();
        if found > 0 || begin.elapsed() > Duration::from_secs(10) {
            return found;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn sidecar(lab: &Lab) -> Command {
    let config = lab.write("c.toml", STATS);
    let mut command = within(&lab.pod, VETHWATCH);
    command.args(["sidecar", "--events", "stats", "--config", &config]);
    command
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_confined_monitor_makes_its_file_anew() {
    let mut lab = Lab::new();
    let (path, moved) = (lab.path("eve.json"), lab.path("eve.json.1"));
    let watcher = lab.start(sidecar(&lab).arg("--output").arg(&path));
    assert!(wait_for_records(&path) > 0, "{}", lab.log(watcher));
    fs::rename(&path, &moved).unwrap();
    assert!(wait_for_records(&path) > 0, "moved: {}", lab.log(watcher));
    fs::copy(&path, &moved).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert!(wait_for_records(&path) > 0, "copied and truncated: {}", lab.log(watcher));
    fs::remove_file(&path).unwrap();
    assert!(wait_for_records(&path) > 0, "removed: {}", lab.log(watcher));
    lab.end(watcher);
    assert!(records(&path).last().unwrap()["vethwatch"]["final"] == true);

    let before = records(&path).len();
    let again = lab.start(sidecar(&lab).arg("--output").arg(&path));
    lab.hears(again, "watching");
    lab.end(again);
    assert!(records(&path).len() > before, "what was there stays");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_reader_that_goes_away_is_said() {
    let lab = Lab::new();
    let mut command = sidecar(&lab);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watcher = command.spawn().unwrap();
    let mut first = [0];
    watcher.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = watcher.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(141), "{said}");
    assert!(said.contains("whoever read the records went away"), "{said}");
}
