//! Packet time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in packet time: nanoseconds since the Unix epoch, as the capture stamped it.
///
/// There is no `now()`. Live capture and replay both read this from the packet header, so nothing
/// above can tell them apart. Covers the years 1970 to 2554; never compared with a wall clock.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Wraps a count of nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Midnight in UTC at the start of a day: year, month from 1, day from 1. Days before the epoch
    /// give the epoch, days after the range its end (Howard Hinnant, "chrono-Compatible Low-Level
    /// Date Algorithms", `days_from_civil`).
    pub const fn from_date(year: u16, month: u8, day: u8) -> Self {
        if year < 1970 {
            return Self(0);
        }
        let (year, month, day) = (year as u64, month as u64, day as u64);
        let year = if month <= 2 { year - 1 } else { year };
        let (era, year_of_era) = (year / 400, year % 400);
        let month_from_march = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * month_from_march + 2) / 5 + day.saturating_sub(1);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        Self(days.saturating_mul(86_400_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the epoch, with fraction. Precise to about 0.2 µs.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time since `earlier`; zero where the capture's clock stepped back.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since `earlier`; zero where the capture's clock stepped back.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e9
    }

    /// This much earlier; the epoch at most.
    pub const fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by.as_nanos() as u64))
    }

    /// This much later; the end of the range at most.
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_nanos() as u64))
    }

    /// The end of the window that holds this moment. Windows start at the epoch, not at start-up,
    /// so replaying half a capture cuts it at the same places.
    pub const fn window_end(self, window: Duration) -> Self {
        let length = window.as_nanos() as u64;
        Self((self.0 / length + 1).saturating_mul(length))
    }
}

/// RFC 3339 in UTC with microseconds, as EVE writes it: `2026-03-01T12:00:07.125000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.0 / 86_400_000_000_000, self.0 % 86_400_000_000_000);
        let (year, month, day) = civil_date(date);
        let (seconds, micros) = (time / 1_000_000_000, time % 1_000_000_000 / 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day of a count of days since 1970-01-01 (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`, for days after the epoch).
pub(crate) const fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_eve_does() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_772_366_407_125_000_000, "2026-03-01T12:00:07.125000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551Z"),
        ] {
            assert_eq!(Timestamp::from_nanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn dates_become_their_midnight() {
        for ((year, month, day), text) in [
            ((1970, 1, 1), "1970-01-01T00:00:00.000000Z"),
            ((1969, 12, 31), "1970-01-01T00:00:00.000000Z"),
            ((2000, 2, 29), "2000-02-29T00:00:00.000000Z"),
            ((2027, 1, 1), "2027-01-01T00:00:00.000000Z"),
            ((2100, 3, 1), "2100-03-01T00:00:00.000000Z"),
            ((9999, 12, 31), "2554-07-21T23:34:33.709551Z"),
        ] {
            assert_eq!(Timestamp::from_date(year, month, day).to_string(), text);
        }
    }
}
