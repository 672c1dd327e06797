//! Work on one flow: payload to turns, protocols and detectors, and what they learn to records.

use super::Protocols;
use super::judge::Judge;
use crate::event::{Event, Fact, FlowEnd, Side, Turn};
use crate::flow;
use crate::flow::entry::{Entry, Segment};
use crate::proto::{Session, Sink, Verdict};
use crate::record::{Output, Record, RecordKind, Stats};
use crate::time::Timestamp;

/// Payload of a flow after which detectors hear of its volume (bytes).
const VOLUME_BYTES: u64 = 65_536;
/// Time with traffic after which they do (nanoseconds: 10 s).
const VOLUME_NS: u64 = 10_000_000_000;

/// Work on one flow: all of the line but the flow table.
pub(super) struct Work<'w> {
    pub(super) at: Timestamp,
    pub(super) settings: &'w flow::Settings,
    pub(super) protocols: &'w mut Protocols,
    pub(super) judge: &'w mut Judge,
    pub(super) stats: &'w mut Stats,
    pub(super) output: &'w mut dyn Output,
}

impl Work<'_> {
    pub(super) fn deliver(&mut self, entry: &Entry<Session>, event: &Event<'_>) {
        self.judge.deliver(self.at, &entry.flow, event, self.output);
    }

    /// Someone cares for what is said on a flow: a container's detectors, or whoever reads records.
    fn is_of_interest(&self, flow: &flow::Flow) -> bool {
        flow.containers != [None; 2]
            || [RecordKind::Flow, RecordKind::Dns, RecordKind::Tls]
                .into_iter()
                .any(|kind| self.output.wants(kind))
    }

    /// New payload of a side, in order.
    pub(super) fn payload(
        &mut self,
        entry: &mut Entry<Session>,
        from: Side,
        stream: bool,
        offset: u64,
        segment: Segment,
        bytes: &[u8],
    ) {
        if !self.is_of_interest(&entry.flow) {
            return;
        }
        let (ended, place) = entry.turns.speak(self.at, from, u64::from(segment.new_bytes));
        if let Some(turn) = ended {
            let mut totals = entry.flow.sides.map(|side| side.payload_bytes);
            totals[from.index()] = offset;
            self.deliver(entry, &Event::Turn { turn, totals });
        }
        let content_bytes = self.settings.content_bytes;
        if entry.session.wants(offset, content_bytes) {
            let port = entry.flow.responder.port;
            let cut = u64::from(segment.new_bytes).saturating_sub(bytes.len() as u64);
            let gap = u64::from(segment.gap_bytes);
            if entry.flow.midstream {
                entry.session.picked_up_midway();
            }
            self.read(entry, from, |session, sink| {
                if gap > 0 {
                    session.gap(from, gap, port, sink);
                }
                let mut verdict = session.data(from, bytes, stream, port, sink);
                if cut > 0 && stream {
                    verdict = session.gap(from, cut, port, sink);
                }
                verdict
            });
        }
        let head = place.map_or(0, |place| Turn::HEAD_BYTES.saturating_sub(place));
        let wanted = u64::from(content_bytes).saturating_sub(offset).max(head);
        if !bytes.is_empty() && wanted > 0 {
            let event = if stream {
                let end = usize::try_from(wanted).map_or(bytes.len(), |most| bytes.len().min(most));
                let bytes = bytes.get(..end).unwrap_or(bytes);
                Event::Data { from, offset, bytes, turn_head: place == Some(0) }
            } else {
                Event::Datagram { from, bytes, wire_bytes: segment.new_bytes }
            };
            self.deliver(entry, &event);
        }
        entry.unreported_bytes[from.index()] += u64::from(segment.new_bytes);
        let [sent, received] = entry.unreported_bytes;
        if sent + received >= VOLUME_BYTES
            || self.at.nanos().saturating_sub(entry.volume_at.nanos()) >= VOLUME_NS
        {
            self.volume(entry);
        }
        let quiet_ns = self.at.nanos().saturating_sub(entry.reported_at.nanos());
        if quiet_ns >= self.settings.active_timeout_s.saturating_mul(1_000_000_000) {
            entry.reported_at = self.at;
            if self.output.wants(RecordKind::Flow) {
                let containers = self.judge.containers_of(&entry.flow);
                let (at, flow) = (self.at, &entry.flow);
                self.output.record(&Record::Flow { at, flow, end: None, containers });
            }
        }
    }

    /// Segments of a side that had waited and are due.
    pub(super) fn waited(&mut self, entry: &mut Entry<Session>, from: Side, give_up: bool) {
        while let Some(due) = entry.next_due(self.at, from, give_up) {
            let segment = Segment::of_due(&due);
            let offset = entry.flow.payload_bytes(from) - u64::from(due.new_bytes);
            self.payload(entry, from, true, offset, segment, &due.bytes);
        }
    }

    /// A flow is over: what was pending in it, its end, its record.
    pub(super) fn close(&mut self, entry: &mut Entry<Session>, end: FlowEnd) {
        for side in [Side::Originator, Side::Responder] {
            self.waited(entry, side, true);
        }
        self.read(entry, Side::Originator, |session, sink| session.close(sink));
        if let Some(turn) = entry.turns.close() {
            let totals = entry.flow.sides.map(|side| side.payload_bytes);
            self.deliver(entry, &Event::Turn { turn, totals });
        }
        self.volume(entry);
        self.deliver(entry, &Event::FlowClosed(end));
        let flow = &entry.flow;
        self.stats.one_sided_connections += u64::from(flow.is_one_sided());
        self.stats.gap_bytes += flow.sides[0].gap_bytes + flow.sides[1].gap_bytes;
        for side in [Side::Originator, Side::Responder] {
            let Some(number) = flow.containers[side.index()] else { continue };
            if let Some((container, _)) = self.judge.containers.get_mut(number) {
                container.ip_bytes[0] += flow.sides[side.index()].ip_bytes;
                container.ip_bytes[1] += flow.sides[side.other().index()].ip_bytes;
            }
        }
        if self.output.wants(RecordKind::Flow) {
            let (at, containers) = (self.at, self.judge.containers_of(flow));
            self.output.record(&Record::Flow { at, flow, end: Some(end), containers });
        }
    }

    /// Tells detectors how much moved since they last heard.
    pub(super) fn volume(&mut self, entry: &mut Entry<Session>) {
        let payload_bytes = std::mem::take(&mut entry.unreported_bytes);
        entry.volume_at = self.at;
        if payload_bytes != [0; 2] {
            self.judge.note_payload(self.at, &entry.flow, payload_bytes);
            self.deliver(entry, &Event::Volume { payload_bytes });
        }
    }

    /// Lets the flow's protocol session work, and passes on what it learns.
    pub(super) fn read(
        &mut self,
        entry: &mut Entry<Session>,
        from: Side,
        step: impl FnOnce(&mut Session, &mut Sink<'_>) -> Verdict,
    ) {
        let Entry { flow, session, .. } = entry;
        let Self { at, judge, stats, output, .. } = self;
        let dns_text = output.wants(RecordKind::Dns);
        let mut asked = false;
        let mut fact = |fact: Fact<'_>| {
            asked |= take_fact(*at, flow, &fact, judge, stats, *output);
        };
        let verdict = step(
            session,
            &mut Sink {
                fact: &mut fact,
                dns: &mut self.protocols.dns,
                scratch: &mut self.protocols.scratch,
                settings: &self.protocols.settings,
                dns_text,
            },
        );
        if verdict.is_unknown() && flow.facts.tls.is_some() && flow.app.is_some() {
            judge.withdraw_name(*at, flow);
        }
        flow.app = verdict.app();
        flow.outer = session.outer();
        flow.app_unknown = verdict.is_unknown();
        if asked && from == Side::Responder && flow.direction_inferred {
            flow.direction_inferred = false;
            entry.turn_around();
            entry.session.turn_around();
        }
    }
}

/// Notes a fact in its flow, passes it to detectors, and writes its record. Returns whether only
/// the one who opens a conversation says such a thing.
fn take_fact(
    at: Timestamp,
    flow: &mut flow::Flow,
    fact: &Fact<'_>,
    judge: &mut Judge,
    stats: &mut Stats,
    output: &mut dyn Output,
) -> bool {
    let mut asks = false;
    match fact {
        Fact::Dns { from, message } => {
            asks = !message.response;
            stats.dns_messages += 1;
            judge.learn_names(at, flow, message);
            if output.wants(RecordKind::Dns) {
                let containers = judge.containers_of(flow);
                output.record(&Record::Dns { at, flow, from: *from, message, containers });
            }
        }
        Fact::TlsClientHello(tls) => {
            asks = true;
            flow.facts.tls = Some(Box::new((*tls).clone()));
            judge.learn_name(at, flow, tls.sni.as_deref());
        }
        Fact::TlsHandshake(tls) => {
            stats.tls_handshakes += 1;
            flow.facts.tls = Some(Box::new((*tls).clone()));
            if output.wants(RecordKind::Tls) {
                let containers = judge.containers_of(flow);
                output.record(&Record::Tls { at, flow, tls, containers });
            }
        }
        Fact::HttpRequest(http) => {
            asks = true;
            flow.facts.http = Some(Box::new((*http).clone()));
            judge.learn_name(at, flow, http.host.as_deref());
        }
        Fact::HttpResponse(http) => {
            if let Some(known) = flow.facts.http.as_deref_mut() {
                known.status = http.status;
            }
        }
        Fact::Ssh(ssh) => flow.facts.ssh = Some(Box::new((*ssh).clone())),
    }
    judge.deliver(at, flow, &Event::Fact(*fact), output);
    asks
}
