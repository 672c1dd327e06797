//! SIGHUP: the configuration read anew while a live mode runs.
//!
//! The allow-list, the detectors' settings and the interval of the `stats` records change at once.
//! Bounds and captures are built once: of these, a change is named and waits for the next start.

use std::path::Path;

use toml::Table;

use super::warn;
use crate::capture::live::now;
use crate::config::Config;
use crate::engine::Engine;

/// Keys and tables whose changes are taken while running.
const TAKEN: [&str; 3] = ["allow", "detect", "output.stats_interval_s"];

/// What is in force.
pub(super) struct Reload<'a> {
    path: Option<&'a Path>,
    /// As started.
    started: Table,
}

impl<'a> Reload<'a> {
    /// The configuration as it was read at the start.
    pub(super) fn new(path: Option<&'a Path>, config: &Config) -> Self {
        warn_of_expired(config);
        Self { path, started: config.to_table() }
    }

    /// Reads the file again. Returns the configuration, of which [`TAKEN`] is to be taken; what is wrong with it, and
    /// what has to wait, is said on standard error.
    pub(super) fn reload(&self) -> Option<Config> {
        let Some(path) = self.path else {
            warn("SIGHUP: there is no file to read again; give one with --config");
            return None;
        };
        // To read a pipe would wait for whoever writes to it, and packets do not wait.
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            let path = path.display();
            warn(&format!(
                "SIGHUP: {path}: it is no plain file and not read again; the configuration before it \
                 stays in force"
            ));
            return None;
        }
        let config = match super::load_config(self.path) {
            Ok(config) => config,
            Err(error) => {
                warn(&format!("SIGHUP: {error:#}; the configuration before it stays in force"));
                return None;
            }
        };
        let entries = config.allow.len();
        warn(&format!("SIGHUP: the configuration was read again; allow-list entries: {entries}"));
        warn_of_expired(&config);
        let waiting = waiting(&self.started, &config.to_table());
        if !waiting.is_empty() {
            warn(&format!("SIGHUP: these changes wait for the next start: {}", waiting.join(", ")));
        }
        Some(config)
    }
}

/// Gives an engine what it can take.
pub(super) fn give(config: &Config, engine: &mut Engine) {
    if let Err(error) = engine.reconfigure(config) {
        warn(&format!("SIGHUP: {error}; allow-list and detectors stay as they are"));
    }
}

/// An entry that has expired silences nothing: better said now than by the finding.
pub(super) fn warn_of_expired(config: &Config) {
    let now = now();
    for entry in config.allow.iter().filter(|entry| entry.expired(now)) {
        let until = entry.expires.map(|date| date.to_string()).unwrap_or_default();
        let reason = &entry.reason;
        warn(&format!(
            "allow-list entry `{entry}` ({reason}) expired on {until}: it silences nothing; renew or \
             remove it"
        ));
    }
}

/// The keys that differ from what was started with, and are not taken while running.
fn waiting(started: &Table, now: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    differing("", started, now, &mut keys);
    let is_taken = |key: &str| {
        TAKEN.iter().any(|taken| {
            key.strip_prefix(taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    keys.retain(|key| !is_taken(key));
    keys
}

fn differing(path: &str, one: &Table, other: &Table, keys: &mut Vec<String>) {
    let all = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    for key in all {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (one.get(key), other.get(key)) {
            (Some(toml::Value::Table(one)), Some(toml::Value::Table(other))) => {
                differing(&full, one, other, keys);
            }
            (one, other) if one != other => keys.push(full),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_waits_for_the_next_start() {
        let of = |text: &str| Config::parse(text).unwrap().to_table();
        for (text, expected) in [
            ("", ""),
            ("[[allow]]\nreason = \"r\"\nowner = \"o\"\nport = 1\n", ""),
            ("[output]\nstats_interval_s = 1\nqueue_bytes = 9\n", "output.queue_bytes"),
            ("[flow]\nflows_max = 9\n[detect.beacon]\nscore_low_min = 9\n", "flow.flows_max"),
        ] {
            let mut keys = waiting(&of(""), &of(text));
            keys.sort();
            assert_eq!(keys.join(" "), expected, "{text}");
        }
    }
}
