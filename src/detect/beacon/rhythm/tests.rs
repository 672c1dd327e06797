//! Tests of the beacon detector.

use super::*;

const SCALES_S: [f64; 3] = [0.0, 1.0, 10.0];
const TEST: Test<'_> =
    Test { scales_s: &SCALES_S, floor_s: 0.0, cv_cap: 0.6, period_min_s: 1.0, many: false };

/// SplitMix64 (Steele, Lea, Flood, 2014): enough for Monte Carlo, and the same everywhere.
pub(super) struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn moments(gaps: usize, mut gap: impl FnMut() -> f64) -> Vec<f64> {
    let mut at = 100.0;
    std::iter::once(at)
        .chain((0..gaps).map(|_| {
            at += gap();
            at
        }))
        .collect()
}

/// Quantiles of the CV of memoryless gaps: one in 1 000 and one in 10 000.
fn quantiles(gaps: usize, series: usize) -> (f64, f64) {
    let mut dice = Dice(gaps as u64);
    let mut room = [0.0; BEATS_MAX];
    let mut spreads: Vec<f64> = (0..series)
        .map(|_| {
            room[..gaps].fill_with(|| dice.exponential());
            spread(&room[..gaps]).0
        })
        .collect();
    spreads.sort_unstable_by(f64::total_cmp);
    (spreads[series / 1_000], spreads[series / 10_000])
}

#[test]
fn the_table_holds_against_its_own_derivation() {
    for (gaps, limit, seldom) in LIMITS.into_iter().filter(|row| row.0 <= 64.0) {
        let (found, _) = quantiles(gaps as usize, 20_000);
        assert!((found - limit).abs() < 0.03, "{gaps} gaps: {found:.3}, table {limit:.3}");
        assert!(seldom < limit, "{gaps} gaps");
    }
}

#[test]
fn the_limit_is_interpolated_and_ends() {
    assert_eq!(cv_limit(7, false), None);
    assert_eq!(cv_limit(8, false), Some(LIMITS[0].1));
    assert_eq!(cv_limit(1_000, true), Some(LIMITS[12].2));
    let between = cv_limit(40, false).unwrap();
    assert!(LIMITS[9].1 < between && between < LIMITS[10].1);
}

/// Share of series that are called regular, of 1 000 (200 where debug builds are too slow).
fn share_called(
    gaps: usize,
    seed: u64,
    mut series: impl FnMut(&mut Dice, usize) -> Vec<f64>,
) -> f64 {
    let runs = 600;
    let mut dice = Dice(seed);
    let called =
        (0..runs).filter(|_| Rhythm::of(&series(&mut dice, gaps), &TEST).is_some()).count();
    called as f64 / f64::from(runs)
}

#[test]
fn chance_is_not_called_a_rhythm() {
    type Series = fn(&mut Dice, usize) -> Vec<f64>;
    let cases: [(&str, f64, Series); 6] = [
        ("memoryless, slow: mean 60 s", 0.006, |dice, n| moments(n, || 60.0 * dice.exponential())),
        ("memoryless and dense: the collapse scales leave floors in the gaps", 0.006, |dice, n| {
            moments(n, || 6.0 * dice.exponential())
        }),
        ("memoryless at the rate of the coarse scale", 0.006, |dice, n| {
            moments(n, || 10.0 * dice.exponential())
        }),
        ("memoryless, several a second", 0.006, |dice, n| moments(n, || 0.4 * dice.exponential())),
        ("a person: think times of lognormal length, sigma 1", 0.01, |dice, n| {
            moments(n, || 20.0 * dice.normal().exp())
        }),
        ("pages: bursts of requests, then reading", 0.01, |dice, n| {
            moments(n, || {
                if dice.uniform() < 0.8 {
                    0.3 * dice.exponential()
                } else {
                    25.0 * dice.exponential()
                }
            })
        }),
    ];
    for (case, most, series) in cases {
        for gaps in [10, 16, 32, 64, 127] {
            let share = share_called(gaps, 7, series);
            assert!(share <= most, "{case}, {gaps} gaps: {share}");
        }
    }
}

#[test]
fn implants_are_called_a_rhythm() {
    type Series = fn(&mut Dice, usize) -> Vec<f64>;
    let cases: [(&str, usize, f64, Series); 10] = [
        ("a strict timer", 10, 1.0, |_, n| moments(n, || 60.0)),
        ("jitter of 20 %", 12, 0.99, |dice, n| moments(n, || 60.0 * (0.8 + 0.4 * dice.uniform()))),
        ("jitter of 50 %", 16, 0.95, |dice, n| moments(n, || 60.0 * (0.5 + dice.uniform()))),
        ("jitter of 50 % at 2 s", 24, 0.95, |dice, n| moments(n, || 2.0 * (0.5 + dice.uniform()))),
        ("jitter of 90 %", 48, 0.85, |dice, n| moments(n, || 60.0 * (0.1 + 1.8 * dice.uniform()))),
        ("sleep less up to 99 %", 64, 0.6, |dice, n| {
            moments(n, || 60.0 * (1.0 - 0.99 * dice.uniform()))
        }),
        ("jitter of 20 %, one beat in ten missed", 16, 0.95, |dice, n| {
            moments(n, || {
                let missed = if dice.uniform() < 0.1 { 60.0 } else { 0.0 };
                missed + 60.0 * (0.8 + 0.4 * dice.uniform())
            })
        }),
        ("a strict timer, two beats in five missed", 24, 0.95, |dice, n| {
            moments(n, || {
                let mut gap = 60.0;
                while dice.uniform() < 0.4 {
                    gap += 60.0;
                }
                gap
            })
        }),
        ("a strict timer whose every beat is three connections", 40, 0.99, |_, n| {
            let mut count = 0;
            moments(n, || {
                count += 1;
                if count % 3 == 0 { 30.0 } else { 0.4 }
            })
        }),
        ("jitter of 30 %, two pauses of an hour", 24, 0.95, |dice, n| {
            let mut count = 0;
            moments(n, || {
                count += 1;
                if count % 11 == 0 { 3_600.0 } else { 60.0 * (0.7 + 0.6 * dice.uniform()) }
            })
        }),
    ];
    for (case, gaps, least, series) in cases {
        let share = share_called(gaps, 11, series);
        assert!(share >= least, "{case}, {gaps} gaps: {share}");
    }
}

#[test]
fn counts_the_empty_places_of_the_grid_that_it_names() {
    let mut seen = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let beats = moments(24, || {
            let mut gap = 60.0;
            while dice.uniform() < 0.55 {
                gap += 60.0;
            }
            gap
        });
        let Some(rhythm) = Rhythm::of(&beats, &TEST) else { continue };
        let Method::Grid { period_s, .. } = rhythm.method else { continue };
        let places = (rhythm.span_s / period_s).round() as usize + 1;
        if beats.windows(2).all(|pair| pair[1] - pair[0] <= 6.0 * rhythm.period_median_s) {
            let told = (rhythm.beats + rhythm.missed) as f64;
            assert!((told / places as f64 - 1.0).abs() < 0.05, "{seed}: {places}, {rhythm:?}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn says_what_it_saw() {
    let mut beats = moments(20, || 30.0);
    beats.remove(7);
    let rhythm = Rhythm::of(&beats, &TEST).unwrap();
    assert_eq!((rhythm.beats, rhythm.missed, rhythm.period_median_s), (20, 1, 30.0));
    assert!(rhythm.cv < 0.25 && rhythm.margin() > 0.5, "{rhythm:?}");
    assert_eq!(Rhythm::of(&moments(40, || 0.2), &TEST), None, "several a second are a stream");
    assert_eq!(Rhythm::of(&[], &TEST), None);
    assert_eq!(Rhythm::of(&[5.0; 200], &TEST), None, "all at once");
}
