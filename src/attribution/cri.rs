//! Kubernetes' Container Runtime Interface, version 1: containerd, CRI-O, cri-dockerd.
//!
//! The messages are the part of `runtime.v1` that is read here (kubernetes/cri-api, `api.proto`),
//! written out so that building needs no protocol compiler. Unknown fields are passed over.
//! Only what lists and tells is called. Needs access to the socket, which belongs to root.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::runtime::{Known, Pod};

/// The longest answer that is read (bytes): some thousand containers with their labels.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// `CONTAINER_RUNNING`, `SANDBOX_READY`, and `NODE` of `NamespaceMode`: the host's namespace.
const RUNNING: i32 = 1;
const READY: i32 = 0;
const NODE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct ListContainersRequest {
    #[prost(message, optional, tag = "1")]
    filter: Option<Filter>,
}

/// `ContainerFilter` and `PodSandboxFilter`, as far as they agree.
#[derive(Clone, PartialEq, Message)]
struct Filter {
    #[prost(message, optional, tag = "2")]
    state: Option<StateValue>,
}

#[derive(Clone, PartialEq, Message)]
struct StateValue {
    #[prost(int32, tag = "1")]
    state: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
struct Container {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    image: Option<ImageSpec>,
    #[prost(int32, tag = "6")]
    state: i32,
    #[prost(map = "string, string", tag = "8")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
    #[prost(string, tag = "18")]
    user_specified_image: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Sandbox>,
}

/// `PodSandbox`.
#[derive(Clone, PartialEq, Message)]
struct Sandbox {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    metadata: Option<SandboxMetadata>,
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(map = "string, string", tag = "5")]
    labels: HashMap<String, String>,
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

/// `ContainerStatusRequest` and `PodSandboxStatusRequest`.
#[derive(Clone, PartialEq, Message)]
struct StatusRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<SandboxStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxStatus {
    #[prost(message, optional, tag = "5")]
    network: Option<SandboxNetwork>,
    #[prost(message, optional, tag = "6")]
    linux: Option<LinuxSandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxSandboxStatus {
    #[prost(message, optional, tag = "1")]
    namespaces: Option<Namespaces>,
}

/// `Namespace`.
#[derive(Clone, PartialEq, Message)]
struct Namespaces {
    #[prost(message, optional, tag = "2")]
    options: Option<NamespaceOptions>,
}

/// `NamespaceOption`.
#[derive(Clone, PartialEq, Message)]
struct NamespaceOptions {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxNetwork {
    #[prost(string, tag = "1")]
    ip: String,
    #[prost(message, repeated, tag = "2")]
    additional_ips: Vec<PodIp>,
}

#[derive(Clone, PartialEq, Message)]
struct PodIp {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatus {
    #[prost(message, optional, tag = "8")]
    image: Option<ImageSpec>,
}

/// A connection, made when it is first needed.
#[derive(Default)]
pub(super) struct Cri {
    channel: Option<Channel>,
}

impl Cri {
    /// Running containers and ready sandboxes by id. What `known` has of them already is not asked
    /// for again.
    pub(super) async fn list(
        &mut self,
        socket: &Path,
        limit: Duration,
        known: &BTreeMap<String, Known>,
    ) -> Result<BTreeMap<String, Known>, String> {
        let listed = self.list_with(socket, limit, known).await;
        if listed.is_err() {
            self.channel = None;
        }
        listed
    }

    async fn list_with(
        &mut self,
        socket: &Path,
        limit: Duration,
        known: &BTreeMap<String, Known>,
    ) -> Result<BTreeMap<String, Known>, String> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => connect(socket, limit).await?,
        };
        self.channel = Some(channel.clone());
        let filter = |state| ListContainersRequest {
            filter: Some(Filter { state: Some(StateValue { state }) }),
        };
        let sandboxes: ListPodSandboxResponse =
            call(&channel, limit, "/runtime.v1.RuntimeService/ListPodSandbox", filter(READY))
                .await?;
        let containers: ListContainersResponse =
            call(&channel, limit, "/runtime.v1.RuntimeService/ListContainers", filter(RUNNING))
                .await?;
        let mut found = BTreeMap::new();
        for sandbox in sandboxes.items.into_iter().filter(|sandbox| sandbox.state == READY) {
            let told = match known.get(&sandbox.id) {
                // Its address may come after it.
                Some(told) if !told.addresses.is_empty() => told.clone(),
                _ => of_sandbox(&channel, limit, sandbox).await,
            };
            found.insert(told.id.clone(), told);
        }
        for container in containers.containers.into_iter().filter(|c| c.state == RUNNING) {
            let told = match known.get(&container.id) {
                Some(told) => told.clone(),
                None => {
                    let sandbox = found.get(&container.pod_sandbox_id).cloned();
                    of_container(&channel, limit, container, sandbox).await
                }
            };
            found.insert(told.id.clone(), told);
        }
        Ok(found)
    }
}

async fn of_sandbox(channel: &Channel, limit: Duration, sandbox: Sandbox) -> Known {
    let request = StatusRequest { id: sandbox.id.clone(), verbose: true };
    let path = "/runtime.v1.RuntimeService/PodSandboxStatus";
    // One that ends meanwhile has no status: what the list told remains.
    let answer: SandboxStatusResponse =
        call(channel, limit, path, request).await.unwrap_or_default();
    let status = answer.status.unwrap_or_default();
    let namespaces = status.linux.and_then(|linux| linux.namespaces);
    let options = namespaces.and_then(|namespaces| namespaces.options);
    let network = status.network.unwrap_or_default();
    let mut ips = vec![network.ip];
    ips.extend(network.additional_ips.into_iter().map(|ip| ip.ip));
    let info = Info::of(&answer.info);
    let metadata = sandbox.metadata.unwrap_or_default();
    let pod = Pod { namespace: metadata.namespace, name: metadata.name, uid: metadata.uid };
    Known {
        id: sandbox.id,
        name: pod.name.clone(),
        image: None,
        labels: sandbox.labels.into_iter().collect(),
        pod: Some(pod),
        sandbox: true,
        addresses: ips.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).collect(),
        netns: info.netns,
        host_network: options.is_some_and(|options| options.network == NODE),
        pid: info.pid,
    }
    .bounded()
}

async fn of_container(
    channel: &Channel,
    limit: Duration,
    container: Container,
    sandbox: Option<Known>,
) -> Known {
    let request = StatusRequest { id: container.id.clone(), verbose: true };
    let path = "/runtime.v1.RuntimeService/ContainerStatus";
    let answer: ContainerStatusResponse =
        call(channel, limit, path, request).await.unwrap_or_default();
    // The list may have the image's digest only.
    let images = [answer.status.and_then(|status| status.image), container.image];
    let image = images.into_iter().flatten().map(|image| {
        let asked_for = Some(image.user_specified_image).filter(|name| !name.is_empty());
        asked_for.unwrap_or(image.image)
    });
    let image = image.into_iter().find(|name| !name.is_empty());
    let mut labels: BTreeMap<String, String> = container.labels.into_iter().collect();
    let sandbox = sandbox.unwrap_or_default();
    for (key, value) in sandbox.labels {
        labels.entry(key).or_insert(value);
    }
    let label = |key: &str| labels.get(key).cloned();
    let pod = sandbox.pod.or_else(|| {
        Some(Pod {
            namespace: label("io.kubernetes.pod.namespace")?,
            name: label("io.kubernetes.pod.name")?,
            uid: label("io.kubernetes.pod.uid").unwrap_or_default(),
        })
    });
    let info = Info::of(&answer.info);
    Known {
        id: container.id,
        name: container.metadata.unwrap_or_default().name,
        image,
        labels,
        pod,
        sandbox: false,
        addresses: sandbox.addresses,
        // Sandboxes of older CRI-Os tell of none; their containers do.
        netns: sandbox.netns.or(info.netns),
        host_network: sandbox.host_network,
        pid: info.pid,
    }
    .bounded()
}

/// What a verbose status adds: JSON whose form is the runtime's own.
#[derive(Default)]
struct Info {
    pid: Option<u32>,
    netns: Option<std::path::PathBuf>,
}

impl Info {
    fn of(info: &HashMap<String, String>) -> Self {
        let text = info.get("info").map_or("", String::as_str);
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let pid = value["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let namespaces = value["runtimeSpec"]["linux"]["namespaces"].as_array();
        let network = namespaces.into_iter().flatten().find(|one| one["type"] == "network");
        let netns = network.and_then(|one| one["path"].as_str()).filter(|path| !path.is_empty());
        Self { pid: pid.filter(|pid| *pid > 0), netns: netns.map(Into::into) }
    }
}

async fn connect(socket: &Path, limit: Duration) -> Result<Channel, String> {
    let endpoint = Endpoint::try_from(format!("unix:{}", socket.display()))
        .map_err(|error| format!("its path is no address: {error}"))?;
    in_time(limit, endpoint.connect()).await?.map_err(|error| {
        // The cause is below: refused, not permitted.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(below) = cause.source() {
            cause = below;
        }
        cause.to_string()
    })
}

async fn call<Q, A>(
    channel: &Channel,
    limit: Duration,
    path: &'static str,
    request: Q,
) -> Result<A, String>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    in_time(limit, grpc.ready()).await?.map_err(|error| error.to_string())?;
    let codec: ProstCodec<Q, A> = ProstCodec::default();
    let path = PathAndQuery::from_static(path);
    let answer = in_time(limit, grpc.unary(tonic::Request::new(request), path, codec)).await?;
    answer.map(tonic::Response::into_inner).map_err(|status| explain(&status))
}

fn explain(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "it does not speak CRI version 1 (a containerd of Docker's own has \
            it switched off)"
            .to_owned(),
        code => format!("{code:?}: {}", status.message()),
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| format!("no answer within {} s", limit.as_secs_f32()))
}
