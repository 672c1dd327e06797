//! What the runtimes' sockets know of containers, each question bounded in time.
#![expect(clippy::disallowed_methods, reason = "waits are bounded by the clock")]

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::{Settings, cri, docker};

/// Labels that are kept of one container (count), and bytes of a key, value or name.
const LABELS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 512;
/// Pause after a socket that failed, doubled with each failure up to the longest.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A pod's place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pod {
    /// Namespace of Kubernetes.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What a runtime tells of a container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Its name within the pod; the pod's for a sandbox.
    pub name: String,
    /// Its image, as its maker named it.
    pub image: Option<String>,
    /// Its labels; those of its pod count among them.
    pub labels: BTreeMap<String, String>,
    /// Its pod.
    pub pod: Option<Pod>,
    /// It only holds the pod's namespaces (`pause`).
    pub sandbox: bool,
    /// Addresses that the runtime gave.
    pub addresses: Vec<IpAddr>,
    /// File of its network namespace.
    pub netns: Option<PathBuf>,
    /// It was made to use the host's network.
    pub host_network: bool,
    /// Its first process.
    pub pid: Option<u32>,
}

impl Known {
    /// Keeps strings and labels within bounds.
    pub(super) fn bounded(mut self) -> Self {
        for text in [Some(&mut self.name), self.image.as_mut()].into_iter().flatten() {
            cut(text);
        }
        if let Some(pod) = &mut self.pod {
            [&mut pod.namespace, &mut pod.name, &mut pod.uid].into_iter().for_each(cut);
        }
        let labels = std::mem::take(&mut self.labels);
        self.labels = labels
            .into_iter()
            .filter(|(key, value)| key.len().max(value.len()) <= TEXT_BYTES_MAX)
            .filter(|(key, value)| {
                !(key.contains(char::is_control) || value.contains(char::is_control))
            })
            .take(LABELS_MAX)
            .collect();
        self
    }
}

/// Bounds a text, and takes out what would act on a terminal: images and labels are their makers'.
fn cut(text: &mut String) {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, "\u{fffd}");
    }
}

/// What answers at a socket.
enum Client {
    Cri(cri::Cri),
    Docker(docker::Docker),
}

struct Socket {
    path: PathBuf,
    client: Client,
    /// The last answer; it stands while the runtime restarts.
    known: BTreeMap<String, Known>,
    state: State,
    /// It was asked before: that one answers from the start is no news.
    asked: bool,
    failures: u32,
    not_before: Option<Instant>,
}

/// How a runtime's socket was last found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// There is no such file.
    Absent,
    /// It answers.
    Answers,
    /// It does not, and why.
    Fails(String),
}

/// All sockets.
pub struct Runtimes {
    runtime: Runtime,
    sockets: Vec<Socket>,
    call_timeout: Duration,
    survey_timeout: Duration,
}

/// What one round of questions brought.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Running containers and sandboxes by id: of a socket that does not answer, the last that were told.
    pub known: BTreeMap<String, Known>,
    /// A socket is there that answered.
    pub any: bool,
    /// What changed about the sockets, for people.
    pub messages: Vec<String>,
}

impl Runtimes {
    /// None is asked yet.
    ///
    /// # Errors
    /// The kernel gives no epoll.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        let cri = settings.cri_sockets.iter().map(|path| (path, Client::Cri(cri::Cri::default())));
        let docker = settings
            .docker_sockets
            .iter()
            .map(|path| (path, Client::Docker(docker::Docker::default())));
        let sockets = cri.chain(docker).map(|(path, client)| Socket {
            path: path.clone(),
            client,
            known: BTreeMap::new(),
            state: State::Absent,
            asked: false,
            failures: 0,
            not_before: None,
        });
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            sockets: sockets.collect(),
            call_timeout: settings.call_timeout,
            survey_timeout: settings.survey_timeout,
        })
    }

    /// Asks each socket for what runs.
    pub fn ask(&mut self) -> Answers {
        let mut answers = Answers::default();
        let end = Instant::now() + self.survey_timeout;
        for socket in &mut self.sockets {
            if let Some(message) = socket.ask(&self.runtime, self.call_timeout, end) {
                answers.messages.push(message);
            }
            answers.any |= socket.state == State::Answers;
            for (id, known) in &socket.known {
                answers.known.entry(id.clone()).or_insert_with(|| known.clone());
            }
        }
        answers
    }

    /// Each socket and how it was last found.
    pub fn states(&self) -> impl Iterator<Item = (&Path, &State)> {
        self.sockets.iter().map(|socket| (socket.path.as_path(), &socket.state))
    }
}

impl Socket {
    /// Asks; returns what to tell if the socket's state changed.
    fn ask(&mut self, runtime: &Runtime, call: Duration, end: Instant) -> Option<String> {
        let now = Instant::now();
        let waits = self.not_before.is_some_and(|until| now < until);
        let state = if !self.path.exists() {
            // It restarts; what has ended meanwhile is known by its processes.
            (self.failures, self.not_before) = (0, None);
            State::Absent
        } else if waits || now >= end {
            return None;
        } else {
            let asked = runtime.block_on(async {
                let limit = tokio::time::Instant::from_std(end);
                let list = async {
                    match &mut self.client {
                        Client::Cri(cri) => cri.list(&self.path, call, &self.known).await,
                        Client::Docker(docker) => docker.list(&self.path, call).await,
                    }
                };
                tokio::time::timeout_at(limit, list)
                    .await
                    .unwrap_or_else(|_| Err("it does not answer in time".to_owned()))
            });
            match asked {
                Ok(known) => {
                    self.known = known;
                    (self.failures, self.not_before) = (0, None);
                    State::Answers
                }
                Err(why) => {
                    self.failures += 1;
                    let pause = PAUSE * 2_u32.pow(self.failures.min(6) - 1);
                    self.not_before = Some(Instant::now() + pause.min(PAUSE_MAX));
                    State::Fails(why)
                }
            }
        };
        let before = std::mem::replace(&mut self.state, state);
        let first = !std::mem::replace(&mut self.asked, true);
        if before == self.state || first && self.state == State::Answers {
            return None;
        }
        let path = self.path.display();
        Some(match &self.state {
            State::Absent => format!("{path}: the runtime's socket is gone"),
            State::Answers => format!("{path}: the runtime answers"),
            State::Fails(why) => format!("{path}: the runtime cannot be asked: {why}"),
        })
    }
}
