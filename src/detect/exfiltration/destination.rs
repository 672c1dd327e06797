//! What one destination was sent: when, how much, in how many goes, and what came back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detect::{Rule, Severity};
use crate::event::{Endpoint, IpProtocol};
use crate::time::Timestamp;

use super::bins::Bins;
use super::judge::Ruling;
use super::robust::{Usual, median_and_spread};
use super::services::Kind;

/// An upload after a silence this long begins another sitting (seconds).
const SITTING_S: u64 = 300;

/// Seconds of an hour.
pub(super) const HOUR_S: u32 = 3_600;

/// The account of one destination. Made when it has been sent enough to matter; about 0.7 kB.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Destination {
    /// Its name: SNI, HTTP host or DNS answer; never an address.
    pub(super) name: Option<Box<str>>,
    /// Address, port and protocol of the latest flow to it.
    pub(super) peer: Endpoint,
    /// See `peer`.
    pub(super) protocol: IpProtocol,
    /// The service that its name belongs to.
    #[serde(skip)]
    pub(super) service: Option<Kind>,
    /// First flow to it, uploads or not.
    pub(super) first_seen: Timestamp,
    /// First upload.
    pub(super) first: Timestamp,
    /// First upload of the present sitting: no silence of [`SITTING_S`] since.
    pub(super) began: Timestamp,
    /// Latest upload.
    pub(super) last: Timestamp,
    /// What the container sent outside before, where it has a past.
    pub(super) history: Option<History>,
    /// Sent to it over time.
    pub(super) sent: Bins,
    /// Received from it over time, since it was first sent something.
    pub(super) received: Bins,
    /// Uploads: runs of sending without a silence of a second.
    pub(super) uploads: Uploads,
    /// Sent in the present sitting (bytes).
    pub(super) sitting_bytes: u64,
    /// Earlier sittings (count), and the largest of them (bytes); what was suspected is learnt slowly.
    pub(super) sittings: u32,
    pub(super) sitting_largest_bytes: f64,
    /// The next evaluation is due when this much has been sent in all (bytes).
    pub(super) due_bytes: u64,
    /// Sent in all (bytes).
    pub(super) total_bytes: u64,
    /// What it was pushed in an hour, in limits, when it was last judged.
    pub(super) share_of_limit: f64,
    /// What was last said about it.
    pub(super) raised: Option<Raised>,
}

/// What was usual before the first upload to a destination. Kept, because bins widen.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct History {
    pub(super) usual: Usual,
    pub(super) bin_s: u32,
}

impl History {
    /// Robust z of a bin of another width: its bytes are taken for evenly spread, which makes a wide
    /// bin smaller than it may have been.
    pub(super) fn z(&self, bytes: f64, bin_s: u32) -> f64 {
        self.usual.z(bytes * f64::from(self.bin_s) / f64::from(bin_s.max(1)))
    }
}

/// What was last said about a destination.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Raised {
    #[serde(with = "super::memory::rule")]
    pub(super) rule: &'static Rule,
    pub(super) severity: Severity,
    pub(super) bytes: f64,
    /// Its alert has not ended. None is open after a restart: what goes on is told anew.
    #[serde(skip)]
    pub(super) open: bool,
}

impl Raised {
    /// The ruling is louder, or about twice as much.
    pub(super) fn is_outgrown(&self, ruling: &Ruling, bytes: f64) -> bool {
        !self.open || ruling.severity > self.severity || bytes >= 2.0 * self.bytes
    }
}

/// Bytes pushed: sent in bins in which much more was sent than received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pushed {
    pub(super) sent_bytes: f64,
    pub(super) received_bytes: f64,
    /// The largest bin (bytes).
    pub(super) largest_bin_bytes: f64,
}

impl Pushed {
    /// (out − in) / (out + in): 1 is all out, −1 all in (Bullard & Gerth, FloCon 2014).
    pub(super) fn producer_consumer_ratio(&self) -> f64 {
        ratio(self.sent_bytes, self.received_bytes)
    }
}

fn ratio(sent: f64, received: f64) -> f64 {
    if sent + received > 0.0 { (sent - received) / (sent + received) } else { 0.0 }
}

impl Destination {
    pub(super) fn new(at: Timestamp, first_seen: Timestamp, peer: Endpoint) -> Self {
        Self {
            name: None,
            peer,
            protocol: IpProtocol::TCP,
            service: None,
            first_seen,
            first: at,
            began: at,
            last: at,
            history: None,
            sent: Bins::new(at),
            received: Bins::new(at),
            uploads: Uploads::default(),
            sitting_bytes: 0,
            sittings: 0,
            sitting_largest_bytes: 0.0,
            due_bytes: 0,
            total_bytes: 0,
            share_of_limit: 0.0,
            raised: None,
        }
    }

    /// Counts what a flow to it moved.
    pub(super) fn count(&mut self, at: Timestamp, sent_bytes: u64, received_bytes: u64) {
        self.received.add(at, received_bytes);
        if sent_bytes == 0 {
            self.sent.advance(at);
            return;
        }
        if self.is_quiet(at) {
            self.end_sitting();
            self.began = at;
        }
        self.sent.add(at, sent_bytes);
        self.uploads.count(at, sent_bytes);
        self.sitting_bytes = self.sitting_bytes.saturating_add(sent_bytes);
        self.total_bytes = self.total_bytes.saturating_add(sent_bytes);
        self.last = self.last.max(at);
    }

    /// Goes on with what was counted before this account was known to have a past.
    pub(super) fn go_on(&mut self, young: Self) {
        let received: f64 = young.received.all().iter().map(|bytes| f64::from(*bytes)).sum();
        self.count(young.last, young.total_bytes, received as u64);
        (self.peer, self.protocol) = (young.peer, young.protocol);
        self.raised = young.raised.or(self.raised);
        self.due_bytes = 0;
    }

    /// Nothing was sent for [`SITTING_S`].
    pub(super) fn is_quiet(&self, at: Timestamp) -> bool {
        at.since(self.last) >= Duration::from_secs(SITTING_S)
    }

    /// Learns the sitting that is over. One that was reported counts 1 MB, or half as much again as
    /// the largest before it, so that repeating it teaches slowly.
    fn end_sitting(&mut self) {
        let bytes = match self.raised {
            Some(raised) if raised.severity >= Severity::Medium => {
                (self.sitting_bytes as f64).min(1e6_f64.max(1.5 * self.sitting_largest_bytes))
            }
            _ => self.sitting_bytes as f64,
        };
        self.sitting_largest_bytes = self.sitting_largest_bytes.max(bytes);
        self.sittings = self.sittings.saturating_add(1);
        self.sitting_bytes = 0;
        self.uploads = Uploads::default();
    }

    /// What was pushed to it in the last `window_s` seconds, where a bin counts when its
    /// producer/consumer ratio is at least `ratio_min`.
    pub(super) fn pushed(&self, window_s: u32, ratio_min: f64) -> Pushed {
        let bins = window_s.div_ceil(self.sent.width_s()) as usize;
        let pairs = self.sent.all().iter().zip(self.received.all()).rev().take(bins);
        pairs.fold(Pushed::default(), |mut sum, (sent, received)| {
            let (sent, received) = (f64::from(*sent), f64::from(*received));
            if sent > 0.0 && ratio(sent, received) >= ratio_min {
                sum.sent_bytes += sent;
                sum.received_bytes += received;
                sum.largest_bin_bytes = sum.largest_bin_bytes.max(sent);
            }
            sum
        })
    }

    /// Sent at a steady level since the first upload (or for the last hour): the width (seconds) and
    /// the number of the bins that show it.
    ///
    /// Bins are joined up to eightfold, until four of five hold an upload, so that a rhythm slower
    /// than a bin is seen. Steady are then ten at least that spread by half their median at most.
    pub(super) fn steady(&self) -> Option<Steady> {
        let since = self.sent.since(self.first);
        let hour = (HOUR_S / self.sent.width_s()) as usize;
        let bins = &since[since.len().saturating_sub(hour)..];
        [1, 2, 4, 8]
            .into_iter()
            .map(|joined| (joined, join(bins, joined)))
            .find(|(_, sums)| {
                let active = sums.iter().filter(|bytes| **bytes > 0.0).count();
                sums.len() >= 10 && active * 5 >= sums.len() * 4
            })
            .and_then(|(joined, mut sums)| {
                sums.retain(|bytes| *bytes > 0.0);
                let (median_bytes, spread) = median_and_spread(&sums)?;
                (spread <= 0.5).then(|| Steady {
                    bin_s: self.sent.width_s() * joined as u32,
                    bins: sums.len(),
                    median_bytes,
                })
            })
    }
}

fn join(bins: &[f32], joined: usize) -> Vec<f64> {
    let sum = |chunk: &[f32]| chunk.iter().map(|bytes| f64::from(*bytes)).sum();
    bins.chunks_exact(joined).map(sum).collect()
}

/// A steady level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    pub(super) bin_s: u32,
    pub(super) bins: usize,
    pub(super) median_bytes: f64,
}

impl Steady {
    /// The level (bytes per second).
    pub(super) fn bytes_per_s(&self) -> f64 {
        self.median_bytes / f64::from(self.bin_s.max(1))
    }
}

/// Runs of sending, told apart by a second of silence.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Uploads {
    /// Sizes of the latest, as a ring (bytes).
    sizes: [f32; Self::SIZES],
    /// Runs that ended (count).
    ended: u32,
    current_bytes: f32,
    current_ended: Timestamp,
    first: Option<Timestamp>,
    /// Seconds of the clock with an upload in them (count).
    active_s: u32,
    active_latest: u64,
}

impl Uploads {
    const SIZES: usize = 16;
    /// A silence that ends a run (nanoseconds).
    const SILENCE_NS: u64 = 1_000_000_000;

    fn count(&mut self, at: Timestamp, bytes: u64) {
        let first = *self.first.get_or_insert(at);
        let second = at.nanos() / 1_000_000_000;
        if self.active_s == 0 || second > self.active_latest {
            self.active_s += 1;
            self.active_latest = second;
        }
        if at != first && at.nanos().saturating_sub(self.current_ended.nanos()) > Self::SILENCE_NS {
            self.sizes[self.ended as usize % Self::SIZES] = self.current_bytes;
            self.ended = self.ended.saturating_add(1);
            self.current_bytes = 0.0;
        }
        self.current_bytes += bytes as f32;
        self.current_ended = self.current_ended.max(at);
    }

    /// Runs, the one that goes on included (count).
    pub(super) const fn number(&self) -> u32 {
        self.ended + (self.current_bytes > 0.0) as u32
    }

    /// Share of the seconds since the first upload in which there was one, 0 to 1.
    pub(super) fn duty(&self) -> f64 {
        let Some(first) = self.first else { return 0.0 };
        let span_s = self.active_latest.saturating_sub(first.nanos() / 1_000_000_000) + 1;
        (f64::from(self.active_s) / span_s as f64).min(1.0)
    }

    /// Median of the latest sizes (bytes), and their spread: 1.4826 · MAD over the median.
    pub(super) fn median_and_spread(&self) -> Option<(f64, f64)> {
        let known = (self.ended as usize).min(Self::SIZES);
        let sizes: Vec<f64> = self.sizes[..known].iter().map(|size| f64::from(*size)).collect();
        median_and_spread(&sizes)
    }

    /// Separate uploads of differing sizes with pauses between them, as an application makes them
    /// for its users: at least five, sending less than half of the time, sizes spread by a fifth.
    pub(super) fn sparse_and_varied(&self) -> bool {
        self.number() >= 5
            && self.duty() < 0.5
            && self.median_and_spread().is_some_and(|(_, spread)| spread > 0.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_nanos((1e18 + seconds * 1e9) as u64)
    }

    fn destination() -> Destination {
        let peer = Endpoint { ip: "203.0.113.9".parse().unwrap(), port: 443 };
        Destination::new(at(0.0), at(0.0), peer)
    }

    #[test]
    fn counts_only_what_is_pushed() {
        for (case, sent, received, expected) in [
            ("an upload with its acknowledgements", 1_000_000, 10_000, 10_000_000.0),
            ("a video call, both ways", 1_000_000, 900_000, 0.0),
            ("a download with its requests", 10_000, 1_000_000, 0.0),
        ] {
            let mut destination = destination();
            for step in 0..10 {
                destination.count(at(f64::from(step) * 10.0), sent, received);
            }
            assert_eq!(destination.pushed(HOUR_S, 0.6).sent_bytes, expected, "{case}");
        }
    }

    #[test]
    fn knows_a_steady_level_at_any_rhythm() {
        for (case, gap_s, sizes, expected) in [
            ("64 kB each 2 s", 2.0, &[64_000][..], true),
            ("64 kB each 35 s", 35.0, &[64_000][..], true),
            ("32 to 96 kB each 5 s", 5.0, &[32_000, 96_000, 60_000, 70_000][..], true),
            ("two goes, and nothing else for long", 300.0, &[10_000_000][..], false),
            ("pictures of all sizes", 11.0, &[90_000, 4_000_000, 300_000, 1_500_000][..], false),
        ] {
            let mut destination = destination();
            let mut now = 0.0;
            for step in 0..(600.0 / gap_s) as usize {
                destination.count(at(now), sizes[step % sizes.len()], 500);
                now += gap_s;
            }
            assert_eq!(destination.steady().is_some(), expected, "{case}");
        }
    }

    #[test]
    fn tells_an_application_from_one_large_go() {
        let uploads = |sizes: &[u64], gap_s: f64, number: usize| {
            let mut uploads = Uploads::default();
            for step in 0..number {
                uploads.count(at(step as f64 * gap_s), sizes[step % sizes.len()]);
            }
            uploads
        };
        for (case, uploads, expected) in [
            ("one upload at full speed", uploads(&[65_536], 0.01, 3_000), false),
            ("equal parts with pauses", uploads(&[5_000_000], 4.0, 20), false),
            (
                "pictures as users bring them",
                uploads(&[900_000, 3_000_000, 200_000], 5.0, 20),
                true,
            ),
            ("files back to back", uploads(&[900_000, 3_000_000, 200_000], 0.9, 20), false),
        ] {
            assert_eq!(uploads.sparse_and_varied(), expected, "{case}");
        }
    }

    #[test]
    fn learns_what_was_suspected_slowly() {
        for (case, severity, largest) in [
            ("an upload that nobody minded", Severity::Low, 50e6),
            ("one that was reported", Severity::Medium, 1e6),
        ] {
            let mut destination = destination();
            destination.count(at(0.0), 50_000_000, 0);
            destination.raised =
                Some(Raised { rule: &super::super::VOLUME, severity, bytes: 5e7, open: true });
            destination.count(at(400.0), 1, 0);
            assert_eq!(
                (destination.sittings, destination.sitting_largest_bytes),
                (1, largest),
                "{case}"
            );
        }
    }
}
