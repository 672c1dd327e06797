//! Which container is behind which interface: over namespaces made here, and a real containerd.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/containerd.rs"]
mod containerd;
#[path = "support/procfs.rs"]
mod procfs;
#[path = "support/namespace.rs"]
mod namespace;
mod support;

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use containerd::{Containerd, Pod};
use namespace::{ip, try_ip};
use procfs::{INSIDE, Lab, id, of, records};
use vethwatch::attribution::{Attribution, Change, Container, Coverage, Settings, Unseen, Watcher};

const VETHWATCH: &str = env!("CARGO_BIN_EXE_vethwatch");
const UID: &str = "8a9a5e5e-3e6f-4a57-8d8d-5f5c1c3f2b10";

#[test]
#[ignore = "needs root: makes network namespaces"]
fn every_kind_of_network_is_told_apart() {
    let mut lab = Lab::new();
    lab.host("link add br0 type bridge");
    lab.host("link add up0 type veth peer name end0");
    lab.host("link set up0 up");
    let [bridged, routed, down, mac, ipv, both, tap, none, orphan, outer, inner] =
        ["br", "ro", "do", "ma", "iv", "bo", "ta", "no", "or", "ou", "in"]
            .map(|name| lab.namespace(name));
    for (namespace, end) in [
        (&bridged, "h1"),
        (&routed, "h2"),
        (&down, "h3"),
        (&both, "h4"),
        (&orphan, "h5"),
        (&outer, "h6"),
    ] {
        lab.host(&format!("link add {end} type veth peer name eth0 netns {namespace}"));
        lab.host(&format!("link set {end} up"));
        ip(&format!("-n {namespace} link set eth0 up"));
    }
    // Docker in Docker.
    ip(&format!("-n {outer} link add docker0 type bridge"));
    ip(&format!("-n {outer} link add v0 type veth peer name eth0 netns {inner}"));
    ip(&format!("-n {outer} link set v0 master docker0 up"));
    ip(&format!("-n {inner} link set eth0 up"));
    lab.host("link set h1 master br0");
    lab.host("link set h3 down");
    lab.host("link add link up0 name m0 type macvlan mode bridge");
    lab.host(&format!("link set m0 netns {mac}"));
    ip(&format!("-n {mac} link set m0 up"));
    lab.host("link add link up0 name m1 type macvlan mode bridge");
    lab.host(&format!("link set m1 netns {both}"));
    ip(&format!("-n {both} link set m1 up"));
    ip(&format!("-n {tap} tuntap add dev tap0 mode tap"));
    ip(&format!("-n {tap} link set tap0 up"));
    // One interface below cannot have macvlan and ipvlan at once.
    lab.host("link add up1 type veth peer name end1");
    lab.host("link set up1 up");
    let made = try_ip(&format!("-n {} link add link up1 name i0 type ipvlan mode l2", lab.name));
    let has_ipvlan = made.is_ok();
    if let Err(error) = made {
        // A kind among many, and no whole test: scripts/kernel-interfaces.sh has a kernel with it.
        eprintln!("left out: ipvlan, which this kernel lacks: {}", error.trim());
    } else {
        lab.host(&format!("link set i0 netns {ipv}"));
        ip(&format!("-n {ipv} link set i0 up"));
    }

    let host = lab.name.clone();
    let expected = [
        ('1', &bridged, "seen"),
        ('2', &routed, "seen"),
        ('3', &down, "interface_down"),
        ('4', &both, "partial"),
        ('6', &mac, "macvlan"),
        ('7', &ipv, if has_ipvlan { "ipvlan" } else { "no_interface" }),
        ('8', &tap, "user_mode"),
        ('9', &none, "no_interface"),
        ('a', &host, "host_network"),
        ('b', &outer, "seen"),
        ('c', &inner, "nested"),
    ];
    for (pid, (digit, namespace, _)) in (100..).zip(expected) {
        let mut cgroup = format!("0::/system.slice/docker-{}.scope\n", id(digit));
        if digit == 'c' {
            cgroup = format!("0::/system.slice/docker-{}.scope/docker/{}\n", id('b'), id('c'));
        }
        lab.process(pid, &cgroup, namespace);
    }
    let procfs = lab.procfs.path().to_str().unwrap();
    let sources = ["--procfs", procfs, "--cri-socket", "/nonexistent/c.sock"];
    let output = lab.coverage(&sources);
    let found = records(&output);
    for (digit, namespace, state) in expected {
        let record = of(&found, &id(digit));
        assert_eq!(record["coverage"]["state"], state, "{namespace}: {record:#}");
        assert_eq!(record["container"]["attribution"], "cgroup");
    }
    assert_eq!(of(&found, &id('1'))["in_iface"], "h1");
    assert_eq!(of(&found, &id('4'))["coverage"]["unseen"][0], "macvlan");
    let netns = fs::metadata(format!("/run/netns/{orphan}")).unwrap().ino();
    let record = of(&found, &format!("netns:{netns}"));
    assert_eq!(record["in_iface"], "h5");
    assert_eq!(record["container"]["attribution"], "interface");
    assert_eq!(found.len(), expected.len() + 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no runtime's socket is there"), "{said}");

    assert_eq!(output.status.code(), Some(0));
    let fails = lab.coverage(&[&sources[..], &["--fail-on-blind"]].concat());
    assert_eq!(fails.status.code(), Some(1));

    // What may not be asked is unknown, and blind.
    let mut denied = containerd::within(&lab.name, "setpriv");
    denied.args(["--bounding-set=-net_admin", VETHWATCH, "coverage", "--format", "eve"]);
    let denied = records(&denied.args(sources).output().unwrap());
    for (digit, state) in
        [('1', "seen"), ('3', "interface_down"), ('6', "unknown"), ('8', "unknown")]
    {
        let record = of(&denied, &id(digit));
        assert_eq!(record["coverage"]["state"], state, "{record:#}");
    }
    assert_eq!(of(&denied, &id('a'))["coverage"]["state"], "host_network");

    let missing = lab.coverage(&["--procfs", "/nonexistent"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("--procfs"));
}

/// Reads changes until one is taken, and tells how long that took.
fn until<T>(watcher: &Watcher, mut take: impl FnMut(Change) -> Option<T>) -> (T, Duration) {
    let begin = Instant::now();
    let mut seen = Vec::new();
    while begin.elapsed() < Duration::from_secs(15) {
        if let Ok(change) = watcher.next(Duration::from_millis(100)) {
            seen.push(format!("{change:?}"));
            if let Some(taken) = take(change) {
                return (taken, begin.elapsed());
            }
        }
    }
    panic!("it did not come; there were: {seen:#?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn interfaces_are_told_at_once_even_while_a_runtime_hangs() {
    const TEST: &str = "interfaces_are_told_at_once_even_while_a_runtime_hangs";
    let Ok(host) = env::var(INSIDE) else {
        let mut lab = Lab::new();
        lab.namespace("pod");
        return lab.run_inside(TEST);
    };
    let pod = format!("{host}-pod");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("c.sock");
    // Takes callers and never answers.
    let _listener = UnixListener::bind(&socket).unwrap();
    let settings = Settings {
        // Other containers of this machine are not the matter here.
        procfs: folder.path().to_owned(),
        cri_sockets: vec![socket],
        docker_sockets: vec![],
        call_timeout: Duration::from_millis(1_500),
        ..Settings::default()
    };
    ip(&format!("link add h0 type veth peer name eth0 netns {pod}"));
    let watcher = Watcher::start(settings).unwrap();
    let (link, _) = until(&watcher, |change| match change {
        Change::InterfaceAppeared(link) => Some(link),
        _ => None,
    });
    assert_eq!(link.name, "h0", "what was there at the start");

    // The usual way of a CNI plugin: made here, and one end moved.
    ip("link add h1 type veth peer name p1");
    ip("link set h1 up");
    ip(&format!("link set p1 netns {pod}"));
    let (link, took) = until(&watcher, |change| match change {
        Change::InterfaceAppeared(link) => Some(link),
        _ => None,
    });
    assert!(
        (link.name.as_str(), link.up) == ("h1", true) && took < Duration::from_secs(1),
        "{took:?}"
    );
    ip("link set h1 down");
    let (link, took) = until(&watcher, |change| match change {
        Change::InterfaceChanged(link) => Some(link),
        _ => None,
    });
    assert!(
        (link.name.as_str(), link.up) == ("h1", false) && took < Duration::from_secs(1),
        "{took:?}"
    );
    ip("link del h1");
    let (link, took) = until(&watcher, |change| match change {
        Change::InterfaceVanished(link) => Some(link),
        _ => None,
    });
    assert!(link.name == "h1" && took < Duration::from_secs(1), "{took:?}");
    let (message, _) = until(&watcher, |change| match change {
        Change::Message(text) if text.contains("c.sock") => Some(text),
        _ => None,
    });
    assert!(message.contains("no answer within 1.5 s"), "{message}");
    let (orphan, _) = until(&watcher, |change| match change {
        Change::ContainerKnown(container) => Some(container),
        _ => None,
    });
    assert_eq!(orphan.how, Attribution::Interface);
    assert_eq!(orphan.coverage, Coverage::Down, "h0 was never set up");

    // Churn: all come, all go, and nothing of them stays.
    for number in 0..100 {
        ip(&format!("link add c{number} type veth peer name e{number} netns {pod}"));
        ip(&format!("link del c{number}"));
    }
    ip("link del h0");
    let (mut came, mut went) = (0, 0);
    until(&watcher, |change| {
        match change {
            Change::InterfaceAppeared(_) => came += 1,
            Change::InterfaceVanished(link) if link.name == "h0" => return Some(()),
            Change::InterfaceVanished(_) => went += 1,
            _ => {}
        }
        None
    });
    assert_eq!(came, went);
    until(&watcher, |change| matches!(change, Change::ContainerGone(_)).then_some(()));
}

#[test]
#[ignore = "needs root: starts containerd"]
fn pods_of_a_real_containerd_are_named() {
    const TEST: &str = "pods_of_a_real_containerd_are_named";
    let Ok(host) = env::var(INSIDE) else {
        let lab = Lab::new();
        lab.host("link set lo up");
        return lab.run_inside(TEST);
    };
    let Some(mut containerd) = Containerd::start(&host) else {
        return support::skipped("containerd, runc, the CNI plugins and busybox are not to be had");
    };
    let socket = containerd.socket();
    let settings = Settings {
        cri_sockets: vec![socket.clone()],
        docker_sockets: vec![],
        netns_folders: vec![containerd.netns_folder()],
        ..Settings::default()
    };
    let watcher = Watcher::start(settings).unwrap();
    until(&watcher, |change| matches!(change, Change::Started).then_some(()));

    let labels = [("app", "web"), ("statefulset.kubernetes.io/pod-name", "web-0")];
    let pod =
        Pod { name: "web-0", namespace: "shop", uid: UID, labels: &labels, host_network: false };
    let sandbox = containerd.run_pod(&pod);
    let app = containerd.run_container(&sandbox, &pod, "app", &["sleep", "600"]);
    let mut link = None;
    let (container, took) = until(&watcher, |change| match change {
        Change::InterfaceAppeared(found) => {
            assert!(link.replace(found).is_none(), "one pod, one interface");
            None
        }
        Change::ContainerKnown(container) if container.id == app => Some(*container),
        _ => None,
    });
    assert!(took < Duration::from_secs(3), "known after {took:?}");
    check(&container, link.unwrap().index);

    let uid = UID.replace('8', "9");
    let pod = Pod {
        name: "node-agent",
        namespace: "kube-system",
        uid: &uid,
        labels: &[],
        host_network: true,
    };
    let agent_sandbox = containerd.run_pod(&pod);
    let agent = containerd.run_container(&agent_sandbox, &pod, "agent", &["sleep", "600"]);
    let (container, _) = until(&watcher, |change| match change {
        Change::ContainerKnown(container) if container.id == agent => Some(*container),
        _ => None,
    });
    assert_eq!(container.coverage, Coverage::Unseen(Unseen::HostNetwork));

    let mut command = Command::new(VETHWATCH);
    command.args(["coverage", "--format", "eve", "--cri-socket"]).arg(&socket);
    let found = records(&command.output().unwrap());
    let record = of(&found, &app);
    assert_eq!(record["kubernetes"]["owner"], "StatefulSet/web");
    assert_eq!(record["container"]["attribution"], "runtime");
    assert_eq!(record["coverage"]["state"], "seen");
    assert_eq!(of(&found, &agent)["coverage"]["state"], "host_network");
    assert!(found.iter().all(|one| one["container"]["id"] != *sandbox), "sandboxes are no news");

    // Without the socket, the cgroup remains: id, pod, interface, address.
    let mut command = Command::new(VETHWATCH);
    command.args(["coverage", "--format", "eve", "--cri-socket", "/nonexistent"]);
    let bare = records(&command.output().unwrap());
    let bare = of(&bare, &app);
    assert_eq!(bare["container"]["attribution"], "cgroup");
    assert_eq!(bare["coverage"]["pod_uid"], UID);
    for key in ["in_iface", "coverage.interfaces", "coverage.addresses", "coverage.netns"] {
        let pointer = format!("/{}", key.replace('.', "/"));
        assert_eq!(bare.pointer(&pointer), record.pointer(&pointer), "{key}");
    }

    containerd.remove_pod(&sandbox);
    until(&watcher, |change| match change {
        Change::ContainerGone(container) if container.id == app => Some(()),
        _ => None,
    });
}

/// The container of pod shop/web-0, in full.
fn check(container: &Container, link: u32) {
    assert_eq!(container.name.as_deref(), Some("app"));
    assert_eq!(container.image.as_deref(), Some("localhost/busybox:1"));
    assert_eq!(container.labels["app"], "web");
    let place = container.kubernetes.as_ref().unwrap();
    assert_eq!(
        (place.namespace.as_str(), place.pod.as_str(), place.pod_uid.as_str()),
        ("shop", "web-0", UID)
    );
    assert_eq!(place.owner.as_deref(), Some("StatefulSet/web"));
    assert_eq!(container.interfaces, [link]);
    assert_eq!(container.coverage, Coverage::Seen);
    assert_eq!(container.how, Attribution::Runtime);
    assert!(!container.pids.is_empty() && container.netns.is_some());
    assert!(container.addresses.iter().any(|ip| ip.to_string().starts_with("10.213.90.")));
}
