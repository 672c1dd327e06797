//! Which container stands behind which interface of this host, and which containers have none.
//!
//! The chain: a link of the host's namespace (`links`) names the network namespace of its other end,
//! that namespace holds processes (`namespaces`), a process's cgroup names its container (`cgroup`),
//! and the runtime's socket tells the container's name, image and pod (`cri`, `docker`). `inventory`
//! joins these; [`Watcher`] keeps the result up to date and sends what changes.
//!
//! Nothing here touches a packet, parses an interface's name, or enters a namespace.

pub mod cgroup;
pub mod cri;
pub mod docker;
pub mod inventory;
pub mod links;
pub mod namespaces;
pub mod owner;
pub mod report;
pub mod runtime;
pub mod survey;
pub mod watcher;

mod netlink;

use std::path::PathBuf;
use std::time::Duration;

pub use inventory::{Attribution, Container, Coverage, Inventory, Unseen};
pub use links::{Link, LinkKind};
pub use watcher::{Change, Watcher};

/// Where to look, and how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's procfs: `/proc`, or where it is mounted in the monitor's container.
    pub procfs: PathBuf,
    /// Folders with bind mounts of network namespaces: they tell of namespaces without a process.
    pub netns_folders: Vec<PathBuf>,
    /// Sockets that speak CRI version 1.
    pub cri_sockets: Vec<PathBuf>,
    /// Sockets that speak Docker's API (Podman does too).
    pub docker_sockets: Vec<PathBuf>,
    /// Longest wait for one answer of a runtime.
    pub call_timeout: Duration,
    /// Longest time that all runtimes together may take in one survey.
    pub survey_timeout: Duration,
    /// Containers that are kept (count); further ones are counted in [`Inventory::refused`].
    pub containers_max: usize,
    /// Processes that are read in one survey (count).
    pub processes_max: usize,
    /// Time between two surveys when nothing happens.
    pub interval: Duration,
    /// How long a container that no runtime knows yet is held back, where a runtime answers.
    pub hold: Duration,
    /// How long metadata that a runtime should have is asked for again.
    pub retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
        Self {
            procfs: "/proc".into(),
            netns_folders: paths(&["/run/netns", "/run/docker/netns"]),
            cri_sockets: paths(&[
                "/run/containerd/containerd.sock",
                "/run/k3s/containerd/containerd.sock",
                "/run/crio/crio.sock",
                "/run/cri-dockerd.sock",
            ]),
            docker_sockets: paths(&["/run/docker.sock", "/run/podman/podman.sock"]),
            call_timeout: Duration::from_secs(2),
            survey_timeout: Duration::from_secs(5),
            containers_max: 4_096,
            processes_max: 65_536,
            interval: Duration::from_secs(10),
            hold: Duration::from_secs(5),
            retry: Duration::from_secs(30),
        }
    }
}
