//! A case in words and numbers: the sentence, the evidence, and what speaks against it.

use std::fmt;

use serde::Serialize;

use super::rhythm::Shape;
use super::text::Reading;
use super::verdict::{Case, Ground, Reads};
use super::{Channel, Settings};
use crate::detect::Seen;
use crate::event::Endpoint;

impl Case {
    pub(super) fn title(&self, seen: &Seen<'_>) -> String {
        let peer = seen.peer();
        let by_text = matches!(self.ground, Ground::Text(_));
        match self.rule.id {
            "shell.bind" if !by_text => format!(
                "Bind shell by its rhythm: {} may drive a shell behind port {} of {{container}}",
                peer.ip,
                seen.flow.endpoint(seen.side).port
            ),
            "shell.bind" => format!(
                "Bind shell: {} drives a shell behind port {} of {{container}}",
                peer.ip,
                seen.flow.endpoint(seen.side).port
            ),
            "shell.reverse.ssh_tunnel" => {
                format!("Reverse SSH tunnel: {peer} drives {{container}} from outside")
            }
            "shell.reverse.tasking" => format!("Remote tasking: {peer} gives {{container}} tasks"),
            _ if !by_text => format!(
                "Reverse shell by its rhythm: {peer} drives {{container}} as a shell is driven"
            ),
            _ => match &self.ground {
                Ground::Text(Reading { elsewhere: Some(_), .. }) => {
                    format!("Reverse shell: {} drives a shell in {{container}}", peer.ip)
                }
                _ => format!("Reverse shell: {peer} drives a shell in {{container}}"),
            },
        }
    }

    pub(super) fn evidence(&self, seen: &Seen<'_>) -> Evidence {
        let tls = seen.flow.facts.tls.as_deref();
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
            reads: self.reads,
            peer: seen.peer(),
        }
    }

    pub(super) fn against(&self, seen: &Seen<'_>, settings: &Settings) -> Vec<String> {
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
                    against.push(
                        "A proxy or relay passes on what another container's shell says: then the \
                         same commands stand in a finding on that one."
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
            Ground::Rhythm(_) | Ground::Quick(_) if !seen.outbound() => {
                against.push(
                    "Servers are driven from outside by nature: a server with small requests, \
                     larger answers and a person or chance behind the pauses looks the same."
                        .into(),
                );
                if self.destination.external {
                    against.push(
                        "A service that is meant to be reached from outside has such clients."
                            .into(),
                    );
                }
            }
            Ground::Rhythm(shape) | Ground::Quick(shape) => {
                if self.reads == Reads::Text {
                    against.push(
                        "What is said can be read, and it is not what shells read and write."
                            .into(),
                    );
                }
                against.push(format!(
                    "A push channel (message queue, watch, chat) is driven from outside too: its \
                     messages are answered with less than their size or not at all; here with {} \
                     times as much.",
                    rounded(shape.amplification)
                ));
                let by = if self.destination.name.is_some() { "name" } else { "network" };
                against.push(format!(
                    "Agents that take jobs over a connection of their own (CI runners, remote \
                     management, tunnels run on purpose) look the same: allow them by {by}."
                ));
            }
        }
        if self.reads == Reads::Cut {
            against.push(
                "The capture's snap length cut what is said: a protocol that could be read, and is \
                 no shell, may look the same."
                    .into(),
            );
        }
        if let Some(name) = &self.destination.name {
            against.push(format!("The destination has a name: {name}."));
        }
        if let Some(entry) = &self.destination.known {
            against.push(format!("The name is under {entry}, a known service."));
        }
        if self.destination.siblings >= settings.siblings_min {
            let explains = if self.destination.shared {
                ""
            } else {
                " It explains little: the name is missing, new to the node or under suspicion, and \
                 replicas that are taken together call the same place."
            };
            against.push(format!(
                "{} containers of this node use the destination.{explains}",
                self.destination.siblings
            ));
        }
        if !self.destination.external {
            against.push("The peer's address is private, or one of the cluster's.".into());
        }
        if self.destination.older && !matches!(self.ground, Ground::Text(_)) {
            against.push(
                "The connection is older than the capture: the handshake, greeting or name that \
                 might explain it was not seen, and none of them counts as missing."
                    .into(),
            );
        }
        if seen.flow.direction_inferred {
            against.push("The flow's beginning was not seen: who opened it is a guess.".into());
        }
        against
    }
}

/// Two decimals: what a person reads, and the same on every machine.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

#[derive(Serialize)]
pub(super) struct Evidence {
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
    reads: Reads,
    #[serde(skip)]
    peer: Endpoint,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over so")]
const fn is_one(count: &u32) -> bool {
    *count == 1
}

#[derive(Serialize)]
struct TextEvidence {
    commands_seen: u32,
    #[serde(skip_serializing_if = "is_one")]
    connections: u32,
    distinct_commands_answered: u32,
    commands_on_another_flow: bool,
    /// Of the peer, where they came on another flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    commands_from_port: Option<u16>,
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
            connections: reading.connections,
            distinct_commands_answered: reading.distinct_commands,
            commands_on_another_flow: reading.elsewhere.is_some(),
            commands_from_port: reading.elsewhere,
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
            let sent = |f: &mut fmt::Formatter<'_>, by: Endpoint, command: &str| {
                let many = if text.commands_seen == 1 { "" } else { "s" };
                let count = text.commands_seen;
                write!(f, "{by} sent {count} shell command{many} (first answered: {command})")
            };
            match (text.first_command, text.commands_from_port) {
                (Some(command), Some(port)) => {
                    sent(f, Endpoint { port, ..*peer }, command)?;
                    write!(
                        f,
                        " on another connection; on this one, which the {opened} opened with {peer}"
                    )?;
                }
                (Some(command), None) => {
                    sent(f, *peer, command)?;
                    match text.connections {
                        1 => write!(f, " on a connection that the {opened} opened")?,
                        many => write!(f, " on {many} connections that the {opened} opened")?,
                    }
                }
                (None, _) => write!(f, "The {opened} opened a connection with {peer}")?,
            }
            let and = if text.commands_from_port.is_some() { "" } else { " and" };
            return match kinds.is_empty() {
                true => write!(f, ",{and} the container answered"),
                false => write!(f, ",{and} the container wrote what shells write: {kinds}"),
            };
        }
        let read = match self.reads {
            Reads::Text => "; what is said can be read, and is not what shells read and write",
            Reads::Cut => "; the capture holds too little of what is said to read it",
            Reads::Nothing => "",
        };
        if let Some(rhythm) = &self.rhythm {
            return write!(
                f,
                "On a connection that the {opened} opened, {peer} broke {:.0} % of {} silences of \
                 half a second or more, asked with {} B (median), and the container answered \
                 {:.0} % of the questions within 2 s with {:.1} times as many bytes{read}",
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
             {:.1} times as many bytes{read}",
            quick.questions,
            quick.question_bytes_mean,
            quick.pause_mean_s,
            quick.pause_to_answer_time_ratio,
            quick.amplification_ratio
        )
    }
}
