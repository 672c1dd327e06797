//! Findings that open, grow, are allowed for a while, and close.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use vethwatch::alert::{Alert, AlertState, Alerts, Settings};
use vethwatch::allow::{AllowList, Entry};
use vethwatch::baseline::Destinations;
use vethwatch::container::{
    Attribution, Container, ContainerIdentity, Kubernetes, Member, Names, Sharing,
};
use vethwatch::detect::{Finding, Rule};
use vethwatch::event::{Endpoint, IpProtocol};
use vethwatch::time::Timestamp;

static RULE: Rule = Rule {
    id: "exfil.volume",
    signature_id: 9_100_000,
    revision: 1,
    techniques: &[],
    tactics: &[],
    response: &[],
};

fn container() -> Container {
    let ip = "10.244.1.7".parse().unwrap();
    Container {
        number: 0,
        identity: ContainerIdentity {
            id: "a".into(),
            name: None,
            image: None,
            ip,
            attribution: Attribution::Configured,
            kubernetes: None,
            sharing: None,
        },
        addresses: vec![ip],
        link: None,
        first_seen: Timestamp::default(),
        last_seen: Timestamp::default(),
        flows: [0; 2],
        ip_bytes: [0; 2],
        names: Names::new(1),
        destinations: Destinations::new(1),
    }
}

fn finding(magnitude: f64) -> Finding {
    let peer = Endpoint { ip: "203.0.113.9".parse().unwrap(), port: 443 };
    Finding { magnitude, ..Finding::on_peer(&RULE, peer, IpProtocol::TCP) }
}

/// 23:59 and so many minutes on the day before the entry expires.
fn at(minutes: u64) -> Timestamp {
    Timestamp::from_date(2026, 2, 28).after(Duration::from_secs((1_439 + minutes) * 60))
}

fn alerts(entry: &str) -> Alerts {
    let entry: Entry = toml::from_str(entry).unwrap();
    Alerts::new(&Settings::default(), AllowList::new(&[entry]))
}

const EXPIRES: &str = "reason = 'move'\nowner = 'web'\nport = 443\nexpires = 2026-03-01";

#[test]
fn an_entry_that_expires_lets_the_finding_out() {
    let (mut alerts, container) = (alerts(EXPIRES), container());
    let mut raise = |minutes, magnitude| {
        let alert = alerts.raise(at(minutes), "exfiltration", &container, finding(magnitude))?;
        Some((alert.state, alert.at, alert.count))
    };
    assert_eq!(raise(0, 1.0), None, "allowed");
    assert_eq!(raise(0, 1.0), None, "allowed, and not grown");
    assert_eq!(raise(0, 20.0), None, "allowed, though grown");
    assert_eq!(raise(2, 20.0), Some((AlertState::Open, at(2), 4)), "void: told, grown or not");
    assert_eq!(raise(3, 20.0), None, "told once");
    assert_eq!(raise(4, 200.0), Some((AlertState::Update, at(4), 6)));
    assert!(alerts.close(at(5), &container, &RULE, 0).is_some());
    assert_eq!((alerts.silenced(), alerts.emitted()), (1, 3));
    let (_, outcome) = alerts.allow_list().outcomes().next().unwrap();
    assert_eq!((outcome.findings, outcome.reports, outcome.expired_reports), (1, 2, 3));
}

#[test]
fn what_was_allowed_to_its_end_stays_silent() {
    let (mut alerts, container) = (alerts(EXPIRES), container());
    assert!(alerts.raise(at(0), "exfiltration", &container, finding(1.0)).is_none());
    assert!(alerts.raise(at(0), "exfiltration", &container, finding(2.0)).is_none());
    assert!(alerts.unreported(at(0)).is_empty());
    assert!(alerts.close(at(0), &container, &RULE, 0).is_none());
}

#[test]
fn a_name_learnt_later_silences_from_then_on() {
    let entry = "reason = 'move'\nowner = 'web'\ndestination = 'store.example.com'";
    let (mut alerts, container) = (alerts(entry), container());
    let named = Finding { peer_name: Some("store.example.com".into()), ..finding(10.0) };
    assert!(alerts.raise(at(0), "exfiltration", &container, finding(1.0)).is_some());
    assert!(alerts.raise(at(1), "exfiltration", &container, named).is_none());
    let closed = alerts.close(at(2), &container, &RULE, 0);
    assert!(closed.is_some(), "who was told of it is told of its end");
}

#[test]
fn what_has_grown_is_told_when_it_pauses() {
    let (mut alerts, container) = (alerts(EXPIRES.replace("443", "1").as_str()), container());
    let mut told = Vec::new();
    for pause in 1..=9 {
        for _ in 0..3 {
            let alert = alerts.raise(at(pause), "exfiltration", &container, finding(1.0));
            assert_eq!(alert.is_some(), pause == 1 && told.is_empty());
            told.extend(alert.map(|alert| (0, alert.count)));
        }
        let alert = alerts.pause(at(pause), &container, &RULE, 0);
        told.extend(alert.map(|alert| (pause, alert.count)));
    }
    assert_eq!(told, [(0, 1), (1, 3), (2, 6), (4, 12), (8, 24)], "each as often as all before");
    assert!(alerts.close(at(10), &container, &RULE, 0).is_some());
}

#[test]
fn what_was_missed_on_one_flow_is_not_forgotten_on_another() {
    let (mut alerts, container) = (alerts(EXPIRES.replace("443", "1").as_str()), container());
    for (magnitude, gap_bytes, told) in [(1.0, 0, 0), (10.0, 500, 500), (100.0, 0, 500)] {
        let finding = Finding { gap_bytes, ..finding(magnitude) };
        let alert = alerts.raise(at(0), "exfiltration", &container, finding).unwrap();
        assert_eq!(alert.finding.gap_bytes, told);
    }
}

#[test]
fn as_much_is_silenced_as_would_have_been_told() {
    const VOID: &str = "reason = 'move'\nowner = 'web'\nport = 443\nexpires = 2020-01-01";
    const VALID: &str = "reason = 'move'\nowner = 'web'\nport = 443";
    let counts = [VOID, VALID].map(|entry| {
        let (mut alerts, container) = (alerts(entry), container());
        for (minute, magnitude) in [(0, 1.0), (1, 1.0), (2, 20.0), (3, 21.0)] {
            alerts.raise(at(minute), "exfiltration", &container, finding(magnitude));
        }
        alerts.pause(at(4), &container, &RULE, 0);
        alerts.close(at(5), &container, &RULE, 0);
        let emitted = alerts.emitted();
        let (_, outcome) = alerts.allow_list().outcomes().next().unwrap();
        (emitted, outcome.reports, outcome.expired_reports)
    });
    assert_eq!(counts, [(4, 0, 4), (0, 4, 0)], "open, grown, paused, closed");
}

/// A pod's link, with these containers known.
fn pod(members: &[&str]) -> Container {
    let member = |name: &&str| Member {
        id: format!("id-{name}").into(),
        name: Some((*name).into()),
        image: None,
        started: None,
        ended: None,
    };
    let sharing = Sharing {
        sandbox: Some("pause".into()),
        members: members.iter().map(member).collect(),
        ..Sharing::of_network("netns:1")
    };
    let mut pod = container();
    pod.identity.attribution = Attribution::Runtime;
    pod.identity.kubernetes = Some(Box::new(Kubernetes {
        namespace: "shop".into(),
        pod: "web-0".into(),
        ..Kubernetes::default()
    }));
    pod.identity = pod.identity.of_sharing(sharing);
    pod
}

/// State, id and name of an alert, and the containers of which it is one.
fn told(alert: &Alert) -> String {
    let container = &alert.container;
    let name = container.name.as_deref().unwrap_or("-");
    format!("{} {} {name} {}", alert.state.as_str(), container.id, container.containers().join(","))
        .trim_end()
        .to_owned()
}

const ALLOWS_A: &str = "reason = 'test'\nowner = 'web'\ncontainer = 'a'";

#[test]
fn a_finding_waits_for_the_containers_of_its_pod() {
    for (case, entry, now_known, expected) in [
        ("allowed by its container's name", ALLOWS_A, &["a"][..], vec![]),
        ("another's", ALLOWS_A, &["b"], vec!["open id-b b"]),
        ("either's", ALLOWS_A, &["a", "evil"], vec!["open pause - a,evil"]),
        ("each is allowed", &ALLOWS_A.replace("'a'", "'a*'"), &["a", "ab"], vec![]),
        ("none", ALLOWS_A, &[], vec![]),
    ] {
        let mut alerts = alerts(entry);
        let found = alerts.raise(at(0), "reverse_shell", &pod(&[]), finding(1.0));
        assert!(found.is_none(), "{case}: it waits");
        let identified = alerts.identify(at(0), &pod(now_known));
        assert_eq!(identified.iter().map(told).collect::<Vec<_>>(), expected, "{case}");
        let overdue = alerts.overdue(at(1));
        let expected = if now_known.is_empty() { vec!["open pause -"] } else { vec![] };
        assert_eq!(overdue.iter().map(told).collect::<Vec<_>>(), expected, "{case}");
    }
}

#[test]
fn a_finding_loses_no_name() {
    let mut alerts = alerts(EXPIRES.replace("443", "1").as_str());
    let found = alerts.raise(at(0), "reverse_shell", &pod(&["a", "b"]), finding(1.0));
    assert_eq!(found.map(told).as_deref(), Some("open pause - a,b"));
    let mut unnamed = pod(&[]);
    unnamed.identity.kubernetes = None;
    unnamed.identity.attribution = Attribution::Cgroup;
    assert!(alerts.identify(at(1), &unnamed).is_empty(), "what is not known any more is no news");
    let more = alerts.identify(at(2), &pod(&["b", "evil"]));
    assert_eq!(more.iter().map(told).collect::<Vec<_>>(), ["update pause - a,b,evil"]);
    assert!(alerts.identify(at(3), &pod(&["a"])).is_empty());
    let closed = alerts.close(at(4), &pod(&["a"]), &RULE, 0).unwrap();
    assert_eq!(told(&closed), "close pause - a,b,evil");
    assert!(closed.container.pod().is_some());
}

#[test]
fn who_began_beside_it_may_have_done_it() {
    let now = at(0);
    for (age_s, told_at_once) in [(0, false), (1, false), (60, true)] {
        let mut alerts = alerts(EXPIRES.replace("443", "1").as_str());
        let aged = |names: &[&str]| {
            let mut pod = pod(names);
            for member in &mut pod.identity.sharing.as_mut().unwrap().members {
                member.started = Some(at(0).before(Duration::from_secs(age_s)));
            }
            pod
        };
        let finding = Finding { first_seen: now, ..finding(1.0) };
        let first = alerts.raise(now, "reverse_shell", &aged(&["a"]), finding).map(told);
        assert_eq!(first.is_some(), told_at_once, "{age_s} s: {first:?}");
        if told_at_once {
            continue;
        }
        let soon = now.after(Duration::from_millis(300));
        assert!(alerts.identify(soon, &aged(&["a", "b"])).is_empty());
        let overdue = alerts.overdue(now.after(Duration::from_millis(500)));
        assert_eq!(overdue.iter().map(told).collect::<Vec<_>>(), ["open pause - a,b"]);
    }
}
