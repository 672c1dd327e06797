//! Stories in virtual time: what a container sends, and what comes of it.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::baseline::{Baseline, DestinationKey, Destinations};
use crate::container::{Attribution, Container, ContainerIdentity, Names};
use crate::detect::{
    Allowance, Describe, Detector, Finding, Rule, Seen, Severity, Traffic, Verdict,
};
use crate::event::{Endpoint, Event, FlowEnd, IpProtocol, LinkId, Manner, Protocol, Side, Zone};
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
            facts: None,
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

#[test]
fn finds_what_leaves() {
    type Story = fn(&mut Lab);
    let stories: &[(&str, Story, (Severity, &str))] = &[
        (
            "200 MB to a new name over TLS",
            |lab| lab.upload(NAMED, 210 * MB),
            (Severity::High, "exfil.volume"),
        ),
        (
            "25 MB to a new name over TLS",
            |lab| lab.upload(NAMED, 25 * MB),
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "scp of 80 MB to an address",
            |lab| lab.upload(SSHD, 80 * MB),
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "20 MB in TLS to an IPv6 address",
            |lab| lab.upload(SIX, 20 * MB),
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "20 MB over UDP to an odd port",
            |lab| {
                lab.upload(To { protocol: IpProtocol::UDP, ..RAW }, 20 * MB);
            },
            (Severity::High, "exfil.volume"),
        ),
        (
            "tar into netcat after three quiet hours",
            |lab| {
                lab.live(3 * 3_600);
                lab.upload(RAW, 100 * MB);
            },
            (Severity::High, "exfil.volume"),
        ),
        (
            "6 MB to an address after a quiet quarter of an hour",
            |lab| {
                lab.live(900);
                lab.upload(BARE, 6 * MB);
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "30 MB to a partner that only ever got requests",
            |lab| {
                lab.live(3_600);
                lab.upload(API, 30 * MB);
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "40 MB in equal parts with pauses, to a name",
            |lab| {
                for _ in 0..20 {
                    lab.upload(NAMED, 2 * MB);
                    lab.wait(3.0);
                }
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "60 MB at 200 kB/s to a name",
            |lab| lab.connection(NAMED, true, 60 * MB, 90_000, 2e5),
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "30 MB to a public store, in one go, from a container that never did",
            |lab| {
                lab.live(900);
                lab.upload(STORE, 30 * MB);
            },
            (Severity::Medium, "exfil.volume"),
        ),
        (
            "64 kB each 2 s to an address, 9 MB in all",
            |lab| {
                for _ in 0..135 {
                    lab.upload(BARE, 65_536);
                    lab.wait(2.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "200 kB each 60 s to an address, for an hour",
            |lab| {
                for _ in 0..60 {
                    lab.upload(BARE, 200_000);
                    lab.wait(60.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "100 kB each 60 s for an hour to a name, in a container with a past",
            |lab| {
                lab.live(450);
                for _ in 0..60 {
                    lab.upload(NAMED, 100_000);
                    lab.wait(60.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "20 kB/s in one connection to a name",
            |lab| {
                lab.connection(NAMED, true, 8 * MB, 30_000, 2e4);
            },
            (Severity::Medium, "exfil.drip"),
        ),
        (
            "32 to 96 kB each 4 s to a name, in a container with a past",
            |lab| {
                lab.live(900);
                for step in 0..100 {
                    lab.upload(NAMED, 32_000 + step * 37 % 64 * 1_000);
                    lab.wait(4.0);
                }
            },
            (Severity::Medium, "exfil.drip"),
        ),
    ];
    let both = stories.iter().flat_map(|story| [(story, false), (story, true)]);
    for ((story, play, expected), restarts) in both {
        let mut lab = Lab { restarts, ..Lab::new() };
        play(&mut lab);
        // After a restart what goes on is told anew, and by what it looks like then.
        let as_said = |(severity, rule)| (severity, if restarts { "" } else { rule });
        assert_eq!(
            lab.worst().map(as_said),
            Some(as_said(*expected)),
            "{story}; restarts: {restarts}"
        );
        let worst = lab.findings().max_by_key(|finding| finding.severity).unwrap();
        assert!(worst.title.contains("{container}") && !worst.why.is_empty(), "{story}");
        assert!(worst.evidence.contains_key("sent_bytes"), "{story}");
    }
}

#[test]
fn stays_quiet_about_what_is_usual() {
    type Story = fn(&mut Lab);
    let stories: &[(&str, Story)] = &[
        ("a backup of 200 MB into the cluster's store", |lab| lab.upload(INSIDE, 200 * MB)),
        ("a download of 300 MB", |lab| lab.connection(API, true, 400_000, 300 * MB, 50e6)),
        ("a video call, both ways", |lab| {
            let call = To { protocol: IpProtocol::UDP, ..RAW };
            lab.connection(call, true, 60 * MB, 50 * MB, 3e5);
        }),
        ("a web server answers the outside", |lab| {
            for _ in 0..2_000 {
                lab.connection(To { port: 8080, ..API }, false, 90_000, 600, 1e7);
            }
        }),
        ("telemetry each 15 s for 6 hours", |lab| {
            for _ in 0..1_440 {
                lab.connection(LOGS, true, 2_700, 4_800, 1e6);
                lab.wait(15.0);
            }
        }),
        ("logs to a service for logs, 30 kB/s for half an hour", |lab| {
            lab.connection(LOGS, true, 54 * MB, 200_000, 3e4);
        }),
        ("a runner streams its log", |lab| {
            for _ in 0..60 {
                lab.connection(API, true, 12_000, 9_000, 1e6);
                lab.wait(3.0);
            }
        }),
        ("pictures of all sizes to a store, as users bring them", |lab| {
            for step in 0..60_u64 {
                lab.upload(STORE, 100_000 + step * 7_919 % 31 * 90_000);
                lab.wait(6.0);
            }
        }),
        ("pictures of all sizes to a name in no list", |lab| {
            for step in 0..100_u64 {
                lab.upload(NAMED, 100_000 + step * 7_919 % 31 * 60_000);
                lab.wait(6.0);
            }
        }),
        ("a service passes on what callers upload", |lab| {
            for _ in 0..40 {
                lab.connection(INSIDE, false, 500, MB, 1e7);
                lab.upload(STORE, MB);
                lab.wait(1.0);
            }
        }),
        ("a backup of 15 MB each hour, then one of 40 MB", |lab| {
            for size in [15, 14, 15, 40] {
                lab.upload(NAMED, size * MB);
                lab.live(3_600);
            }
        }),
        ("a push of 8 MB to a code host", |lab| {
            lab.upload(to("198.51.100.60", 22, "github.com", &SSH), 8 * MB);
        }),
        ("a crawler of many hosts", |lab| {
            for host in 0..200 {
                let name: &'static str = Box::leak(format!("www.site{host}.example").into());
                let ip: &'static str = Box::leak(format!("198.51.100.{host}").into());
                lab.connection(to(ip, 443, name, &TLS), true, 1_800, 22_000, 1e6);
            }
        }),
    ];
    let both = stories.iter().flat_map(|story| [(story, false), (story, true)]);
    for ((story, play), restarts) in both {
        let mut lab = Lab { restarts, ..Lab::new() };
        play(&mut lab);
        let worst = lab.worst().map_or(Severity::Info, |(severity, _)| severity);
        let why = lab.findings().last().map(|finding| finding.why.clone());
        assert!(worst < Severity::Medium, "{story}; restarts: {restarts}: {worst:?} {why:?}");
    }
}

#[test]
fn siblings_explain_an_upload_where_they_upload_alike() {
    let name = DestinationKey::of_name("drop.example");
    let bare = DestinationKey::of_ip("198.51.100.8".parse().unwrap());
    type Sibling = (u64, [u64; 2]);
    let alike: Sibling = (600, [40 * MB, 90_000]);
    for (story, to, key, siblings, suspected, expected) in [
        ("nobody else", NAMED, name, &[][..], false, Severity::Medium),
        ("three that upload as much", NAMED, name, &[alike; 3], false, Severity::Low),
        ("two do not make a habit", NAMED, name, &[alike; 2], false, Severity::Medium),
        ("a few bytes each", NAMED, name, &[(600, [5, 5]); 7], false, Severity::Medium),
        ("downloads only", NAMED, name, &[(600, [MB, 60 * MB]); 7], false, Severity::Medium),
        ("a tenth each", NAMED, name, &[(600, [6 * MB, 9_000]); 7], false, Severity::Medium),
        ("all at once", NAMED, name, &[(10, alike.1); 7], false, Severity::Medium),
        ("all are robbed, one was found", NAMED, name, &[alike; 7], true, Severity::Medium),
        ("no name", BARE, bare, &[alike; 7], false, Severity::Medium),
    ] {
        let mut lab = Lab::new();
        lab.node.set_containers(lab.now, 8);
        lab.wait(3_600.0);
        for (number, (since_s, moved)) in (1..).zip(siblings) {
            let at = Timestamp::from_nanos(lab.now.nanos() - since_s * 1_000_000_000);
            lab.node.destinations.note_payload(at, key, number, *moved);
        }
        if suspected {
            lab.node.destinations.suspect(lab.now, key);
        }
        lab.upload(to, 60 * MB);
        assert_eq!(lab.worst(), Some((expected, "exfil.volume")), "{story}");
    }
}

#[test]
fn parts_to_many_destinations_are_summed() {
    let ips = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"];
    for (story, size, restarts, expected) in [
        ("each below its limit, together above", 5 * MB, false, Some("exfil.split")),
        ("the same over restarts", 5 * MB, true, Some("exfil.split")),
        ("little each", MB / 4, false, None),
    ] {
        let mut lab = Lab { restarts, ..Lab::new() };
        for ip in ips {
            lab.upload(To { ip, port: 8443, ..BARE }, size);
        }
        assert_eq!(lab.worst().map(|(_, rule)| rule), expected, "{story}");
    }
    let mut lab = Lab::new();
    for ip in ips {
        lab.upload(To { ip, port: 8443, ..BARE }, 25 * MB);
    }
    let rules: Vec<_> = lab.findings().map(|f| (f.rule.id, f.peer.ip.to_string())).collect();
    let volumes = rules.iter().filter(|(rule, _)| *rule == "exfil.volume");
    assert!(volumes.clone().all(|(_, ip)| ip == ips[0] || ip == ips[1]), "{rules:?}");
    lab.detector.end_capture(&mut lab.verdicts);
    let split = lab.findings().filter(|finding| finding.rule.id == "exfil.split").last().unwrap();
    assert_eq!(split.evidence["destinations"], 5, "the last report has the last numbers");
    assert!(split.evidence["sent_bytes"].as_u64() >= Some(124 * MB), "{:?}", split.evidence);
    assert!(split.evidence["destinations"].as_u64() >= Some(3), "{:?}", split.evidence);
}

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

#[test]
fn what_is_allowed_is_no_part_of_a_split_upload() {
    let ips = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "198.51.100.4", "198.51.100.5"];
    for (story, allowed, expected) in [
        ("none allowed", None, Some("exfil.split")),
        ("three of five allowed", Some(("203.0.113.", "exfil.split")), None),
        ("allowed as volume", Some(("203.0.113.", "exfil.volume")), None),
        ("allowed as a pull", Some(("203.0.113.", "exfil.pull")), Some("exfil.split")),
        ("two others allowed", Some(("192.0.2.", "exfil.volume")), Some("exfil.split")),
    ] {
        let mut lab = Lab { allow: Allowed(allowed), ..Lab::new() };
        for ip in ips {
            lab.upload(To { ip, port: 8443, ..BARE }, 5 * MB);
        }
        assert_eq!(lab.worst().map(|(_, rule)| rule), expected, "{story}");
    }
}

#[test]
fn is_found_in_flight_and_closed_when_quiet() {
    let mut lab = Lab::new();
    let mut flow = lab.flow(NAMED, true);
    let mut raised_at = None;
    for step in 1..=3_200_u64 {
        lab.wait(0.003);
        flow.last = lab.now;
        lab.event(&flow, Side::Originator, Event::Volume { payload_bytes: [65_536, 100] });
        if raised_at.is_none() && lab.findings().any(|f| f.severity >= Severity::Medium) {
            raised_at = Some(step * 65_536);
        }
    }
    assert!(raised_at.is_some_and(|bytes| bytes < 21 * MB), "{raised_at:?}");
    assert!(lab.findings().count() < 8, "a finding is raised again when it has doubled");
    lab.wait(200.0);
    assert!(!lab.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Close { .. })));
    lab.wait(200.0);
    let closed = lab.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Close { .. }));
    assert_eq!(closed.count(), 1);
}

#[test]
fn a_fetch_by_an_outsider_counts_where_it_is_new() {
    let fetch = To { ip: "203.0.113.77", port: 9_191, ..RAW };
    for (story, before_s, inside_s, port, expected) in [
        ("a port that is served from the start", 0, 0, 9_191, Some(Severity::Low)),
        ("a port new to a container with a past", 3_600, 0, 9_191, Some(Severity::Medium)),
        ("a port of the web, new or not", 3_600, 0, 8_080, None),
        ("one that only the inside used for long", 0, 900, 8_080, Some(Severity::Medium)),
    ] {
        let mut lab = Lab { restarts: true, ..Lab::new() };
        lab.live(before_s);
        for _ in 0..inside_s / 30 {
            lab.connection(To { port, ..INSIDE }, false, 20_000, 500, 1e6);
            lab.wait(30.0);
        }
        lab.connection(To { port, ..fetch }, false, 50 * MB, 900, 1e7);
        assert_eq!(lab.worst().map(|(severity, _)| severity), expected, "{story}");
    }
}

#[test]
fn what_was_seen_before_the_past_was_known_comes_after_it() {
    let mut lab = Lab::new();
    for _ in 0..3 {
        lab.upload(NAMED, 15 * MB);
        lab.live(3_600);
    }
    let memory = lab.detector.remember().unwrap();
    lab.detector = Exfiltration::new(&Settings::default());
    lab.upload(NAMED, 10 * MB);
    lab.upload(BARE, 4 * MB);
    lab.detector.recall(lab.now, &lab.container, &memory);
    let largest = lab.detector.destinations.peek(&DestinationKey::of_name("drop.example")).unwrap();
    assert_eq!((largest.sittings, largest.total_bytes), (3, 55 * MB), "one account");
    lab.upload(NAMED, 15 * MB);
    assert!(lab.worst().is_none_or(|(severity, _)| severity < Severity::Medium), "it is usual");
    lab.upload(BARE, 2 * MB);
    assert_eq!(lab.worst(), Some((Severity::Medium, "exfil.volume")), "it is new");
    let ports = RawValue::from_string("{\"ports\":7}".to_owned()).unwrap();
    lab.detector.recall(lab.now, &lab.container, &ports);
    assert_eq!(lab.detector.destinations.len(), 2, "what cannot be read changes nothing");
}

#[test]
fn bounds_hold_and_what_is_forgotten_still_counts() {
    let settings = Settings { destinations_max: 8, ports_max: 4, ..Settings::default() };
    let mut lab = Lab::with(settings);
    for number in 0..200_u32 {
        let ip: &'static str = Box::leak(format!("203.0.113.{number}").into());
        lab.upload(To { ip, port: 4_445, ..BARE }, MB);
        lab.connection(To { ip, port: 10_000 + number as u16, ..BARE }, false, MB, 900, 1e7);
    }
    assert!(lab.detector.destinations.len() <= 8 && lab.detector.candidates.len() <= 8);
    assert!(lab.detector.destinations.evicted() > 0);
    assert_eq!(lab.worst().map(|(_, rule)| rule), Some("exfil.split"));
}

#[test]
fn odd_settings_and_bytes_do_no_harm() {
    let settings = Settings {
        cold_start_bytes: 0,
        doubtful_factor: f64::NAN,
        novel_factor: -1.0,
        explained_factor: f64::INFINITY,
        hour_bytes_max: 0,
        producer_consumer_ratio_min: 7.0,
        split_destinations_min: 0,
        quiet_s: 0,
        destinations_max: 0,
        ports_max: 0,
        ..Settings::default()
    };
    let mut lab = Lab::with(settings);
    let flow = lab.flow(RAW, true);
    for bytes in [0, 1, u64::MAX / 4, u64::MAX / 4, u64::MAX] {
        lab.event(&flow, Side::Originator, Event::Volume { payload_bytes: [bytes, bytes] });
    }
    lab.wait(1e6);
}
