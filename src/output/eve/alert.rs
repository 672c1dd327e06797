//! Alert records. Few: clarity before speed.

use serde::Serialize;

use super::json::{self, Clock, key, raw};
use crate::alert::Alert;

/// The ATT&CK version whose ids the rules carry.
const ATTACK_VERSION: &str = "19";

/// Writes one whole line. `interface` is the name of the alert's link as a JSON string.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    clock: &mut Clock,
    alert: &Alert,
    interface: Option<&[u8]>,
    records_dropped: Option<u64>,
) {
    let finding = &alert.finding;
    super::start(buffer, clock, alert.at, "alert");
    if let Some(id) = finding.flow_id {
        key!(buffer, "flow_id");
        json::number(buffer, id);
    }
    if let Some(id) = &finding.community_id {
        key!(buffer, "community_id");
        json::string(buffer, id);
    }
    if let Some(interface) = interface {
        key!(buffer, "in_iface");
        buffer.extend_from_slice(interface);
    }
    key!(buffer, "src_ip");
    json::ip(buffer, alert.source.ip);
    if alert.source.port != 0 {
        key!(buffer, "src_port");
        json::number(buffer, alert.source.port);
    }
    // Findings about many destinations at once have no one address.
    if !finding.peer.ip.is_unspecified() {
        key!(buffer, "dest_ip");
        json::ip(buffer, finding.peer.ip);
    }
    if finding.peer.port != 0 {
        key!(buffer, "dest_port");
        json::number(buffer, finding.peer.port);
    }
    super::protocol(buffer, finding.protocol);
    signature(buffer, alert);
    buffer.push(b',');
    super::identity(buffer, &alert.container);
    own(buffer, clock, alert, records_dropped);
    raw!(buffer, "}\n");
}

/// EVE's own `alert` object.
fn signature(buffer: &mut Vec<u8>, alert: &Alert) {
    let rule = alert.finding.rule;
    raw!(buffer, ",\"alert\":{\"action\":\"allowed\",\"gid\":1,\"signature_id\":");
    json::number(buffer, rule.signature_id);
    key!(buffer, "rev");
    json::number(buffer, rule.revision);
    key!(buffer, "signature");
    json::string(buffer, &alert.title());
    key!(buffer, "category");
    json::string(buffer, alert.detector);
    key!(buffer, "severity");
    json::number(buffer, alert.severity().eve());
    raw!(buffer, ",\"metadata\":{\"attack_version\":");
    value(buffer, &[ATTACK_VERSION]);
    key!(buffer, "mitre_technique_id");
    value(buffer, rule.techniques);
    key!(buffer, "mitre_tactic_id");
    value(buffer, rule.tactics);
    raw!(buffer, "}}");
}

/// The `vethwatch` object.
fn own(buffer: &mut Vec<u8>, clock: &mut Clock, alert: &Alert, records_dropped: Option<u64>) {
    let finding = &alert.finding;
    raw!(buffer, ",\"vethwatch\":{\"detector\":");
    json::string(buffer, alert.detector);
    key!(buffer, "rule");
    json::string(buffer, finding.rule.id);
    key!(buffer, "alert_uid");
    json::string(buffer, &alert.uid);
    key!(buffer, "state");
    json::string(buffer, alert.state.as_str());
    key!(buffer, "severity");
    json::string(buffer, alert.severity().as_str());
    key!(buffer, "confidence");
    json::number(buffer, finding.confidence);
    key!(buffer, "first_seen");
    clock.timestamp(buffer, finding.first_seen);
    key!(buffer, "last_seen");
    clock.timestamp(buffer, alert.last_seen);
    key!(buffer, "count");
    json::number(buffer, alert.count);
    if let Some(name) = &finding.peer_name {
        key!(buffer, "dest_name");
        json::string(buffer, name);
    }
    key!(buffer, "why");
    json::string(buffer, &finding.why);
    key!(buffer, "evidence");
    value(buffer, &finding.evidence);
    key!(buffer, "against");
    value(buffer, &finding.against);
    raw!(buffer, ",\"capture\":{\"drop_ratio\":");
    value(buffer, &alert.capture.drop_ratio());
    key!(buffer, "snaplen");
    json::number(buffer, alert.capture.snaplen);
    key!(buffer, "midstream");
    json::boolean(buffer, finding.midstream);
    key!(buffer, "tcp_gaps");
    json::number(buffer, finding.gap_bytes);
    if let Some(records) = records_dropped {
        key!(buffer, "records_dropped");
        json::number(buffer, records);
        key!(buffer, "bulk_cut_frames");
        json::number(buffer, alert.capture.bulk_cut_frames);
        key!(buffer, "bulk_dropped_frames");
        json::number(buffer, alert.capture.bulk_dropped_frames);
    }
    raw!(buffer, "},\"ads\":\"vethwatch ads ");
    json::string_part(buffer, alert.detector);
    raw!(buffer, "\",\"response\":");
    value(buffer, finding.rule.response);
    buffer.push(b'}');
}

/// Anything else, by way of serde, with strings escaped as everywhere.
fn value(buffer: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let mut serializer = serde_json::Serializer::with_formatter(buffer, Escaping);
    // Writing to memory cannot fail, and these types have no keys but strings.
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok());
}

/// Compact JSON whose strings are escaped as [`json::string()`] does.
struct Escaping;

impl serde_json::ser::Formatter for Escaping {
    fn write_string_fragment<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut escaped = Vec::with_capacity(fragment.len());
        json::string_part(&mut escaped, fragment);
        writer.write_all(&escaped)
    }
}
