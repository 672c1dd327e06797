//! `vethwatch replay`: captures in, records out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::signal_name;

use super::progress::Progress;
use super::warn;
use crate::alert::{CaptureState, Inputs};
use crate::capture::{self, DamageKind, Next, Opened, Opening, Source, Stop};
use crate::cli::ReplayArgs;
use crate::config::Config;
use crate::container::{LinkOwner, Named};
use crate::engine::{Engine, Input};
use crate::event::LinkId;
use crate::output::{Sink, Worst};
use crate::record::Output;

/// Copies that are named one by one (count); of the rest their number is told.
const REPEATS_NAMED_MAX: usize = 5;

/// Exit code of a run that found what it was told to fail on.
const FOUND: u8 = 1;

/// Added to a signal's number where it ended the run, as shells do.
const SIGNALLED: u8 = 128;

/// Packets between two looks at anything but packets (count).
const BATCH_PACKETS: u32 = 4_096;

/// Reads the inputs through an engine.
///
/// # Errors
/// An input, the configuration or the output cannot be used.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let config = effective(args)?;
    let mut engine = Engine::new(&config)?;
    let signals = Signals::catch()?;
    let Opened { source, total_bytes, notes, repeats } =
        capture::open_until(&args.inputs, &signals.stop)?;
    say_passed_over(&notes, args.verbose);
    for repeat in repeats.iter().take(REPEATS_NAMED_MAX) {
        warn(&format!("{repeat}: what both hold counts once; name each capture once"));
    }
    if let Some(more @ 1..) = repeats.len().checked_sub(REPEATS_NAMED_MAX) {
        warn(&format!("and {more} more that begin as one before them"));
    }
    refuse_to_overwrite(args)?;
    let mut output = Worst::new(super::output(&args.results)?);
    let inputs = Inputs {
        passed_over: notes.len() as u64,
        repeated: repeats.len() as u64,
        ..Inputs::default()
    };
    let mut feeder = Feeder {
        engine: &mut engine,
        output: &mut output,
        progress: Progress::new(!args.no_progress, total_bytes),
        verbose: args.verbose,
        // Whoever asks for a verdict gets it, even if nobody reads the records any more.
        stop_when_unread: args.fail_on.is_none(),
        pods: BTreeMap::new(),
        capture: CaptureState { inputs, ..CaptureState::default() },
        stop: &signals.stop,
    };
    match source {
        Opening::Pcap(mut source) => feeder.feed(&mut *source),
        Opening::Pcapng(mut source) => feeder.feed(&mut *source),
        Opening::Merged(mut source) => feeder.feed(&mut *source),
    }
    engine.finish(&mut output);
    super::check_written(&mut **output.output(), &args.results)?;
    for (entry, outcome) in engine.allow_list().outcomes() {
        if outcome.expired_findings > 0 {
            warn(&format!(
                "allow-list entry `{entry}` has expired: it would have silenced {} finding(s)",
                outcome.expired_findings
            ));
        }
    }
    if let Some(signal) = signals.caught() {
        let (frames, name) = (engine.stats().frames, signal_name(signal).unwrap_or("a signal"));
        warn(&format!("interrupted by {name}: the records cover the first {frames} packets"));
        return Ok(ExitCode::from(SIGNALLED + signal as u8));
    }
    if args.fail_on.is_none() && output.output().is_broken() {
        return Ok(ExitCode::from(super::UNREAD));
    }
    let failed = args.fail_on.is_some_and(|least| output.severity() >= Some(least));
    // Silence about nobody is no verdict.
    if engine.stats().containers == 0 && engine.stats().frames > 0 {
        let unmatched = engine.stats().containers_unmatched > 0;
        let remedy = if unmatched {
            "no packet has an address of those that --container, --pod-network or the configuration \
             name; check them"
        } else {
            "name containers with --container or --pod-network"
        };
        if args.fail_on.is_some() {
            bail!("nothing was judged: no container was found in the capture; {remedy}");
        }
        warn(&format!("nothing was judged: no container was found in the capture; {remedy}"));
    }
    Ok(if failed { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
}

/// The first SIGINT or SIGTERM ends the reading; one more ends the process.
struct Signals {
    stop: Stop,
    caught: Arc<AtomicUsize>,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let signals = Self { stop: Stop::default(), caught: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            let (stop, caught) = (Arc::clone(signals.stop.flag()), Arc::clone(&signals.caught));
            // In this order: the flag that makes a signal final is set after it was asked for.
            flag::register_conditional_default(signal, Arc::clone(&stop))
                .and_then(|_| flag::register_usize(signal, caught, signal as usize))
                .and_then(|_| flag::register(signal, stop))
                .context("signals cannot be caught")?;
        }
        Ok(signals)
    }

    /// The signal that came, if one did.
    fn caught(&self) -> Option<i32> {
        let signal = self.caught.load(Ordering::Relaxed);
        self.stop.is_asked().then_some(signal as i32)
    }
}

/// Says which files of directories were no captures: in one line, or each.
fn say_passed_over(notes: &[String], each: bool) {
    match notes {
        [] => {}
        [note] => warn(note),
        _ if each => notes.iter().for_each(|note| warn(note)),
        [first, ..] => warn(&format!(
            "{} files cannot be read as captures; --verbose names each; the first: {first}",
            notes.len()
        )),
    }
}

/// Fails if the records would be written over an input, by whatever name either is called.
fn refuse_to_overwrite(args: &ReplayArgs) -> anyhow::Result<()> {
    let Some(output) = &args.results.output else { return Ok(()) };
    let Ok(output_file) = fs::metadata(output) else { return Ok(()) };
    let is_output = |path: &Path| {
        fs::metadata(path).is_ok_and(|input| {
            input.is_file() && (input.dev(), input.ino()) == (output_file.dev(), output_file.ino())
        })
    };
    for input in &args.inputs {
        let inside = fs::read_dir(input).into_iter().flatten().flatten();
        if is_output(input) || inside.into_iter().any(|entry| is_output(&entry.path())) {
            bail!(
                "{}: is an input too, and would be overwritten; give another path with --output",
                output.display()
            );
        }
    }
    Ok(())
}

/// The configuration file with the command line's word above it: networks given there replace the
/// file's, containers given there come before the file's.
fn effective(args: &ReplayArgs) -> anyhow::Result<Config> {
    let mut config = super::load_config(args.config.as_deref())?;
    let containers = &mut config.containers;
    for (given, configured) in [
        (&args.pod_networks, &mut containers.pod_networks),
        (&args.service_networks, &mut containers.service_networks),
        (&args.node_networks, &mut containers.node_networks),
    ] {
        if !given.is_empty() {
            configured.clone_from(given);
        }
    }
    let given = &args.containers;
    containers.named.retain(|named| given.iter().all(|other| other.name != named.name));
    containers.named.splice(0..0, given.iter().cloned());
    refuse_shared_addresses(&containers.named)?;
    Ok(config)
}

/// Fails if an address belongs to two containers: one of them would have no traffic.
fn refuse_shared_addresses(named: &[Named]) -> anyhow::Result<()> {
    for (place, one) in named.iter().enumerate() {
        for other in &named[..place] {
            if let Some(ip) = one.addresses.iter().find(|ip| other.addresses.contains(ip)) {
                bail!(
                    "containers {} and {} both have the address {ip}; give it to one of them",
                    other.name,
                    one.name
                );
            }
        }
    }
    Ok(())
}

/// The reading loop and what it looks at now and then.
struct Feeder<'a> {
    engine: &'a mut Engine,
    output: &'a mut Worst<Box<dyn Sink>>,
    progress: Progress,
    verbose: bool,
    stop_when_unread: bool,
    capture: CaptureState,
    /// Whose own interfaces these are.
    pods: BTreeMap<LinkId, Named>,
    stop: &'a Stop,
}

impl Feeder<'_> {
    fn feed<S: Source>(&mut self, source: &mut S) {
        while self.batch(source) {
            self.progress.at(source.position());
            let unread = self.stop_when_unread && self.output.output().is_broken();
            if unread || self.stop.is_asked() {
                break;
            }
        }
        self.progress.clear();
        let inputs = &mut self.capture.inputs;
        inputs.interrupted = self.stop.is_asked();
        for damage in source.damages() {
            match damage.kind {
                DamageKind::Skipped { frames, .. } => inputs.skipped_frames += frames,
                // A stream that was stopped ends where it ends.
                DamageKind::CutOff | DamageKind::CompressedCutOff(_) if inputs.interrupted => {
                    continue;
                }
                _ => inputs.cut_off += 1,
            }
            warn(&damage.to_string());
        }
        self.engine.handle(Input::Capture(self.capture), self.output);
    }

    /// Reads the next packets; `false` at the end.
    fn batch<S: Source>(&mut self, source: &mut S) -> bool {
        for _ in 0..BATCH_PACKETS {
            match source.next() {
                Next::Frame(link, frame) => {
                    self.engine.handle(Input::Frame { link, frame }, self.output);
                }
                Next::Link(link, interface) => {
                    if let Some(name) = &interface.name {
                        self.output.name_link(link, name);
                    }
                    if interface.of_container {
                        let name = interface.name.as_deref().unwrap_or("unnamed");
                        self.engine
                            .handle(Input::Owner(&LinkOwner::unnamed(link, name)), self.output);
                    }
                    if let Some(pod) = &interface.pod {
                        self.engine.know_container(pod, self.output);
                        self.pods.insert(link, (**pod).clone());
                    }
                    self.capture.add_interface(interface.snaplen);
                    self.engine.handle(Input::Capture(self.capture), self.output);
                    if self.verbose {
                        let name = interface.name.as_deref().unwrap_or("unnamed");
                        warn(&format!("interface {}: {name}, {:?}", link.0, interface.link_type));
                    }
                }
                Next::LinkGone(link) => {
                    let gone = self.pods.get(&link).map_or(Input::LinkGone(link), Input::Ended);
                    self.engine.handle(gone, self.output);
                }
                Next::End => return false,
            }
        }
        true
    }
}
