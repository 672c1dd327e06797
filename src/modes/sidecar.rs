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
use crate::capture::live::find;
use crate::cli::SidecarArgs;
use crate::config::Config;
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
    let names_itself = !is_named(&config, &pod.addresses);
    if names_itself {
        config.containers.named.push(pod.clone());
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
    for found in &found {
        watch.add(found, output)?;
    }
    let mut keeper = Keeper::open(&config.state, std::iter::once(&mut engine), &confinement)?;
    confinement.seal();
    warn(&format!("watching {}", watch.names().join(", ")));
    let mut lookout = Lookout::new(Instant::now(), &args.interfaces, args.loopback, &found);
    let mut failed = None;
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
                    pod.addresses = addresses;
                    engine.know_container(&pod);
                }
                Ok(Seen::Addresses(_)) => {}
                Ok(Seen::End) => {
                    warn("the pod has no interface any more: it has ended");
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
    let written = watch.end(&mut engine, output, &writer, &args.results);
    if let Some(keeper) = keeper {
        keeper.end(std::iter::once(&mut engine));
    }
    written?;
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// The configuration names a container with one of these addresses: it knows better than the pod.
fn is_named(config: &Config, addresses: &[IpAddr]) -> bool {
    let named = &config.containers.named;
    named.iter().any(|named| named.addresses.iter().any(|ip| addresses.contains(ip)))
}
