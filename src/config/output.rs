//! How records leave a live capture. It never waits for whoever reads them: they pass a queue, and
//! what finds no room there is dropped and counted, flows, DNS and TLS first, alerts last.

use serde::{Deserialize, Serialize};

/// `[output]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Records that wait for their reader (bytes). Flow, DNS and TLS records fill three quarters of
    /// it at most; alerts take the place of those when there is no other.
    pub queue_bytes: u64,
    /// The same in records (count).
    pub queue_records_max: u64,
    /// Time from one `stats` record to the next (seconds of the clock); 0 for the last one alone.
    pub stats_interval_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue_bytes: 4 << 20, queue_records_max: 16_384, stats_interval_s: 60 }
    }
}
