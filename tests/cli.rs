//! The command as people meet it: exit codes and messages.

#![cfg(feature = "live")]
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use support::{Order, Pcapng, datagrams, gzip, pcap, pcap_as, pcap_header, shared_captures};
use tempfile::TempDir;

const START: u64 = 1_772_366_400_000_000_000;

/// A folder in which the command runs.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vethwatch"));
        command.args(arguments).current_dir(self.0.path()).env_remove("NO_COLOR");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn run_with_stdin(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let bytes = stdin.to_vec();
        let writer = std::thread::spawn(move || {
            // The command may have seen enough.
            let _ = pipe.write_all(&bytes);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }
}

/// Exit code and what was said on standard error.
fn told(output: &Output) -> String {
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    format!("exit {code}\n{}", String::from_utf8_lossy(&output.stderr))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn says_what_is_wrong_with_an_input() {
    let desk = Desk::new();
    let good = pcap(&datagrams(START, 1_000_000, 0, 3));
    desk.write("good.pcap", &good);
    desk.write("empty.pcap", b"");
    desk.write("notes.txt", b"remember the milk\n");
    desk.write("random.pcap", b"\x01\x02\x03\x04\x05\x06\x07\x08");
    desk.write("capture.pcap.xz", b"\xfd7zXZ\0\0\x04");
    desk.write("header.pcap", &good[..20]);
    desk.write("version.pcap", &[&good[..4], &[9, 0], &good[6..]].concat());
    desk.write("wireless.pcap", &pcap_header(Order::Big, false, 127));
    desk.write("strange.pcap", &pcap_header(Order::Little, false, 65_000));
    let mut wireless = Pcapng::new(Order::Little);
    wireless.interface(127, Some("wlan0"), None);
    wireless.packet(0, START, b"beacon");
    desk.write("wireless.pcapng", &wireless.bytes);
    desk.write("section.pcapng", &wireless.bytes[..16]);
    desk.write("notes.gz", &gzip(b"remember the milk\n"));
    desk.write("nothing.gz", &gzip(b""));
    desk.write("twice.gz", &gzip(&gzip(&good)));
    desk.write("broken.gz", &[&gzip(&good)[..10], &[0xff; 20]].concat());
    desk.write("short.gz", &gzip(&good)[..12]);
    fs::create_dir(desk.0.path().join("folder")).unwrap();
    desk.write("folder/notes.txt", b"remember the milk\n");
    fs::create_dir(desk.0.path().join("bare")).unwrap();
    let mut all = String::new();
    for arguments in [
        &["replay", "missing.pcap"] as &[&str],
        &["replay", "good.pcap", "missing.pcap"],
        &["replay", "empty.pcap"],
        &["replay", "notes.txt"],
        &["replay", "random.pcap"],
        &["replay", "capture.pcap.xz"],
        &["replay", "header.pcap"],
        &["replay", "version.pcap"],
        &["replay", "wireless.pcap"],
        &["replay", "strange.pcap"],
        &["replay", "wireless.pcapng"],
        &["replay", "section.pcapng"],
        &["replay", "notes.gz"],
        &["replay", "nothing.gz"],
        &["replay", "twice.gz"],
        &["replay", "broken.gz"],
        &["replay", "short.gz"],
        &["replay", "folder"],
        &["replay", "bare"],
        &["replay", "-"],
        &["replay", "-", "-"],
    ] {
        let output = desk.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", told(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
        all += &format!("$ vethwatch {}\n{}", arguments.join(" "), told(&output));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn says_what_is_wrong_with_arguments_and_configuration() {
    let desk = Desk::new();
    desk.write("good.pcap", &pcap(&datagrams(START, 1_000_000, 0, 3)));
    desk.write("unknown.toml", b"[flow]\nflow_max = 1\n");
    desk.write("type.toml", b"[flow]\nflows_max = \"many\"\n");
    desk.write("range.toml", b"[flow]\nflows_max = 0\n");
    desk.write("syntax.toml", b"[flow\n");
    desk.write("allow.toml", b"[[allow]]\nreason = \"backup\"\nport = 443\n");
    let mut all = String::new();
    for arguments in [
        &["replay", "--config", "missing.toml", "good.pcap"] as &[&str],
        &["replay", "--config", "unknown.toml", "good.pcap"],
        &["replay", "--config", "type.toml", "good.pcap"],
        &["replay", "--config", "range.toml", "good.pcap"],
        &["replay", "--config", "syntax.toml", "good.pcap"],
        &["config", "--config", "allow.toml"],
        &["replay", "--output", "no/such/folder", "good.pcap"],
        &["replay", "--output", "/dev/full", "good.pcap"],
        &["replay", "--format", "xml", "good.pcap"],
        &["replay", "--container", "web", "good.pcap"],
        &["replay", "--pod-network", "10.0.0.0/33", "good.pcap"],
        &["replay", "--fail-on", "urgent", "good.pcap"],
        &["replay", "--events", "alert,http", "good.pcap"],
        &["replay", "--format", "table", "--events", "dns", "good.pcap"],
        &["replay", "--container", "a=10.0.0.1", "--container", "b=10.0.0.1", "good.pcap"],
        &["replay"],
    ] {
        let output = desk.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", told(&output));
        assert_eq!(stdout(&output), "", "{arguments:?}");
        all += &format!("$ vethwatch {}\n{}", arguments.join(" "), told(&output));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn fails_on_findings_from_the_given_severity_up() {
    let desk = Desk::new();
    let pcaps = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps");
    let shell = format!("{pcaps}/reverse-shell.pcap");
    desk.write("harmless.pcap", &pcap(&datagrams(START, 1_000_000, 0, 3)));
    for (severity, capture, code) in [
        ("high", shell.as_str(), 1),
        ("medium", &shell, 1),
        ("critical", &shell, 0),
        ("info", "harmless.pcap", 0),
    ] {
        let output = desk.run(&["replay", "--fail-on", severity, "--events", "alert", capture]);
        assert_eq!(output.status.code(), Some(code), "{severity} {capture}: {}", told(&output));
    }
}

#[test]
fn says_the_snap_length_in_an_alert() {
    let desk = Desk::new();
    let shell = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/reverse-shell.pcap");
    let output = desk.run(&["replay", "--events", "alert", shell]);
    assert!(stdout(&output).contains(r#""capture":{"drop_ratio":0.0,"snaplen":262144,"#));
}

#[test]
fn an_alert_ends_with_the_numbers_of_the_whole_capture() {
    let desk = Desk::new();
    let upload = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/malicious/exfil-curl-put.pcap");
    let all = stdout(&desk.run(&["replay", "--events", "alert", upload]));
    // The first was made when the limit was passed, long before the upload's end.
    assert!(all.lines().next().unwrap().contains(r#""state":"open""#), "{all}");
    assert!(!all.lines().next().unwrap().contains(r#""why":"5"#), "{all}");
    assert!(all.lines().last().unwrap().contains(r#""why":"5"#), "{all}");
}

#[test]
fn never_writes_over_an_input() {
    let desk = Desk::new();
    let capture = pcap(&datagrams(START, 1_000_000, 0, 3));
    fs::create_dir(desk.0.path().join("folder")).unwrap();
    desk.write("a.pcap", &capture);
    desk.write("folder/b.pcap", &capture);
    for (input, output, name) in [
        ("a.pcap", "a.pcap", "a.pcap"),
        ("a.pcap", "./folder/../a.pcap", "a.pcap"),
        ("folder", "folder/b.pcap", "folder/b.pcap"),
    ] {
        let run = desk.run(&["replay", "--output", output, input]);
        assert_eq!(run.status.code(), Some(2), "{}", told(&run));
        assert!(told(&run).contains("would be overwritten"), "{}", told(&run));
        assert!(fs::read(desk.0.path().join(name)).unwrap() == capture, "{name}");
    }
}

#[test]
fn helps() {
    let desk = Desk::new();
    for command in ["", "replay", "doctor", "config", "ads"] {
        let mut arguments = vec!["--help"];
        if !command.is_empty() {
            arguments.insert(0, command);
        }
        let output = desk.run(&arguments);
        assert!(output.status.success());
        let name = format!("help {command}");
        insta::assert_snapshot!(name.trim(), stdout(&output));
    }
}

#[test]
fn a_doctor_finds_replay_fit_anywhere() {
    let output = Desk::new().run(&["doctor", "--mode", "replay"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["modes"], serde_json::json!({ "replay": "ok" }));
    let table = Desk::new().run(&["doctor", "--mode", "replay", "--format", "table"]);
    assert!(stdout(&table).starts_with("replay   ok        can run fully\n"), "{}", stdout(&table));
}

#[test]
fn knows_no_other_detectors() {
    let output = Desk::new().run(&["ads", "beacom"]);
    assert!(told(&output).starts_with("exit 2\nvethwatch: error: no detector is called `beacom`"));
}

#[test]
fn prints_the_configuration_in_force() {
    let desk = Desk::new();
    let defaults = stdout(&desk.run(&["config"]));
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/vethwatch.toml");
    assert_eq!(defaults, fs::read_to_string(kept).unwrap());
    desk.write("some.toml", b"[flow]\nflows_max = 7\n");
    let some = stdout(&desk.run(&["config", "--config", "some.toml"]));
    let differences: Vec<_> =
        defaults.lines().zip(some.lines()).filter(|(default, now)| default != now).collect();
    assert_eq!(differences, [("flows_max = 65536", "flows_max = 7")]);
}

#[test]
fn analyses_a_cut_off_capture_with_one_warning() {
    let desk = Desk::new();
    let bytes = pcap(&datagrams(START, 1_000_000, 0, 3));
    desk.write("cut.pcap", &bytes[..bytes.len() - 1]);
    let output = desk.run(&["replay", "cut.pcap"]);
    insta::assert_snapshot!(told(&output), @r"
    exit 0
    vethwatch: cut.pcap is cut off inside a record; analysed the 2 packets before that, 156 bytes of 221
    ");
}

#[test]
fn reads_standard_input_whatever_it_holds() {
    let desk = Desk::new();
    let packets = datagrams(START, 1_000_000, 0, 300);
    let mut mixed = Pcapng::new(Order::Big);
    mixed.interface(1, Some("veth0"), Some(9));
    mixed.interface(101, Some("tun0"), Some(9));
    mixed.packet(0, packets[0].0, &packets[0].1);
    mixed.packet(1, packets[1].0, &packets[1].1[14..]);
    for (case, bytes) in [
        ("pcap", pcap(&packets)),
        ("pcap, big endian, microseconds", pcap_as(Order::Big, false, 1, &packets)),
        ("pcap, gzip", gzip(&pcap(&packets))),
        ("pcapng of two link types", mixed.bytes.clone()),
        ("pcapng of two link types, gzip", gzip(&mixed.bytes)),
    ] {
        let output = desk.run_with_stdin(&["replay", "-"], &bytes);
        assert_eq!(told(&output), "exit 0\n", "{case}");
    }
    let output = desk.run_with_stdin(&["replay", "-"], b"remember the milk\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("standard input: is not a capture but text"));
}

/// A capture of the project: a web container at work.
fn project_capture() -> Vec<u8> {
    fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/reverse-shell.pcap")).unwrap()
}

/// The records of a classic little-endian pcap file: header and data of each.
fn records(file: &[u8]) -> Vec<(u64, Vec<u8>, &[u8])> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let unit_ns = if word(0) == 0xa1b2_3c4d { 1 } else { 1_000 };
    let mut records = Vec::new();
    let mut at = 24;
    while at < file.len() {
        let captured = word(at + 8) as usize;
        let ns = u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4)) * unit_ns;
        let data = file[at + 16..at + 16 + captured].to_vec();
        records.push((ns, data, &file[at..at + 16 + captured]));
        at += 16 + captured;
    }
    records
}

#[test]
fn every_way_in_gives_the_same_records() {
    let desk = Desk::new();
    let plain = project_capture();
    let records = records(&plain);
    let (header, half) = (&plain[..24], records.len() / 2);
    let part = |records: &[(u64, Vec<u8>, &[u8])]| {
        let raw: Vec<&[u8]> = records.iter().map(|(_, _, raw)| *raw).collect();
        [header, &raw.concat()].concat()
    };
    let packets: Vec<_> = records.iter().map(|(at, data, _)| (*at, data.clone())).collect();
    let mut pcapng = Pcapng::new(Order::Little);
    pcapng.interface(1, None, Some(9));
    for (at, data) in &packets {
        pcapng.packet(0, *at, data);
    }
    desk.write("plain.pcap", &plain);
    desk.write("gzip", &gzip(&plain));
    desk.write("zstd", &support::zstd(&plain));
    desk.write("big.pcap", &pcap_as(Order::Big, true, 1, &packets));
    desk.write("new.pcapng", &pcapng.bytes);
    fs::create_dir(desk.0.path().join("parts")).unwrap();
    desk.write("parts/1.pcap", &part(&records[..half]));
    desk.write("parts/2.pcap.gz", &gzip(&part(&records[half..])));
    desk.write("even.pcap", &part(&records.iter().step_by(2).cloned().collect::<Vec<_>>()));
    desk.write("odd.pcap", &part(&records.iter().skip(1).step_by(2).cloned().collect::<Vec<_>>()));
    let expected = stdout(&desk.run(&["replay", "plain.pcap"]));
    assert!(expected.lines().count() > 100, "{expected}");
    for inputs in [
        &["plain.pcap"] as &[&str],
        &["gzip"],
        &["zstd"],
        &["big.pcap"],
        &["new.pcapng"],
        &["parts"],
        &["parts/2.pcap.gz", "parts/1.pcap"],
        &["even.pcap", "odd.pcap"],
    ] {
        let output = desk.run(&[&["replay"], inputs].concat());
        assert_eq!(told(&output), "exit 0\n", "{inputs:?}");
        assert!(stdout(&output) == expected, "{inputs:?}: other records");
    }
    let output = desk.run_with_stdin(&["replay", "-"], &plain);
    assert!(stdout(&output) == expected, "standard input: other records");
    let output = desk.run(&["replay", "--output", "records.json", "plain.pcap"]);
    assert_eq!(stdout(&output), "");
    assert!(fs::read_to_string(desk.0.path().join("records.json")).unwrap() == expected);
}

#[test]
fn writes_what_is_asked_for() {
    let desk = Desk::new();
    desk.write("plain.pcap", &project_capture());
    for events in ["alert", "flow", "dns", "tls", "stats", "dns,tls"] {
        let lines = stdout(&desk.run(&["replay", "--events", events, "plain.pcap"]));
        let mut kinds: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|record| record["event_type"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds.dedup();
        assert!(kinds.iter().all(|kind| events.split(',').any(|event| event == kind)), "{kinds:?}");
        assert!(kinds.len() <= events.split(',').count());
        assert!(events == "alert" || !kinds.is_empty(), "{events}: nothing");
    }
    let report = stdout(&desk.run(&["replay", "--format", "table", "plain.pcap"]));
    assert!(report.contains("Containers (1)"), "{report}");
    desk.run(&["replay", "--output", "records.json", "plain.pcap"]);
    let mode = fs::metadata(desk.0.path().join("records.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}: for owner and group");
    assert!(!report.contains('\u{1b}'), "no colour where there is no terminal");
}

#[test]
fn stops_quietly_when_nobody_reads_the_records() {
    let desk = Desk::new();
    desk.write("plain.pcap", &project_capture());
    for arguments in
        [&["replay", "plain.pcap"] as &[&str], &["replay", "--format", "table", "plain.pcap"]]
    {
        let mut child = desk.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(told(&child.wait_with_output().unwrap()), "exit 141\n", "{arguments:?}");
    }
}

#[test]
fn a_signal_ends_the_reading_and_not_the_report() {
    let desk = Desk::new();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let arguments = &["replay", "--verbose", "--events", "flow,stats", "-"];
        let mut child = desk.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&pcap(&datagrams(START, 1_000_000, 0, 3))).unwrap();
        // It waits for more, with its signals caught, once it has named the interface.
        let mut said = String::new();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        errors.read_line(&mut said).unwrap();
        assert!(said.contains("interface 0"), "{said}");
        std::thread::sleep(std::time::Duration::from_millis(300));
        let pid = child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s $0 $1", signal, &pid]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{signal}");
        let mut rest = String::new();
        errors.read_to_string(&mut rest).unwrap();
        assert_eq!(
            rest,
            format!(
                "vethwatch: interrupted by SIG{signal}: the records cover the first 3 packets\n"
            )
        );
        let records = stdout(&output);
        assert_eq!(records.matches(r#""event_type":"flow""#).count(), 3, "{records}");
        assert!(records.contains(r#""interrupted":true"#), "{records}");
        drop(pipe);
    }
}

#[test]
fn says_what_is_missing_from_the_inputs_and_what_is_there_twice() {
    let desk = Desk::new();
    let bytes = pcap(&datagrams(START, 1_000_000, 0, 30));
    fs::create_dir(desk.0.path().join("day")).unwrap();
    desk.write("day/a.pcap", &bytes);
    desk.write("day/a.pcap.gz", &gzip(&bytes));
    desk.write("day/b.pcap", &pcap(&datagrams(START, 2_000_000, 0, 30))[..2_000]);
    desk.write("day/notes.txt", b"remember the milk\n");
    desk.write("day/other.txt", b"remember the bread\n");
    let output = desk.run(&["replay", "--format", "table", "day"]);
    let report = stdout(&output);
    let unseen = report.split_once("Not seen\n").unwrap().1;
    insta::assert_snapshot!(format!("{}{unseen}", told(&output)));
    let stats = stdout(&desk.run(&["replay", "--events", "stats", "day"]));
    let inputs = r#""inputs":{"cut_off":1,"skipped_frames":0,"passed_over":2,"repeated":1,"#;
    assert!(stats.contains(inputs), "{stats}");
}

#[test]
fn names_the_configured_containers_that_are_not_there() {
    let desk = Desk::new();
    desk.write("a.pcap", &pcap(&datagrams(START, 1_000_000, 0, 3)));
    let mut all = String::new();
    for arguments in [
        &["--container", "db=10.9.9.9"] as &[&str],
        &["--pod-network", "10.9.0.0/16"],
        &["--container", "db=10.9.9.9", "--container", "web=10.244.1.7"],
    ] {
        let command = [&["replay", "--format", "table"], arguments, &["a.pcap"]].concat();
        let report = stdout(&desk.run(&command));
        let part = report.split("\nNot seen").next().unwrap();
        all += &format!("$ vethwatch {}\n{part}\n", command.join(" "));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn reads_named_pipes() {
    let desk = Desk::new();
    let pipe = desk.0.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        support::skipped("no mkfifo");
        return;
    }
    let bytes = pcap(&datagrams(START, 1_000_000, 0, 300));
    let writer = std::thread::spawn(move || fs::write(pipe, bytes).unwrap());
    assert_eq!(told(&desk.run(&["replay", "pipe"])), "exit 0\n");
    writer.join().unwrap();
}

#[test]
fn reads_public_captures_that_libpcap_does_not() {
    let Some(captures) = shared_captures() else { return };
    let folder = captures.join("public/decode_tunnel");
    let desk = Desk::new();
    for (file, expected) in [
        // Five interfaces of three link types.
        ("seladb__PcapPlusPlus__many_interfaces-1.pcapng", Some(0)),
        ("arkime__arkime__bigendian.pcap", Some(0)),
        ("seladb__PcapPlusPlus__nanosecs.pcap", Some(0)),
        // 802.11: no container speaks it.
        ("arkime__arkime__80211http.pcap", Some(2)),
    ] {
        let path = folder.join(file);
        let output = desk.run(&["replay", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), expected, "{file}: {}", told(&output));
    }
}

#[test]
fn stops_quietly_when_nobody_reads() {
    let desk = Desk::new();
    for arguments in [&["config"] as &[&str], &["schema"], &["ads"]] {
        let mut child = desk.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(told(&child.wait_with_output().unwrap()), "exit 0\n", "{arguments:?}");
    }
}

#[test]
fn many_copies_are_not_told_one_by_one() {
    let desk = Desk::new();
    let bytes = pcap(&datagrams(START, 1_000_000, 0, 30));
    for number in 0..20 {
        desk.write(&format!("{number}.pcap"), &bytes);
    }
    let output = desk.run(&["replay", "--events", "stats", "."]);
    let told = told(&output);
    assert_eq!(told.matches("name each capture once").count(), 5, "{told}");
    assert!(told.contains("and 14 more that begin as one before them"), "{told}");
    assert!(stdout(&output).contains(r#""repeated":19,"#));
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, sample) = readme.split_once("```text\nHIGH").unwrap();
    let (sample, _) = sample.split_once("\n```").unwrap();
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/reverse-shell.pcap");
    let report = stdout(&Desk::new().run(&["replay", "--format", "table", capture]));
    assert!(report.contains(&format!("HIGH{sample}\n")), "{sample}\nis not in\n{report}");
}
