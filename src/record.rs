//! What leaves the engine: records, borrowed from its state, and the trait that takes them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::alert::{Alert, Inputs};
use crate::allow::AllowList;
use crate::container::Container;
use crate::event::{DnsMessage, FlowEnd, LinkId, Side, TlsFacts};
use crate::flow::Flow;
use crate::time::Timestamp;

/// The kinds of records, as in EVE's `event_type`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RecordKind {
    /// A finding.
    Alert,
    /// A flow ended, or goes on.
    Flow,
    /// A DNS message.
    Dns,
    /// A TLS handshake.
    Tls,
    /// Counters of the run.
    Stats,
    /// How well a container is seen (live, on a node). The engine makes none.
    Coverage,
}

impl RecordKind {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [Self; 6] =
        [Self::Alert, Self::Flow, Self::Dns, Self::Tls, Self::Stats, Self::Coverage];

    /// As in EVE's `event_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Flow => "flow",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Stats => "stats",
            Self::Coverage => "coverage",
        }
    }
}

/// A record.
#[derive(Clone, Copy)]
pub enum Record<'a> {
    /// A finding.
    Alert(&'a Alert),
    /// A flow.
    Flow {
        /// Packet time of the record.
        at: Timestamp,
        /// The flow.
        flow: &'a Flow,
        /// Why it ended; `None` for one that goes on.
        end: Option<FlowEnd>,
        /// The containers on its sides.
        containers: [Option<&'a Container>; 2],
    },
    /// A DNS message.
    Dns {
        /// Packet time.
        at: Timestamp,
        /// The flow that carried it.
        flow: &'a Flow,
        /// Who sent it.
        from: Side,
        /// What it says.
        message: &'a DnsMessage,
        /// The containers on the flow's sides.
        containers: [Option<&'a Container>; 2],
    },
    /// A TLS handshake.
    Tls {
        /// Packet time.
        at: Timestamp,
        /// The flow that carried it.
        flow: &'a Flow,
        /// What it says.
        tls: &'a TlsFacts,
        /// The containers on the flow's sides.
        containers: [Option<&'a Container>; 2],
    },
    /// Counters.
    Stats {
        /// Packet time.
        at: Timestamp,
        /// The counters.
        stats: &'a Stats,
    },
}

impl Record<'_> {
    /// Which kind it is.
    pub const fn kind(&self) -> RecordKind {
        match self {
            Self::Alert(_) => RecordKind::Alert,
            Self::Flow { .. } => RecordKind::Flow,
            Self::Dns { .. } => RecordKind::Dns,
            Self::Tls { .. } => RecordKind::Tls,
            Self::Stats { .. } => RecordKind::Stats,
        }
    }
}

/// What is known at the end of a run.
#[derive(Clone, Copy)]
pub struct Summary<'a> {
    /// Every container, by number.
    pub containers: &'a [&'a Container],
    /// Configured containers and pod networks that no packet matched, each in words.
    pub unmatched: &'a [String],
    /// Some addresses that the configuration makes no containers, the first seen first.
    pub strangers: &'a [IpAddr],
    /// The last counters.
    pub stats: &'a Stats,
    /// The allow-list, with what each entry silenced.
    pub allow: &'a AllowList,
}

/// Takes records. Called on the packet path: must not block longer than a buffered write.
pub trait Output {
    /// Whether records of this kind are worth making.
    fn wants(&self, kind: RecordKind) -> bool;

    /// Takes one. Records of kinds that are not wanted may come too, and are passed over.
    fn record(&mut self, record: &Record<'_>);

    /// Names an interface, before the first record that refers to it.
    fn name_link(&mut self, _link: LinkId, _name: &str) {}

    /// The run is over. Called once, after the last record; the last counters come with it, not as
    /// a record of their own.
    fn finish(&mut self, _summary: &Summary<'_>) {}
}

impl<O: Output + ?Sized> Output for Box<O> {
    fn wants(&self, kind: RecordKind) -> bool {
        (**self).wants(kind)
    }

    fn record(&mut self, record: &Record<'_>) {
        (**self).record(record);
    }

    fn name_link(&mut self, link: LinkId, name: &str) {
        (**self).name_link(link, name);
    }

    fn finish(&mut self, summary: &Summary<'_>) {
        (**self).finish(summary);
    }
}

/// Counts since the start. Each bound that was hit is here.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Stats {
    /// Frames in (count).
    pub frames: u64,
    /// Their length on the wire (bytes).
    pub frame_bytes: u64,
    /// First and last packet time (nanoseconds since the epoch).
    pub first_ns: u64,
    /// See `first_ns`.
    pub last_ns: u64,
    /// Frames that the snap length cut (count).
    pub cut_frames: u64,
    /// Frames whose time stamp lay before the latest seen (count).
    pub out_of_order_frames: u64,
    /// Frames that gave no packet, by reason (count).
    pub undecoded: Undecoded,
    /// Flows opened (count).
    pub flows: u64,
    /// Flows open at this moment (count).
    pub flows_open: u64,
    /// Flows that had to make room (count): `flow.flows_max` was hit.
    pub flows_evicted: u64,
    /// Payload bytes that no parser or detector saw for `flow.stream_bytes_max`.
    pub stream_bytes_dropped: u64,
    /// Payload that was never seen: lost by the capture (bytes).
    pub gap_bytes: u64,
    /// Frames whose packet another interface had shown a moment before (count). They count nowhere
    /// else but in `frames`.
    pub copied_frames: u64,
    /// Frames that came after the end of their TCP connection and brought nothing new (count). They
    /// are in no flow.
    pub straggler_frames: u64,
    /// TCP connections of which one direction was not captured (count).
    pub one_sided_connections: u64,
    /// Containers known (count).
    pub containers: u64,
    /// Addresses that were no container because `containers.containers_max` was hit (count).
    pub containers_refused: u64,
    /// DNS messages (count).
    pub dns_messages: u64,
    /// TLS handshakes (count).
    pub tls_handshakes: u64,
    /// Address-to-name entries forgotten early: `containers.names_max` was hit (count).
    pub names_evicted: u64,
    /// Destinations forgotten early: `baseline.destinations_max` was hit (count).
    pub destinations_evicted: u64,
    /// What detectors forgot early, by detector: a bound under `[detect]` was hit (count).
    pub detectors_evicted: BTreeMap<&'static str, u64>,
    /// Workloads forgotten early: `state.workloads_max` or `state.bytes_max` was hit (count).
    pub workloads_evicted: u64,
    /// Alerts by what became of them (count).
    pub alerts: u64,
    /// Alerts that an allow-list entry silenced (count).
    pub alerts_allowed: u64,
    /// Open alerts forgotten early: `alert.open_max` was hit (count).
    pub alerts_evicted: u64,
    /// Frames that the capture lost (count).
    pub dropped_frames: u64,
    /// Frames of bulk that were cut to their headers under load (count). They are in `frames`.
    pub bulk_cut_frames: u64,
    /// Frames of bulk that were not analysed under load (count; estimated from a sample of them). They are not in `frames`.
    pub bulk_dropped_frames: u64,
    /// Configured containers and pod networks that no packet matched (count).
    pub containers_unmatched: u64,
    /// What became of the inputs, in replay.
    pub inputs: Inputs,
}

/// Frames that gave no packet, by reason (count).
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Undecoded {
    /// Shorter than a link header.
    pub no_link: u64,
    /// Not IP.
    pub not_ip: u64,
    /// The IP header is cut or contradicts itself.
    pub bad_ip: u64,
    /// Too many headers inside one another. Of too many tunnels, the outer ones were followed.
    pub too_deep: u64,
    /// Fragments that waited for their rest (those that completed gave a packet).
    pub fragments: u64,
    /// Fragments dropped for a bound or time-out.
    pub fragments_dropped: u64,
    /// Link types that cannot be read.
    pub unknown_link_type: u64,
}
