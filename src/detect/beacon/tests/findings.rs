//! What is said, and when it ends.

use super::*;

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
    let [Verdict::Raise(last), Verdict::Close { .. }] = &stage.found[..] else {
        panic!("{:?}", stage.found)
    };
    assert_eq!(last.evidence.get("beats"), Some(&20.into()), "the numbers of the end");
    let beat_at = stage.container.first_seen.after(Duration::from_secs(19 * 30));
    assert_eq!(last.last_seen, Some(beat_at));
    assert_eq!(minutes, 5, "ten periods of 30 s, and the beat's own");
}

#[test]
fn the_last_word_has_the_numbers_of_the_end() {
    let mut stage = Stage::new();
    let (target, mut held) = (Target::tcp(C2, 4444), Stage::new());
    let flow = held.flow(&target);
    for beat in 0..39 {
        stage.call(&target, 64, 64);
        stage.wait(29.95);
        held.turn(&flow, Side::Originator, beat, 64, Some(30.0));
        held.wait(30.0);
    }
    let beats = |stage: &Stage| stage.findings().last().unwrap().evidence.get("beats").cloned();
    assert_ne!((beats(&stage), beats(&held)), (Some(39.into()), Some(38.into())), "not each beat");
    stage.detector.sum_up(&stage.container, &stage.node, &mut stage.found);
    let flow = Flow { last: held.at, ..flow };
    held.see(&flow, &Event::FlowClosed(FlowEnd::Closed));
    assert_eq!((beats(&stage), beats(&held)), (Some(39.into()), Some(38.into())));
    let told = held.found.len();
    held.detector.sum_up(&held.container, &held.node, &mut held.found);
    assert_eq!(held.found.len(), told, "the connection is over, and was summed up");
}
