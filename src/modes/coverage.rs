//! `vethwatch coverage`: which containers of this node are seen, and which are not, and why.
#![expect(clippy::disallowed_methods, reason = "records bear the time at which was looked")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use unicode_width::UnicodeWidthStr;

use super::warn;
use crate::attribution::links::LinkMonitor;
use crate::attribution::report::coverage_line;
use crate::attribution::runtime::State;
use crate::attribution::survey::Surveyor;
use crate::attribution::{Attribution, Container, Link, Settings};
use crate::cli::{CoverageArgs, SourceArgs};
use crate::output::{Look, eve, table};
use crate::time::Timestamp;

/// A container is blind, and `--fail-on-blind` was given.
const BLIND: u8 = 1;
/// Digits of an id that people are shown.
const ID_SHOWN: usize = 12;

/// The attribution's settings with what the command line says.
#[must_use]
pub fn settings(args: &SourceArgs) -> Settings {
    let mut settings = Settings { procfs: args.procfs.clone(), ..Settings::default() };
    // Who names sockets of one kind means those and no others.
    if !args.cri_sockets.is_empty() || !args.docker_sockets.is_empty() {
        settings.cri_sockets.clone_from(&args.cri_sockets);
        settings.docker_sockets.clone_from(&args.docker_sockets);
    }
    settings
}

/// Looks once, and lists.
///
/// # Errors
/// Procfs or netlink cannot be read, or standard output cannot be written.
pub fn run(args: &CoverageArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(&args.sources);
    fs::read_dir(&settings.procfs).with_context(|| {
        format!(
            "{}: cannot be read; mount the host's procfs there, or name its place with --procfs",
            settings.procfs.display()
        )
    })?;
    let monitor = LinkMonitor::open()
        .context("the kernel's interfaces cannot be listed by netlink; allow AF_NETLINK sockets")?;
    let mut surveyor =
        Surveyor::new(settings).context("the kernel's namespaces cannot be asked by netlink")?;
    let survey = surveyor.look(monitor.links().clone());
    survey.messages.iter().for_each(|message| warn(message));
    if surveyor.runtimes().states().all(|(_, state)| *state == State::Absent) {
        let tried: Vec<_> =
            surveyor.runtimes().states().map(|(path, _)| path.display().to_string()).collect();
        warn(&format!(
            "no runtime's socket is there, so names and images are not known; looked for {}",
            tried.join(", ")
        ));
    }
    let mut containers: Vec<&Container> = survey.inventory.listed().collect();
    containers.sort_by_cached_key(|container| (!container.coverage.is_blind(), name(container)));

    let usual = if io::stdout().is_terminal() { table::REGISTRATION } else { eve::REGISTRATION };
    let text = if args.format.as_deref().unwrap_or(usual.name) == eve::REGISTRATION.name {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        let lines = containers.iter().map(|one| coverage_line(at, one, monitor.links()) + "\n");
        lines.collect()
    } else {
        list(&containers, monitor.links(), Look::of_stdout().width)
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has seen enough is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let blind = containers.iter().any(|container| container.coverage.is_blind());
    Ok(if blind && args.fail_on_blind { ExitCode::from(BLIND) } else { ExitCode::SUCCESS })
}

/// A container as people call it.
fn name(container: &Container) -> String {
    let short: String = container.id.chars().take(ID_SHOWN).collect();
    let short = if container.how == Attribution::Interface { container.id.clone() } else { short };
    let name = container.name.clone().unwrap_or(short);
    match container.kubernetes.as_ref().filter(|place| !place.pod.is_empty()) {
        Some(place) if container.sandbox => format!("{}/{}", place.namespace, place.pod),
        Some(place) => format!("{}/{}/{name}", place.namespace, place.pod),
        None => name,
    }
}

/// A table, the blind first, and below it why each of them is.
fn list(containers: &[&Container], links: &BTreeMap<u32, Link>, width: usize) -> String {
    if containers.is_empty() {
        return "No container runs here, and no veth leads into another network namespace.\n"
            .to_owned();
    }
    let titles = ["CONTAINER", "STATE", "INTERFACE", "ADDRESS", "FOUND BY"].map(str::to_owned);
    let rows = containers.iter().map(|container| {
        let names = container.interfaces.iter().filter_map(|index| links.get(index));
        let names: Vec<&str> = names.map(|link| link.name.as_str()).collect();
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        [
            name(container),
            container.coverage.as_str().replace('_', " "),
            or_none(names.join(",")),
            or_none(container.addresses.iter().min().map(ToString::to_string).unwrap_or_default()),
            container.how.as_str().replace('_', " "),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(titles).chain(rows).collect();
    let widths: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let pad = width.saturating_sub(cell.width());
            let _ = write!(line, "{cell}{:pad$}  ", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let blind: Vec<_> =
        containers.iter().filter(|container| container.coverage.is_blind()).collect();
    let _ = write!(
        text,
        "\n{} of {} containers are fully seen.\n",
        containers.len() - blind.len(),
        containers.len()
    );
    let indent = textwrap::Options::new(width).subsequent_indent("  ");
    for container in blind {
        let sentence = format!("{}: {}.", name(container), container.coverage);
        text.push_str(&textwrap::fill(&sentence, &indent));
        text.push('\n');
    }
    text
}
