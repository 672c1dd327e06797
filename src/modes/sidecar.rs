//! `vethwatch sidecar`: the interfaces of this pod in, records out, until the pod ends.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::env;
use std::fs;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::warn;
use crate::alert::CaptureState;
use crate::capture::live::{Found, Heard, LiveReader, Settings, find};
use crate::cli::SidecarArgs;
use crate::config::Config;
use crate::container::Named;
use crate::engine::{Engine, Input};
use crate::event::LinkId;
use crate::output::Sink;
use crate::time::Timestamp;

/// Frames of one interface before the others get their turn (count).
const BATCH_FRAMES: u32 = 1_024;
/// Pause when no interface has anything.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two looks at the clock and the drop counters, and two flushes of the records.
const TICK: Duration = Duration::from_millis(250);
/// Frames may come so much later than they were stamped: the kernel gathers them for 100 ms.
const LAG: Duration = Duration::from_secs(1);
/// Longest time for what is still in the kernel's buffers at the end.
const DRAIN: Duration = Duration::from_secs(1);

/// Watches until a signal, or until no interface is left.
///
/// # Errors
/// An interface, the configuration or the output cannot be used.
pub fn run(args: &SidecarArgs) -> anyhow::Result<ExitCode> {
    let found = find(&args.interfaces, args.loopback)?;
    let mut config = super::load_config(args.config.as_deref())?;
    name_pod(&mut config, &found);
    let mut engine = Engine::new(&config)?;
    let mut output = super::output(&args.results)?;
    let settings = Settings { snaplen: args.snaplen, buffer_bytes: args.buffer << 20 };
    let names: Vec<String> = found.iter().map(|found| found.name.clone()).collect();
    let mut watch =
        Watch { links: Vec::new(), names, capture: CaptureState::default(), past: [0; 2] };
    for (number, found) in found.iter().enumerate() {
        let id = LinkId(number as u32);
        watch.links.push((id, LiveReader::open(found, settings)?));
        watch.capture.add_interface(args.snaplen as u32);
        output.name_link(id, &found.name);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .context("signals cannot be caught")?;
    }
    warn(&format!("watching {}", watch.names.join(", ")));
    let mut ticked = Instant::now();
    while !stop.load(Ordering::Relaxed) && !watch.links.is_empty() && !output.is_broken() {
        let heard = watch.hear(&mut engine, &mut *output);
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            watch.tick(&mut engine, &mut *output);
        }
        if !heard {
            thread::sleep(PAUSE);
        }
    }
    let end = Instant::now() + DRAIN;
    while watch.hear(&mut engine, &mut *output) && Instant::now() < end {}
    watch.count(&mut engine, &mut *output);
    engine.finish(&mut *output);
    super::check_written(&mut *output, &args.results)?;
    Ok(ExitCode::SUCCESS)
}

/// The interfaces under capture.
struct Watch {
    links: Vec<(LinkId, LiveReader)>,
    /// By [`LinkId`].
    names: Vec<String>,
    capture: CaptureState,
    /// Frames passed and dropped on interfaces that are gone (count).
    past: [u64; 2],
}

impl Watch {
    /// Passes on what is there, a batch of each interface. Returns whether there was anything.
    fn hear(&mut self, engine: &mut Engine, output: &mut dyn Sink) -> bool {
        let mut heard = false;
        let Self { links, past, names, .. } = self;
        links.retain_mut(|(link, reader)| {
            for _ in 0..BATCH_FRAMES {
                match reader.hear() {
                    Heard::Frame(frame) => {
                        heard = true;
                        engine.handle(Input::Frame { link: *link, frame }, output);
                    }
                    Heard::Silence => return true,
                    Heard::Gone(why) => {
                        let name = &names[link.0 as usize];
                        warn(&format!("{name}: no longer watched: {why}"));
                        let [passed, dropped] = reader.counts();
                        *past = [past[0] + passed, past[1] + dropped];
                        return false;
                    }
                }
            }
            true
        });
        heard
    }

    /// Lets windows end where nothing is heard, and hands out what was found.
    fn tick(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
        self.count(engine, output);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = now.saturating_sub(LAG).as_nanos();
        let at = Timestamp::from_nanos(u64::try_from(at).unwrap_or(u64::MAX));
        engine.handle(Input::Tick { at }, output);
        output.flush();
    }

    fn count(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
        let [mut passed, mut dropped] = self.past;
        for (_, reader) in &mut self.links {
            let counts = reader.counts();
            passed += counts[0];
            dropped += counts[1];
        }
        self.capture.passed_frames = passed;
        self.capture.dropped_frames = dropped;
        engine.handle(Input::Capture(self.capture), output);
    }
}

/// Takes this pod as the container, with the addresses of its interfaces, unless the configuration
/// names it. The downward API gives its name; a pod's host name is its own too.
fn name_pod(config: &mut Config, found: &[Found]) {
    let addresses: Vec<IpAddr> = found
        .iter()
        .flat_map(|found| &found.addresses)
        .filter(|address| !address.is_loopback())
        .copied()
        .collect();
    let named = &mut config.containers.named;
    if named.iter().any(|named| named.addresses.iter().any(|ip| addresses.contains(ip))) {
        return;
    }
    let variable = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
    let host = || Some(fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned());
    let pod = variable("POD_NAME");
    let name = variable("CONTAINER_NAME").or_else(|| pod.clone()).or_else(host);
    named.push(Named {
        name: name.unwrap_or_else(|| "pod".to_owned()).into(),
        addresses,
        namespace: variable("POD_NAMESPACE").map(Into::into),
        pod: pod.map(Into::into),
        image: None,
    });
}
