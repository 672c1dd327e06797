//! `vethwatch sidecar`: the interfaces of this pod in, records out, until the pod ends.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::env;
use std::fs;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::live::{Signals, TICK, Watch};
use super::reload::Reload;
use super::warn;
use crate::capture::live::{Found, find};
use crate::cli::SidecarArgs;
use crate::config::Config;
use crate::container::Named;
use crate::engine::Engine;

/// Watches until a signal, or until no interface is left.
///
/// # Errors
/// An interface, the configuration or the output cannot be used.
pub fn run(args: &SidecarArgs) -> anyhow::Result<ExitCode> {
    let found = find(&args.interfaces, args.loopback)?;
    let mut config = super::load_config(args.config.as_deref())?;
    let reload = Reload::new(args.config.as_deref(), &config);
    name_pod(&mut config, &found);
    if let Some(snaplen) = args.snaplen {
        config.capture.snaplen_bytes = snaplen;
        config.capture.interfaces.iter_mut().for_each(|own| own.snaplen_bytes = None);
    }
    if let Some(buffer) = args.buffer {
        config.capture.buffer_bytes = buffer << 20;
        config.capture.interfaces.iter_mut().for_each(|own| own.buffer_bytes = None);
    }
    let mut engine = Engine::new(&config)?;
    let (mut output, writer) = super::queued_output(&args.results, &config.output)?;
    let output = &mut *output;
    let signals = Signals::catch()?;
    let mut watch = Watch::new(&config.capture);
    for found in &found {
        watch.add(found, output)?;
    }
    warn(&format!("watching {}", watch.names().join(", ")));
    let (mut ticked, mut reported) = (Instant::now(), Instant::now());
    while !signals.stop() && watch.count() > 0 && !output.is_broken() {
        let heard = watch.hear(&mut engine, output);
        if signals.hangup()
            && let Some(new) = reload.reload(&mut engine)
        {
            config.output.stats_interval_s = new.output.stats_interval_s;
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            watch.tick(&mut engine, output);
            let interval = config.output.stats_interval_s;
            if interval > 0 && reported.elapsed() >= Duration::from_secs(interval) {
                reported = Instant::now();
                watch.report(&mut engine, output);
            }
        }
        if !heard {
            watch.wait(&signals, TICK.saturating_sub(ticked.elapsed()));
        }
    }
    watch.end(&mut engine, output, &writer, &args.results)?;
    Ok(ExitCode::SUCCESS)
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
