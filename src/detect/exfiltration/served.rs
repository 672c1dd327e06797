//! What outsiders fetched from ports of the container.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedMap;
use crate::detect::{Finding, Seen, Severity, Verdict};
use crate::event::{Endpoint, IpProtocol};
use crate::time::Timestamp;

use super::explain::{Bytes, Seconds};
use super::{PULL, Settings};

/// One served port. Bytes and outsiders are counted from the first outsider on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Port {
    /// First fetch, by anyone.
    first: Timestamp,
    /// First fetch by an outsider.
    first_outside: Timestamp,
    /// Latest fetch by an outsider.
    last: Timestamp,
    /// Sent to outsiders (bytes).
    pub(super) sent_bytes: u64,
    /// Received from them (bytes).
    received_bytes: u64,
    /// The first outsider.
    outsider: Option<Endpoint>,
    /// Others came too.
    many: bool,
    /// What was last said, at how many bytes. After a restart, what goes on is told anew.
    #[serde(skip)]
    pub(super) raised: Option<(Severity, u64)>,
}

/// Served ports, bounded.
#[derive(Debug)]
pub(super) struct Served {
    ports: BoundedMap<(u16, u8), Port>,
}

impl Served {
    pub(super) fn new(max: usize) -> Self {
        Self { ports: BoundedMap::new(max) }
    }

    /// All ports, the longest unused first.
    pub(super) fn all(&self) -> Vec<(&(u16, u8), &Port)> {
        let mut ports: Vec<_> = self.ports.iter().collect();
        ports.reverse();
        ports
    }

    /// Goes on from a past; of a port that was served since, when that was first.
    pub(super) fn recall(&mut self, past: Vec<((u16, u8), Port)>) {
        for (key, port) in past {
            match self.ports.get_mut(&key) {
                Some(young) => young.first = young.first.min(port.first),
                None => {
                    self.ports.insert(key, port);
                }
            }
        }
    }

    /// Ports that had to make room so far (count).
    pub(super) const fn evicted(&self) -> u64 {
        self.ports.evicted()
    }

    /// Counts what a caller fetched and gave. Returns the account of the port.
    pub(super) fn count(
        &mut self,
        at: Timestamp,
        (port, protocol): (u16, IpProtocol),
        outsider: Option<Endpoint>,
        [sent, received]: [u64; 2],
    ) -> &mut Port {
        let account = self.ports.get_or_insert_with((port, protocol.0), || Port {
            first: at,
            first_outside: at,
            last: at,
            sent_bytes: 0,
            received_bytes: 0,
            outsider: None,
            many: false,
            raised: None,
        });
        let Some(outsider) = outsider else { return account };
        if account.outsider.is_none() {
            account.first_outside = at;
        }
        account.many |= account.outsider.get_or_insert(outsider).ip != outsider.ip;
        account.last = account.last.max(at);
        account.sent_bytes = account.sent_bytes.saturating_add(sent);
        account.received_bytes = account.received_bytes.saturating_add(received);
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
/// A server answers callers all day, so this alone is context. It is more where one outsider came
/// alone, took what passes the limit for a doubtful destination, and came to a port that has a past
/// without outsiders, or that a container with a past did not serve before (none of the web's).
pub(super) fn judge(
    port: &Port,
    seen: &Seen<'_>,
    settings: &Settings,
) -> Option<(Severity, Finding)> {
    let own = seen.flow.responder.port;
    let outsider = port.outsider.filter(|_| !port.many)?;
    let limit = settings.cold_start_bytes as f64 * settings.doubtful_factor;
    let served_for_s = port.first_outside.since(port.first).as_secs();
    let started_after_s = port.first.since(seen.container.first_seen).as_secs();
    let web = WEB_PORTS.contains(&own);
    let inside_so_far = served_for_s >= settings.history_min_s;
    let new_port = started_after_s >= settings.history_min_s && !web;
    let (sent, received) = (port.sent_bytes as f64, port.received_bytes as f64);
    let ratio = (sent - received) / (sent + received).max(1.0);
    if sent < limit || ratio < settings.producer_consumer_ratio_min {
        return None;
    }
    let severity = match (inside_so_far || new_port, web) {
        (true, _) => Severity::Medium,
        (false, false) => Severity::Low,
        (false, true) => return None,
    };
    if port.raised.is_some_and(|(said, bytes)| severity <= said && port.sent_bytes / 2 < bytes) {
        return None;
    }
    let evidence = Evidence {
        sent_bytes: port.sent_bytes,
        received_bytes: port.received_bytes,
        window_s: port.last.since(port.first_outside).as_secs().max(1),
        limit_bytes: limit as u64,
        served_port: own,
        served_inside_only_for_s: served_for_s,
        first_served_s_after_container: started_after_s,
        protocol: seen.flow.app_name().unwrap_or("unknown"),
        outsider: outsider.ip.to_string(),
    };
    let finding = Finding {
        subject: u64::from(own),
        severity,
        confidence: if severity >= Severity::Medium { 60 } else { 30 },
        title: format!(
            "Exfiltration: {} fetched by {} from port {own} of {{container}}",
            Bytes(port.sent_bytes),
            outsider.ip
        ),
        first_seen: port.first_outside,
        magnitude: sent,
        against: vec![
            "a service that was started late, or published for one partner".to_owned(),
            "a server answers its callers: ports that several outsiders use are not counted"
                .to_owned(),
        ],
        ..Finding::on_flow(&PULL, seen).explained(&evidence)
    };
    Some((severity, finding))
}

#[derive(Debug, Serialize)]
struct Evidence {
    sent_bytes: u64,
    received_bytes: u64,
    window_s: u64,
    limit_bytes: u64,
    served_port: u16,
    served_inside_only_for_s: u64,
    first_served_s_after_container: u64,
    protocol: &'static str,
    outsider: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} alone fetched {} in {} from port {} and gave {}; the limit is {}; the port was first \
             served {} after the container was first seen, and to the inside alone for {}",
            self.outsider,
            Bytes(self.sent_bytes),
            Seconds(self.window_s),
            self.served_port,
            Bytes(self.received_bytes),
            Bytes(self.limit_bytes),
            Seconds(self.first_served_s_after_container),
            Seconds(self.served_inside_only_for_s),
        )
    }
}
