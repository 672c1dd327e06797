//! What a destination is to a container, and to its siblings.

use super::*;

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

/// Polls over one connection that is held open; then calls that open their own.
fn held_open(target: &Target, open_before: bool, calls: u32) -> Stage {
    let mut stage = Stage::new();
    let mut flow =
        Flow { midstream: open_before, direction_inferred: open_before, ..stage.flow(target) };
    stage.container.destinations = Destinations::new(64);
    let key = DestinationKey::of_flow(&flow);
    stage.container.destinations.count_flow(stage.at, key, flow.was_open_before());
    for number in 1..30 {
        stage.turn(&flow, Side::Originator, number, 32, Some(2.9));
        stage.wait(0.1);
        stage.turn(&flow, Side::Responder, number, 64, None);
        stage.wait(2.9);
    }
    flow.last = stage.at;
    for _ in 0..calls {
        stage.call(target, 64, 64);
        stage.wait(2.95);
    }
    stage
}

#[test]
fn what_was_open_before_is_not_odd_for_what_was_not_seen() {
    let target = Target::tcp(C2, 5432);
    let seen = held_open(&target, false, 0);
    assert_eq!(seen.worst(), Some(("beacon.stream", Severity::High)), "opened in sight");
    let unseen = held_open(&target, true, 0);
    assert_eq!(unseen.worst(), Some(("beacon.stream", Severity::Low)), "and yet it beats");
    let finding = unseen.findings().last().unwrap();
    assert_eq!(finding.evidence.get("oddities"), Some(&serde_json::json!([])));
    assert!(finding.against.iter().any(|said| said.contains("open before it was seen")));
    assert!(!finding.against.iter().any(|said| said.contains("used from the start")));
}

#[test]
fn what_is_opened_in_sight_later_is_judged_by_what_it_shows() {
    let unknown = held_open(&Target::tcp(C2, 5432), true, 20);
    let calls = unknown.findings().filter(|found| found.rule.id == "beacon.connections");
    assert_eq!(calls.map(|found| found.severity).max(), Some(Severity::Medium));
    let named = Target { name: Some("c2.example.net"), ..Target::tcp(C2, 5432) };
    assert!(held_open(&named, true, 0).worst().is_some_and(|(_, worst)| wakes(worst)));
}

#[test]
fn a_connection_from_before_speaks_what_others_to_the_same_port_do() {
    let (mqtt, unknown) = (Target::tcp(C2, 1883).app(&MQTT), Target::tcp(C2, 1883));
    let mut stage = Stage::new();
    for _ in 0..4 {
        stage.call(&mqtt, 64, 4);
        stage.wait(17.0);
    }
    let flow = Flow { midstream: true, direction_inferred: true, ..stage.flow(&unknown) };
    for number in 1..30 {
        stage.turn(&flow, Side::Responder, number, 32, Some(3.0));
        stage.wait(3.0);
    }
    let finding = stage.findings().last().unwrap();
    assert_eq!(finding.evidence.get("app_proto"), Some(&"mqtt".into()));
    assert!(!finding.why.contains("no known protocol"), "{}", finding.why);
}

/// Who checks many sites calls them all at one pace from the start; a controller has few names, and
/// comes later.
#[test]
fn sites_that_are_checked_together_are_no_controllers() {
    const SITES: [&str; 5] =
        ["shop.example.com", "www.example.net", "api.example.org", "a.example.de", "b.example.fr"];
    const ONE: [&str; 5] =
        ["a.example.com", "b.example.com", "c.example.com", "d.example.com", "e.example.com"];
    for (case, names, late, expected) in [
        ("five sites", &SITES[..], 0, false),
        ("one of them later", &SITES, 12, true),
        ("four sites", &SITES[..4], 0, true),
        ("five names of one domain on as many addresses", &ONE, 0, false),
        ("five names of one domain on one address", &ONE, u32::MAX, true),
    ] {
        let mut stage = Stage::new();
        for beat in 0..60 {
            for (last, name) in (1..=names.len()).rev().zip(names) {
                let one = late == u32::MAX;
                if last > 1 || one || beat >= late {
                    let ip = [203, 0, 113, if one { 9 } else { last as u8 }];
                    stage.call(&Target::https(ip, name), 700, 2_000);
                }
            }
            stage.wait(15.0);
        }
        let worst = stage.worst().map(|(_, worst)| worst).unwrap();
        assert_eq!(wakes(worst), expected, "{case}: {worst:?}");
    }
}
