//! Tests of the beacon detector.

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
            facts: target.facts.clone().map(|tls| {
                Box::new(FlowFacts { tls: Some(Box::new(tls)), ..FlowFacts::default() })
            }),
            name: target.name.map(Into::into),
            containers: [Some(0), None],
            zones: [Zone::Cluster, Zone::of(target.ip)],
        };
        let key = DestinationKey::of_flow(&flow);
        self.node.destinations.count(self.at, key);
        self.container.destinations.count(self.at, key);
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

#[test]
fn calls_on_a_timer() {
    let named = || Target::https(C2, "cdn-assets.example.net");
    let bare = || Target::tcp(C2, 443).app(&TLS);
    for (case, target, period_s, jitter, beats, expected) in [
        ("a bare address, strict", bare(), 5.0, 0.0, 36, Some(Severity::High)),
        (
            "a bare address, three minutes of 5 s",
            Target::tcp(C2, 4444),
            5.0,
            0.1,
            14,
            Some(Severity::High),
        ),
        (
            "a bare address, 2.5 hours of 300 s",
            Target::tcp(C2, 80).app(&HTTP),
            300.0,
            0.2,
            30,
            Some(Severity::High),
        ),
        ("a name that nobody knows", named(), 10.0, 0.2, 30, Some(Severity::Medium)),
        ("the same with half a period of jitter", named(), 7.0, 0.5, 42, Some(Severity::Medium)),
        ("too few beats to say", bare(), 10.0, 0.1, 8, None),
        (
            "a known service",
            Target::https(C2, "o1.ingest.sentry.io"),
            15.0,
            0.0,
            40,
            Some(Severity::Info),
        ),
        (
            "a known service that carries strangers' content",
            Target::https(C2, "hooks.slack.com"),
            15.0,
            0.0,
            40,
            Some(Severity::Low),
        ),
        (
            "a broker by its protocol",
            Target { name: Some("mq.example.net"), ..Target::tcp(C2, 1883).app(&MQTT) },
            15.0,
            0.0,
            40,
            Some(Severity::Low),
        ),
        (
            "a service inside, by name",
            Target {
                name: Some("api.shop.svc.cluster.local"),
                ..Target::tcp([10, 96, 1, 2], 80).app(&HTTP)
            },
            60.0,
            0.0,
            60,
            None,
        ),
        (
            "a service inside, by address",
            Target::tcp([10, 96, 1, 2], 80).app(&HTTP),
            60.0,
            0.0,
            60,
            None,
        ),
        (
            "a neighbour with a protocol of its own",
            Target::tcp([10, 244, 7, 2], 7946),
            1.0,
            0.0,
            60,
            Some(Severity::Low),
        ),
        (
            "an unknown protocol elsewhere in private space, answered alike",
            Target::tcp([192, 168, 7, 2], 7946),
            10.0,
            0.0,
            60,
            Some(Severity::Low),
        ),
        (
            "the metadata service",
            Target::tcp([169, 254, 169, 254], 80).app(&HTTP),
            60.0,
            0.0,
            60,
            None,
        ),
    ] {
        let mut stage = Stage::new();
        for beat in 0..beats {
            stage.call(&target, 300, 200);
            stage.wait(jittered(beat, period_s, jitter) - 0.05);
        }
        assert_eq!(
            stage.worst().map(|(_, worst)| wakes(worst)),
            expected.map(wakes),
            "{case}: {:?}",
            stage.findings().last()
        );
    }
}

#[test]
fn a_person_and_a_busy_client_are_no_timers() {
    let target = Target::https(C2, "api.example.net");
    for (case, mean_s) in [("slow", 20.0), ("as fast as the scales", 8.0), ("busy", 0.7)] {
        let mut stage = Stage::new();
        for call in 0..400_u32 {
            stage.call(&target, 300 + u64::from(call % 7) * 90, 4_000);
            // Exponential gaps from the same low-discrepancy sequence, shuffled.
            let dice = (f64::from(call * call % 997) * 0.618_033_988_749_895).fract();
            stage.wait(-mean_s * (1.0 - dice).ln());
        }
        assert_eq!(stage.worst(), None, "{case}");
    }
}

#[test]
fn a_finding_says_what_it_saw() {
    let mut stage = Stage::new();
    let target = Target::https(C2, "cdn-assets.example.net");
    for _ in 0..20 {
        stage.call(&target, 700, 900);
        stage.wait(9.95);
    }
    let finding = stage.findings().last().unwrap();
    assert_eq!(finding.title, "Beacon: {container} calls cdn-assets.example.net:443 every 10 s");
    assert!(finding.why.contains("connections to cdn-assets.example.net:443"), "{}", finding.why);
    let name = finding.peer_name.as_deref();
    assert_eq!(name, Some("cdn-assets.example.net"), "allow-lists match it");
    let number = |key: &str| finding.evidence.get(key).and_then(serde_json::Value::as_f64);
    assert_eq!(number("period_median_s"), Some(10.0));
    assert_eq!(number("request_bytes_median"), Some(700.0));
    assert_eq!(number("response_bytes_median"), Some(900.0));
    let parts = ["timing", "sizes", "persistence", "payload", "destination"];
    let sum: f64 = parts.iter().filter_map(|part| number(&format!("score_{part}"))).sum();
    assert!(
        (sum - number("score").unwrap()).abs() <= 1.0,
        "the parts add up: {:?}",
        finding.evidence
    );
}

#[test]
fn closes_after_ten_silent_periods_and_not_before() {
    let mut stage = Stage::new();
    for _ in 0..20 {
        stage.call(&Target::tcp(C2, 4444), 64, 64);
        stage.wait(29.95);
    }
    stage.found.clear();
    let mut minutes = 0;
    while stage.found.is_empty() && minutes < 60 {
        stage.wait(60.0);
        minutes += 1;
        stage.detector.end_minute(stage.at, &stage.container, &stage.node, &mut stage.found);
    }
    assert!(matches!(stage.found[..], [Verdict::Close { .. }]));
    assert_eq!(minutes, 5, "ten periods of 30 s, and the beat's own");
}

#[test]
fn attempts_without_an_answer_are_kept_apart() {
    let mut stage = Stage::new();
    for beat in 0..20 {
        stage.attempt(&Target::tcp(C2, 443));
        stage.wait(jittered(beat, 12.0, 0.1));
    }
    assert_eq!(stage.worst(), Some(("beacon.unanswered", Severity::Medium)));
    assert!(
        stage.findings().all(|finding| finding.magnitude <= 20.0),
        "repeated SYNs are no beats"
    );
}

#[test]
fn datagrams_in_one_flow_or_in_many() {
    for (case, new_ports, target, expected) in [
        ("one socket", false, Target::udp(C2, 8853), Some(("beacon.datagrams", Severity::High))),
        (
            "a new socket each time",
            true,
            Target::udp(C2, 8853),
            Some(("beacon.datagrams", Severity::High)),
        ),
        ("the clock", true, Target::udp(C2, 123), None),
        (
            "metrics to a collector inside",
            false,
            Target::udp([10, 96, 1, 16], 8125),
            Some(("beacon.datagrams", Severity::Low)),
        ),
        ("discovery on the local network", true, Target::udp([192, 168, 1, 255], 17_500), None),
    ] {
        let mut stage = Stage::new();
        let answered = target.ip == IpAddr::from(C2);
        let mut flow = stage.flow(&target);
        for beat in 0..30 {
            if new_ports {
                flow = stage.flow(&target);
            }
            let number = if new_ports { 0 } else { 2 * beat };
            let silence_s = (number > 0).then_some(4.8);
            stage.turn(&flow, Side::Originator, number, 48, silence_s);
            if answered {
                flow.sides[1].payload_bytes += 24;
                stage.turn(&flow, Side::Responder, number + 1, 24, Some(0.05));
            }
            stage.wait(jittered(beat, 5.0, 0.1));
        }
        let wakes_only = |(rule, worst)| (rule, wakes(worst));
        assert_eq!(stage.worst().map(wakes_only), expected.map(wakes_only), "{case}");
    }
}

#[test]
fn bursts_within_one_connection() {
    let named = |app| Target { name: Some("push.example.net"), ..Target::tcp(C2, 443).app(app) };
    for (case, target, from, bytes, expected) in [
        (
            "an unknown protocol, the container pings",
            Target::tcp(C2, 7443),
            Side::Originator,
            4,
            Some(Severity::High),
        ),
        (
            "an unknown protocol, the peer does",
            Target::tcp(C2, 7443),
            Side::Responder,
            32,
            Some(Severity::High),
        ),
        ("polls in TLS to a name", named(&TLS), Side::Originator, 250, Some(Severity::Medium)),
        ("pings in TLS to a name", named(&TLS), Side::Originator, 28, None),
        ("a push channel with a name", named(&TLS), Side::Responder, 90, Some(Severity::Low)),
        ("a broker", named(&MQTT), Side::Originator, 2, Some(Severity::Medium)),
        (
            "a broker on its port",
            Target { port: 1883, ..named(&MQTT) },
            Side::Originator,
            2,
            Some(Severity::Low),
        ),
    ] {
        let mut stage = Stage::new();
        let flow = stage.flow(&target);
        stage.turn(&flow, Side::Originator, 0, 517, None);
        stage.turn(&flow, Side::Responder, 1, 1_200, Some(0.02));
        for beat in 0..40 {
            stage.wait(jittered(beat, 6.0, 0.1));
            stage.turn(&flow, from, 2 * beat + 2, bytes, Some(5.0));
            stage.turn(&flow, from.other(), 2 * beat + 3, bytes, Some(0.03));
        }
        assert_eq!(stage.worst().map(|(_, worst)| wakes(worst)), expected.map(wakes), "{case}");
        assert!(stage.worst().is_none_or(|(rule, _)| rule == "beacon.stream"), "{case}");
    }
}

#[test]
fn queries_for_ever_new_names() {
    type Name = fn(u32) -> String;
    for (case, name, qtype, expected) in [
        (
            "a channel in TXT",
            (|beat| format!("{:08x}.t.example.net", beat.wrapping_mul(2_654_435_761))) as Name,
            16,
            Some(Severity::High),
        ),
        (
            "a channel in A",
            |beat| format!("{:08x}.t.example.net", beat.wrapping_mul(2_654_435_761)),
            1,
            Some(Severity::Medium),
        ),
        ("one name, again and again", |_| "www.example.net".to_owned(), 1, None),
        ("three names in turn", |beat| format!("api{}.example.net", beat % 3), 1, None),
        (
            "a service inside, by ever new names",
            |beat| format!("pod-{beat}.db.svc.cluster.local"),
            1,
            None,
        ),
        (
            "lookups of a security vendor",
            |beat| format!("{beat:08}.zen.spamhaus.org"),
            1,
            Some(Severity::Info),
        ),
    ] {
        let mut stage = Stage::new();
        let resolver = stage.flow(&Target::udp([10, 96, 0, 10], 53));
        for beat in 0..40 {
            stage.query(&resolver, &name(beat), qtype);
            stage.query(&resolver, &name(beat), qtype);
            stage.wait(jittered(beat, 6.0, 0.1));
        }
        assert_eq!(stage.worst().map(|(_, worst)| wakes(worst)), expected.map(wakes), "{case}");
        let domain =
            stage.findings().last().and_then(|finding| finding.evidence.get("domain").cloned());
        assert_eq!(domain.is_some(), expected.is_some(), "{case}");
    }
}

/// What is a service's own and hidden by TLS: known by what it was before, or by its port and more.
#[test]
fn services_over_tls() {
    let named = |port| Target { port, ..Target::https(C2, "data.example.net") };
    let began = |outer, port| Target { outer: Some(outer), ..named(port) };
    let facts = |facts: fn(&mut TlsFacts)| {
        let mut target = named(8_883);
        facts(target.facts.as_mut().unwrap());
        target
    };
    let strange = facts(|tls| {
        let certificate = Certificate { self_signed: true, ..Certificate::default() };
        tls.certificate = Some(Box::new(certificate));
    });
    let varied = |beat| 60 + u64::from(beat * 1_337 % 900);
    type Sizes = fn(u32) -> u64;
    let order: Sizes = |beat| if beat == 30 { 260 } else { 60 };
    for (case, target, answer, expected) in [
        ("a database that went over to TLS", began(&PGSQL, 5_432), varied as Sizes, false),
        ("the same on another's port", began(&PGSQL, 443), varied, true),
        ("what a proxy relays", began(&HTTP, 80), varied, true),
        ("a broker's port, and receipts", named(8_883), |_| 26, false),
        ("a broker's port, and no answer", named(8_883), |_| 0, false),
        ("a broker's port, and once an order", named(8_883), order, true),
        ("a broker's port, and answers of all sizes", named(8_883), varied, true),
        ("a broker's port and no name", Target { name: None, ..named(8_883) }, |_| 26, true),
        ("a broker's port, and a certificate of its own", strange, |_| 26, true),
        ("the web's port, and receipts", named(443), |_| 26, true),
    ] {
        let mut stage = Stage::new();
        let mut flow = stage.flow(&target);
        stage.turn(&flow, Side::Originator, 0, 500, None);
        for beat in 1..60 {
            stage.wait(3.0);
            stage.turn(&flow, Side::Originator, 2 * beat, 76, Some(2.9));
            let bytes = answer(beat);
            if bytes > 0 {
                flow.sides[1].payload_bytes += bytes;
                stage.turn(&flow, Side::Responder, 2 * beat + 1, bytes, Some(0.01));
            }
        }
        let worst = stage.worst().map(|(_, worst)| worst);
        assert!(worst.is_some(), "{case}");
        assert_eq!(worst.is_some_and(wakes), expected, "{case}: {:?}", stage.findings().last());
        // The same in a connection a time.
        let mut stage = Stage::new();
        for beat in 1..60 {
            stage.call(&target, 800, 3_000 + answer(beat));
            stage.wait(3.0);
        }
        let worst = stage.worst().map(|(_, worst)| worst);
        assert_eq!(worst.is_some_and(wakes), expected, "{case}, connections");
    }
}

/// Beats within one connection, told apart by what the answers could carry.
#[test]
fn what_is_shipped_is_told_from_check_ins_by_its_answers() {
    let named = Target { port: 9_999, ..Target::https(C2, "sync.example.net") };
    let inside = Target::tcp([192, 168, 7, 2], 7_946);
    type Sizes = fn(u32) -> u64;
    let records: Sizes = |beat| 400 + u64::from(beat * 1_337 % 4_000);
    let check_ins: Sizes = |beat| 300 + u64::from(beat * 37 % 40);
    let order: Sizes = |beat| if beat == 30 { 900 } else { 60 };
    for (case, target, sent, answer, expected) in [
        ("records, and nothing back", &named, records, (|_| 0) as Sizes, false),
        ("records, each with its receipt", &named, records, |_| 60, false),
        ("records, and once something else", &named, records, order, true),
        ("check-ins", &named, check_ins, |_| 60, true),
        ("check-ins without an answer", &named, check_ins, |_| 0, true),
        ("check-ins, and once an order", &named, check_ins, order, true),
        ("a heartbeat inside", &inside, check_ins, |_| 3, false),
        ("a heartbeat inside, and once an order", &inside, check_ins, order, true),
    ] {
        let mut stage = Stage::new();
        let mut flow = stage.flow(target);
        stage.turn(&flow, Side::Originator, 0, 500, None);
        for beat in 1..60 {
            stage.wait(5.0);
            stage.turn(&flow, Side::Originator, 2 * beat, sent(beat), Some(4.9));
            let bytes = answer(beat);
            if bytes > 0 {
                flow.sides[1].payload_bytes += bytes;
                stage.turn(&flow, Side::Responder, 2 * beat + 1, bytes, Some(0.01));
            }
        }
        let worst = stage.worst().map(|(_, worst)| worst);
        assert_eq!(worst.is_some_and(wakes), expected, "{case}: {:?}", stage.findings().last());
    }
}

#[test]
fn a_database_outside_has_a_name() {
    let database = |ip| Target::tcp(ip, 5_432).app(&PGSQL);
    for (case, target, expected) in [
        ("named", Target { name: Some("db.example.net"), ..database(C2) }, false),
        ("inside", database([10, 96, 0, 7]), false),
        ("outside, without a name", database(C2), true),
    ] {
        let mut stage = Stage::new();
        for beat in 0..40 {
            stage.call(&target, 300, 200);
            stage.wait(jittered(beat, 10.0, 0.1));
        }
        let worst = stage.worst().map(|(_, worst)| worst);
        assert_eq!(worst.is_some_and(wakes), expected, "{case}: {:?}", stage.findings().last());
    }
}

#[test]
fn what_every_sibling_does_is_a_heartbeat() {
    let named = || Target::https(C2, "licence.example.net");
    let address = |port| Target { name: None, port, ..named() };
    // Of ten containers, so many use it, in so many calls, from this beat on.
    for (case, target, users, calls, from, born, expected) in [
        ("one", named(), 1, 40, 0, 0, Severity::High),
        ("two", named(), 2, 40, 0, 0, Severity::Medium),
        ("four: several are taken", named(), 4, 40, 0, 0, Severity::Medium),
        ("half, by a name", named(), 5, 40, 0, 0, Severity::Low),
        ("half, by an address", address(443), 6, 40, 0, 0, Severity::Medium),
        ("nearly all", named(), 9, 40, 0, 0, Severity::Info),
        ("nearly all, by an address on the web's port", address(443), 9, 40, 0, 0, Severity::Info),
        (
            "nearly all, by an address on a port of its own",
            address(4_443),
            10,
            40,
            0,
            0,
            Severity::Medium,
        ),
        (
            "a few packets in the siblings' names are no habit",
            named(),
            10,
            2,
            0,
            0,
            Severity::Medium,
        ),
        ("all, one after the other since the finding", named(), 10, 40, 20, 0, Severity::Medium),
        ("all that have been there for long enough", named(), 4, 40, 0, 38, Severity::Info),
        ("four, and others that have been there as long", named(), 4, 40, 0, 10, Severity::Medium),
    ] {
        let mut stage = Stage::new();
        let key = DestinationKey::of_flow(&stage.flow(&target));
        // At first there are those that use it, at beat `born` all.
        stage.node.set_containers(stage.at, if born > 0 { users } else { 10 });
        let mut told = 0;
        for beat in 0..40 {
            if beat == born {
                stage.node.set_containers(stage.at, 10);
            }
            stage.call(&target, 300, 200);
            let serious = |found: &&Finding| wakes(found.severity);
            let findings = stage.findings().filter(serious).count();
            if findings > told {
                stage.node.destinations.suspect(stage.at, key);
                told = findings;
            }
            for user in (1..users).filter(|_| (from..from + calls).contains(&beat)) {
                stage.node.destinations.note_payload(stage.at, key, user, [300, 200]);
            }
            stage.wait(jittered(beat, 10.0, 0.1));
        }
        let last = stage.findings().last().map(|found| found.severity.min(Severity::Medium));
        assert_eq!(last, Some(expected.min(Severity::Medium)), "{case}");
    }
}

#[test]
fn a_known_name_with_another_in_dns_is_no_excuse() {
    let mut stage = Stage::new();
    let target = Target::https(C2, "api.github.com");
    stage.container.names.learn(stage.at, target.ip, "c2.example.net", 300);
    for beat in 0..40 {
        stage.call(&target, 300, 200);
        stage.wait(jittered(beat, 10.0, 0.1));
    }
    assert!(stage.worst().is_some_and(|(_, worst)| worst >= Severity::Medium));
}

#[test]
fn a_flood_of_destinations_does_not_hide_a_beacon() {
    let mut stage = Stage::new();
    for beat in 0..30_u32 {
        stage.call(&Target::tcp(C2, 443).app(&TLS), 300, 200);
        for other in 0..2_000_u32 {
            let number = (beat * 2_000 + other).to_be_bytes();
            stage.call(&Target::tcp([100, number[1], number[2], number[3]], 80), 40, 40);
        }
        stage.at = Timestamp::from_nanos(
            1_700_000_000_000_000_000 + u64::from(beat + 1) * 120_000_000_000,
        );
    }
    // The first two beats were pushed out among the candidates; the flood came before the third.
    assert_eq!(stage.worst(), None);
    let mut stage = Stage::new();
    for beat in 0..30_u32 {
        stage.call(&Target::tcp(C2, 443).app(&TLS), 300, 200);
        for other in 0..300_u32 {
            let number = (beat * 300 + other).to_be_bytes();
            stage.call(&Target::tcp([198, number[1], number[2], number[3]], 80), 40, 40);
        }
        stage.at = Timestamp::from_nanos(
            1_700_000_000_000_000_000 + u64::from(beat + 1) * 120_000_000_000,
        );
    }
    assert!(stage.worst().is_some_and(|(_, worst)| worst >= Severity::Medium));
}

/// A person is to look: medium or above. How far above is the score's matter.
fn wakes(severity: Severity) -> bool {
    severity >= Severity::Medium
}
