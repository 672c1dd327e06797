//! From accounts to a verdict: how much is too much here, and what speaks for and against it.

use std::net::IpAddr;
use std::time::Duration;

use crate::baseline::DestinationKey;
use crate::detect::{Rule, Seen, Severity};
use crate::event::IpProtocol;

use super::bins::Bins;
use super::destination::{Destination, HOUR_S, History, Pushed, Steady};
use super::robust::Usual;
use super::services::Kind;
use super::{DRIP, Settings, VOLUME};

/// All that a verdict on one destination rests on.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) settings: &'a Settings,
    pub(super) seen: &'a Seen<'a>,
    pub(super) key: DestinationKey,
    pub(super) destination: &'a Destination,
    pub(super) given: &'a Bins,
    pub(super) fetched: &'a Bins,
}

/// What an upload was compared with, best first: the ladder of algorithms for cold starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rung {
    /// The container's own uploads to this destination.
    DestinationHistory,
    /// The container's own uploads to all destinations, before this one.
    OwnHistory,
    /// Other containers that use the destination.
    Siblings,
    /// Fixed limits.
    ColdStart,
}

impl Rung {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::DestinationHistory => "destination_history",
            Self::OwnHistory => "own_history",
            Self::Siblings => "siblings",
            Self::ColdStart => "cold_start",
        }
    }
}

/// What makes a destination or an upload worse.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Doubt {
    NoName,
    OddPort,
    UnknownProtocol,
    /// The container has a past in which it neither used the destination nor sent as much anywhere.
    Novel,
}

impl Doubt {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NoName => "no name",
            Self::OddPort => "odd port",
            Self::UnknownProtocol => "unknown protocol",
            Self::Novel => "new to a container with a past",
        }
    }
}

/// What would explain an upload innocently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Explanation {
    /// This many other containers uploaded as much to it, the least of them this much in an hour
    /// (bytes).
    Siblings(usize, u64),
    /// It takes uploads by design.
    Service(Kind),
    /// Callers gave the container this much in the same time (bytes).
    Relayed(f64),
    /// Many separate uploads of differing sizes, with pauses.
    Application { uploads: u32, median_bytes: f64 },
    /// It took uploads before: how often, and how much at most (bytes).
    Familiar(u32, f64),
}

impl Explanation {
    /// It changes a limit. That anyone may keep anything at a store explains nothing.
    const fn counts(&self) -> bool {
        !matches!(self, Self::Service(Kind::Store))
    }
}

/// How an upload compares.
#[derive(Debug)]
pub(super) struct Assessment {
    pub(super) pushed: Pushed,
    pub(super) day_bytes: f64,
    /// The limit that applies (bytes).
    pub(super) limit_bytes: f64,
    /// The limit without innocent explanations (bytes).
    pub(super) strict_limit_bytes: f64,
    pub(super) rung: Rung,
    pub(super) usual: Usual,
    pub(super) robust_z: f64,
    pub(super) doubts: Vec<Doubt>,
    pub(super) explanations: Vec<Explanation>,
    pub(super) steady: Option<Steady>,
    pub(super) shift: Option<Shift>,
    /// The limit of a steady trickle (bytes).
    pub(super) drip_limit_bytes: f64,
}

/// What comes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruling {
    pub(super) rule: &'static Rule,
    pub(super) severity: Severity,
    pub(super) confidence: u8,
}

impl Situation<'_> {
    /// Compares the destination's last hour with what is usual.
    pub(super) fn assess(&self) -> Assessment {
        let (settings, destination) = (self.settings, self.destination);
        let pushed = destination.pushed(HOUR_S, settings.producer_consumer_ratio_min);
        let (rung, usual) = self.usual();
        let largest = pushed.largest_bin_bytes;
        let robust_z = match (rung, destination.history) {
            (Rung::OwnHistory, Some(history)) => history.z(largest, destination.sent.width_s()),
            _ => usual.z(largest),
        };
        let doubts = self.doubts(self.is_novel(largest));
        let mut strict = settings.cold_start_bytes as f64;
        if doubts.iter().any(|doubt| *doubt != Doubt::Novel) {
            strict *= settings.doubtful_factor;
        }
        if doubts.contains(&Doubt::Novel) {
            strict *= settings.novel_factor;
        }
        let explanations = self.explanations(&doubts, pushed);
        let alike = explanations.iter().any(|e| matches!(e, Explanation::Siblings(..)));
        let rung = if alike && rung == Rung::ColdStart { Rung::Siblings } else { rung };
        let limit = explanations.iter().fold(strict, |limit: f64, explanation| {
            limit.max(match explanation {
                // What the hour holds of earlier sittings was judged then.
                Explanation::Familiar(_, largest) => {
                    settings.familiar_factor * largest
                        + (pushed.sent_bytes - destination.sitting_bytes as f64).max(0.0)
                }
                _ if explanation.counts() => settings.explained_factor * strict,
                _ => strict,
            })
        });
        let familiar = explanations.iter().any(|e| matches!(e, Explanation::Familiar(..)));
        let limit = if familiar { limit } else { limit.min(settings.hour_bytes_max as f64) };
        let drip_limit = match doubts.as_slice() {
            [] => settings.drip_named_bytes as f64,
            [Doubt::Novel] => settings.novel_factor * settings.drip_named_bytes as f64,
            _ => settings.drip_bytes as f64,
        };
        Assessment {
            drip_limit_bytes: drip_limit,
            pushed,
            day_bytes: destination
                .pushed(24 * HOUR_S, settings.producer_consumer_ratio_min)
                .sent_bytes,
            limit_bytes: limit,
            strict_limit_bytes: strict,
            rung,
            robust_z,
            usual,
            doubts,
            explanations,
            steady: destination.steady(),
            shift: self.shift(),
        }
    }

    /// The best past there is.
    fn usual(&self) -> (Rung, Usual) {
        let destination = self.destination;
        let own = destination.sent.before(destination.began);
        if own.len() >= self.settings.history_bins_min
            && destination.began.since(destination.first) >= self.history_min()
        {
            return (Rung::DestinationHistory, Usual::of(own));
        }
        if let Some(history) = destination.history {
            return (Rung::OwnHistory, history.usual);
        }
        if let Some((older, _)) = self.long_past() {
            return (Rung::DestinationHistory, Usual::of(older));
        }
        (Rung::ColdStart, Usual::default())
    }

    fn history_min(&self) -> Duration {
        Duration::from_secs(self.settings.history_min_s)
    }

    /// The container has a past in which it neither used the destination nor sent as much anywhere.
    fn is_novel(&self, largest_bin_bytes: f64) -> bool {
        let (settings, destination) = (self.settings, self.destination);
        let age = destination.first_seen.since(self.seen.container.first_seen);
        let z = |history: History| history.z(largest_bin_bytes, destination.sent.width_s());
        age >= self.history_min()
            && destination.history.is_some_and(|history| z(history) >= settings.robust_z_min)
    }

    /// The older two thirds of a destination's bins, and the newest, where there is enough.
    fn long_past(&self) -> Option<(&[f32], &[f32])> {
        let destination = self.destination;
        let bins = destination.sent.all();
        let long = bins.len() >= 2 * self.settings.history_bins_min
            && destination.last.since(destination.first) >= 2 * self.history_min();
        long.then(|| bins.split_at(bins.len() - bins.len() / 3))
    }

    /// Other containers that the destination answered (count); 7 or 8 may mean more.
    pub(super) fn others(&self) -> usize {
        let own = self.seen.container.number;
        let usage = self.seen.node.destinations.get(self.key);
        usage.map_or(0, |usage| usage.others(own).count())
    }

    /// Several others upload alike: they began a while ago, each sent about as much in some hour,
    /// and nothing is suspected of the destination. Their number, and the least of what they sent.
    fn siblings_alike(&self, pushed: Pushed) -> Option<(usize, u64)> {
        let at = self.seen.flow.last;
        let usage = self.seen.node.destinations.get(self.key)?;
        let least = pushed.sent_bytes / self.settings.familiar_factor.max(1.0);
        let alike = usage
            .others(self.seen.container.number)
            .filter(|user| at.since(user.first) >= self.history_min())
            .map(|user| user.upload_hour_max_bytes)
            .filter(|bytes| *bytes as f64 >= least);
        let (number, bytes) =
            alike.fold((0, u64::MAX), |(number, all), bytes| (number + 1, all.min(bytes)));
        (number >= self.settings.siblings_min && !usage.is_suspected(at)).then_some((number, bytes))
    }

    fn doubts(&self, novel: bool) -> Vec<Doubt> {
        let flow = self.seen.flow;
        let app = flow.app.map(|app| app.name);
        let quic = flow.protocol == IpProtocol::UDP && flow.responder.port == 443;
        [
            (self.destination.name.is_none() && !is_telemetry(app), Doubt::NoName),
            (!PORTS.contains(&flow.responder.port), Doubt::OddPort),
            (app.is_none() && !quic && !flow.midstream, Doubt::UnknownProtocol),
            (novel, Doubt::Novel),
        ]
        .into_iter()
        .filter_map(|(holds, doubt)| holds.then_some(doubt))
        .collect()
    }

    fn explanations(&self, doubts: &[Doubt], pushed: Pushed) -> Vec<Explanation> {
        let destination = self.destination;
        let plain = doubts.iter().all(|doubt| *doubt == Doubt::Novel);
        let mut found = Vec::new();
        if let Some((others, least_bytes)) = self.siblings_alike(pushed).filter(|_| plain) {
            found.push(Explanation::Siblings(others, least_bytes));
        }
        if let Some(kind) = destination.service.filter(|_| plain && self.name_is_backed()) {
            found.push(Explanation::Service(kind));
        }
        let given = self.given.since(destination.began).iter().map(|bytes| f64::from(*bytes)).sum();
        if plain && pushed.sent_bytes <= 1.25 * given {
            found.push(Explanation::Relayed(given));
        }
        if plain && destination.uploads.sparse_and_varied() {
            let uploads = destination.uploads.number();
            let median_bytes =
                destination.uploads.median_and_spread().map_or(0.0, |(size, _)| size);
            found.push(Explanation::Application { uploads, median_bytes });
        }
        if destination.sittings >= 2 && destination.sitting_largest_bytes > 0.0 {
            let largest = destination.sitting_largest_bytes;
            found.push(Explanation::Familiar(destination.sittings, largest));
        }
        found
    }

    /// The container asked DNS for the name that it claims to speak to, as far as DNS was seen: a
    /// server name in a handshake alone is the client's word.
    fn name_is_backed(&self) -> bool {
        let names = &self.seen.container.names;
        let asked = names.of(self.seen.at, self.destination.peer.ip);
        match (asked, self.destination.name.as_deref()) {
            (Some(asked), Some(name)) => psl::domain_str(asked) == psl::domain_str(name),
            (None, _) => names.is_empty(),
            (Some(_), None) => false,
        }
    }

    /// How far the destination's level has risen, where there is enough of a past: CUSUM of its
    /// newest bins over the older ones, and the bytes above the older median. Nothing where callers
    /// bring more in the same time: then it is load.
    fn shift(&self) -> Option<Shift> {
        let (older, newer) = self.long_past()?;
        let load = self.given.all();
        let (before, after) = load.split_at(load.len() - load.len() / 3);
        if Usual::of(before).cusum(after) >= Usual::CUSUM_LIMIT {
            return None;
        }
        let usual = Usual::of(older);
        let sum: f64 = newer.iter().map(|bytes| f64::from(*bytes)).sum();
        Some(Shift {
            cusum: usual.cusum(newer),
            excess_bytes: (sum - usual.median_bytes * newer.len() as f64).max(0.0),
        })
    }
}

/// A rise of a destination's level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shift {
    pub(super) cusum: f64,
    pub(super) excess_bytes: f64,
}

impl Assessment {
    /// Whether this is worth telling, and how loudly: the louder of the two rules. One that was told
    /// stays what it is called, so that a trickle that has become much is not told twice.
    pub(super) fn rule(&self, settings: &Settings, told: Option<&'static Rule>) -> Option<Ruling> {
        let (volume, drip) = (self.volume(settings), self.drip(settings));
        match (volume, drip) {
            (Some(volume), Some(drip)) if told.is_some_and(|told| told.id == DRIP.id) => {
                let severity = volume.severity.max(drip.severity);
                Some(Ruling {
                    severity,
                    confidence: volume.confidence.max(drip.confidence),
                    ..drip
                })
            }
            (Some(volume), Some(drip)) if drip.severity > volume.severity => Some(drip),
            (Some(volume), _) => Some(volume),
            (None, drip) => drip,
        }
    }

    pub(super) fn is_familiar(&self) -> bool {
        self.explanations.iter().any(|e| matches!(e, Explanation::Familiar(..)))
    }

    /// Some of the destination, not only its novelty, speaks against it.
    fn is_doubtful(&self) -> bool {
        self.doubts.iter().any(|doubt| *doubt != Doubt::Novel)
    }

    fn is_application_of_large(&self) -> bool {
        let large = |e: &Explanation| matches!(e, Explanation::Application { median_bytes, .. } if *median_bytes >= LARGE_BYTES);
        self.explanations.iter().any(large)
    }

    fn volume(&self, settings: &Settings) -> Option<Ruling> {
        let bytes = self.pushed.sent_bytes;
        let explained = match self.explanations.iter().any(Explanation::counts) {
            true => settings.explained_factor,
            false => 1.0,
        };
        let over_day = self.day_bytes >= settings.day_bytes_max as f64 * explained;
        if bytes < self.limit_bytes && !over_day {
            let severity = if self.is_familiar() { Severity::Info } else { Severity::Low };
            return (bytes >= self.strict_limit_bytes).then_some(Ruling {
                rule: &VOLUME,
                severity,
                confidence: 30,
            });
        }
        let times = bytes / self.limit_bytes.max(1.0);
        let grave = match self.doubts.len() {
            0 | 1 => times >= 10.0,
            2 => times >= 2.0,
            _ => true,
        };
        Some(Ruling {
            rule: &VOLUME,
            severity: if grave { Severity::High } else { Severity::Medium },
            confidence: self.confidence(times),
        })
    }

    fn drip(&self, settings: &Settings) -> Option<Ruling> {
        // Large separate uploads of differing sizes are for `exfil.volume` to judge.
        if self.is_application_of_large() {
            return None;
        }
        let risen =
            self.shift.filter(|shift| shift.cusum >= Usual::CUSUM_LIMIT && !self.is_doubtful());
        let steady = self.steady.filter(|steady| {
            !self.doubts.is_empty() || steady.bytes_per_s() >= settings.drip_named_min_bytes_per_s
        });
        let risen = risen.map_or(0.0, |shift| shift.excess_bytes.min(self.pushed.sent_bytes));
        let bytes = steady.map_or(risen, |_| self.pushed.sent_bytes);
        let limit = self.drip_limit_bytes;
        if bytes < limit {
            return None;
        }
        let times = bytes / limit.max(1.0);
        let explained = self
            .explanations
            .iter()
            .any(|e| e.counts() && !matches!(e, Explanation::Application { .. }));
        Some(Ruling {
            rule: &DRIP,
            severity: match explained {
                true => Severity::Low,
                false if times >= 10.0 && self.is_doubtful() => Severity::High,
                false => Severity::Medium,
            },
            confidence: if explained { 25 } else { self.confidence(times) },
        })
    }

    /// 0 to 100: half for being over the limit, more for each doubling and each doubt, less for each
    /// explanation.
    fn confidence(&self, times: f64) -> u8 {
        let explained = self.explanations.iter().filter(|e| e.counts()).count() as f64;
        let for_it = 55.0 + 5.0 * times.max(1.0).log2() + 8.0 * self.doubts.len() as f64;
        (for_it - 10.0 * explained).clamp(20.0, 97.0) as u8
    }
}

/// Uploads of this size in the median are documents and pictures rather than log lines or the pieces
/// of a trickle (bytes).
const LARGE_BYTES: f64 = 262_144.0;

/// The destination's name, where it has one that is no address.
pub(super) fn name_of(seen: &Seen<'_>) -> Option<Box<str>> {
    let name = seen.flow.name.as_deref()?;
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (!address && !name.is_empty()).then(|| name.into())
}

/// Protocols that carry logs and metrics, known by their content: their servers are often configured
/// by address.
fn is_telemetry(app: Option<&str>) -> bool {
    matches!(app, Some("syslog" | "statsd" | "graphite" | "kafka" | "ntp"))
}

/// Ports that services use for what they are (IANA), and the customary second ones of the web.
const PORTS: &[u16] = &[
    20, 21, 22, 25, 53, 80, 110, 123, 143, 443, 465, 514, 587, 636, 853, 873, 989, 990, 993, 995,
    1883, 2003, 3478, 4317, 4318, 5671, 5672, 6514, 8080, 8125, 8443, 8883, 9092, 9093, 9418,
];
