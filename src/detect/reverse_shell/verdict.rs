//! From text, rhythm and destination to a finding: how sure, how grave, and in which words.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::rhythm::Shape;
use super::text::Reading;
use super::{Channel, Settings, Watch, rules};
use crate::baseline::DestinationKey;
use crate::detect::{Finding, Rule, Seen, Severity};
use crate::event::Zone;

/// Most commands with their wrapping are smaller (bytes, without record overhead); a response of
/// HTTP/1.1 is larger.
const COMMAND_BYTES: u64 = 96;

/// Most commands typed by hand are smaller (bytes, without record overhead); a response of HTTP/2
/// with any content is larger.
const SHORT_COMMAND_BYTES: u64 = 64;

/// A port of the container that was called so often is no service of it (count).
const SERVED_RARELY: u16 = 2;

/// Not an address in the place of a name.
fn is_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_err()
}

/// What is known about the other end. Never a cause, only a weight.
#[derive(Clone, Debug)]
struct Destination {
    external: bool,
    name: Option<String>,
    /// The entry of the list of known services that its name is under, where the container got
    /// the peer's address by that name.
    known: Option<String>,
    self_signed: Option<bool>,
    /// TLS on another port than its usual ones, or no known protocol at all.
    unusual_port: bool,
    /// This is the container's first flow to it.
    first_seen: bool,
    /// Containers of the node that use it (count; 8 means 8 or more).
    siblings: u8,
}

impl Destination {
    fn of(seen: &Seen<'_>, channel: Channel, settings: &Settings) -> Self {
        let flow = seen.flow;
        let key = DestinationKey::of_flow(flow);
        let tls = flow.facts.as_deref().and_then(|facts| facts.tls.as_deref());
        let certificate = tls.and_then(|tls| tls.certificate.as_deref());
        let usual: &[u16] = match channel {
            Channel::Tls => &[443, 465, 636, 853, 993, 995, 5671, 6443, 8443, 8883],
            Channel::Ssh => &[22, 2222],
            Channel::Upgraded => &[80, 443, 8080],
            Channel::Raw | Channel::Known => &[],
        };
        let own = seen.container.destinations.get(key);
        let resolved = seen.container.names.of(seen.at, seen.peer().ip);
        let known = resolved.and_then(|name| settings.known_services.find(name));
        Self {
            external: seen.peer_zone() == Zone::External,
            name: flow.name.as_deref().filter(|name| is_name(name)).map(str::to_owned),
            known: known.filter(|known| !known.carries_strangers).map(|k| k.entry.to_owned()),
            self_signed: certificate.map(|certificate| certificate.self_signed),
            unusual_port: !usual.contains(&flow.responder.port),
            first_seen: own.is_none_or(|own| own.flows <= 1 || own.first_seen >= flow.opened),
            siblings: seen.node.destinations.get(key).map_or(0, |all| all.containers()),
        }
    }

    /// Looks like any service on the Internet: TLS to a name, not with a certificate of its own.
    fn is_ordinary(&self, channel: Channel) -> bool {
        channel == Channel::Tls && self.name.is_some() && self.self_signed != Some(true)
    }

    /// Reasons to look twice (count, 0 to 4): no name, its own certificate, an unusual port, and
    /// never seen before.
    fn oddities(&self) -> u32 {
        u32::from(self.name.is_none())
            + u32::from(self.self_signed == Some(true))
            + u32::from(self.unusual_port)
            + u32::from(self.first_seen && self.external)
    }
}

/// What speaks for a shell.
#[derive(Clone, Debug)]
enum Ground {
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
    ground: Ground,
    destination: Destination,
    channel: Channel,
}

impl Case {
    /// The case against a flow, if there is one.
    pub(super) fn of(
        watch: &Watch,
        seen: &Seen<'_>,
        channel: Channel,
        settings: &Settings,
    ) -> Option<Self> {
        Self::of_text(watch, seen, channel, settings)
            .or_else(|| Self::of_rhythm(watch, seen, channel, settings))
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
            () if !spoken && !seen.outbound() => Severity::Medium,
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
            channel,
        })
    }

    fn of_rhythm(
        watch: &Watch,
        seen: &Seen<'_>,
        channel: Channel,
        settings: &Settings,
    ) -> Option<Self> {
        if channel == Channel::Known || watch.rhythm.silences < settings.silences_min {
            return None;
        }
        let shape = watch.rhythm.shape(settings);
        let typed = shape.echoes >= settings.echoes_min;
        let driven_min =
            if shape.silences >= 30 { settings.driven_long_min } else { settings.driven_min };
        // Keys and their echoes cancel out, and two layers of SSH pad both to the same size.
        let (gain_min, trimmed_min) = match () {
            () if typed => (1.05, 0.0),
            () if channel == Channel::Ssh => (1.1, settings.amplification_trimmed_min.min(0.7)),
            () => (settings.amplification_min, settings.amplification_trimmed_min),
        };
        let drives = f64::from(shape.driven) >= driven_min
            && shape.questions + 1 >= settings.silences_min
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
        let shared = destination.name.is_some() && destination.siblings >= settings.siblings_min;
        let inside = !destination.external && destination.name.is_some();
        if !human {
            let unusual = odd >= 3 && destination.external && !shared;
            return (&rules::TASKING, if unusual { Severity::Medium } else { Severity::Low });
        }
        let rule = if channel == Channel::Ssh { &rules::SSH_TUNNEL } else { &rules::ENCRYPTED };
        let many = shape.silences >= settings.silences_high;
        let severity = match () {
            () if (shared || inside || destination.known.is_some()) && !typed => Severity::Low,
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
            () if watch.text.as_ref().is_some_and(|text| text.is_readable()) => {
                if odd >= 3 && shape.silences >= 6 { Severity::Medium } else { Severity::Low }
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

    /// The container was called, as servers are: only a terminal, or a person from outside at an
    /// encrypted port that hardly anyone else uses, is more than that.
    fn of_driven_server(
        watch: &Watch,
        seen: &Seen<'_>,
        shape: &Shape,
        (destination, channel): (&Destination, Channel),
        human: bool,
        typed: bool,
    ) -> Option<Severity> {
        let tls = seen.flow.facts.as_deref().and_then(|facts| facts.tls.as_deref());
        let named = tls.and_then(|tls| tls.sni.as_deref()).is_some_and(is_name);
        let rare = watch.served <= SERVED_RARELY;
        match () {
            // `kubectl exec` and web terminals reach servers inside the cluster so.
            () if typed && !destination.external && channel != Channel::Raw => Some(Severity::Low),
            () if typed => Some(Severity::Medium),
            () if human
                && destination.external
                && !named
                && u64::from(shape.question_bytes) <= COMMAND_BYTES =>
            {
                let sure = rare && shape.silences >= 6;
                Some(if sure { Severity::Medium } else { Severity::Low })
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
        let shape = watch.rhythm.quick_shape()?;
        let destination = Destination::of(seen, channel, settings);
        let readable = watch.text.as_ref().is_some_and(|text| text.is_readable());
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

    fn title(&self, seen: &Seen<'_>) -> String {
        let peer = seen.peer();
        match self.rule.id {
            "shell.bind" => format!(
                "Bind shell: {} drives a shell behind port {} of {{container}}",
                peer.ip,
                seen.flow.endpoint(seen.side).port
            ),
            "shell.reverse.ssh_tunnel" => {
                format!("Reverse SSH tunnel: {peer} drives {{container}} from outside")
            }
            "shell.reverse.tasking" => format!("Remote tasking: {peer} gives {{container}} tasks"),
            _ => format!("Reverse shell: {peer} drives a shell in {{container}}"),
        }
    }

    fn evidence(&self, seen: &Seen<'_>) -> Evidence {
        let tls = seen.flow.facts.as_deref().and_then(|facts| facts.tls.as_deref());
        let (text, rhythm, quick) = match &self.ground {
            Ground::Text(reading) => (Some(TextEvidence::of(reading)), None, None),
            Ground::Rhythm(shape) => (None, Some(RhythmEvidence::of(shape)), None),
            Ground::Quick(shape) => (None, None, Some(QuickEvidence::of(shape))),
        };
        Evidence {
            text,
            rhythm,
            quick,
            channel: match self.channel {
                Channel::Tls => "tls",
                Channel::Ssh => "ssh",
                Channel::Upgraded => "websocket",
                Channel::Raw => "no known protocol",
                Channel::Known => seen.flow.app_name().unwrap_or("unknown"),
            },
            opened_by: if seen.outbound() { "container" } else { "peer" },
            destination_name: self.destination.name.clone(),
            destination_external: self.destination.external,
            destination_first_seen: self.destination.first_seen,
            destination_containers: self.destination.siblings,
            tls_sni: tls.and_then(|tls| tls.sni.as_deref()).map(str::to_owned),
            tls_ja4: tls.and_then(|tls| tls.ja4.as_deref()).map(str::to_owned),
            tls_self_signed: self.destination.self_signed,
            peer: seen.peer().to_string(),
        }
    }

    fn against(&self, seen: &Seen<'_>, settings: &Settings) -> Vec<String> {
        let mut against = Vec::new();
        match &self.ground {
            Ground::Text(reading) => {
                if self.rule.id == "shell.bind" {
                    against.push(if reading.login {
                        "A remote login service: the container did ask for a login first.".into()
                    } else {
                        "A remote login service would ask for a login first: none was seen.".into()
                    });
                } else {
                    against.push(
                        "A person in the container who uses a remote shell: there the container \
                         sends the commands; here it sent their output."
                            .into(),
                    );
                }
                if self.channel == Channel::Known {
                    against.push(format!(
                        "The stream began as {}: its first bytes fit that protocol.",
                        seen.flow.app_name().unwrap_or("another protocol")
                    ));
                }
            }
            Ground::Rhythm(shape) | Ground::Quick(shape) => {
                against.push(format!(
                    "A push channel (message queue, watch, chat) is driven from outside too: its \
                     messages are answered with less than their size or not at all; here with {} \
                     times as much.",
                    rounded(shape.amplification)
                ));
                against.push(
                    "Agents that take jobs over a connection of their own (CI runners, remote \
                     management, tunnels run on purpose) look the same: allow them by name."
                        .into(),
                );
            }
        }
        if let Some(name) = &self.destination.name {
            against.push(format!("The destination has a name: {name}."));
        }
        if let Some(entry) = &self.destination.known {
            against.push(format!("The name is under {entry}, a known service."));
        }
        if self.destination.siblings >= settings.siblings_min {
            against.push(format!(
                "{} containers of this node use the destination.",
                self.destination.siblings
            ));
        }
        if !self.destination.external {
            against.push("The peer is inside the cluster's networks.".into());
        }
        if seen.flow.direction_inferred {
            against.push("The flow's beginning was not seen: who opened it is a guess.".into());
        }
        against
    }
}

fn confidence(shape: &Shape, destination: &Destination, typed: bool) -> u8 {
    let more = shape.silences.min(20) + 4 * destination.oddities() + 10 * u32::from(typed);
    u8::try_from((50 + more).min(95)).unwrap_or(95)
}

/// Two decimals: what a person reads, and the same on every machine.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

#[derive(Serialize)]
struct Evidence {
    #[serde(flatten)]
    text: Option<TextEvidence>,
    #[serde(flatten)]
    rhythm: Option<RhythmEvidence>,
    #[serde(flatten)]
    quick: Option<QuickEvidence>,
    channel: &'static str,
    opened_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_name: Option<String>,
    destination_external: bool,
    destination_first_seen: bool,
    destination_containers: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_sni: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_ja4: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_self_signed: Option<bool>,
    #[serde(skip)]
    peer: String,
}

#[derive(Serialize)]
struct TextEvidence {
    commands_seen: u32,
    distinct_commands_answered: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_command: Option<&'static str>,
    output_classes: Vec<&'static str>,
    lines_echoed: u16,
    login_asked: bool,
    root: bool,
    evidence_points: u32,
}

impl TextEvidence {
    fn of(reading: &Reading) -> Self {
        Self {
            commands_seen: reading.commands,
            distinct_commands_answered: reading.distinct_commands,
            first_command: reading.first_command,
            output_classes: reading.signs.names(),
            lines_echoed: reading.echoes,
            login_asked: reading.login,
            root: reading.root,
            evidence_points: reading.points,
        }
    }
}

#[derive(Serialize)]
struct RhythmEvidence {
    silences: u32,
    silences_broken_by_peer_ratio: f64,
    question_bytes_median: u32,
    answer_bytes_median: u32,
    questions_answered_ratio: f64,
    amplification_ratio: f64,
    silence_median_s: f64,
    silence_variation_ratio: f64,
    answer_spread_ln: f64,
    keystrokes_echoed: u32,
}

impl RhythmEvidence {
    fn of(shape: &Shape) -> Self {
        Self {
            silences: shape.silences,
            silences_broken_by_peer_ratio: rounded(shape.driven),
            question_bytes_median: shape.question_bytes,
            answer_bytes_median: shape.answer_bytes,
            questions_answered_ratio: rounded(shape.answered),
            amplification_ratio: rounded(shape.amplification),
            silence_median_s: rounded(shape.silence_s),
            silence_variation_ratio: rounded(shape.variation),
            answer_spread_ln: rounded(shape.spread),
            keystrokes_echoed: shape.echoes,
        }
    }
}

#[derive(Serialize)]
struct QuickEvidence {
    questions: u32,
    question_bytes_mean: u32,
    answer_bytes_mean: u32,
    amplification_ratio: f64,
    pause_mean_s: f64,
    pause_to_answer_time_ratio: f64,
    answer_spread_ln: f64,
}

impl QuickEvidence {
    fn of(shape: &Shape) -> Self {
        Self {
            questions: shape.questions,
            question_bytes_mean: shape.question_bytes,
            answer_bytes_mean: shape.answer_bytes,
            amplification_ratio: rounded(shape.amplification),
            pause_mean_s: rounded(shape.silence_s),
            pause_to_answer_time_ratio: rounded(shape.driven),
            answer_spread_ln: rounded(shape.spread),
        }
    }
}

/// One sentence that can be checked by hand in the capture.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (peer, opened) = (&self.peer, self.opened_by);
        if let Some(text) = &self.text {
            let kinds = text.output_classes.join(", ").replace('_', " ");
            match text.first_command {
                Some(command) => write!(
                    f,
                    "{peer} sent {} shell commands (first answered: {command}) on a connection \
                     that the {opened} opened",
                    text.commands_seen
                )?,
                None => write!(f, "The {opened} opened a connection with {peer}")?,
            }
            return match kinds.is_empty() {
                true => write!(f, ", and the container answered them at once"),
                false => write!(f, ", and the container wrote what shells write: {kinds}"),
            };
        }
        if let Some(rhythm) = &self.rhythm {
            return write!(
                f,
                "On a connection that the {opened} opened, {peer} broke {:.0} % of {} silences of \
                 half a second or more, asked with {} B (median), and the container answered \
                 {:.0} % of it within 2 s with {:.1} times as many bytes",
                rhythm.silences_broken_by_peer_ratio * 100.0,
                rhythm.silences,
                rhythm.question_bytes_median,
                rhythm.questions_answered_ratio * 100.0,
                rhythm.amplification_ratio
            );
        }
        let Some(quick) = &self.quick else { return Ok(()) };
        write!(
            f,
            "On a connection that the {opened} opened, {peer} asked {} times with {} B (mean) \
             after pauses of {:.2} s, {:.0} times as long as the container took to answer with \
             {:.1} times as many bytes",
            quick.questions,
            quick.question_bytes_mean,
            quick.pause_mean_s,
            quick.pause_to_answer_time_ratio,
            quick.amplification_ratio
        )
    }
}
