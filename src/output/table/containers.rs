//! A line for each container: how it was found, what it did, what was found about it.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::findings::Findings;
use super::text::{Page, bytes, count, fitted, harmless, style};
use crate::container::{Attribution, Container};
use crate::detect::Severity;
use crate::record::Summary;

/// Containers without findings that have a line of their own (count); the rest is one line.
const QUIET_MAX: usize = 30;
/// Configured containers and networks without traffic that are named (count).
const UNMATCHED_MAX: usize = 8;
/// A container's name is not cut below this (columns).
const NAME_MIN: usize = 16;

/// A column that may have to go on a narrow terminal.
struct Column {
    title: &'static str,
    /// Numbers stand to the right.
    right: bool,
    /// Lower goes first.
    worth: u8,
    cell: fn(&Container) -> String,
}

const COLUMNS: [Column; 6] = [
    Column { title: "address", right: false, worth: 2, cell: address },
    Column {
        title: "found by",
        right: false,
        worth: 6,
        cell: |container| container.identity.attribution.as_str().replace('_', " "),
    },
    Column {
        title: "flows out/in",
        right: true,
        worth: 3,
        cell: |container| format!("{}/{}", count(container.flows[0]), count(container.flows[1])),
    },
    Column { title: "sent", right: true, worth: 5, cell: |c| bytes(c.ip_bytes[0]) },
    Column { title: "received", right: true, worth: 4, cell: |c| bytes(c.ip_bytes[1]) },
    Column { title: "names", right: true, worth: 1, cell: |c| count(c.names.len() as u64) },
];

/// Writes the table, and what its "found by" means.
pub(super) fn write(page: &mut Page, findings: &Findings, summary: &Summary<'_>) {
    let containers = summary.containers;
    if containers.is_empty() {
        page.heading("No container");
        if !summary.unmatched.is_empty() {
            for unmatched in unmatched(summary) {
                page.paragraph(&unmatched);
            }
            return;
        }
        if !summary.strangers.is_empty() {
            let strangers: Vec<_> = summary.strangers.iter().map(ToString::to_string).collect();
            page.paragraph(&format!(
                "The configured service or node networks cover what opens flows here ({}); what they \
                 cover is no container.",
                strangers.join(", ")
            ));
            return;
        }
        page.paragraph(
            "No address here looks like a container's: none takes part in every packet, and no \
             private address opens flows. Name containers or their networks under [containers] in \
             the configuration.",
        );
        return;
    }
    let mut rows: Vec<_> = containers.iter().map(|c| (*c, findings.of(&c.identity))).collect();
    rows.sort_by_cached_key(|(container, found)| {
        let traffic = container.ip_bytes[0].saturating_add(container.ip_bytes[1]);
        (std::cmp::Reverse(found.clone()), std::cmp::Reverse(traffic), container.number)
    });
    let loud = rows.iter().filter(|(_, found)| !found.is_empty()).count();
    let rest = rows.split_off(rows.len().min(loud + QUIET_MAX));
    page.heading(&format!("Containers ({})", count(containers.len() as u64)));
    table(page, &rows);
    if !rest.is_empty() {
        let sum = |way: usize| rest.iter().map(|(c, _)| c.ip_bytes[way]).sum::<u64>();
        page.remark(&format!(
            "and {} more without findings, which sent {} and received {}",
            count(rest.len() as u64),
            bytes(sum(0)),
            bytes(sum(1)),
        ));
    }
    let used = |attribution| containers.iter().any(|c| c.identity.attribution == attribution);
    for (attribution, meaning) in MEANINGS.iter().filter(|(attribution, _)| used(*attribution)) {
        let name = attribution.as_str().replace('_', " ");
        page.remark(&format!("{name}: {meaning}"));
    }
    page.remark("sent, received: bytes of IP packets, without link headers");
    for unmatched in unmatched(summary) {
        page.remark(&unmatched);
    }
}

/// What is configured and matched nothing, and what was there instead.
fn unmatched(summary: &Summary<'_>) -> Vec<String> {
    let mut lines: Vec<_> = summary
        .unmatched
        .iter()
        .take(UNMATCHED_MAX)
        .map(|what| format!("Configured, and in no packet: {what}."))
        .collect();
    let more = summary.unmatched.len().saturating_sub(UNMATCHED_MAX);
    if more > 0 {
        lines.push(format!("Configured, and in no packet: {} more.", count(more as u64)));
    }
    if !lines.is_empty() && !summary.strangers.is_empty() {
        let addresses: Vec<_> = summary.strangers.iter().map(ToString::to_string).collect();
        lines.push(format!("In packets, and no container's: {}.", addresses.join(", ")));
    }
    lines
}

const MEANINGS: [(Attribution, &str); 9] = [
    (Attribution::Configured, "named by a flag or in the configuration"),
    (Attribution::PodNetwork, "in a pod network that a flag or the configuration names"),
    (Attribution::Veth, "every packet has this address: the capture was taken at its veth"),
    (Attribution::Originator, "a private address that opens flows, in the capture of a node"),
    (Attribution::Responder, "a private address that answers, in the capture of a node"),
    (Attribution::Interface, "by the host's end of its interface"),
    (Attribution::Pending, "by the host's end of its interface; its name was not yet known"),
    (Attribution::Cgroup, "by the host's end of its interface, and its cgroup"),
    (Attribution::Runtime, "by the host's end of its interface, and its runtime"),
];

/// Empty where the name is the address.
fn address(container: &Container) -> String {
    let address = container.identity.ip.to_string();
    if address == container.identity.label() { String::new() } else { address }
}

fn table(page: &mut Page, rows: &[(&Container, Vec<(Severity, u64)>)]) {
    let names: Vec<_> = rows.iter().map(|(c, _)| harmless(&c.identity.label())).collect();
    let found: Vec<_> = rows.iter().map(|(_, found)| summary(found, |_, part| part)).collect();
    let longest = |cells: &[String], title: &str| {
        cells.iter().map(|cell| cell.width()).max().unwrap_or(0).max(title.len())
    };
    let mut columns: Vec<_> = COLUMNS
        .iter()
        .map(|column| {
            let cells: Vec<_> = rows.iter().map(|(c, _)| (column.cell)(c)).collect();
            (column, longest(&cells, column.title), cells)
        })
        .filter(|(_, _, cells)| cells.iter().any(|cell| !cell.is_empty()))
        .collect();
    let found_width = longest(&found, "findings");
    let name_width = longest(&names, "container");
    let room = |columns: &[(&Column, usize, Vec<String>)]| {
        let others: usize = columns.iter().map(|(_, width, _)| width + GAP).sum();
        page.width().saturating_sub(MARGIN + others + GAP + found_width)
    };
    while room(&columns) < name_width.min(NAME_MIN)
        && let Some(least) =
            (0..columns.len()).min_by_key(|place| (columns[*place].0.worth, *place))
    {
        columns.remove(least);
    }
    let name_width = name_width.min(room(&columns).max(NAME_MIN));
    let titles = columns.iter().map(|(column, width, _)| cell(column, column.title, *width));
    let header =
        format!("  {}{}  findings", padded("container", name_width), titles.collect::<String>());
    let header = page.styled(Style::new().dimmed(), &header);
    page.line(&header);
    for (row, (_, counts)) in rows.iter().enumerate() {
        let name = padded(&fitted(&names[row], name_width), name_width);
        let cells = columns.iter().map(|(column, width, cells)| cell(column, &cells[row], *width));
        let found = summary(counts, |severity, part| page.styled(style(severity), &part));
        page.line(&format!("  {name}{}  {found}", cells.collect::<String>()));
    }
}

/// Columns before the first cell, and between cells.
const MARGIN: usize = 2;
const GAP: usize = 2;

fn cell(column: &Column, text: &str, width: usize) -> String {
    let padding = " ".repeat(width.saturating_sub(text.width()));
    if column.right { format!("  {padding}{text}") } else { format!("  {text}{padding}") }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// `1 critical, 2 low`, each part as `dressed` makes it.
fn summary(found: &[(Severity, u64)], dressed: impl Fn(Severity, String) -> String) -> String {
    let parts = found.iter().map(|(severity, number)| {
        dressed(*severity, format!("{} {}", count(*number), severity.as_str()))
    });
    parts.collect::<Vec<_>>().join(", ")
}
