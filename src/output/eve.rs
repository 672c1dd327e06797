//! EVE: one JSON object a line, in the shape of Suricata's, with objects for what Suricata does not
//! know (`container`, `kubernetes`, `vethwatch`). `schema/eve.schema.json` describes every field.
//!
//! - `src` is the originator and `dest` the responder, in both directions of a conversation; in an
//!   alert, `src` is the container's side.
//! - `container` is the originator's, or the responder's where only that is one;
//!   `vethwatch.side` says which. Between two containers, `vethwatch.peer` holds the responder's.
//! - `dns` is version 3 of Suricata's format (Suricata 8): `type` is `request` or `response`, with
//!   arrays `queries` and `answers`.
//! - A field that is not known is absent, never `null` or empty.
//!
//! Records are put together by hand in a buffer: there can be hundreds of thousands a second.

mod alert;
mod dns;
mod flow;
mod json;
mod stats;
mod tls;

use std::io;

use self::json::{Clock, key, raw};
use super::carrier::Carrier;
use super::chunks::Chunks;
use super::{Events, InterfaceCounts, Registration, Sink};
use crate::allow::AllowList;
use crate::bounded::BoundedMap;
use crate::container::{Container, ContainerIdentity};
use crate::event::{IpProtocol, LinkId, Side};
use crate::flow::Flow;
use crate::record::{Output, Record, RecordKind, Stats, Summary};
use crate::time::Timestamp;

/// `--format eve`
pub const REGISTRATION: Registration = Registration {
    name: "eve",
    about: "one JSON object a line, as Suricata's EVE",
    whole: false,
    make: |options, writer| Box::new(Eve::new(options.events, writer)),
};

/// Flows remembered as alerted until their own record (count). Beyond this the longest forgotten
/// ones say `"alerted":false`; nothing else depends on it.
const ALERTED_MAX: usize = 65_536;
/// Interfaces whose names are kept (count); those above have no `in_iface`.
const LINKS_MAX: usize = 65_536;

/// Writes EVE records.
pub struct Eve<W: Carrier> {
    events: Events,
    out: Chunks<W>,
    clock: Clock,
    /// Interface names as JSON strings, by [`LinkId`].
    links: Vec<Box<[u8]>>,
    interfaces: Vec<InterfaceCounts>,
    alerted: BoundedMap<u64, ()>,
    community_ids: CommunityIds,
}

impl<W: Carrier> Eve<W> {
    /// Writes records of these kinds. The writer needs no buffer of its own.
    pub fn new(events: Events, writer: W) -> Self {
        Self {
            events,
            out: Chunks::new(writer),
            clock: Clock::default(),
            links: Vec::new(),
            interfaces: Vec::new(),
            alerted: BoundedMap::new(ALERTED_MAX),
            community_ids: CommunityIds::new(),
        }
    }
}

impl<W: Carrier> Output for Eve<W> {
    fn wants(&self, kind: RecordKind) -> bool {
        // A flow's record says whether there was an alert about it.
        let for_flows = kind == RecordKind::Alert && self.events.contains(RecordKind::Flow);
        self.events.contains(kind) || for_flows
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Alert(alert) = record
            && let Some(flow) = alert.finding.flow_id
            && self.events.contains(RecordKind::Flow)
        {
            self.alerted.insert(flow, ());
        }
        if !self.events.contains(record.kind()) || self.out.is_broken() {
            return;
        }
        match record {
            Record::Alert(alert) => {
                let interface = interface(&self.links, alert.link);
                let dropped = self.out.dropped().map(|dropped| dropped.total());
                alert::write(self.out.buffer(), &mut self.clock, alert, interface, dropped);
            }
            Record::Flow { at, flow, end, containers } => {
                let alerted = match end {
                    Some(_) => self.alerted.remove(&flow.id).is_some(),
                    None => self.alerted.peek(&flow.id).is_some(),
                };
                self.envelope(*at, "flow", flow);
                flow::write(self.out.buffer(), &mut self.clock, flow, *end, alerted, containers);
            }
            Record::Dns { at, flow, message, containers, .. } => {
                self.envelope(*at, "dns", flow);
                dns::write(self.out.buffer(), message, containers);
            }
            Record::Tls { at, flow, tls, containers } => {
                self.envelope(*at, "tls", flow);
                tls::write(self.out.buffer(), tls, containers);
            }
            Record::Stats { at, stats } => self.stats(*at, stats, None),
        }
        self.out.record_done(record.kind());
    }

    fn name_link(&mut self, link: LinkId, name: &str) {
        let place = link.0 as usize;
        if place >= LINKS_MAX || name.is_empty() {
            return;
        }
        if self.links.len() <= place {
            self.links.resize(place + 1, Box::default());
        }
        let mut text = Vec::new();
        json::string(&mut text, name);
        self.links[place] = text.into();
    }

    fn finish(&mut self, summary: &Summary<'_>) {
        if self.events.contains(RecordKind::Stats) && !self.out.is_broken() {
            let at = Timestamp::from_nanos(summary.stats.last_ns);
            // What is dropped on the way to here is in the counts.
            self.out.flush();
            self.stats(at, summary.stats, Some(summary.allow));
            self.out.record_done(RecordKind::Stats);
        }
        self.out.flush();
    }
}

impl<W: Carrier> Sink for Eve<W> {
    fn flush(&mut self) {
        self.out.flush();
    }

    fn is_broken(&self) -> bool {
        self.out.is_broken()
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.out.take_error()
    }

    fn line(&mut self, kind: RecordKind, json: &str) {
        if self.events.contains(kind) && !self.out.is_broken() {
            let buffer = self.out.buffer();
            buffer.extend_from_slice(json.as_bytes());
            buffer.push(b'\n');
            self.out.record_done(kind);
        }
    }

    fn note_interfaces(&mut self, interfaces: &[InterfaceCounts]) {
        self.interfaces.clear();
        self.interfaces.extend_from_slice(interfaces);
    }
}

impl<W: Carrier> Eve<W> {
    fn stats(&mut self, at: Timestamp, stats: &Stats, allow: Option<&AllowList>) {
        let live = stats::Live {
            links: &self.links,
            interfaces: &self.interfaces,
            dropped: self.out.dropped(),
        };
        stats::write(self.out.buffer(), &mut self.clock, at, stats, allow, &live);
    }

    /// What every record about a flow begins with, up to `proto`.
    fn envelope(&mut self, at: Timestamp, event_type: &'static str, flow: &Flow) {
        // Split borrows: the name is read while the buffer is written.
        let interface = interface(&self.links, flow.link);
        let buffer = self.out.buffer();
        start(buffer, &mut self.clock, at, event_type);
        key!(buffer, "flow_id");
        json::number(buffer, flow.id);
        key!(buffer, "community_id");
        self.community_ids.write(buffer, flow);
        if let Some(name) = interface {
            key!(buffer, "in_iface");
            buffer.extend_from_slice(name);
        }
        if flow.vlan != 0 {
            key!(buffer, "vlan");
            buffer.push(b'[');
            json::number(buffer, flow.vlan);
            buffer.push(b']');
        }
        let ports = has_ports(flow.protocol);
        key!(buffer, "src_ip");
        json::ip(buffer, flow.originator.ip);
        if ports {
            key!(buffer, "src_port");
            json::number(buffer, flow.originator.port);
        }
        key!(buffer, "dest_ip");
        json::ip(buffer, flow.responder.ip);
        if ports {
            key!(buffer, "dest_port");
            json::number(buffer, flow.responder.port);
        }
        protocol(buffer, flow.protocol);
    }
}

/// The name of a link as a JSON string, where it has one.
fn interface(links: &[Box<[u8]>], link: LinkId) -> Option<&[u8]> {
    links.get(link.0 as usize).map(|name| &**name).filter(|name| !name.is_empty())
}

/// Community IDs of the latest flows. Each costs a SHA-1, and a DNS response comes soon after its
/// query, on the same flow.
struct CommunityIds {
    /// By remainder of the flow's number: the latest such flow, with its ID as a JSON string.
    known: Box<[(u64, [u8; Self::BYTES])]>,
}

impl CommunityIds {
    /// Flows remembered (count).
    const FLOWS: usize = 256;
    /// Quotes, `1:` and 20 bytes in Base64.
    const BYTES: usize = 32;

    /// Flow numbers begin with 1: nothing is known.
    fn new() -> Self {
        Self { known: vec![(0, [0; Self::BYTES]); Self::FLOWS].into() }
    }

    fn write(&mut self, buffer: &mut Vec<u8>, flow: &Flow) {
        let (number, id) = &mut self.known[(flow.id % Self::FLOWS as u64) as usize];
        if *number == flow.id {
            return buffer.extend_from_slice(id);
        }
        let start = buffer.len();
        json::string(buffer, &flow.community_id());
        if let Ok(new) = buffer[start..].try_into() {
            (*number, *id) = (flow.id, new);
        }
    }
}

/// `{"timestamp":…,"schema_version":…,"event_type":…`
fn start(buffer: &mut Vec<u8>, clock: &mut Clock, at: Timestamp, event_type: &'static str) {
    raw!(buffer, "{\"timestamp\":");
    clock.timestamp(buffer, at);
    raw!(buffer, ",\"schema_version\":\"1.0\",\"event_type\":\"");
    buffer.extend_from_slice(event_type.as_bytes());
    buffer.push(b'"');
}

const fn has_ports(protocol: IpProtocol) -> bool {
    matches!(protocol, IpProtocol::TCP | IpProtocol::UDP | IpProtocol::SCTP)
}

fn protocol(buffer: &mut Vec<u8>, protocol: IpProtocol) {
    match protocol {
        IpProtocol::TCP => raw!(buffer, ",\"proto\":\"TCP\""),
        IpProtocol::UDP => raw!(buffer, ",\"proto\":\"UDP\""),
        other => {
            key!(buffer, "proto");
            // Few and short: not worth a path of its own.
            json::string(buffer, &other.to_string());
        }
    }
}

/// The top-level `container` and `kubernetes`: the originator's, else the responder's.
fn containers(buffer: &mut Vec<u8>, containers: &[Option<&Container>; 2]) {
    if let Some(container) = containers[0].or(containers[1]) {
        buffer.push(b',');
        identity(buffer, &container.identity);
    }
}

/// The members of `vethwatch` that say on which sides containers stand, with their comma in front.
fn sides(buffer: &mut Vec<u8>, containers: &[Option<&Container>; 2]) {
    let side = match containers {
        [Some(_), _] => Side::Originator,
        [None, Some(_)] => Side::Responder,
        [None, None] => return,
    };
    key!(buffer, "side");
    raw_side(buffer, side);
    if let [Some(_), Some(peer)] = containers {
        raw!(buffer, ",\"peer\":{");
        identity(buffer, &peer.identity);
        buffer.push(b'}');
    }
}

fn raw_side(buffer: &mut Vec<u8>, side: Side) {
    match side {
        Side::Originator => raw!(buffer, "\"originator\""),
        Side::Responder => raw!(buffer, "\"responder\""),
    }
}

/// `"container":{…}` and, where there is one, `,"kubernetes":{…}`.
fn identity(buffer: &mut Vec<u8>, container: &ContainerIdentity) {
    raw!(buffer, "\"container\":{\"id\":");
    json::string(buffer, &container.id);
    if let Some(name) = &container.name {
        key!(buffer, "name");
        json::string(buffer, name);
    }
    if let Some(image) = &container.image {
        key!(buffer, "image");
        json::string(buffer, image);
    }
    strings(buffer, "containers", container.containers());
    key!(buffer, "ip");
    json::ip(buffer, container.ip);
    key!(buffer, "attribution");
    json::name(buffer, container.attribution.as_str());
    buffer.push(b'}');
    if let Some(pod) = &container.kubernetes {
        raw!(buffer, ",\"kubernetes\":{");
        let named = [("namespace", &pod.namespace), ("pod", &pod.pod)];
        let named =
            named.into_iter().filter(|_| pod.is_named()).map(|(key, text)| (key, Some(text)));
        let rest = [("pod_uid", pod.pod_uid.as_ref()), ("owner", pod.owner.as_ref())];
        let mut comma = "";
        for (key, text) in named.chain(rest) {
            let Some(text) = text else { continue };
            for part in [comma, "\"", key, "\":"] {
                buffer.extend_from_slice(part.as_bytes());
            }
            json::string(buffer, text);
            comma = ",";
        }
        buffer.push(b'}');
    }
}

/// `,"name":["…","…"]` for a list that is not empty.
fn strings(buffer: &mut Vec<u8>, name: &'static str, list: &[Box<str>]) {
    let Some((first, rest)) = list.split_first() else { return };
    buffer.extend_from_slice(b",\"");
    buffer.extend_from_slice(name.as_bytes());
    buffer.extend_from_slice(b"\":[");
    json::string(buffer, first);
    for item in rest {
        buffer.push(b',');
        json::string(buffer, item);
    }
    buffer.push(b']');
}
