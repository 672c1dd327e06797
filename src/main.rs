//! The `vethwatch` command: arguments in, exit code out.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use vethwatch::cli::Cli;
use vethwatch::modes;

/// The input, the configuration or the environment cannot be used.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    modes::run(Cli::parse()).unwrap_or_else(|error| {
        // `{:#}`: with its causes, on one line. If standard error is closed, the code must do.
        let _ = writeln!(io::stderr(), "vethwatch: error: {error:#}");
        ExitCode::from(UNUSABLE)
    })
}
