//! `[detect.exfiltration]`: every limit, with its unit and its source.

use serde::{Deserialize, Serialize};

use crate::detect::known_services::Additions;
use crate::detect::within;

/// `[detect.exfiltration]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Pushed to one outside destination within an hour: the limit while nothing is known about the
    /// container (bytes). Large for a service's own traffic, small for a database dump.
    pub cold_start_bytes: u64,
    /// The limit's share for a destination that has no name, or is spoken to on an odd port or in an
    /// unknown protocol (factor, 0 to 1).
    pub doubtful_factor: f64,
    /// The limit's share where the container has a past, the destination is new to it, and the upload
    /// is out of line with it (factor, 0 to 1).
    pub novel_factor: f64,
    /// How often the limit is allowed where there is an innocent explanation: siblings upload to the
    /// destination alike, it takes uploads by design, the data came in from callers, or the uploads look
    /// like an application's own (factor, 1 or more).
    pub explained_factor: f64,
    /// How often the largest earlier upload to the same destination is allowed, after two; and how
    /// many times as much as a sibling an upload may be, and still be alike (factor).
    pub familiar_factor: f64,
    /// Other containers that upload alike to the same destination, from which on that explains an
    /// upload (count).
    pub siblings_min: usize,
    /// Limit per destination and hour that no explanation but the container's own past lifts (bytes;
    /// Slips' default for an hour is the same).
    pub hour_bytes_max: u64,
    /// The same per 24 hours (bytes).
    pub day_bytes_max: u64,
    /// Sent at least (1 + r) / (1 − r) times as much as received, for time to count as pushing:
    /// the producer/consumer ratio r (−1 to 1; Bullard & Gerth call 0.4 a 70:30 producer; 0.6 leaves
    /// video calls out).
    pub producer_consumer_ratio_min: f64,
    /// Robust z from which on an upload's largest bin is out of line with what the container sent
    /// outside before (standard deviations; Slips uses 3.5 per flow).
    pub robust_z_min: f64,
    /// A past shorter than this is none (seconds).
    pub history_min_s: u64,
    /// A past of fewer bins than this is none (count).
    pub history_bins_min: usize,
    /// Pushed steadily in small amounts to a doubtful destination, within an hour (bytes).
    pub drip_bytes: u64,
    /// The same to a destination with a name and a known protocol (bytes).
    pub drip_named_bytes: u64,
    /// Slowest drip to such a destination while the container has no past (bytes per second).
    pub drip_named_min_bytes_per_s: f64,
    /// Destinations of one split upload at least (count).
    pub split_destinations_min: usize,
    /// Sum over destinations of what each was sent, as a share of its own limit, that makes a split
    /// upload (count of limits).
    pub split_limits: f64,
    /// A finding is over when nothing was sent for this long (seconds).
    pub quiet_s: u64,
    /// Destinations with an account per container, 0.7 kB each (count). Who fills them hides others,
    /// at 64 KiB of upload each; what the forgotten ones were sent still counts for `exfil.split`.
    pub destinations_max: usize,
    /// Ports served to the outside with an account per container (count).
    pub ports_max: usize,
    /// Names (with all below them) that take uploads by design in this environment.
    pub known_services: Additions,
}

impl Settings {
    /// See [`crate::detect::Describe::check`].
    pub(super) fn check(&self) -> Result<(), String> {
        within("doubtful_factor", self.doubtful_factor, 0.01..=1.0)?;
        within("novel_factor", self.novel_factor, 0.01..=1.0)?;
        within("explained_factor", self.explained_factor, 1.0..=1_000.0)?;
        within("familiar_factor", self.familiar_factor, 1.0..=1_000.0)?;
        within("siblings_min", self.siblings_min as f64, 1.0..=7.0)?;
        within("producer_consumer_ratio_min", self.producer_consumer_ratio_min, -1.0..=0.99)?;
        within("split_limits", self.split_limits, 0.01..=self.destinations_max as f64)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cold_start_bytes: 20_000_000,
            doubtful_factor: 0.5,
            novel_factor: 0.5,
            explained_factor: 10.0,
            familiar_factor: 3.0,
            siblings_min: 3,
            hour_bytes_max: 500_000_000,
            day_bytes_max: 1_000_000_000,
            producer_consumer_ratio_min: 0.6,
            robust_z_min: 3.5,
            history_min_s: 300,
            history_bins_min: 12,
            drip_bytes: 2_000_000,
            drip_named_bytes: 5_000_000,
            drip_named_min_bytes_per_s: 4_000.0,
            split_destinations_min: 3,
            split_limits: 1.5,
            quiet_s: 300,
            destinations_max: 512,
            ports_max: 64,
            known_services: Additions::default(),
        }
    }
}
