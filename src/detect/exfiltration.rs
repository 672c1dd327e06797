//! Exfiltration: a container pushes out more than it ever did, or more than a newcomer should.
//!
//! Stolen data leaves as an upload: much payload out and little back, to a destination that is new to
//! the container. So each container's uploads are accounted per destination, and compared with its
//! own past, then with its siblings, and where there is no past yet with fixed limits
//! (`cold_start_bytes`). Three shapes: one large upload (`exfil.volume`), one spread over several
//! destinations (`exfil.split`), one that drips for minutes or hours (`exfil.drip`). Data may also be
//! fetched by an outsider from a port that the container never served before (`exfil.pull`).
//!
//! Only pushing counts: bins of time in which at least four times as much was sent as received.
//! Downloads, answers of a server, polling, calls and most message streams do not push. Only the
//! outside counts: what goes to another container or service of the cluster is not looked at here.
//!
//! Evaded by staying below the limits for long, by an application's own uploads as a cover, by using
//! an internal relay, by DNS and ICMP. See the manual page for all of it.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::baseline::{Baseline, DestinationKey};
use crate::bounded::BoundedMap;
use crate::container::Container;
use crate::detect::{Describe, Detector, Finding, Rule, Seen, Severity, Traffic, Verdict};
use crate::event::{Event, EventKinds, Zone};
use crate::time::Timestamp;

use self::bins::Bins;
use self::destination::{Destination, HOUR_S, History, Raised};
use self::explain::Part;
use self::judge::{Ruling, Situation};
use self::robust::Usual;
use self::served::Served;
pub use self::settings::Settings;

mod bins;
mod destination;
mod explain;
mod judge;
mod memory;
mod robust;
mod served;
mod services;
mod settings;
#[cfg(test)]
mod tests;

const RESPONSE: &[&str] = &[
    "Find out what was sent: the process that held the connection, the files it read, the shell that started it",
    "Cut the container off from the destination (network policy), keep its file system and memory",
    "Look for the same destination in the flows of all other containers",
    "Change every credential and key that the container could read",
    "If it is authorised, allow the destination for this container with a reason and an expiry",
];

const fn rule(id: &'static str, number: u32, techniques: &'static [&'static str]) -> Rule {
    Rule {
        id,
        signature_id: 9_100_300 + number,
        revision: 1,
        techniques,
        tactics: &["TA0010"],
        response: RESPONSE,
    }
}

/// One destination was sent more than is usual.
pub static VOLUME: Rule = rule("exfil.volume", 1, &["T1048", "T1041", "T1567"]);
/// Several destinations were together sent more than is usual.
pub static SPLIT: Rule = rule("exfil.split", 2, &["T1048", "T1030", "T1020"]);
/// One destination was sent small amounts steadily, until they were much.
pub static DRIP: Rule = rule("exfil.drip", 3, &["T1048", "T1030", "T1020"]);
/// An outsider fetched much from a port that the container did not serve before.
pub static PULL: Rule = rule("exfil.pull", 4, &["T1048", "T1041"]);

/// Less than this in one report is only summed (bytes).
const TINY_BYTES: u64 = 512;
/// An upload smaller than this does not make a destination interesting (bytes).
const CANDIDATE_BYTES: u64 = 4_096;
/// From here on a destination has an account (bytes).
const ACCOUNT_BYTES: u64 = 65_536;
/// A destination is judged again after this much (bytes).
const STEP_BYTES: u64 = 262_144;

/// What is known about one container's uploads.
#[derive(Debug)]
pub struct Exfiltration {
    settings: Settings,
    /// Sent to the outside over time, all destinations together.
    total: Bins,
    /// Received over time on connections that others opened to the container.
    given: Bins,
    /// Received over time from inside the cluster, on connections that the container opened.
    fetched: Bins,
    candidates: BoundedMap<DestinationKey, u64>,
    destinations: BoundedMap<DestinationKey, Destination>,
    /// What forgotten destinations were sent, in limits, and when one was last forgotten.
    forgotten_limits: (f64, Timestamp),
    served: Served,
    split: Option<Raised>,
    split_last: Timestamp,
    started: bool,
    /// Findings that are open (count).
    open: usize,
}

impl Detector for Exfiltration {
    fn observe(&mut self, seen: &Seen<'_>, event: &Event<'_>, verdicts: &mut Vec<Verdict>) {
        match event {
            Event::Volume { payload_bytes } => {
                let sent = payload_bytes[seen.side.index()];
                let received = payload_bytes[seen.side.other().index()];
                self.volume(seen, sent, received, verdicts);
            }
            Event::FlowClosed(_) if self.open > 0 => self.refresh(seen, verdicts),
            _ => {}
        }
    }

    fn end_minute(
        &mut self,
        at: Timestamp,
        _container: &Container,
        _node: &Baseline,
        verdicts: &mut Vec<Verdict>,
    ) {
        if self.open == 0 {
            return;
        }
        let quiet_s = self.settings.quiet_s as f64;
        let mut closed = 0;
        for (key, destination) in self.destinations.iter_mut() {
            if at.seconds_since(destination.last) < quiet_s {
                continue;
            }
            // What was said is kept for learning; only its alert ends.
            if let Some(raised) = destination.raised.as_mut().filter(|raised| raised.open) {
                raised.open = false;
                verdicts.push(Verdict::Close { rule: raised.rule, subject: key.0 });
                closed += 1;
            }
        }
        closed += self.served.close_quiet(at, quiet_s, verdicts);
        if self.split.is_some() && at.seconds_since(self.split_last) >= quiet_s {
            self.split_again(verdicts);
            self.split = None;
            verdicts.push(Verdict::Close { rule: &SPLIT, subject: 0 });
            closed += 1;
        }
        self.open = self.open.saturating_sub(closed);
    }

    fn remember(&self) -> Option<Box<RawValue>> {
        self.started.then(|| self.written())?
    }

    fn recall(&mut self, at: Timestamp, container: &Container, memory: &RawValue) {
        if let Ok(past) = serde_json::from_str(memory.get()) {
            self.go_on(at, container, past);
        }
    }

    fn end_capture(&mut self, verdicts: &mut Vec<Verdict>) {
        self.split_again(verdicts);
    }

    fn forgotten(&self) -> u64 {
        self.candidates.evicted() + self.destinations.evicted() + self.served.evicted()
    }
}

impl Exfiltration {
    /// Counts what a flow moved since its last report, and judges where there is enough of it.
    fn volume(&mut self, seen: &Seen<'_>, sent: u64, received: u64, verdicts: &mut Vec<Verdict>) {
        if sent < TINY_BYTES && received < TINY_BYTES {
            return;
        }
        let at = seen.flow.last;
        if !self.started {
            (self.total, self.given, self.fetched) = (Bins::new(at), Bins::new(at), Bins::new(at));
            self.started = true;
        }
        let outside = seen.peer_zone() == Zone::External;
        match (seen.outbound(), outside) {
            (true, true) => self.pushed(seen, at, sent, received, verdicts),
            (true, false) => self.fetched.add(at, received),
            (false, outside) => {
                self.given.add(at, received);
                if sent >= CANDIDATE_BYTES {
                    self.pulled(seen, at, outside, [sent, received], verdicts);
                }
            }
        }
    }

    fn pushed(
        &mut self,
        seen: &Seen<'_>,
        at: Timestamp,
        sent: u64,
        received: u64,
        verdicts: &mut Vec<Verdict>,
    ) {
        self.total.add(at, sent);
        let key = DestinationKey::of_flow(seen.flow);
        if self.destinations.peek(&key).is_none() {
            if sent < CANDIDATE_BYTES {
                return;
            }
            let so_far = self.candidates.get_or_insert_with(key, || 0);
            *so_far = so_far.saturating_add(sent);
            if *so_far < ACCOUNT_BYTES {
                return;
            }
            let before = *so_far - sent;
            self.candidates.remove(&key);
            self.open_account(seen, key, at, before, verdicts);
        }
        let Some(destination) = self.destinations.get_mut(&key) else { return };
        destination.count(at, sent, received);
        (destination.peer, destination.protocol) = (seen.peer(), seen.flow.protocol);
        if sent == 0 || destination.total_bytes < destination.due_bytes {
            return;
        }
        destination.due_bytes = destination.total_bytes.saturating_add(STEP_BYTES);
        self.judge(seen, key, verdicts);
    }

    fn open_account(
        &mut self,
        seen: &Seen<'_>,
        key: DestinationKey,
        at: Timestamp,
        before: u64,
        verdicts: &mut Vec<Verdict>,
    ) {
        let usage = seen.container.destinations.get(key);
        let first_seen = usage.map_or(seen.flow.opened, |usage| usage.first_seen);
        let mut destination = Destination::new(at, first_seen, seen.peer());
        destination.history = self.history(seen.container, at);
        destination.name = judge::name_of(seen);
        destination.service = destination
            .name
            .as_deref()
            .and_then(|name| services::kind(name, &self.settings.known_services));
        destination.count(at, before, 0);
        let Some((key, gone)) = self.destinations.insert(key, destination) else { return };
        let limit = self.settings.cold_start_bytes.max(1) as f64;
        self.forgotten_limits = (self.forgotten(at) + self.pushed_in_hour(&gone) / limit, at);
        if let Some(raised) = gone.raised.filter(|raised| raised.open) {
            self.open = self.open.saturating_sub(1);
            verdicts.push(Verdict::Close { rule: raised.rule, subject: key.0 });
        }
    }

    /// What the container sent outside so far, where that is a past.
    fn history(&self, container: &Container, at: Timestamp) -> Option<History> {
        let bins = self.total.before(at);
        let long = at.since(container.first_seen).as_secs() >= self.settings.history_min_s
            && bins.len() >= self.settings.history_bins_min;
        long.then(|| History { usual: Usual::of(bins), bin_s: self.total.width_s() })
    }

    fn pushed_in_hour(&self, destination: &Destination) -> f64 {
        destination.pushed(HOUR_S, self.settings.producer_consumer_ratio_min).sent_bytes
    }

    /// Judges the destination of a flow, and all destinations together.
    fn judge(&mut self, seen: &Seen<'_>, key: DestinationKey, verdicts: &mut Vec<Verdict>) {
        let Some(destination) = self.destinations.peek(&key) else { return };
        let situation = Situation {
            settings: &self.settings,
            seen,
            key,
            destination,
            given: &self.given,
            fetched: &self.fetched,
        };
        let found = situation.assess();
        let bytes = found.pushed.sent_bytes;
        let earlier = destination.raised;
        let told = earlier.filter(|earlier| earlier.open && earlier.severity >= Severity::Medium);
        let ruling = found.rule(&self.settings, told.map(|told| told.rule));
        let finding = ruling
            .filter(|ruling| earlier.is_none_or(|earlier| earlier.is_outgrown(ruling, bytes)))
            .map(|ruling| (ruling, explain::finding(&situation, &found, ruling)));
        let share = bytes / found.limit_bytes.max(1.0);
        let usual_bytes = found.usual.median_bytes;
        let allowed = seen.allow.allows(
            seen.at,
            Self::ID,
            &[&VOLUME, &SPLIT, &DRIP],
            &Traffic {
                container: &seen.container.identity,
                peer: seen.peer().ip,
                peer_name: destination.name.as_deref(),
                service_port: seen.flow.responder.port,
            },
        );
        let is_part = !found.is_familiar() && !allowed;
        if let Some(destination) = self.destinations.get_mut(&key) {
            destination.share_of_limit = if is_part { share } else { 0.0 };
        }
        let split = self.split(seen.flow.last, false, verdicts);
        let Some((ruling, finding)) = finding else { return };
        // A destination that came after the split upload was found is one more part of it.
        if split && earlier.is_none() && ruling.severity >= Severity::Medium {
            return;
        }
        self.raise(key, ruling, bytes, usual_bytes, finding, verdicts);
    }

    fn raise(
        &mut self,
        key: DestinationKey,
        ruling: Ruling,
        bytes: f64,
        usual_bytes: f64,
        finding: Finding,
        verdicts: &mut Vec<Verdict>,
    ) {
        let Some(destination) = self.destinations.get_mut(&key) else { return };
        let severity =
            ruling.severity.max(destination.raised.map_or(Severity::Info, |r| r.severity));
        match destination.raised.filter(|raised| raised.open && raised.rule.id != ruling.rule.id) {
            Some(other) => verdicts.push(Verdict::Close { rule: other.rule, subject: key.0 }),
            None if destination.raised.is_none_or(|raised| !raised.open) => self.open += 1,
            None => {}
        }
        destination.raised = Some(Raised { rule: ruling.rule, severity, bytes, open: true });
        if severity >= Severity::Medium {
            self.total.hold_down(usual_bytes);
        }
        verdicts.push(Verdict::Raise(Box::new(finding)));
    }

    /// An open split upload is told once more, with its last numbers: in between only what has
    /// doubled is.
    fn split_again(&mut self, verdicts: &mut Vec<Verdict>) {
        if self.split.is_some() {
            self.split(self.split_last, true, verdicts);
        }
    }

    /// Looks at all destinations together, and tells what is new, or all of it `again`. Whether a
    /// split upload is open.
    fn split(&mut self, at: Timestamp, again: bool, verdicts: &mut Vec<Verdict>) -> bool {
        let settings = &self.settings;
        let is_part = |destination: &Destination| {
            destination.share_of_limit >= PART_SHARE_MIN
                && at.since(destination.last) <= Duration::from_secs(HOUR_S.into())
        };
        let (mut number, mut limits, mut largest) = (0, self.forgotten(at), 0.0_f64);
        for (_, destination) in self.destinations.iter().filter(|(_, d)| is_part(d)) {
            let share = destination.share_of_limit.min(1.0);
            number += 1;
            limits += share;
            largest = largest.max(share);
        }
        let enough = number >= settings.split_destinations_min.max(2)
            && limits >= settings.split_limits
            && limits - largest >= settings.split_limits / 2.0;
        if !enough {
            return self.split.is_some();
        }
        let parts = self.destinations.iter().filter(|(_, destination)| is_part(destination));
        let mut parts: Vec<Part> = parts
            .map(|(_, destination)| explain::part(destination, self.pushed_in_hour(destination)))
            .collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.sent_bytes));
        let bytes: u64 = parts.iter().map(|part| part.sent_bytes).sum();
        let severity = if limits >= 10.0 { Severity::High } else { Severity::Medium };
        let ruling =
            Ruling { rule: &SPLIT, severity, confidence: 60 + (limits.min(10.0) * 3.0) as u8 };
        self.split_last = at;
        if again || self.split.is_none_or(|earlier| earlier.is_outgrown(&ruling, bytes as f64)) {
            self.open += usize::from(self.split.is_none());
            self.split = Some(Raised { rule: &SPLIT, severity, bytes: bytes as f64, open: true });
            let finding = explain::split(at, parts, limits, self.settings.split_limits);
            verdicts.push(Verdict::Raise(Box::new(Finding {
                severity,
                confidence: ruling.confidence,
                ..finding
            })));
        }
        true
    }

    /// What destinations forgotten within the hour were sent, in limits.
    fn forgotten(&self, at: Timestamp) -> f64 {
        let (limits, when) = self.forgotten_limits;
        if at.since(when) <= Duration::from_secs(HOUR_S.into()) { limits } else { 0.0 }
    }

    /// A flow ended: what was said about its destination gets its final numbers.
    fn refresh(&mut self, seen: &Seen<'_>, verdicts: &mut Vec<Verdict>) {
        let key = DestinationKey::of_flow(seen.flow);
        let grown = |destination: &Destination| {
            let raised = destination.raised.filter(|raised| raised.open)?;
            (self.pushed_in_hour(destination) > 1.01 * raised.bytes).then_some(())
        };
        if seen.outbound() && self.destinations.peek(&key).and_then(grown).is_some() {
            if let Some(raised) = self.destinations.get_mut(&key).and_then(|d| d.raised.as_mut()) {
                raised.bytes = 0.0;
            }
            self.judge(seen, key, verdicts);
        }
    }

    /// Counts what a caller fetched from the container, and judges what outsiders fetched.
    fn pulled(
        &mut self,
        seen: &Seen<'_>,
        at: Timestamp,
        outside: bool,
        moved: [u64; 2],
        verdicts: &mut Vec<Verdict>,
    ) {
        let outsider = outside.then_some(seen.peer());
        let port = (seen.flow.responder.port, seen.flow.protocol);
        let port = self.served.count(at, port, outsider, moved);
        if !outside {
            return;
        }
        let Some((severity, finding)) = served::judge(port, seen, &self.settings) else { return };
        self.open += usize::from(port.raised.is_none());
        port.raised = Some((severity, port.sent_bytes));
        verdicts.push(Verdict::Raise(Box::new(finding)));
    }
}

/// A destination with less than this share of its limit is no part of a split upload.
const PART_SHARE_MIN: f64 = 0.05;

impl Describe for Exfiltration {
    const ID: &'static str = "exfiltration";
    const RULES: &'static [&'static Rule] = &[&VOLUME, &SPLIT, &DRIP, &PULL];
    const ADS: &'static str = include_str!("../../docs/ads/exfiltration.md");
    const HEARS: EventKinds = EventKinds::VOLUME.and(EventKinds::CLOSED);
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<(), String> {
        settings.check()
    }

    fn new(settings: &Settings) -> Self {
        let epoch = Timestamp::default();
        Self {
            total: Bins::new(epoch),
            given: Bins::new(epoch),
            fetched: Bins::new(epoch),
            candidates: BoundedMap::new(settings.destinations_max),
            destinations: BoundedMap::new(settings.destinations_max),
            forgotten_limits: (0.0, epoch),
            served: Served::new(settings.ports_max),
            split: None,
            split_last: epoch,
            started: false,
            open: 0,
            settings: settings.clone(),
        }
    }

    fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }
}
