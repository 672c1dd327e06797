//! What the commands do: each feeds the engine, or answers from the same tables that it uses.

mod control_groups;
pub mod coverage;
pub mod doctor;
mod identity;
mod kept;
pub mod info;
mod live;
mod lookout;
pub mod node;
mod pace;
mod privilege;
mod progress;
mod reload;
pub mod replay;
pub mod sidecar;
mod state;

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use signal_hook::consts::SIGPIPE;

use self::privilege::Confinement;
use crate::cli::{Cli, Command, ResultArgs};
use crate::config::{self, Config};
use crate::output::carrier::Carrier;
use crate::output::log_file::{self, LogFile};
use crate::output::queue::Destination;
use crate::output::shared::Shared;
use crate::output::{Events, Look, OUTPUTS, Options, Registration, Sink, eve, queue, table};

/// Does what the command line asks.
///
/// # Errors
/// The input, the configuration or the environment cannot be used: exit code 2.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Replay(args) => replay::run(&args),
        Command::Sidecar(args) => sidecar::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Coverage(args) => coverage::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Config(args) => info::config(&args),
        Command::Schema => info::schema(),
        Command::Ads(args) => info::ads(&args),
    }
}

/// The configuration in a file; the defaults without one.
fn load_config(path: Option<&Path>) -> anyhow::Result<Config> {
    let Some(path) = path else { return Ok(Config::default()) };
    let origin = path.display().to_string();
    let text = fs::read_to_string(path)
        .with_context(|| format!("{origin}: cannot be read; check the path given with --config"))?;
    Config::parse(&text).map_err(|problem| anyhow!("{origin}{problem}"))
}

/// An output in the asked format that writes at once. On a terminal that is a report, unless it goes
/// to a file.
fn output(args: &ResultArgs) -> anyhow::Result<Box<dyn Sink>> {
    let format = format(args)?;
    let carrier: Box<dyn Carrier> = match &args.output {
        None => Box::new(io::stdout()),
        Some(path) => {
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(log_file::MODE);
            Box::new(options.open(path).with_context(|| cannot_write(path))?)
        }
    };
    Ok((format.make)(options(args), carrier))
}

/// The same before a queue, for whoever must not wait. Once it is open, what the start needed and
/// nothing else does is given up.
fn queued_output(
    args: &ResultArgs,
    settings: &config::output::Settings,
    confinement: &Confinement,
) -> anyhow::Result<(Results, queue::Writer)> {
    let format = format(args)?;
    let file: Box<dyn Destination> = match &args.output {
        None => {
            let own = io::stdout().as_fd().try_clone_to_owned();
            let own = own.context("standard output cannot be used; give a file with --output")?;
            Box::new(File::from(own))
        }
        Some(path) => {
            let waits = || {
                warn(&format!("{}: waiting for whoever reads this pipe", path.display()));
            };
            Box::new(LogFile::open(path, waits).with_context(|| cannot_write(path))?)
        }
    };
    confinement.begin();
    let (queue, writer) = queue::start(settings, file, confinement.thread(&[]), {
        let place = place(args);
        move |news| warn(&format!("{place}: {news}"))
    })
    .context("no thread can be started for the output")?;
    Ok((Results { format, options: options(args), queue }, writer))
}

/// What makes outputs before one queue.
struct Results {
    format: &'static Registration,
    options: Options,
    queue: queue::Queue,
}

impl Results {
    fn open(&self) -> Box<dyn Sink> {
        (self.format.make)(self.options, Box::new(self.queue.clone()))
    }

    /// One for the main thread, and one for each of several workers: each makes its own records. Where
    /// the format is one document, they meet in it.
    fn open_for(&self, workers: usize) -> (Box<dyn Sink>, Vec<Box<dyn Sink>>) {
        if !self.format.whole {
            return (self.open(), (0..workers).map(|_| self.open()).collect());
        }
        let shared = Shared::new(self.open());
        let of_workers = (0..workers).map(|_| -> Box<dyn Sink> { Box::new(shared.clone()) });
        (Box::new(shared.clone()), of_workers.collect())
    }
}

fn cannot_write(path: &Path) -> String {
    format!("{}: cannot be written; check the path given with --output", path.display())
}

fn options(args: &ResultArgs) -> Options {
    let look = match &args.output {
        None => Look::of_stdout(),
        Some(_) => Look { width: Look::WIDTH, colour: false },
    };
    Options { events: args.events.unwrap_or(Events::ALL), look }
}

fn format(args: &ResultArgs) -> anyhow::Result<&'static Registration> {
    let to_terminal = args.output.is_none() && io::stdout().is_terminal();
    // Only EVE has kinds of records: whoever chooses among them wants it.
    let to_read = to_terminal && args.events.is_none();
    let usual = if to_read { table::REGISTRATION.name } else { eve::REGISTRATION.name };
    let name = args.format.as_deref().unwrap_or(usual);
    if name == table::REGISTRATION.name && args.events.is_some() {
        bail!(
            "--events chooses among the records of eve, and the table shows findings and the \
             summary; leave out --events, or use --format eve"
        );
    }
    let format = OUTPUTS.iter().find(|output| output.name == name);
    format.with_context(|| format!("there is no format `{name}`"))
}

/// Where records go, for messages.
fn place(args: &ResultArgs) -> String {
    args.output.as_deref().map_or("standard output".into(), |path| path.display().to_string())
}

/// Fails if records could not be written.
fn check_written(output: &mut dyn Sink, args: &ResultArgs) -> anyhow::Result<()> {
    let Some(error) = output.take_error() else { return Ok(()) };
    let place = place(args);
    bail!("{place}: the records cannot be written: {error}; check its space and permissions")
}

/// The exit code when nobody reads the results any more: as of a program that SIGPIPE ended.
const UNREAD: u8 = 128 + SIGPIPE as u8;

/// How a live mode that ended by itself or by a signal exits.
fn verdict(unread: bool, args: &ResultArgs) -> ExitCode {
    if !unread {
        return ExitCode::SUCCESS;
    }
    let place = place(args);
    warn(&format!(
        "{place}: whoever read the records went away, so nothing could be told any more"
    ));
    ExitCode::from(UNREAD)
}

/// Of two failures, the first is said and the second left to say.
fn both(one: anyhow::Result<()>, other: anyhow::Result<()>) -> anyhow::Result<()> {
    match (one, other) {
        (Err(one), Err(other)) => {
            warn(&format!("{one:#}"));
            Err(other)
        }
        (one, other) => one.and(other),
    }
}

/// Says something on standard error. Where that cannot be written, there is nobody to tell.
fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "vethwatch: {text}");
}
