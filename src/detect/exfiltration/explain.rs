//! Verdicts in words and numbers that a person can check.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use crate::detect::Finding;
use crate::event::{Endpoint, IpProtocol};
use crate::time::Timestamp;

use super::destination::{Destination, HOUR_S};
use super::judge::{Assessment, Explanation, Ruling, Rung, Situation};
use super::services::Kind;
use super::{DRIP, SPLIT};

/// The evidence of one destination's finding. Its `Display` is the finding's sentence.
#[derive(Debug, Serialize)]
struct Evidence {
    /// Pushed to the destination in the window.
    sent_bytes: u64,
    received_bytes: u64,
    window_s: u64,
    rate_bytes_per_s: u64,
    producer_consumer_ratio: f64,
    limit_bytes: u64,
    /// Rung of the ladder: what it was compared with.
    baseline: &'static str,
    baseline_bins: usize,
    baseline_bin_s: u32,
    baseline_median_bytes: u64,
    baseline_largest_bytes: u64,
    largest_bin_bytes: u64,
    largest_bin_s: u32,
    robust_z: f64,
    destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_name: Option<String>,
    destination_first_seen_s_ago: u64,
    /// Containers that the destination answered, this one included (64 means 64 or more).
    destination_containers: usize,
    node_containers: u32,
    #[serde(skip)]
    siblings: Option<(usize, u64)>,
    protocol: &'static str,
    uploads: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_median_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steady_bins: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steady_bin_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cusum: Option<f64>,
    /// Read from inside the cluster in the same hour: where the data may come from.
    cluster_received_bytes: u64,
    doubts: Vec<&'static str>,
    #[serde(skip)]
    drip: bool,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, received) = (Bytes(self.sent_bytes), Bytes(self.received_bytes));
        let (over, limit) = (Seconds(self.window_s), Bytes(self.limit_bytes));
        match (self.drip, self.steady_bins, self.steady_bin_s) {
            (true, Some(bins), Some(bin_s)) => write!(
                f,
                "{sent} went out to {} in {over}, at a steady level in {bins} intervals of {bin_s} s, \
                 and {received} came back; the limit for a steady trickle is {limit}",
                self.destination,
            )?,
            (true, ..) => write!(
                f,
                "{sent} went out to {} in {over}, and {received} came back, at a level that has risen \
                 for longer than chance would have it (CUSUM {:.1}, limit 5)",
                self.destination,
                self.cusum.unwrap_or_default(),
            )?,
            (false, ..) => write!(
                f,
                "{sent} went out to {} in {over}, and {received} came back; the limit for an hour is \
                 {limit}",
                self.destination,
            )?,
        }
        match self.baseline {
            "own_history" => write!(
                f,
                "; before, all that the container sent outside in {} s was {} in the median of {} bins \
                 (largest {}), this upload reached {} in {} s",
                self.baseline_bin_s,
                Bytes(self.baseline_median_bytes),
                self.baseline_bins,
                Bytes(self.baseline_largest_bytes),
                Bytes(self.largest_bin_bytes),
                self.largest_bin_s,
            ),
            "destination_history" => write!(
                f,
                "; before, this destination got {} in the median of {} bins of {} s (largest {})",
                Bytes(self.baseline_median_bytes),
                self.baseline_bins,
                self.baseline_bin_s,
                Bytes(self.baseline_largest_bytes),
            ),
            "siblings" => write!(
                f,
                "; {} other containers sent it {} and more in an hour, this one has no past yet",
                self.siblings.unwrap_or_default().0,
                Bytes(self.siblings.unwrap_or_default().1),
            ),
            _ => write!(f, "; the container has no past yet to compare with"),
        }?;
        if !self.doubts.is_empty() {
            write!(f, "; the destination: {}", self.doubts.join(", "))?;
        }
        Ok(())
    }
}

/// The finding about one destination.
pub(super) fn finding(situation: &Situation<'_>, found: &Assessment, ruling: Ruling) -> Finding {
    let (seen, destination) = (situation.seen, situation.destination);
    let drip = ruling.rule.id == DRIP.id;
    let began = if drip { destination.first } else { destination.began };
    let window_s = (seen.flow.last.since(began).as_secs()).clamp(1, u64::from(HOUR_S));
    let sent_bytes = found.pushed.sent_bytes as u64;
    let steady = found.steady.filter(|_| drip);
    let evidence = Evidence {
        sent_bytes,
        received_bytes: found.pushed.received_bytes as u64,
        window_s,
        rate_bytes_per_s: sent_bytes / window_s,
        producer_consumer_ratio: rounded(found.pushed.producer_consumer_ratio()),
        limit_bytes: if drip { found.drip_limit_bytes } else { found.limit_bytes } as u64,
        baseline: found.rung.as_str(),
        baseline_bins: found.usual.bins,
        baseline_bin_s: match found.rung {
            Rung::DestinationHistory => destination.sent.width_s(),
            Rung::OwnHistory => destination.history.map_or(0, |history| history.bin_s),
            Rung::Siblings | Rung::ColdStart => 0,
        },
        baseline_median_bytes: found.usual.median_bytes as u64,
        baseline_largest_bytes: found.usual.largest_bytes as u64,
        largest_bin_bytes: found.pushed.largest_bin_bytes as u64,
        largest_bin_s: destination.sent.width_s(),
        robust_z: rounded(found.robust_z),
        destination: label(destination),
        destination_name: destination.name.as_deref().map(str::to_owned),
        destination_first_seen_s_ago: seen.flow.last.since(destination.first_seen).as_secs(),
        destination_containers: situation.others() + 1,
        node_containers: seen.node.containers(),
        siblings: found.explanations.iter().find_map(|explanation| match *explanation {
            Explanation::Siblings(others, least_bytes) => Some((others, least_bytes)),
            _ => None,
        }),
        protocol: seen.flow.app_name().unwrap_or("unknown"),
        uploads: destination.uploads.number(),
        upload_median_bytes: destination.uploads.median_and_spread().map(|(size, _)| size as u64),
        steady_bins: steady.map(|steady| steady.bins),
        steady_bin_s: steady.map(|steady| steady.bin_s),
        cusum: found.shift.map(|shift| rounded(shift.cusum)),
        cluster_received_bytes: situation.fetched.within(HOUR_S) as u64,
        doubts: found.doubts.iter().map(|doubt| doubt.as_str()).collect(),
        drip,
    };
    let shape = if drip { " in a steady trickle" } else { "" };
    let title = format!(
        "Exfiltration: {} from {{container}} to {}{shape}",
        Bytes(sent_bytes),
        label(destination)
    );
    Finding {
        subject: situation.key.0,
        severity: ruling.severity,
        confidence: ruling.confidence,
        title,
        against: against(situation, found),
        first_seen: began,
        magnitude: found.pushed.sent_bytes,
        ..Finding::on_flow(ruling.rule, seen).explained(&evidence)
    }
}

/// One of the destinations of a split upload.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Part {
    pub(super) destination: String,
    pub(super) sent_bytes: u64,
    /// Share of what this destination alone is allowed.
    pub(super) share_of_limit: f64,
    #[serde(skip)]
    pub(super) peer: Endpoint,
    #[serde(skip)]
    pub(super) protocol: IpProtocol,
    #[serde(skip)]
    pub(super) began: Timestamp,
}

/// A destination as a part of a split upload.
pub(super) fn part(destination: &Destination, sent_bytes: f64) -> Part {
    Part {
        destination: label(destination),
        sent_bytes: sent_bytes as u64,
        share_of_limit: rounded(destination.share_of_limit),
        peer: destination.peer,
        protocol: destination.protocol,
        began: destination.began,
    }
}

/// The evidence of a split upload.
#[derive(Debug, Serialize)]
struct Split {
    sent_bytes: u64,
    window_s: u64,
    destinations: usize,
    limits: f64,
    limits_max: f64,
    largest: Vec<Part>,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} went out to {} destinations in {}, none of which the container used for that before; \
             together {:.1} times what one may get in an hour",
            Bytes(self.sent_bytes),
            self.destinations,
            Seconds(self.window_s),
            self.limits,
        )
    }
}

/// Parts that a split upload's evidence lists at most (count).
const PARTS_MAX: usize = 16;

/// The finding about several destinations; `parts` has the largest first.
pub(super) fn split(at: Timestamp, mut parts: Vec<Part>, limits: f64, limits_max: f64) -> Finding {
    let sent_bytes = parts.iter().map(|part| part.sent_bytes).sum();
    let began = parts.iter().map(|part| part.began).min().unwrap_or(at);
    let nowhere = (Endpoint { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 }, IpProtocol::TCP);
    let (largest, protocol) = parts.first().map_or(nowhere, |part| (part.peer, part.protocol));
    let destinations = parts.len();
    parts.truncate(PARTS_MAX);
    let evidence = Split {
        sent_bytes,
        window_s: at.since(began).as_secs().clamp(1, u64::from(HOUR_S)),
        destinations,
        limits: rounded(limits),
        limits_max,
        largest: parts,
    };
    Finding {
        title: format!(
            "Exfiltration: {} from {{container}} to {destinations} destinations together",
            Bytes(sent_bytes)
        ),
        first_seen: began,
        magnitude: sent_bytes as f64,
        against: vec![
            "crawlers and clients of many services receive more than they send: such time is not counted"
                .to_owned(),
            "peer-to-peer software and senders of mail or webhooks do this by design; allow them by container"
                .to_owned(),
        ],
        ..Finding::on_peer(&SPLIT, largest, protocol).explained(&evidence)
    }
}

/// Innocent explanations: those that hold, then those that were looked for in vain.
fn against(situation: &Situation<'_>, found: &Assessment) -> Vec<String> {
    let seen = situation.seen;
    let mut against: Vec<String> = found
        .explanations
        .iter()
        .map(|explanation| match *explanation {
            Explanation::Siblings(others, least_bytes) => format!(
                "{others} other containers sent this destination {} and more in an hour",
                Bytes(least_bytes)
            ),
            Explanation::Service(Kind::Store) => {
                "a public store: backups go there, and so does stolen data; the name does not say whose \
                 account it is"
                    .to_owned()
            }
            Explanation::Service(Kind::Intake) => {
                "a service that takes uploads by design; ten times the limit is allowed".to_owned()
            }
            Explanation::Relayed(bytes) => format!(
                "callers gave the container {} in the same time: it may pass on what it is given",
                Bytes(bytes as u64)
            ),
            Explanation::Application { uploads, .. } => format!(
                "{uploads} separate uploads of differing sizes with pauses, as an application makes them"
            ),
            Explanation::Familiar(times, largest) => format!(
                "it took uploads {times} times before, up to {}",
                Bytes(largest as u64)
            ),
        })
        .collect();
    let has = |wanted: fn(&Explanation) -> bool| found.explanations.iter().any(wanted);
    if !has(|e| matches!(e, Explanation::Familiar(..))) {
        against.push(
            "a backup to a store in regular use: this destination took no such uploads before"
                .to_owned(),
        );
    }
    if !has(|e| matches!(e, Explanation::Siblings(..))) {
        against.push(format!(
            "a job of the whole workload: {}",
            match (seen.node.containers(), situation.others()) {
                (0 | 1, _) => "no other container was seen that could tell".to_owned(),
                (all, 0) => format!("of {all} containers no other uses this destination"),
                (all, others) => format!(
                    "of {all} containers {others} other{} use{} this destination, and that \
                     explains nothing unless several are seen to send it as much, and nothing \
                     else is odd about it",
                    if others == 1 { "" } else { "s" },
                    if others == 1 { "s" } else { "" },
                ),
            }
        ));
    }
    against.push(
        "downloads, answers and calls: time in which much came back is not counted".to_owned(),
    );
    if seen.flow.midstream {
        against.push("the flow began before the capture: who opened it is a guess".to_owned());
    }
    against
}

/// `203.0.113.9:443 (drop.example)`.
pub(super) fn label(destination: &Destination) -> String {
    match &destination.name {
        Some(name) => format!("{} ({name})", destination.peer),
        None => destination.peer.to_string(),
    }
}

pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Bytes with a decimal unit: `180 MB`, `1.2 GB`, `64 kB`.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0..1_000 => return write!(f, "{} B", self.0),
            1_000..1_000_000 => (self.0 as f64 / 1e3, "kB"),
            1_000_000..1_000_000_000 => (self.0 as f64 / 1e6, "MB"),
            _ => (self.0 as f64 / 1e9, "GB"),
        };
        if value < 10.0 { write!(f, "{value:.1} {unit}") } else { write!(f, "{value:.0} {unit}") }
    }
}

/// Seconds in words: `8 s`, `5 min`, `1 h`.
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..120 => write!(f, "{} s", self.0),
            120..7_200 => write!(f, "{} min", self.0 / 60),
            _ => write!(f, "{} h", self.0 / 3_600),
        }
    }
}
