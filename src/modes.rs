//! What the commands do: each feeds the engine, or answers from the same tables that it uses.

pub mod info;
mod progress;
pub mod replay;
pub mod sidecar;

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};

use crate::cli::{Cli, Command, ResultArgs};
use crate::config::Config;
use crate::output::{Events, Look, OUTPUTS, Options, Sink, eve, table};

/// Does what the command line asks.
///
/// # Errors
/// The input, the configuration or the environment cannot be used: exit code 2.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Replay(args) => replay::run(&args),
        Command::Sidecar(args) => sidecar::run(&args),
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

/// An output in the asked format. On a terminal that is a report, unless it goes to a file.
fn output(args: &ResultArgs) -> anyhow::Result<Box<dyn Sink>> {
    let (writer, look): (Box<dyn Write>, Look) = match &args.output {
        None => (Box::new(io::stdout()), Look::of_stdout()),
        Some(path) => {
            let file = File::create(path).with_context(|| {
                format!("{}: cannot be written; check the path given with --output", path.display())
            })?;
            (Box::new(file), Look { width: Look::WIDTH, colour: false })
        }
    };
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
    let format = format.with_context(|| format!("there is no format `{name}`"))?;
    Ok((format.make)(Options { events: args.events.unwrap_or(Events::ALL), look }, writer))
}

/// Fails if records could not be written.
fn check_written(output: &mut dyn Sink, args: &ResultArgs) -> anyhow::Result<()> {
    let Some(error) = output.take_error() else { return Ok(()) };
    let place =
        args.output.as_deref().map_or("standard output".into(), |path| path.display().to_string());
    bail!("{place}: the records cannot be written: {error}; check its space and permissions")
}

/// Says something on standard error. Where that cannot be written, there is nobody to tell.
fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "vethwatch: {text}");
}
