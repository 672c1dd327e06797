//! Containers of CRI-O: its cgroups, its namespaces and its answers, over namespaces made here.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

#[path = "support/crio.rs"]
mod crio;
#[path = "support/procfs.rs"]
mod procfs;
#[path = "support/namespace.rs"]
mod namespace;

use crio::{
    Container, Crio, Linux, Namespace, Options, Sandbox, SandboxMetadata, SandboxStatus, Text,
};
use namespace::ip;
use procfs::{Lab, id, of, records};
use serde_json::json;

const UID: &str = "8a9a5e5e-3e6f-4a57-8d8d-5f5c1c3f2b10";

fn sandbox(digit: char, pod: &str, network: i32, address: &str) -> (Sandbox, SandboxStatus) {
    let metadata = SandboxMetadata {
        name: pod.to_owned(),
        uid: UID.replace('8', &digit.to_string()),
        namespace: "shop".to_owned(),
    };
    let options = Some(Options { network });
    let sandbox = Sandbox { id: id(digit), metadata: Some(metadata), ..Sandbox::default() };
    let network = (!address.is_empty()).then(|| Text { text: address.to_owned() });
    let linux = Some(Linux { namespaces: Some(Namespace { options }) });
    (sandbox, SandboxStatus { network, linux })
}

/// The part of a verbose status that names a pod's network namespace.
fn spec(namespace: &str) -> serde_json::Value {
    let path = format!("/var/run/netns/{namespace}");
    json!({"ociVersion": "1.0.2", "linux": {"namespaces": [
        {"type": "pid"}, {"type": "network", "path": path}, {"type": "mount"}]}})
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn pods_without_a_process_of_their_own_are_named() {
    let mut lab = Lab::new();
    let [web, fresh, old] = ["web", "fresh", "old"].map(|name| lab.namespace(name));
    for (namespace, end) in [(&web, "h1"), (&fresh, "h2"), (&old, "h3")] {
        lab.host(&format!("link add {end} type veth peer name eth0 netns {namespace}"));
        lab.host(&format!("link set {end} up"));
        ip(&format!("-n {namespace} link set eth0 up"));
    }
    // crun puts what runs one level below; conmon stands beside it, in the host's network.
    let pod = |digit: char| {
        let uid = UID.replace('8', &digit.to_string()).replace('-', "_");
        format!("0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice")
    };
    let host = lab.name.clone();
    lab.process(100, &format!("{}/crio-{}.scope/container\n", pod('1'), id('a')), &web);
    lab.process(101, &format!("{}/crio-conmon-{}.scope\n", pod('1'), id('a')), &host);
    // The process of `old` is hidden, as without the host's process namespace.

    let status = |pid: u32, sandbox: char, namespace: &str| {
        json!({"sandboxID": id(sandbox), "pid": pid, "runtimeSpec": spec(namespace),
            "privileged": false})
        .to_string()
    };
    let container = |digit: char, sandbox: char, name: &str| Container {
        id: id(digit),
        pod_sandbox_id: id(sandbox),
        metadata: Some(Text { text: name.to_owned() }),
        image: Some(Text { text: format!("registry.example/shop/{name}:1") }),
        state: 1,
    };
    let told = |of: (Sandbox, SandboxStatus), info: String| (of.0, of.1, info);
    let pinned = |namespace: &str| json!({"runtimeSpec": spec(namespace)}).to_string();
    let socket = lab.procfs.path().join("crio.sock");
    let answers = Crio {
        sandboxes: vec![
            told(sandbox('1', "web-0", 0, "10.85.0.7"), pinned(&web)),
            told(sandbox('2', "fresh-0", 0, "10.85.0.8"), pinned(&fresh)),
            told(sandbox('3', "old-0", 0, "10.85.0.9"), "{}".to_owned()),
            told(sandbox('4', "proxy-0", 2, ""), "{}".to_owned()),
        ],
        containers: vec![
            (container('a', '1', "nginx"), status(100, '1', &web)),
            (container('c', '3', "redis"), status(102, '3', &old)),
        ],
    };
    answers.serve(&socket);

    let procfs = lab.procfs.path().to_str().unwrap();
    let socket = socket.to_str().unwrap();
    let output = lab.coverage(&["--procfs", procfs, "--cri-socket", socket]);
    let said = String::from_utf8_lossy(&output.stderr);
    let found = records(&output);
    for (digit, name, pod, interface, state) in [
        ('a', "nginx", "web-0", Some("h1"), "seen"),
        ('2', "fresh-0", "fresh-0", Some("h2"), "seen"),
        ('c', "redis", "old-0", Some("h3"), "seen"),
        ('4', "proxy-0", "proxy-0", None, "host_network"),
    ] {
        let record = of(&found, &id(digit));
        assert_eq!(record["container"]["name"], name, "{record:#}\n{said}");
        assert_eq!(record["container"]["attribution"], "runtime", "{record:#}");
        assert_eq!(record["kubernetes"]["pod"], pod, "{record:#}");
        assert_eq!(record["coverage"]["state"], state, "{record:#}");
        assert_eq!(record["in_iface"].as_str(), interface, "{record:#}");
    }
    assert_eq!(of(&found, &id('a'))["container"]["image"], "registry.example/shop/nginx:1");
    assert_eq!(found.len(), 4, "{found:#?}");
}
