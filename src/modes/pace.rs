//! When a live mode's loop looks up from the packets: at each tick, and for its reports.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::time::{Duration, Instant};

/// Between two looks at the clock and the counters, and two flushes of the records.
const TICK: Duration = Duration::from_millis(250);

/// When the last ones were.
pub(super) struct Pace {
    ticked: Instant,
    reported: Instant,
    report_interval_s: u64,
}

impl Pace {
    /// Begins now; reports come so often (seconds; 0 for none).
    pub(super) fn new(report_interval_s: u64) -> Self {
        let now = Instant::now();
        Self { ticked: now, reported: now, report_interval_s }
    }

    /// From now on, reports come so often (seconds; 0 for none).
    pub(super) const fn set_report_interval(&mut self, report_interval_s: u64) {
        self.report_interval_s = report_interval_s;
    }

    /// It is time for a tick, which is taken to be done now.
    pub(super) fn ticks(&mut self) -> bool {
        let due = self.ticked.elapsed() >= TICK;
        if due {
            self.ticked = Instant::now();
        }
        due
    }

    /// The same for a report.
    pub(super) fn reports(&mut self) -> bool {
        let interval = Duration::from_secs(self.report_interval_s);
        let due = self.report_interval_s > 0 && self.reported.elapsed() >= interval;
        if due {
            self.reported = Instant::now();
        }
        due
    }

    /// Time until the next tick.
    pub(super) fn left(&self) -> Duration {
        TICK.saturating_sub(self.ticked.elapsed())
    }
}
