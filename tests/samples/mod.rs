//! Records made by hand, as an engine would make them, for tests of outputs.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::net::IpAddr;

use serde_json::json;
use vethwatch::alert::{Alert, AlertState, CaptureState};
use vethwatch::baseline::Destinations;
use vethwatch::container::{
    Attribution, Container, ContainerIdentity, Kubernetes, Member, Names, Sharing,
};
use vethwatch::detect::{Finding, Rule, Severity};
use vethwatch::event::{
    Certificate, DnsAnswer, DnsData, DnsMessage, DnsQuestion, Endpoint, FlowFacts, HttpFacts,
    IpProtocol, LinkId, Manner, Protocol, Side, SshFacts, TlsFacts, Tunnel, TunnelKind,
};
use vethwatch::flow::{Flow, History, SideCounters, State, TcpEnding};
use vethwatch::time::Timestamp;

pub(crate) static SHELL: Rule = Rule {
    id: "shell.reverse.plaintext",
    signature_id: 9_100_001,
    revision: 1,
    techniques: &["T1059.004", "T1095"],
    tactics: &["TA0011", "TA0002"],
    response: &[
        "Isolate shop/web-0: deny its egress, keep it running.",
        "Read the runtime's log of the container from a minute before the first command.",
        "Look for what the commands fetched or changed, and whether the host was reached.",
    ],
};

pub(crate) static VOLUME: Rule = Rule {
    id: "exfil.volume",
    signature_id: 9_100_020,
    revision: 2,
    techniques: &["T1048"],
    tactics: &["TA0010"],
    response: &["Find out what was sent, and who owns the destination."],
};

pub(crate) static BEACON: Rule = Rule {
    id: "beacon.heartbeat",
    signature_id: 9_100_010,
    revision: 1,
    techniques: &["T1071.001"],
    tactics: &["TA0011"],
    response: &["Nothing, if the destination is known."],
};

pub(crate) static TLS: Protocol = Protocol { name: "tls", manner: Manner::Carrier };

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint { ip: ip(address), port }
}

/// This many milliseconds after 2026-03-01T12:00:00Z.
pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_nanos(1_772_366_400_000_000_000 + millis * 1_000_000)
}

pub(crate) fn identity() -> ContainerIdentity {
    ContainerIdentity {
        id: "5dc1eeb2a4f6".into(),
        name: Some("app".into()),
        image: Some("shop/web:1.4".into()),
        ip: ip("10.244.1.7"),
        attribution: Attribution::Configured,
        kubernetes: Some(Box::new(Kubernetes {
            namespace: "shop".into(),
            pod: "web-0".into(),
            pod_uid: Some("11111111-2222-3333-4444-555555555555".into()),
            owner: Some("StatefulSet/web".into()),
        })),
        sharing: None,
    }
}

pub(crate) fn bare_identity(address: &str) -> ContainerIdentity {
    ContainerIdentity {
        id: address.into(),
        name: None,
        image: None,
        ip: ip(address),
        attribution: Attribution::Originator,
        kubernetes: None,
        sharing: None,
    }
}

/// One of a pod's two containers, of which only the pod's UID is known.
pub(crate) fn shared_identity(address: &str) -> ContainerIdentity {
    let member =
        |id: &str| Member { id: id.into(), name: None, image: None, started: None, ended: None };
    let sharing = Sharing {
        members: vec![member("5dc1eeb2a4f6"), member("0bcb59c01bd1")],
        ..Sharing::of_network("netns:4026532281")
    };
    ContainerIdentity {
        attribution: Attribution::Cgroup,
        kubernetes: Some(Box::new(Kubernetes {
            pod_uid: Some("11111111-2222-3333-4444-555555555555".into()),
            ..Kubernetes::default()
        })),
        ..bare_identity(address)
    }
    .of_sharing(sharing)
}

pub(crate) fn container(number: u32, identity: ContainerIdentity) -> Container {
    Container {
        number,
        addresses: vec![identity.ip],
        identity,
        link: None,
        first_seen: at(0),
        last_seen: at(250_000),
        flows: [12, 340],
        ip_bytes: [1_234_567, 89_012_345],
        names: Names::new(16),
        destinations: Destinations::new(16),
    }
}

pub(crate) fn flow() -> Flow {
    let mut history = History::default();
    for (letter, side) in [
        (b'S', Side::Originator),
        (b'H', Side::Responder),
        (b'A', Side::Originator),
        (b'D', Side::Originator),
        (b'D', Side::Responder),
    ] {
        history.note(letter, side);
    }
    Flow {
        id: 1_512,
        originator: endpoint("10.244.1.7", 41_022),
        responder: endpoint("203.0.113.9", 443),
        protocol: IpProtocol::TCP,
        vlan: 0,
        tunnel: None,
        link: LinkId(0),
        icmp: None,
        zones: [vethwatch::event::Zone::Cluster, vethwatch::event::Zone::External],
        opened: at(0),
        last: at(61_500),
        state: State::Established,
        ending: TcpEnding::None,
        sides: [
            SideCounters {
                packets: 23,
                ip_bytes: 4_884,
                payload_bytes: 3_700,
                tcp_flags: 0x1a,
                ..SideCounters::default()
            },
            SideCounters {
                packets: 21,
                ip_bytes: 7_392,
                payload_bytes: 6_200,
                tcp_flags: 0x1a,
                ..SideCounters::default()
            },
        ],
        history,
        midstream: false,
        direction_inferred: false,
        app: Some(&TLS),
        outer: None,
        app_unknown: false,
        facts: FlowFacts::default(),
        name: Some("api.example.com".into()),
        containers: [Some(0), None],
    }
}

/// A flow with everything that can be said about one.
pub(crate) fn full_flow() -> Flow {
    Flow {
        vlan: 100,
        tunnel: Some(Box::new(Tunnel {
            kind: TunnelKind::Vxlan,
            id: 42,
            source: ip("192.0.2.1"),
            destination: ip("192.0.2.2"),
        })),
        state: State::Closed,
        ending: TcpEnding::Reset(Side::Responder),
        sides: [SideCounters {
            packets: 3,
            ip_bytes: 70_000,
            payload_bytes: 69_000,
            retransmissions: 2,
            gap_bytes: 1_460,
            cut_frames: 1,
            tcp_flags: 0xff,
        }; 2],
        midstream: true,
        direction_inferred: true,
        facts: FlowFacts {
            tls: Some(Box::new(tls())),
            http: Some(Box::new(HttpFacts {
                method: "GET".into(),
                path: "/ws?q=\"\u{1b}[31m".into(),
                host: Some("api.example.com".into()),
                user_agent: Some("curl/8.5.0".into()),
                upgrade: Some("websocket".into()),
                status: 101,
            })),
            ssh: Some(Box::new(SshFacts {
                originator: Some("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3".into()),
                responder: Some("SSH-2.0-dropbear".into()),
            })),
        },
        containers: [Some(0), Some(1)],
        ..flow()
    }
}

/// A datagram flow from a container to the cluster's resolver.
pub(crate) fn dns_flow() -> Flow {
    Flow {
        id: 7,
        originator: endpoint("10.244.1.7", 40_000),
        responder: endpoint("10.96.0.10", 53),
        protocol: IpProtocol::UDP,
        state: State::DatagramReplied,
        history: History::default(),
        app: None,
        name: None,
        ..flow()
    }
}

pub(crate) fn dns_query() -> DnsMessage {
    DnsMessage {
        id: 4_660,
        flags: 0x0100,
        questions: vec![DnsQuestion { name: "www.example.com".to_owned(), qtype: 1 }],
        additionals: 1,
        bytes: 44,
        ..DnsMessage::default()
    }
}

pub(crate) fn dns_response() -> DnsMessage {
    let answer = |rtype, data| DnsAnswer {
        name: "www.example.com".to_owned(),
        rtype,
        ttl_s: 300,
        data,
        data_bytes: 4,
    };
    DnsMessage {
        id: 4_660,
        response: true,
        flags: 0x8180,
        questions: vec![DnsQuestion { name: "www.example.com".to_owned(), qtype: 1 }],
        answers: vec![
            answer(5, DnsData::Name("web.example.com".to_owned())),
            answer(1, DnsData::Address(ip("203.0.113.9"))),
            answer(28, DnsData::Address(ip("2001:db8::9"))),
            answer(16, DnsData::Text("v=spf1 \"quoted\" \u{1b}]0;x\u{7}".to_owned())),
        ],
        bytes: 120,
        ..DnsMessage::default()
    }
}

pub(crate) fn odd_dns_message() -> DnsMessage {
    DnsMessage {
        response: true,
        rcode: 24,
        flags: 0xffff,
        questions: vec![
            DnsQuestion { name: String::new(), qtype: 65_280 },
            DnsQuestion { name: "\\255\\000.example".to_owned(), qtype: 255 },
        ],
        authorities: 1,
        truncated: true,
        bytes: 12,
        ..DnsMessage::default()
    }
}

pub(crate) fn tls() -> TlsFacts {
    TlsFacts {
        sni: Some("api.example.com".into()),
        alpn_offered: vec!["h2".into(), "http/1.1".into()],
        alpn: Some("h2".into()),
        version: 0x0303,
        client_version: 0x0304,
        cipher: 0xc02b,
        ja3: Some("6734f37431670b3ab4292b8f60f29984".into()),
        ja3s: Some("623de93db17d313345d7ea481e7443cf".into()),
        ja4: Some("t13d1516h2_8daaf6152771_02713d6af862".into()),
        certificate: Some(Box::new(Certificate {
            subject: "CN=api.example.com".into(),
            issuer: "CN=Example CA,O=Example".into(),
            serial: "0af1".into(),
            not_before: 1_483_526_923,
            not_after: 1_783_526_923,
            self_signed: false,
            names: vec!["api.example.com".into(), "*.example.com".into()],
            fingerprint: "6b0dbca3ecfc4b568a51aadc96b3e735e6993f60".into(),
        })),
        resumed: false,
        established: true,
    }
}

/// A ClientHello that nobody answered.
pub(crate) fn tls_unanswered() -> TlsFacts {
    TlsFacts { client_version: 0x0a0a, ..TlsFacts::default() }
}

pub(crate) fn alert() -> Alert {
    let peer = endpoint("203.0.113.9", 1_234);
    let mut finding = Finding::on_peer(&SHELL, peer, IpProtocol::TCP);
    finding.severity = Severity::Critical;
    finding.confidence = 97;
    finding.own_port = 41_022;
    finding.flow_id = Some(1_512);
    finding.community_id = Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg=".to_owned());
    finding.title = "Reverse shell: 203.0.113.9 drives a shell in {container}".to_owned();
    finding.why = "203.0.113.9 sent 14 lines that read as shell commands, and shop/web-0 answered \
                   each within 21 ms with output, on a connection that shop/web-0 opened."
        .to_owned();
    let evidence = json!({
        "commands": 14, "first_command": "id", "reply_delay_median_ms": 12.5,
        "sent_bytes": 8_123, "received_bytes": 214, "prompts": ["$ ", "# "],
    });
    finding.evidence = evidence.as_object().unwrap().clone();
    finding.against = vec![
        "An administrator's session would come in from outside; this one was opened from within."
            .to_owned(),
    ];
    finding.first_seen = at(3_250);
    Alert {
        at: at(7_125),
        uid: "0a51f3c2-9b1e-5d7a-8f00-3c2b1a000001".to_owned(),
        state: AlertState::Open,
        detector: "reverse_shell",
        container: identity(),
        source: endpoint("10.244.1.7", 41_022),
        link: LinkId(0),
        finding,
        last_seen: at(7_125),
        count: 1,
        capture: CaptureState { snaplen: 262_144, ..CaptureState::default() },
    }
}

/// A finding about many destinations, of a container without a name.
pub(crate) fn alert_about_many() -> Alert {
    let mut finding = Finding::on_peer(&VOLUME, endpoint("0.0.0.0", 0), IpProtocol::TCP);
    finding.severity = Severity::Medium;
    finding.confidence = 70;
    finding.title = "Exfiltration: {container} sent 1.9 GB to 12 destinations".to_owned();
    finding.why = "10.244.1.9 sent 1.9 GB in an hour; its largest hour before was 3 MB.".to_owned();
    let evidence = json!({ "sent_bytes": 1_900_000_000_u64, "baseline_hour_max_bytes": 3_000_000 });
    finding.evidence = evidence.as_object().unwrap().clone();
    finding.first_seen = at(0);
    Alert {
        at: at(60_000),
        uid: "0a51f3c2-9b1e-5d7a-8f00-3c2b1a000002".to_owned(),
        detector: "exfiltration",
        container: bare_identity("10.244.1.9"),
        source: endpoint("10.244.1.9", 0),
        link: LinkId(9),
        finding,
        last_seen: at(60_000),
        ..alert()
    }
}

/// Context, no more.
pub(crate) fn alert_for_context() -> Alert {
    let mut finding = Finding::on_peer(&BEACON, endpoint("2001:db8::9", 443), IpProtocol::TCP);
    finding.severity = Severity::Low;
    finding.confidence = 55;
    finding.title = "Heartbeat: {container} calls metrics.example.com every 30 s".to_owned();
    finding.why = "40 connections, 30.0 s apart, as every sibling makes.".to_owned();
    finding.peer_name = Some("metrics.example.com".into());
    finding.evidence = json!({ "period_s": 30.0 }).as_object().unwrap().clone();
    finding.first_seen = at(0);
    Alert {
        at: at(90_000),
        uid: "0a51f3c2-9b1e-5d7a-8f00-3c2b1a000003".to_owned(),
        detector: "beacon",
        source: endpoint("10.244.1.7", 0),
        finding,
        last_seen: at(1_200_000),
        count: 4,
        ..alert()
    }
}
