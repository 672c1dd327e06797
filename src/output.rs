//! Records to text: one file per format, one row in [`OUTPUTS`].

pub mod carrier;
mod chunks;
pub mod eve;
pub mod log_file;
pub mod queue;
pub mod shared;
pub mod table;

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use crate::alert::AlertState;
use crate::capture::shed::Bulk;
use crate::detect::Severity;
use crate::event::LinkId;
use crate::output::carrier::Carrier;
use crate::record::{Output, Record, RecordKind, Summary};

/// Version of the records' shape. Grows by additions only: what a reader of 1.0 relies on stays.
pub const SCHEMA_VERSION: &str = "1.0";

/// Every output format. The first is the default where standard output is no terminal.
pub const OUTPUTS: &[Registration] = &[eve::REGISTRATION, table::REGISTRATION];

/// One row of [`OUTPUTS`].
pub struct Registration {
    /// What `--format` calls it.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// It is one document, made at the end of what all workers found.
    pub whole: bool,
    /// Makes one.
    pub make: fn(Options, Box<dyn Carrier>) -> Box<dyn Sink>,
}

/// What all outputs are made with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which kinds of records are written. The table shows findings and the summary whatever this
    /// says.
    pub events: Events,
    /// How text for people looks.
    pub look: Look,
}

/// JSON Schema (draft 2020-12) of the EVE records.
pub const fn schema() -> &'static str {
    include_str!("../schema/eve.schema.json")
}

/// An output that writes to something that can fail.
pub trait Sink: Output + Send {
    /// Writes what is held back. [`Output::finish`] does so by itself.
    fn flush(&mut self);

    /// The reader has gone or the disk is full: nothing more is written, and the caller may stop.
    fn is_broken(&self) -> bool;

    /// What went wrong in writing, once. A reader that went away (a broken pipe) is no error.
    fn take_error(&mut self) -> Option<io::Error>;

    /// Takes a record that is made outside the engine, as a line of JSON without its end. What is
    /// not wanted, or has no place in this format, is passed over.
    fn line(&mut self, _kind: RecordKind, _json: &str) {}

    /// What the interfaces of a live capture say of themselves, for the `stats` records that follow.
    fn note_interfaces(&mut self, _interfaces: &[InterfaceCounts]) {}
}

/// What an interface under live capture says of itself (counts since the start).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct InterfaceCounts {
    /// Which.
    pub link: LinkId,
    /// It is under capture at this moment.
    pub watched: bool,
    /// Frames that passed it, those dropped included.
    pub passed_frames: u64,
    /// Frames that the kernel dropped: its buffer was full.
    pub kernel_dropped_frames: u64,
    /// Frames that the interface dropped.
    pub interface_dropped_frames: u64,
    /// On a node, where one buffer serves all: frames that the buffer had no room for and that were
    /// probably this interface's, by its own counters. They are no part of the other counts.
    pub kernel_dropped_frames_estimate: Option<u64>,
    /// Bulk that was spared under load.
    pub bulk: Bulk,
}

/// A set of kinds of records: `alert,flow`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Events(u8);

impl Events {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self(0xff);

    /// This set and one kind more.
    #[must_use]
    pub const fn with(self, kind: RecordKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// The kind is in the set.
    pub const fn contains(self, kind: RecordKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

/// Not the name of a kind of records.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no kind of record; there are alert, flow, dns, tls, stats, coverage")]
pub struct UnknownEvent(String);

impl FromStr for Events {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        text.split(',').map(str::trim).try_fold(Self::NONE, |events, name| {
            let kind = RecordKind::ALL.into_iter().find(|kind| kind.as_str() == name);
            kind.map(|kind| events.with(kind)).ok_or_else(|| UnknownEvent(name.to_owned()))
        })
    }
}

/// As [`Events::from_str`] reads it.
impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for kind in RecordKind::ALL.into_iter().filter(|kind| self.contains(*kind)) {
            write!(f, "{comma}{}", kind.as_str())?;
            comma = ",";
        }
        Ok(())
    }
}

/// How text for people looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// Columns; lines are wrapped to fit where words allow.
    pub width: usize,
    /// Colours and weights by ANSI sequences.
    pub colour: bool,
}

impl Look {
    /// Columns where nothing says otherwise: a file, a pipe.
    pub const WIDTH: usize = 100;

    /// For text on standard output: the terminal's width (else `COLUMNS`, else [`Self::WIDTH`]),
    /// and colour on terminals that can show it, unless `NO_COLOR` is set and not empty.
    pub fn of_stdout() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let terminal = io::stdout().is_terminal();
        let columns = || variable("COLUMNS")?.to_str()?.parse().ok();
        let measured = terminal_size::terminal_size_of(io::stdout())
            .map(|(width, _)| usize::from(width.0))
            .filter(|width| *width > 0);
        Self {
            width: measured.or_else(columns).unwrap_or(Self::WIDTH),
            colour: terminal
                && variable("NO_COLOR").is_none()
                && variable("TERM").is_some_and(|term| term != "dumb"),
        }
    }
}

/// Watches the alerts on their way to an output and keeps the highest severity, for `--fail-on`.
/// What an allow-list silences never comes here.
pub struct Worst<O> {
    output: O,
    severity: Option<Severity>,
}

impl<O: Output> Worst<O> {
    /// Nothing seen yet.
    pub const fn new(output: O) -> Self {
        Self { output, severity: None }
    }

    /// The highest severity so far; `None` without any alert.
    pub const fn severity(&self) -> Option<Severity> {
        self.severity
    }

    /// The output.
    pub const fn output(&mut self) -> &mut O {
        &mut self.output
    }
}

impl<O: Output> Output for Worst<O> {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert || self.output.wants(kind)
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Alert(alert) = record
            && alert.state != AlertState::Close
        {
            self.severity = self.severity.max(Some(alert.severity()));
        }
        self.output.record(record);
    }

    fn name_link(&mut self, link: LinkId, name: &str) {
        self.output.name_link(link, name);
    }

    fn finish(&mut self, summary: &Summary<'_>) {
        self.output.finish(summary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_sets_read_as_they_print() {
        for (text, expected) in [
            ("alert", Ok("alert")),
            ("stats, alert", Ok("alert,stats")),
            ("alert,coverage,flow", Ok("alert,flow,coverage")),
            ("alert,http", Err("http")),
            ("", Err("")),
        ] {
            let read = text.parse::<Events>().map(|events| events.to_string());
            assert_eq!(read, expected.map(str::to_owned).map_err(|e| UnknownEvent(e.to_owned())));
        }
        assert_eq!(Events::ALL.to_string(), "alert,flow,dns,tls,stats,coverage");
    }
}
