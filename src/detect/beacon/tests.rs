//! Tests of the beacon detector.

mod findings;
mod standing;
mod timers;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::baseline::{self, Destinations};
use crate::container::{Attribution, ContainerIdentity, Names};
use crate::detect::Severity;
use crate::event::{
    Certificate, DnsQuestion, Endpoint, FlowEnd, FlowFacts, LinkId, Manner, Protocol, TlsFacts,
    Zone,
};
use crate::flow::{History, SideCounters, State, TcpEnding};

static TLS: Protocol = Protocol { name: "tls", manner: Manner::Carrier };
static HTTP: Protocol = Protocol { name: "http", manner: Manner::RequestResponse };
static PGSQL: Protocol = Protocol { name: "pgsql", manner: Manner::RequestResponse };
static MQTT: Protocol = Protocol { name: "mqtt", manner: Manner::Push };

/// A container, its node and its detector, fed with events.
struct Stage {
    detector: Beacon,
    container: Container,
    node: Baseline,
    at: Timestamp,
    flows: u64,
    found: Vec<Verdict>,
}

/// What is called.
#[derive(Clone)]
struct Target {
    ip: IpAddr,
    port: u16,
    protocol: IpProtocol,
    name: Option<&'static str>,
    app: Option<&'static Protocol>,
    outer: Option<&'static Protocol>,
    unknown: bool,
    facts: Option<TlsFacts>,
}

impl Target {
    fn tcp(ip: [u8; 4], port: u16) -> Self {
        Self {
            ip: Ipv4Addr::from(ip).into(),
            port,
            protocol: IpProtocol::TCP,
            name: None,
            app: None,
            outer: None,
            unknown: true,
            facts: None,
        }
    }

    fn udp(ip: [u8; 4], port: u16) -> Self {
        Self { protocol: IpProtocol::UDP, ..Self::tcp(ip, port) }
    }

    fn app(self, app: &'static Protocol) -> Self {
        Self { app: Some(app), unknown: false, ..self }
    }

    fn https(ip: [u8; 4], name: &'static str) -> Self {
        let facts = TlsFacts {
            sni: Some(name.into()),
            alpn_offered: vec!["h2".into()],
            ..TlsFacts::default()
        };
        Self { name: Some(name), facts: Some(facts), ..Self::tcp(ip, 443).app(&TLS) }
    }
}

impl Stage {
    fn new() -> Self {
        let ip: IpAddr = Ipv4Addr::new(10, 244, 1, 9).into();
        let at = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let identity = ContainerIdentity {
            id: "test".into(),
            name: None,
            image: None,
            ip,
            attribution: Attribution::Veth,
            kubernetes: None,
            sharing: None,
        };
        let container = Container {
            number: 0,
            identity,
            addresses: vec![ip],
            link: None,
            first_seen: at,
            last_seen: at,
            flows: [0; 2],
            ip_bytes: [0; 2],
            names: Names::new(64),
            destinations: Destinations::new(64),
        };
        let mut node = Baseline::new(&baseline::Settings::default());
        node.set_containers(at, 1);
        Self {
            detector: Beacon::new(&Settings::default()),
            container,
            node,
            at,
            flows: 0,
            found: Vec::new(),
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.at = self.at.after(Duration::from_secs_f64(seconds));
    }

    fn flow(&mut self, target: &Target) -> Flow {
        self.flows += 1;
        let own = self.container.identity.ip;
        let flow = Flow {
            id: self.flows,
            originator: Endpoint { ip: own, port: 30_000 + (self.flows % 30_000) as u16 },
            responder: Endpoint { ip: target.ip, port: target.port },
            protocol: target.protocol,
            vlan: 0,
            tunnel: None,
            icmp: None,
            link: LinkId(0),
            opened: self.at,
            last: self.at,
            state: State::Established,
            ending: TcpEnding::None,
            sides: [SideCounters::default(); 2],
            history: History::default(),
            midstream: false,
            direction_inferred: false,
            app: target.app,
            outer: target.outer,
            app_unknown: target.unknown,
            facts: FlowFacts { tls: target.facts.clone().map(Box::new), ..FlowFacts::default() },
            name: target.name.map(Into::into),
            containers: [Some(0), None],
            zones: [Zone::Cluster, Zone::of(target.ip)],
        };
        let key = DestinationKey::of_flow(&flow);
        self.node.destinations.count_flow(self.at, key, flow.was_open_before());
        self.container.destinations.count_flow(self.at, key, flow.was_open_before());
        flow
    }

    fn see(&mut self, flow: &Flow, event: &Event<'_>) {
        let seen = Seen {
            at: self.at,
            side: Side::Originator,
            flow,
            container: &self.container,
            node: &self.node,
            allow: &(),
        };
        self.detector.observe(&seen, event, &mut self.found);
    }

    fn turn(&mut self, flow: &Flow, from: Side, number: u32, bytes: u64, silence_s: Option<f64>) {
        let turn = Turn {
            from,
            bytes,
            packets: 1,
            started: self.at,
            ended: self.at,
            silence_ns: silence_s.map(|s| (s * 1e9) as u64),
            before: None,
            number,
        };
        self.see(flow, &Event::Turn { turn, totals: [0; 2] });
    }

    /// One request over a connection of its own.
    fn call(&mut self, target: &Target, sent: u64, received: u64) {
        let mut flow = self.flow(target);
        for (letter, side) in [(b'S', Side::Originator), (b'H', Side::Responder)] {
            flow.history.note(letter, side);
        }
        self.turn(&flow, Side::Originator, 0, sent, None);
        self.wait(0.05);
        flow.sides[0].payload_bytes = sent;
        flow.sides[1].payload_bytes = received;
        flow.last = self.at;
        self.see(&flow, &Event::FlowClosed(FlowEnd::Closed));
    }

    /// A connection attempt that nobody answers.
    fn attempt(&mut self, target: &Target) {
        let mut flow = self.flow(target);
        flow.history.note(b'S', Side::Originator);
        self.see(&flow, &Event::FlowClosed(FlowEnd::Idle));
        // The same SYN once more, after the flow had timed out.
        self.see(&flow, &Event::FlowClosed(FlowEnd::Idle));
    }

    fn query(&mut self, resolver: &Flow, name: &str, qtype: u16) {
        let questions = vec![DnsQuestion { name: name.to_owned(), qtype }];
        let message = DnsMessage { questions, ..DnsMessage::default() };
        let fact = Fact::Dns { from: Side::Originator, message: &message };
        self.see(resolver, &Event::Fact(fact));
    }

    fn worst(&self) -> Option<(&'static str, Severity)> {
        self.findings().map(|found| (found.rule.id, found.severity)).max_by_key(|(_, worst)| *worst)
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        let raised = self.found.iter().filter_map(|verdict| match verdict {
            Verdict::Raise(finding) => Some(&**finding),
            Verdict::Pause { .. } | Verdict::Close { .. } => None,
        });
        raised.inspect(|finding| assert!(!finding.against.is_empty(), "{}", finding.title))
    }
}

/// Uniform jitter, the same each time: the golden ratio's low-discrepancy sequence.
fn jittered(beat: u32, period_s: f64, jitter: f64) -> f64 {
    let dice = (f64::from(beat) * 0.618_033_988_749_895).fract();
    period_s * (1.0 - jitter + 2.0 * jitter * dice)
}

const C2: [u8; 4] = [203, 0, 113, 9];

/// A person is to look: medium or above. How far above is the score's matter.
fn wakes(severity: Severity) -> bool {
    severity >= Severity::Medium
}
