//! Commands that print what is built in.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::{AdsArgs, ConfigArgs};
use crate::config::nearest;
use crate::detect::DETECTORS;

/// `vethwatch config`
///
/// # Errors
/// The configuration file cannot be used.
pub fn config(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = super::load_config(args.config.as_deref())?;
    super::reload::warn_of_expired(&config);
    print(&config.to_documented_toml())
}

/// `vethwatch schema`
///
/// # Errors
/// Standard output cannot be written.
pub fn schema() -> anyhow::Result<ExitCode> {
    print(crate::output::schema())
}

/// `vethwatch ads`
///
/// # Errors
/// There is no such detector.
pub fn ads(args: &AdsArgs) -> anyhow::Result<ExitCode> {
    let Some(name) = &args.detector else {
        let width = DETECTORS.iter().map(|detector| detector.id.len()).max().unwrap_or(0);
        let list: String = DETECTORS
            .iter()
            .map(|detector| format!("{:width$}  {}\n", detector.id, title(detector.ads)))
            .collect();
        return print(&list);
    };
    match DETECTORS.iter().find(|detector| detector.id == name) {
        Some(detector) => print(detector.ads),
        None => {
            let ids: Vec<&str> = DETECTORS.iter().map(|detector| detector.id).collect();
            match nearest(name, &ids) {
                Some(near) => bail!("no detector is called `{name}`; did you mean `{near}`?"),
                None => bail!("no detector is called `{name}`; there are: {}", ids.join(", ")),
            }
        }
    }
}

/// First line of a strategy document, without its marks.
fn title(ads: &str) -> &str {
    ads.lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim_start_matches(['#', ' '])
}

/// Prints; a reader that has seen enough is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match write!(stdout, "{text}{newline}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
