//! What is usual, in numbers that a few large values cannot move: median and MAD of `ln(1 + bytes)`.

use serde::{Deserialize, Serialize};

/// Median and spread of a past.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Usual {
    /// Bins that it rests on (count).
    pub(super) bins: usize,
    /// Their median (bytes).
    pub(super) median_bytes: f64,
    /// Their largest (bytes).
    pub(super) largest_bytes: f64,
    /// Median of `ln(1 + bytes)`.
    centre: f64,
    /// 1.4826 · MAD of `ln(1 + bytes)`, at least [`Usual::SPREAD_MIN`].
    spread: f64,
}

impl Usual {
    /// Least spread: a past of equal bins would else make any change infinite. With this floor
    /// z = 3.5 takes a factor of 2.4.
    const SPREAD_MIN: f64 = 0.25;

    /// Of bins. Where at least [`Usual::ACTIVE_MIN`] hold bytes, the empty ones are left out: a
    /// nightly job is compared with earlier nights, not with the silence between.
    pub(super) fn of(bins: &[f32]) -> Self {
        let active: Vec<f64> = values(bins.iter().filter(|bytes| **bytes > 0.0));
        let logs = if active.len() >= Self::ACTIVE_MIN { active } else { values(bins.iter()) };
        let Some(centre) = median(logs.clone()) else { return Self::default() };
        let deviations = logs.iter().map(|log| (log - centre).abs()).collect();
        let spread = 1.4826 * median(deviations).unwrap_or(0.0);
        Self {
            bins: logs.len(),
            median_bytes: centre.exp_m1(),
            largest_bytes: bins.iter().fold(0.0, |largest, bytes| f64::from(*bytes).max(largest)),
            centre,
            spread: spread.max(Self::SPREAD_MIN),
        }
    }

    /// Bins with bytes from which on silence does not count (count).
    const ACTIVE_MIN: usize = 6;

    /// Distance of a bin from the median in robust standard deviations.
    pub(super) fn z(&self, bytes: f64) -> f64 {
        if self.bins == 0 { 0.0 } else { (bytes.ln_1p() - self.centre) / self.spread }
    }

    /// One-sided CUSUM over `bins`: the sum of what lies more than [`Usual::CUSUM_SLACK`] above the
    /// median, never below zero (Page, 1954; k = 0.5, h = 5 in units of the spread). Each bin counts
    /// [`Usual::CUSUM_STEP_MAX`] at most, so that one burst is no shift.
    pub(super) fn cusum(&self, bins: &[f32]) -> f64 {
        bins.iter().fold(0.0, |sum: f64, bytes| {
            let z = self.z(f64::from(*bytes)).min(Self::CUSUM_STEP_MAX);
            (sum + z - Self::CUSUM_SLACK).max(0.0)
        })
    }

    const CUSUM_SLACK: f64 = 0.5;
    /// The sum from which on the level has shifted: about one false alarm in 930 bins.
    pub(super) const CUSUM_LIMIT: f64 = 5.0;
    const CUSUM_STEP_MAX: f64 = 2.0;
}

/// Median of sizes, and their spread around it: 1.4826 · MAD over the median.
pub(super) fn median_and_spread(sizes: &[f64]) -> Option<(f64, f64)> {
    let centre = median(sizes.to_vec())?;
    let spread = median(sizes.iter().map(|size| (size - centre).abs()).collect())?;
    Some((centre, if centre > 0.0 { 1.4826 * spread / centre } else { 0.0 }))
}

fn values<'a>(bins: impl Iterator<Item = &'a f32>) -> Vec<f64> {
    bins.map(|bytes| f64::from(*bytes).ln_1p()).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_bin_does_not_move_what_is_usual() {
        let mut past = [1_000.0_f32; 20];
        past[3] = 50e6;
        let usual = Usual::of(&past);
        assert_eq!(usual.bins, 20);
        assert!((usual.median_bytes - 1_000.0).abs() < 1.0);
        assert!(usual.z(1_200.0) < 1.0, "a little more is usual");
        assert!(usual.z(5_000_000.0) > 5.0, "a thousand times more is not");
        assert_eq!(usual.largest_bytes, 50e6);
    }

    #[test]
    fn silence_counts_until_there_is_enough_else() {
        for (case, active, z_low, z_high) in [
            ("a silent past makes any upload strange", 2, 20.0, 200.0),
            ("uploads are compared with earlier uploads", 8, -1.0, 1.0),
        ] {
            let mut past = [0.0_f32; 40];
            past[..active].fill(5e6);
            let z = Usual::of(&past).z(5e6);
            assert!(z > z_low && z < z_high, "{case}: {z}");
        }
        assert_eq!(Usual::of(&[]).z(1e9), 0.0, "without a past nothing is strange");
    }

    #[test]
    fn cusum_hears_a_shift_and_no_burst() {
        let past = [10e3, 12e3, 9e3, 11e3, 10e3, 13e3, 8e3, 10e3];
        let usual = Usual::of(&past);
        for (case, bins, expected) in [
            ("the same again", vec![11e3; 30], false),
            ("one burst", [vec![10e3; 10], vec![50e6], vec![10e3; 10]].concat(), false),
            ("three times the level, for long", vec![30e3; 10], true),
        ] {
            assert_eq!(usual.cusum(&bins) >= Usual::CUSUM_LIMIT, expected, "{case}");
        }
    }

    #[test]
    fn spread_of_sizes() {
        let (median, spread) = median_and_spread(&[64e3, 65e3, 64e3, 66e3, 12e3]).unwrap();
        assert!(median == 64e3 && spread < 0.03, "{median} {spread}");
        let (_, spread) = median_and_spread(&[100e3, 5e6, 900e3, 2e6]).unwrap();
        assert!(spread > 0.5, "{spread}");
        assert_eq!(median_and_spread(&[]), None);
    }
}
