//! Blind spots: a container whose traffic is not seen any more. Evading the monitor is the attack.
//!
//! Packets cannot tell of what is not captured, so the host does (live): see [`Blindness`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Describe, Detector, Finding, Rule, Seen, Severity, Verdict};
use crate::event::{Endpoint, Event, EventKinds, IpProtocol};
use crate::time::Timestamp;

const RESPONSE: &[&str] = &[
    "Find out who changed the interface or loaded a program on it: the audit log, the runtime's and the CNI plugin's logs around first_seen",
    "Take the container off the network until it is seen again: what passed meanwhile is unknown",
    "Look at the host's own sockets and conntrack table for connections of its address",
    "If it is the node's work (an upgrade of the network plugin), allow it with a reason and an expiry",
];

/// Of losses and throttling, which are the monitor's own.
const RESPONSE_OF_MONITOR: &[&str] = &[
    "Give it more: a larger buffer (--buffer, capture.node_buffer_bytes), then a higher processor limit",
    "Look at what this container sent around first_seen (its flow records): a flood may be there to hide something",
    "Take volumes and silence around first_seen, of all containers of the node, as a lower bound",
];

const fn rule(id: &'static str, number: u32, response: &'static [&'static str]) -> Rule {
    Rule {
        id,
        signature_id: 9_100_400 + number,
        revision: 1,
        techniques: &["T1685"],
        tactics: &["TA0112"],
        response,
    }
}

/// The host's end of its interface was set down.
pub static DOWN: Rule = rule("blind.interface_down", 1, RESPONSE);
/// Its interface was deleted or moved away, and it lives.
pub static GONE: Rule = rule("blind.interface_gone", 2, RESPONSE);
/// The kernel counts packets on its interface, and none is captured.
pub static BYPASSED: Rule = rule("blind.bypassed", 3, RESPONSE);
/// The capture loses frames.
pub static DROPS: Rule = rule("blind.drops", 4, RESPONSE_OF_MONITOR);
/// The monitor itself gets too little CPU.
pub static THROTTLED: Rule = rule("blind.throttled", 5, RESPONSE_OF_MONITOR);

/// It has gained a way out beside its interface.
pub static SECONDARY: Rule = rule("blind.secondary_interface", 6, RESPONSE);

/// News of how well a container is seen.
#[derive(Clone, Copy, Debug)]
pub enum Sight {
    /// Traffic of it passes unseen, and why.
    Lost(Blindness),
    /// What this rule says is over.
    Regained(&'static Rule),
}

/// What the host says of a container's visibility, or of the monitor's own state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Blindness {
    /// The host's end of its interface was set down while it lives.
    InterfaceDown,
    /// Its interface was deleted, or moved to another namespace, while it lives.
    InterfaceGone,
    /// An interface that is not seen came into its network namespace while it lives.
    SecondaryInterface {
        /// Its kind, as `coverage` records name it: `macvlan`.
        kind: &'static str,
    },
    /// The kernel counted packets on its interface, and none of them was captured.
    Bypassed {
        /// Packets by the kernel's counters (count).
        kernel_packets: u64,
        /// Within so many seconds.
        seconds: u64,
    },
    /// Frames were lost: the kernel's buffer, which all containers share, was full. Told of the container that
    /// lost most.
    Drops {
        /// Lost of this container, as far as its interface's counters tell (count).
        of_container: u64,
        /// Lost (count).
        dropped_frames: u64,
        /// Passed, the lost ones included (count).
        passed_frames: u64,
        /// Within so many seconds.
        seconds: u64,
    },
    /// The monitor's CPU was throttled by its cgroup. Told of the container with the most traffic.
    Throttled {
        /// Periods in which it was (count).
        throttled_periods: u64,
        /// Of so many.
        periods: u64,
        /// Within so many seconds.
        seconds: u64,
    },
}

impl Blindness {
    const fn rule(self) -> &'static Rule {
        match self {
            Self::InterfaceDown => &DOWN,
            Self::InterfaceGone => &GONE,
            Self::SecondaryInterface { .. } => &SECONDARY,
            Self::Bypassed { .. } => &BYPASSED,
            Self::Drops { .. } => &DROPS,
            Self::Throttled { .. } => &THROTTLED,
        }
    }

    /// An interface does not vanish by itself; lost frames and a busy monitor may be a busy node.
    const fn severity(self) -> (Severity, u8) {
        match self {
            Self::InterfaceGone => (Severity::High, 80),
            Self::InterfaceDown => (Severity::Medium, 80),
            Self::SecondaryInterface { .. } => (Severity::Medium, 80),
            Self::Bypassed { .. } => (Severity::Medium, 70),
            Self::Drops { .. } | Self::Throttled { .. } => (Severity::Low, 90),
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::InterfaceDown => "Blind spot: the interface of {container} was set down",
            Self::InterfaceGone => "Blind spot: the interface of {container} is gone, and it lives",
            Self::SecondaryInterface { .. } => {
                "Blind spot: {container} has gained an interface that is not seen"
            }
            Self::Bypassed { .. } => "Blind spot: traffic of {container} passes uncaptured",
            Self::Drops { .. } => "Blind spot: the capture loses frames",
            Self::Throttled { .. } => "Blind spot: the monitor gets too little CPU",
        }
    }
}

/// The numbers of a finding, and its sentence.
#[derive(Serialize)]
struct Evidence {
    #[serde(skip)]
    blindness: Blindness,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_dropped_frames_estimate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    periods: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
}

impl Evidence {
    const fn of(blindness: Blindness) -> Self {
        let mut evidence = Self {
            blindness,
            interface_kind: None,
            kernel_packets: None,
            dropped_frames: None,
            container_dropped_frames_estimate: None,
            passed_frames: None,
            throttled_periods: None,
            periods: None,
            seconds: None,
        };
        match blindness {
            Blindness::InterfaceDown | Blindness::InterfaceGone => {}
            Blindness::SecondaryInterface { kind } => evidence.interface_kind = Some(kind),
            Blindness::Bypassed { kernel_packets, seconds } => {
                evidence.kernel_packets = Some(kernel_packets);
                evidence.seconds = Some(seconds);
            }
            Blindness::Drops { of_container, dropped_frames, passed_frames, seconds } => {
                evidence.dropped_frames = Some(dropped_frames);
                evidence.container_dropped_frames_estimate = Some(of_container);
                evidence.passed_frames = Some(passed_frames);
                evidence.seconds = Some(seconds);
            }
            Blindness::Throttled { throttled_periods, periods, seconds } => {
                evidence.throttled_periods = Some(throttled_periods);
                evidence.periods = Some(periods);
                evidence.seconds = Some(seconds);
            }
        }
        evidence
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.blindness {
            Blindness::InterfaceDown => f.write_str(
                "the host's end of the container's interface was set down while the container runs: \
                 what it sends by another way is not seen",
            ),
            Blindness::InterfaceGone => f.write_str(
                "the container's interface was deleted or moved to another namespace while the \
                 container runs: what it sends by another way is not seen",
            ),
            Blindness::SecondaryInterface { kind } => write!(
                f,
                "a second interface ({kind}) came into the container's network namespace while it \
                 runs: what leaves by it passes no interface of the host"
            ),
            Blindness::Bypassed { kernel_packets, seconds } => write!(
                f,
                "the kernel counted {kernel_packets} packets on the container's interface within \
                 {seconds} s, and none of them was captured: a program on the interface (XDP, tc) \
                 takes them first"
            ),
            Blindness::Drops { of_container, dropped_frames, passed_frames, seconds } => {
                write!(
                    f,
                    "{dropped_frames} of this node's {passed_frames} frames were lost within \
                     {seconds} s, "
                )?;
                match of_container {
                    0 => f.write_str("of which container is not known")?,
                    most => write!(f, "about {most} of them this container's, more than of any other")?,
                }
                f.write_str(
                    ": the kernel's buffer was full, by a burst or by someone who wants to hide in one",
                )
            }
            Blindness::Throttled { throttled_periods, periods, seconds } => write!(
                f,
                "the monitor's CPU was throttled in {throttled_periods} of {periods} periods within \
                 {seconds} s: its limit is too low for this node, and frames will be lost; this \
                 container has the most traffic"
            ),
        }
    }
}

fn against(blindness: Blindness) -> &'static str {
    match blindness {
        Blindness::InterfaceDown | Blindness::InterfaceGone => {
            "The runtime takes a pod's network down when it ends the pod: here a process of it still \
             ran seconds later."
        }
        Blindness::SecondaryInterface { .. } => {
            "A second network that someone attached on purpose (`docker network connect`) looks the \
             same; one that a pod has from its start is none."
        }
        Blindness::Bypassed { .. } => {
            "Some network plugins hand packets to containers past the host's end (eBPF host routing): \
             then it is so for every container of the node, from the start."
        }
        Blindness::Drops { .. } | Blindness::Throttled { .. } => {
            "A busy node does this without an attacker: a larger buffer or limit settles it."
        }
    }
}

/// `[detect.blind_spot]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Share of the frames of ten seconds that may be lost (0 to 1).
    pub drops_share: f64,
    /// Share of the periods of ten seconds in which the monitor's CPU may be throttled (0 to 1).
    pub throttled_share: f64,
    /// Packets within ten seconds that the kernel may count on an interface while none is captured
    /// (count).
    pub bypassed_packets: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { drops_share: 0.01, throttled_share: 0.1, bypassed_packets: 50 }
    }
}

impl Settings {
    /// It is more than what is normal.
    fn counts(&self, blindness: Blindness) -> bool {
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        match blindness {
            Blindness::InterfaceDown
            | Blindness::InterfaceGone
            | Blindness::SecondaryInterface { .. } => true,
            Blindness::Bypassed { kernel_packets, .. } => kernel_packets >= self.bypassed_packets,
            Blindness::Drops { dropped_frames, passed_frames, .. } => {
                share(dropped_frames, passed_frames) > self.drops_share
            }
            Blindness::Throttled { throttled_periods, periods, .. } => {
                share(throttled_periods, periods) > self.throttled_share
            }
        }
    }
}

/// The detector of one container.
#[derive(Debug)]
pub struct BlindSpot {
    settings: Settings,
}

impl Detector for BlindSpot {
    fn observe(&mut self, _seen: &Seen<'_>, _event: &Event<'_>, _verdicts: &mut Vec<Verdict>) {}

    fn blinded(&mut self, at: Timestamp, blindness: Blindness, verdicts: &mut Vec<Verdict>) {
        if !self.settings.counts(blindness) {
            return;
        }
        let (severity, confidence) = blindness.severity();
        let nobody = Endpoint { ip: std::net::IpAddr::from([0; 4]), port: 0 };
        let finding = Finding {
            severity,
            confidence,
            title: blindness.title().to_owned(),
            against: vec![against(blindness).to_owned()],
            first_seen: at,
            ..Finding::on_peer(blindness.rule(), nobody, IpProtocol::NONE)
                .explained(&Evidence::of(blindness))
        };
        verdicts.push(Verdict::Raise(Box::new(finding)));
    }

    fn seen_again(&mut self, rule: &'static Rule, verdicts: &mut Vec<Verdict>) {
        if Self::RULES.iter().any(|own| own.id == rule.id) {
            verdicts.push(Verdict::Close { rule, subject: 0 });
        }
    }

    fn end_capture(&mut self, verdicts: &mut Vec<Verdict>) {
        for rule in Self::RULES {
            verdicts.push(Verdict::Close { rule, subject: 0 });
        }
    }
}

impl Describe for BlindSpot {
    const ID: &'static str = "blind_spot";
    const RULES: &'static [&'static Rule] =
        &[&DOWN, &GONE, &BYPASSED, &DROPS, &THROTTLED, &SECONDARY];
    const ADS: &'static str = include_str!("../../docs/ads/blind_spot.md");
    const HEARS: EventKinds = EventKinds::NONE;
    type Settings = Settings;

    fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone() }
    }

    fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }
}
