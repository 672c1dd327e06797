//! Beats of one conversation, and the bounded tables that hold them.
//!
//! Most destinations are met once or twice. They stay in a table of candidates, 16 bytes each, until
//! a third beat; so a scan or a crawl pushes out other candidates and no series that is being
//! watched.

use crate::bounded::BoundedMap;
use crate::time::Timestamp;

use super::rhythm::BEATS_MAX;

/// Sizes of the latest beats that are kept (count).
pub(super) const SIZES_MAX: usize = 32;

/// Answers that differ by this much, or by one part in so many, are alike: a counter, a time stamp.
const ANSWER_BYTES: u32 = 16;
const ANSWER_PARTS: u32 = 20;
/// Fewer answers tell nothing (count).
const ANSWERS_MIN: u32 = 4;

/// The latest values of an endless row. Grows as values come, up to `max`, then overwrites.
#[derive(Debug, Default)]
pub(super) struct Latest {
    values: Vec<u32>,
    next: usize,
}

impl Latest {
    /// Adds a value.
    pub(super) fn push(&mut self, value: u32, max: usize) {
        if self.values.len() < max {
            self.values.push(value);
        } else if let Some(place) = self.values.get_mut(self.next) {
            *place = value;
            self.next = (self.next + 1) % max;
        }
    }

    /// Adds to the value that came last.
    pub(super) fn add_to_last(&mut self, more: u32) {
        let last = match self.next {
            0 => self.values.last_mut(),
            next => self.values.get_mut(next - 1),
        };
        if let Some(last) = last {
            *last = last.saturating_add(more);
        }
    }

    /// Adds to all values.
    fn shift(&mut self, more: u32) {
        for value in &mut self.values {
            *value = value.saturating_add(more);
        }
    }

    /// The value that came last.
    fn last(&self) -> Option<u32> {
        match self.next {
            0 => self.values.last().copied(),
            next => self.values.get(next - 1).copied(),
        }
    }

    /// The values, in no order that means anything.
    pub(super) fn values(&self) -> &[u32] {
        &self.values
    }
}

/// Beats of one conversation: their moments and sizes.
#[derive(Debug)]
pub(super) struct Series {
    /// The first beat; moments are milliseconds since then.
    pub first: Timestamp,
    /// The latest beat.
    pub last: Timestamp,
    /// Beats so far, also those that are no longer kept (count).
    pub beats: u64,
    /// Port of the container's end in the latest beat.
    pub own_port: u16,
    /// Beats at which the next analysis is due (count).
    pub due: u64,
    /// Moments of the latest beats in milliseconds since `first`.
    moments: Latest,
    /// What the container sent per beat (payload bytes; for DNS the length of the name).
    pub requests: Latest,
    /// What it got back per beat (payload bytes; for DNS a hash of the name's changing part).
    pub responses: Latest,
    /// The smallest and the largest answer but for the latest beat's, which may go on (bytes).
    answers_bytes: Option<[u32; 2]>,
    /// Answers in there (count).
    answers: u32,
}

impl Series {
    fn new(first: Timestamp) -> Self {
        Self {
            first,
            last: first,
            beats: 0,
            own_port: 0,
            due: Self::FIRST_DUE,
            moments: Latest::default(),
            requests: Latest::default(),
            responses: Latest::default(),
            answers_bytes: None,
            answers: 0,
        }
    }

    /// The first analysis: one more than the gaps that any call needs.
    const FIRST_DUE: u64 = 9;

    fn beat(&mut self, at: Timestamp) {
        // A connection whose first turn took long is told of after those that were opened later.
        if at < self.first {
            let earlier = self.first.since(at).as_millis().min(u128::from(u32::MAX)) as u32;
            self.moments.shift(earlier);
            self.first = at;
        }
        // 49 days of milliseconds: a series that old has its latest beats at the end of the range,
        // and they no longer look like a rhythm. It ends with the detector's next restart.
        let moment = at.since(self.first).as_millis().min(u128::from(u32::MAX)) as u32;
        self.moments.push(moment, BEATS_MAX);
        self.last = self.last.max(at);
        self.beats += 1;
    }

    /// Mean time from one beat to the next (seconds); `None` before there are enough to compare.
    pub(super) fn pace_s(&self) -> Option<f64> {
        let gaps = self.beats.checked_sub(1).filter(|gaps| *gaps >= 4)?;
        Some(self.last.seconds_since(self.first) / gaps as f64)
    }

    /// Notes what a beat sent, and what it got back so far (payload bytes).
    pub(super) fn note_sizes(&mut self, request_bytes: u64, response_bytes: u64) {
        if let Some(bytes) = self.responses.last() {
            let [least, most] = self.answers_bytes.unwrap_or([bytes; 2]);
            self.answers_bytes = Some([least.min(bytes), most.max(bytes)]);
            self.answers = self.answers.saturating_add(1);
        }
        self.requests.push(saturated(request_bytes), SIZES_MAX);
        self.responses.push(saturated(response_bytes), SIZES_MAX);
    }

    /// Notes more of what the latest beat got back (payload bytes).
    pub(super) fn note_answer(&mut self, bytes: u64) {
        self.responses.add_to_last(saturated(bytes));
    }

    /// The largest answer, where all since the series began were of one size, as good as, or there
    /// were none (bytes): such answers carry no orders. `None` where they differ, or are too few.
    /// `handshake_bytes` of each may be no answer's, and allow for no difference.
    pub(super) fn answers_alike_bytes(&self, handshake_bytes: u32) -> Option<u32> {
        let [least, most] = self.answers_bytes?;
        let alike =
            most - least <= ANSWER_BYTES.max(most.saturating_sub(handshake_bytes) / ANSWER_PARTS);
        (alike && self.answers >= ANSWERS_MIN).then_some(most)
    }

    /// Whether there are enough new beats to look again: two more, or a fifth more, at most 32.
    pub(super) fn take_due(&mut self) -> bool {
        let due = self.beats >= self.due;
        if due {
            self.due = self.beats + (self.beats / 5).clamp(2, 32);
        }
        due
    }

    /// The moments kept, in seconds since `first`, ascending, in `room`.
    pub(super) fn moments_s<'a>(&self, room: &'a mut [f64; BEATS_MAX]) -> &'a [f64] {
        let count = self.moments.values().len().min(BEATS_MAX);
        for (room, moment) in room.iter_mut().zip(self.moments.values()) {
            *room = f64::from(*moment) / 1e3;
        }
        room[..count].sort_unstable_by(f64::total_cmp);
        &room[..count]
    }
}

fn saturated(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What is known of a destination before its third beat.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    first: Timestamp,
    /// Second beat, milliseconds after the first; 0 before it.
    second_ms: u32,
    own_port: u16,
}

/// A series with what its owner wants to know about it.
#[derive(Debug)]
pub(super) struct Tracked<T> {
    /// The beats.
    pub series: Series,
    /// The rest.
    pub about: T,
}

/// Series by key, bounded twice: candidates and tracked ones.
#[derive(Debug)]
pub(super) struct Table<T> {
    candidates: BoundedMap<u64, Candidate>,
    tracked: BoundedMap<u64, Tracked<T>>,
    /// Series so far, forgotten ones included (count).
    begun: u64,
}

impl<T: Default> Table<T> {
    /// Room for so many candidates and series (count).
    pub(super) fn new(candidates_max: usize, series_max: usize) -> Self {
        Self {
            candidates: BoundedMap::new(candidates_max),
            tracked: BoundedMap::new(series_max),
            begun: 0,
        }
    }

    /// Candidates and series that had to make room so far (count).
    pub(super) const fn evicted(&self) -> u64 {
        self.candidates.evicted() + self.tracked.evicted()
    }

    /// Notes a beat of `key`. Returns its series from the third beat on.
    ///
    /// `own_port` tells a repeated packet from a new attempt where `new_port_only` is set: a beat
    /// from the same port as the one before it is none.
    pub(super) fn beat(
        &mut self,
        key: u64,
        at: Timestamp,
        own_port: u16,
        new_port_only: bool,
    ) -> Option<&mut Tracked<T>> {
        if self.tracked.peek(&key).is_none() {
            let Some(candidate) = self.candidates.get_mut(&key) else {
                self.candidates.insert(key, Candidate { first: at, second_ms: 0, own_port });
                return None;
            };
            if new_port_only && candidate.own_port == own_port {
                return None;
            }
            candidate.own_port = own_port;
            if candidate.second_ms == 0 {
                let (first, second) = (candidate.first.min(at), candidate.first.max(at));
                let ms = second.since(first).as_millis().clamp(1, u128::from(u32::MAX));
                (candidate.first, candidate.second_ms) = (first, ms as u32);
                return None;
            }
            let candidate = *candidate;
            self.candidates.remove(&key);
            let mut series = Series::new(candidate.first);
            series.beat(candidate.first);
            let second = std::time::Duration::from_millis(u64::from(candidate.second_ms));
            series.beat(candidate.first.after(second));
            self.begun += 1;
            self.tracked.insert(key, Tracked { series, about: T::default() });
        }
        let tracked = self.tracked.get_mut(&key)?;
        if new_port_only && tracked.series.own_port == own_port {
            return None;
        }
        tracked.series.own_port = own_port;
        tracked.series.beat(at);
        Some(tracked)
    }

    /// The series of `key`, where it has one; now the most recently used.
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut Tracked<T>> {
        self.tracked.get_mut(&key)
    }

    /// The series of `key`, where it has one.
    pub(super) fn peek(&self, key: u64) -> Option<&Tracked<T>> {
        self.tracked.peek(&key)
    }

    /// All series.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tracked<T>> {
        self.tracked.iter().map(|(_, tracked)| tracked)
    }

    /// No series is tracked.
    pub(super) fn is_empty(&self) -> bool {
        self.tracked.is_empty()
    }

    /// More than `many` series were begun: chance has had many tries.
    pub(super) const fn is_many(&self, many: u64) -> bool {
        self.begun > many
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: u64) {
        self.candidates.remove(&key);
        self.tracked.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn watches_from_the_third_beat_and_keeps_the_first_two() {
        let mut table = Table::<()>::new(8, 8);
        assert!(table.beat(1, at(0), 10, false).is_none());
        assert!(table.beat(1, at(500), 11, false).is_none());
        let series = &table.beat(1, at(2_000), 12, false).unwrap().series;
        let mut room = [0.0; BEATS_MAX];
        assert_eq!(series.moments_s(&mut room), [0.0, 0.5, 2.0]);
        assert_eq!((series.beats, series.own_port), (3, 12));
    }

    #[test]
    fn beats_that_are_told_of_late_keep_their_place() {
        let mut table = Table::<()>::new(8, 8);
        for (ms, port) in [(5_000, 10), (3_000, 11), (4_000, 12), (1_000, 13), (6_000, 14)] {
            table.beat(1, at(ms), port, false);
        }
        let series = &table.peek(1).unwrap().series;
        let mut room = [0.0; BEATS_MAX];
        assert_eq!(series.moments_s(&mut room), [0.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!((series.first, series.last), (at(1_000), at(6_000)));
    }

    #[test]
    fn a_retry_from_the_same_port_is_no_beat() {
        let mut table = Table::<()>::new(8, 8);
        for (ms, port, beats) in
            [(0, 10, 0), (1, 10, 0), (2, 11, 0), (3, 11, 0), (4, 12, 3), (5, 12, 3), (6, 13, 4)]
        {
            table.beat(1, at(ms), port, true);
            assert_eq!(table.peek(1).map_or(0, |tracked| tracked.series.beats), beats, "{ms}");
        }
    }

    #[test]
    fn a_flood_of_destinations_leaves_what_is_watched() {
        let mut table = Table::<()>::new(8, 2);
        for ms in 0..3 {
            table.beat(1, at(ms), 0, false);
        }
        for key in 100..10_000 {
            table.beat(key, at(key), 0, false);
        }
        assert_eq!(table.peek(1).map(|tracked| tracked.series.beats), Some(3));
    }

    #[test]
    fn keeps_the_latest_and_no_more() {
        let mut table = Table::<()>::new(1, 1);
        for beat in 0..1_000 {
            table.beat(1, at(beat * 1_000), 0, false);
        }
        let series = &table.peek(1).unwrap().series;
        let mut room = [0.0; BEATS_MAX];
        let moments = series.moments_s(&mut room);
        assert_eq!((moments.len(), moments[0], moments[BEATS_MAX - 1]), (BEATS_MAX, 872.0, 999.0));
        let mut sizes = Latest::default();
        for size in 0..5 {
            sizes.push(size, 3);
            sizes.add_to_last(10);
        }
        assert_eq!(sizes.values(), [13, 14, 12]);
    }
}
