//! Stories in virtual time: what a container sends, and what comes of it.

mod life;
mod volumes;

use std::net::IpAddr;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::baseline::{Baseline, DestinationKey, Destinations};
use crate::container::{Attribution, Container, ContainerIdentity, Names};
use crate::detect::{
    Allowance, Describe, Detector, Finding, Rule, Seen, Severity, Traffic, Verdict,
};
use crate::event::{
    Endpoint, Event, FlowEnd, FlowFacts, IpProtocol, LinkId, Manner, Protocol, Side, Zone,
};
use crate::flow::{Flow, History, SideCounters, State, TcpEnding};
use crate::time::Timestamp;

use super::{Exfiltration, Settings};

static TLS: Protocol = Protocol { name: "tls", manner: Manner::Carrier };
static SSH: Protocol = Protocol { name: "ssh", manner: Manner::Carrier };

/// Where a container sends to.
#[derive(Clone, Copy)]
struct To {
    ip: &'static str,
    port: u16,
    name: Option<&'static str>,
    app: Option<&'static Protocol>,
    protocol: IpProtocol,
}

const fn to(ip: &'static str, port: u16, name: &'static str, app: &'static Protocol) -> To {
    To { ip, port, name: Some(name), app: Some(app), protocol: IpProtocol::TCP }
}

static RAW: To =
    To { ip: "198.51.100.99", port: 4445, name: None, app: None, protocol: IpProtocol::TCP };
static NAMED: To = to("198.51.100.7", 443, "drop.example", &TLS);
static BARE: To =
    To { ip: "198.51.100.8", port: 443, name: None, app: Some(&TLS), protocol: IpProtocol::TCP };
static SSHD: To =
    To { ip: "198.51.100.9", port: 22, name: None, app: Some(&SSH), protocol: IpProtocol::TCP };
static API: To = to("198.51.100.40", 443, "api.example", &TLS);
static STORE: To = to("198.51.100.41", 443, "bucket.s3.eu-west-1.amazonaws.com", &TLS);
static LOGS: To = to("198.51.100.42", 443, "http-intake.logs.datadoghq.eu", &TLS);
static INSIDE: To = to("10.96.1.14", 9000, "s3.storage.svc.cluster.local", &TLS);
static SIX: To =
    To { ip: "2001:db8:bad::1", port: 443, name: None, app: Some(&TLS), protocol: IpProtocol::TCP };

struct Lab {
    detector: Exfiltration,
    container: Container,
    node: Baseline,
    allow: Allowed,
    now: Timestamp,
    flows: u64,
    verdicts: Vec<Verdict>,
    /// The monitor is started anew before each connection.
    restarts: bool,
}

impl Lab {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let ip: IpAddr = "10.244.1.7".parse().unwrap();
        let now = Timestamp::from_nanos(1_772_366_400_000_000_000);
        Self {
            detector: Exfiltration::new(&settings),
            container: Container {
                number: 0,
                identity: ContainerIdentity {
                    id: "10.244.1.7".into(),
                    name: None,
                    image: None,
                    ip,
                    attribution: Attribution::Veth,
                    kubernetes: None,
                    sharing: None,
                },
                addresses: vec![ip],
                link: None,
                first_seen: now,
                last_seen: now,
                flows: [0; 2],
                ip_bytes: [0; 2],
                names: Names::new(64),
                destinations: Destinations::new(1_024),
            },
            node: Baseline::new(&crate::baseline::Settings::default()),
            allow: Allowed::default(),
            now,
            flows: 0,
            verdicts: Vec::new(),
            restarts: false,
        }
    }

    fn restart(&mut self) {
        let memory = self.detector.remember();
        self.detector = Exfiltration::new(&self.detector.settings);
        let Some(memory) = memory else { return };
        self.detector.recall(self.now, &self.container, &memory);
        assert!(self.detector.started, "{memory}");
    }

    fn wait(&mut self, seconds: f64) {
        let until = Timestamp::from_nanos(self.now.nanos() + (seconds * 1e9) as u64);
        let minute = Duration::from_secs(60);
        while self.now.window_end(minute) <= until {
            self.now = self.now.window_end(minute);
            self.detector.end_minute(self.now, &self.container, &self.node, &mut self.verdicts);
        }
        self.now = until;
    }

    fn flow(&mut self, to: To, outbound: bool) -> Flow {
        self.flows += 1;
        let own = Endpoint { ip: self.container.identity.ip, port: 40_000 };
        let other = Endpoint { ip: to.ip.parse().unwrap(), port: to.port };
        let (originator, responder) = if outbound {
            (own, other)
        } else {
            (Endpoint { port: 50_000, ..other }, Endpoint { port: to.port, ..own })
        };
        let flow = Flow {
            id: self.flows,
            originator,
            responder,
            protocol: to.protocol,
            vlan: 0,
            tunnel: None,
            link: LinkId(0),
            opened: self.now,
            last: self.now,
            state: State::Established,
            ending: TcpEnding::None,
            sides: [SideCounters::default(); 2],
            history: History::default(),
            midstream: false,
            direction_inferred: false,
            app: to.app,
            outer: None,
            app_unknown: to.app.is_none(),
            facts: FlowFacts::default(),
            name: to.name.filter(|_| outbound).map(Into::into),
            containers: [outbound.then_some(0), (!outbound).then_some(0)],
            icmp: None,
            zones: [originator.ip, responder.ip].map(Zone::of),
        };
        if outbound {
            let key = DestinationKey::of_flow(&flow);
            self.container.destinations.count(self.now, key);
            self.node.destinations.count(self.now, key);
        }
        flow
    }

    fn event(&mut self, flow: &Flow, side: Side, event: Event<'_>) {
        let Self { now: at, container, node, allow, .. } = self;
        let seen = Seen { at: *at, side, flow, container, node, allow };
        self.detector.observe(&seen, &event, &mut self.verdicts);
    }

    /// One connection: `sent` goes out and `received` comes back, evenly, at `rate` bytes a second.
    fn connection(&mut self, to: To, outbound: bool, sent: u64, received: u64, rate: f64) {
        if self.restarts {
            self.restart();
        }
        let mut flow = self.flow(to, outbound);
        let side = if outbound { Side::Originator } else { Side::Responder };
        let steps = ((sent + received) / 65_536).max(1);
        for step in 0..steps {
            let share = |bytes: u64| bytes / steps + u64::from(step == 0) * (bytes % steps);
            let mut payload_bytes = [0; 2];
            payload_bytes[side.index()] = share(sent);
            payload_bytes[side.other().index()] = share(received);
            self.wait((share(sent) + share(received)) as f64 / rate);
            flow.last = self.now;
            flow.sides[0].payload_bytes += payload_bytes[0];
            flow.sides[1].payload_bytes += payload_bytes[1];
            self.event(&flow, side, Event::Volume { payload_bytes });
        }
        self.event(&flow, side, Event::FlowClosed(FlowEnd::Closed));
    }

    fn upload(&mut self, to: To, sent: u64) {
        self.connection(to, true, sent, sent / 400 + 3_000, 20e6);
    }

    /// The small traffic of a quiet service for a while.
    fn live(&mut self, seconds: u64) {
        for _ in 0..seconds / 30 {
            self.wait(30.0);
            self.connection(API, true, 1_800, 5_000, 1e6);
        }
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Raise(finding) => Some(&**finding),
            Verdict::Pause { .. } | Verdict::Close { .. } => None,
        })
    }

    /// The worst of the findings, with its rule.
    fn worst(&self) -> Option<(Severity, &'static str)> {
        self.findings().map(|finding| (finding.severity, finding.rule.id)).max_by_key(|f| f.0)
    }
}

const MB: u64 = 1_000_000;

/// Addresses that begin so, for a rule.
#[derive(Default)]
struct Allowed(Option<(&'static str, &'static str)>);

impl Allowance for Allowed {
    fn allows(&self, _: Timestamp, _: &str, rules: &[&Rule], traffic: &Traffic<'_>) -> bool {
        self.0.is_some_and(|(begin, rule)| {
            traffic.peer.to_string().starts_with(begin) && rules.iter().any(|own| own.id == rule)
        })
    }
}
