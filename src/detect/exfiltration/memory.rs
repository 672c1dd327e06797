//! What is kept of a container's uploads over restarts, and for its successor: all that says what is
//! usual. Findings are not: one that goes on is told anew.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::baseline::DestinationKey;
use crate::bounded::BoundedMap;
use crate::container::Container;
use crate::time::Timestamp;

use super::bins::Bins;
use super::destination::Destination;
use super::served::Port;
use super::{Exfiltration, services};

/// As it is written: each list the longest unused first.
#[derive(Serialize)]
struct Written<'a> {
    total: &'a Bins,
    given: &'a Bins,
    fetched: &'a Bins,
    candidates: Vec<(&'a DestinationKey, &'a u64)>,
    destinations: Vec<(&'a DestinationKey, &'a Destination)>,
    ports: Vec<(&'a (u16, u8), &'a Port)>,
    forgotten_limits: (f64, Timestamp),
}

/// As it is read.
#[derive(Deserialize)]
pub(super) struct Past {
    total: Bins,
    given: Bins,
    fetched: Bins,
    candidates: Vec<(DestinationKey, u64)>,
    destinations: Vec<(DestinationKey, Destination)>,
    ports: Vec<((u16, u8), Port)>,
    forgotten_limits: (f64, Timestamp),
}

impl Exfiltration {
    pub(super) fn written(&self) -> Option<Box<RawValue>> {
        let mut candidates: Vec<_> = self.candidates.iter().collect();
        let mut destinations: Vec<_> = self.destinations.iter().collect();
        candidates.reverse();
        destinations.reverse();
        let written = Written {
            total: &self.total,
            given: &self.given,
            fetched: &self.fetched,
            candidates,
            destinations,
            ports: self.served.all(),
            forgotten_limits: self.forgotten_limits,
        };
        to_raw_value(&written).ok()
    }

    /// Goes on from a past. What was counted before it was known happened after it.
    pub(super) fn go_on(&mut self, at: Timestamp, container: &Container, past: Past) {
        for (bins, past) in [
            (&mut self.total, past.total),
            (&mut self.given, past.given),
            (&mut self.fetched, past.fetched),
        ] {
            let counted: f64 = bins.all().iter().map(|bytes| f64::from(*bytes)).sum();
            *bins = past;
            bins.add(at, counted as u64);
        }
        self.started = true;
        self.forgotten_limits = past.forgotten_limits;
        self.served.recall(past.ports);
        for (key, bytes) in past.candidates {
            let so_far = self.candidates.get_or_insert_with(key, || 0);
            *so_far = so_far.saturating_add(bytes);
        }
        let room = self.settings.destinations_max;
        let mut young = std::mem::replace(&mut self.destinations, BoundedMap::new(room));
        for (key, mut destination) in past.destinations {
            let name = destination.name.as_deref();
            destination.service =
                name.and_then(|name| services::kind(name, &self.settings.known_services));
            self.candidates.remove(&key);
            self.destinations.insert(key, destination);
        }
        while let Some((key, mut destination)) = young.pop_oldest() {
            if let Some(old) = self.destinations.get_mut(&key) {
                old.go_on(destination);
                continue;
            }
            if let Some(used) = container.destinations.get(key) {
                destination.first_seen = used.first_seen;
            }
            destination.history = destination.history.or_else(|| self.history(container, at));
            self.destinations.insert(key, destination);
        }
    }
}

/// A rule by its name.
pub(super) mod rule {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use crate::detect::{Describe, Rule};

    use super::Exfiltration;

    pub(in super::super) fn serialize<S: Serializer>(
        rule: &&'static Rule,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(rule.id)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<&'static Rule, D::Error> {
        let id = String::deserialize(from)?;
        let rule = Exfiltration::RULES.iter().copied().find(|rule| rule.id == id);
        rule.ok_or_else(|| D::Error::custom("no rule of this detector"))
    }
}
