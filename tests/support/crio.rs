//! A socket that answers as CRI-O does, where Debian has no package of CRI-O.
//!
//! What it answers was read off CRI-O's sources (`server/sandbox_status.go`, `container_status.go`)
//! and off `crictl inspectp` in cri-o/cri-o issue 8409: since no process holds a pod's namespaces
//! (`drop_infra_ctr`, the default), a sandbox has no process number, and its namespaces are files
//! that `pinns` keeps. Older ones tell nothing of such a sandbox but `{}`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, unreachable_pub, missing_docs)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use h2::server::SendResponse;
use http::{HeaderMap, Response};
use prost::Message;
use prost::bytes::Bytes;
use tokio::net::UnixListener;
use tokio::runtime::Builder;

/// `runtime.v1` of kubernetes/cri-api, as far as it is answered here.
#[derive(Clone, PartialEq, Message)]
pub struct Sandbox {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SandboxMetadata>,
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Container {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Text>,
    #[prost(message, optional, tag = "4")]
    pub image: Option<Text>,
    #[prost(int32, tag = "6")]
    pub state: i32,
}

/// A message whose first field is a text: an image, a container's name, an address, a request.
#[derive(Clone, PartialEq, Message)]
pub struct Text {
    #[prost(string, tag = "1")]
    pub text: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sandboxes {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Sandbox>,
}

#[derive(Clone, PartialEq, Message)]
struct Containers {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SandboxStatus {
    #[prost(message, optional, tag = "5")]
    pub network: Option<Text>,
    #[prost(message, optional, tag = "6")]
    pub linux: Option<Linux>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Linux {
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<Namespace>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Namespace {
    #[prost(message, optional, tag = "2")]
    pub options: Option<Options>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Options {
    #[prost(int32, tag = "1")]
    pub network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct SandboxAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<SandboxStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatus {
    #[prost(message, optional, tag = "8")]
    image: Option<Text>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

/// What it answers: sandboxes and containers, each with its verbose status.
#[derive(Clone, Default)]
pub struct Crio {
    pub sandboxes: Vec<(Sandbox, SandboxStatus, String)>,
    pub containers: Vec<(Container, String)>,
}

impl Crio {
    /// Answers at this socket until the test's process ends.
    pub fn serve(self, socket: &Path) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async { UnixListener::bind(socket).unwrap() });
        let answers = Arc::new(self);
        thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((stream, _)) = listener.accept().await {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        // Accepting drives the connection, so the request is read beside it.
                        let answers = Arc::clone(&answers);
                        tokio::spawn(async move {
                            let path = request.uri().path().to_owned();
                            let asked = request.into_body().data().await.unwrap().unwrap();
                            answers.answer(&path, &asked, respond);
                        });
                    }
                }
            });
        });
    }

    fn answer(&self, path: &str, asked: &[u8], mut respond: SendResponse<Bytes>) {
        let id = Text::decode(asked.get(5..).unwrap_or_default()).unwrap_or_default().text;
        let info = |text: &String| HashMap::from([("info".to_owned(), text.clone())]);
        let message = match path.rsplit('/').next().unwrap() {
            "ListPodSandbox" => {
                let items = self.sandboxes.iter().map(|(sandbox, ..)| sandbox.clone()).collect();
                Some(Sandboxes { items }.encode_to_vec())
            }
            "ListContainers" => {
                let containers = self.containers.iter().map(|(one, _)| one.clone()).collect();
                Some(Containers { containers }.encode_to_vec())
            }
            "PodSandboxStatus" => {
                let found = self.sandboxes.iter().find(|(sandbox, ..)| sandbox.id == id);
                found.map(|(_, status, text)| {
                    let answer = SandboxAnswer { status: Some(status.clone()), info: info(text) };
                    answer.encode_to_vec()
                })
            }
            "ContainerStatus" => {
                let found = self.containers.iter().find(|(container, _)| container.id == id);
                found.map(|(container, text)| {
                    let status = ContainerStatus { image: container.image.clone() };
                    ContainerAnswer { status: Some(status), info: info(text) }.encode_to_vec()
                })
            }
            other => panic!("{other} is not asked of a runtime"),
        };
        let response = Response::builder().header("content-type", "application/grpc");
        let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
        if let Some(message) = &message {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let frame = [&[0][..], &length, message].concat();
            stream.send_data(frame.into(), false).unwrap();
        }
        // 5 is `NOT_FOUND`.
        let status = if message.is_some() { "0" } else { "5" };
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
        stream.send_trailers(trailers).unwrap();
    }
}
