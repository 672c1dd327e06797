//! What the live modes share: interfaces under capture, waiting for them or a signal, the counters
//! and the end.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::kept::Kept;
use super::warn;
use crate::alert::CaptureState;
use crate::capture::Interface;
use crate::capture::batch::Batch;
use crate::capture::live::{Counts, Found, Heard, LiveError, LiveReader, now};
use crate::capture::shed::{Bulk, Fate};
use crate::cli::ResultArgs;
use crate::config::capture::Settings;
use crate::container::Named;
use crate::engine::{Engine, Input};
use crate::event::LinkId;
use crate::output::{InterfaceCounts, Sink, queue};
use crate::record::{Record, RecordKind, Stats};
use crate::time::Timestamp;

/// Frames of the only interface before the clock and the signals get their turn (count).
const BATCH_FRAMES: u32 = 4_096;
/// Frames may come so much later than they were stamped: the kernel gathers them for 100 ms.
const LAG: Duration = Duration::from_secs(1);
/// The kernel hands on what it has gathered of an interface that is gone within this time.
const GATHERED: Duration = Duration::from_millis(250);
/// Longest time for what is still in the kernel's buffers at the end,
const DRAIN: Duration = Duration::from_millis(600);
/// until when records wait for room in the queue,
const PATIENCE: Duration = Duration::from_millis(1_400);
/// and until when they are written: all since the end began.
const WRITTEN: Duration = Duration::from_millis(1_700);

/// The signals that mean something here.
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
    /// Readable after a signal.
    came: UnixStream,
}

impl Signals {
    /// Catches SIGTERM and SIGINT (the end) and SIGHUP (read the configuration anew).
    pub(super) fn catch() -> anyhow::Result<Self> {
        let catch = || -> std::io::Result<Self> {
            let (came, wake) = UnixStream::pair()?;
            came.set_nonblocking(true)?;
            let signals = Self { stop: Arc::default(), hangup: Arc::default(), came };
            for (signal, flag) in
                [(SIGTERM, &signals.stop), (SIGINT, &signals.stop), (SIGHUP, &signals.hangup)]
            {
                // In this order: whoever wakes finds the flag set.
                signal_hook::flag::register(signal, Arc::clone(flag))?;
                signal_hook::low_level::pipe::register(signal, wake.try_clone()?)?;
            }
            Ok(signals)
        };
        catch().context("signals cannot be caught")
    }

    /// It is time to end.
    pub(super) fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The configuration is to be read anew; asked once per signal.
    pub(super) fn hangup(&self) -> bool {
        self.hangup.swap(false, Ordering::Relaxed)
    }

    fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.came).read(&mut bytes), Ok(read) if read > 0) {}
    }
}

/// The interfaces under capture.
pub(super) struct Watch {
    /// By [`LinkId`]: those that are gone too.
    links: Vec<Link>,
    settings: Settings,
    capture: CaptureState,
    batch: Batch,
    kept: Kept,
}

struct Link {
    id: LinkId,
    name: String,
    reader: Option<LiveReader>,
    /// It has gone since; what the kernel gathered before may still come.
    gone: Option<Instant>,
    /// Counts of captures of it that have ended.
    past: Counts,
    bulk: Bulk,
}

impl Watch {
    /// None yet.
    pub(super) fn new(settings: &Settings, kept: Kept) -> Self {
        Self {
            links: Vec::new(),
            settings: settings.clone(),
            capture: CaptureState::default(),
            batch: Batch::default(),
            kept,
        }
    }

    /// Starts to capture an interface, unless it is under capture already.
    pub(super) fn add(&mut self, found: &Found, output: &mut dyn Sink) -> Result<(), LiveError> {
        let known = self.links.iter().position(|link| link.name == found.name);
        if known.is_some_and(|place| self.links[place].reader.is_some()) {
            return Ok(());
        }
        let [snaplen, _] = self.settings.of(&found.name);
        let reader = LiveReader::open(found, &self.settings)?;
        let interface = Interface {
            name: Some(found.name.clone()),
            link_type: reader.link_type(),
            snaplen,
            of_container: false,
            pod: None,
        };
        let reader = Some(reader);
        self.capture.add_interface(snaplen);
        match known {
            Some(place) => {
                self.kept.link(self.links[place].id, interface);
                self.links[place].reader = reader;
            }
            None => {
                let id = LinkId(self.links.len() as u32);
                self.kept.link(id, interface);
                output.name_link(id, &found.name);
                let name = found.name.clone();
                let (past, bulk) = (Counts::default(), Bulk::default());
                self.links.push(Link { id, name, reader, gone: None, past, bulk });
            }
        }
        Ok(())
    }

    /// Tells whose interfaces these are, for what is kept.
    pub(super) fn note_pod(&mut self, pod: &Named) {
        self.kept.pod(pod);
    }

    /// How many are under capture.
    pub(super) fn count(&self) -> usize {
        self.links.iter().filter(|link| link.reader.is_some()).count()
    }

    /// One that was under capture is not any more.
    pub(super) fn is_missing_any(&self) -> bool {
        self.count() < self.links.len()
    }

    /// The names of all that were ever under capture.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.links.iter().map(|link| &*link.name)
    }

    /// The names of those under capture.
    pub(super) fn names(&self) -> Vec<&str> {
        let watched = self.links.iter().filter(|link| link.reader.is_some());
        watched.map(|link| &*link.name).collect()
    }

    /// Passes on what is there, a batch at most. Returns whether there was anything.
    pub(super) fn hear(&mut self, engine: &mut Engine, output: &mut dyn Sink) -> bool {
        let of = self.count();
        let (mut heard, mut taken) = (false, 0);
        for Link { id, name, reader, gone: gone_since, past, bulk } in &mut self.links {
            let Some(open) = reader else { continue };
            taken += 1;
            let mut frames = 0;
            let gone = loop {
                let full =
                    if of == 1 { frames == BATCH_FRAMES } else { self.batch.is_full(taken, of) };
                if full {
                    break None;
                }
                match open.hear() {
                    Heard::Frame(frame, fate) => {
                        bulk.count(fate, frame.wire_bytes);
                        if matches!(fate, Fate::Dropped(_)) {
                            // It is counted, and that is all.
                        } else if of == 1 {
                            // A single interface needs no copy.
                            self.kept.frame(*id, &frame);
                            engine.handle(Input::Frame { link: *id, frame }, output);
                        } else {
                            self.batch.push(*id, &frame);
                        }
                    }
                    Heard::Silence => break None,
                    Heard::Gone(why) => {
                        let since = *gone_since.get_or_insert_with(Instant::now);
                        break (since.elapsed() >= GATHERED).then_some(why);
                    }
                }
                frames += 1;
            };
            heard |= frames > 0;
            if let Some(why) = gone {
                warn(&format!("{name}: no longer watched: {why}"));
                *past += open.counts();
                (*reader, *gone_since) = (None, None);
            }
        }
        let kept = &mut self.kept;
        self.batch.hand_on(|link, frame| {
            kept.frame(link, &frame);
            engine.handle(Input::Frame { link, frame }, output);
        });
        heard
    }

    /// Waits for frames or a signal.
    pub(super) fn wait(&self, signals: &Signals, at_most: Duration) {
        wait(self.links.iter().filter_map(|link| link.reader.as_ref()), signals, at_most);
    }

    /// Lets windows end where nothing is heard, and hands out what was found.
    pub(super) fn tick(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
        self.note_counts(engine, output);
        engine.handle(Input::Tick { at: heard_until() }, output);
        output.flush();
        self.kept.flush();
    }

    fn note_counts(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
        let (mut passed, mut dropped, mut bulk) = (0, 0, Bulk::default());
        let mut interfaces = Vec::with_capacity(self.links.len());
        for link in &mut self.links {
            let mut counts = link.past;
            let watched = link.reader.is_some();
            if let Some(reader) = &mut link.reader {
                counts += reader.counts();
            }
            bulk += link.bulk;
            passed += counts.passed_frames;
            dropped += counts.kernel_dropped_frames + counts.interface_dropped_frames;
            interfaces.push(InterfaceCounts {
                link: link.id,
                watched,
                passed_frames: counts.passed_frames,
                kernel_dropped_frames: counts.kernel_dropped_frames,
                interface_dropped_frames: counts.interface_dropped_frames,
                kernel_dropped_frames_estimate: None,
                bulk: link.bulk,
            });
        }
        self.capture.passed_frames = passed;
        self.capture.dropped_frames = dropped;
        self.capture.bulk_cut_frames = bulk.cut_frames;
        self.capture.bulk_dropped_frames = bulk.dropped_frames;
        output.note_interfaces(&interfaces);
        engine.handle(Input::Capture(self.capture), output);
    }

    /// Takes what the kernel still holds, closes flows and findings, and waits for what can be
    /// written within two seconds. What was found about a pod that has ended is over.
    pub(super) fn end(
        mut self,
        ended: Option<&Named>,
        engine: &mut Engine,
        output: &mut dyn Sink,
        writer: &queue::Writer,
        args: &ResultArgs,
    ) -> anyhow::Result<()> {
        let ending = Ending::begin();
        while self.hear(engine, output) && ending.may_drain() {}
        self.note_counts(engine, output);
        if let Some(pod) = ended {
            self.links.iter().for_each(|link| self.kept.gone(link.id));
            engine.handle(Input::Ended(pod), output);
        }
        let close = |output: &mut dyn Sink| engine.finish(output);
        ending.finish(self.capture, std::iter::once(self.kept), close, output, (writer, args))
    }
}

/// Waits for frames or a signal.
pub(super) fn wait<'a>(
    readers: impl Iterator<Item = &'a LiveReader>,
    signals: &Signals,
    at_most: Duration,
) {
    let mut waited = vec![PollFd::new(&signals.came, PollFlags::IN)];
    waited.extend(readers.map(|reader| PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)));
    let nanos = at_most.as_nanos().min(1_000_000_000) as i64;
    let at_most = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
    // Interrupted or refused: the loop looks around and comes back.
    let _ = poll(&mut waited, Some(&at_most));
    signals.clear();
}

/// No frame older than this will come.
pub(super) fn heard_until() -> Timestamp {
    Timestamp::from_nanos(now().nanos().saturating_sub(LAG.as_nanos() as u64))
}

/// Writes a `stats` record.
pub(super) fn report(stats: &Stats, output: &mut dyn Sink) {
    if output.wants(RecordKind::Stats) {
        let at = Timestamp::from_nanos(stats.last_ns);
        output.record(&Record::Stats { at, stats });
    }
}

/// The last two seconds of a live mode.
#[derive(Clone, Copy)]
pub(super) struct Ending(Instant);

impl Ending {
    /// They begin.
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// There is time to take what the kernel still holds.
    pub(super) fn may_drain(&self) -> bool {
        self.0.elapsed() < DRAIN
    }

    /// Lets `close` close flows and findings, and waits for what can be written in time.
    ///
    /// # Errors
    /// Records could not be written, or packets not be kept: some were lost.
    pub(super) fn finish(
        self,
        capture: CaptureState,
        kept: impl Iterator<Item = Kept>,
        close: impl FnOnce(&mut dyn Sink),
        output: &mut dyn Sink,
        (writer, args): (&queue::Writer, &ResultArgs),
    ) -> anyhow::Result<()> {
        let Self(begin) = self;
        writer.wait_for_room(begin + PATIENCE);
        close(output);
        let left = writer.close(WRITTEN.saturating_sub(begin.elapsed()));
        output.flush();
        super::check_written(output, args)?;
        // A report says so itself.
        if !super::format(args)?.whole
            && let Some(lost) = lost_frames(&capture)
        {
            warn(&lost);
        }
        let kept = kept.map(Kept::end).fold(Ok(()), anyhow::Result::and);
        let (dropped, failure) = (writer.dropped(), writer.failure());
        let mut lost = Vec::new();
        if dropped.total() > 0 {
            let text = format!(
                "records dropped for want of room in the queue (output.queue_bytes): {dropped}"
            );
            match &failure {
                // The reader was slow, which is no failure of ours.
                None => warn(&format!("{}: {text}", super::place(args))),
                Some(_) => lost.push(text),
            }
        }
        if left.total() > 0 {
            let why = if failure.is_none() { ", since nobody reads them" } else { "" };
            lost.push(format!("these records could not be written in time{why}: {left}"));
        }
        if lost.is_empty() {
            return kept;
        }
        if let Err(error) = kept {
            warn(&format!("{error:#}"));
        }
        let failure = failure.map(|error| format!(" (the last failure: {error})"));
        let failure = failure.unwrap_or_default();
        bail!("{}: {}{failure}", super::place(args), lost.join("; "))
    }
}

/// What the capture has lost, in words.
fn lost_frames(capture: &CaptureState) -> Option<String> {
    let mut parts = Vec::new();
    if capture.dropped_frames > 0 {
        parts.push(format!(
            "{} of {} frames were dropped by kernel or interface (capture.buffer_bytes, \
             capture.node_buffer_bytes, --buffer)",
            capture.dropped_frames, capture.passed_frames
        ));
    }
    if capture.bulk_dropped_frames > 0 {
        let bulk = capture.bulk_dropped_frames;
        parts.push(format!("{bulk} frames of bulk were counted under load and not analysed"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_capture_lost_is_said_at_the_end() {
        let mut capture = CaptureState { passed_frames: 9, ..CaptureState::default() };
        assert_eq!(lost_frames(&capture), None);
        (capture.dropped_frames, capture.bulk_dropped_frames) = (3, 2);
        let said = lost_frames(&capture).unwrap();
        assert!(said.starts_with("3 of 9 frames were dropped"), "{said}");
        assert!(said.ends_with("2 frames of bulk were counted under load and not analysed"));
    }
}
