//! `vethwatch replay`: captures in, records out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use super::progress::Progress;
use super::warn;
use crate::alert::CaptureState;
use crate::capture::{self, Next, Opened, Opening, Source};
use crate::cli::ReplayArgs;
use crate::config::Config;
use crate::engine::{Engine, Input};
use crate::output::{Sink, Worst};
use crate::record::Output;

/// Exit code of a run that found what it was told to fail on.
const FOUND: u8 = 1;

/// Packets between two looks at anything but packets (count).
const BATCH_PACKETS: u32 = 4_096;

/// Reads the inputs through an engine.
///
/// # Errors
/// An input, the configuration or the output cannot be used.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let config = effective(args)?;
    let mut engine = Engine::new(&config)?;
    let Opened { source, total_bytes, notes } = capture::open(&args.inputs)?;
    if args.verbose {
        notes.iter().for_each(|note| warn(note));
    }
    refuse_to_overwrite(args)?;
    let mut output = Worst::new(super::output(&args.results)?);
    let mut feeder = Feeder {
        engine: &mut engine,
        output: &mut output,
        progress: Progress::new(!args.no_progress, total_bytes),
        verbose: args.verbose,
        // Whoever asks for a verdict gets it, even if nobody reads the records any more.
        stop_when_unread: args.fail_on.is_none(),
        capture: CaptureState::default(),
    };
    match source {
        Opening::Pcap(mut source) => feeder.feed(&mut *source),
        Opening::Pcapng(mut source) => feeder.feed(&mut *source),
        Opening::Merged(mut source) => feeder.feed(&mut *source),
    }
    engine.finish(&mut output);
    super::check_written(&mut **output.output(), &args.results)?;
    let failed = args.fail_on.is_some_and(|least| output.severity() >= Some(least));
    Ok(if failed { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
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
    Ok(config)
}

/// The reading loop and what it looks at now and then.
struct Feeder<'a> {
    engine: &'a mut Engine,
    output: &'a mut Worst<Box<dyn Sink>>,
    progress: Progress,
    verbose: bool,
    stop_when_unread: bool,
    capture: CaptureState,
}

impl Feeder<'_> {
    fn feed<S: Source>(&mut self, source: &mut S) {
        while self.batch(source) {
            self.progress.at(source.position());
            if self.stop_when_unread && self.output.output().is_broken() {
                break;
            }
        }
        self.progress.clear();
        for damage in source.damages() {
            warn(&damage.to_string());
        }
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
                    self.capture.add_interface(interface.snaplen);
                    self.engine.handle(Input::Capture(self.capture), self.output);
                    if self.verbose {
                        let name = interface.name.as_deref().unwrap_or("unnamed");
                        warn(&format!("interface {}: {name}, {:?}", link.0, interface.link_type));
                    }
                }
                Next::End => return false,
            }
        }
        true
    }
}
