//! A finding in words and numbers: one sentence that a person can check by hand.

use std::fmt;

use serde::Serialize;

use super::rhythm::{Method, Rhythm};
use super::score::{Score, Sizes};
use super::standing::Standing;
use super::{BURST_SILENCE_S, Settings, rules};
use crate::detect::Rule;

/// Fewer beats than this are said to be few (count): with as many, a jitter of ±90 % is told from
/// chance.
const FEW_BEATS: usize = 24;

/// What beats: the noun of the sentence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Connections,
    Datagrams,
    /// Bursts of the container in one connection.
    OwnBursts,
    /// Bursts of the peer in one connection.
    PeerBursts,
    Unanswered,
    Queries,
}

impl Kind {
    /// What it is found by.
    pub(super) const fn rule(self) -> &'static Rule {
        match self {
            Self::Connections => &rules::CONNECTIONS,
            Self::Datagrams => &rules::DATAGRAMS,
            Self::OwnBursts | Self::PeerBursts => &rules::STREAM,
            Self::Unanswered => &rules::UNANSWERED,
            Self::Queries => &rules::DNS,
        }
    }

    /// Moments closer than this are one beat by nature (seconds).
    pub(super) const fn floor_s(self) -> f64 {
        match self {
            Self::Datagrams | Self::OwnBursts | Self::PeerBursts => BURST_SILENCE_S,
            Self::Connections | Self::Unanswered | Self::Queries => 0.0,
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Connections => "connections to",
            Self::Datagrams => "datagrams to",
            Self::OwnBursts => "bursts in one connection to",
            Self::PeerBursts => "bursts in one connection from",
            Self::Unanswered => "unanswered connection attempts to",
            Self::Queries => "DNS queries for ever new names under",
        }
    }

    /// What the container does, in a title.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Connections => "calls",
            Self::Datagrams => "sends a datagram to",
            Self::OwnBursts => "speaks in one connection to",
            Self::PeerBursts => "hears in one connection from",
            Self::Unanswered => "tries in vain to reach",
            Self::Queries => "asks DNS for names under",
        }
    }
}

/// All that a finding rests on.
#[derive(Debug, Serialize)]
pub(super) struct Evidence {
    #[serde(skip)]
    pub kind: Kind,
    /// Name or address, with the port.
    pub destination: String,
    /// Registrable domain (DNS only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Beats so far (count).
    pub beats: u64,
    /// Beats that were analysed, after the collapse (count).
    pub beats_analysed: usize,
    pub period_median_s: f64,
    /// Standard deviation over mean of the gaps.
    pub jitter_cv: f64,
    /// What `jitter_cv` has to stay below.
    pub cv_limit: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_coherence: Option<f64>,
    /// What `phase_coherence` has to exceed. Where it is given, `jitter_cv` proved nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_coherence_limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid_period_s: Option<f64>,
    /// Beats closer than this were taken as one.
    pub collapse_scale_s: f64,
    pub missed_beats: usize,
    pub pauses: usize,
    pub span_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes_median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_bytes_median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_size_share: Option<f64>,
    /// Distinct names over queries (DNS only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_names_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
    /// Containers of the node that use the destination (count; 64 means 64 or more).
    pub destination_containers: u32,
    pub node_containers: u32,
    /// First use of the destination by this container.
    pub destination_first_seen: String,
    /// Seconds after the container's first packet.
    pub destination_first_seen_after_s: f64,
    /// What is odd about the destination, with points.
    pub oddities: Vec<String>,
    /// 0 to 100.
    pub score: u32,
    pub score_timing: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_sizes: Option<f64>,
    pub score_persistence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_payload: Option<f64>,
    pub score_destination: f64,
    /// The weightiest oddity, for the sentence.
    #[serde(skip)]
    pub reason: Option<String>,
}

impl Evidence {
    pub(super) fn new(
        kind: Kind,
        destination: String,
        beats: u64,
        rhythm: &Rhythm,
        sizes: Option<&Sizes>,
        standing: &Standing,
        score: &Score,
    ) -> Self {
        let (phase_coherence, phase_coherence_limit, grid_period_s) = match rhythm.method {
            Method::Gaps => (None, None, None),
            Method::Grid { coherence, limit, period_s } => {
                (Some(coherence), Some(limit), Some(period_s))
            }
        };
        Self {
            kind,
            destination,
            domain: None,
            beats,
            beats_analysed: rhythm.beats,
            period_median_s: rounded(rhythm.period_median_s),
            jitter_cv: rounded(rhythm.cv),
            cv_limit: rounded(rhythm.cv_limit),
            phase_coherence: phase_coherence.map(rounded),
            phase_coherence_limit: phase_coherence_limit.map(rounded),
            grid_period_s: grid_period_s.map(rounded),
            collapse_scale_s: rhythm.scale_s,
            missed_beats: rhythm.missed,
            pauses: rhythm.pauses,
            span_s: rounded(rhythm.span_s),
            request_bytes_median: sizes.map(|sizes| sizes.request_bytes_median),
            response_bytes_median: sizes.map(|sizes| sizes.response_bytes_median),
            same_size_share: sizes.map(|sizes| rounded(sizes.same_size_share)),
            distinct_names_share: None,
            app_proto: None,
            ja4: None,
            destination_containers: standing.containers,
            node_containers: standing.node_containers,
            destination_first_seen: standing.first_used.to_string(),
            destination_first_seen_after_s: rounded(standing.first_used_after_s),
            oddities: standing
                .oddities
                .iter()
                .map(|oddity| format!("{} (+{})", oddity.says, oddity.points))
                .collect(),
            score: score.total(),
            score_timing: tenths(score.timing),
            score_sizes: score.sizes.map(tenths),
            score_persistence: tenths(score.persistence),
            score_payload: score.payload.map(tenths),
            score_destination: score.destination,
            reason: standing.oddities.first().map(|oddity| oddity.says.clone()),
        }
    }
}

/// Innocent explanations that were looked at, and what speaks against the finding.
pub(super) fn against(
    kind: Kind,
    name: Option<&str>,
    rhythm: &Rhythm,
    sizes: Option<&Sizes>,
    standing: &Standing,
    settings: &Settings,
) -> Vec<String> {
    let mut against = vec![match (kind, name) {
        (Kind::Queries, _) => {
            "reputation lists, content networks and trackers are asked for ever new names too"
                .to_owned()
        }
        (_, Some(name)) => format!(
            "telemetry, licence checks and update polls keep time so too: the destination has a \
             name, `{name}`"
        ),
        (_, None) if standing.used_before => {
            "clients of databases, brokers and queues keep time too".to_owned()
        }
        (_, None) => "a client that is configured with an address, as of an appliance or a probe, \
                      has no name for it either"
            .to_owned(),
    }];
    if standing.containers > 1 {
        against.push(format!(
            "{} of the node's {} containers use it",
            standing.containers, standing.node_containers
        ));
    } else if standing.node_containers < settings.siblings_min {
        against.push("there are too few other containers to tell whether they use it".to_owned());
    }
    if standing.used_before {
        let unknown = if name.is_some() { "" } else { "whether it has a name, and " };
        against.push(format!(
            "the first connection to it was open before it was seen: {unknown}since when it is used is \
             unknown"
        ));
    } else if standing.first_used_after_s < settings.new_after_s {
        against.push(format!(
            "it was first used {} after the container's first packet: what is configured is used from \
             the start",
            Seconds(standing.first_used_after_s)
        ));
    }
    if let Some(sizes) = sizes.filter(|sizes| sizes.same_size_share < 0.5) {
        against.push(format!(
            "the requests differ in size: {:.0} % are like the median, and check-ins are alike as \
             a rule",
            sizes.same_size_share * 100.0
        ));
    }
    if rhythm.beats < FEW_BEATS {
        against.push(format!("it rests on {} beats", rhythm.beats));
    }
    against
}

/// To milliseconds, or a thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { beats, destination, span_s, period_median_s: period, .. } = self;
        write!(
            f,
            "{beats} {} {destination}, the last {} of them over {} and one every {}",
            self.kind.noun(),
            self.beats_analysed,
            Seconds(*span_s),
            Seconds(*period),
        )?;
        match (self.phase_coherence, self.phase_coherence_limit, self.grid_period_s) {
            (Some(coherence), Some(limit), Some(period)) => write!(
                f,
                "; they lie on a grid of {} on which {} beat{} missing (phase coherence \
                 {coherence:.2}, where chance stays below {limit:.2})",
                Seconds(period),
                self.missed_beats,
                if self.missed_beats == 1 { " is" } else { "s are" },
            )?,
            _ => write!(
                f,
                "; the gaps vary by {:.0} %, where fewer than one in 1 000 chance series stays below {:.0} %",
                self.jitter_cv * 100.0,
                self.cv_limit * 100.0
            )?,
        }
        if let Some(reason) = &self.reason {
            write!(f, "; the destination {reason}")?;
        }
        Ok(())
    }
}

/// A span of time for a sentence: `4.9 s`, `12 min`, `3.5 h`.
pub(super) struct Seconds(pub f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s < 9.95 => write!(f, "{s:.1} s"),
            s if s < 119.5 => write!(f, "{s:.0} s"),
            s if s < 7_170.0 => write!(f, "{:.0} min", s / 60.0),
            s => write!(f, "{:.1} h", s / 3_600.0),
        }
    }
}
