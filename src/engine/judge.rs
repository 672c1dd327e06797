//! Events to alerts: each event goes to the detectors of the containers on its flow's ends, and what
//! they say becomes alerts.

use crate::alert::{Alert, Alerts};
use crate::allow::AllowList;
use crate::baseline::{Baseline, DestinationKey};
use crate::config::Config;
use crate::container::table::Containers;
use crate::container::{Container, LinkOwner, survey::VantagePoint};
use crate::detect::blind_spot::Sight;
use crate::detect::{DETECTORS, Factory, Seen, Verdict};
use crate::event::{DnsData, DnsMessage, Event, LinkId, Name, Side};
use crate::flow::Flow;
use crate::record::{Output, Record, RecordKind};
use crate::state::Memories;
use crate::time::Timestamp;

use super::ConfigError;
use super::forgotten::Forgotten;
use super::remember::Watched;

/// Containers silent for longer are not asked each minute (nanoseconds: one day).
const MINUTES_END_NS: u64 = 86_400_000_000_000;

pub(super) struct Judge {
    pub(super) containers: Containers<Watched>,
    pub(super) baseline: Baseline,
    pub(super) alerts: Alerts,
    /// Where the outside keeps state: what is known of workloads.
    pub(super) memories: Option<Memories>,
    /// Place of the container whose turn it is.
    pub(super) next_to_remember: usize,
    /// What was forgotten early about containers that are gone.
    pub(super) forgotten_of_gone: Forgotten,
    factories: Vec<Box<dyn Factory>>,
    verdicts: Vec<Verdict>,
}

impl Judge {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let factories = factories(config)?;
        Ok(Self {
            containers: Containers::new(&config.containers, &config.baseline),
            baseline: Baseline::new(&config.baseline),
            alerts: Alerts::new(&config.alert, AllowList::new(&config.allow)),
            memories: None,
            next_to_remember: 0,
            forgotten_of_gone: Forgotten::default(),
            factories,
            verdicts: Vec::new(),
        })
    }

    /// Takes another allow-list and other settings of detectors, for what comes.
    pub(super) fn reconfigure(&mut self, config: &Config) -> Result<(), ConfigError> {
        self.factories = factories(config)?;
        self.alerts.set_allow_list(&config.allow);
        for (_, watched) in self.containers.iter_mut() {
            for (factory, detector) in self.factories.iter().zip(&mut watched.detectors) {
                factory.retune(detector.as_mut());
            }
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, at: Timestamp, point: &VantagePoint) {
        let Self { containers, factories, .. } = self;
        containers.settle(at, point, || make(factories));
    }

    /// Finds the containers on a new flow's ends, and the responder's name.
    pub(super) fn attribute(&mut self, at: Timestamp, flow: &mut Flow) {
        let Self { containers, factories, .. } = self;
        let ends = [flow.originator.ip, flow.responder.ip];
        flow.containers = ends.map(|ip| containers.find(at, ip, || make(factories)));
        flow.zones = ends.map(|ip| containers.zone(ip));
        containers.note_ends(flow.containers != [None; 2], flow.zones);
        self.arrive(at, flow);
    }

    /// The same on a link of a container's own, which stands on the given side.
    pub(super) fn attribute_owned(
        &mut self,
        at: Timestamp,
        (number, side): (u32, Side),
        flow: &mut Flow,
    ) {
        let ends = [flow.originator.ip, flow.responder.ip];
        flow.zones = ends.map(|ip| self.containers.zone(ip));
        flow.containers[side.index()] = Some(number);
        if let Some((container, _)) = self.containers.get_mut(number) {
            if container.flows == [0; 2] {
                container.first_seen = at;
            }
            container.note_address(flow.endpoint(side).ip);
        }
        self.arrive(at, flow);
    }

    /// Takes what the host says of a link's container.
    pub(super) fn own(&mut self, at: Timestamp, owner: &LinkOwner, output: &mut dyn Output) {
        let Self { containers, factories, .. } = self;
        let number = containers.own(at, owner, || make(factories));
        let Some(number) = number else { return };
        if self.containers.get(number).is_some_and(|container| container.flows != [0; 2]) {
            self.recall(at, number);
        }
        let Some(container) = self.containers.get(number) else { return };
        for alert in self.alerts.identify(at, container) {
            tell(&alert, output);
        }
    }

    /// A link is gone, and its container with it: what was found about it is over.
    pub(super) fn disown(&mut self, at: Timestamp, link: LinkId, output: &mut dyn Output) {
        if let Some(gone) = self.containers.disown(link) {
            self.let_go(at, gone, output);
        }
    }

    /// A container has ended: what was found about it is over.
    pub(super) fn end_container(&mut self, at: Timestamp, number: u32, output: &mut dyn Output) {
        if let Some(gone) = self.containers.end(number) {
            self.let_go(at, gone, output);
        }
    }

    fn let_go(
        &mut self,
        at: Timestamp,
        (container, mut watched): (Container, Watched),
        output: &mut dyn Output,
    ) {
        for (row, detector) in DETECTORS.iter().zip(watched.detectors.iter_mut()) {
            detector.sum_up(&container, &self.baseline, &mut self.verdicts);
            judge(
                (&mut self.alerts, &mut self.baseline),
                &mut self.verdicts,
                at,
                row.id,
                &container,
                output,
            );
        }
        self.forgotten_of_gone.add(&container, &watched);
        let memory = self.memory(&container, &watched);
        if let (Some(memories), Some(memory)) = (&mut self.memories, memory) {
            memories.set(&memory);
        }
        self.baseline.set_containers(at, self.containers.callers() as u32);
        for alert in self.alerts.end(at, &container) {
            tell(&alert, output);
        }
    }

    /// Findings that have waited long enough for their container's name are told without it.
    pub(super) fn tell_overdue(&mut self, at: Timestamp, output: &mut dyn Output) {
        for alert in self.alerts.overdue(at) {
            tell(&alert, output);
        }
    }

    /// The flow was answered: on a node, its ends may be containers not known before. They hear that
    /// it was opened.
    pub(super) fn attribute_late(
        &mut self,
        at: Timestamp,
        flow: &mut Flow,
        output: &mut dyn Output,
    ) {
        let Self { containers, factories, .. } = self;
        let mut found = [None; 2];
        for side in [Side::Originator, Side::Responder] {
            if flow.containers[side.index()].is_none() {
                let end = (flow.endpoint(side).ip, side);
                found[side.index()] = containers.answered(at, end, || make(factories));
            }
        }
        if found == [None; 2] {
            return;
        }
        let before = std::mem::replace(&mut flow.containers, found);
        self.arrive(at, flow);
        self.deliver(at, flow, &Event::FlowOpened, output);
        for (now, before) in flow.containers.iter_mut().zip(before) {
            *now = now.or(before);
        }
    }

    /// Counts a flow to the container that opened it, and gives it its name.
    fn arrive(&mut self, at: Timestamp, flow: &mut Flow) {
        flow.containers.into_iter().flatten().for_each(|number| self.recall(at, number));
        if let Some(number) = flow.containers[1]
            && let Some((container, _)) = self.containers.get_mut(number)
        {
            container.flows[1] += 1;
        }
        let Some(number) = flow.containers[0] else { return };
        let Some(container) = self.containers.opens(number) else { return };
        container.link.get_or_insert(flow.link);
        let first = container.flows[0] == 1;
        flow.name = container.names.of(at, flow.responder.ip).cloned();
        if first {
            self.baseline.set_containers(at, self.containers.callers() as u32);
        }
        self.count_destination(at, flow);
    }

    /// Notes that a container calls the flow's responder, as it is called by now.
    pub(super) fn count_destination(&mut self, at: Timestamp, flow: &Flow) {
        let Some(number) = flow.containers[0] else { return };
        let (key, open_before) = (DestinationKey::of_flow(flow), flow.was_open_before());
        self.baseline.destinations.count_flow(at, key, open_before);
        if let Some((container, _)) = self.containers.get_mut(number) {
            container.destinations.count_flow(at, key, open_before);
        }
    }

    /// A handshake calls the responder so.
    pub(super) fn learn_name(&mut self, at: Timestamp, flow: &mut Flow, name: Option<&str>) {
        if let Some(name) = name.and_then(|name| better_name(flow, name)) {
            flow.name = Some(name);
            self.count_destination(at, flow);
        }
    }

    /// The stream turned out to be no TLS: the name in its hello is what anyone can write there.
    pub(super) fn withdraw_name(&self, at: Timestamp, flow: &mut Flow) {
        let container = flow.containers[0].and_then(|number| self.containers.get(number));
        flow.name =
            container.and_then(|container| container.names.of(at, flow.responder.ip).cloned());
    }

    /// Notes what moved between a container and a responder that has answered with payload.
    pub(super) fn note_payload(&mut self, at: Timestamp, flow: &Flow, payload_bytes: [u64; 2]) {
        let Some(number) = flow.containers[0] else { return };
        if flow.payload_bytes(Side::Responder) > 0 {
            let key = DestinationKey::of_flow(flow);
            self.baseline.destinations.note_payload(at, key, number, payload_bytes);
        }
    }

    /// Learns names from an answer that a container got.
    pub(super) fn learn_names(&mut self, at: Timestamp, flow: &Flow, message: &DnsMessage) {
        let Some(number) = flow.containers[0].filter(|_| message.response) else { return };
        let Some((container, _)) = self.containers.get_mut(number) else { return };
        let Some(question) = message.questions.first() else { return };
        for answer in &message.answers {
            if let DnsData::Address(ip) = answer.data {
                container.names.learn(at, ip, &question.name, answer.ttl_s);
            }
        }
    }

    /// Gives an event to the detectors of the containers on both ends.
    pub(super) fn deliver(
        &mut self,
        at: Timestamp,
        flow: &Flow,
        event: &Event<'_>,
        output: &mut dyn Output,
    ) {
        let kind = event.kind();
        for side in [Side::Originator, Side::Responder] {
            let Some(number) = flow.containers[side.index()] else { continue };
            let Some((container, watched)) = self.containers.get_mut(number) else { continue };
            container.last_seen = at;
            for (row, detector) in DETECTORS.iter().zip(watched.detectors.iter_mut()) {
                if !row.hears.meet(kind) {
                    continue;
                }
                let allow = self.alerts.allow_list();
                let seen = Seen { at, side, flow, container, node: &self.baseline, allow };
                detector.observe(&seen, event, &mut self.verdicts);
                if !self.verdicts.is_empty() {
                    judge(
                        (&mut self.alerts, &mut self.baseline),
                        &mut self.verdicts,
                        at,
                        row.id,
                        container,
                        output,
                    );
                }
            }
        }
    }

    /// A minute of packet time is over.
    pub(super) fn end_minute(&mut self, at: Timestamp, output: &mut dyn Output) {
        for (container, watched) in self.containers.iter_mut() {
            if at.nanos().saturating_sub(container.last_seen.nanos()) > MINUTES_END_NS {
                continue;
            }
            for (row, detector) in DETECTORS.iter().zip(watched.detectors.iter_mut()) {
                detector.end_minute(at, container, &self.baseline, &mut self.verdicts);
                if !self.verdicts.is_empty() {
                    judge(
                        (&mut self.alerts, &mut self.baseline),
                        &mut self.verdicts,
                        at,
                        row.id,
                        container,
                        output,
                    );
                }
            }
        }
    }

    /// What the host says of how well a link's container is seen.
    pub(super) fn note_visibility(
        &mut self,
        at: Timestamp,
        link: LinkId,
        sight: Sight,
        output: &mut dyn Output,
    ) {
        let first = || self.containers.iter().next().map(|container| container.number);
        let Some(number) = self.containers.on_link(link).or_else(first) else { return };
        let Some((container, watched)) = self.containers.get_mut(number) else { return };
        for (row, detector) in DETECTORS.iter().zip(watched.detectors.iter_mut()) {
            match sight {
                Sight::Lost(why) => detector.blinded(at, why, &mut self.verdicts),
                Sight::Regained(rule) => detector.seen_again(rule, &mut self.verdicts),
            }
            for verdict in &mut self.verdicts {
                if let Verdict::Raise(finding) = verdict {
                    finding.link = Some(link);
                }
            }
            judge(
                (&mut self.alerts, &mut self.baseline),
                &mut self.verdicts,
                at,
                row.id,
                container,
                output,
            );
        }
    }

    /// The capture is over.
    pub(super) fn end_capture(&mut self, at: Timestamp, output: &mut dyn Output) {
        for (container, watched) in self.containers.iter_mut() {
            for (row, detector) in DETECTORS.iter().zip(watched.detectors.iter_mut()) {
                detector.sum_up(container, &self.baseline, &mut self.verdicts);
                detector.end_capture(&mut self.verdicts);
                judge(
                    (&mut self.alerts, &mut self.baseline),
                    &mut self.verdicts,
                    at,
                    row.id,
                    container,
                    output,
                );
            }
        }
    }

    /// A container may still have something to say each minute.
    pub(super) fn needs_minutes(&self, at: Timestamp) -> bool {
        self.containers.iter().any(|container| {
            at.nanos().saturating_sub(container.last_seen.nanos()) <= MINUTES_END_NS
        })
    }

    /// The containers on a flow's ends.
    pub(super) fn containers_of(&self, flow: &Flow) -> [Option<&Container>; 2] {
        flow.containers.map(|number| number.and_then(|number| self.containers.get(number)))
    }
}

/// The detectors as they are configured, in the order of [`DETECTORS`].
fn factories(config: &Config) -> Result<Vec<Box<dyn Factory>>, ConfigError> {
    let mut tables = config.detect.clone();
    let mut factories = Vec::new();
    for row in DETECTORS {
        let table = match tables.remove(row.id) {
            Some(toml::Value::Table(table)) => table,
            _ => toml::Table::new(),
        };
        let factory = (row.configure)(table)
            .map_err(|source| ConfigError::Detector { id: row.id, source })?;
        factories.push(factory);
    }
    match tables.into_iter().next() {
        Some((id, _)) => Err(ConfigError::UnknownDetector(id)),
        None => Ok(factories),
    }
}

fn make(factories: &[Box<dyn Factory>]) -> Watched {
    let detectors = factories.iter().map(|factory| factory.make()).collect();
    Watched { detectors, workload: None }
}

/// Writes an alert's record, if those are wanted.
fn tell(alert: &Alert, output: &mut dyn Output) {
    if output.wants(RecordKind::Alert) {
        output.record(&Record::Alert(alert));
    }
}

/// Turns what a detector said into alerts.
fn judge(
    (alerts, baseline): (&mut Alerts, &mut Baseline),
    verdicts: &mut Vec<Verdict>,
    at: Timestamp,
    detector: &'static str,
    container: &Container,
    output: &mut dyn Output,
) {
    for verdict in verdicts.drain(..) {
        match verdict {
            Verdict::Raise(finding) => {
                let about = (finding.rule, finding.subject);
                let key = match &finding.peer_name {
                    Some(name) => DestinationKey::of_name(name),
                    None => DestinationKey::of_ip(finding.peer.ip),
                };
                if let Some(alert) = alerts.raise(at, detector, container, *finding) {
                    tell(alert, output);
                }
                if alerts.is_told(container, about) {
                    baseline.destinations.suspect(at, key);
                }
            }
            Verdict::Pause { rule, subject } => {
                if let Some(alert) = alerts.pause(at, container, rule, subject) {
                    tell(&alert, output);
                }
            }
            Verdict::Close { rule, subject } => {
                if let Some(alert) = alerts.close(at, container, rule, subject) {
                    tell(&alert, output);
                }
            }
        }
    }
}

/// A name that says more than the address: not the address in text.
fn better_name(flow: &Flow, name: &str) -> Option<Name> {
    let known = flow.name.as_deref() == Some(name);
    let address = name.parse::<std::net::IpAddr>().is_ok();
    (!known && !address && !name.is_empty()).then(|| name.into())
}
