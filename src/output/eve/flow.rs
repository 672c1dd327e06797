//! Flow records.

use super::json::{self, Clock, key, raw};
use crate::container::Container;
use crate::event::{FlowEnd, FlowFacts, IpProtocol, Side, Tunnel, TunnelKind};
use crate::flow::{Flow, SideCounters, State, TcpEnding};

/// TCP flags by bit, as EVE names them.
const TCP_FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];

/// Writes what follows `proto`, and ends the line.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    clock: &mut Clock,
    flow: &Flow,
    end: Option<FlowEnd>,
    alerted: bool,
    containers: &[Option<&Container>; 2],
) {
    if let Some((kind, code)) = flow.icmp {
        key!(buffer, "icmp_type");
        json::number(buffer, u64::from(kind));
        key!(buffer, "icmp_code");
        json::number(buffer, u64::from(code));
    }
    if let Some(name) = flow.app_name() {
        key!(buffer, "app_proto");
        json::name(buffer, name);
    }
    if let Some(outer) = flow.outer {
        key!(buffer, "app_proto_orig");
        json::name(buffer, outer.name);
    }
    if let Some(tunnel) = &flow.tunnel {
        self::tunnel(buffer, tunnel);
    }
    facts(buffer, &flow.facts);
    let [originator, responder] = &flow.sides;
    raw!(buffer, ",\"flow\":{\"pkts_toserver\":");
    json::number(buffer, originator.packets);
    key!(buffer, "pkts_toclient");
    json::number(buffer, responder.packets);
    key!(buffer, "bytes_toserver");
    json::number(buffer, originator.ip_bytes);
    key!(buffer, "bytes_toclient");
    json::number(buffer, responder.ip_bytes);
    key!(buffer, "start");
    clock.timestamp(buffer, flow.opened);
    key!(buffer, "end");
    clock.timestamp(buffer, flow.last);
    key!(buffer, "age");
    json::number(buffer, flow.last.since(flow.opened).as_secs());
    key!(buffer, "state");
    json::name(buffer, state(flow));
    key!(buffer, "reason");
    json::name(buffer, reason(end));
    key!(buffer, "alerted");
    json::boolean(buffer, alerted);
    buffer.push(b'}');
    if flow.protocol == IpProtocol::TCP {
        tcp(buffer, flow);
    }
    super::containers(buffer, containers);
    raw!(buffer, ",\"vethwatch\":{\"originator\":");
    side(buffer, originator);
    key!(buffer, "responder");
    side(buffer, responder);
    let history = flow.history.as_str();
    if !history.is_empty() {
        key!(buffer, "history");
        json::string(buffer, history);
    }
    if let Some(ending) = ending(flow.ending) {
        key!(buffer, "ending");
        json::name(buffer, ending);
    }
    key!(buffer, "midstream");
    json::boolean(buffer, flow.midstream);
    key!(buffer, "direction_inferred");
    json::boolean(buffer, flow.direction_inferred);
    if let Some(name) = &flow.name {
        key!(buffer, "dest_name");
        json::string(buffer, name);
    }
    super::sides(buffer, containers);
    raw!(buffer, "}}\n");
}

/// In EVE's words: `new` until the other side answered.
const fn state(flow: &Flow) -> &'static str {
    match flow.state {
        State::Opening | State::Datagram => "new",
        State::Established | State::DatagramReplied => "established",
        State::Closed => "closed",
        State::Icmp if flow.sides[0].packets > 0 && flow.sides[1].packets > 0 => "established",
        State::Icmp => "new",
    }
}

/// In EVE's words where it has one; `active` for a flow that goes on.
const fn reason(end: Option<FlowEnd>) -> &'static str {
    match end {
        None => "active",
        Some(FlowEnd::Closed) => "closed",
        Some(FlowEnd::Idle) => "timeout",
        Some(FlowEnd::Evicted) => "forced",
        Some(FlowEnd::Reused) => "tcp_reuse",
        Some(FlowEnd::CaptureEnd) => "shutdown",
    }
}

const fn ending(ending: TcpEnding) -> Option<&'static str> {
    match ending {
        TcpEnding::None => None,
        TcpEnding::Fin => Some("fin"),
        TcpEnding::Reset(Side::Originator) => Some("reset_by_originator"),
        TcpEnding::Reset(Side::Responder) => Some("reset_by_responder"),
    }
}

fn tcp(buffer: &mut Vec<u8>, flow: &Flow) {
    let [originator, responder] = [flow.sides[0].tcp_flags, flow.sides[1].tcp_flags];
    let both = originator | responder;
    raw!(buffer, ",\"tcp\":{\"tcp_flags\":\"");
    buffer.extend_from_slice(&json::hex_pair(both));
    raw!(buffer, "\",\"tcp_flags_ts\":\"");
    buffer.extend_from_slice(&json::hex_pair(originator));
    raw!(buffer, "\",\"tcp_flags_tc\":\"");
    buffer.extend_from_slice(&json::hex_pair(responder));
    buffer.push(b'"');
    for (bit, name) in TCP_FLAGS.iter().enumerate() {
        if both & 1 << bit != 0 {
            raw!(buffer, ",\"");
            buffer.extend_from_slice(name.as_bytes());
            raw!(buffer, "\":true");
        }
    }
    key!(buffer, "state");
    json::name(
        buffer,
        match flow.state {
            State::Opening => "syn_sent",
            State::Closed => "closed",
            State::Established | State::Datagram | State::DatagramReplied | State::Icmp => {
                "established"
            }
        },
    );
    buffer.push(b'}');
}

fn side(buffer: &mut Vec<u8>, side: &SideCounters) {
    raw!(buffer, "{\"payload_bytes\":");
    json::number(buffer, side.payload_bytes);
    if side.retransmissions > 0 {
        key!(buffer, "retransmissions");
        json::number(buffer, side.retransmissions);
    }
    if side.gap_bytes > 0 {
        key!(buffer, "gap_bytes");
        json::number(buffer, side.gap_bytes);
    }
    if side.cut_frames > 0 {
        key!(buffer, "cut_frames");
        json::number(buffer, side.cut_frames);
    }
    buffer.push(b'}');
}

fn tunnel(buffer: &mut Vec<u8>, tunnel: &Tunnel) {
    raw!(buffer, ",\"tunnel\":{\"src_ip\":");
    json::ip(buffer, tunnel.source);
    key!(buffer, "dest_ip");
    json::ip(buffer, tunnel.destination);
    match tunnel.kind {
        TunnelKind::Vxlan => raw!(buffer, ",\"proto\":\"UDP\",\"kind\":\"vxlan\""),
        TunnelKind::Geneve => raw!(buffer, ",\"proto\":\"UDP\",\"kind\":\"geneve\""),
        TunnelKind::Gre => raw!(buffer, ",\"proto\":\"GRE\",\"kind\":\"gre\""),
        TunnelKind::IpInIp => raw!(buffer, ",\"proto\":\"IP\",\"kind\":\"ip_in_ip\""),
    }
    key!(buffer, "id");
    json::number(buffer, tunnel.id);
    buffer.push(b'}');
}

/// What has no record of its own: the first HTTP request, and SSH's banners.
fn facts(buffer: &mut Vec<u8>, facts: &FlowFacts) {
    if let Some(http) = &facts.http {
        raw!(buffer, ",\"http\":{\"http_method\":");
        json::string(buffer, &http.method);
        key!(buffer, "url");
        json::string(buffer, &http.path);
        if let Some(host) = &http.host {
            key!(buffer, "hostname");
            json::string(buffer, host);
        }
        if let Some(agent) = &http.user_agent {
            key!(buffer, "http_user_agent");
            json::string(buffer, agent);
        }
        if let Some(upgrade) = &http.upgrade {
            key!(buffer, "upgrade");
            json::string(buffer, upgrade);
        }
        if http.status != 0 {
            key!(buffer, "status");
            json::number(buffer, http.status);
        }
        buffer.push(b'}');
    }
    let Some(ssh) = &facts.ssh else { return };
    match (&ssh.originator, &ssh.responder) {
        (None, None) => return,
        (Some(client), None) => {
            raw!(buffer, ",\"ssh\":{\"client\":");
            banner(buffer, client);
        }
        (None, Some(server)) => {
            raw!(buffer, ",\"ssh\":{\"server\":");
            banner(buffer, server);
        }
        (Some(client), Some(server)) => {
            raw!(buffer, ",\"ssh\":{\"client\":");
            banner(buffer, client);
            key!(buffer, "server");
            banner(buffer, server);
        }
    }
    buffer.push(b'}');
}

/// `SSH-2.0-OpenSSH_9.2 Debian-2`: version and software (RFC 4253, section 4.2).
fn banner(buffer: &mut Vec<u8>, banner: &str) {
    let mut parts = banner.splitn(3, '-').skip(1);
    raw!(buffer, "{\"proto_version\":");
    json::string(buffer, parts.next().unwrap_or_default());
    key!(buffer, "software_version");
    json::string(buffer, parts.next().unwrap_or_default());
    buffer.push(b'}');
}
