//! From text, rhythm and destination to a finding: how sure, how grave, and in which words.

use super::channel::{Channel, has_rhythm};
use super::destination::{Destination, is_name};
use super::rhythm::Shape;
use super::text::Reading;
use super::{Settings, Watch, rules};
use crate::detect::{Finding, Rule, Seen, Severity};

/// Most commands with their wrapping are smaller (bytes, without record overhead); a response of
/// HTTP/1.1 is larger.
const COMMAND_BYTES: u64 = 96;

/// Most commands typed by hand are smaller (bytes, without record overhead); a response of HTTP/2
/// with any content is larger.
const SHORT_COMMAND_BYTES: u64 = 64;

/// What speaks for a shell.
#[derive(Clone, Debug)]
pub(super) enum Ground {
    /// What was typed and answered.
    Text(Reading),
    /// Who broke the silences.
    Rhythm(Shape),
    /// Questions and answers too quick for silences.
    Quick(Shape),
}

/// A finding in the making.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) rule: &'static Rule,
    pub(super) severity: Severity,
    /// Commands or questions (count).
    pub(super) magnitude: f64,
    confidence: u8,
    pub(super) ground: Ground,
    pub(super) destination: Destination,
    pub(super) channel: Channel,
    pub(super) reads: Reads,
}

/// What the reader of text made of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reads {
    /// Text, and no shell's where the ground is another.
    Text,
    /// Nothing that can be read: a cipher, or a protocol of bytes.
    Nothing,
    /// The capture holds too little of it to say.
    Cut,
}

impl Reads {
    fn of(watch: &Watch, channel: Channel, shape: &Shape) -> Self {
        let read = || watch.text.as_ref().is_some_and(|text| text.is_readable());
        match channel {
            Channel::Raw if watch.is_cut(shape.silences) => Self::Cut,
            Channel::Raw | Channel::Known if read() => Self::Text,
            _ => Self::Nothing,
        }
    }
}

impl Case {
    /// The case against a flow, if there is one.
    pub(super) fn of(
        watch: &Watch,
        seen: &Seen<'_>,
        channel: Channel,
        settings: &Settings,
    ) -> Option<Self> {
        let case = Self::of_text(watch, seen, channel, settings);
        if case.is_some() || !has_rhythm(seen, channel) {
            return case;
        }
        Self::of_rhythm(watch, seen, channel, settings)
            .or_else(|| Self::of_quick(watch, seen, channel, settings))
    }

    fn of_text(
        watch: &Watch,
        seen: &Seen<'_>,
        channel: Channel,
        settings: &Settings,
    ) -> Option<Self> {
        let reading = watch.text.as_ref()?.read(channel == Channel::Known);
        if reading.points < settings.text_points_min {
            return None;
        }
        let rule = if seen.outbound() { &rules::PLAINTEXT } else { &rules::BIND };
        let spoken = !reading.signs.outputs().is_empty() || reading.signs.shell_only().count() > 0;
        let severity = match () {
            // A terminal in the container's own web application, or its Telnet service: whoever
            // may use it does so by design.
            () if !seen.outbound() && (channel == Channel::Upgraded || reading.login) => {
                Severity::Low
            }
            // Commands by their look alone: a protocol of its own may have the same.
            () if !spoken => Severity::Medium,
            () if reading.root && spoken && reading.distinct_commands > 0 => Severity::Critical,
            () => Severity::High,
        };
        Some(Self {
            rule,
            severity,
            magnitude: f64::from(reading.commands.max(1)),
            confidence: u8::try_from((60 + 5 * reading.points).min(99)).unwrap_or(99),
            destination: Destination::of(seen, channel, settings),
            ground: Ground::Text(reading),
            reads: Reads::Text,
            channel,
        })
    }

    fn of_rhythm(
        watch: &Watch,
        seen: &Seen<'_>,
        channel: Channel,
        settings: &Settings,
    ) -> Option<Self> {
        let silences_min = settings.silences_min.min(settings.silences_typed_min);
        if watch.rhythm.silences < silences_min {
            return None;
        }
        let shape = watch.rhythm.shape(settings);
        let typed = shape.echoes >= settings.echoes_min;
        let silences_min = if typed { settings.silences_typed_min } else { settings.silences_min };
        let driven_min =
            if shape.silences >= 30 { settings.driven_long_min } else { settings.driven_min };
        // Keys and their echoes cancel out, and two layers of SSH pad both to the same size.
        let (gain_min, trimmed_min) = match () {
            () if typed => (1.05, 0.0),
            () if channel == Channel::Ssh => (1.1, settings.amplification_trimmed_min.min(0.7)),
            () => (settings.amplification_min, settings.amplification_trimmed_min),
        };
        let drives = f64::from(shape.driven) >= driven_min
            && shape.silences >= silences_min
            && shape.questions + 1 >= silences_min
            && shape.question_bytes <= settings.question_bytes_max
            && f64::from(shape.answered) >= settings.answered_min
            && f64::from(shape.amplification) >= gain_min
            && f64::from(shape.amplification_trimmed) >= trimmed_min
            && seen.at.seconds_since(watch.since) >= settings.duration_min_s;
        if !drives {
            return None;
        }
        // A person asks different things, gets different answers, and gives none in return.
        let human = typed
            || f64::from(shape.variation) >= settings.variation_min
                && f64::from(shape.spread) >= settings.answer_spread_min
                && shape.distinct >= 0.3
                && (channel == Channel::Ssh || shape.followed <= 0.5);
        let destination = Destination::of(seen, channel, settings);
        let (rule, severity) = if seen.outbound() {
            Self::of_driven(watch, channel, &shape, &destination, human, typed, settings)
        } else {
            let peer = (&destination, channel);
            (&rules::BIND, Self::of_driven_server(watch, seen, &shape, peer, human, typed)?)
        };
        Some(Self {
            rule,
            severity,
            magnitude: f64::from(shape.silences),
            confidence: confidence(&shape, &destination, typed),
            reads: Reads::of(watch, channel, &shape),
            ground: Ground::Rhythm(shape),
            destination,
            channel,
        })
    }

    /// The container called, and is driven.
    fn of_driven(
        watch: &Watch,
        channel: Channel,
        shape: &Shape,
        destination: &Destination,
        human: bool,
        typed: bool,
        settings: &Settings,
    ) -> (&'static Rule, Severity) {
        let odd = destination.oddities();
        let shared = destination.shared;
        let inside = !destination.external && destination.name.is_some();
        let reads = Reads::of(watch, channel, shape);
        let (readable, cut) = (reads == Reads::Text, reads == Reads::Cut);
        if !human {
            // The same words again, which are no shell's: a service's, as far as they can be read.
            let plain = readable && f64::from(shape.spread) < settings.answer_spread_min;
            let unusual = odd >= 3 && destination.external && !shared && !plain;
            return (&rules::TASKING, if unusual { Severity::Medium } else { Severity::Low });
        }
        let rule = if channel == Channel::Ssh { &rules::SSH_TUNNEL } else { &rules::ENCRYPTED };
        let many = shape.silences >= settings.silences_high;
        let severity = match () {
            () if (shared || inside || destination.known.is_some()) && !typed => Severity::Low,
            // Most of what is said inside could be read, and is no shell, had it been captured.
            () if cut && !destination.external && !typed => Severity::Low,
            // Two or more persons typing keys into a terminal, or an SSH server that asks.
            () if typed => {
                if many || odd >= 2 {
                    Severity::High
                } else {
                    Severity::Medium
                }
            }
            // A script in the container that waits for a slow host has the same rhythm, unless
            // the host speaks first after its own last word.
            () if channel == Channel::Ssh => {
                let enough = if shape.unprompted >= 0.5 { 4 } else { 12 };
                if shape.silences < enough { Severity::Low } else { Severity::Medium }
            }
            // It can be read, and it is not what shells read and write.
            () if readable => {
                if odd >= 3 && shape.silences >= 6 {
                    Severity::Medium
                } else {
                    Severity::Low
                }
            }
            // A named service that answers held requests: then its answers are an HTTP response's
            // size, and a command is smaller.
            () if destination.is_ordinary(channel) => {
                let small = u64::from(shape.question_bytes) <= SHORT_COMMAND_BYTES;
                if small && shape.silences >= 6 { Severity::Medium } else { Severity::Low }
            }
            () if odd >= 3 || odd == 2 && many => Severity::High,
            () => Severity::Medium,
        };
        (rule, severity)
    }

    /// The container was called, as servers are: of more than low severity only as a terminal.
    fn of_driven_server(
        watch: &Watch,
        seen: &Seen<'_>,
        shape: &Shape,
        (destination, channel): (&Destination, Channel),
        human: bool,
        typed: bool,
    ) -> Option<Severity> {
        let tls = seen.flow.facts.tls.as_deref();
        let named = tls.and_then(|tls| tls.sni.as_deref()).is_some_and(is_name);
        let readable = Reads::of(watch, channel, shape) == Reads::Text;
        match () {
            // `kubectl exec` and web terminals reach servers inside the cluster so.
            () if typed && !destination.external && channel != Channel::Raw => Some(Severity::Low),
            () if typed => Some(Severity::Medium),
            () if human
                && !readable
                && destination.external
                && !named
                && u64::from(shape.question_bytes) <= COMMAND_BYTES =>
            {
                Some(Severity::Low)
            }
            () => None,
        }
    }

    fn of_quick(
        watch: &Watch,
        seen: &Seen<'_>,
        channel: Channel,
        settings: &Settings,
    ) -> Option<Self> {
        if !seen.outbound() || !matches!(channel, Channel::Tls | Channel::Raw | Channel::Upgraded) {
            return None;
        }
        let silent = watch.rhythm.shape(settings);
        if silent.silences > 0 && f64::from(silent.driven) < settings.driven_min {
            return None;
        }
        let shape = watch.rhythm.quick_shape()?;
        let destination = Destination::of(seen, channel, settings);
        let readable = Reads::of(watch, channel, &shape) == Reads::Text;
        let scripted = shape.questions >= settings.quick_questions_min
            && f64::from(shape.driven) >= settings.quick_wait_min
            && f64::from(shape.silence_s) >= settings.quick_pause_min_s
            && u64::from(shape.question_bytes) <= COMMAND_BYTES
            && f64::from(shape.amplification) >= settings.amplification_min
            && f64::from(shape.amplification_trimmed) >= settings.amplification_trimmed_min
            && shape.distinct >= 0.4
            && f64::from(shape.spread) >= settings.answer_spread_min
            && destination.external
            && destination.oddities() >= 2
            && !readable;
        scripted.then(|| Self {
            rule: &rules::ENCRYPTED,
            severity: Severity::Medium,
            magnitude: f64::from(shape.questions),
            confidence: 60,
            reads: Reads::of(watch, channel, &shape),
            ground: Ground::Quick(shape),
            destination,
            channel,
        })
    }

    /// The finding, in words and numbers.
    pub(super) fn finding(&self, seen: &Seen<'_>, settings: &Settings) -> Finding {
        let mut finding = Finding::on_flow(self.rule, seen).explained(&self.evidence(seen));
        finding.severity = self.severity;
        finding.confidence = self.confidence;
        finding.magnitude = self.magnitude;
        finding.title = self.title(seen);
        finding.against = self.against(seen, settings);
        finding
    }
}

fn confidence(shape: &Shape, destination: &Destination, typed: bool) -> u8 {
    let more = shape.silences.min(20) + 4 * destination.oddities() + 10 * u32::from(typed);
    u8::try_from((50 + more).min(95)).unwrap_or(95)
}
