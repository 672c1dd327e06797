//! `vethwatch node`: every container of this host, from its first packet to its last.

mod crew;
mod hand;
mod identity;
mod roster;
mod visibility;
mod watch;
mod worker;

use std::num::NonZero;
use std::process::ExitCode;

use anyhow::Context;

use super::kept::Kept;
use super::live::Signals;
use super::pace::Pace;
use super::privilege::Confinement;
use super::reload::Reload;
use super::state::Keeper;
use super::{coverage, warn};
use crate::attribution::Watcher;
use crate::attribution::links::LinkMonitor;
use crate::capture::live::{LiveReader, share_of};
use crate::cli::NodeArgs;
use crate::config::Config;
use crate::engine::Engine;

use crew::Crew;
use watch::Watch;
use worker::Worker;

/// Watches until a signal.
///
/// # Errors
/// The kernel refuses a capture or its list of interfaces; the configuration or the output cannot be
/// used.
pub fn run(args: &NodeArgs) -> anyhow::Result<ExitCode> {
    let mut config = super::load_config(args.config.as_deref())?;
    let reload = Reload::new(args.config.as_deref(), &config);
    if let Some(snaplen) = args.snaplen {
        config.capture.snaplen_bytes = snaplen;
    }
    if let Some(buffer) = args.buffer {
        config.capture.node_buffer_bytes = buffer << 20;
    }
    if args.state.is_some() {
        config.state.path.clone_from(&args.state);
    }
    let confinement = Confinement::node(&config, args);
    let (results, writer) = super::queued_output(&args.results, &config.output, &confinement)?;
    let signals = Signals::catch()?;
    // The captures first: what appears after this is heard.
    let mut workers = open(&config, args)?;
    let sources = coverage::settings(&args.sources);
    for path in args.sources.cri_sockets.iter().chain(&args.sources.docker_sockets) {
        if !path.exists() {
            warn(&format!(
                "{}: no such socket; until it is there, containers have no names of its runtime",
                path.display()
            ));
        }
    }
    let watcher = Watcher::start_with(sources, confinement.links(), confinement.containers())
        .context("the kernel's interfaces cannot be watched; allow AF_NETLINK sockets")?;
    let engines = workers.iter_mut().map(|worker| &mut worker.engine);
    let mut keeper = Keeper::open(&config.state, engines, &confinement)?;
    let (mut output, of_workers) = match workers.len() {
        1 => (results.open(), Vec::new()),
        several => results.open_for(several),
    };
    let output = &mut *output;
    let crew = Crew::start(workers, of_workers, &confinement)?;
    let mut watch = Watch::new(crew, &config.capture, &args.sources.procfs);
    confinement.seal();
    watch.start(&watcher, output);
    let mut pace = Pace::new(config.output.stats_interval_s);
    while !signals.stop() && !output.is_broken() && watch.is_alive() {
        watch.learn(&watcher, output);
        let heard = watch.hear(output);
        if signals.hangup()
            && let Some(new) = reload.reload()
        {
            watch.reconfigure(&new, output);
            pace.set_report_interval(new.output.stats_interval_s);
        }
        if pace.ticks() {
            watch.tick(keeper.as_mut(), output);
            if pace.reports() {
                super::live::report(watch.stats(), output);
            }
        }
        if !heard {
            watch.wait(&watcher, &signals, pace.left(), output);
        }
    }
    let (alive, unread) = (watch.is_alive(), output.is_broken());
    let (written, mut engines) = watch.end(output, &writer, &args.results);
    let saved = keeper.map_or(Ok(()), |keeper| keeper.end(engines.iter_mut()));
    super::both(written, saved)?;
    if !alive {
        warn("the capture ended by itself: see the message above");
        return Ok(ExitCode::from(2));
    }
    Ok(super::verdict(unread, &args.results))
}

/// Starts to capture, with as many workers as are asked for or suit the machine.
fn open(config: &Config, args: &NodeArgs) -> anyhow::Result<Vec<Worker>> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let of = config.capture.workers_on(cores);
    if of > 1 {
        warn(&format!("{of} workers share the interfaces"));
    }
    let share = config.share(of);
    // What the host sends for itself, and what bridges and overlays carry for containers, is there a
    // second time.
    let monitor = LinkMonitor::open().ok();
    let links = monitor.iter().flat_map(|monitor| monitor.links().values());
    let others = links.filter(|link| !link.is_container_side()).map(|link| link.index);
    let others: Vec<u32> = others.collect();
    let open = |number| {
        let mut engine = Engine::new(&share)?;
        if of > 1 {
            engine.share(number, of);
        }
        let reader = LiveReader::open_all(&config.capture, [number, of])?;
        let kept = Kept::create_share(&args.keep, [number, of])?;
        let others = others.iter().copied().filter(|index| share_of(*index, of) == number);
        Ok(Worker::new(reader, engine, kept, others))
    };
    (0..of).map(open).collect()
}
