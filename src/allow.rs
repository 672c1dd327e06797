//! Allow-lists: alerts that someone has decided not to see, for a reason and for a time.

use serde::{Deserialize, Serialize};

use crate::alert::Alert;

/// `[[allow]]`: all of its conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// Why it is allowed.
    pub reason: String,
    /// Who decided.
    pub owner: String,
}

/// The entries, with what each has silenced.
#[derive(Debug, Default)]
pub struct AllowList {
    entries: Vec<(Entry, u64)>,
}

impl AllowList {
    /// The list of a configuration.
    pub fn new(entries: &[Entry]) -> Self {
        Self { entries: entries.iter().map(|entry| (entry.clone(), 0)).collect() }
    }

    /// Whether an entry silences this alert; counts it if so.
    pub fn silences(&mut self, _alert: &Alert) -> bool {
        false
    }

    /// Entries with the count of alerts that each silenced.
    pub fn counts(&self) -> impl Iterator<Item = (&Entry, u64)> {
        self.entries.iter().map(|(entry, count)| (entry, *count))
    }
}
