//! Detectors: one file each, one row in [`DETECTORS`].

mod allowance;
pub mod beacon;
pub mod blind_spot;
pub mod exfiltration;
pub mod known_services;
pub mod reverse_shell;

use std::any::Any;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use allowance::{Allowance, Traffic};
use blind_spot::Blindness;

use crate::baseline::Baseline;
use crate::container::Container;
use crate::event::{Endpoint, Event, EventKinds, IpProtocol, LinkId, Name, Side, Zone};
use crate::flow::Flow;
use crate::time::Timestamp;

/// Every detector, in the order in which their findings appear for one event.
pub const DETECTORS: &[Registration] = &[
    Registration::of::<reverse_shell::ReverseShell>(),
    Registration::of::<beacon::Beacon>(),
    Registration::of::<exfiltration::Exfiltration>(),
    Registration::of::<blind_spot::BlindSpot>(),
];

/// How much a person should care. `Medium` and above wake or occupy someone; the rest is context.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Context only.
    #[default]
    Info,
    /// Worth a look beside something else.
    Low,
    /// Look today.
    Medium,
    /// Look now.
    High,
    /// Act now.
    Critical,
}

impl Severity {
    /// As in records: `info` to `critical`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// EVE's inverted number: 1 for high and critical, 2 medium, 3 low, 4 info.
    pub const fn eve(self) -> u8 {
        match self {
            Self::Critical | Self::High => 1,
            Self::Medium => 2,
            Self::Low => 3,
            Self::Info => 4,
        }
    }
}

/// One thing that a detector can find: the static half of its alerts.
#[derive(Debug)]
pub struct Rule {
    /// `shell.reverse.plaintext`: never changes its meaning.
    pub id: &'static str,
    /// EVE's `signature_id`; 9100000 upwards, unique.
    pub signature_id: u32,
    /// EVE's `rev`: grows when the rule's logic changes.
    pub revision: u32,
    /// MITRE ATT&CK v19 technique ids, the primary one first.
    pub techniques: &'static [&'static str],
    /// MITRE ATT&CK v19 tactic ids.
    pub tactics: &'static [&'static str],
    /// What to do, in order.
    pub response: &'static [&'static str],
}

/// What a detector says, with all that a person needs to check it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which rule.
    pub rule: &'static Rule,
    /// What it is about (a flow, a destination): findings of one rule and subject are one alert
    /// that opens, grows and closes.
    pub subject: u64,
    /// How much to care.
    pub severity: Severity,
    /// 0 to 100.
    pub confidence: u8,
    /// The other side. The container's own endpoint comes from the flow, or from its address.
    pub peer: Endpoint,
    /// The name by which the container knows the other side (SNI, HTTP host, DNS answer), or the
    /// domain that the finding is about. Allow-lists match it.
    pub peer_name: Option<Name>,
    /// The container's address, where one flow is meant; else it is one of its own.
    pub own_ip: Option<IpAddr>,
    /// The container's port, where one flow is meant; else 0.
    pub own_port: u16,
    /// The responder's port, whichever side that is. Allow-lists match it.
    pub service_port: u16,
    /// Upper protocol.
    pub protocol: IpProtocol,
    /// [`Flow::id`], where one flow is meant.
    pub flow_id: Option<u64>,
    /// Community ID, where one flow is meant.
    pub community_id: Option<String>,
    /// The alert's title; `{container}` is replaced by the container's name:
    /// `Reverse shell: 203.0.113.9 drives a shell in {container}`.
    pub title: String,
    /// One sentence that a person can check by hand, with its numbers.
    pub why: String,
    /// The numbers, units last in their names.
    pub evidence: serde_json::Map<String, serde_json::Value>,
    /// Innocent explanations that were considered, and what speaks against this finding.
    pub against: Vec<String>,
    /// When the behaviour began.
    pub first_seen: Timestamp,
    /// When it was seen last, where that is not now.
    pub last_seen: Option<Timestamp>,
    /// How big it is (bytes, connections, commands); ten times as much is an update.
    pub magnitude: f64,
    /// The flow's beginning was not seen.
    pub midstream: bool,
    /// Bytes that are missing from the flow.
    pub gap_bytes: u64,
    /// The interface that saw it, where one flow or interface is meant; else it is the container's.
    pub link: Option<LinkId>,
}

impl Finding {
    /// A finding about one flow, from the container's side; the caller fills in the rest.
    pub fn on_flow(rule: &'static Rule, seen: &Seen<'_>) -> Self {
        let flow = seen.flow;
        Self {
            subject: flow.id,
            peer: flow.endpoint(seen.side.other()),
            peer_name: flow.name.clone().filter(|_| seen.outbound()),
            own_ip: Some(flow.endpoint(seen.side).ip),
            own_port: flow.endpoint(seen.side).port,
            service_port: flow.responder.port,
            protocol: flow.protocol,
            flow_id: Some(flow.id),
            community_id: Some(flow.community_id()),
            first_seen: flow.opened,
            midstream: flow.midstream,
            gap_bytes: flow.sides[0].gap_bytes + flow.sides[1].gap_bytes,
            link: Some(flow.link),
            ..Self::on_peer(rule, seen.flow.endpoint(seen.side.other()), flow.protocol)
        }
    }

    /// A finding about a destination; the caller fills in the rest.
    pub fn on_peer(rule: &'static Rule, peer: Endpoint, protocol: IpProtocol) -> Self {
        Self {
            rule,
            subject: 0,
            severity: Severity::Info,
            confidence: 0,
            peer,
            peer_name: None,
            own_ip: None,
            own_port: 0,
            service_port: peer.port,
            protocol,
            flow_id: None,
            community_id: None,
            title: String::new(),
            why: String::new(),
            evidence: serde_json::Map::new(),
            against: Vec::new(),
            first_seen: Timestamp::default(),
            last_seen: None,
            magnitude: 1.0,
            midstream: false,
            gap_bytes: 0,
            link: None,
        }
    }

    /// Sets the sentence and the evidence from one value, so that they cannot disagree.
    #[must_use]
    pub fn explained(mut self, evidence: &(impl Display + Serialize)) -> Self {
        self.why = evidence.to_string();
        if let Ok(serde_json::Value::Object(map)) = serde_json::to_value(evidence) {
            self.evidence = map;
        }
        self
    }
}

/// What a detector tells the alert layer.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is a finding, or it has grown. May be repeated: the alert layer reports growth only.
    Raise(Box<Finding>),
    /// What it was seen on has ended, and it may go on: what has grown since it was reported is due.
    Pause {
        /// Which rule.
        rule: &'static Rule,
        /// [`Finding::subject`].
        subject: u64,
    },
    /// What the finding was about is over.
    Close {
        /// Which rule.
        rule: &'static Rule,
        /// [`Finding::subject`].
        subject: u64,
    },
}

/// One event with all that a detector may ask about it.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Packet time.
    pub at: Timestamp,
    /// The side on which this container stands.
    pub side: Side,
    /// The flow, counters up to and including this packet.
    pub flow: &'a Flow,
    /// The container: its age, names, destinations.
    pub container: &'a Container,
    /// What is usual on this node.
    pub node: &'a Baseline,
    /// What someone decided not to see.
    pub allow: &'a dyn Allowance,
}

impl Seen<'_> {
    /// The container opened the flow.
    pub const fn outbound(&self) -> bool {
        matches!(self.side, Side::Originator)
    }

    /// The other end.
    pub const fn peer(&self) -> Endpoint {
        self.flow.endpoint(self.side.other())
    }

    /// Where the other end lies, configured networks included.
    pub const fn peer_zone(&self) -> Zone {
        self.flow.zones[self.side.other().index()]
    }

    /// Payload from the container to the peer, and from the peer to the container (bytes).
    pub const fn sent_received(&self) -> (u64, u64) {
        (self.flow.payload_bytes(self.side), self.flow.payload_bytes(self.side.other()))
    }
}

/// The running half: one instance per container, fed in packet-time order.
pub trait Detector: Any + Send {
    /// Takes one event into the state.
    fn observe(&mut self, seen: &Seen<'_>, event: &Event<'_>, verdicts: &mut Vec<Verdict>);

    /// The minute that ends at `at` is complete. Called once a minute of packet time on a grid from
    /// the epoch, for containers that had traffic in the last day.
    fn end_minute(
        &mut self,
        _at: Timestamp,
        _container: &Container,
        _node: &Baseline,
        _verdicts: &mut Vec<Verdict>,
    ) {
    }

    /// The host says that traffic of this container passes unseen, and why (live).
    fn blinded(&mut self, _at: Timestamp, _why: Blindness, _verdicts: &mut Vec<Verdict>) {}

    /// The host says that what this rule says of it is over.
    fn seen_again(&mut self, _rule: &'static Rule, _verdicts: &mut Vec<Verdict>) {}

    /// What the container's workload is to be known by after a restart, and to its successor: what is
    /// usual for it, no open findings.
    fn remember(&self) -> Option<Box<RawValue>> {
        None
    }

    /// Takes that up; the container may have been seen for a moment already. Called once at most.
    fn recall(&mut self, _at: Timestamp, _container: &Container, _memory: &RawValue) {}

    /// What it had to forget early, because a bound of its own was hit, so far (count).
    fn forgotten(&self) -> u64 {
        0
    }

    /// The findings that are open are about to be told for the last time, with what they grew to.
    fn sum_up(&mut self, _container: &Container, _node: &Baseline, _verdicts: &mut Vec<Verdict>) {}

    /// The capture is over, and every flow was closed: what a finding waited for will not come.
    fn end_capture(&mut self, _verdicts: &mut Vec<Verdict>) {}
}

/// The static half: what the table, the configuration and the manual need.
pub trait Describe: Detector + Sized + 'static {
    /// Names the config table `[detect.<ID>]`, the alert field and the manual page.
    const ID: &'static str;
    /// All that it can find.
    const RULES: &'static [&'static Rule];
    /// Its alerting and detection strategy document, in Markdown.
    const ADS: &'static str;
    /// What [`Detector::observe`] is told of: most need little of what there is to hear.
    const HEARS: EventKinds;
    /// The detector's own table.
    type Settings: Default + DeserializeOwned + Serialize + Send + Sync + Clone + 'static;
    /// One instance, for one container.
    fn new(settings: &Self::Settings) -> Self;
    /// The settings of an instance. Others may be put in their place between two events: they judge
    /// what comes. Bounds stay as they were made.
    fn settings(&mut self) -> &mut Self::Settings;
    /// Refuses settings with which it would find nothing, or everything.
    ///
    /// # Errors
    /// The key, what it is, and what it must be (see [`within`]).
    fn check(_settings: &Self::Settings) -> Result<(), String> {
        Ok(())
    }
}

/// Refuses a setting outside its range.
///
/// # Errors
/// The key, what it is, and what it must be.
pub fn within(key: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), String> {
    let (least, most) = (range.start(), range.end());
    if range.contains(&value) {
        Ok(())
    } else if most.is_infinite() {
        Err(format!("`{key}` is {value}; it must be {least} or more"))
    } else {
        Err(format!("`{key}` is {value}; it must be from {least} to {most}"))
    }
}

/// A detector with its settings.
pub trait Factory: Send + Sync {
    /// The instance for a new container.
    fn make(&self) -> Box<dyn Detector>;
    /// Gives these settings to an instance that was made with others. [`Describe::settings`]
    fn retune(&self, detector: &mut dyn Detector);
}

struct Configured<D: Describe>(D::Settings);

impl<D: Describe> Factory for Configured<D> {
    fn make(&self) -> Box<dyn Detector> {
        Box::new(D::new(&self.0))
    }

    fn retune(&self, detector: &mut dyn Detector) {
        let detector: &mut dyn Any = detector;
        if let Some(detector) = detector.downcast_mut::<D>() {
            detector.settings().clone_from(&self.0);
        }
    }
}

/// One row of [`DETECTORS`].
pub struct Registration {
    /// See [`Describe::ID`].
    pub id: &'static str,
    /// See [`Describe::RULES`].
    pub rules: &'static [&'static Rule],
    /// See [`Describe::ADS`].
    pub ads: &'static str,
    /// See [`Describe::HEARS`].
    pub hears: EventKinds,
    /// Reads the detector's own table.
    pub configure: fn(toml::Table) -> Result<Box<dyn Factory>, toml::de::Error>,
    /// The defaults of the detector's own table.
    pub defaults: fn() -> toml::Table,
}

impl Registration {
    /// The row of a detector.
    pub const fn of<D: Describe>() -> Self {
        Self {
            id: D::ID,
            rules: D::RULES,
            ads: D::ADS,
            hears: D::HEARS,
            configure: configure::<D>,
            defaults: || toml::Table::try_from(D::Settings::default()).unwrap_or_default(),
        }
    }
}

fn configure<D: Describe>(table: toml::Table) -> Result<Box<dyn Factory>, toml::de::Error> {
    let settings: D::Settings = table.try_into()?;
    D::check(&settings).map_err(serde::de::Error::custom)?;
    Ok(Box::new(Configured::<D>(settings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_switch_a_detector_off_are_refused() {
        for (id, text, expected) in [
            ("beacon", "collapse_scales_s = []", Some("`collapse_scales_s`")),
            ("beacon", "collapse_scales_s = [-1.0]", Some("`collapse_scales_s`")),
            ("beacon", "jitter_cv_max = 0.0", Some("`jitter_cv_max`")),
            ("beacon", "score_low_min = 101", Some("`score_low_min`")),
            ("beacon", "siblings_share = 0.0", Some("`siblings_share`")),
            ("beacon", "collapse_scales_s = [0.0]", None),
            ("exfiltration", "doubtful_factor = 0.0", Some("`doubtful_factor`")),
            ("exfiltration", "producer_consumer_ratio_min = 1.0", Some("from -1 to 0.99")),
            ("exfiltration", "explained_factor = inf", Some("`explained_factor`")),
            ("exfiltration", "cold_start_bytes = 1", None),
            ("reverse_shell", "silences_min = 0", Some("`silences_min` is 0; it must be from 1")),
        ] {
            let row = DETECTORS.iter().find(|row| row.id == id).unwrap();
            let said = (row.configure)(text.parse().unwrap()).err().map(|error| error.to_string());
            match expected {
                Some(expected) => assert!(said.is_some_and(|s| s.contains(expected)), "{text}"),
                None => assert_eq!(said, None, "{text}"),
            }
        }
        for row in DETECTORS {
            assert!((row.configure)((row.defaults)()).is_ok(), "{}", row.id);
        }
    }
}
