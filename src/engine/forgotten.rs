//! What had to be forgotten early about containers: those that are there, and those that are gone.

use std::collections::BTreeMap;

use super::judge::Judge;
use super::remember::Watched;
use crate::container::Container;
use crate::detect::DETECTORS;
use crate::record::Stats;

/// Counts of bounds that were hit, by what they bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Forgotten {
    names: u64,
    destinations: u64,
    detectors: BTreeMap<&'static str, u64>,
}

impl Forgotten {
    /// Adds what was forgotten about a container.
    pub(super) fn add(&mut self, container: &Container, watched: &Watched) {
        self.names += container.names.evicted();
        self.destinations += container.destinations.evicted();
        for (row, detector) in DETECTORS.iter().zip(&watched.detectors) {
            *self.detectors.entry(row.id).or_default() += detector.forgotten();
        }
    }
}

impl Judge {
    /// Counts all that was forgotten so far.
    pub(super) fn count_forgotten(&self, stats: &mut Stats) {
        let mut all = self.forgotten_of_gone.clone();
        for (container, watched) in self.containers.entries().iter().flatten() {
            all.add(container, watched);
        }
        stats.names_evicted = all.names;
        stats.destinations_evicted = self.baseline.destinations.evicted() + all.destinations;
        stats.detectors_evicted = all.detectors;
        stats.workloads_evicted = self.memories.as_ref().map_or(0, |kept| kept.evicted());
    }
}
