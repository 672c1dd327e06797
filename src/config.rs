//! The configuration: one TOML file, one table per layer.

use serde::{Deserialize, Serialize};

use crate::{alert, allow, baseline, container, decode, engine, flow, proto};

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
    /// `[[allow]]`
    pub allow: Vec<allow::Entry>,
}
