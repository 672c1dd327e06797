//! What keeps time is found, whatever it keeps time with; what does not is none.

use super::*;

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
