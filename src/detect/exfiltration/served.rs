//! What outsiders fetched from ports of the container.

use std::fmt;

use serde::Serialize;

use crate::bounded::BoundedMap;
use crate::detect::{Finding, Seen, Severity, Verdict};
use crate::event::{Endpoint, IpProtocol};
use crate::time::Timestamp;

use super::explain::{Bytes, Seconds};
use super::judge::Ruling;
use super::{PULL, Settings};

/// One served port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// First fetch.
    pub(super) first: Timestamp,
    /// Latest fetch.
    pub(super) last: Timestamp,
    /// Sent to outsiders (bytes).
    pub(super) sent_bytes: u64,
    /// Received from them (bytes).
    pub(super) received_bytes: u64,
    /// The first outsider.
    pub(super) peer: Endpoint,
    /// Others came too.
    pub(super) many: bool,
    /// What was last said.
    pub(super) raised: Option<(Severity, u64)>,
}

/// Ports served to the outside, bounded.
#[derive(Debug)]
pub(super) struct Served {
    ports: BoundedMap<(u16, u8), Port>,
}

impl Served {
    pub(super) fn new(max: usize) -> Self {
        Self { ports: BoundedMap::new(max) }
    }

    /// Counts what an outsider fetched. Returns the account of the port.
    pub(super) fn count(
        &mut self,
        at: Timestamp,
        (port, protocol): (u16, IpProtocol),
        peer: Endpoint,
        sent: u64,
        received: u64,
    ) -> &mut Port {
        let key = (port, protocol.0);
        let account = self.ports.get_or_insert_with(key, || Port {
            first: at,
            last: at,
            sent_bytes: 0,
            received_bytes: 0,
            peer,
            many: false,
            raised: None,
        });
        account.last = account.last.max(at);
        account.sent_bytes = account.sent_bytes.saturating_add(sent);
        account.received_bytes = account.received_bytes.saturating_add(received);
        account.many |= account.peer.ip != peer.ip;
        account
    }

    /// Ends the findings of ports where nothing happens any more. How many (count).
    pub(super) fn close_quiet(
        &mut self,
        at: Timestamp,
        quiet_s: f64,
        verdicts: &mut Vec<Verdict>,
    ) -> usize {
        let mut closed = 0;
        for ((port, _), account) in self.ports.iter_mut() {
            if at.seconds_since(account.last) >= quiet_s && account.raised.take().is_some() {
                verdicts.push(Verdict::Close { rule: &PULL, subject: u64::from(*port) });
                closed += 1;
            }
        }
        closed
    }
}

/// Ports on which the outside is expected to fetch.
const WEB_PORTS: &[u16] = &[80, 443, 8080, 8443];

/// What a fetch from a port of the container means.
///
/// A server answers callers all day, so this alone is context. It is more where the container has a
/// past in which it did not serve this port, the port is none of the web's, one outsider came, and
/// the limit for a doubtful destination is passed.
pub(super) fn judge(
    port: &Port,
    seen: &Seen<'_>,
    settings: &Settings,
) -> Option<(Ruling, Finding)> {
    let own = seen.flow.responder.port;
    let limit = settings.cold_start_bytes as f64 * settings.doubtful_factor;
    let new = port.first.since(seen.container.first_seen).as_secs() >= settings.history_min_s;
    let (sent, received) = (port.sent_bytes as f64, port.received_bytes as f64);
    let ratio = (sent - received) / (sent + received).max(1.0);
    let plain = WEB_PORTS.contains(&own) || port.many;
    if sent < limit || plain || ratio < settings.producer_consumer_ratio_min {
        return None;
    }
    let severity = if new { Severity::Medium } else { Severity::Low };
    if port.raised.is_some_and(|(said, bytes)| severity <= said && port.sent_bytes / 2 < bytes) {
        return None;
    }
    let ruling = Ruling { rule: &PULL, severity, confidence: if new { 60 } else { 30 } };
    let evidence = Evidence {
        sent_bytes: port.sent_bytes,
        received_bytes: port.received_bytes,
        window_s: port.last.since(port.first).as_secs().max(1),
        limit_bytes: limit as u64,
        served_port: own,
        port_first_served_s_after_container: port.first.since(seen.container.first_seen).as_secs(),
        outsiders: 1,
        protocol: seen.flow.app_name().unwrap_or("unknown"),
        outsider: port.peer.ip.to_string(),
    };
    let finding = Finding {
        subject: u64::from(own),
        severity,
        confidence: ruling.confidence,
        title: format!(
            "Exfiltration: {} fetched by {} from port {own} of {{container}}",
            Bytes(port.sent_bytes),
            port.peer.ip
        ),
        first_seen: port.first,
        magnitude: sent,
        against: vec![
            "a service that was started late, or published for one partner".to_owned(),
            "ports of the web, and ports that several outsiders use, are not counted".to_owned(),
        ],
        ..Finding::on_flow(&PULL, seen).explained(&evidence)
    };
    Some((ruling, finding))
}

#[derive(Debug, Serialize)]
struct Evidence {
    sent_bytes: u64,
    received_bytes: u64,
    window_s: u64,
    limit_bytes: u64,
    served_port: u16,
    port_first_served_s_after_container: u64,
    outsiders: usize,
    protocol: &'static str,
    outsider: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} alone fetched {} in {} from port {}, which the container first served {} after it was \
             first seen; it gave {} in return; the limit is {}",
            self.outsider,
            Bytes(self.sent_bytes),
            Seconds(self.window_s),
            self.served_port,
            Seconds(self.port_first_served_s_after_container),
            Bytes(self.received_bytes),
            Bytes(self.limit_bytes),
        )
    }
}
