//! Containers to memories and back: a container takes up what is kept of its workload once it is
//! known whose it is, and leaves what it did for its successor.

use std::collections::BTreeMap;

use crate::container::Container;
use crate::detect::{DETECTORS, Detector};
use crate::state::{Memories, Memory, State, Workload};
use crate::time::Timestamp;

use super::Engine;
use super::judge::Judge;

/// A container's detectors, in the order of [`DETECTORS`], and whose past they go on from.
pub(super) struct Watched {
    pub(super) detectors: Box<[Box<dyn Detector>]>,
    /// Known since it took up what there was.
    pub(super) workload: Option<Workload>,
}

impl Engine {
    /// From now on keeps what workloads do, beginning with what an earlier run kept. One of several
    /// engines is told first that it is ([`Engine::share`]).
    pub fn import_state(&mut self, state: &State) {
        let mut memories = Memories::of(&self.state_settings, state);
        if self.line.judge.baseline.is_shared() {
            memories.share();
        }
        self.line.judge.memories = Some(memories);
    }

    /// Notes what the next container does; `false` when each had its turn since the last time that
    /// this was so. In steps, because whoever waits for frames has little time.
    pub fn remember_next(&mut self) -> bool {
        self.line.judge.remember_next()
    }

    /// All that is kept, as it was noted.
    pub fn export_state(&mut self) -> State {
        self.export_memories().map(|memories| memories.state()).unwrap_or_default()
    }

    /// The same, to be merged with that of other engines; nothing where none is kept.
    pub fn export_memories(&mut self) -> Option<Memories> {
        let at = self.line.now;
        self.line.judge.memories.as_mut().map(|memories| memories.all(at))
    }
}

impl Judge {
    /// The container takes up what is kept of its workload, if it has not, has traffic, and is known.
    #[inline]
    pub(super) fn recall(&mut self, at: Timestamp, number: u32) {
        if self.memories.is_some() {
            self.take_up(at, number);
        }
    }

    fn take_up(&mut self, at: Timestamp, number: u32) {
        let Self { memories: Some(memories), containers, baseline, .. } = self else { return };
        let Some((container, watched)) = containers.get_mut(number) else { return };
        if watched.workload.is_some() {
            return;
        }
        let Some(workload) = Workload::of(&container.identity) else { return };
        let found = memories.get(at, &workload);
        watched.workload = Some(workload);
        let Some((memory, inherited)) = found else { return };
        container.first_seen = container.first_seen.min(memory.first_seen);
        container.names.recall(memory.names);
        if inherited {
            // Within a run the node knows them already.
            for (key, first, last, _) in &memory.destinations {
                baseline.destinations.recall(*key, [*first, *last], 0);
            }
        }
        container.destinations.recall_all(memory.destinations);
        for (row, detector) in DETECTORS.iter().zip(watched.detectors.iter_mut()) {
            if let Some(memory) = memory.detectors.get(row.id) {
                detector.recall(at, container, memory);
            }
        }
    }

    fn remember_next(&mut self) -> bool {
        let place = self.next_to_remember;
        self.next_to_remember += 1;
        let Some(entry) = self.containers.entries().get(place) else {
            self.next_to_remember = 0;
            return false;
        };
        if let Some((container, watched)) = entry
            && let Some(memory) = self.memory(container, watched)
            && let Some(memories) = &mut self.memories
        {
            memories.set(&memory);
        }
        true
    }

    /// What the container leaves to its successor. Of a workload's containers the eldest speaks for
    /// it: those that came later took up what it had left until then.
    pub(super) fn memory(&self, container: &Container, watched: &Watched) -> Option<Memory> {
        self.memories.as_ref()?;
        let workload = watched.workload.as_ref()?;
        let age = |container: &Container| (container.first_seen, container.number);
        let is_elder = |(other, beside): &(Container, Watched)| {
            beside.workload.as_ref() == Some(workload) && age(other) < age(container)
        };
        if self.containers.entries().iter().flatten().any(is_elder) {
            return None;
        }
        let detectors = DETECTORS.iter().zip(&watched.detectors);
        let detectors: BTreeMap<_, _> =
            detectors.filter_map(|(row, own)| Some((row.id.into(), own.remember()?))).collect();
        Some(Memory {
            workload: workload.clone(),
            first_seen: container.first_seen,
            last_seen: container.last_seen,
            destinations: container.destinations.all(),
            names: container.names.all(container.last_seen),
            detectors,
        })
    }
}
