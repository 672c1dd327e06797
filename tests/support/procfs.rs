//! A namespace that plays a host, others for containers, and a procfs made by hand; and what
//! `vethwatch coverage` said of them.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, unreachable_pub, missing_docs)]

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::namespace::{ip, within};
use serde_json::Value;

const VETHWATCH: &str = env!("CARGO_BIN_EXE_vethwatch");
/// Tells a test that runs inside its lab the lab's name.
pub const INSIDE: &str = "VETHWATCH_TEST_LAB";
static LABS: AtomicU32 = AtomicU32::new(0);

/// A network namespace that plays the host, others for containers, and a procfs made by hand.
pub struct Lab {
    pub name: String,
    namespaces: Vec<String>,
    pub procfs: tempfile::TempDir,
    pub children: Vec<Child>,
}

impl Lab {
    pub fn new() -> Self {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("vethwatch-a{}-{number}", std::process::id());
        ip(&format!("netns add {name}"));
        let procfs = tempfile::tempdir().unwrap();
        Self { namespaces: vec![name.clone()], name, procfs, children: Vec::new() }
    }

    pub fn host(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    /// A namespace for a container.
    pub fn namespace(&mut self, name: &str) -> String {
        let namespace = format!("{}-{name}", self.name);
        ip(&format!("netns add {namespace}"));
        self.namespaces.push(namespace.clone());
        namespace
    }

    /// A process as procfs shows it, with this cgroup file and network namespace.
    pub fn process(&self, pid: u32, cgroup: &str, namespace: &str) {
        let folder = self.procfs.path().join(pid.to_string());
        fs::create_dir_all(folder.join("ns")).unwrap();
        fs::write(folder.join("cgroup"), cgroup).unwrap();
        let real = PathBuf::from(format!("/run/netns/{namespace}"));
        // As in procfs: the link's text names the inode, and opening it opens the namespace.
        let text = format!("net:[{}]", fs::metadata(&real).unwrap().ino());
        symlink(&real, folder.join("ns").join(&text)).unwrap();
        symlink(&text, folder.join("ns/net")).unwrap();
    }

    pub fn coverage(&self, arguments: &[&str]) -> Output {
        let mut command = within(&self.name, VETHWATCH);
        command.arg("coverage").args(["--format", "eve"]).args(arguments);
        command.output().unwrap()
    }

    /// Runs the same test once more in the host's namespace.
    pub fn run_inside(&self, test: &str) {
        let mut command = within(&self.name, env::current_exe().unwrap().to_str().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).env(INSIDE, &self.name);
        let done = command.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for namespace in self.namespaces.iter().rev() {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

/// The records that were written, each of which holds against the schema.
pub fn records(output: &Output) -> Vec<Value> {
    let schema: Value = serde_json::from_str(vethwatch::output::schema()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code < 2), "{said}");
    text.lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let errors: Vec<_> = validator.iter_errors(&record).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{line}");
            record
        })
        .collect()
}

pub fn of<'a>(records: &'a [Value], id: &str) -> &'a Value {
    let found = records.iter().find(|record| record["container"]["id"] == id);
    found.unwrap_or_else(|| panic!("{id} is not among {records:#?}"))
}

/// A container's id: 64 times this digit.
pub fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}
