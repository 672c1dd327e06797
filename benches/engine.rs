//! Instructions and allocations per packet, by kind of packet: `cargo bench`.
//!
//! Instructions are counted by valgrind's callgrind, so they repeat on a noisy machine: the program
//! runs itself under it with N packets and with 2 N, and the difference divided by N is what one
//! packet costs, start-up and first packets left out. Without valgrind it says so and counts
//! allocations alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "../tests/common/traffic.rs"]
mod traffic;

use std::process::Command;

use traffic::{Findings, KINDS, Traffic, engine};

/// Packets of a round.
const PACKETS: u32 = 20_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, kind, packets] = &arguments[..]
        && command == "run"
    {
        feed(kind.parse().unwrap(), packets.parse().unwrap());
        return;
    }
    println!("| kind of packet | instructions | allocations |");
    println!("| --- | ---: | ---: |");
    for (number, (kind, _)) in KINDS.iter().enumerate() {
        let allocations = allocations(number, 2 * PACKETS) - allocations(number, PACKETS);
        let instructions = instructions(number, 2 * PACKETS)
            .zip(instructions(number, PACKETS))
            .map_or("no valgrind".to_owned(), |(two, one)| {
                format!("{:.0}", (two - one) as f64 / f64::from(PACKETS))
            });
        let per_packet = allocations as f64 / f64::from(PACKETS);
        println!("| {kind} | {instructions} | {per_packet:.3} |");
    }
}

fn feed(kind: usize, packets: u32) {
    let (name, more) = KINDS[kind];
    let mut traffic = Traffic::opening(name);
    more(&mut traffic, packets);
    traffic.feed(&mut engine(), 0, &mut Findings(0));
}

fn allocations(kind: usize, packets: u32) -> u64 {
    let (name, more) = KINDS[kind];
    let mut traffic = Traffic::opening(name);
    more(&mut traffic, packets);
    let mut engine = engine();
    allocation_counter::measure(|| traffic.feed(&mut engine, 0, &mut Findings(0))).count_total
}

/// Instructions of a run, making the traffic included: that cancels out only in part, so only what
/// [`traffic::step`] calls is counted.
fn instructions(kind: usize, packets: u32) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*traffic*step*")
        .arg(std::env::current_exe().unwrap())
        .args(["run", &kind.to_string(), &packets.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1))?;
    collected.split_whitespace().next()?.parse().ok()
}
