//! `vethwatch node`: every container of this host, from its first packet to its last.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

mod identity;
mod roster;
mod visibility;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::kept::Kept;
use super::live::{Signals, TICK};
use super::privilege::Confinement;
use super::reload::Reload;
use super::state::Keeper;
use super::{coverage, warn};
use crate::attribution::Watcher;
use crate::cli::NodeArgs;
use crate::engine::Engine;

use watch::Watch;

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
    let mut engine = Engine::new(&config)?;
    let confinement = Confinement::node(&config, args);
    let (mut output, writer) = super::queued_output(&args.results, &config.output, &confinement)?;
    let output = &mut *output;
    let signals = Signals::catch()?;
    let kept = Kept::create(&args.keep)?;
    // The capture first: what appears after this is heard.
    let mut watch = Watch::open(&config.capture, kept, &args.sources.procfs)?;
    let sources = coverage::settings(&args.sources);
    let watcher = Watcher::start_with(sources, confinement.links(), confinement.containers())
        .context("the kernel's interfaces cannot be watched; allow AF_NETLINK sockets")?;
    let mut keeper = Keeper::open(&config.state, &mut engine, &confinement)?;
    confinement.seal();
    watch.start(&watcher, &mut engine, output);
    let (mut ticked, mut reported) = (Instant::now(), Instant::now());
    while !signals.stop() && !output.is_broken() && watch.is_alive() {
        watch.learn(&watcher, &mut engine, output);
        let heard = watch.hear(&mut engine, output);
        if signals.hangup()
            && let Some(new) = reload.reload(&mut engine)
        {
            config.output.stats_interval_s = new.output.stats_interval_s;
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            watch.tick(&mut engine, output);
            if let Some(keeper) = &mut keeper {
                keeper.tick(&mut engine);
            }
            let interval = config.output.stats_interval_s;
            if interval > 0 && reported.elapsed() >= Duration::from_secs(interval) {
                reported = Instant::now();
                super::live::report(&mut engine, output);
            }
        }
        if !heard {
            watch.wait(&signals, TICK.saturating_sub(ticked.elapsed()));
        }
    }
    let alive = watch.is_alive();
    let written = watch.end(&mut engine, output, &writer, &args.results);
    if let Some(keeper) = keeper {
        keeper.end(&mut engine);
    }
    written?;
    if !alive {
        warn("the capture ended by itself: see the message above");
        return Ok(ExitCode::from(2));
    }
    Ok(ExitCode::SUCCESS)
}
