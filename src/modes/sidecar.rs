//! `vethwatch sidecar`: the interfaces of this pod in, records out, until the pod ends.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Instant;

use super::kept::Kept;
use super::live::{Signals, Watch};
use super::lookout::{Lookout, Seen};
use super::pace::Pace;
use super::privilege::Confinement;
use super::reload::{self, Reload};
use super::state::Keeper;
use super::{identity, lookout, warn};
use crate::capture::live::{Found, find};
use crate::cli::SidecarArgs;
use crate::config::Config;
use crate::container::Named;
use crate::engine::Engine;

/// Watches until a signal, or until the pod has ended.
///
/// # Errors
/// An interface, the configuration or the output cannot be used.
pub fn run(args: &SidecarArgs) -> anyhow::Result<ExitCode> {
    let found = find(&args.interfaces, args.loopback)?;
    let mut config = super::load_config(args.config.as_deref())?;
    let reload = Reload::new(args.config.as_deref(), &config);
    let mut pod = identity::pod(args.podinfo.as_deref(), lookout::addresses(&found))?;
    let named = named(&config, &pod.addresses).cloned();
    let names_itself = named.is_none();
    match named {
        Some(named) => pod = named,
        None => config.containers.named.push(pod.clone()),
    }
    if let Some(snaplen) = args.snaplen {
        config.capture.snaplen_bytes = snaplen;
        config.capture.interfaces.iter_mut().for_each(|own| own.snaplen_bytes = None);
    }
    if let Some(buffer) = args.buffer {
        config.capture.buffer_bytes = buffer << 20;
        config.capture.interfaces.iter_mut().for_each(|own| own.buffer_bytes = None);
    }
    if args.state.is_some() {
        config.state.path.clone_from(&args.state);
    }
    let mut engine = Engine::new(&config)?;
    let confinement = Confinement::sidecar(&config, args);
    let (results, writer) = super::queued_output(&args.results, &config.output, &confinement)?;
    let output = &mut *results.open();
    let signals = Signals::catch()?;
    let mut watch = Watch::new(&config.capture, Kept::create(&args.keep)?);
    watch.note_pod(&pod);
    for found in &found {
        watch.add(found, output)?;
    }
    let mut keeper = Keeper::open(&config.state, std::iter::once(&mut engine), &confinement)?;
    confinement.seal();
    warn(&format!("watching {}", watch.names().join(", ")));
    if found.iter().any(Found::is_loopback) {
        warn("loopback gives flow, dns and tls records and no findings: both its ends are the pod");
    }
    let mut lookout = Lookout::new(Instant::now(), &args.interfaces, args.loopback, &found);
    let (mut failed, mut ended) = (None, false);
    let mut pace = Pace::new(config.output.stats_interval_s);
    while !signals.stop() && !output.is_broken() {
        let heard = watch.hear(&mut engine, output);
        if signals.hangup()
            && let Some(new) = reload.reload()
        {
            reload::give(&new, &mut engine);
            pace.set_report_interval(new.output.stats_interval_s);
        }
        if pace.ticks() {
            watch.tick(&mut engine, output);
            match lookout.look(Instant::now(), &mut watch, output) {
                Ok(Seen::Same) => {}
                Ok(Seen::Addresses(addresses)) if names_itself => {
                    // Those that are gone were its, too.
                    let new = addresses.into_iter().filter(|ip| !pod.addresses.contains(ip));
                    pod.addresses.extend(new.collect::<Vec<_>>());
                    engine.know_container(&pod, output);
                    watch.note_pod(&pod);
                }
                Ok(Seen::Addresses(_)) => {}
                Ok(Seen::End) => {
                    warn("the pod has no interface any more: it has ended");
                    ended = true;
                    break;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            if let Some(keeper) = &mut keeper {
                keeper.tick(&mut engine);
            }
            if pace.reports() {
                super::live::report(engine.stats(), output);
            }
        }
        if !heard {
            watch.wait(&signals, pace.left());
        }
    }
    let unread = output.is_broken();
    let written = watch.end(ended.then_some(&pod), &mut engine, output, &writer, &args.results);
    let saved = keeper.map_or(Ok(()), |keeper| keeper.end(std::iter::once(&mut engine)));
    super::both(written, saved)?;
    failed.map_or_else(|| Ok(super::verdict(unread, &args.results)), Err)
}

/// The container with one of these addresses that the configuration names: it knows better than the pod.
fn named<'a>(config: &'a Config, addresses: &[IpAddr]) -> Option<&'a Named> {
    let mut named = config.containers.named.iter();
    named.find(|named| named.addresses.iter().any(|ip| addresses.contains(ip)))
}
