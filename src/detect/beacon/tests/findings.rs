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
    assert!(matches!(stage.found[..], [Verdict::Close { .. }]));
    assert_eq!(minutes, 5, "ten periods of 30 s, and the beat's own");
}
