//! The report for people: findings first, worst first; then a line for each container; then what
//! could not be seen.
//!
//! Everything in it that came from the network is made harmless before it reaches a terminal, see
//! [`text::harmless`].

mod allowed;
mod containers;
mod findings;
mod text;
mod unseen;

use std::collections::BTreeMap;
use std::io;

use self::findings::Findings;
use self::text::{Page, bytes, count, duration, span};
use super::carrier::Carrier;
use super::chunks::Chunks;
use super::{Look, Registration, Sink};
use crate::container::Container;
use crate::detect::Severity;
use crate::record::{Output, Record, RecordKind, Summary};
use crate::time::Timestamp;

/// `--format table`
pub const REGISTRATION: Registration = Registration {
    name: "table",
    about: "a report for people, at the end",
    whole: true,
    make: |options, writer| Box::new(Table::new(options.look, writer)),
};

/// Collects findings and writes the report at the end.
pub struct Table<W: Carrier> {
    look: Look,
    out: Chunks<W>,
    findings: Findings,
    /// Containers that are not fully seen, by id; as many as are attributed at most.
    blind: BTreeMap<String, Blind>,
}

/// What the last `coverage` record said of one.
struct Blind {
    name: String,
    state: String,
}

impl<W: Carrier> Table<W> {
    /// Nothing collected.
    pub fn new(look: Look, writer: W) -> Self {
        let (findings, blind) = (Findings::default(), BTreeMap::new());
        Self { look, out: Chunks::new(writer), findings, blind }
    }
}

impl<W: Carrier> Output for Table<W> {
    fn wants(&self, kind: RecordKind) -> bool {
        matches!(kind, RecordKind::Alert | RecordKind::Coverage)
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Alert(alert) = record {
            self.findings.take(alert);
        }
    }

    fn finish(&mut self, summary: &Summary<'_>) {
        let mut page = Page::new(self.look);
        headline(&mut page, &self.findings, summary);
        findings::write(&mut page, &self.findings);
        containers::write(&mut page, &self.findings, summary);
        unseen::write(&mut page, summary.stats, &self.blind);
        allowed::write(&mut page, summary);
        self.out.buffer().extend_from_slice(page.text().as_bytes());
        self.out.flush();
    }
}

impl<W: Carrier> Sink for Table<W> {
    fn flush(&mut self) {
        self.out.flush();
    }

    fn is_broken(&self) -> bool {
        self.out.is_broken()
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.out.take_error()
    }

    fn line(&mut self, _kind: RecordKind, json: &str) {
        let Ok(record) = serde_json::from_str::<serde_json::Value>(json) else { return };
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let container = &record["container"];
        let (Some(id), Some(state)) = (text(&container["id"]), text(&record["coverage"]["state"]))
        else {
            return;
        };
        if record["coverage"]["blind"] != true {
            self.blind.remove(&id);
            return;
        }
        let name = text(&record["kubernetes"]["pod"]).or_else(|| text(&container["name"]));
        let name = name.unwrap_or_else(|| id.clone());
        self.blind.insert(id, Blind { name, state });
    }
}

/// Two sentences: what there is to do, and what was looked at.
fn headline(page: &mut Page, findings: &Findings, summary: &Summary<'_>) {
    let all = || findings.worst_first();
    let context = all().filter(|alert| alert.severity() < Severity::Medium).count() as u64;
    let serious = all().count() as u64 - context;
    let hit =
        |container: &&&Container| all().any(|alert| alert.container.id == container.identity.id);
    let found_in = summary.containers.iter().filter(hit).count() as u64;
    let containers = plural(summary.containers.len() as u64, "container");
    page.heading(&match (serious, context) {
        (0, 0) => format!("No findings in {containers}"),
        (0, _) => format!(
            "No findings to act on; {} for context, in {} of {containers}",
            count(context),
            count(found_in)
        ),
        (_, 0) => {
            format!("{} in {} of {containers}", plural(serious, "finding"), count(found_in))
        }
        (_, _) => format!(
            "{} to act on and {} for context, in {} of {containers}",
            plural(serious, "finding"),
            count(context),
            count(found_in)
        ),
    });
    let stats = summary.stats;
    let [first, last] = [stats.first_ns, stats.last_ns].map(Timestamp::from_nanos);
    page.paragraph(&if stats.frames == 0 {
        "No packets were read.".to_owned()
    } else {
        format!(
            "Looked at {}, {} with their link headers, in {} ({}).",
            plural(stats.frames, "packet"),
            bytes(stats.frame_bytes),
            duration(last.since(first)),
            span(first, last),
        )
    });
}

/// `1 finding`, `2 findings`.
fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}
