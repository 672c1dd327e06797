//! A bounded queue of records between a live capture and whoever reads them.
//!
//! A thread writes. When its reader is slow, records wait; when there is no more room, they are
//! dropped and counted by kind. Flow, DNS and TLS records may fill three quarters of the queue,
//! counters seven eighths, alerts all of it; an alert that finds no room takes the place of the
//! oldest records that are none.
//!
//! A write that fails (a full disk) is tried again, from where it stopped, until it succeeds: a disk is
//! a slow reader. Only a reader that has gone ends it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::carrier::{Batch, Carrier, Counts};
use crate::config::output::Settings;
use crate::record::RecordKind;

/// Between two tries to write.
const RETRY: Duration = Duration::from_secs(1);
/// The same where the other end has no room for the moment.
const RETRY_FULL: Duration = Duration::from_millis(20);

/// Emptied buffers kept for the next batches (count).
const SPARE_MAX: usize = 8;

/// The end that takes records; each of several workers has one. Never waits, but after
/// [`Writer::wait_for_room`].
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

/// The end that says how it goes, and ends it.
#[derive(Clone, Debug)]
pub struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: u64,
    records_max: u64,
    state: Mutex<State>,
    /// Something came, or the queue was closed.
    came: Condvar,
    /// Something was written, or writing failed.
    went: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    spare: Vec<Vec<u8>>,
    /// Of what waits and of what is being written.
    bytes: u64,
    records: u64,
    /// What is being written.
    writing: Counts,
    dropped: Counts,
    /// Until then, who brings records waits for room.
    patience: Option<Instant>,
    closed: bool,
    /// The reader has gone.
    failed: bool,
    /// The last write that failed, and was tried again.
    failure: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    records: Counts,
}

impl Waiting {
    fn is_bulk(&self) -> bool {
        share(&self.records) == BULK
    }
}

/// A file, pipe or terminal.
pub trait Destination: Write + Send {
    /// Asked between batches: whether it is still where it was, so that files can be rotated.
    fn place(&mut self) -> Place {
        Place::Same
    }
}

impl Destination for File {}

impl<D: Destination + ?Sized> Destination for Box<D> {
    fn place(&mut self) -> Place {
        (**self).place()
    }
}

/// Where a destination is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// Where it was.
    Same,
    /// It was taken away, and made anew.
    Anew,
    /// It was taken away, and why it cannot be made anew. Said once.
    Lost(String),
}

/// Eighths of the queue that a batch may use.
const BULK: u64 = 6;
const STATS: u64 = 7;
const ALL: u64 = 8;

fn share(records: &Counts) -> u64 {
    // A report for people has no records in it, and is all that there is.
    if records.of(RecordKind::Alert) > 0 || records.total() == 0 {
        ALL
    } else if records.of(RecordKind::Stats) > 0 {
        STATS
    } else {
        BULK
    }
}

/// A queue before a destination, with the thread that empties it. The thread does `first`
/// before anything else, and tells people by `say` when it cannot write, and when it can again.
///
/// # Errors
/// No thread can be started.
pub fn start(
    settings: &Settings,
    file: impl Destination + 'static,
    first: impl FnOnce() + Send + 'static,
    say: impl Fn(&str) + Send + 'static,
) -> io::Result<(Queue, Writer)> {
    let shared = Arc::new(Shared {
        bytes_max: settings.queue_bytes,
        records_max: settings.queue_records_max,
        state: Mutex::default(),
        came: Condvar::new(),
        went: Condvar::new(),
    });
    let of_thread = Arc::clone(&shared);
    thread::Builder::new().name("output".to_owned()).spawn(move || {
        first();
        of_thread.write(file, &say);
    })?;
    Ok((Queue(Arc::clone(&shared)), Writer(shared)))
}

impl Shared {
    /// The state. Nobody panics while holding it, so it is whole even if someone did.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, state: &State, bytes: u64, records: u64, eighths: u64) -> bool {
        let within = |used: u64, more: u64, most: u64| {
            used.saturating_add(more) <= most.saturating_mul(eighths) / ALL
        };
        // An empty queue takes anything, so that no record is too large for good.
        state.records == 0 && state.bytes == 0
            || within(state.bytes, bytes, self.bytes_max)
                && within(state.records, records, self.records_max)
    }

    /// The thread: writes until the queue is closed and empty, or the reader has gone.
    fn write(&self, mut file: impl Destination, say: &dyn Fn(&str)) {
        let mut state = self.state();
        loop {
            let Some(batch) = state.waiting.pop_front() else {
                if state.closed {
                    return;
                }
                state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.writing = batch.records;
            drop(state);
            let written = self.write_whole(&mut file, &batch.bytes, say);
            state = self.state();
            state.writing = Counts::default();
            state.bytes -= batch.bytes.len() as u64;
            state.records -= batch.records.total();
            if written.is_err() {
                state.failed = true;
                state.waiting.clear();
                self.went.notify_all();
                return;
            }
            if state.spare.len() < SPARE_MAX {
                let mut bytes = batch.bytes;
                bytes.clear();
                state.spare.push(bytes);
            }
            self.went.notify_all();
        }
    }
}

/// The reader has gone.
struct ReaderGone;

impl Shared {
    /// Writes all of it, however long that takes.
    fn write_whole(
        &self,
        file: &mut impl Destination,
        bytes: &[u8],
        say: &dyn Fn(&str),
    ) -> Result<(), ReaderGone> {
        if let Place::Lost(why) = file.place() {
            say(&why);
        }
        let mut failing = false;
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let error = match file.write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(more) => {
                    written += more;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::BrokenPipe => return Err(ReaderGone),
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => thread::sleep(RETRY_FULL),
                _ => {
                    if !failing {
                        failing = true;
                        say(&format!(
                            "records cannot be written for now: {error}; check its space and \
                             permissions, it is tried again"
                        ));
                        self.state().failure = Some(error.to_string());
                    }
                    thread::sleep(RETRY);
                    // Who makes room may have taken the file away: a new one begins with a whole record.
                    if file.place() == Place::Anew {
                        let done = bytes.get(..written).unwrap_or_default();
                        written = memchr::memrchr(b'\n', done).map_or(0, |end| end + 1);
                    }
                }
            }
        }
        if failing {
            let dropped = self.state().dropped;
            let lost = if dropped.total() == 0 { "none".to_owned() } else { dropped.to_string() };
            say(&format!("records are written again; dropped so far: {lost}"));
        }
        Ok(())
    }
}

impl Carrier for Queue {
    #[expect(clippy::disallowed_methods, reason = "patience is measured by the clock")]
    fn carry(&mut self, batch: Batch<'_>) -> io::Result<()> {
        let shared = &*self.0;
        let mut state = shared.state();
        let (bytes, records) = (batch.bytes.len() as u64, batch.records.total());
        let eighths = share(&batch.records);
        loop {
            if state.failed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if shared.has_room(&state, bytes, records, eighths) {
                break;
            }
            let now = Instant::now();
            if let Some(until) = state.patience.filter(|until| *until > now) {
                let waited = shared.went.wait_timeout(state, until - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let oldest = state.waiting.iter().position(Waiting::is_bulk);
            match oldest.filter(|_| eighths == ALL).and_then(|place| state.waiting.remove(place)) {
                Some(gone) => {
                    state.bytes -= gone.bytes.len() as u64;
                    state.records -= gone.records.total();
                    state.dropped += gone.records;
                }
                None => {
                    state.dropped += batch.records;
                    return Ok(());
                }
            }
        }
        let mut held = state.spare.pop().unwrap_or_default();
        held.extend_from_slice(batch.bytes);
        state.waiting.push_back(Waiting { bytes: held, records: batch.records });
        state.bytes += bytes;
        state.records += records;
        shared.came.notify_one();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0.state().failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn dropped(&self) -> Option<Counts> {
        Some(self.0.state().dropped)
    }

    /// What is being written cannot make room any more, however long that takes: it must not be all that
    /// the queue holds.
    fn batch_max(&self) -> Option<[u64; 2]> {
        Some([self.0.bytes_max / ALL, self.0.records_max / ALL])
    }
}

impl Writer {
    /// Records dropped so far.
    pub fn dropped(&self) -> Counts {
        self.0.state().dropped
    }

    /// Why the last write that failed did, if any did; it was tried again.
    pub fn failure(&self) -> Option<String> {
        self.0.state().failure.clone()
    }

    /// From now until then, records wait for room instead of being dropped: for the end of a run,
    /// when nothing is captured any more.
    pub fn wait_for_room(&self, until: Instant) {
        self.0.state().patience = Some(until);
    }

    /// Waits until all is written, no longer than this. Returns what is still not.
    pub fn close(&self, at_most: Duration) -> Counts {
        let shared = &*self.0;
        let mut state = shared.state();
        state.closed = true;
        shared.came.notify_one();
        let waited = shared
            .went
            .wait_timeout_while(state, at_most, |state| state.bytes > 0 && !state.failed);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut left = state.writing;
        for waiting in &state.waiting {
            left += waiting.records;
        }
        left
    }
}

#[cfg(test)]
mod tests;
