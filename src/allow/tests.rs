//! Tests of the allow-list.

use std::net::IpAddr;

use super::*;
use crate::alert::CaptureState;
use crate::container::{Attribution, ContainerIdentity, Kubernetes};
use crate::detect::{Finding, Rule, Severity};
use crate::event::{Endpoint, IpProtocol, LinkId};

static RULE: Rule = Rule {
    id: "exfil.volume",
    signature_id: 9_100_000,
    revision: 1,
    techniques: &["T1048"],
    tactics: &["TA0010"],
    response: &[],
};

static DETECTORS: &[Registration] = &[Registration {
    id: "exfiltration",
    rules: &[&RULE],
    ads: "",
    hears: crate::event::EventKinds::NONE,
    configure: |_| Err(serde::de::Error::custom("not run here")),
    defaults: toml::Table::new,
}];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `exfil.volume` of shop/web-0 towards 203.0.113.9:443, known as `store.example.com`.
fn alert(at: &str) -> Alert {
    let at = moment(&at.parse().unwrap()).unwrap();
    let peer = Endpoint { ip: ip("203.0.113.9"), port: 443 };
    let mut finding = Finding::on_peer(&RULE, peer, IpProtocol::TCP);
    finding.severity = Severity::High;
    finding.peer_name = Some("store.example.com".into());
    Alert {
        at,
        uid: "u".to_owned(),
        state: AlertState::Open,
        detector: "exfiltration",
        container: ContainerIdentity {
            id: "5dc1eeb2".into(),
            name: Some("app".into()),
            image: None,
            ip: ip("10.244.1.7"),
            attribution: Attribution::Configured,
            kubernetes: Some(Box::new(Kubernetes {
                namespace: "shop".into(),
                pod: "web-0".into(),
                ..Kubernetes::default()
            })),
            sharing: None,
        },
        source: Endpoint { ip: ip("10.244.1.7"), port: 0 },
        link: LinkId::default(),
        finding,
        last_seen: at,
        count: 1,
        capture: CaptureState { snaplen: 65_535, ..CaptureState::default() },
    }
}

fn entry(conditions: &str) -> Entry {
    toml::from_str(&format!("reason = 'nightly backup'\nowner = 'storage'\n{conditions}")).unwrap()
}

#[test]
fn every_condition_must_hold() {
    for (case, conditions, expected) in [
        ("the exact name", "destination = 'store.example.com'", true),
        ("case does not matter in names", "destination = 'Store.Example.COM'", true),
        ("another name", "destination = 'example.com'", false),
        ("a name below", "destination = '*.example.com'", true),
        ("the star stops at a dot", "destination = '*.ore.example.com'", false),
        ("a longer name than the alert's", "destination = '*.a.store.example.com'", false),
        ("in the range", "network = '203.0.113.0/24'", true),
        ("outside the range", "network = '198.51.100.0/24'", false),
        ("the one address", "network = '203.0.113.9'", true),
        ("the other side's port", "port = 443", true),
        ("another port", "port = 80", false),
        ("the container as namespace and pod", "container = 'shop/web-0'", true),
        ("every replica", "container = 'shop/web-*'", true),
        ("another deployment", "container = 'shop/db-*'", false),
        ("the container's own name", "container = 'app'", true),
        ("the container's address", "container = '10.244.1.7'", true),
        ("the container's id", "container = '5dc1*'", true),
        ("the namespace", "namespace = 'shop'", true),
        ("another namespace", "namespace = 'sho'", false),
        ("the detector", "detector = 'exfiltration'", true),
        ("another detector", "detector = 'beacon'", false),
        ("the rule", "rule = 'exfil.volume'", true),
        ("one holds, one does not", "port = 443\nnamespace = 'lab'", false),
        ("all hold", "port = 443\nnamespace = 'shop'\nrule = 'exfil.volume'", true),
    ] {
        assert_eq!(entry(conditions).matches(&alert("2026-03-01")), expected, "{case}");
    }
}

#[test]
fn an_alert_without_a_name_matches_no_name() {
    let mut alert = alert("2026-03-01");
    alert.finding.peer_name = None;
    assert!(!entry("destination = '*.example.com'").matches(&alert));
}

#[test]
fn globs_are_matched_whole() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "web", true),
        ("web", "web-0", false),
        ("*0", "web-0", true),
        ("w*b*0", "web-10-b-0", true),
        ("a*a*b", "aaaaaaaaac", false),
        ("", "web", false),
    ] {
        assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn refuses_what_cannot_be_meant() {
    for (case, text, expected) in [
        ("no reason", "owner = 'o'\nport = 1", EntryError::NoReason),
        ("a blank reason", "reason = ' '\nowner = 'o'\nport = 1", EntryError::NoReason),
        ("no owner", "reason = 'r'\nport = 1", EntryError::NoOwner),
        ("no condition", "reason = 'r'\nowner = 'o'", EntryError::NoCondition),
        (
            "all addresses",
            "reason = 'r'\nowner = 'o'\nnetwork = '0.0.0.0/0'",
            EntryError::Everything("network=0.0.0.0/0".into()),
        ),
        (
            "all containers",
            "reason = 'r'\nowner = 'o'\ncontainer = '*'\nnetwork = '::/0'",
            EntryError::Everything("network=::/0 container=*".into()),
        ),
        ("no port", "reason = 'r'\nowner = 'o'\nport = 0", EntryError::PortZero),
        (
            "an empty condition would match nothing",
            "reason = 'r'\nowner = 'o'\ncontainer = ''",
            EntryError::Empty("container"),
        ),
        (
            "an address as a name",
            "reason = 'r'\nowner = 'o'\ndestination = '10.0.0.1'",
            EntryError::BadDestination("10.0.0.1".to_owned()),
        ),
        (
            "a star inside a name",
            "reason = 'r'\nowner = 'o'\ndestination = 'a.*.com'",
            EntryError::BadDestination("a.*.com".to_owned()),
        ),
        (
            "a time without a date",
            "reason = 'r'\nowner = 'o'\nport = 1\nexpires = 07:32:00",
            EntryError::BadExpiry("07:32:00".to_owned()),
        ),
        (
            "a misspelt detector",
            "reason = 'r'\nowner = 'o'\ndetector = 'exfil'",
            EntryError::UnknownDetector {
                given: "exfil".to_owned(),
                known: "exfiltration".to_owned(),
            },
        ),
        (
            "a rule that is none",
            "reason = 'r'\nowner = 'o'\nrule = 'exfil'",
            EntryError::UnknownRule { given: "exfil".to_owned(), known: "exfil.volume".to_owned() },
        ),
    ] {
        let entry: Entry = toml::from_str(text).unwrap();
        assert_eq!(entry.validate_against(DETECTORS), Err(expected), "{case}");
    }
    let meant = entry("destination = '*.example.com'\ndetector = 'exfiltration'");
    assert_eq!(meant.validate_against(DETECTORS), Ok(()));
}

#[test]
fn an_entry_is_void_from_its_expiry_on() {
    for (case, expires, at, silenced) in [
        ("the day before", "2027-01-01", "2026-12-31T23:59:59Z", true),
        ("the day itself", "2027-01-01", "2027-01-01T00:00:00Z", false),
        ("an offset is heeded", "2027-01-01T02:00:00+02:00", "2026-12-31T23:59:59Z", true),
        ("at the moment", "2027-01-01T02:00:00+02:00", "2027-01-01T00:00:00Z", false),
        ("a western offset", "2027-01-01T00:00:00-01:00", "2027-01-01T00:59:59Z", true),
    ] {
        let mut list = AllowList::new(&[entry(&format!("port = 443\nexpires = {expires}"))]);
        assert_eq!(list.silences(&alert(at)), silenced, "{case}");
        let (_, outcome) = list.outcomes().next().unwrap();
        assert_eq!((outcome.reports == 1, outcome.expired_reports == 0), (silenced, silenced));
    }
}

#[test]
fn counts_findings_apart_from_their_reports() {
    let mut list = AllowList::new(&[entry("port = 443"), entry("port = 80"), entry("port = 443")]);
    let mut alert = alert("2026-03-01");
    for state in [AlertState::Open, AlertState::Update, AlertState::Close] {
        alert.state = state;
        assert!(list.silences(&alert));
    }
    let outcomes: Vec<_> = list.outcomes().map(|(_, o)| (o.findings, o.reports)).collect();
    assert_eq!(outcomes, [(1, 3), (0, 0), (1, 3)]);
}

#[test]
fn prints_its_conditions() {
    let entry = entry("port = 443\ndestination = '*.example.com'\nnetwork = '10.0.0.0/8'");
    assert_eq!(entry.to_string(), "destination=*.example.com network=10.0.0.0/8 port=443");
}

#[test]
fn survives_a_round_trip_through_toml() {
    let entry = entry("expires = 2027-01-01\nnetwork = '10.0.0.0/8'");
    let text = toml::to_string(&entry).unwrap();
    assert!(text.contains("expires = 2027-01-01"), "{text}");
    assert_eq!(toml::from_str::<Entry>(&text).unwrap(), entry);
}

#[test]
fn a_rule_of_another_detector_is_refused() {
    for (conditions, refused) in [
        ("detector = 'beacon'\nrule = 'shell.bind'", true),
        ("detector = 'reverse_shell'\nrule = 'shell.bind'", false),
        ("rule = 'shell.bind'", false),
    ] {
        let said = entry(conditions).validate();
        assert_eq!(matches!(said, Err(EntryError::RuleOfAnother { .. })), refused, "{said:?}");
    }
}

#[test]
fn a_peer_is_allowed_by_an_entry_that_names_it() {
    let alert = alert("2026-03-01T12:00:00Z");
    let traffic = Traffic {
        container: &alert.container,
        peer: alert.finding.peer.ip,
        peer_name: alert.finding.peer_name.as_deref(),
        service_port: 443,
    };
    for (case, conditions, expected) in [
        ("its name", "destination = 'store.example.com'", true),
        ("its network, and the rule", "network = '203.0.113.0/24'\nrule = 'exfil.volume'", true),
        ("another rule", "network = '203.0.113.0/24'\nrule = 'exfil.pull'", false),
        ("another detector", "port = 443\ndetector = 'beacon'", false),
        ("another container", "port = 443\ncontainer = 'db-*'", false),
        ("the container alone: that is no word on the peer", "container = 'shop/web-0'", false),
        ("expired", "port = 443\nexpires = 2026-02-01", false),
    ] {
        let list = AllowList::new(&[entry(conditions)]);
        assert_eq!(list.allows(alert.at, "exfiltration", &[&RULE], &traffic), expected, "{case}");
    }
}
