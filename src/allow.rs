//! Allow-lists: alerts that someone has decided not to see, for a reason and for a time.
//!
//! An entry names what it allows by conditions that must all hold; it says why, who decided, and,
//! better than not, until when. What entries silence is counted, and an entry that has expired or
//! never matched is reported: a forgotten exception is a hole.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::value::Datetime;

use crate::alert::{Alert, AlertState};
use crate::container::{ContainerIdentity, Network};
use crate::detect::{Allowance, DETECTORS, Registration, Rule, Traffic};
use crate::time::Timestamp;

/// `[[allow]]`: all of its conditions must hold, and it must have at least one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// Why it is allowed. Required.
    pub reason: String,
    /// Who decided: a person or team that can be asked. Required.
    pub owner: String,
    /// From this date or moment (UTC unless it has an offset; packet time) the entry is void.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Datetime>,
    /// Condition: name of the other side, `backup.example.com`, or with all names below it
    /// `*.example.com` (which does not include `example.com`). Case does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Condition: address or range of the other side, `203.0.113.0/24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Condition: port of the service, whichever side offers it: the one that the container
    /// called, or, for a bind shell or a fetch, the container's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Condition: the container, by name, `namespace/pod`, pod, id or address; `*` stands for any
    /// run of characters, as in `shop/web-*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Condition: the container's Kubernetes namespace; `*` as in `container`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Condition: the detector, `exfiltration`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Condition: the rule, `exfil.volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// Why an entry is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntryError {
    /// No reason.
    #[error("has no `reason`: say why this is allowed")]
    NoReason,
    /// No owner.
    #[error("has no `owner`: say who decided, so that they can be asked")]
    NoOwner,
    /// No condition.
    #[error(
        "has no condition and would silence everything; give at least one of destination, \
         network, port, container, namespace, detector, rule"
    )]
    NoCondition,
    /// Conditions that hold for everything.
    #[error("has only conditions that hold for everything ({0}) and would silence it; narrow one")]
    Everything(String),
    /// No service has the port 0.
    #[error("port 0 is no service's; give one from 1 to 65535, or leave it out")]
    PortZero,
    /// A condition that is the empty string.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// A destination that is neither a name nor `*.` and a name.
    #[error(
        "destination `{0}` is neither a name (backup.example.com) nor all names below one \
         (*.example.com); for addresses use `network`"
    )]
    BadDestination(String),
    /// Not a date.
    #[error("expires `{0}` has no date; write it as 2027-01-01")]
    BadExpiry(String),
    /// No such detector.
    #[error("detector `{given}` does not exist; there are {known}")]
    UnknownDetector {
        /// As written.
        given: String,
        /// Those that exist.
        known: String,
    },
    /// The rule is another detector's.
    #[error(
        "rule `{rule}` is none of detector `{detector}`'s, so the entry can match nothing; leave out one of them"
    )]
    RuleOfAnother {
        /// As written.
        rule: String,
        /// As written.
        detector: String,
    },
    /// No such rule.
    #[error("rule `{given}` does not exist; there are {known}")]
    UnknownRule {
        /// As written.
        given: String,
        /// Those that exist.
        known: String,
    },
}

impl Entry {
    /// Checks that the entry is meant: it has a reason, an owner and a condition, and each of its
    /// values can be understood.
    ///
    /// # Errors
    /// The first thing that is wrong. The message does not name the entry: that is the caller's.
    pub fn validate(&self) -> Result<(), EntryError> {
        self.validate_against(DETECTORS)
    }

    fn validate_against(&self, detectors: &[Registration]) -> Result<(), EntryError> {
        let blank = |text: &str| text.trim().is_empty();
        if blank(&self.reason) {
            return Err(EntryError::NoReason);
        }
        if blank(&self.owner) {
            return Err(EntryError::NoOwner);
        }
        let texts = [
            ("destination", &self.destination),
            ("container", &self.container),
            ("namespace", &self.namespace),
            ("detector", &self.detector),
            ("rule", &self.rule),
        ];
        if let Some((key, _)) = texts.iter().find(|(_, text)| text.as_deref().is_some_and(blank)) {
            return Err(EntryError::Empty(key));
        }
        let texts_given = texts.iter().any(|(_, text)| text.is_some());
        if !texts_given && self.network.is_none() && self.port.is_none() {
            return Err(EntryError::NoCondition);
        }
        if self.port == Some(0) {
            return Err(EntryError::PortZero);
        }
        let any = |pattern: &Option<String>| {
            pattern.as_deref().is_none_or(|pattern| pattern.bytes().all(|byte| byte == b'*'))
        };
        let named = [&self.destination, &self.detector, &self.rule];
        if named.iter().all(|text| text.is_none())
            && self.port.is_none()
            && any(&self.container)
            && any(&self.namespace)
            && self.network.is_none_or(|network| network.is_everything())
        {
            return Err(EntryError::Everything(self.to_string()));
        }
        if let Some(name) = &self.destination
            && (name.strip_prefix("*.").unwrap_or(name).contains(['*', '/', ':', ' '])
                || name.parse::<Network>().is_ok())
        {
            return Err(EntryError::BadDestination(name.clone()));
        }
        if let Some(expires) = &self.expires
            && moment(expires).is_none()
        {
            return Err(EntryError::BadExpiry(expires.to_string()));
        }
        let ids = || detectors.iter().map(|row| row.id);
        let rules = || detectors.iter().flat_map(|row| row.rules).map(|rule| rule.id);
        if let Some(given) = self.detector.clone()
            && !ids().any(|id| id == given)
        {
            return Err(EntryError::UnknownDetector { given, known: listed(ids()) });
        }
        if let Some(given) = self.rule.clone()
            && !rules().any(|id| id == given)
        {
            return Err(EntryError::UnknownRule { given, known: listed(rules()) });
        }
        if let (Some(detector), Some(rule)) = (&self.detector, &self.rule)
            && let Some(row) = detectors.iter().find(|row| row.id == detector)
            && !row.rules.iter().any(|known| known.id == rule)
        {
            let (rule, detector) = (rule.clone(), detector.clone());
            return Err(EntryError::RuleOfAnother { rule, detector });
        }
        Ok(())
    }

    /// All conditions hold. Whether the entry has expired is another question.
    pub fn matches(&self, alert: &Alert) -> bool {
        let finding = &alert.finding;
        self.detector.as_deref().is_none_or(|id| id == alert.detector)
            && self.rule.as_deref().is_none_or(|id| id == finding.rule.id)
            && self.is_about(&Traffic {
                container: &alert.container,
                peer: finding.peer.ip,
                peer_name: finding.peer_name.as_deref(),
                service_port: finding.service_port,
            })
    }

    /// All conditions on who talks with whom hold.
    fn is_about(&self, traffic: &Traffic<'_>) -> bool {
        let Traffic { container, peer, peer_name, service_port } = *traffic;
        let is = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(test)
        };
        self.port.is_none_or(|port| port == service_port)
            && self.network.is_none_or(|network| network.contains(peer))
            && is(&self.destination, &|pattern| {
                peer_name.is_some_and(|name| name_matches(pattern, name))
            })
            && is(&self.namespace, &|pattern| {
                let pod = container.pod();
                pod.is_some_and(|pod| glob(pattern, &pod.namespace))
            })
            && is(&self.container, &|pattern| container_matches(pattern, container))
    }

    /// It says something about the other side.
    const fn names_peer(&self) -> bool {
        self.destination.is_some() || self.network.is_some() || self.port.is_some()
    }

    /// When the entry becomes void; `None` where it never does.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.expires.as_ref().and_then(moment)
    }

    /// It is void at this moment of packet time.
    pub fn expired(&self, at: Timestamp) -> bool {
        self.expiry().is_some_and(|expiry| expiry <= at)
    }
}

/// The conditions, as written: `detector=beacon destination=*.example.com`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = [
            ("detector", self.detector.clone()),
            ("rule", self.rule.clone()),
            ("destination", self.destination.clone()),
            ("network", self.network.map(|network| network.to_string())),
            ("port", self.port.map(|port| port.to_string())),
            ("container", self.container.clone()),
            ("namespace", self.namespace.clone()),
        ];
        let mut space = "";
        for (key, value) in conditions {
            if let Some(value) = value {
                write!(f, "{space}{key}={value}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

fn listed<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.collect::<Vec<_>>().join(", ")
}

fn container_matches(pattern: &str, container: &ContainerIdentity) -> bool {
    glob(pattern, &container.label())
        || glob(pattern, &container.id)
        || container.name.as_deref().is_some_and(|name| glob(pattern, name))
        || container.pod().is_some_and(|pod| glob(pattern, &pod.pod))
        // One of several: each of them must be meant.
        || !container.containers().is_empty()
            && container.containers().iter().all(|name| glob(pattern, name))
        || glob(pattern, &container.ip.to_string())
}

/// `*.example.com` is every name below, at any depth; anything else is that one name.
fn name_matches(pattern: &str, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    let Some(parent) = pattern.strip_prefix('*') else {
        return pattern.eq_ignore_ascii_case(name);
    };
    let (name, parent) = (name.as_bytes(), parent.as_bytes());
    name.len() > parent.len() && name[name.len() - parent.len()..].eq_ignore_ascii_case(parent)
}

/// `*` is any run of characters. The last star alone is retried, so the work is at most the
/// product of the two lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut retry {
                Some((after_star, from)) => {
                    *from += 1;
                    (p, t) = (*after_star, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The moment that a TOML date means: its midnight in UTC, or the given time in the given offset.
fn moment(datetime: &Datetime) -> Option<Timestamp> {
    let date = datetime.date?;
    let days = Timestamp::from_date(date.year, date.month, date.day);
    let time = datetime.time.map_or(0, |time| {
        u64::from(time.hour) * 3_600
            + u64::from(time.minute) * 60
            + u64::from(time.second.unwrap_or(0))
    });
    let offset_s = match datetime.offset {
        Some(toml::value::Offset::Custom { minutes }) => i64::from(minutes) * 60,
        Some(toml::value::Offset::Z) | None => 0,
    };
    let local = days.after(Duration::from_secs(time));
    let shift = Duration::from_secs(offset_s.unsigned_abs());
    Some(if offset_s > 0 { local.before(shift) } else { local.after(shift) })
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Findings that it silenced, alone or with others (count).
    pub findings: u64,
    /// Reports of these, their updates and closes included (count).
    pub reports: u64,
    /// Findings that it would have silenced from the first, had it not expired (count).
    pub expired_findings: u64,
    /// Reports that it would have silenced, had it not expired (count).
    pub expired_reports: u64,
}

/// The entries, with what each has silenced.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    entries: Vec<(Entry, Outcome)>,
}

impl AllowList {
    /// The list of a configuration. Entries that fail [`Entry::validate`] are the caller's to
    /// refuse.
    pub fn new(entries: &[Entry]) -> Self {
        Self { entries: entries.iter().map(|entry| (entry.clone(), Outcome::default())).collect() }
    }

    /// Takes the entries of another configuration. An entry that stays as it was keeps its counts.
    pub fn replace(&mut self, entries: &[Entry]) {
        let before = std::mem::replace(self, Self::new(entries));
        for (entry, outcome) in &mut self.entries {
            if let Some((_, kept)) = before.entries.iter().find(|(old, _)| old == entry) {
                *outcome = *kept;
            }
        }
    }

    /// Whether an entry silences this alert. Counted for every entry that does, so that one entry
    /// does not make another look unused.
    pub fn silences(&mut self, alert: &Alert) -> bool {
        let mut silenced = false;
        for (entry, outcome) in &mut self.entries {
            if !entry.matches(alert) {
                continue;
            }
            if entry.expired(alert.at) {
                outcome.expired_reports += 1;
                outcome.expired_findings += u64::from(alert.state == AlertState::Open);
                continue;
            }
            silenced = true;
            outcome.reports += 1;
            outcome.findings += u64::from(alert.state == AlertState::Open);
        }
        silenced
    }

    /// Counts a report that is told anyway for the entries that would have silenced it, had they not expired.
    pub fn count_expired(&mut self, alert: &Alert) {
        for (entry, outcome) in &mut self.entries {
            outcome.expired_reports += u64::from(entry.expired(alert.at) && entry.matches(alert));
        }
    }

    /// Whether an entry silences this alert, without counting it.
    pub fn covers(&self, alert: &Alert) -> bool {
        self.entries.iter().any(|(entry, _)| entry.matches(alert) && !entry.expired(alert.at))
    }

    /// The entries, in the order of the configuration, with what became of each.
    pub fn outcomes(&self) -> impl Iterator<Item = (&Entry, &Outcome)> {
        self.entries.iter().map(|(entry, outcome)| (entry, outcome))
    }

    /// Adds what the same entries silenced elsewhere.
    pub fn add(&mut self, other: &Self) {
        for ((_, outcome), (_, more)) in self.entries.iter_mut().zip(&other.entries) {
            outcome.findings += more.findings;
            outcome.reports += more.reports;
            outcome.expired_reports += more.expired_reports;
            outcome.expired_findings += more.expired_findings;
        }
    }

    /// There are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Allowance for AllowList {
    fn allows(
        &self,
        at: Timestamp,
        detector: &str,
        rules: &[&Rule],
        traffic: &Traffic<'_>,
    ) -> bool {
        self.entries.iter().any(|(entry, _)| {
            entry.names_peer()
                && entry.detector.as_deref().is_none_or(|id| id == detector)
                && entry.rule.as_deref().is_none_or(|id| rules.iter().any(|rule| rule.id == id))
                && entry.is_about(traffic)
                && !entry.expired(at)
        })
    }
}

#[cfg(test)]
mod tests;
