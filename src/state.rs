//! What is kept over restarts: what each workload's containers usually do. The file is written whole
//! at intervals and at the end. `--state` stands above `path`.
//!
//! A workload is what a container's successor shares with it: the owner of its pod, else its name and
//! image. What neither is known of keeps nothing.
//!
//! Where several engines share a node, each keeps what all know: what one notes, the others are told, so that
//! a successor inherits it wherever it is seen. What is written is [`Memories::merge`] of what each has noted.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::baseline::DestinationKey;
use crate::bounded::BoundedMap;
use crate::container::ContainerIdentity;
use crate::time::Timestamp;

/// `[state]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The file. Without it nothing is kept, not even for a successor within one run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Time from one writing to the next (seconds of the clock, 1 at least): what a crash may cost.
    pub interval_s: u64,
    /// Workloads kept (count); the longest unseen goes first.
    pub workloads_max: usize,
    /// What is kept of all of them together (bytes, in memory and in the file); the longest unseen
    /// goes first. One takes some 40 kB.
    pub bytes_max: u64,
    /// A workload that was not seen for this long is forgotten (seconds).
    pub forget_after_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: None,
            interval_s: 300,
            workloads_max: 1_024,
            bytes_max: 16 << 20,
            forget_after_s: 7 * 86_400,
        }
    }
}

/// What a container's successor shares with it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// A pod's owner; without one the pod itself. The names of a pod's containers are no part of it:
    /// they share its network, and become known one after the other.
    Kubernetes {
        /// Namespace.
        namespace: Box<str>,
        /// `Deployment/web`.
        owner: Box<str>,
    },
    /// A container without Kubernetes.
    Container {
        /// Its name.
        name: Box<str>,
        /// Its image, where known.
        image: Option<Box<str>>,
    },
}

impl Workload {
    /// Of a container, as far as it is known.
    pub fn of(identity: &ContainerIdentity) -> Option<Self> {
        if let Some(place) = identity.pod() {
            let namespace = place.namespace.clone();
            let owner = match &place.owner {
                Some(owner) => owner.clone(),
                None => format!("Pod/{}", place.pod).into(),
            };
            return Some(Self::Kubernetes { namespace, owner });
        }
        let name = match identity.containers() {
            [] => identity.name.clone()?,
            several => {
                let mut several = several.to_vec();
                several.sort_unstable();
                several.join(",").into()
            }
        };
        Some(Self::Container { name, image: identity.image.clone() })
    }
}

/// What is kept of one workload: a line of the file.
#[derive(Debug, Deserialize, Serialize)]
pub struct Memory {
    /// Whose.
    pub workload: Workload,
    /// First packet of its first container.
    pub first_seen: Timestamp,
    /// Last packet.
    pub last_seen: Timestamp,
    /// Where it went: first and latest flow, flows (count). The longest unused first.
    pub destinations: Vec<(DestinationKey, Timestamp, Timestamp, u64)>,
    /// What it asked DNS for, until when that is believed. The longest unused first.
    pub names: Vec<(IpAddr, Box<str>, Timestamp)>,
    /// What its detectors remember, by their names.
    pub detectors: BTreeMap<Box<str>, Box<RawValue>>,
}

/// The part of a line that says whose it is.
#[derive(Deserialize)]
struct Head {
    workload: Workload,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

/// All that is kept, as lines of text: what is written, and what was read.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// A workload each, the longest unseen first.
    pub lines: Vec<Arc<str>>,
    /// Workloads that had to go for want of room so far (count).
    pub evicted: u64,
}

/// All workloads with what is kept of them, bounded.
#[derive(Clone, Debug)]
pub struct Memories {
    workloads: BoundedMap<Workload, Entry>,
    bytes: u64,
    bytes_max: u64,
    forget_after: Duration,
    /// Those that went for want of bytes (count).
    too_much: u64,
    /// Times that all was handed out to be written (count).
    round: u32,
    /// Where several engines share the node: what the others are to be told.
    news: Option<Vec<Told>>,
}

/// Memories told to other engines at a time (count): more are not told.
const TOLD_MAX: usize = 256;

/// A memory that another engine has noted.
#[derive(Clone, Debug)]
pub struct Told(Workload, Entry);

#[derive(Clone, Debug)]
struct Entry {
    line: Arc<str>,
    first_seen: Timestamp,
    last_seen: Timestamp,
    origin: Origin,
}

/// Where an entry comes from. What stands lower is more to be believed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Origin {
    /// From another engine, which hands it out itself.
    Told,
    /// From before this run.
    Inherited,
    /// Of this engine's containers, in that round.
    Noted(u32),
}

/// A clock may be so far behind what was written before it was put back.
const AHEAD: Duration = Duration::from_secs(3_600);

impl Memories {
    /// Of what was read. Lines that are none are passed over.
    pub fn of(settings: &Settings, state: &State) -> Self {
        let mut memories = Self::new(settings);
        for line in &state.lines {
            if let Ok(Head { workload, first_seen, last_seen }) = serde_json::from_str(line) {
                let (line, origin) = (line.clone(), Origin::Inherited);
                memories.put(workload, Entry { line, first_seen, last_seen, origin });
            }
        }
        memories
    }

    fn new(settings: &Settings) -> Self {
        Self {
            workloads: BoundedMap::new(settings.workloads_max),
            bytes: 0,
            bytes_max: settings.bytes_max,
            forget_after: Duration::from_secs(settings.forget_after_s),
            too_much: 0,
            round: 0,
            news: None,
        }
    }

    /// From now on keeps what is noted for [`news`](Self::news), too.
    pub fn share(&mut self) {
        self.news = Some(Vec::new());
    }

    /// What was noted since the last time, for the other engines.
    pub fn news(&mut self) -> Vec<Told> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes in what another engine has noted, unless this one is about to hand out its own.
    pub fn take_in(&mut self, Told(workload, entry): &Told) {
        let own = self.workloads.peek(workload);
        if own.is_some_and(|own| own.origin == Origin::Noted(self.round)) {
            return;
        }
        self.put(workload.clone(), Entry { origin: Origin::Told, ..entry.clone() });
    }

    /// What is kept of a workload, unless it is too old or from the future; and whether it is from
    /// before this run.
    pub fn get(&self, at: Timestamp, workload: &Workload) -> Option<(Memory, bool)> {
        let entry = self.workloads.peek(workload)?;
        if at.since(entry.last_seen) > self.forget_after || entry.last_seen.since(at) > AHEAD {
            return None;
        }
        let inherited = entry.origin == Origin::Inherited;
        Some((serde_json::from_str(&entry.line).ok()?, inherited))
    }

    /// Keeps this of its workload, in the place of what was.
    pub fn set(&mut self, memory: &Memory) {
        let Ok(line) = serde_json::to_string(memory) else { return };
        let (first_seen, last_seen) = (memory.first_seen, memory.last_seen);
        let origin = Origin::Noted(self.round);
        let entry = Entry { line: line.into(), first_seen, last_seen, origin };
        let workload = &memory.workload;
        if let Some(news) = self.news.as_mut().filter(|news| news.len() < TOLD_MAX) {
            news.push(Told(workload.clone(), entry.clone()));
        }
        self.put(workload.clone(), entry);
    }

    /// A copy of all, without those that are too old at `at`. What is noted from now on is newer.
    pub fn all(&mut self, at: Timestamp) -> Self {
        let is_old = |entry: &Entry| at.since(entry.last_seen) > self.forget_after;
        let old = self.workloads.iter().filter(|(_, entry)| is_old(entry));
        let old: Vec<Workload> = old.map(|(workload, _)| workload.clone()).collect();
        for workload in old {
            if let Some(entry) = self.workloads.remove(&workload) {
                self.bytes -= entry.bytes();
            }
        }
        let copy = self.clone();
        self.round += 1;
        copy
    }

    /// What several engines that share a node keep, as one. Of what they noted of the same workload, that
    /// of its eldest container which is still there is kept, as within one engine.
    pub fn merge(settings: &Settings, all: &[Self]) -> Self {
        let rank = |memories: &Self, entry: &Entry| {
            let fresh = entry.origin == Origin::Noted(memories.round);
            let noted = matches!(entry.origin, Origin::Noted(_));
            (fresh, noted, entry.origin != Origin::Told, Reverse(entry.first_seen), entry.last_seen)
        };
        let mut best = BTreeMap::new();
        for memories in all {
            for (workload, entry) in memories.workloads.iter() {
                let found = (rank(memories, entry), entry);
                let kept = best.entry(workload).or_insert(found);
                if found.0 > kept.0 {
                    *kept = found;
                }
            }
        }
        let mut best: Vec<_> = best
            .into_iter()
            .map(|(workload, (_, entry))| (entry.last_seen, workload, entry))
            .collect();
        best.sort_unstable_by_key(|(last_seen, workload, _)| (*last_seen, *workload));
        let mut merged = Self::new(settings);
        for (_, workload, entry) in best {
            merged.put(workload.clone(), entry.clone());
        }
        merged.too_much += all.iter().map(Self::evicted).max().unwrap_or_default();
        merged
    }

    /// Workloads that had to go for want of room so far (count).
    pub fn evicted(&self) -> u64 {
        self.workloads.evicted() + self.too_much
    }

    /// All as lines.
    pub fn state(&self) -> State {
        let mut lines: Vec<Arc<str>> =
            self.workloads.iter().map(|(_, entry)| Arc::clone(&entry.line)).collect();
        lines.reverse();
        State { lines, evicted: self.evicted() }
    }

    fn put(&mut self, workload: Workload, entry: Entry) {
        if let Some(before) = self.workloads.remove(&workload) {
            self.bytes -= before.bytes();
        }
        self.bytes += entry.bytes();
        if let Some((_, gone)) = self.workloads.insert(workload, entry) {
            self.bytes -= gone.bytes();
        }
        while self.bytes > self.bytes_max {
            let Some((_, gone)) = self.workloads.pop_oldest() else { return };
            self.bytes -= gone.bytes();
            self.too_much += 1;
        }
    }
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.line.len() as u64
    }
}
