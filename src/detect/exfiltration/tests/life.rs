//! When a finding comes and goes, what a restart and the bounds cost.

use super::*;

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
