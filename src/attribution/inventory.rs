//! The containers of this node, joined from all sources, and how well each is seen.

pub(super) mod coverage;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use self::coverage::{Coverage, Unseen};
use super::links::Link;
use super::namespaces::{Mounted, Process};
use super::owner::owner;
use super::runtime::Known;
use crate::time::Timestamp;

/// Process numbers that are kept of one container (count).
const PIDS_MAX: usize = 64;

/// How a container was found out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Attribution {
    /// A runtime's socket told of it.
    Runtime,
    /// The cgroup of its processes gives its id, and its pod's UID; nothing told its name.
    Cgroup,
    /// The host's side of an interface leads into a network namespace without a known container.
    Interface,
}

impl Attribution {
    /// As records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Cgroup => "cgroup",
            Self::Interface => "interface",
        }
    }
}

/// Where a container stands in Kubernetes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kubernetes {
    /// Namespace. Empty: only the pod's UID is known, by its cgroup.
    pub namespace: String,
    /// Name of the pod. Empty as above.
    pub pod: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// What made the pod, as `Kind/name`.
    pub owner: Option<String>,
}

/// A container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    /// Id that the runtime gave it; `netns:INODE` (or `nsid:NUMBER`) for a namespace without one.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its image.
    pub image: Option<String>,
    /// Its labels and its pod's.
    pub labels: BTreeMap<String, String>,
    /// Its place in Kubernetes.
    pub kubernetes: Option<Kubernetes>,
    /// It only holds its pod's namespaces (`pause`): it stands for a pod that has no other yet.
    pub sandbox: bool,
    /// Its processes, by number; at most 64.
    pub pids: Vec<u32>,
    /// Start of its first process, where that could be read.
    pub started: Option<Timestamp>,
    /// Inode of its network namespace.
    pub netns: Option<u64>,
    /// Number of that namespace in ours.
    pub nsid: Option<i32>,
    /// The host's links whose other end is in its namespace, by index. Containers of a pod share
    /// them.
    pub interfaces: Vec<u32>,
    /// Its addresses, but for loopback and link-local ones.
    pub addresses: Vec<IpAddr>,
    /// How it was found out.
    pub how: Attribution,
    /// How well it is seen.
    pub coverage: Coverage,
}

/// All containers.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// By id.
    pub containers: BTreeMap<String, Container>,
    /// Containers beyond the bound (count).
    pub refused: usize,
}

impl Inventory {
    /// The containers behind a link of this host: those of one pod, the sandbox last.
    pub fn on_link(&self, index: u32) -> Vec<&Container> {
        let mut found: Vec<_> = self
            .containers
            .values()
            .filter(|container| container.interfaces.contains(&index))
            .collect();
        found.sort_by_key(|container| container.sandbox);
        found
    }

    /// See [`listed`].
    pub fn listed(&self) -> impl Iterator<Item = &Container> {
        listed(&self.containers)
    }
}

/// Of these, by id, what a person would call containers: sandboxes only where they stand for their
/// pod. What is counted, and has `coverage` records, is what this gives.
pub fn listed(containers: &BTreeMap<String, Container>) -> impl Iterator<Item = &Container> {
    let pods: BTreeSet<&str> = containers
        .values()
        .filter(|container| !container.sandbox)
        .filter_map(|container| Some(container.kubernetes.as_ref()?.pod_uid.as_str()))
        .collect();
    containers.values().filter(move |container| {
        let pod = container.kubernetes.as_ref().map_or("", |place| place.pod_uid.as_str());
        !container.sandbox || !pods.contains(pod)
    })
}

/// What was read at one time, before it is joined.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Links of this namespace by index.
    pub links: BTreeMap<u32, Link>,
    /// Processes of containers, and those in other namespaces, by number.
    pub processes: Vec<Process>,
    /// Numbers of namespaces, by inode.
    pub nsids: BTreeMap<u64, i32>,
    /// Numbers of the namespaces of processes whose inode may not be read, by process.
    pub nsids_of_pids: BTreeMap<u32, i32>,
    /// Namespaces that are mounted.
    pub mounted: Vec<Mounted>,
    /// What the runtimes told, by id.
    pub known: BTreeMap<String, Known>,
    /// Namespaces in which one of our links led before, by inode.
    pub past: BTreeSet<u64>,
}

/// Of a container, the numbers of the namespaces beside its home that its processes are in.
type Strays = BTreeMap<String, BTreeSet<i32>>;

impl Facts {
    /// Joins what was read. Coverage and, where no runtime gave them, addresses come after: they
    /// need a look at each namespace.
    pub fn join(&self, containers_max: usize) -> Inventory {
        let mut all: BTreeMap<String, Container> = BTreeMap::new();
        let mut refused = BTreeSet::new();
        let mut strays = Strays::new();
        for process in &self.processes {
            let Some(place) = &process.place else { continue };
            if !all.contains_key(&place.id) {
                if all.len() >= containers_max {
                    refused.insert(&place.id);
                    continue;
                }
                let mut container = bare(place.id.clone(), Attribution::Cgroup);
                container.kubernetes = place
                    .pod_uid
                    .clone()
                    .map(|pod_uid| Kubernetes { pod_uid, ..Kubernetes::default() });
                all.insert(place.id.clone(), container);
            }
            if let Some(container) = all.get_mut(&place.id) {
                self.add_process(container, process);
                if let Some(nsid) = self.nsid(process).filter(|nsid| container.nsid != Some(*nsid))
                {
                    strays.entry(place.id.clone()).or_default().insert(nsid);
                }
            }
        }
        for known in self.known.values() {
            let is_new = !all.contains_key(&known.id);
            if is_new && all.len() >= containers_max {
                refused.insert(&known.id);
                continue;
            }
            let container = all
                .entry(known.id.clone())
                .or_insert_with(|| bare(known.id.clone(), Attribution::Cgroup));
            self.tell(container, known);
        }
        self.find_sandboxes(&mut all);
        let mut inventory = Inventory { containers: all, refused: refused.len() };
        self.keep_strays(&inventory, &mut strays);
        self.add_namespaces(&mut inventory, &strays, containers_max);
        for container in inventory.containers.values_mut() {
            let strays = strays.get(&container.id);
            let leads_to = |nsid: i32| {
                container.nsid == Some(nsid) || strays.is_some_and(|strays| strays.contains(&nsid))
            };
            let sides = self.links.values().filter(|link| link.is_container_side());
            let behind = sides.filter(|link| link.peer_nsid.is_some_and(leads_to));
            container.interfaces = behind.map(|link| link.index).collect();
        }
        inventory
    }

    /// Leaves those namespaces into which a container has gone beside its own: nobody else's, and known by its
    /// processes alone. A process that takes the interface with it into a namespace that it has just made is the
    /// container still. Whoever is in the host's network may look into any.
    fn keep_strays(&self, inventory: &Inventory, strays: &mut Strays) {
        let homes: BTreeSet<i32> =
            inventory.containers.values().filter_map(|container| container.nsid).collect();
        let mounted: BTreeSet<i32> = self.mounted.iter().filter_map(|one| one.nsid).collect();
        strays.retain(|id, nsids| {
            nsids.retain(|nsid| !homes.contains(nsid) && !mounted.contains(nsid));
            !nsids.is_empty() && inventory.containers.get(id).is_some_and(|one| one.nsid.is_some())
        });
    }

    fn nsid(&self, process: &Process) -> Option<i32> {
        match process.netns {
            Some(netns) => self.nsids.get(&netns).copied(),
            None => self.nsids_of_pids.get(&process.pid).copied(),
        }
    }

    fn add_process(&self, container: &mut Container, process: &Process) {
        if container.pids.len() < PIDS_MAX {
            container.pids.push(process.pid);
        }
        // At home where its first process is.
        if container.netns.is_none() && container.nsid.is_none() {
            (container.netns, container.nsid) = (process.netns, self.nsid(process));
        }
    }

    /// Where no runtime tells which of a pod's containers only holds its namespaces, it is the one
    /// that is a single `pause`. Where several are, some pretend: none is taken for it.
    fn find_sandboxes(&self, all: &mut BTreeMap<String, Container>) {
        let pauses: BTreeSet<u32> =
            self.processes.iter().filter(|one| one.pause).map(|one| one.pid).collect();
        let mut pods: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for container in all.values().filter(|one| one.how == Attribution::Cgroup) {
            let Some(place) = &container.kubernetes else { continue };
            if let [only] = container.pids[..]
                && pauses.contains(&only)
            {
                pods.entry(place.pod_uid.clone()).or_default().push(container.id.clone());
            }
        }
        for ids in pods.values() {
            if let [only] = &ids[..]
                && let Some(container) = all.get_mut(only)
            {
                container.sandbox = true;
            }
        }
    }

    /// Adds what a runtime told.
    fn tell(&self, container: &mut Container, known: &Known) {
        container.how = Attribution::Runtime;
        container.name = Some(known.name.clone()).filter(|name| !name.is_empty());
        container.image.clone_from(&known.image);
        container.labels.clone_from(&known.labels);
        container.sandbox = known.sandbox;
        container.addresses.clone_from(&known.addresses);
        if let Some(pod) = &known.pod {
            container.kubernetes = Some(Kubernetes {
                namespace: pod.namespace.clone(),
                pod: pod.name.clone(),
                pod_uid: pod.uid.clone(),
                owner: owner(&known.labels, &pod.name),
            });
        }
        // Before its first process, and where processes cannot be seen: by the mounted file's name.
        let name = known.netns.as_ref().and_then(|path| path.file_name());
        if container.netns.is_none() && container.nsid.is_none() && name.is_some() {
            let mounted = self.mounted.iter().find(|mounted| mounted.path.file_name() == name);
            container.netns = mounted.map(|mounted| mounted.netns);
            container.nsid = mounted.and_then(|mounted| mounted.nsid);
        }
    }

    /// Namespaces behind links, or once behind them and still in use, in which no container is.
    fn add_namespaces(&self, inventory: &mut Inventory, strays: &Strays, containers_max: usize) {
        let homes = inventory.containers.values().filter_map(|container| container.nsid);
        let taken: BTreeSet<i32> = homes.chain(strays.values().flatten().copied()).collect();
        let behind = self.links.values().filter(|link| link.is_container_side());
        let mut nsids: BTreeSet<i32> = behind.filter_map(|link| link.peer_nsid).collect();
        let lives = |netns: &u64| self.processes.iter().any(|one| one.netns == Some(*netns));
        let past = self.past.iter().filter(|netns| lives(netns));
        nsids.extend(past.filter_map(|netns| self.nsids.get(netns)));
        for nsid in nsids.difference(&taken).copied() {
            if inventory.containers.len() >= containers_max {
                inventory.refused += 1;
                continue;
            }
            let mounted = self.mounted.iter().find(|mounted| mounted.nsid == Some(nsid));
            let by_process = self.nsids.iter().find(|(_, known)| **known == nsid);
            let netns =
                mounted.map(|mounted| mounted.netns).or(by_process.map(|(netns, _)| *netns));
            let id = netns.map_or_else(|| format!("nsid:{nsid}"), |netns| format!("netns:{netns}"));
            let mut container = bare(id.clone(), Attribution::Interface);
            let name = mounted.and_then(|mounted| mounted.path.file_name());
            container.name = name.map(|name| name.to_string_lossy().into_owned());
            (container.netns, container.nsid) = (netns, Some(nsid));
            let within =
                self.processes.iter().filter(|process| netns.is_some() && process.netns == netns);
            container.pids = within.map(|process| process.pid).take(PIDS_MAX).collect();
            inventory.containers.insert(id, container);
        }
    }
}

/// A container of which nothing is known.
fn bare(id: String, how: Attribution) -> Container {
    Container {
        id,
        name: None,
        image: None,
        labels: BTreeMap::new(),
        kubernetes: None,
        sandbox: false,
        pids: Vec::new(),
        started: None,
        netns: None,
        nsid: None,
        interfaces: Vec::new(),
        addresses: Vec::new(),
        how,
        coverage: Coverage::Unknown("it was not looked at yet".to_owned()),
    }
}

#[cfg(test)]
mod tests;
