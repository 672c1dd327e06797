//! A conversation as text: lines out of both directions, whichever way they were cut into
//! segments, and how much they look like a shell that the peer drives.

use super::Settings;
use super::commands::{self, Verb};
use super::forms::{form, hash, is_encoded};
use super::line::{Fed, Line};
use super::signs::{self, Signs};
use super::told::Told;
use super::verbs::Verbs;
use crate::time::Timestamp;

/// Text has white space once in so many bytes (count): English prose has it in 6, tables in 3, lines of
/// numbers in 20 or less.
const BYTES_PER_BLANK_MAX: u64 = 25;

/// JSON without white space has a key once in so many bytes (count).
const BYTES_PER_KEY_MAX: u64 = 100;

/// A command that the peer sent: its place in the table of verbs, when, and from which port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Command {
    verb: u8,
    at: Timestamp,
    port: u16,
}

impl Command {
    /// Its output would come about now.
    pub(super) fn is_due(&self, at: Timestamp, settings: &Settings) -> bool {
        at.seconds_since(self.at) <= settings.output_within_s
    }
}

/// What the peer asked for: the command lines of its last turn.
#[derive(Clone, Copy, Default)]
struct Asked {
    /// Strong verbs of the turn that may say something, and the first of them.
    strong: Verbs,
    first: Option<u8>,
    /// The verb of its last line, which an answer belongs to, and that line's hash.
    last: Option<Verb>,
    line: u32,
    at: Timestamp,
    /// Output was seen: its first line is read.
    judged: bool,
}

/// A text conversation, from the container's side.
pub(super) struct Text {
    own: Line,
    peer: Line,
    /// Commands of the peer that were answered.
    told: Told,
    /// What the container said, and what the peer said.
    own_signs: Signs,
    peer_signs: Signs,
    /// What waits for an answer, and what is being answered.
    asked: Option<Asked>,
    answering: Option<Asked>,
    /// The latest command that the peer sent on another flow.
    elsewhere: Option<Command>,
    /// Whole lines of the peer, those of them that start with a command, and times that the
    /// container answered lines (count).
    lines: u32,
    pub(super) commands: u32,
    answered: u32,
    /// Lines of the peer that are one word of base64 or hexadecimal digits (count).
    encoded: u32,
    /// Lines that one side sent and the other repeated: an echo shows who types (count).
    own_echoes: u16,
    peer_echoes: u16,
    prompts: u16,
    login: bool,
    root: bool,
    /// Something was learnt since it was last judged.
    news: bool,
}

/// How much a conversation looks like a shell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Sum of evidence; see [`Text::read`].
    pub(super) points: u32,
    /// What the container's output was recognised as.
    pub(super) signs: Signs,
    /// Its output or prompt is root's.
    pub(super) root: bool,
    /// Lines of the peer that start with a command, and those of them on this connection (count).
    pub(super) commands: u32,
    pub(super) commands_here: u32,
    /// Connections that they came on, one after another (count).
    pub(super) connections: u32,
    /// Distinct commands that were answered (count).
    pub(super) distinct_commands: u32,
    pub(super) first_command: Option<&'static str>,
    /// The peer's port on another flow, where the commands came on that one.
    pub(super) elsewhere: Option<u16>,
    /// The container asked for a login first, as a remote login service does.
    pub(super) login: bool,
    pub(super) echoes: u16,
}

impl Text {
    pub(super) const fn new() -> Self {
        Self {
            own: Line::new(),
            peer: Line::new(),
            told: Told::new(),
            own_signs: Signs::NONE,
            peer_signs: Signs::NONE,
            asked: None,
            answering: None,
            elsewhere: None,
            lines: 0,
            commands: 0,
            answered: 0,
            encoded: 0,
            own_echoes: 0,
            peer_echoes: 0,
            prompts: 0,
            login: false,
            root: false,
            news: false,
        }
    }

    /// What earlier connections of the peer told counts here too.
    pub(super) fn resume(told: Told) -> Self {
        Self { told, ..Self::new() }
    }

    /// What this connection and those before it told, if a shell may have answered.
    pub(super) fn told(self) -> Option<Told> {
        let mut told = self.told;
        told.commands_before = told.commands_before.saturating_add(self.commands);
        told.connections_before = told.connections_before.saturating_add(1);
        (self.answered > 0 && !told.strong.is_empty()).then_some(told)
    }

    /// Takes bytes of the peer at a position of its stream (`None`: right after the last), up to
    /// the first place that teaches something. Returns how many, and whether there was such a place.
    pub(super) fn hear_peer(
        &mut self,
        at: Timestamp,
        offset: Option<u64>,
        bytes: &[u8],
        settings: &Settings,
    ) -> (usize, bool) {
        if self.see_prompt() | self.take_news() {
            return (0, true);
        }
        self.peer.place(offset, bytes.len());
        for byte in bytes {
            match self.peer.feed(*byte) {
                Fed::Nothing => {}
                Fed::PasteMode => self.peer_signs.add(Signs::PASTE_MODE),
                // A command teaches something once it is answered.
                Fed::Ended => self.end_peer_line(at, settings),
            }
        }
        (bytes.len(), false)
    }

    /// The same for bytes of the container. What a command's answer is shows at the end of a line.
    pub(super) fn hear_own(
        &mut self,
        at: Timestamp,
        offset: Option<u64>,
        bytes: &[u8],
        settings: &Settings,
    ) -> (usize, bool) {
        self.take_answer(at, settings);
        let prompt = signs::of_prompt(self.peer.text());
        self.peer_signs.add(prompt);
        for (index, byte) in bytes.iter().enumerate() {
            self.own.place(offset.map(|offset| offset + index as u64), 1);
            let told = match self.own.feed(*byte) {
                Fed::Nothing => false,
                Fed::PasteMode => {
                    self.news |= !self.own_signs.has(Signs::PASTE_MODE);
                    self.own_signs.add(Signs::PASTE_MODE);
                    true
                }
                Fed::Ended => {
                    self.news |= self.end_own_line();
                    true
                }
            };
            if told && self.take_news() {
                return (index + 1, true);
            }
        }
        (bytes.len(), false)
    }

    /// Whether something was learnt that was not yet judged.
    pub(super) const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.news, false)
    }

    /// The container fell silent or the peer speaks: its unfinished line may be a prompt.
    pub(super) fn see_prompt(&mut self) -> bool {
        let prompt = signs::of_prompt(self.own.text());
        if prompt.is_empty() {
            let text = self.own.text().trim_ascii_end();
            self.login |= text.ends_with(b"ogin:") || text.ends_with(b"assword:");
            return !text.is_empty() && self.answer(hash(text), Some(form(text)), Signs::NONE);
        }
        // Nothing but the next prompt: what `cd` is answered with.
        self.answer(0, None, prompt);
        self.prompts = self.prompts.saturating_add(1);
        self.root |= self.own.text().trim_ascii_end().ends_with(b"#");
        self.own_signs.add(prompt);
        // The prompt is read; what the peer's echo appends to it is a line of its own.
        self.own.clear();
        true
    }

    fn end_peer_line(&mut self, at: Timestamp, settings: &Settings) {
        let line = self.peer.text().trim_ascii();
        if line.is_empty() {
            self.peer.clear();
            return;
        }
        let hash = hash(line);
        self.peer_signs.add(signs::of_line(line));
        if hash == self.own.last {
            self.peer_echoes = self.peer_echoes.saturating_add(1);
        } else {
            let verb = commands::of_command(line);
            self.lines = self.lines.saturating_add(1);
            self.commands = self.commands.saturating_add(u32::from(verb.is_some()));
            self.encoded = self.encoded.saturating_add(u32::from(is_encoded(line)));
            self.ask(verb, hash, at, settings);
        }
        self.peer.last = hash;
        self.peer.clear();
    }

    fn ask(&mut self, verb: Option<Verb>, line: u32, at: Timestamp, settings: &Settings) {
        let earlier = self.asked.unwrap_or_default();
        let new_turn = at.seconds_since(earlier.at) >= settings.silence_s;
        // What should say nothing said nothing.
        if let (true, Some(Verb::Strong(index))) = (new_turn, earlier.last)
            && commands::is_silent(index)
        {
            self.told.strong.add(index);
        }
        let mut asked = if new_turn { Asked::default() } else { earlier };
        match verb {
            Some(Verb::Strong(index)) if commands::is_silent(index) => {}
            Some(Verb::Strong(index)) => {
                asked.strong.add(index);
                asked.first.get_or_insert(index);
            }
            Some(Verb::Weak(_)) | None => {}
        }
        self.asked = Some(Asked { last: verb, line, at, ..asked });
    }

    /// The peer has sent no line here: its commands may come on another flow.
    pub(super) const fn is_unasked(&self) -> bool {
        self.lines == 0
    }

    /// The command that waits for an answer here, if it is one of a shell.
    pub(super) fn waiting(&self, port: u16) -> Option<Command> {
        let asked = self.asked?;
        match asked.last {
            Some(Verb::Strong(verb)) => Some(Command { verb, at: asked.at, port }),
            _ => None,
        }
    }

    /// The peer sent this command on another flow. Only output of a known form answers it here.
    pub(super) fn ask_elsewhere(&mut self, command: Command) {
        if self.elsewhere != Some(command) {
            self.elsewhere = Some(command);
            self.commands = self.commands.saturating_add(1);
            self.asked = Some(Asked {
                strong: Verbs::of(command.verb),
                line: 0,
                first: Some(command.verb),
                last: Some(Verb::Strong(command.verb)),
                at: command.at,
                judged: true,
            });
        }
    }

    fn take_answer(&mut self, at: Timestamp, settings: &Settings) {
        let Some(asked) = self.asked.take() else { return };
        self.answering = None;
        if at.seconds_since(asked.at) <= settings.output_within_s {
            self.answered = self.answered.saturating_add(1);
            self.answering = Some(asked);
        }
    }

    /// Reads a line of an answer: which commands it answers, and whether as a shell would. Output of
    /// a known form may be that of any command in the turn, another line is that of the last.
    /// Returns whether something was learnt.
    fn answer(&mut self, hash: u32, form: Option<u32>, sign: Signs) -> bool {
        let Some(answering) = &mut self.answering else { return false };
        let first = !answering.judged;
        if sign.is_empty() && (!first || hash == self.peer.last) {
            return false;
        }
        answering.judged = true;
        let known = !sign.outputs().is_empty();
        let (strong, weak) = match answering.last {
            _ if known && !answering.strong.is_empty() => (answering.strong, Verbs::NONE),
            Some(Verb::Strong(verb)) if first => (Verbs::of(verb), Verbs::NONE),
            Some(Verb::Weak(verb)) if first => (Verbs::NONE, Verbs::of(verb)),
            _ => return false,
        };
        let last = match answering.last {
            Some(Verb::Strong(verb) | Verb::Weak(verb)) => Some(verb),
            None => None,
        };
        self.told.first_verb = self.told.first_verb.or(answering.first).or(last);
        let line = first.then_some(answering.line);
        let told = self.told.answered((strong, weak), line, form, !sign.is_empty());
        first || told
    }

    fn end_own_line(&mut self) -> bool {
        let line = self.own.text().trim_ascii_end();
        let sign = signs::of_line(line);
        let mut learnt = !sign.is_empty() && !self.own_signs.has(sign);
        self.own_signs.add(sign);
        self.root |= line.starts_with(b"uid=0");
        let typed = line.trim_ascii_start();
        if !typed.is_empty() {
            let (hash, form) = (hash(typed), Some(form(line)));
            if hash == self.peer.last {
                self.own_echoes = self.own_echoes.saturating_add(1);
            }
            learnt |= self.answer(hash, form, sign);
            self.own.last = hash;
        }
        self.own.clear();
        learnt
    }

    /// Neither side speaks text.
    pub(super) const fn is_binary(&self) -> bool {
        self.own.binary || self.peer.binary
    }

    /// Readable, and long enough to say so: what is no shell by its words then hardly is one. Printable
    /// bytes alone are no text: those of a cipher that keeps them printable (each byte XORed with one key)
    /// have hardly any white space among them, nor the keys of JSON.
    pub(super) fn is_readable(&self) -> bool {
        let encoded = self.encoded > 0 && self.encoded * 4 >= self.lines * 3;
        let sum =
            |count: fn(&Line) -> u16| u64::from(count(&self.own)) + u64::from(count(&self.peer));
        let taken = u64::from(self.own.taken) + u64::from(self.peer.taken);
        let words = sum(|line| line.blanks) * BYTES_PER_BLANK_MAX >= taken;
        let json = sum(|line| line.keys) * BYTES_PER_KEY_MAX >= taken;
        let long = self.own.taken >= 16 && self.peer.taken >= 4;
        !self.is_binary() && !encoded && long && (words || json)
    }

    /// Adds up the evidence.
    ///
    /// A distinct command that was answered as a shell answers counts 2, at most 6; one in the shell's own
    /// language (`for … do`) 3, for nothing else runs it. One that may be
    /// an English word counts 1, and only beside as many that are none; beside two distinct ones, every
    /// two further lines of theirs whose answers are of new forms count 1. An answer of the same form as
    /// an earlier one adds nothing: a protocol answers so. A kind of output that shells and their
    /// tools write counts 3, at most 9; what only an interactive shell says counts 4 the first time;
    /// a prompt 2, a bare one 1; an echo 1. `known` says that the stream began as another protocol:
    /// then prompts and echoes count nothing. Without a known command, output counts only beside
    /// what interactive shells alone say.
    pub(super) fn read(&self, known: bool) -> Reading {
        let outputs = self.own_signs.outputs();
        let banner = self.own_signs.has(Signs::BANNER);
        let mut points = self.told.points(self.own_signs.shell_only().count());
        points += (3 * outputs.count()).min(9);
        points += u32::from(banner);
        if !known {
            points += match () {
                () if self.own_signs.has(Signs::PROMPT) => 2,
                () if self.own_signs.has(Signs::BARE_PROMPT) => 1,
                () => 0,
            };
            points += u32::from(self.own_echoes > 0) + u32::from(self.prompts >= 3);
        }
        let asked = self.answered > 0 || banner && self.own_signs.has(Signs::PROMPT);
        let strong = !self.told.strong.is_empty();
        let shell = strong
            || banner
            || self.answered > 0 && self.own_signs.has(Signs::PROMPT)
            || !self.told.weak.is_empty() && !self.own_signs.shell_only().is_empty();
        // The peer says what shells say: then the container is the one who types, unless what it
        // wrote in answer to commands is a shell's output itself.
        let reversed = !self.peer_signs.outputs().is_empty()
            || self.peer_signs.has(Signs::PROMPT)
            || u32::from(self.peer_echoes) > self.commands;
        let own_output = strong && !outputs.is_empty();
        if !asked || !shell || reversed && !own_output || known && outputs.is_empty() {
            points = 0;
        }
        Reading {
            points,
            signs: self.own_signs,
            root: self.root,
            commands: self.commands.saturating_add(self.told.commands_before),
            commands_here: self.commands,
            connections: self.told.connections_before.saturating_add(1),
            distinct_commands: self.told.distinct(),
            first_command: self.told.first_verb.map(Verb::name),
            elsewhere: self.elsewhere.map(|command| command.port),
            login: self.login,
            echoes: self.own_echoes,
        }
    }
}
