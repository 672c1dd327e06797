//! A network namespace that plays a node, containers beside it, and what was written about them.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, unreachable_pub, missing_docs)]

#[path = "skipped.rs"]
mod skipped;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use crate::namespace::ip;
use crate::namespace::within;
use serde_json::Value;
pub use skipped::skipped;

pub const VETHWATCH: &str = env!("CARGO_BIN_EXE_vethwatch");
/// Where the attacker listens, in the namespace that plays the host: no container's interface.
pub const ATTACKER: &str = "203.0.113.66";
static HOSTS: AtomicU32 = AtomicU32::new(0);

/// A namespace that plays a node's, and programs in it. Gone with this value.
pub struct Host {
    pub name: String,
    folder: tempfile::TempDir,
    pub children: Vec<Child>,
    /// Namespaces that go with this value.
    pub others: Vec<String>,
}

impl Host {
    pub fn new() -> Self {
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("vethwatch-n{}-{number}", std::process::id());
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} addr add {ATTACKER}/32 dev lo"));
        let folder = tempfile::tempdir().unwrap();
        Self { name, folder, children: Vec::new(), others: Vec::new() }
    }

    /// A namespace with an interface whose other end is the host's.
    pub fn container(&mut self, number: u8) -> String {
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a program in a namespace. What it says on standard error is kept.
    pub fn start(&mut self, namespace: &str, program: &str, arguments: &[&str]) -> usize {
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

    pub fn log(&self, program: usize) -> String {
        fs::read_to_string(self.path(&format!("log{program}"))).unwrap_or_default()
    }

    pub fn hears(&self, program: usize, text: &str) {
        until(Duration::from_secs(20), || self.log(program).contains(text));
    }

    pub fn watch(&mut self, records: &Path, more: &[&str]) -> usize {
        let records = records.to_str().unwrap();
        let arguments = [&["node", "--format", "eve", "--output", records][..], more].concat();
        let watcher = self.start(&self.name.clone(), VETHWATCH, &arguments);
        self.hears(watcher, "watching ");
        watcher
    }

    /// Listens as an attacker does, and returns what types.
    pub fn listen(&mut self) -> usize {
        let listener = self.start(&self.name.clone(), "python3", &["-c", LISTEN]);
        self.hears(listener, "listening");
        listener
    }

    pub fn serve(&mut self) {
        let server = self.start(&self.name.clone(), "python3", &["-c", SERVE]);
        self.hears(server, "listening");
    }

    /// Sends a signal to a program.
    pub fn signal(&self, program: usize, signal: &str) {
        // `nsenter` becomes the program that it runs, so the number is the program's.
        let id = self.children[program].id().to_string();
        let sent = Command::new("sh").args(["-c", "kill $0 $1", signal, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Ends the watcher as a kubelet does, and tells how long it took.
    pub fn end(&mut self, watcher: usize) -> Duration {
        let begin = Instant::now();
        self.signal(watcher, "-TERM");
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
pub fn until(at_most: Duration, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < at_most, "not within {at_most:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Listens, writes to the caller what is said on standard input, and to standard error what it says.
pub const LISTEN: &str = "import socket,sys,threading
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
s.bind(('203.0.113.66',4444)); s.listen(); sys.stderr.write('listening\\n'); sys.stderr.flush()
c,_=s.accept(); sys.stderr.write('connected\\n'); sys.stderr.flush()
def hear():
    while (d:=c.recv(4096)): sys.stderr.write(d.decode(errors='replace')); sys.stderr.flush()
threading.Thread(target=hear,daemon=True).start()
for line in sys.stdin: c.sendall(line.encode())";

/// Serves one small page for a minute.
pub const SERVE: &str = "import http.server,sys,time
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
pub const FETCH: &str = "import urllib.request,sys
for _ in range(int(sys.argv[2])): urllib.request.urlopen(sys.argv[1]).read()";

pub fn of_kind(records: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(records).unwrap_or_default();
    let read = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    read.filter(|record| record["event_type"] == kind).collect()
}

pub fn alerts(records: &Path) -> Vec<Value> {
    of_kind(records, "alert")
}

/// What makes two runs' findings the same.
pub fn findings(alerts: &[Value]) -> BTreeSet<String> {
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
