//! What the commands do: each feeds the engine, or answers from the same tables that it uses.

pub mod info;
mod progress;
pub mod replay;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use crate::cli::{Cli, Command};
use crate::config::Config;

/// Does what the command line asks.
///
/// # Errors
/// The input, the configuration or the environment cannot be used: exit code 2.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Replay(args) => replay::run(&args),
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
