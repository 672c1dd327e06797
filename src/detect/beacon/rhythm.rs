//! Is a series of moments too regular for chance? The timing half of the beacon detector.
//!
//! The null hypothesis is memoryless traffic: exponential gaps, whose coefficient of variation (CV,
//! standard deviation over mean) is 1. A series is called regular when its CV lies below what 999
//! of 1 000 memoryless series of the same length exceed ([`LIMITS`]). So the chance of a false call
//! is known and does not depend on the length of the series, which makes ten beats a fair minimum.
//!
//! A client that opens several connections at a time has to be collapsed to one beat first. A
//! collapse leaves no gap shorter than its scale, and that floor alone makes any busy client look
//! regular. So what is tested is the silence before a burst *less the scale*: for memoryless
//! traffic that is exponential again, whatever its rate, and the same table holds.

/// Most moments that one analysis looks at (count).
pub(super) const BEATS_MAX: usize = 128;

/// Gaps beyond this many medians are pauses, not rhythm: a laptop asleep, a pod being replaced.
const PAUSE_FACTOR: f64 = 6.0;

/// Moments that the second test looks at: enough for its power, and bounds its work.
const PHASE_BEATS_MAX: usize = 48;
/// Moments that the second test needs.
const PHASE_BEATS_MIN: usize = 10;
/// Least phase coherence that is called a grid.
const PHASE_COHERENCE_MIN: f64 = 0.6;
/// Largest CV for which the second test is worth its work: gaps of 1, 2, 3 … periods with a share
/// of `q` beats missed have a CV of √q, so this allows three beats of five to be missing.
const PHASE_CV_MAX: f64 = 0.8;
/// Chance that the second test calls a memoryless series a grid, per period tried.
const PHASE_CHANCE: f64 = 1e-3;

/// Gaps, and the CV below which one in 1 000, and one in 10 000, memoryless series of as many gaps
/// fall, after the removal of pauses. Monte Carlo, one to four million series per row, seeded; a
/// test derives the first column again.
#[expect(clippy::approx_constant, reason = "measured quantiles: one looks like 1/π by chance")]
const LIMITS: [(f64, f64, f64); 13] = [
    (8.0, 0.281, 0.202),
    (9.0, 0.317, 0.237),
    (10.0, 0.346, 0.265),
    (11.0, 0.371, 0.293),
    (12.0, 0.393, 0.318),
    (14.0, 0.429, 0.358),
    (16.0, 0.459, 0.392),
    (20.0, 0.504, 0.440),
    (24.0, 0.539, 0.480),
    (32.0, 0.588, 0.533),
    (48.0, 0.648, 0.601),
    (64.0, 0.686, 0.643),
    (128.0, 0.756, 0.725),
];

/// What decides, besides the table.
#[derive(Clone, Debug)]
pub(super) struct Test<'a> {
    /// Scales of collapse in seconds, ascending; 0 leaves every moment a beat.
    pub scales_s: &'a [f64],
    /// Moments closer than this were collapsed by whoever made the series (seconds).
    pub floor_s: f64,
    /// CV above which nothing is called regular, however long the series (ratio).
    pub cv_cap: f64,
    /// Shortest median gap that is a beat (seconds).
    pub period_min_s: f64,
    /// Many series of this container are tested: ask for one in 10 000 instead of one in 1 000.
    pub many: bool,
}

/// How regularity showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    /// The gaps vary too little.
    Gaps,
    /// The moments lie on a grid, some of whose points are empty.
    Grid {
        /// Length of the mean phase vector, 0 to 1.
        coherence: f64,
        /// What it had to exceed.
        limit: f64,
        /// Distance of the grid's points in seconds.
        period_s: f64,
    },
}

/// A regular series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rhythm {
    /// How it showed.
    pub method: Method,
    /// Beats closer than this were taken as one (seconds).
    pub scale_s: f64,
    /// Beats after the collapse (count).
    pub beats: usize,
    /// Median gap from beat to beat (seconds).
    pub period_median_s: f64,
    /// Standard deviation over mean of the gaps, pauses left out (ratio).
    pub cv: f64,
    /// What it had to stay below (ratio).
    pub cv_limit: f64,
    /// Gaps left out as pauses (count).
    pub pauses: usize,
    /// Beats that a strict timer would have sent and that are missing, pauses left out (count): of
    /// the median gap, or of the grid where there is one.
    pub missed: usize,
    /// From the first beat to the last (seconds).
    pub span_s: f64,
}

impl Rhythm {
    /// Whether `moments` (seconds, ascending) are too regular for chance.
    pub(super) fn of(moments: &[f64], test: &Test<'_>) -> Option<Self> {
        let moments = &moments[moments.len().saturating_sub(BEATS_MAX)..];
        let mut best: Option<Self> = None;
        let mut plausible: Option<Collapsed> = None;
        let mut untouched = false;
        for &scale_s in test.scales_s {
            if scale_s < test.floor_s {
                continue;
            }
            let collapsed = Collapsed::of(moments, scale_s, test.floor_s);
            // A scale that merges nothing repeats the finest one, less exactly.
            if collapsed.merged == 0 && std::mem::replace(&mut untouched, true) {
                continue;
            }
            let Some(found) = collapsed.gap_test(test) else { continue };
            if found.cv < found.cv_limit {
                if best.as_ref().is_none_or(|best| found.margin() > best.margin()) {
                    best = Some(found);
                }
            } else if found.cv < PHASE_CV_MAX && plausible.is_none() {
                plausible = Some(collapsed);
            }
        }
        best.or_else(|| plausible?.grid_test(test))
    }

    /// How far the gaps are from chance, 0 to 1.
    pub(super) fn margin(&self) -> f64 {
        match self.method {
            Method::Gaps => (1.0 - self.cv / self.cv_limit).clamp(0.0, 1.0),
            Method::Grid { coherence, limit, .. } => {
                // A coherence at its limit is as strange as a CV at its own, a perfect grid is not
                // stranger than a perfect timer with missing beats: half the scale.
                (0.5 * (1.0 + (coherence - limit) / (1.0 - limit).max(1e-9))).clamp(0.0, 1.0)
            }
        }
    }
}

/// CV below which `gaps` gaps are too regular for chance (ratio); `None` for too few gaps.
/// Interpolated linearly in the logarithm of the number of gaps.
pub(super) fn cv_limit(gaps: usize, many: bool) -> Option<f64> {
    let pick = |row: &(f64, f64, f64)| if many { row.2 } else { row.1 };
    let n = gaps as f64;
    let above = LIMITS.iter().position(|row| row.0 >= n);
    match above {
        Some(0) => LIMITS.first().filter(|row| row.0 <= n).map(pick),
        Some(above) => {
            let (low, high) = (LIMITS.get(above - 1)?, LIMITS.get(above)?);
            let share = (n / low.0).ln() / (high.0 / low.0).ln();
            Some(pick(low) + share * (pick(high) - pick(low)))
        }
        None => LIMITS.last().map(pick),
    }
}

/// Beats of a series at one scale.
struct Collapsed {
    starts: [f64; BEATS_MAX],
    /// Silence before each beat but the first, less the scale: exponential for memoryless traffic.
    silences: [f64; BEATS_MAX],
    beats: usize,
    merged: usize,
    scale_s: f64,
}

impl Collapsed {
    fn of(moments: &[f64], scale_s: f64, floor_s: f64) -> Self {
        let mut collapsed = Self {
            starts: [0.0; BEATS_MAX],
            silences: [0.0; BEATS_MAX],
            beats: 0,
            merged: 0,
            scale_s,
        };
        let mut last: Option<f64> = None;
        for &moment in moments.iter().take(BEATS_MAX) {
            match last {
                Some(last) if moment - last <= scale_s => collapsed.merged += 1,
                _ => {
                    let silence = moment - last.unwrap_or(moment);
                    let place = collapsed.beats;
                    if let (Some(start), Some(gap)) =
                        (collapsed.starts.get_mut(place), collapsed.silences.get_mut(place))
                    {
                        (*start, *gap) = (moment, silence);
                        collapsed.beats += 1;
                    }
                }
            }
            last = Some(moment);
        }
        // Without a merge there was no floor that could have made the gaps alike.
        let floor_s = if collapsed.merged > 0 { scale_s } else { floor_s };
        for silence in &mut collapsed.silences {
            *silence = (*silence - floor_s).max(0.0);
        }
        collapsed
    }

    fn starts(&self) -> &[f64] {
        &self.starts[..self.beats]
    }

    fn silences(&self) -> &[f64] {
        self.silences.get(1..self.beats).unwrap_or_default()
    }

    /// The rhythm of the gaps, whether or not it stays below its limit.
    fn gap_test(&self, test: &Test<'_>) -> Option<Rhythm> {
        let limit = cv_limit(self.silences().len(), test.many)?.min(test.cv_cap);
        let (cv, pauses) = spread(self.silences());
        let mut gaps = [0.0; BEATS_MAX];
        let gaps = self.gaps(&mut gaps);
        let period_median_s = median(gaps);
        if period_median_s < test.period_min_s {
            return None;
        }
        let missed = gaps
            .iter()
            .map(|gap| ((gap / period_median_s).round() - 1.0).max(0.0))
            .filter(|missed| *missed < PAUSE_FACTOR)
            .sum::<f64>() as usize;
        Some(Rhythm {
            method: Method::Gaps,
            scale_s: self.scale_s,
            beats: self.beats,
            period_median_s,
            cv,
            cv_limit: limit,
            pauses,
            missed,
            span_s: self.span_s(),
        })
    }

    /// Gaps from start to start, sorted.
    fn gaps<'a>(&self, room: &'a mut [f64; BEATS_MAX]) -> &'a [f64] {
        let count = self.beats.saturating_sub(1);
        for (room, pair) in room.iter_mut().zip(self.starts().windows(2)) {
            *room = pair[1] - pair[0];
        }
        room[..count].sort_unstable_by(f64::total_cmp);
        &room[..count]
    }

    fn span_s(&self) -> f64 {
        match self.starts() {
            [first, .., last] => last - first,
            _ => 0.0,
        }
    }

    /// Missed beats and jitter around a fixed grid leave the gaps irregular and the phase alike:
    /// the length of the mean vector of all phases (Rayleigh's test), at the best period near the
    /// median gap or a fraction of it.
    fn grid_test(&self, test: &Test<'_>) -> Option<Rhythm> {
        let starts = &self.starts()[self.beats.saturating_sub(PHASE_BEATS_MAX)..];
        let (&[first, .., last], true) = (starts, starts.len() >= PHASE_BEATS_MIN) else {
            return None;
        };
        let rhythm = self.gap_test(test)?;
        let (count, span_s) = (starts.len() as f64, last - first);
        let mut best = (0.0, 0.0);
        for fraction in 1..=3 {
            let middle = rhythm.period_median_s / f64::from(fraction);
            if middle < test.period_min_s.max(2.0 * self.scale_s) {
                break;
            }
            // Periods so near to each other that none drifts by more than a quarter turn.
            let step = middle * middle / (4.0 * span_s);
            let mut period = 0.9 * middle;
            while period <= 1.1 * middle {
                let coherence = coherence(starts, period);
                if coherence > best.0 {
                    best = (coherence, period);
                }
                period += step;
            }
        }
        let (coherence, period_s) = best;
        // Rayleigh: chance of a coherence above R is exp(-N R²); about 1.2 N periods near the
        // median, its half and its third are independent of each other.
        let tries = 1.2 * count;
        let chance = if test.many { PHASE_CHANCE / 10.0 } else { PHASE_CHANCE };
        let limit = ((tries / chance).ln() / count).sqrt().max(PHASE_COHERENCE_MIN);
        let method = Method::Grid { coherence, limit, period_s };
        let longest = PAUSE_FACTOR * rhythm.period_median_s;
        let missed = self
            .starts()
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .filter(|gap| *gap <= longest)
            .map(|gap| ((gap / period_s).round() - 1.0).max(0.0))
            .sum::<f64>() as usize;
        (coherence >= limit && limit < 1.0).then_some(Rhythm { method, missed, ..rhythm })
    }
}

/// Length of the mean phase vector, 0 to 1.
fn coherence(moments: &[f64], period: f64) -> f64 {
    let (mut x, mut y) = (0.0, 0.0);
    for moment in moments {
        let (sin, cos) = (std::f64::consts::TAU * (moment / period).fract()).sin_cos();
        (x, y) = (x + cos, y + sin);
    }
    f64::hypot(x, y) / moments.len() as f64
}

/// CV of gaps and how many were left out as pauses: at most one in ten, at least one.
fn spread(gaps: &[f64]) -> (f64, usize) {
    let mut sorted = [0.0; BEATS_MAX];
    let count = gaps.len().min(BEATS_MAX);
    let sorted = &mut sorted[..count];
    sorted.copy_from_slice(&gaps[..count]);
    sorted.sort_unstable_by(f64::total_cmp);
    let longest = PAUSE_FACTOR * median(sorted);
    let pauses =
        sorted.iter().rev().take((count / 10).max(1)).filter(|gap| **gap > longest).count();
    let kept = &sorted[..count - pauses];
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let variance =
        kept.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / kept.len() as f64;
    (variance.sqrt() / mean.max(1e-9), pauses)
}

/// Of sorted values; 0 for none.
pub(super) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(low), Some(high)) if sorted.len().is_multiple_of(2) => (low + high) / 2.0,
        (_, Some(high)) => *high,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests;
