//! What is usual on this node: which destinations its containers have, and since when.
//!
//! A destination is a name where there is one (SNI, HTTP host, or a DNS answer), else an address.
//! Rarity among siblings is what tells a heartbeat that every replica has from a beacon of one.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedMap;
use crate::flow::Flow;
use crate::time::Timestamp;

/// `[baseline]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Destinations remembered for the node (count); the longest unused goes first.
    pub destinations_max: usize,
    /// Destinations remembered per container (count); the longest unused goes first.
    pub container_destinations_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { destinations_max: 16_384, container_destinations_max: 1_024 }
    }
}

/// A destination's identity: hash of its name, else of its address. Never of the port.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct DestinationKey(pub u64);

impl DestinationKey {
    /// Of a name.
    pub fn of_name(name: &str) -> Self {
        Self::hash(name)
    }

    /// Of an address.
    pub fn of_ip(ip: IpAddr) -> Self {
        Self::hash(ip)
    }

    /// Of the responder of a flow.
    pub fn of_flow(flow: &Flow) -> Self {
        match &flow.name {
            Some(name) => Self::of_name(name),
            None => Self::of_ip(flow.responder.ip),
        }
    }

    fn hash(value: impl Hash) -> Self {
        Self(foldhash::quality::FixedState::default().hash_one(value))
    }
}

/// How a destination was used: by one container, or by all of the node.
#[derive(Clone, Debug)]
pub struct DestinationUse {
    /// First flow to it.
    pub first_seen: Timestamp,
    /// Latest flow to it.
    pub last_seen: Timestamp,
    /// Flows to it (count).
    pub flows: u64,
    /// The first few containers that used it, by number.
    containers: [u32; Self::CONTAINERS],
    containers_known: u8,
}

impl DestinationUse {
    const CONTAINERS: usize = 8;

    fn new(at: Timestamp) -> Self {
        Self {
            first_seen: at,
            last_seen: at,
            flows: 0,
            containers: [0; Self::CONTAINERS],
            containers_known: 0,
        }
    }

    fn count(&mut self, at: Timestamp, container: u32) {
        self.last_seen = at;
        self.flows += 1;
        self.note(container);
    }

    fn note(&mut self, container: u32) {
        let known = usize::from(self.containers_known);
        if known < Self::CONTAINERS && !self.containers[..known].contains(&container) {
            self.containers[known] = container;
            self.containers_known += 1;
        }
    }

    /// Distinct containers that used it (count); 8 means 8 or more.
    pub const fn containers(&self) -> u8 {
        self.containers_known
    }
}

/// Destinations with their use, bounded.
#[derive(Debug)]
pub struct Destinations {
    uses: BoundedMap<DestinationKey, DestinationUse>,
}

impl Destinations {
    /// Room for `max` destinations (count).
    pub fn new(max: usize) -> Self {
        Self { uses: BoundedMap::new(max) }
    }

    /// Notes a flow of `container` to a destination.
    pub fn count(&mut self, at: Timestamp, key: DestinationKey, container: u32) {
        self.uses.get_or_insert_with(key, || DestinationUse::new(at)).count(at, container);
    }

    /// All with first and latest flow and their flows (count), the longest unused first.
    pub fn all(&self) -> Vec<(DestinationKey, Timestamp, Timestamp, u64)> {
        let uses = self.uses.iter();
        let mut all: Vec<_> =
            uses.map(|(key, one)| (*key, one.first_seen, one.last_seen, one.flows)).collect();
        all.reverse();
        all
    }

    /// Takes up a destination from before a restart: first and latest flow, flows (count), and who
    /// used it.
    pub fn recall(
        &mut self,
        key: DestinationKey,
        [first, last]: [Timestamp; 2],
        flows: u64,
        container: Option<u32>,
    ) {
        let one = self.uses.get_or_insert_with(key, || DestinationUse::new(last));
        one.first_seen = one.first_seen.min(first);
        one.last_seen = one.last_seen.max(last);
        one.flows = one.flows.saturating_add(flows);
        if let Some(container) = container {
            one.note(container);
        }
    }

    /// Takes up all that was known before a restart. What is known by now stays the latest used.
    pub fn recall_all(&mut self, past: Vec<(DestinationKey, Timestamp, Timestamp, u64)>) {
        let known: Vec<DestinationKey> = self.uses.iter().map(|(key, _)| *key).collect();
        for (key, first, last, flows) in past {
            self.recall(key, [first, last], flows, None);
        }
        for key in known.iter().rev() {
            self.uses.get_mut(key);
        }
    }

    /// How it was used so far.
    pub fn get(&self, key: DestinationKey) -> Option<&DestinationUse> {
        self.uses.peek(&key)
    }

    /// Distinct destinations remembered (count).
    pub fn len(&self) -> usize {
        self.uses.len()
    }

    /// None is remembered.
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }

    /// Destinations forgotten to make room (count).
    pub const fn evicted(&self) -> u64 {
        self.uses.evicted()
    }
}

/// What is usual on the node.
#[derive(Debug)]
pub struct Baseline {
    /// Destinations of all containers together.
    pub destinations: Destinations,
    /// Containers with traffic so far (count).
    pub containers: u32,
}

impl Baseline {
    /// Nothing known.
    pub fn new(settings: &Settings) -> Self {
        Self { destinations: Destinations::new(settings.destinations_max), containers: 0 }
    }
}
