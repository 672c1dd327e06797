//! From timing and standing to a score of 0 to 100 that a person can add up, and to a severity.

use crate::detect::Severity;

use super::Settings;
use super::rhythm::{Rhythm, median};
use super::series::{SIZES_MAX, Series};
use super::standing::Standing;

/// What the behaviour itself can earn (points of 100); the destination earns the rest.
const BEHAVIOUR_MAX: f64 = 80.0;
const TIMING_MAX: f64 = 35.0;
const SIZES_MAX_POINTS: f64 = 20.0;
const PERSISTENCE_MAX: f64 = 15.0;
const PAYLOAD_MAX: f64 = 10.0;

/// A request within this share of the median counts as the same (ratio), and within
/// [`SAME_SIZE_BYTES`]: check-ins differ by a counter, a time stamp, a padding.
const SAME_SIZE_SHARE: f64 = 0.05;
const SAME_SIZE_BYTES: f64 = 16.0;
/// Beats with which persistence starts to count, and with which it counts in full (count).
const PERSISTENT_BEATS: [f64; 2] = [8.0, 64.0];
/// Time over which full persistence is reached (seconds: RITA's 12 hours).
const PERSISTENT_S: f64 = 12.0 * 3_600.0;

/// Sizes of what passed per beat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sizes {
    /// Median of the requests (payload bytes).
    pub request_bytes_median: f64,
    /// Median of the responses (payload bytes).
    pub response_bytes_median: f64,
    /// Share of requests of the median size, as good as (0 to 1).
    pub same_size_share: f64,
    /// A quarter of the requests is at most, and a quarter is at least, this large (payload bytes).
    pub request_bytes_quartiles: [f64; 2],
    /// The largest answer, where all so far were alike (payload bytes).
    pub answers_alike_bytes: Option<f64>,
}

impl Sizes {
    /// Of a series' latest beats; `None` where too few are known.
    pub(super) fn of(series: &Series) -> Option<Self> {
        let (mut room, mut answers) = ([0.0; SIZES_MAX], [0.0; SIZES_MAX]);
        let requests = sorted(series.requests.values(), &mut room);
        let responses = sorted(series.responses.values(), &mut answers);
        if requests.len() < 4 {
            return None;
        }
        let middle = median(requests);
        let tolerance = (SAME_SIZE_SHARE * middle).max(SAME_SIZE_BYTES);
        let same = requests.iter().filter(|size| (*size - middle).abs() <= tolerance).count();
        Some(Self {
            request_bytes_median: middle,
            response_bytes_median: median(responses),
            same_size_share: same as f64 / requests.len() as f64,
            request_bytes_quartiles: [requests.len() / 4, requests.len() - 1 - requests.len() / 4]
                .map(|place| requests.get(place).copied().unwrap_or_default()),
            answers_alike_bytes: series.answers_alike_bytes(0).map(f64::from),
        })
    }
}

impl Sizes {
    /// Large requests with small answers, `small_bytes` being the bound between the two: data is
    /// shipped, nobody asks for orders.
    pub(super) fn ships(&self, small_bytes: f64) -> bool {
        self.request_bytes_median > small_bytes
            && self.request_bytes_median > 4.0 * self.response_bytes_median
    }
}

impl Sizes {
    /// Requests as records have them: of very different sizes, a quarter of them larger than a
    /// check-in (`small_bytes`), each answered by nothing or by the same receipt, which is smaller.
    /// No orders can come in such answers.
    pub(super) fn ships_records(&self, small_bytes: f64) -> bool {
        let [lower, upper] = self.request_bytes_quartiles;
        upper > small_bytes
            && upper >= 2.0 * lower
            && self.answers_alike_bytes.is_some_and(|answer| answer <= lower)
    }
}

fn sorted<'a>(values: &[u32], room: &'a mut [f64; SIZES_MAX]) -> &'a [f64] {
    let count = values.len().min(SIZES_MAX);
    for (room, value) in room.iter_mut().zip(values) {
        *room = f64::from(*value);
    }
    room[..count].sort_unstable_by(f64::total_cmp);
    &room[..count]
}

/// The parts of a score. What could not be measured is `None`, and the rest counts for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    /// How far the gaps are from chance (0 to 35).
    pub timing: f64,
    /// How alike the requests are (0 to 20).
    pub sizes: Option<f64>,
    /// How many beats, and over how long (0 to 15).
    pub persistence: f64,
    /// How small request and response are (0 to 10).
    pub payload: Option<f64>,
    /// How odd the destination is (0 to 40).
    pub destination: f64,
}

impl Score {
    /// Adds up. `small_bytes` bounds what counts as a small request and a small response.
    pub(super) fn of(
        rhythm: &Rhythm,
        beats: u64,
        sizes: Option<&Sizes>,
        small_bytes: [f64; 2],
        standing: &Standing,
    ) -> Self {
        let [from, to] = PERSISTENT_BEATS;
        let by_beats = ((beats as f64 / from).ln() / (to / from).ln()).clamp(0.0, 1.0);
        let by_time = (rhythm.span_s / PERSISTENT_S).clamp(0.0, 1.0);
        let small = |median: f64, most: f64| if median <= most { PAYLOAD_MAX / 2.0 } else { 0.0 };
        Self {
            timing: TIMING_MAX * rhythm.margin(),
            sizes: sizes.map(|sizes| SIZES_MAX_POINTS * sizes.same_size_share),
            persistence: PERSISTENCE_MAX * (by_beats * 2.0 + by_time) / 3.0,
            payload: sizes.map(|sizes| {
                small(sizes.request_bytes_median, small_bytes[0])
                    + small(sizes.response_bytes_median, small_bytes[1])
            }),
            destination: f64::from(standing.points()),
        }
    }

    /// 0 to 100.
    pub(super) fn total(&self) -> u32 {
        let behaviour = self.timing
            + self.sizes.unwrap_or_default()
            + self.persistence
            + self.payload.unwrap_or_default();
        let possible = TIMING_MAX
            + PERSISTENCE_MAX
            + self.sizes.map_or(0.0, |_| SIZES_MAX_POINTS)
            + self.payload.map_or(0.0, |_| PAYLOAD_MAX);
        let total = behaviour * BEHAVIOUR_MAX / possible + self.destination;
        total.round().clamp(0.0, 100.0) as u32
    }

    /// How much to care, `None` for not at all.
    pub(super) fn severity(
        &self,
        beats: usize,
        standing: &Standing,
        settings: &Settings,
    ) -> Option<Severity> {
        let total = self.total();
        let destination = standing.points();
        let severity = if total >= settings.score_high_min
            && beats >= settings.beats_high_min
            && destination >= settings.destination_high_min
        {
            Severity::High
        } else if total >= settings.score_medium_min
            && beats >= settings.beats_medium_min
            && destination >= settings.destination_medium_min
        {
            Severity::Medium
        } else if total >= settings.score_low_min {
            Severity::Low
        } else {
            return None;
        };
        Some(severity.min(standing.ceiling))
    }
}
