//! `[detect.beacon]`

use serde::{Deserialize, Serialize};

use super::rhythm::BEATS_MAX;
use super::standing::POINTS_MAX;
use crate::detect::known_services::Additions;
use crate::detect::within;

/// `[detect.beacon]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Connections closer than this are taken as one beat; each scale is tried, the finest first
    /// (seconds). 0 leaves each connection a beat; browsing needs 10 to look like what it is.
    pub collapse_scales_s: Vec<f64>,
    /// Coefficient of variation of the gaps above which nothing is called regular, however long the
    /// series (ratio). Uniform jitter of ±90 % has 0.52, sleeping 1 to 100 % of a period 0.57;
    /// below 1 and above this lies traffic that is merely less than random.
    pub jitter_cv_max: f64,
    /// Shortest median gap that is a beat (seconds): below, it is a stream.
    pub period_min_s: f64,
    /// Score from which a finding is reported at all (0 to 100).
    pub score_low_min: u32,
    /// Score of a medium finding (0 to 100).
    pub score_medium_min: u32,
    /// Score of a high finding (0 to 100).
    pub score_high_min: u32,
    /// Beats of a medium finding (count).
    pub beats_medium_min: usize,
    /// Beats of a high finding (count).
    pub beats_high_min: usize,
    /// Points that the destination's oddity must bring to a medium finding (0 to 40). An outside
    /// name that is on no list of known services brings 8.
    pub destination_medium_min: u32,
    /// The same for a high finding.
    pub destination_high_min: u32,
    /// Containers on the node from which on siblings are compared (count).
    pub siblings_min: u32,
    /// Answered calls of a sibling, a second apart, from which on it uses a destination (count).
    pub sibling_exchanges_min: u32,
    /// Share of the node's containers that makes a destination a heartbeat (ratio), of those that
    /// have called anybody for long enough. What some do is none: several may be taken at once.
    pub siblings_share: f64,
    /// Names of as many registrable domains, or on as many addresses, that a container calls at one pace
    /// since the same time are checked or polled (count): a controller has few.
    pub in_step_min: usize,
    /// A destination first used this long after the container was first seen is new (seconds).
    pub new_after_s: f64,
    /// Payload per beat up to which requests and responses are small (bytes; Cobalt Strike's and
    /// Sliver's empty check-ins stay below).
    pub small_bytes: u32,
    /// What a TLS handshake adds to requests and to responses (bytes): a hello with a post-quantum
    /// key share, a chain of certificates.
    pub handshake_bytes: [u32; 2],
    /// TLS payload up to which a turn may be a ping of the protocol inside (bytes): HTTP/2's 17 and
    /// WebSocket's 6 bytes, and 22 of TLS 1.3. To named peers such turns are no beats.
    pub ping_bytes: u64,
    /// Distinct names over queries from which queries below one domain are a channel (ratio).
    pub dns_distinct_min: f64,
    /// Destinations watched per container and kind (count). Beyond, the longest unused is
    /// forgotten: who reaches so many at least three times each hides a slow beacon among them.
    pub series_max: usize,
    /// Destinations met once or twice, remembered per container and kind (count).
    pub candidates_max: usize,
    /// Series of a container from which on one in 10 000 instead of one in 1 000 chance calls is
    /// allowed for each (count).
    pub many_series: u64,
    /// Periods of silence after which a finding is closed (count).
    pub close_periods: f64,
    /// Names of services that call on a timer, beside the shipped list: each covers the names below
    /// it, `*` stands for one label.
    pub known_services: Additions,
}

impl Settings {
    /// See [`crate::detect::Describe::check`].
    pub(super) fn check(&self) -> Result<(), String> {
        if self.collapse_scales_s.is_empty() {
            return Err("`collapse_scales_s` is empty; it must have one scale at least".to_owned());
        }
        for scale in &self.collapse_scales_s {
            within("collapse_scales_s", *scale, 0.0..=3_600.0)?;
        }
        within("jitter_cv_max", self.jitter_cv_max, 0.01..=1.0)?;
        within("period_min_s", self.period_min_s, 0.0..=3_600.0)?;
        for (key, score) in [
            ("score_low_min", self.score_low_min),
            ("score_medium_min", self.score_medium_min),
            ("score_high_min", self.score_high_min),
        ] {
            within(key, f64::from(score), 0.0..=100.0)?;
        }
        for (key, points) in [
            ("destination_medium_min", self.destination_medium_min),
            ("destination_high_min", self.destination_high_min),
        ] {
            within(key, f64::from(points), 0.0..=f64::from(POINTS_MAX))?;
        }
        for (lower, upper, [low, high]) in [
            ("score_low_min", "score_medium_min", [self.score_low_min, self.score_medium_min]),
            ("score_medium_min", "score_high_min", [self.score_medium_min, self.score_high_min]),
            (
                "destination_medium_min",
                "destination_high_min",
                [self.destination_medium_min, self.destination_high_min],
            ),
            (
                "beats_medium_min",
                "beats_high_min",
                [self.beats_medium_min as u32, self.beats_high_min as u32],
            ),
        ] {
            if low > high {
                return Err(format!("`{lower}` is {low}; it must be at most `{upper}`, {high}"));
            }
        }
        // No more beats are kept.
        for (key, beats) in
            [("beats_medium_min", self.beats_medium_min), ("beats_high_min", self.beats_high_min)]
        {
            within(key, beats as f64, 0.0..=BEATS_MAX as f64)?;
        }
        within("siblings_share", self.siblings_share, 0.01..=1.0)?;
        within(
            "sibling_exchanges_min",
            f64::from(self.sibling_exchanges_min),
            1.0..=f64::INFINITY,
        )?;
        within("dns_distinct_min", self.dns_distinct_min, 0.0..=1.0)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            collapse_scales_s: vec![0.0, 1.0, 10.0],
            jitter_cv_max: 0.6,
            period_min_s: 1.0,
            score_low_min: 45,
            score_medium_min: 60,
            score_high_min: 80,
            beats_medium_min: 10,
            beats_high_min: 12,
            destination_medium_min: 8,
            destination_high_min: 20,
            siblings_min: 3,
            sibling_exchanges_min: 3,
            siblings_share: 0.9,
            in_step_min: 5,
            new_after_s: 300.0,
            small_bytes: 2_048,
            handshake_bytes: [2_048, 6_144],
            ping_bytes: 40,
            dns_distinct_min: 0.7,
            series_max: 256,
            candidates_max: 1_024,
            many_series: 300,
            close_periods: 10.0,
            known_services: Additions::default(),
        }
    }
}
