//! Findings to alerts: one alert per finding, that opens, grows and closes.

use crate::container::ContainerIdentity;
use crate::detect::{Finding, Severity};
use crate::event::Endpoint;
use crate::time::Timestamp;

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AlertState {
    /// First report.
    Open,
    /// It grew by an order of magnitude, or in severity.
    Update,
    /// What it was about is over.
    Close,
}

impl AlertState {
    /// As in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Close => "close",
        }
    }
}

/// An alert as it is reported.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Packet time at which the evidence sufficed.
    pub at: Timestamp,
    /// Stable over the alert's life and over runs: UUID form.
    pub uid: String,
    /// Where in its life.
    pub state: AlertState,
    /// Which detector.
    pub detector: &'static str,
    /// Whose traffic.
    pub container: ContainerIdentity,
    /// The container's end.
    pub source: Endpoint,
    /// The interface that saw it.
    pub interface: Option<Box<str>>,
    /// What and why. `severity` here is the highest so far.
    pub finding: Finding,
    /// Last time the behaviour was seen.
    pub last_seen: Timestamp,
    /// Times that the detector raised it.
    pub count: u64,
    /// Frames lost by the capture over frames seen, 0 to 1.
    pub drop_ratio: f64,
    /// Snap length of the capture in bytes.
    pub snaplen: u32,
}

impl Alert {
    /// How much to care.
    pub const fn severity(&self) -> Severity {
        self.finding.severity
    }

    /// The finding's title with the container's name in it.
    pub fn title(&self) -> String {
        self.finding.title.replace("{container}", &self.container.label())
    }
}
