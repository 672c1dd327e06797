//! `vethwatch doctor`: what each mode can and cannot do here, before anything runs.

mod checks;
mod machine;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::cli::{DoctorArgs, DoctorFormat, Mode};
use crate::output::Look;

/// How well something can be done. The worst counts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Verdict {
    Ok,
    Degraded,
    Cannot,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Cannot => "cannot",
        }
    }
}

const ALL: &[Mode] = &[Mode::Replay, Mode::Sidecar, Mode::Node];
const LIVE: &[Mode] = &[Mode::Sidecar, Mode::Node];
const SIDECAR: &[Mode] = &[Mode::Sidecar];
const NODE: &[Mode] = &[Mode::Node];

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    name: &'static str,
    /// The modes that it matters to.
    modes: &'static [Mode],
    verdict: Verdict,
    /// What is there.
    found: String,
    /// What to do about it; empty where nothing has to be done.
    remedy: String,
}

impl Check {
    fn ok(name: &'static str, modes: &'static [Mode], found: impl Into<String>) -> Self {
        Self { name, modes, verdict: Verdict::Ok, found: found.into(), remedy: String::new() }
    }

    fn bad(
        name: &'static str,
        modes: &'static [Mode],
        verdict: Verdict,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name, modes, verdict, found: found.into(), remedy: remedy.into() }
    }
}

/// Looks, and says.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let modes: Vec<Mode> = if args.modes.is_empty() { ALL.to_vec() } else { args.modes.clone() };
    let mut checks = checks::all(&args.sources);
    checks.retain(|check| check.modes.iter().any(|mode| modes.contains(mode)));
    let verdicts: BTreeMap<Mode, Verdict> =
        modes.iter().map(|mode| (*mode, verdict(&checks, *mode))).collect();
    let usual = if io::stdout().is_terminal() { DoctorFormat::Table } else { DoctorFormat::Json };
    let text = match args.format.unwrap_or(usual) {
        DoctorFormat::Table => table(&verdicts, &checks, Look::of_stdout().width),
        DoctorFormat::Json => document(&verdicts, &checks).to_string() + "\n",
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has seen enough is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let worst = verdicts.values().max().copied().unwrap_or(Verdict::Ok);
    Ok(ExitCode::from(worst as u8))
}

fn verdict(checks: &[Check], mode: Mode) -> Verdict {
    let of_mode = checks.iter().filter(|check| check.modes.contains(&mode));
    of_mode.map(|check| check.verdict).max().unwrap_or(Verdict::Ok)
}

fn document(verdicts: &BTreeMap<Mode, Verdict>, checks: &[Check]) -> Value {
    let checks: Vec<Value> = checks
        .iter()
        .map(|check| {
            let modes: Vec<&str> = check.modes.iter().map(|mode| mode.as_str()).collect();
            let mut line = json!({
                "check": check.name,
                "modes": modes,
                "verdict": check.verdict.as_str(),
                "found": check.found,
            });
            if !check.remedy.is_empty() {
                line["remedy"] = check.remedy.clone().into();
            }
            line
        })
        .collect();
    let modes: serde_json::Map<String, Value> = verdicts
        .iter()
        .map(|(mode, verdict)| (mode.as_str().to_owned(), verdict.as_str().into()))
        .collect();
    json!({ "version": env!("CARGO_PKG_VERSION"), "modes": modes, "checks": checks })
}

/// The modes first, then what was looked at, then what to do.
fn table(verdicts: &BTreeMap<Mode, Verdict>, checks: &[Check], width: usize) -> String {
    let mut text = String::new();
    for (mode, verdict) in verdicts {
        let means = match verdict {
            Verdict::Ok => "can run fully",
            Verdict::Degraded => "can run, with less than it could do",
            Verdict::Cannot => "cannot run",
        };
        let _ = writeln!(text, "{:8} {:9} {means}", mode.as_str(), verdict.as_str());
    }
    text.push('\n');
    let for_modes = |check: &Check| {
        let modes: Vec<&str> = check.modes.iter().map(|mode| mode.as_str()).collect();
        if modes.len() == ALL.len() { "all".to_owned() } else { modes.join(", ") }
    };
    let names = checks.iter().map(|check| check.name.width()).max().unwrap_or(0);
    for check in checks {
        let head = format!("{:names$}  {:8}  ", check.name, check.verdict.as_str());
        let indent = " ".repeat(head.width());
        let found = format!("{} [{}]", check.found, for_modes(check));
        let options =
            textwrap::Options::new(width).initial_indent(&head).subsequent_indent(&indent);
        text.push_str(&textwrap::fill(&found, &options));
        text.push('\n');
    }
    let remedies: Vec<&Check> = checks.iter().filter(|check| !check.remedy.is_empty()).collect();
    if !remedies.is_empty() {
        text.push_str("\nWhat to do:\n");
    }
    for check in remedies {
        let options = textwrap::Options::new(width).initial_indent("- ").subsequent_indent("  ");
        text.push_str(&textwrap::fill(&format!("{}: {}", check.name, check.remedy), &options));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_only_for_its_modes() {
        let checks = [
            Check::ok("kernel", ALL, "Linux 6.18"),
            Check::bad("sockets", NODE, Verdict::Degraded, "none", "mount one"),
            Check::bad("capture", LIVE, Verdict::Cannot, "refused", "add NET_RAW"),
        ];
        assert_eq!(verdict(&checks, Mode::Replay), Verdict::Ok);
        assert_eq!(verdict(&checks[..2], Mode::Sidecar), Verdict::Ok);
        assert_eq!(verdict(&checks[..2], Mode::Node), Verdict::Degraded);
        assert_eq!(verdict(&checks, Mode::Node), Verdict::Cannot);
        let verdicts = ALL.iter().map(|mode| (*mode, verdict(&checks, *mode))).collect();
        let text = table(&verdicts, &checks, 60);
        assert!(text.contains("node     cannot    cannot run\n"), "{text}");
        assert!(text.contains("capture  cannot    refused [sidecar, node]\n"), "{text}");
        assert!(text.contains("- capture: add NET_RAW\n"), "{text}");
        assert_eq!(document(&verdicts, &checks)["modes"]["node"], "cannot");
    }
}
