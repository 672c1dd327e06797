//! Conversations written out as scripts: who says what after which pause, over which channel.

mod findings;
mod honest;
mod places;
mod shells;
mod words;

use std::net::IpAddr;

use super::*;
use crate::baseline::{self, Baseline, Destinations};
use crate::container::{Attribution, Container, ContainerIdentity, Names};
use crate::detect::Finding;
use crate::event::{
    Endpoint, FlowEnd, FlowFacts, LinkId, Manner, Protocol, SshFacts, TlsFacts, Zone,
};
use crate::flow::turns::Turns;
use crate::flow::{Flow, History, SideCounters, State, TcpEnding};

static TLS: Protocol = Protocol { name: "tls", manner: Manner::Carrier };
static SSH: Protocol = Protocol { name: "ssh", manner: Manner::Carrier };
static WEBSOCKET: Protocol = Protocol { name: "websocket", manner: Manner::Carrier };
static HTTP: Protocol = Protocol { name: "http", manner: Manner::RequestResponse };
static FTP: Protocol = Protocol { name: "ftp", manner: Manner::Interactive };
static SMTP: Protocol = Protocol { name: "smtp", manner: Manner::RequestResponse };
static MQTT: Protocol = Protocol { name: "mqtt", manner: Manner::Push };

/// Who speaks, seen from the container.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    /// The container.
    C,
    /// Its peer.
    P,
}
use Who::{C, P};

/// What is said: text, or so many bytes of a cipher.
#[derive(Clone, Debug)]
enum What {
    Text(&'static str),
    Cipher(usize),
}

type Line = (u64, Who, What);

fn t(after_ms: u64, who: Who, text: &'static str) -> Line {
    (after_ms, who, What::Text(text))
}

fn c(after_ms: u64, who: Who, bytes: usize) -> Line {
    (after_ms, who, What::Cipher(bytes))
}

/// One flow of one container, and the detector that hears of it.
struct Scene {
    detector: ReverseShell,
    flow: Flow,
    container: Container,
    node: Baseline,
    side: Side,
    turns: Turns,
    now_ms: u64,
    /// Segments are cut to so many bytes.
    cut: usize,
    findings: Vec<(u64, Finding)>,
    /// Rules of the findings that were closed.
    closed: Vec<&'static str>,
}

impl Scene {
    fn new(side: Side) -> Self {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = Endpoint { ip: ip("10.244.1.7"), port: 41_022 };
        let peer = Endpoint { ip: ip("203.0.113.9"), port: 1_234 };
        let (originator, responder) = match side {
            Side::Originator => (own, peer),
            Side::Responder => (peer, own),
        };
        let mut zones = [Zone::Cluster; 2];
        zones[side.other().index()] = Zone::External;
        let at = Timestamp::from_nanos(1_000_000_000_000);
        Self {
            detector: ReverseShell::new(&Settings::default()),
            flow: Flow {
                id: 1,
                originator,
                responder,
                protocol: IpProtocol::TCP,
                vlan: 0,
                tunnel: None,
                icmp: None,
                link: LinkId(0),
                opened: at,
                last: at,
                state: State::Established,
                ending: TcpEnding::None,
                sides: [SideCounters::default(); 2],
                history: History::default(),
                midstream: false,
                direction_inferred: false,
                app: None,
                outer: None,
                app_unknown: false,
                facts: FlowFacts::default(),
                name: None,
                containers: [Some(0), None],
                zones,
            },
            container: Container {
                number: 0,
                identity: ContainerIdentity {
                    id: "a".into(),
                    name: None,
                    image: None,
                    ip: own.ip,
                    attribution: Attribution::Configured,
                    kubernetes: None,
                    sharing: None,
                },
                addresses: vec![own.ip],
                link: None,
                first_seen: at,
                last_seen: at,
                flows: [0; 2],
                ip_bytes: [0; 2],
                names: Names::new(4),
                destinations: Destinations::new(4),
            },
            node: Baseline::new(&baseline::Settings::default()),
            side,
            turns: Turns::new(),
            now_ms: 1_000_000,
            cut: usize::MAX,
            findings: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn app(mut self, app: &'static Protocol) -> Self {
        self.flow.app = Some(app);
        self
    }

    /// A TLS connection after its handshake; `name` is its SNI.
    fn tls(mut self, name: Option<&str>) -> Self {
        self.flow.app = Some(&TLS);
        self.flow.responder.port = 443;
        self.flow.name = name.map(Into::into);
        self.flow.facts.tls = Some(Box::new(TlsFacts {
            sni: name.map(Into::into),
            established: true,
            ..TlsFacts::default()
        }));
        for (who, bytes) in [(C, 500), (P, 2_500), (C, 80), (P, 500)] {
            self.say(40, who, What::Cipher(bytes));
        }
        self
    }

    fn ssh(mut self) -> Self {
        self.flow.app = Some(&SSH);
        self.flow.responder.port = 22;
        self.flow.facts.ssh = Some(Box::new(SshFacts::default()));
        for bytes in [40, 1_500, 1_200, 60, 140, 300] {
            self.say(50, C, What::Cipher(bytes));
            self.say(50, P, What::Cipher(bytes));
        }
        self
    }

    fn emit(&mut self, event: &Event<'_>) {
        let mut verdicts = Vec::new();
        let at = Timestamp::from_nanos(self.now_ms * 1_000_000);
        let Self { detector, flow, container, node, side, .. } = self;
        let allow = &();
        let seen = Seen { at, side: *side, flow, container, node, allow };
        detector.observe(&seen, event, &mut verdicts);
        for verdict in verdicts {
            match verdict {
                Verdict::Raise(finding) => self.findings.push((self.now_ms, *finding)),
                Verdict::Pause { .. } => {}
                Verdict::Close { rule, .. } => self.closed.push(rule.id),
            }
        }
    }

    fn say(&mut self, after_ms: u64, who: Who, what: What) {
        self.now_ms += after_ms;
        let from = if who == C { self.side } else { self.side.other() };
        let bytes = match what {
            What::Text(text) => text.as_bytes().to_vec(),
            What::Cipher(length) => (0..length).map(|index| 0x80 | (index * 37) as u8).collect(),
        };
        for piece in bytes.chunks(self.cut) {
            let at = Timestamp::from_nanos(self.now_ms * 1_000_000);
            self.flow.last = at;
            let sent = &mut self.flow.sides[from.index()].payload_bytes;
            let offset = *sent;
            *sent += piece.len() as u64;
            let (ended, place) = self.turns.speak(at, from, piece.len() as u64);
            if let Some(turn) = ended {
                let mut totals = self.flow.sides.map(|side| side.payload_bytes);
                totals[from.index()] = offset;
                self.emit(&Event::Turn { turn, totals });
            }
            self.emit(&Event::Data { from, offset, bytes: piece, turn_head: place == Some(0) });
        }
    }

    fn play(mut self, script: &[Line]) -> Self {
        for (after_ms, who, what) in script {
            self.say(*after_ms, *who, what.clone());
        }
        self
    }

    fn end(mut self) -> Vec<(u64, Finding)> {
        if let Some(turn) = self.turns.close() {
            let totals = self.flow.sides.map(|side| side.payload_bytes);
            self.emit(&Event::Turn { turn, totals });
        }
        self.emit(&Event::FlowClosed(FlowEnd::Closed));
        self.findings
    }
}

fn worst(findings: &[(u64, Finding)]) -> Option<(&'static str, Severity)> {
    findings
        .iter()
        .max_by_key(|(_, finding)| finding.severity)
        .map(|(_, finding)| (finding.rule.id, finding.severity))
}

fn is_silent(findings: &[(u64, Finding)]) -> bool {
    worst(findings).is_none_or(|(_, severity)| severity < Severity::Medium)
}

const PROMPT: &str = "root@web-0:/# ";

/// Keys of a typist, each echoed, then the output.
fn typed(pauses_ms: &[u64], key: usize, echo: usize, outputs: &[usize]) -> Vec<Line> {
    let mut script = Vec::new();
    for (pause, output) in pauses_ms.iter().zip(outputs) {
        for index in 0..6 {
            let gap = if index == 0 { *pause } else { 90 + 35 * (index % 4) };
            script.push(c(gap, P, key));
            script.push(c(2, C, if index == 5 { *output } else { echo }));
        }
    }
    script
}

const PAUSES: [u64; 8] = [4_000, 2_500, 7_000, 3_200, 1_400, 9_000, 2_100, 5_500];
const OUTPUTS: [usize; 8] = [150, 1_500, 90, 400, 2_400, 120, 60, 900];

/// Whole lines and their output, over a channel that adds `overhead` bytes.
fn lines(pauses_ms: &[u64], overhead: usize, outputs: &[usize]) -> Vec<Line> {
    let sizes = [3, 12, 7, 18, 5, 27, 16, 9];
    let mut script = Vec::new();
    for ((pause, output), size) in pauses_ms.iter().zip(outputs).zip(sizes) {
        script.push(c(*pause, P, size + overhead));
        script.push(c(4, C, output + overhead));
    }
    script
}
