//! A progress bar on standard error, for people who wait.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Input that is read faster than this needs no bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows how far reading has come; nothing where nobody looks.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total_bytes: Option<u64>,
    next: Instant,
}

impl Progress {
    /// A bar that appears when reading takes long, if `wanted` and standard error is a terminal.
    pub(super) fn new(wanted: bool, total_bytes: Option<u64>) -> Self {
        let shown = wanted && io::stderr().is_terminal();
        Self { bar: shown.then(ProgressBar::hidden), total_bytes, next: now() + PATIENCE }
    }

    /// Reading has come to this byte. Cheap, but not for every packet.
    pub(super) fn at(&mut self, position: u64) {
        let Some(bar) = &self.bar else { return };
        let now = now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.set_style(style(self.total_bytes.is_some()));
            if let Some(total) = self.total_bytes {
                bar.set_length(total);
            }
        }
        bar.set_position(position);
    }

    /// Takes the bar away, before anything else is written.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(known_length: bool) -> ProgressStyle {
    let template = if known_length {
        "{bytes:>11} of {total_bytes} [{bar:30}] {binary_bytes_per_sec}, {eta} left"
    } else {
        "{spinner} {bytes:>11} read, {binary_bytes_per_sec}"
    };
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[expect(clippy::disallowed_methods, reason = "people wait in wall-clock time")]
fn now() -> Instant {
    Instant::now()
}
