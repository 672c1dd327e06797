//! What answered commands tell of a peer: kept over its connections, for some shells take one
//! command each.

use super::forms::Latest;
use super::text::Reading;
use super::verbs::Verbs;

/// Forms of answers that are remembered (count): a protocol has few.
const FORMS: usize = 16;

/// Lines with a strong verb that are remembered (count).
const LINES: usize = 8;

/// Commands that were answered, and how.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Verbs of the peer that the container answered.
    verbs: Verbs,
    /// Those of them that were answered as a shell answers: with output of a known form, with the
    /// next prompt, or with a line of another form than all answers before.
    pub(super) strong: Verbs,
    pub(super) weak: Verbs,
    /// Further lines of a strong verb that were answered with another form (count).
    repeats: u32,
    /// Lines of strong verbs that were answered, and forms of first lines of answers.
    lines: Latest<LINES>,
    forms: Latest<FORMS>,
    pub(super) first_verb: Option<u8>,
    /// Lines that start with a command on earlier connections, and these (count).
    pub(super) commands_before: u32,
    pub(super) connections_before: u32,
}

impl Told {
    pub(super) const fn new() -> Self {
        Self {
            verbs: Verbs::NONE,
            strong: Verbs::NONE,
            weak: Verbs::NONE,
            repeats: 0,
            lines: Latest::NONE,
            forms: Latest::NONE,
            first_verb: None,
            commands_before: 0,
            connections_before: 0,
        }
    }

    /// These verbs were answered. `line` is the hash of the command line where its answer begins,
    /// `form` that of the answer; `known` says that the answer's own form is a shell's. Returns
    /// whether a verb is new.
    pub(super) fn answered(
        &mut self,
        (strong, weak): (Verbs, Verbs),
        line: Option<u32>,
        form: Option<u32>,
        known: bool,
    ) -> bool {
        let told = self.verbs.add_all(strong) | self.verbs.add_all(weak);
        let new_line = !strong.is_empty() && line.is_some_and(|line| self.lines.note(line));
        let new_form = form.is_none_or(|form| self.forms.note(form));
        if known || new_form {
            let new_verb = self.strong.add_all(strong);
            self.weak.add_all(weak);
            let repeated = new_line && new_form && form.is_some() && !new_verb;
            self.repeats = self.repeats.saturating_add(u32::from(repeated));
        }
        told
    }

    /// Distinct commands that were answered (count).
    pub(super) fn distinct(&self) -> u32 {
        self.verbs.count()
    }

    /// Points of the commands alone, at most 6; `shell_only` kinds of output were such as only
    /// interactive shells write (count). See [`super::text::Text::read`].
    pub(super) fn points(&self, shell_only: u32) -> u32 {
        let strong = self.strong.count();
        let beside = self.weak.count_beside(self.strong).min(strong + shell_only);
        let repeats = if strong >= 2 { self.repeats / 2 } else { 0 };
        (2 * strong + self.strong.constructs() + beside + repeats).min(6)
    }
}

/// What a finding counts over all its connections, also those that overlap: what ended before another began
/// is in that one's [`Told`], and what ends later is not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    commands: u32,
    connections: u32,
}

impl Tally {
    /// Counts what a connection has come to, and gives its reading the numbers of all. `counted` are those of
    /// its commands that are counted already; nothing before the first.
    pub(super) fn count(&mut self, reading: &mut Reading, counted: &mut Option<u32>) {
        if self.connections == 0 {
            self.commands = reading.commands - reading.commands_here;
            self.connections = reading.connections - 1;
        }
        self.connections = self.connections.saturating_add(u32::from(counted.is_none()));
        self.end(reading.commands_here, counted);
        self.commands = self.commands.max(reading.commands);
        self.connections = self.connections.max(reading.connections);
        (reading.commands, reading.connections) = (self.commands, self.connections);
    }

    /// Counts the last commands of a connection.
    pub(super) fn end(&mut self, commands: u32, counted: &mut Option<u32>) {
        let more = commands.saturating_sub(counted.unwrap_or(0));
        self.commands = self.commands.saturating_add(more);
        *counted = Some(commands);
    }
}
