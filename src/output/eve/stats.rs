//! Counters. One record a minute at most: serde does.

use serde::Serialize;

use super::json::{self, Clock, key, raw};
use crate::allow::AllowList;
use crate::output::InterfaceCounts;
use crate::output::carrier::Counts;
use crate::record::{RecordKind, Stats};
use crate::time::Timestamp;

/// Writes one whole line. The allow-list comes with the last record of a run.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    clock: &mut Clock,
    at: Timestamp,
    stats: &Stats,
    allow: Option<&AllowList>,
    live: &Live<'_>,
) {
    super::start(buffer, clock, at, "stats");
    raw!(buffer, ",\"stats\":{\"uptime\":");
    let seconds = at.since(Timestamp::from_nanos(stats.first_ns)).as_secs();
    json::number(buffer, if stats.frames == 0 { 0 } else { seconds });
    raw!(buffer, ",\"capture\":{\"kernel_packets\":");
    json::number(
        buffer,
        stats.frames.saturating_add(stats.dropped_frames + stats.bulk_dropped_frames),
    );
    key!(buffer, "kernel_drops");
    json::number(buffer, stats.dropped_frames);
    raw!(buffer, "},\"decoder\":{\"pkts\":");
    json::number(buffer, stats.frames);
    key!(buffer, "bytes");
    json::number(buffer, stats.frame_bytes);
    raw!(buffer, "},\"flow\":{\"total\":");
    json::number(buffer, stats.flows);
    key!(buffer, "active");
    json::number(buffer, stats.flows_open);
    raw!(buffer, "},\"detect\":{\"alert\":");
    json::number(buffer, stats.alerts);
    raw!(buffer, "}},\"vethwatch\":{\"final\":");
    json::boolean(buffer, allow.is_some());
    key!(buffer, "counters");
    value(buffer, stats);
    live.write(buffer);
    if let Some(allow) = allow {
        key!(buffer, "allow");
        let entries: Vec<_> = allow
            .outcomes()
            .map(|(entry, outcome)| AllowEntry {
                conditions: entry.to_string(),
                reason: &entry.reason,
                owner: &entry.owner,
                expires: entry.expiry().map(|expiry| expiry.to_string()),
                expired: entry.expired(at),
                silenced_findings: outcome.findings,
                silenced_reports: outcome.reports,
                expired_reports: outcome.expired_reports,
            })
            .collect();
        value(buffer, &entries);
    }
    raw!(buffer, "}}\n");
}

/// What only a live capture has.
pub(super) struct Live<'a> {
    /// Interface names as JSON strings.
    pub(super) links: &'a [Box<[u8]>],
    pub(super) interfaces: &'a [InterfaceCounts],
    /// Records that found no room in the queue.
    pub(super) dropped: Option<Counts>,
}

impl Live<'_> {
    fn write(&self, buffer: &mut Vec<u8>) {
        if let Some(dropped) = &self.dropped {
            raw!(buffer, ",\"records_dropped\":{");
            for (place, kind) in RecordKind::ALL.into_iter().enumerate() {
                if place > 0 {
                    buffer.push(b',');
                }
                json::name(buffer, kind.as_str());
                buffer.push(b':');
                json::number(buffer, dropped.of(kind));
            }
            buffer.push(b'}');
        }
        if self.interfaces.is_empty() {
            return;
        }
        raw!(buffer, ",\"interfaces\":[");
        for (place, counts) in self.interfaces.iter().enumerate() {
            if place > 0 {
                buffer.push(b',');
            }
            let name = super::interface(self.links, counts.link).unwrap_or(b"\"\"");
            raw!(buffer, "{\"name\":");
            buffer.extend_from_slice(name);
            key!(buffer, "watched");
            json::boolean(buffer, counts.watched);
            key!(buffer, "passed_frames");
            json::number(buffer, counts.passed_frames);
            key!(buffer, "kernel_dropped_frames");
            json::number(buffer, counts.kernel_dropped_frames);
            key!(buffer, "interface_dropped_frames");
            json::number(buffer, counts.interface_dropped_frames);
            if let Some(frames) = counts.kernel_dropped_frames_estimate {
                key!(buffer, "kernel_dropped_frames_estimate");
                json::number(buffer, frames);
            }
            key!(buffer, "bulk_cut_frames");
            json::number(buffer, counts.bulk.cut_frames);
            key!(buffer, "bulk_cut_bytes");
            json::number(buffer, counts.bulk.cut_bytes);
            key!(buffer, "bulk_dropped_frames");
            json::number(buffer, counts.bulk.dropped_frames);
            key!(buffer, "bulk_dropped_bytes");
            json::number(buffer, counts.bulk.dropped_bytes);
            buffer.push(b'}');
        }
        buffer.push(b']');
    }
}

#[derive(Serialize)]
struct AllowEntry<'a> {
    conditions: String,
    reason: &'a str,
    owner: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    expired: bool,
    silenced_findings: u64,
    silenced_reports: u64,
    expired_reports: u64,
}

fn value(buffer: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to memory cannot fail.
    let written = serde_json::to_writer(buffer, value);
    debug_assert!(written.is_ok());
}
