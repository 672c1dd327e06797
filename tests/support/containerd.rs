//! A real containerd in a network namespace of its own, and as much of CRI as makes pods.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use crate::namespace::within;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/containerd.sh");
const IMAGE: &str = "localhost/busybox:1";

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

/// Gone with this value, and every pod with it.
pub struct Containerd {
    folder: tempfile::TempDir,
    namespace: String,
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    pods: Vec<String>,
}

/// A pod to be made.
pub struct Pod<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub uid: &'a str,
    pub labels: &'a [(&'a str, &'a str)],
    pub host_network: bool,
}

impl Containerd {
    /// Starts one in this namespace, installing what is missing. None: that cannot be installed here.
    pub fn start(namespace: &str) -> Option<Self> {
        if !Command::new(SCRIPT).arg("install").status().unwrap().success() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("c");
        done(within(namespace, SCRIPT).arg("up").arg(&home));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::try_from(format!("unix:{}", home.join("c.sock").display()));
        let channel = runtime.block_on(endpoint.unwrap().connect()).unwrap();
        Some(Self { folder, namespace: namespace.to_owned(), runtime, channel, pods: Vec::new() })
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("c/c.sock")
    }

    /// The folder with the network namespaces of pods.
    pub fn netns_folder(&self) -> PathBuf {
        self.folder.path().join("c/state/io.containerd.grpc.v1.cri/netns")
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse().unwrap();
        self.runtime.block_on(async {
            let mut grpc = Grpc::new(self.channel.clone());
            grpc.ready().await.unwrap();
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let asked = grpc.unary(tonic::Request::new(request), path, codec);
            let answer = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap();
            answer.unwrap_or_else(|status| panic!("{method}: {status:?}")).into_inner()
        })
    }

    /// Makes a pod without a container. Returns its sandbox's id.
    pub fn run_pod(&mut self, pod: &Pod<'_>) -> String {
        let config = Some(self.sandbox_config(pod));
        let answer: Id = self.call("RunPodSandbox", RunPodSandbox { config });
        self.pods.push(answer.id.clone());
        answer.id
    }

    /// Starts a container in a pod. Returns its id.
    pub fn run_container(&self, sandbox: &str, pod: &Pod<'_>, name: &str, run: &[&str]) -> String {
        self.restart_container(sandbox, pod, (name, 0), run)
    }

    /// The same with what a kubelet counts: how often it was started before.
    pub fn restart_container(
        &self,
        sandbox: &str,
        pod: &Pod<'_>,
        (name, attempt): (&str, u32),
        run: &[&str],
    ) -> String {
        let options = NamespaceOption { network: network(pod) };
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned(), attempt }),
            image: Some(ImageSpec { image: IMAGE.to_owned() }),
            command: run.iter().map(|&word| word.to_owned()).collect(),
            labels: labels(pod),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                security: Some(ContainerSecurity { options: Some(options) }),
            }),
        };
        let request = CreateContainer {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(self.sandbox_config(pod)),
        };
        let made: Id = self.call("CreateContainer", request);
        let _: Nothing = self.call("StartContainer", Id { id: made.id.clone() });
        made.id
    }

    /// Ends a container.
    pub fn remove_container(&self, id: &str) {
        let _: Nothing = self.call("StopContainer", Id { id: id.to_owned() });
        let _: Nothing = self.call("RemoveContainer", Id { id: id.to_owned() });
    }

    /// Ends containerd alone; its socket's file is gone too.
    pub fn stop(&self) {
        done(within(&self.namespace, SCRIPT).arg("stop").arg(self.folder.path().join("c")));
    }

    /// Starts it again.
    pub fn start_again(&mut self) {
        done(within(&self.namespace, SCRIPT).arg("start").arg(self.folder.path().join("c")));
        let endpoint = Endpoint::try_from(format!("unix:{}", self.socket().display()));
        self.channel = self.runtime.block_on(endpoint.unwrap().connect()).unwrap();
    }

    /// Ends a pod with its containers.
    pub fn remove_pod(&mut self, sandbox: &str) {
        let _: Nothing = self.call("StopPodSandbox", Id { id: sandbox.to_owned() });
        let _: Nothing = self.call("RemovePodSandbox", Id { id: sandbox.to_owned() });
        self.pods.retain(|pod| pod != sandbox);
    }

    fn sandbox_config(&self, pod: &Pod<'_>) -> SandboxConfig {
        let logs = self.folder.path().join("c/logs");
        SandboxConfig {
            metadata: Some(SandboxMetadata {
                name: pod.name.to_owned(),
                uid: pod.uid.to_owned(),
                namespace: pod.namespace.to_owned(),
            }),
            log_directory: path_text(&logs),
            labels: labels(pod),
            linux: Some(LinuxSandboxConfig {
                cgroup_parent: format!("/kubepods/besteffort/pod{}", pod.uid),
                security: Some(SandboxSecurity {
                    options: Some(NamespaceOption { network: network(pod) }),
                }),
            }),
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for pod in self.pods.clone() {
                self.remove_pod(&pod);
            }
        }
        let home = self.folder.path().join("c");
        let _ = within(&self.namespace, SCRIPT).arg("down").arg(home).output();
    }
}

fn path_text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// `NODE` is the host's namespace.
fn network(pod: &Pod<'_>) -> i32 {
    if pod.host_network { 2 } else { 0 }
}

/// As a kubelet labels what it makes.
fn labels(pod: &Pod<'_>) -> HashMap<String, String> {
    let own = [
        ("io.kubernetes.pod.name", pod.name),
        ("io.kubernetes.pod.namespace", pod.namespace),
        ("io.kubernetes.pod.uid", pod.uid),
    ];
    let all = own.iter().chain(pod.labels);
    all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

// Parts of `runtime.v1` of kubernetes/cri-api.

/// All requests and answers whose first field is an id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandbox {
    #[prost(message, optional, tag = "1")]
    config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<SandboxMetadata>,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security: Option<SandboxSecurity>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxSecurity {
    #[prost(message, optional, tag = "1")]
    options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<SandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(map = "string, string", tag = "9")]
    labels: HashMap<String, String>,
    #[prost(string, tag = "11")]
    log_path: String,
    #[prost(message, optional, tag = "15")]
    linux: Option<LinuxContainerConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxContainerConfig {
    #[prost(message, optional, tag = "2")]
    security: Option<ContainerSecurity>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerSecurity {
    #[prost(message, optional, tag = "3")]
    options: Option<NamespaceOption>,
}
