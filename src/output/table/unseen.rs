//! What could not be seen: each with what that means for the findings.

use std::collections::BTreeMap;

use super::text::{Page, bytes, count};
use super::{Blind, plural};
use crate::record::Stats;

/// Containers that are named of those that are not fully seen (count).
const NAMED_MAX: usize = 8;

/// Writes a line for the containers that are not fully seen, and for each counter that is not zero.
pub(super) fn write(page: &mut Page, stats: &Stats, blind: &BTreeMap<String, Blind>) {
    page.heading("Not seen");
    let mut lines = lines(stats);
    if !blind.is_empty() {
        lines.insert(0, of_blind(blind));
    }
    if lines.is_empty() {
        page.remark(
            "Nothing was lost: no drops, gaps or cut frames, all frames decoded, no bound hit.",
        );
    }
    for line in lines {
        page.item(&line);
    }
}

fn of_blind(blind: &BTreeMap<String, Blind>) -> String {
    let named = blind.values().take(NAMED_MAX);
    let named: Vec<_> = named.map(|one| format!("{} ({})", one.name, one.state)).collect();
    let more = match blind.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {}", plural(more as u64, "other")),
    };
    format!(
        "{} not fully seen, as `vethwatch coverage` explains: {}{more}.",
        match blind.len() {
            1 => "1 container is".to_owned(),
            number => format!("{} containers are", count(number as u64)),
        },
        named.join(", ")
    )
}

fn lines(stats: &Stats) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |number: u64, line: String| {
        if number > 0 {
            lines.push(line);
        }
    };
    let inputs = stats.inputs;
    say(
        u64::from(inputs.interrupted),
        "Reading was interrupted: what came after is not in here.".to_owned(),
    );
    for (number, one, many, what) in [
        (inputs.cut_off, "input was", "inputs were", "cut off or damaged, and read up to there."),
        (inputs.passed_over, "file was", "files were", "passed over: not readable as captures."),
        (
            inputs.repeated,
            "input begins",
            "inputs begin",
            "with the same packets as another: what both hold counts once.",
        ),
        (
            inputs.skipped_frames,
            "frame was",
            "frames were",
            "left out: the link type of the interface cannot be read.",
        ),
    ] {
        say(number, format!("{} {} {what}", count(number), if number == 1 { one } else { many }));
    }
    let frames = |number: u64| plural(number, "frame");
    let of_all = |number: u64| {
        let all = stats.frames.saturating_add(stats.dropped_frames).max(1);
        let percent = 100.0 * number as f64 / all as f64;
        if percent < 0.1 { "under 0.1 %".to_owned() } else { format!("{percent:.1} %") }
    };
    say(
        stats.dropped_frames,
        format!(
            "{} ({}) lost by the capture: flows, volumes and content may miss parts.",
            frames(stats.dropped_frames),
            of_all(stats.dropped_frames)
        ),
    );
    say(
        stats.bulk_dropped_frames,
        format!(
            "{} of bulk counted under load and not analysed: volumes there are too low.",
            frames(stats.bulk_dropped_frames)
        ),
    );
    say(
        stats.bulk_cut_frames,
        format!(
            "{} of bulk cut to their headers under load: volumes hold, content is unknown.",
            frames(stats.bulk_cut_frames)
        ),
    );
    say(
        stats.gap_bytes,
        format!(
            "{} of TCP payload passed without being captured: content there is unknown.",
            bytes(stats.gap_bytes)
        ),
    );
    say(
        stats.one_sided_connections,
        format!(
            "{} seen in one direction only: what the other side said is unknown, and most findings \
             rest on both. Capture both directions.",
            plural(stats.one_sided_connections, "TCP connection")
        ),
    );
    say(
        stats.copied_frames,
        format!(
            "{} ({}) copies of what another interface had shown: counted once.",
            frames(stats.copied_frames),
            of_all(stats.copied_frames)
        ),
    );
    let by_snaplen = stats.cut_frames.saturating_sub(stats.bulk_cut_frames);
    say(
        by_snaplen,
        format!(
            "{} ({}) cut by the snap length: volumes hold, content behind the cut is unknown.",
            frames(by_snaplen),
            of_all(by_snaplen)
        ),
    );
    say(
        stats.out_of_order_frames,
        format!(
            "{} stamped earlier than one before: taken in the order of the capture.",
            frames(stats.out_of_order_frames)
        ),
    );
    let undecoded = &stats.undecoded;
    for (number, reason) in [
        (undecoded.no_link, "shorter than a link header"),
        (undecoded.not_ip, "not IP (ARP, LLDP and the like)"),
        (undecoded.bad_ip, "cut in the IP header, or contradictory there"),
        (undecoded.too_deep, "wrapped in too many headers"),
        (
            undecoded.fragments_dropped,
            "among fragments that did not complete in time or did not fit",
        ),
        (undecoded.unknown_link_type, "of a link type that cannot be read"),
    ] {
        let were = if number == 1 { "was" } else { "were" };
        say(number, format!("{} {were} {reason}.", frames(number)));
    }
    for (number, one, many, bound) in [
        (stats.flows_evicted, "flow was", "flows were", "ended early: flow.flows_max"),
        (
            stats.containers_refused,
            "address was",
            "addresses were",
            "not taken as a container: containers.containers_max",
        ),
        (stats.names_evicted, "name was", "names were", "forgotten early: containers.names_max"),
        (
            stats.destinations_evicted,
            "destination was",
            "destinations were",
            "forgotten early: a bound of [baseline]",
        ),
        (
            stats.workloads_evicted,
            "workload was",
            "workloads were",
            "forgotten early: state.workloads_max or state.bytes_max",
        ),
        (stats.alerts_evicted, "open finding was", "open findings were", "dropped: alert.open_max"),
    ] {
        say(
            number,
            format!("{} {} {bound} was hit.", count(number), if number == 1 { one } else { many }),
        );
    }
    for (detector, number) in &stats.detectors_evicted {
        let were = if *number == 1 { "was" } else { "were" };
        let what = "of what it watches";
        say(
            *number,
            format!(
                "`{detector}`: {} {what} {were} forgotten early: a bound of [detect.{detector}] was hit.",
                count(*number)
            ),
        );
    }
    say(
        stats.stream_bytes_dropped,
        format!(
            "{} of out-of-order payload not looked at: flow.stream_bytes_max was hit.",
            bytes(stats.stream_bytes_dropped)
        ),
    );
    lines
}
