//! A pod's network namespace, another one beside it, and programs in both.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, unreachable_pub, missing_docs)]

pub use crate::namespace::{ip, within};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const VETHWATCH: &str = env!("CARGO_BIN_EXE_vethwatch");
static LABS: AtomicU32 = AtomicU32::new(0);

/// Two namespaces, a pod's and another's, with a veth pair between them. Gone with this value.
pub struct Lab {
    pub pod: String,
    pub other: String,
    folder: tempfile::TempDir,
    pub children: Vec<Child>,
}

impl Lab {
    pub fn new() -> Self {
        let (id, n) = (std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let (pod, other) = (format!("vethwatch-p{id}-{n}"), format!("vethwatch-o{id}-{n}"));
        ip(&format!("netns add {pod}"));
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let lab = Self { pod, other, folder, children: Vec::new() };
        ip(&format!("netns add {}", lab.other));
        lab.connect("10.213.7.1/24");
        lab
    }

    /// Gives both an interface.
    pub fn connect(&self, address: &str) {
        let Self { pod, other, .. } = self;
        ip(&format!("link add eth0 netns {pod} type veth peer name eth0 netns {other}"));
        for (namespace, address) in [(pod, address), (other, "10.213.7.2/24")] {
            ip(&format!("-n {namespace} addr add {address} dev eth0"));
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} link set eth0 up"));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Starts a program; its standard output and error are kept. It ends with this value.
    pub fn start(&mut self, command: &mut Command) -> usize {
        let out = File::create(self.path(&format!("out{}", self.children.len()))).unwrap();
        self.start_into(out.into(), command)
    }

    /// The same, with its standard output going elsewhere.
    pub fn start_into(&mut self, out: Stdio, command: &mut Command) -> usize {
        let log = File::create(self.path(&format!("log{}", self.children.len()))).unwrap();
        command.stdin(Stdio::piped()).stdout(out).stderr(log);
        self.children.push(command.spawn().unwrap());
        self.children.len() - 1
    }

    pub fn python(&mut self, namespace: &str, script: &str) -> usize {
        self.start(within(namespace, "python3").args(["-c", script]))
    }

    /// What a program said on standard error.
    pub fn log(&self, program: usize) -> String {
        fs::read_to_string(self.path(&format!("log{program}"))).unwrap_or_default()
    }

    pub fn hears(&self, program: usize, text: &str) {
        let begin = Instant::now();
        while !self.log(program).contains(text) {
            let late = begin.elapsed() > Duration::from_secs(20);
            assert!(!late, "no `{text}`: {}", self.log(program));
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: &str, program: usize) {
        // `nsenter` becomes the program that it runs, so the number is the program's.
        let id = self.children[program].id().to_string();
        let sent = Command::new("sh").args(["-c", "kill $0 $1", signal, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Ends the watcher by a signal, and tells its exit code and how long it took.
    pub fn end_by(&mut self, signal: &str, watcher: usize) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        self.signal(signal, watcher);
        let code = self.children[watcher].wait().unwrap().code();
        (code, begin.elapsed())
    }

    /// Ends the watcher as a kubelet does, in time and well.
    pub fn end(&mut self, watcher: usize) {
        let (code, took) = self.end_by("-TERM", watcher);
        assert_eq!(code, Some(0), "{}", self.log(watcher));
        assert!(took < Duration::from_secs(2), "{took:?}");
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
