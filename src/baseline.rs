//! What is usual on this node: which destinations its containers have, and since when.
//!
//! A destination is a name where there is one (SNI, HTTP host, or a DNS answer), else an address.
//! Rarity among siblings is what tells a heartbeat that every replica has from a beacon of one. Only
//! answered payload makes a container a user: a packet with another's address in it explains nothing.

mod exchange;

pub use exchange::News;

use std::collections::VecDeque;
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
    /// The first flow to it that this run saw was open before; `None` before there was one.
    open_before: Option<bool>,
    /// The first few containers that it answered (of the node; empty in a container's own).
    users: Vec<User>,
    /// When a finding of medium severity or more was last raised about it; 0 for never.
    suspected: Timestamp,
    /// When the first such finding was, of those that lie no day apart.
    suspected_since: Timestamp,
    /// Other engines are still to be told.
    changed: bool,
}

/// How one container used a destination: by payload in flows that it opened and that were answered.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// Its number.
    pub container: u32,
    /// Which engine numbers it so: 0 for this one, else the other's number plus one.
    engine: u32,
    /// First such payload.
    pub first: Timestamp,
    /// Times that payload passed, a second apart or more (count).
    pub exchanges: u32,
    /// Of packet time, since the epoch.
    hour: u32,
    /// Most that it uploaded in an hour of packet time (bytes).
    pub upload_hour_max_bytes: u64,
    last: Timestamp,
    hour_bytes: u64,
}

impl User {
    /// Times closer than this are one (nanoseconds).
    const EXCHANGE_NS: u64 = 1_000_000_000;
    const HOUR_NS: u64 = 3_600_000_000_000;
    /// An upload sends this many times what comes back: a producer/consumer ratio of 0.6.
    const UPLOAD_FACTOR: u64 = 4;

    const fn new(at: Timestamp, container: u32) -> Self {
        Self {
            container,
            engine: 0,
            first: at,
            exchanges: 0,
            hour: 0,
            upload_hour_max_bytes: 0,
            last: at,
            hour_bytes: 0,
        }
    }

    /// It is this engine's container of that number.
    const fn is(&self, container: u32) -> bool {
        self.engine == 0 && self.container == container
    }

    fn note(&mut self, at: Timestamp, sent_bytes: u64, received_bytes: u64) {
        let apart = at.nanos().saturating_sub(self.last.nanos()) >= Self::EXCHANGE_NS;
        if self.exchanges == 0 || apart {
            self.exchanges = self.exchanges.saturating_add(1);
            self.last = at;
        }
        if sent_bytes < received_bytes.saturating_mul(Self::UPLOAD_FACTOR) {
            return;
        }
        let hour = (at.nanos() / Self::HOUR_NS) as u32;
        if hour > self.hour {
            (self.hour, self.hour_bytes) = (hour, 0);
        }
        self.hour_bytes = self.hour_bytes.saturating_add(sent_bytes);
        self.upload_hour_max_bytes = self.upload_hour_max_bytes.max(self.hour_bytes);
    }
}

impl DestinationUse {
    /// Containers that are told apart (count): half as many as Kubernetes runs on a node, 110.
    const USERS_MAX: usize = 64;
    /// A suspicion lasts so long (nanoseconds: one day).
    const SUSPICION_NS: u64 = 86_400_000_000_000;

    const fn new(at: Timestamp) -> Self {
        Self {
            first_seen: at,
            last_seen: at,
            flows: 0,
            open_before: None,
            users: Vec::new(),
            suspected: Timestamp::from_nanos(0),
            suspected_since: Timestamp::from_nanos(0),
            changed: false,
        }
    }

    fn count(&mut self, at: Timestamp, open_before: bool) {
        self.last_seen = at;
        self.flows += 1;
        self.open_before.get_or_insert(open_before);
    }

    /// It was in use before this run saw anything of it ([`Flow::was_open_before`]): whether its name
    /// was asked for then is unknown, and so is since when it is used.
    pub fn was_used_before(&self) -> bool {
        self.open_before == Some(true)
    }

    fn note_payload(&mut self, at: Timestamp, container: u32, moved_bytes: [u64; 2]) {
        let known = self.users.iter().any(|user| user.is(container));
        if !known && self.users.len() < Self::USERS_MAX {
            self.users.push(User::new(at, container));
        }
        if let Some(user) = self.users.iter_mut().find(|user| user.is(container)) {
            user.note(at, moved_bytes[0], moved_bytes[1]);
        }
    }

    /// Distinct containers that it answered (count); 64 means 64 or more.
    pub const fn containers(&self) -> u8 {
        self.users.len() as u8
    }

    /// The first few containers that it answered, but for this one.
    pub fn others(&self, container: u32) -> impl Iterator<Item = &User> {
        self.users.iter().filter(move |user| !user.is(container))
    }

    /// A finding of medium severity or more was raised about it within a day.
    pub fn is_suspected(&self, at: Timestamp) -> bool {
        let age_ns = at.nanos().saturating_sub(self.suspected.nanos());
        self.suspected != Timestamp::default() && age_ns <= Self::SUSPICION_NS
    }

    /// Since when it is suspected, if it is: whoever uses it only since then excuses nobody.
    pub fn suspected_since(&self, at: Timestamp) -> Option<Timestamp> {
        self.is_suspected(at).then_some(self.suspected_since)
    }

    fn suspect(&mut self, at: Timestamp) {
        if !self.is_suspected(at) {
            self.suspected_since = at;
        }
        self.suspected = at;
    }
}

/// Destinations with their use, bounded.
#[derive(Debug)]
pub struct Destinations {
    uses: BoundedMap<DestinationKey, DestinationUse>,
    /// Where several engines share the node: what the others are to be told.
    changed: Option<exchange::Changed>,
}

impl Destinations {
    /// Room for `max` destinations (count).
    pub fn new(max: usize) -> Self {
        Self { uses: BoundedMap::new(max), changed: None }
    }

    /// Notes a flow to a destination that was opened in sight.
    pub fn count(&mut self, at: Timestamp, key: DestinationKey) {
        self.count_flow(at, key, false);
    }

    /// Notes a flow to a destination, and whether it was open before ([`Flow::was_open_before`]).
    pub fn count_flow(&mut self, at: Timestamp, key: DestinationKey, open_before: bool) {
        self.uses.get_or_insert_with(key, || DestinationUse::new(at)).count(at, open_before);
    }

    /// Notes payload between `container` and a destination, in a flow that was answered: what was
    /// sent, and what was received (bytes).
    pub fn note_payload(
        &mut self,
        at: Timestamp,
        key: DestinationKey,
        container: u32,
        moved_bytes: [u64; 2],
    ) {
        let known = self.uses.get_or_insert_with(key, || DestinationUse::new(at));
        known.note_payload(at, container, moved_bytes);
        if let Some(changed) = &mut self.changed {
            changed.note(key, known);
        }
    }

    /// A finding of medium severity or more is about this destination.
    pub fn suspect(&mut self, at: Timestamp, key: DestinationKey) {
        if let Some(known) = self.uses.get_mut(&key) {
            known.suspect(at);
            if let Some(changed) = &mut self.changed {
                changed.note(key, known);
            }
        }
    }

    /// All with first and latest flow and their flows (count), the longest unused first.
    pub fn all(&self) -> Vec<(DestinationKey, Timestamp, Timestamp, u64)> {
        let uses = self.uses.iter();
        let mut all: Vec<_> =
            uses.map(|(key, one)| (*key, one.first_seen, one.last_seen, one.flows)).collect();
        all.reverse();
        all
    }

    /// Takes up a destination from before a restart: first and latest flow, and flows (count). Who
    /// used it has to show anew.
    pub fn recall(&mut self, key: DestinationKey, [first, last]: [Timestamp; 2], flows: u64) {
        let one = self.uses.get_or_insert_with(key, || DestinationUse::new(last));
        one.first_seen = one.first_seen.min(first);
        one.last_seen = one.last_seen.max(last);
        one.flows = one.flows.saturating_add(flows);
    }

    /// Takes up all that was known before a restart. What is known by now stays the latest used.
    pub fn recall_all(&mut self, past: Vec<(DestinationKey, Timestamp, Timestamp, u64)>) {
        let known: Vec<DestinationKey> = self.uses.iter().map(|(key, _)| *key).collect();
        for (key, first, last, flows) in past {
            self.recall(key, [first, last], flows);
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
    /// Containers of this engine (count).
    own_containers: u32,
    /// The same of others that share the node, by their numbers.
    elsewhere: Vec<u32>,
    /// How many there were together, and from when on: the latest changes, the oldest first.
    counts: VecDeque<(Timestamp, u32)>,
    /// The time that was told last.
    at: Timestamp,
}

impl Baseline {
    /// Nothing known.
    pub fn new(settings: &Settings) -> Self {
        Self {
            destinations: Destinations::new(settings.destinations_max),
            own_containers: 0,
            elsewhere: Vec::new(),
            counts: VecDeque::new(),
            at: Timestamp::default(),
        }
    }

    /// Changes of the number of containers that are remembered (count). What is older counts as the
    /// oldest of them.
    const COUNTS_MAX: usize = 256;

    /// Containers that have opened a flow (count).
    pub fn containers(&self) -> u32 {
        self.elsewhere.iter().fold(self.own_containers, |sum, more| sum.saturating_add(*more))
    }

    /// Those of them that have been there since `since` (count).
    pub fn containers_since(&self, since: Timestamp) -> u32 {
        let then = self.counts.iter().rev().find(|(at, _)| *at <= since);
        let oldest = self.counts.front();
        then.or(oldest).map_or(0, |(_, count)| *count).min(self.containers())
    }

    /// So many of them are this engine's.
    pub fn set_containers(&mut self, at: Timestamp, containers: u32) {
        self.at = self.at.max(at);
        if self.own_containers != containers {
            self.own_containers = containers;
            self.note_count();
        }
    }

    fn note_count(&mut self) {
        let (at, count) = (self.at, self.containers());
        match self.counts.back_mut() {
            Some((latest, known)) if *latest == at => *known = count,
            Some((_, known)) if *known == count => {}
            _ => {
                if self.counts.len() >= Self::COUNTS_MAX {
                    self.counts.pop_front();
                }
                self.counts.push_back((at, count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(1_772_366_400_000_000_000 + seconds * 1_000_000_000)
    }

    #[test]
    fn a_container_is_a_user_by_payload_and_not_by_flows() {
        let key = DestinationKey::of_name("drop.example");
        let mut all = Destinations::new(4);
        for second in 0..100 {
            all.count(at(second), key);
        }
        assert_eq!(all.get(key).map(DestinationUse::containers), Some(0), "SYNs");
        for (second, container, moved) in [
            (0, 1, [5, 5]),
            (1, 2, [1_000, 90_000]),
            (2, 3, [60_000, 100]),
            (3, 3, [60_000, 100]),
            (3_700, 3, [1_000, 100]),
        ] {
            all.note_payload(at(second), key, container, moved);
        }
        let known = all.get(key).unwrap();
        let users: Vec<_> =
            known.others(1).map(|user| (user.exchanges, user.upload_hour_max_bytes)).collect();
        assert_eq!(known.containers(), 3);
        assert_eq!(users, [(1, 0), (3, 120_000)], "a download is no upload, an hour is a sum");
    }

    #[test]
    fn users_are_bounded_and_a_suspicion_ends() {
        let key = DestinationKey::of_name("drop.example");
        let mut all = Destinations::new(4);
        all.suspect(at(0), key);
        assert!(all.get(key).is_none(), "nobody uses it");
        for container in 0..100 {
            all.note_payload(at(0), key, container, [1, 1]);
        }
        all.suspect(at(0), key);
        let known = all.get(key).unwrap();
        assert_eq!(known.containers(), 64);
        assert!(known.is_suspected(at(86_400)) && !known.is_suspected(at(86_401)));
        all.suspect(at(50_000), key);
        let since = |all: &Destinations, second| all.get(key)?.suspected_since(at(second));
        assert_eq!(since(&all, 90_000), Some(at(0)), "still the same suspicion");
        all.suspect(at(200_000), key);
        assert_eq!(since(&all, 200_001), Some(at(200_000)), "a new one");
    }

    #[test]
    fn how_many_containers_have_been_there_since_when() {
        let mut node = Baseline::new(&Settings::default());
        for (second, containers) in [(10, 2), (20, 2), (30, 5), (40, 4)] {
            node.set_containers(at(second), containers);
        }
        for (second, expected) in [(0, 2), (10, 2), (29, 2), (30, 4), (90, 4)] {
            assert_eq!(node.containers_since(at(second)), expected, "{second} s");
        }
        for second in 100..10_000 {
            node.set_containers(at(second), second as u32);
        }
        assert_eq!(node.containers_since(at(9_990)), 9_990);
        assert_eq!(node.counts.len(), Baseline::COUNTS_MAX);
    }
}
