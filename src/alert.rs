//! Findings to alerts: one alert per finding, that opens, grows and closes.

mod capture;

use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

pub use self::capture::{CaptureState, Inputs};
use crate::allow::{self, AllowList};
use crate::bounded::BoundedMap;
use crate::container::{Container, ContainerIdentity};
use crate::detect::{Finding, Rule, Severity};
use crate::event::{Endpoint, LinkId};
use crate::time::Timestamp;

/// `[alert]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Alerts remembered so that they can grow and close (count); the longest quiet goes first.
    pub open_max: usize,
    /// Live, on a node: a finding waits so long for the name of a container that is still being
    /// asked for (seconds); then it is reported by its pod or as pending, and again when it is known.
    pub pending_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { open_max: 4_096, pending_s: 5 }
    }
}

/// A finding about a container that has just begun waits so long for others of its pod to become known
/// (seconds): processes are looked at 0.1 s after an event, and told within as much again.
const SETTLES_S: f64 = 0.5;

/// An alert is reported again when it is this many times as big.
const GROWTH: f64 = 10.0;

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AlertState {
    /// First report.
    Open,
    /// It grew by an order of magnitude, or in severity; or it has grown, and pauses.
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
    /// The interface that saw it first.
    pub link: LinkId,
    /// What and why. `severity` here is the highest so far.
    pub finding: Finding,
    /// Last time the behaviour was seen.
    pub last_seen: Timestamp,
    /// Times that the detector raised it.
    pub count: u64,
    /// What the capture said of itself when this was last reported.
    pub capture: CaptureState,
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

/// Turns what detectors say into alerts.
#[derive(Debug)]
pub struct Alerts {
    open: BoundedMap<Key, Open>,
    allow: AllowList,
    pending_s: u64,
    emitted: u64,
    silenced: u64,
    capture: CaptureState,
}

/// A finding's identity: container, rule, subject.
type Key = (u32, u32, u64);

#[derive(Debug)]
struct Open {
    alert: Alert,
    reported_magnitude: f64,
    /// [`Alert::count`] when it was last reported; 0 before that.
    reported_count: u64,
    /// Pauses after which there was something to report (count).
    pauses: u32,
    /// By the allow-list, when it was last asked.
    silenced: bool,
    /// Sightings when a report of it was last silenced (count); 0 for never.
    silenced_count: u64,
    /// It waits for its container's name.
    held: bool,
    /// When it was found.
    since: Timestamp,
}

impl Open {
    /// Who else may have done it becomes known within moments, or its container's name may.
    fn waits(&self, at: Timestamp, pending_s: u64) -> bool {
        let waited_s = at.seconds_since(self.since);
        let container = &self.alert.container;
        container.is_awaited() && waited_s < pending_s as f64
            || container.is_young(self.alert.finding.first_seen) && waited_s < SETTLES_S
    }
}

/// Reports an alert whose container has become known, or will not.
fn report(
    open: &mut Open,
    at: Timestamp,
    allow: &mut AllowList,
    capture: CaptureState,
) -> Option<Alert> {
    let first = std::mem::take(&mut open.held);
    if !first && open.reported_count == 0 && open.silenced_count == 0 {
        return None;
    }
    open.silenced = allow.silences(&open.alert);
    if open.silenced {
        open.silenced_count = open.alert.count;
        return None;
    }
    let alert = &mut open.alert;
    alert.at = alert.at.max(at);
    alert.state =
        if first || open.reported_count == 0 { AlertState::Open } else { AlertState::Update };
    alert.capture = capture;
    open.reported_count = alert.count;
    Some(alert.clone())
}

/// The first found first.
fn sort(alerts: &mut [Alert]) {
    alerts.sort_by(|one, other| {
        (one.finding.first_seen, &one.uid).cmp(&(other.finding.first_seen, &other.uid))
    });
}

impl Alerts {
    /// None open.
    pub fn new(settings: &Settings, allow: AllowList) -> Self {
        Self {
            open: BoundedMap::new(settings.open_max),
            allow,
            pending_s: settings.pending_s,
            emitted: 0,
            silenced: 0,
            capture: CaptureState::default(),
        }
    }

    /// What the capture says of itself from now on.
    pub const fn note_capture(&mut self, capture: CaptureState) {
        self.capture = capture;
    }

    /// Takes a finding. Returns an alert to report: the finding is new, or has grown.
    pub fn raise(
        &mut self,
        at: Timestamp,
        detector: &'static str,
        container: &Container,
        finding: Finding,
    ) -> Option<&Alert> {
        let key = (container.number, finding.rule.signature_id, finding.subject);
        let known = self.open.peek(&key).is_some();
        let open = self.open.get_or_insert_with(key, || Open {
            reported_magnitude: finding.magnitude,
            reported_count: 0,
            pauses: 0,
            alert: Alert::new(at, detector, container, finding.clone()),
            silenced: false,
            silenced_count: 0,
            held: false,
            since: at,
        });
        let alert = &mut open.alert;
        if known {
            let worse = finding.severity > alert.finding.severity;
            let grown = finding.magnitude >= open.reported_magnitude * GROWTH;
            let severity = finding.severity.max(alert.finding.severity);
            // It may be raised on another flow than before, and what was missed there is missed still.
            let gap_bytes = finding.gap_bytes.max(alert.finding.gap_bytes);
            alert.at = alert.at.max(at);
            alert.count += 1;
            alert.last_seen = finding.last_seen.unwrap_or(at);
            alert.finding = finding;
            alert.container.follow(&container.identity);
            alert.finding.severity = severity;
            alert.finding.gap_bytes = gap_bytes;
            alert.state = AlertState::Update;
            // What silenced it may have expired while it went on.
            let heard = open.silenced && !self.allow.covers(alert);
            if !worse && !grown && !heard {
                return None;
            }
            open.reported_magnitude = alert.finding.magnitude;
        }
        // Whose it is decides whether it is silenced, too.
        open.held = open.reported_count == 0 && open.waits(at, self.pending_s);
        let alert = &mut open.alert;
        if open.held {
            return None;
        }
        let was_silenced = std::mem::replace(&mut open.silenced, self.allow.silences(alert));
        if open.silenced {
            self.silenced += u64::from(!was_silenced);
            open.silenced_count = open.alert.count;
            return None;
        }
        if open.reported_count == 0 {
            alert.state = AlertState::Open;
        }
        open.reported_count = alert.count;
        open.alert.capture = self.capture;
        self.emitted += 1;
        Some(&open.alert)
    }

    /// A finding of medium severity or more is open, and no allow-list silences it.
    pub fn is_told(&self, container: &Container, (rule, subject): (&Rule, u64)) -> bool {
        let open = self.open.peek(&(container.number, rule.signature_id, subject));
        open.is_some_and(|open| !open.silenced && open.alert.severity() >= Severity::Medium)
    }

    /// What a finding was seen on has ended, and it may go on. Returns what was not reported yet: after
    /// the first such pause, the second, the fourth and so on, for a shell may take a connection for
    /// each of its commands.
    pub fn pause(
        &mut self,
        at: Timestamp,
        container: &Container,
        rule: &'static Rule,
        subject: u64,
    ) -> Option<Alert> {
        let open = self.open.peek_mut(&(container.number, rule.signature_id, subject))?;
        // What is silenced takes the same way, to be counted as often as it would have been told.
        let told_count = if open.silenced { open.silenced_count } else { open.reported_count };
        if told_count == 0 || open.alert.count == told_count {
            return None;
        }
        open.pauses = open.pauses.saturating_add(1);
        if !open.pauses.is_power_of_two() {
            return None;
        }
        let alert = report(open, at, &mut self.allow, self.capture)?;
        open.reported_magnitude = open.reported_magnitude.max(alert.finding.magnitude);
        self.emitted += 1;
        Some(alert)
    }

    /// What a finding was about is over. Returns the alert's last form, if it was reported.
    pub fn close(
        &mut self,
        at: Timestamp,
        container: &Container,
        rule: &'static Rule,
        subject: u64,
    ) -> Option<Alert> {
        let open = self.open.remove(&(container.number, rule.signature_id, subject))?;
        self.last_form(at, open)
    }

    /// A container is gone: the last forms of its alerts that were reported, the first found first.
    pub fn end(&mut self, at: Timestamp, container: &Container) -> Vec<Alert> {
        let mut ended = Vec::new();
        for key in self.of(container.number) {
            let open = self.open.remove(&key);
            ended.extend(open.and_then(|open| self.last_form(at, open)));
        }
        sort(&mut ended);
        ended
    }

    fn last_form(&mut self, at: Timestamp, mut open: Open) -> Option<Alert> {
        // Who was told of it is told of its end; and nobody was told of one that waited for a name.
        // What the host tells is dated by the clock, which is ahead of the packets: an end comes no earlier.
        let at = open.alert.at.max(at);
        let due = open.held && !self.allow.silences(&open.alert);
        if open.reported_count == 0 && !due {
            if open.silenced_count > 0 {
                self.allow.silences(&Alert { at, state: AlertState::Close, ..open.alert });
            }
            return None;
        }
        open.alert.at = at;
        self.allow.count_expired(&open.alert);
        if due {
            open.alert.capture = self.capture;
        }
        self.emitted += 1;
        Some(Alert { at, state: AlertState::Close, ..open.alert })
    }

    /// More is known of who a container is. Returns its alerts that waited for it, and those that
    /// were reported without it, the first found first.
    pub fn identify(&mut self, at: Timestamp, container: &Container) -> Vec<Alert> {
        let mut told = Vec::new();
        for key in self.of(container.number) {
            let Some(open) = self.open.peek_mut(&key) else { continue };
            let known = &mut open.alert.container;
            let before = known.clone();
            known.learn(&container.identity, open.since);
            let same = known.reads_like(&before);
            if !open.held && same || open.held && open.waits(at, self.pending_s) {
                continue;
            }
            told.extend(report(open, at, &mut self.allow, self.capture));
        }
        self.emitted += told.len() as u64;
        sort(&mut told);
        told
    }

    /// The alerts that have waited long enough for a name.
    pub fn overdue(&mut self, at: Timestamp) -> Vec<Alert> {
        let mut told = Vec::new();
        for (_, open) in self.open.iter_mut() {
            if open.held && !open.waits(at, self.pending_s) {
                told.extend(report(open, at, &mut self.allow, self.capture));
            }
        }
        self.emitted += told.len() as u64;
        sort(&mut told);
        told
    }

    fn of(&self, container: u32) -> Vec<Key> {
        self.open.iter().map(|(key, _)| *key).filter(|(number, ..)| *number == container).collect()
    }

    /// The capture is over: the open alerts that were raised since they were last reported, in their
    /// last form, the first found first.
    pub fn unreported(&mut self, at: Timestamp) -> Vec<Alert> {
        let mut unreported: Vec<Alert> = self
            .open
            .iter()
            .filter(|(_, open)| !open.silenced && open.alert.count > open.reported_count)
            .map(|(_, open)| Alert {
                at: open.alert.at.max(at),
                state: if open.held { AlertState::Open } else { AlertState::Update },
                capture: self.capture,
                ..open.alert.clone()
            })
            .collect();
        sort(&mut unreported);
        self.emitted += unreported.len() as u64;
        unreported
    }

    /// Asks these entries from now on: open findings too, when they are raised again.
    pub fn set_allow_list(&mut self, entries: &[allow::Entry]) {
        self.allow.replace(entries);
    }

    /// The allow-list, with what each entry has silenced.
    pub const fn allow_list(&self) -> &AllowList {
        &self.allow
    }

    /// Alerts reported (count of records).
    pub const fn emitted(&self) -> u64 {
        self.emitted
    }

    /// Findings that an allow-list entry silenced (count).
    pub const fn silenced(&self) -> u64 {
        self.silenced
    }

    /// Open alerts forgotten to make room (count).
    pub const fn evicted(&self) -> u64 {
        self.open.evicted()
    }
}

impl Alert {
    fn new(at: Timestamp, detector: &'static str, container: &Container, finding: Finding) -> Self {
        let ip = finding.own_ip.unwrap_or_else(|| own_address(container, &finding));
        let source = Endpoint { ip, port: finding.own_port };
        Self {
            at,
            uid: uid(container, &finding, source),
            state: AlertState::Open,
            detector,
            container: container.identity.of_finding(finding.first_seen),
            source,
            link: finding.link.or(container.link).unwrap_or_default(),
            last_seen: finding.last_seen.unwrap_or(at),
            count: 1,
            capture: CaptureState::default(),
            finding,
        }
    }
}

/// The container's address of the peer's IP version.
fn own_address(container: &Container, finding: &Finding) -> IpAddr {
    let same_version = |ip: &&IpAddr| ip.is_ipv6() == finding.peer.ip.is_ipv6();
    container.addresses.iter().find(same_version).copied().unwrap_or(container.identity.ip)
}

/// A name for a finding that is the same in every run over the same packets: a hash of container,
/// rule, both ends and the time of the first packet, as a UUID of version 8 (RFC 9562).
fn uid(container: &Container, finding: &Finding, source: Endpoint) -> String {
    let mut hash = Sha1::new();
    // On its link a container may have an id only later; its address is in `source`.
    if !container.identity.attribution.is_by_link() {
        hash.update(container.identity.id.as_bytes());
    }
    hash.update(finding.rule.id.as_bytes());
    let ends = format!("|{source}|{}|{}|", finding.peer, finding.protocol);
    hash.update(ends.as_bytes());
    hash.update(finding.first_seen.nanos().to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}
