//! The configuration: one TOML file, one table per layer.
//!
//! `deploy/vethwatch.toml` has every key with its meaning and default. It is made from the doc
//! comments and defaults of the `Settings` structs, and a test keeps it so.

pub mod capture;
mod documented;
mod limits;
pub mod output;
pub mod privilege;
mod problem;

use serde::{Deserialize, Serialize};

use crate::detect::DETECTORS;
use crate::{alert, allow, baseline, config, container, decode, engine, flow, proto, state};

pub use problem::{Problem, nearest};

/// All settings, as meant. Every layer's table is its own `Settings`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[engine]`
    pub engine: engine::Settings,
    /// `[decode]`
    pub decode: decode::Settings,
    /// `[flow]`
    pub flow: flow::Settings,
    /// `[proto]`
    pub proto: proto::Settings,
    /// `[containers]`
    pub containers: container::Settings,
    /// `[baseline]`
    pub baseline: baseline::Settings,
    /// `[alert]`
    pub alert: alert::Settings,
    /// `[detect.<detector>]`: each detector's own table.
    pub detect: toml::Table,
    /// `[capture]`: live capture only.
    pub capture: config::capture::Settings,
    /// `[output]`: live capture only.
    pub output: config::output::Settings,
    /// `[privilege]`: live capture only.
    pub privilege: config::privilege::Settings,
    /// `[state]`: live capture only.
    pub state: state::Settings,
    /// `[[allow]]`
    pub allow: Vec<allow::Entry>,
}

impl Config {
    /// Reads a configuration file's text. What it does not mention keeps its default.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its line and its key.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let config: Self =
            toml::from_str(text).map_err(|error| Problem::of_document(text, &error))?;
        // First, for it knows its keys' ranges; those by unit are what no detector says itself.
        for (id, table) in &config.detect {
            Self::check_detector(text, id, table)?;
        }
        if let Err((mut path, complaint)) = config.capture.check() {
            path.insert(0, "capture".to_owned());
            return Err(Problem::at_key(text, &path, complaint));
        }
        let written = toml::Table::try_from(&config).unwrap_or_default();
        if let Some((path, complaint)) = limits::violation(&written) {
            return Err(Problem::at_key(text, &path, complaint));
        }
        let named = config.containers.named.iter();
        if let Some(number) = named.map(|named| &named.addresses).position(Vec::is_empty) {
            let path = ["containers", "named", &number.to_string(), "addresses"].map(str::to_owned);
            let complaint = "is empty: nothing would be found to be it".to_owned();
            return Err(Problem::at_key(text, &path, complaint));
        }
        for (number, entry) in config.allow.iter().enumerate() {
            entry.validate().map_err(|error| {
                let path = ["allow".to_owned(), number.to_string()];
                Problem::at_key(text, &path, error.to_string())
            })?;
        }
        Ok(config)
    }

    fn check_detector(text: &str, id: &str, table: &toml::Value) -> Result<(), Problem> {
        let path = ["detect".to_owned(), id.to_owned()];
        let Some(detector) = DETECTORS.iter().find(|detector| detector.id == id) else {
            let ids: Vec<&str> = DETECTORS.iter().map(|detector| detector.id).collect();
            return Err(Problem::unknown_key(text, &path, &ids));
        };
        let Some(table) = table.as_table() else {
            let complaint = format!("is not a table; write [detect.{id}] and its keys below");
            return Err(Problem::at_key(text, &path, complaint));
        };
        match (detector.configure)(table.clone()) {
            Ok(_) => Ok(()),
            Err(error) => Err(Problem::of_table(text, &path, &error)),
        }
    }

    /// That of each of several engines which share a node by interfaces: what traffic fills is shared out
    /// among them, so that they take no more memory than one. What they know of containers and of the
    /// node, each may know whole.
    #[must_use]
    pub fn share(&self, engines: u32) -> Self {
        let mut share = self.clone();
        for bound in [
            &mut share.flow.flows_max,
            &mut share.flow.streams_bytes_max,
            &mut share.decode.fragments_max,
            &mut share.decode.fragment_bytes_max,
            &mut share.alert.open_max,
        ] {
            *bound = bound.div_ceil(engines.max(1) as usize);
        }
        share
    }

    /// The configuration in force as a TOML document: every key, with its meaning and unit.
    pub fn to_documented_toml(&self) -> String {
        documented::document(self)
    }

    /// All that is in force as one table, the detectors' defaults included.
    pub fn to_table(&self) -> toml::Table {
        let mut table = toml::Table::try_from(self).unwrap_or_default();
        let mut detect = toml::Table::new();
        for detector in DETECTORS {
            let mut settings = (detector.defaults)();
            if let Some(toml::Value::Table(given)) = self.detect.get(detector.id) {
                settings.extend(given.clone());
            }
            detect.insert(detector.id.to_owned(), settings.into());
        }
        table.insert("detect".to_owned(), detect.into());
        table
    }
}
