//! Bytes over time in a fixed space, whatever the time: bins that widen as the past grows.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Bytes per bin over the time since the first byte. Bins start 10 s wide; when all are used, each
/// two become one of twice the width, so a minute is seen as finely as there is room for, and a day
/// as well. At [`Bins::WIDTH_MAX_S`] they slide instead, and the oldest is forgotten.
///
/// Bins lie on a grid from the epoch. Bytes may come in any steps, and time may be moved in between:
/// the result is the same.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Bins {
    /// Number of the oldest bin on the grid of `width_s`.
    oldest: u64,
    width_s: u32,
    len: usize,
    bytes: [f32; Self::BINS],
}

impl Bins {
    /// Room (count).
    pub(super) const BINS: usize = 48;
    /// Width at first (seconds).
    const WIDTH_S: u32 = 10;
    /// Width at most (seconds): 43 minutes, so that an hour and a day can be told, and the past
    /// reaches 34 hours back.
    pub(super) const WIDTH_MAX_S: u32 = Self::WIDTH_S << 8;

    /// Starts at `at`, with nothing.
    pub(super) const fn new(at: Timestamp) -> Self {
        let oldest = seconds(at) / Self::WIDTH_S as u64;
        Self { oldest, width_s: Self::WIDTH_S, len: 1, bytes: [0.0; Self::BINS] }
    }

    /// Counts `bytes` at `at`; what comes late is counted in the newest bin.
    pub(super) fn add(&mut self, at: Timestamp, bytes: u64) {
        self.advance(at);
        if let Some(newest) = self.bytes.get_mut(self.len - 1) {
            *newest += bytes as f32;
        }
    }

    /// Moves time on.
    pub(super) fn advance(&mut self, at: Timestamp) {
        let mut bin = seconds(at) / u64::from(self.width_s);
        while bin >= self.oldest + Self::BINS as u64 && self.width_s < Self::WIDTH_MAX_S {
            self.widen();
            bin /= 2;
        }
        if bin >= self.oldest + Self::BINS as u64 {
            self.slide(bin - self.oldest + 1 - Self::BINS as u64);
        }
        self.len = self.len.max(bin.saturating_sub(self.oldest) as usize + 1);
    }

    fn widen(&mut self) {
        let mut wider = [0.0; Self::BINS];
        for (index, bytes) in self.bytes.iter().enumerate().take(self.len) {
            wider[((self.oldest + index as u64) / 2 - self.oldest / 2) as usize] += bytes;
        }
        self.len = ((self.oldest + self.len as u64 - 1) / 2 - self.oldest / 2) as usize + 1;
        self.oldest /= 2;
        self.width_s *= 2;
        self.bytes = wider;
    }

    fn slide(&mut self, by: u64) {
        self.oldest += by;
        let by = by.min(Self::BINS as u64) as usize;
        self.bytes.copy_within(by.., 0);
        self.bytes[Self::BINS - by..].fill(0.0);
        self.len = self.len.saturating_sub(by).max(1);
    }

    /// Width (seconds).
    pub(super) const fn width_s(&self) -> u32 {
        self.width_s
    }

    /// Bytes per bin, oldest first; the last one is not complete.
    pub(super) fn all(&self) -> &[f32] {
        &self.bytes[..self.len]
    }

    /// The bins that ended by `at`.
    pub(super) fn before(&self, at: Timestamp) -> &[f32] {
        let bin = seconds(at) / u64::from(self.width_s);
        let whole = bin.saturating_sub(self.oldest).min(self.len as u64) as usize;
        &self.bytes[..whole]
    }

    /// The bins that ended after `at`, the one that holds `at` included.
    pub(super) fn since(&self, at: Timestamp) -> &[f32] {
        &self.all()[self.before(at).len()..]
    }

    /// Bytes within the last `window_s` seconds, rounded up to whole bins.
    pub(super) fn within(&self, window_s: u32) -> f64 {
        let bins = window_s.div_ceil(self.width_s) as usize;
        self.all().iter().rev().take(bins).map(|bytes| f64::from(*bytes)).sum()
    }

    /// Holds the newest bin down to `bytes`: what is suspected is not learnt as usual.
    pub(super) fn hold_down(&mut self, bytes: f64) {
        if let Some(newest) = self.bytes.get_mut(self.len - 1) {
            *newest = newest.min(bytes as f32);
        }
    }
}

/// As it is kept over restarts: whole bytes.
#[derive(Deserialize, Serialize)]
struct Written(u64, u32, Vec<u64>);

impl From<Bins> for Written {
    fn from(bins: Bins) -> Self {
        let bytes = bins.all().iter().map(|bytes| bytes.round() as u64).collect();
        Self(bins.oldest, bins.width_s, bytes)
    }
}

impl TryFrom<Written> for Bins {
    type Error = &'static str;

    fn try_from(Written(oldest, width_s, written): Written) -> Result<Self, Self::Error> {
        let widths = (0..=8).map(|times| Self::WIDTH_S << times);
        let time = oldest.checked_mul(u64::from(width_s)).and_then(|s| s.checked_mul(1 << 30));
        if time.is_none() || !widths.into_iter().any(|width| width == width_s) {
            return Err("no bins of ours");
        }
        let mut bytes = [0.0; Self::BINS];
        let room = bytes.get_mut(..written.len()).filter(|room| !room.is_empty());
        let room = room.ok_or("more bins than there is room for, or none")?;
        for (room, bytes) in room.iter_mut().zip(&written) {
            *room = *bytes as f32;
        }
        Ok(Self { oldest, width_s, len: written.len(), bytes })
    }
}

const fn seconds(at: Timestamp) -> u64 {
    at.nanos() / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn widens_as_the_past_grows() {
        let mut bins = Bins::new(at(1_000));
        for second in 1_000..1_480 {
            bins.add(at(second), 1);
        }
        assert_eq!((bins.width_s(), bins.all().len(), bins.all()[0]), (10, 48, 10.0));
        bins.add(at(1_480), 1);
        assert_eq!((bins.width_s(), bins.all().len(), bins.all()[0]), (20, 25, 20.0));
        assert_eq!(bins.within(60), 41.0, "two whole bins and the newest");
        assert_eq!(bins.before(at(1_050)).len(), 2);
        assert_eq!(bins.since(at(1_050)).len(), 23);
    }

    #[test]
    fn outlives_any_gap() {
        let mut bins = Bins::new(at(0));
        bins.add(at(0), 7);
        bins.add(Timestamp::from_nanos(u64::MAX), 9);
        assert_eq!(bins.width_s(), Bins::WIDTH_MAX_S);
        assert_eq!(bins.all().iter().sum::<f32>(), 9.0);
        assert_eq!(bins.before(Timestamp::from_nanos(u64::MAX)).len(), 47);
        bins.add(at(0), 2);
        assert_eq!(bins.all().last(), Some(&11.0), "late bytes go to the newest bin");
    }

    proptest! {
        #[test]
        fn time_may_be_moved_in_any_steps(
            start in 0u64..2_000_000_000,
            steps in proptest::collection::vec((0u64..100_000, 0u64..1_000_000, 0u64..100_000), 1..80),
        ) {
            let (mut plain, mut ticked) = (Bins::new(at(start)), Bins::new(at(start)));
            let mut now = start;
            for (gap, bytes, tick) in steps {
                ticked.advance(at(now + tick.min(gap)));
                now += gap;
                plain.add(at(now), bytes);
                ticked.add(at(now), bytes);
                prop_assert_eq!(plain.all(), ticked.all());
                prop_assert_eq!(plain.width_s(), ticked.width_s());
                prop_assert!(plain.all().len() <= Bins::BINS);
            }
        }
    }
}
