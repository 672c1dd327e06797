//! What the live modes keep once they watch is what docs/privileges.md says, they still do all that
//! they should, and they can no longer do what they should not.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/namespace.rs"]
mod namespace;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lab::{Lab, VETHWATCH, ip, within};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../docs/privileges.md");

/// Bits of capabilities that are kept anywhere (include/uapi/linux/capability.h).
const CAPABILITIES: [(&str, u32); 3] = [("NET_ADMIN", 12), ("NET_RAW", 13), ("SYS_PTRACE", 19)];

/// Sends so many datagrams of 1400 bytes.
const FLOOD: &str = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
for n in range(int(sys.argv[1])): s.sendto(b'x'*1400,('10.213.7.2',10000+n%50))";

/// Starts a watcher: `node` on the other side of the pod's interface, which plays the host.
fn watch(lab: &mut Lab, arguments: &[&str]) -> usize {
    let namespace = if arguments[0] == "node" { &lab.other } else { &lab.pod };
    let mut command = within(namespace, VETHWATCH);
    let watcher = lab.start(command.args(arguments).args(["--format", "eve"]));
    lab.hears(watcher, "watching ");
    watcher
}

/// Name and status of each thread.
fn threads(lab: &Lab, program: usize) -> Vec<(String, String)> {
    let folder = format!("/proc/{}/task", lab.children[program].id());
    let tasks = fs::read_dir(folder).unwrap().map(|task| task.unwrap().path());
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let mut threads: Vec<_> = tasks
        .map(|task| (read(task.join("comm")).trim().to_owned(), read(task.join("status"))))
        .collect();
    threads.sort();
    threads
}

fn flood(lab: &Lab, count: &str) {
    let mut flood = within(&lab.pod, "python3");
    assert!(flood.args(["-c", FLOOD, count]).status().unwrap().success());
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

/// The rows `| mode | thread | capabilities | … |` of the document, as thread and mask.
fn documented(mode: &str) -> Vec<(String, u64)> {
    let cells = |line: &str| -> Vec<String> {
        line.split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let rows = DOCUMENT.lines().map(cells).filter(|cells| cells.len() == 6 && cells[1] == mode);
    let mask = |text: &str| {
        let bit = |name: &str| CAPABILITIES.iter().find(|(known, _)| *known == name).unwrap().1;
        let names = text.split(", ").filter(|name| *name != "none");
        names.map(|name| 1 << bit(name)).sum::<u64>()
    };
    let mut threads: Vec<_> = rows.map(|cells| (cells[2].clone(), mask(&cells[3]))).collect();
    threads.sort();
    threads
}

fn check(lab: &Lab, watcher: usize, mode: &str, workers: usize) {
    let mut expected = documented(mode);
    assert!(expected.len() >= 2, "docs/privileges.md has the threads of {mode}");
    // There is one for each of several.
    if let Some(place) = expected.iter().position(|(thread, _)| thread == "worker") {
        let worker = expected.remove(place);
        expected.extend(std::iter::repeat_n(worker, workers));
        expected.sort();
    }
    let threads = threads(lab, watcher);
    let hex = |status: &str, name| u64::from_str_radix(field(status, name), 16).unwrap();
    let kept: Vec<(String, u64)> =
        threads.iter().map(|(name, status)| (name.clone(), hex(status, "CapPrm"))).collect();
    assert_eq!(kept, expected, "docs/privileges.md is not what {mode} keeps");
    for (name, status) in &threads {
        assert_eq!(hex(status, "CapEff"), hex(status, "CapPrm"), "{name}");
        for none in ["CapInh", "CapBnd", "CapAmb"] {
            assert_eq!(hex(status, none), 0, "{name}: {none}");
        }
        assert_eq!(field(status, "NoNewPrivs"), "1", "{name}");
        assert_eq!(field(status, "Seccomp"), "2", "{name}");
    }
    let log = lab.log(watcher);
    assert!(!log.contains("could not") && !log.contains("seccomp"), "{log}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_sidecar_keeps_what_is_documented_and_reads_nothing_else() {
    let mut lab = Lab::new();
    // A folder of its own, as a ConfigMap has: what is written in it later can be read.
    fs::create_dir(lab.path("etc")).unwrap();
    let config = lab.write("etc/config.toml", "");
    let outside = lab.write("outside.toml", "[flow]\nflows_mx = 3\n");
    fs::create_dir(lab.path("state")).unwrap();
    let state = lab.path("state/pod").to_str().unwrap().to_owned();
    let watcher = watch(&mut lab, &["sidecar", "--config", &config, "--state", &state]);
    check(&lab, watcher, "sidecar", 0);
    lab.write("etc/new.toml", "[output]\nstats_interval_s = 1\n");
    fs::rename(lab.path("etc/new.toml"), &config).unwrap();
    lab.signal("-HUP", watcher);
    lab.hears(watcher, "the configuration was read again");
    fs::remove_file(&config).unwrap();
    symlink(&outside, &config).unwrap();
    lab.signal("-HUP", watcher);
    if !lab.log(watcher).contains("Landlock: no file") {
        lab.hears(watcher, "Permission denied");
    }
    lab.end(watcher);
    assert!(fs::read_to_string(&state).unwrap().starts_with("{\"format\":"));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_sidecar_that_is_not_to_be_confined_is_not() {
    let mut lab = Lab::new();
    let off = "[privilege]\ndrop_capabilities = false\nlandlock = false\nseccomp = false\n";
    fs::create_dir(lab.path("etc")).unwrap();
    let config = lab.write("etc/config.toml", off);
    let outside = lab.write("outside.toml", &format!("{off}[flow]\nflows_mx = 3\n"));
    let watcher = watch(&mut lab, &["sidecar", "--config", &config]);
    for (name, status) in threads(&lab, watcher) {
        assert_ne!(field(&status, "CapEff"), "0000000000000000", "{name}");
        assert_ne!(field(&status, "Seccomp"), "2", "{name}");
        assert_eq!(field(&status, "NoNewPrivs"), "1", "{name}: this costs nothing");
    }
    fs::remove_file(&config).unwrap();
    symlink(&outside, &config).unwrap();
    lab.signal("-HUP", watcher);
    lab.hears(watcher, "did you mean `flows_max`?");
    lab.end(watcher);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_keeps_what_is_documented_and_goes_on_writing() {
    let mut lab = Lab::new();
    fs::create_dir(lab.path("kept")).unwrap();
    let kept = lab.path("kept/kept.pcapng");
    fs::create_dir(lab.path("state")).unwrap();
    let (socket, state) = (lab.path("docker.sock"), lab.path("state/node"));
    let write = ["--write-mib", "1", "--write-files", "2", "--write", kept.to_str().unwrap()];
    let runtime = ["node", "--docker-socket", socket.to_str().unwrap()];
    let state = ["--state", state.to_str().unwrap()];
    let watcher = watch(&mut lab, &[&runtime[..], &write, &state].concat());
    check(&lab, watcher, "node", 0);
    // A runtime that starts later is found.
    serve_docker(&socket);
    lab.hears(watcher, "docker.sock: the runtime answers");
    // Of a process in another namespace, which is not ours to trace without SYS_PTRACE, and a new
    // interface: both are noticed.
    let (pod, host) = (lab.pod.clone(), lab.other.clone());
    lab.start(within(&pod, "sleep").arg("60"));
    ip(&format!("link add eth1 netns {pod} type veth peer name later netns {host}"));
    for (namespace, interface) in [(&pod, "eth1"), (&host, "later")] {
        ip(&format!("-n {namespace} link set {interface} up"));
    }
    flood(&lab, "3000");
    thread::sleep(Duration::from_secs(1));
    lab.end(watcher);
    // 3000 datagrams of 1400 bytes are four files, of which the last two are kept.
    assert!(!kept.exists(), "the first was deleted: {}", lab.log(watcher));
    assert_eq!(fs::read_dir(lab.path("kept")).unwrap().count(), 2, "{}", lab.log(watcher));
    let log = lab.log(watcher);
    assert!(!log.contains("denied") && !log.contains("SYS_PTRACE"), "{log}");
    let records = fs::read_to_string(lab.path(&format!("out{watcher}"))).unwrap();
    assert!(records.contains("\"event_type\":\"flow\""), "{log}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_sidecar_needs_net_raw_alone_and_writes_nothing() {
    let mut lab = Lab::new();
    // Where the build stands may be closed to others.
    let program = lab.path("vethwatch");
    fs::copy(VETHWATCH, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!(
        "mount --make-rprivate / && mount --bind / / && exec unshare --mount --propagation private \
         --root=/ sh -c 'mount -o remount,ro,bind / && {{ ! touch /vethwatch-probe 2>/dev/null; }} && \
         exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all,+net_raw \
         --ambient-caps=-all,+net_raw --bounding-set=-all,+net_raw {} sidecar --format eve'",
        program.display()
    );
    let pod = lab.pod.clone();
    let mut command = within(&pod, "unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let watcher = lab.start(&mut command);
    lab.hears(watcher, "watching eth0");
    for (name, status) in threads(&lab, watcher) {
        assert!(field(&status, "Uid").starts_with("65534"), "{name}: {status}");
        let kept = if name == "output" { "0000000000000000" } else { "0000000000002000" };
        assert_eq!(field(&status, "CapEff"), kept, "{name}");
        assert_eq!(field(&status, "CapAmb"), "0000000000000000", "{name}");
        assert_eq!(field(&status, "Seccomp"), "2", "{name}");
    }
    flood(&lab, "10");
    // The kernel gathers frames for 100 ms.
    thread::sleep(Duration::from_millis(500));
    // An interface that comes back needs NET_RAW again.
    let host = lab.other.clone();
    ip(&format!("-n {pod} link del eth0"));
    lab.hears(watcher, "eth0: no longer watched");
    ip(&format!("link add eth0 netns {pod} type veth peer name eth0 netns {host}"));
    for namespace in [&pod, &host] {
        ip(&format!("-n {namespace} link set eth0 up"));
    }
    lab.hears(watcher, "watching eth0 too");
    lab.end(watcher);
    let records = fs::read_to_string(lab.path(&format!("out{watcher}"))).unwrap();
    assert_eq!(records.matches("\"dest_ip\":\"10.213.7.2\"").count(), 10, "{records}");
}

/// As much of Docker's API as says that nothing runs.
fn serve_docker(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    let answer = |mut stream: UnixStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            let body = if line.contains("/version") { "{\"ApiVersion\":\"1.41\"}" } else { "[]" };
            if lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
                let _ = write!(stream, "{head} {}\r\n\r\n{body}", body.len());
            }
        }
    };
    // Ends with the test.
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| {
            thread::spawn(move || answer(stream));
        });
    });
}

/// `vethwatch doctor` in the pod: exit code and document.
#[test]
#[ignore = "needs root and network namespaces"]
fn each_of_several_workers_keeps_what_is_documented_and_goes_on_writing() {
    let mut lab = Lab::new();
    for folder in ["etc", "kept", "state"] {
        fs::create_dir(lab.path(folder)).unwrap();
    }
    let config = lab.write("etc/config.toml", "[capture]\nworkers = 2\n");
    let (kept, state) = (lab.path("kept/kept.pcapng"), lab.path("state/node"));
    let write = ["--write-mib", "1", "--write-files", "2", "--write", kept.to_str().unwrap()];
    let more = ["node", "--config", &config, "--state", state.to_str().unwrap()];
    let watcher = watch(&mut lab, &[&more[..], &write].concat());
    check(&lab, watcher, "node", 2);
    // Each opens its next file by itself.
    flood(&lab, "2000");
    thread::sleep(Duration::from_secs(1));
    lab.signal("-HUP", watcher);
    lab.hears(watcher, "the configuration was read again");
    lab.end(watcher);
    let files = fs::read_dir(lab.path("kept")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 3, "one of one worker, two of the other: {files:?}");
    assert!(fs::read_to_string(&state).unwrap().starts_with("{\"format\":"));
}

fn doctor(lab: &Lab, before: &[&str], arguments: &[&str]) -> (Option<i32>, Value) {
    let (first, rest) = match before.split_first() {
        Some((first, rest)) => (*first, [rest, &[VETHWATCH]].concat()),
        None => (VETHWATCH, Vec::new()),
    };
    let mut command = within(&lab.pod, first);
    let output = command.args(rest).args(["doctor", "--format", "json"]).args(arguments).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    (output.status.code(), serde_json::from_str(&text).unwrap())
}

fn verdict<'a>(document: &'a Value, check: &str) -> &'a str {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == check);
    found.map_or("absent", |one| one["verdict"].as_str().unwrap())
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_doctor_says_what_is_missing() {
    let lab = Lab::new();
    let (code, document) = doctor(&lab, &[], &["--mode", "sidecar"]);
    assert!(code.is_some_and(|code| code < 2), "{document}");
    assert_eq!(verdict(&document, "capture in a pod"), "ok", "{document}");
    assert_eq!(verdict(&document, "netlink"), "absent", "only what was asked for: {document}");
    let bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    let bare = [&bare[..], &["--reuid=65534", "--clear-groups"]].concat();
    let (code, document) = doctor(&lab, &bare, &["--mode", "sidecar"]);
    assert_eq!(code, Some(2), "{document}");
    assert_eq!(verdict(&document, "NET_RAW"), "cannot", "{document}");
    let (code, document) = doctor(&lab, &[], &["--mode", "node"]);
    assert_eq!(code, Some(1), "no host's namespace, no runtime: {document}");
    assert_eq!(verdict(&document, "capture of all interfaces"), "ok", "{document}");
    assert_eq!(verdict(&document, "runtime's socket"), "degraded", "{document}");
    // Without an interface that is up, a sidecar has nothing to watch.
    ip(&format!("-n {} link set eth0 down", lab.pod));
    let (code, document) = doctor(&lab, &[], &["--mode", "sidecar"]);
    assert_eq!(code, Some(2), "{document}");
}
