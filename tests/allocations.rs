//! A packet of a known flow allocates nothing; flows and containers cost what is written down.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "common/traffic.rs"]
mod traffic;

use allocation_counter::measure;
use traffic::{Findings, KINDS, Traffic, engine};

/// Packets that make a flow known, and fill the buffers that it reuses.
const WARM_UP: u32 = 4_000;

#[test]
fn a_packet_of_a_known_flow_allocates_nothing() {
    for (kind, more) in KINDS {
        if kind.contains("flow of") || kind.contains("syn") {
            continue; // new flows: a slot, and what detectors keep about it
        }
        let mut traffic = Traffic::opening(kind);
        more(&mut traffic, WARM_UP + 2_000);
        let mut engine = engine();
        let mut findings = Findings(0);
        let warm = traffic.len() - 2_000;
        traffic.feed_range(&mut engine, 0..warm, &mut findings);
        let before = findings.0;
        let cost = measure(|| traffic.feed_range(&mut engine, warm..traffic.len(), &mut findings));
        assert_eq!(findings.0, before, "{kind}: a finding may allocate; choose other traffic");
        assert_eq!(cost.count_total, 0, "{kind}: {} allocations in 2000 packets", cost.count_total);
    }
}

/// Most bytes that a flow may cost, as docs/performance.md says.
const FLOW_BYTES_MAX: usize = 768;

#[test]
fn a_flow_costs_what_is_written_down() {
    let bytes = vethwatch::engine::flow_bytes();
    eprintln!("a flow: {bytes} bytes");
    assert!(bytes <= FLOW_BYTES_MAX, "{bytes} bytes");
}

/// Most bytes that a container without traffic may cost, as docs/performance.md says.
const CONTAINER_BYTES_MAX: i64 = 16 * 1024;

#[test]
fn a_container_costs_what_is_written_down() {
    let run = |mut engine: vethwatch::engine::Engine| {
        let mut traffic = Traffic::opening("tcp bulk, 1448 bytes");
        KINDS[0].1(&mut traffic, 1);
        traffic.feed(&mut engine, 0, &mut Findings(0));
        std::mem::forget(engine);
    };
    let with = measure(|| run(engine()));
    let without = measure(|| run(traffic::engine_of([10, 244, 1, 99])));
    let bytes = with.bytes_current - without.bytes_current;
    eprintln!("a container: {bytes} bytes");
    assert!((1..=CONTAINER_BYTES_MAX).contains(&bytes), "{bytes} bytes");
}
