//! Several engines that share a node out among them, by interfaces: what each tells the others between
//! packets, and what they say together at the end.

use crate::baseline;
use crate::container::Container;
use crate::record::{Output, Stats, Summary, Undecoded};
use crate::state;

use super::Engine;
use super::judge::Judge;

/// What one engine tells the others, bounded: of the node's destinations, and of workloads.
#[derive(Debug)]
pub struct News {
    node: Option<baseline::News>,
    memories: Vec<state::Told>,
}

impl Engine {
    /// This is one of several engines: which from 0 on, of how many. Before anything else.
    pub fn share(&mut self, number: u32, of: u32) {
        self.line.flows.number_from(u64::from(number) + 1, u64::from(of));
        self.line.judge.baseline.share(number);
    }

    /// What the others are to know since the last time, for their [`Input::Node`](super::Input::Node).
    pub fn news(&mut self) -> Option<News> {
        let Judge { baseline, memories, .. } = &mut self.line.judge;
        let node = baseline.news();
        let memories = memories.as_mut().map(state::Memories::news).unwrap_or_default();
        (node.is_some() || !memories.is_empty()).then_some(News { node, memories })
    }

    /// After the end of each: what they know together.
    pub fn summarize(engines: &[&Self], output: &mut dyn Output) {
        let Some((first, others)) = engines.split_first() else { return };
        let judge = &first.line.judge;
        let mut stats = first.line.stats.clone();
        let mut containers: Vec<&Container> = judge.containers.iter().collect();
        let mut strangers = judge.containers.strangers().to_vec();
        let mut unmatched = judge.containers.unmatched();
        let mut allow = judge.alerts.allow_list().clone();
        for engine in others {
            let judge = &engine.line.judge;
            stats.add(&engine.line.stats);
            containers.extend(judge.containers.iter());
            strangers.extend(judge.containers.strangers());
            let missing = judge.containers.unmatched();
            unmatched.retain(|one| missing.contains(one));
            allow.add(judge.alerts.allow_list());
        }
        stats.containers_unmatched = unmatched.len() as u64;
        output.finish(&Summary {
            containers: &containers,
            unmatched: &unmatched,
            strangers: &strangers,
            stats: &stats,
            allow: &allow,
        });
    }
}

impl Judge {
    /// Takes in what another engine has told.
    pub(super) fn take_in(&mut self, news: &News) {
        if let Some(node) = &news.node {
            self.baseline.take_in(node);
        }
        if let Some(memories) = &mut self.memories {
            news.memories.iter().for_each(|told| memories.take_in(told));
        }
    }
}

impl Stats {
    /// Adds the counts of another engine that shares the node. What the capture says of itself is the
    /// node's, and the same in both.
    pub fn add(&mut self, other: &Self) {
        let Self {
            frames,
            frame_bytes,
            first_ns,
            last_ns,
            cut_frames,
            out_of_order_frames,
            undecoded,
            flows,
            flows_open,
            flows_evicted,
            stream_bytes_dropped,
            gap_bytes,
            copied_frames,
            straggler_frames,
            one_sided_connections,
            containers,
            containers_refused,
            dns_messages,
            tls_handshakes,
            names_evicted,
            destinations_evicted,
            detectors_evicted,
            workloads_evicted,
            alerts,
            alerts_allowed,
            alerts_evicted,
            dropped_frames: _,
            bulk_cut_frames: _,
            bulk_dropped_frames: _,
            containers_unmatched: _,
            inputs: _,
        } = other;
        if *frames > 0 && (self.frames == 0 || *first_ns < self.first_ns) {
            self.first_ns = *first_ns;
        }
        self.last_ns = self.last_ns.max(*last_ns);
        self.undecoded.add(undecoded);
        for (detector, more) in detectors_evicted {
            *self.detectors_evicted.entry(detector).or_default() += more;
        }
        // What one keeps, all keep.
        self.workloads_evicted = self.workloads_evicted.max(*workloads_evicted);
        for (sum, more) in [
            (&mut self.frames, frames),
            (&mut self.frame_bytes, frame_bytes),
            (&mut self.cut_frames, cut_frames),
            (&mut self.out_of_order_frames, out_of_order_frames),
            (&mut self.flows, flows),
            (&mut self.flows_open, flows_open),
            (&mut self.flows_evicted, flows_evicted),
            (&mut self.stream_bytes_dropped, stream_bytes_dropped),
            (&mut self.gap_bytes, gap_bytes),
            (&mut self.copied_frames, copied_frames),
            (&mut self.straggler_frames, straggler_frames),
            (&mut self.one_sided_connections, one_sided_connections),
            (&mut self.containers, containers),
            (&mut self.containers_refused, containers_refused),
            (&mut self.dns_messages, dns_messages),
            (&mut self.tls_handshakes, tls_handshakes),
            (&mut self.names_evicted, names_evicted),
            (&mut self.destinations_evicted, destinations_evicted),
            (&mut self.alerts, alerts),
            (&mut self.alerts_allowed, alerts_allowed),
            (&mut self.alerts_evicted, alerts_evicted),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

impl Undecoded {
    const fn add(&mut self, other: &Self) {
        let Self {
            no_link,
            not_ip,
            bad_ip,
            too_deep,
            fragments,
            fragments_dropped,
            unknown_link_type,
        } = other;
        self.no_link += *no_link;
        self.not_ip += *not_ip;
        self.bad_ip += *bad_ip;
        self.too_deep += *too_deep;
        self.fragments += *fragments;
        self.fragments_dropped += *fragments_dropped;
        self.unknown_link_type += *unknown_link_type;
    }
}
