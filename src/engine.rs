//! The straight line: frame, packet, flow, protocol, event, detector, alert, record.

use crate::config::Config;
use crate::decode::Frame;
use crate::event::LinkId;
use crate::record::{Output, Stats};
use crate::time::Timestamp;

/// All that the engine can learn from the outside. Every variant brings its own time.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// One captured frame.
    Frame {
        /// Where it was captured.
        link: LinkId,
        /// The frame.
        frame: Frame<'a>,
    },
    /// No frame older than `at` will follow: lets windows end on a quiet link.
    Tick {
        /// Capture time, less the capture's lag.
        at: Timestamp,
    },
}

/// Why the engine refuses a configuration. Each message names the key and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A detector's own table.
    #[error("[detect.{id}]: {source}")]
    Detector {
        /// Which.
        id: &'static str,
        /// Why.
        source: toml::de::Error,
    },
    /// No such detector.
    #[error("[detect.{0}]: no such detector")]
    UnknownDetector(String),
}

/// The whole analysis. Owns no socket, thread or clock.
pub struct Engine {
    stats: Stats,
}

impl Engine {
    /// An engine that has seen nothing.
    ///
    /// # Errors
    /// A detector's table has an unknown key or a value of the wrong type, or names no detector.
    pub fn new(_config: &Config) -> Result<Self, ConfigError> {
        Ok(Self { stats: Stats::default() })
    }

    /// Names an interface for records, and says how the container behind it was found.
    pub fn name_link(&mut self, _link: LinkId, _name: &str) {}

    /// Takes one input and hands on what it proves. Never fails, never blocks, reads no clock.
    pub fn handle(&mut self, _input: Input<'_>, _output: &mut dyn Output) {}

    /// The capture is over: closes flows, findings and counters.
    pub fn finish(&mut self, _output: &mut dyn Output) {}

    /// Counts so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}
