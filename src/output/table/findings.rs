//! Findings: each once, with its latest numbers, worst first.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::text::{Page, bytes, count, fitted, harmless, span};
use crate::alert::{Alert, AlertState};
use crate::container::ContainerIdentity;
use crate::detect::Severity;
use crate::time::Timestamp;

/// Findings kept for the report (count). Beyond this the least severe are left out, and counted.
const FINDINGS_MAX: usize = 1_000;
/// Longest value in the line of numbers (columns).
const VALUE_MAX: usize = 160;

/// From here on, volumes are also told in larger units (bytes).
const READABLE_BYTES: u64 = 10_000;

/// What findings are sorted by: the worst first, then the earliest.
type Place = (std::cmp::Reverse<Severity>, Timestamp, String);

/// One entry for each `alert_uid`, whatever became of it since it opened.
#[derive(Default)]
pub(super) struct Findings {
    sorted: BTreeMap<Place, Alert>,
    places: HashMap<String, Place>,
    left_out: u64,
}

impl Findings {
    /// Takes an alert, in place of an earlier report of the same finding.
    pub(super) fn take(&mut self, alert: &Alert) {
        let mut opened = alert.at;
        if let Some(place) = self.places.remove(&alert.uid) {
            opened = place.1;
            self.sorted.remove(&place);
        }
        let place = (std::cmp::Reverse(alert.severity()), opened, alert.uid.clone());
        self.places.insert(alert.uid.clone(), place.clone());
        self.sorted.insert(place, alert.clone());
        if self.sorted.len() > FINDINGS_MAX
            && let Some((_, least)) = self.sorted.pop_last()
        {
            self.places.remove(&least.uid);
            self.left_out += u64::from(least.state == AlertState::Open);
        }
    }

    pub(super) fn worst_first(&self) -> impl Iterator<Item = &Alert> {
        self.sorted.values()
    }

    /// How many findings of each severity a container has, worst first: `1 critical, 2 low`.
    pub(super) fn of(&self, container: &ContainerIdentity) -> Vec<(Severity, u64)> {
        let mut counts: Vec<(Severity, u64)> = Vec::new();
        for alert in self.worst_first().filter(|alert| alert.container.id == container.id) {
            match counts.last_mut() {
                Some((severity, count)) if *severity == alert.severity() => *count += 1,
                _ => counts.push((alert.severity(), 1)),
            }
        }
        counts
    }
}

/// Writes the findings. Those that should occupy a person come with everything; those for context
/// without what was considered and what to do.
pub(super) fn write(page: &mut Page, findings: &Findings) {
    for alert in findings.worst_first() {
        page.line("");
        page.titled(alert.severity(), &alert.title());
        page.under_title(&circumstances(alert));
        let finding = &alert.finding;
        page.labelled("why", [finding.why.clone()]);
        if !finding.evidence.is_empty() {
            page.labelled("numbers", [numbers(alert)]);
        }
        if alert.severity() >= Severity::Medium {
            page.labelled("against", finding.against.iter().cloned());
            page.labelled("do", steps(finding.rule.response));
        }
        page.labelled("more", [more(alert)]);
    }
    if findings.left_out > 0 {
        page.line("");
        page.paragraph(&format!(
            "{} more findings, none worse than these, are left out here; `--format eve` has all.",
            count(findings.left_out)
        ));
    }
}

/// Between whom, when, how sure.
fn circumstances(alert: &Alert) -> String {
    let finding = &alert.finding;
    let mut text = alert.source.to_string();
    if finding.peer.ip.is_unspecified() {
        text.push_str(" with many others");
    } else {
        text.push_str(&format!(" with {}", finding.peer));
    }
    if let Some(name) = &finding.peer_name {
        text.push_str(&format!(" ({name})"));
    }
    text.push_str(&format!(
        " over {}; {}; confidence {}%; {}",
        finding.protocol,
        span(finding.first_seen, alert.last_seen),
        finding.confidence,
        if alert.state == AlertState::Close { "ended" } else { "no end seen" },
    ));
    let quality = [
        (finding.midstream, "its beginning was not captured"),
        (finding.gap_bytes > 0, "parts of it were not captured"),
        (alert.capture.drop_ratio() > 0.0, "the capture lost frames"),
        (alert.capture.bulk_cut_frames > 0, "bulk was cut to its headers under load"),
    ];
    for (_, caveat) in quality.iter().filter(|(holds, _)| *holds) {
        text.push_str("; ");
        text.push_str(caveat);
    }
    text
}

/// `commands=14  first_command=id`: names hold the units.
fn numbers(alert: &Alert) -> String {
    let pairs = alert.finding.evidence.iter().map(|(name, value)| {
        let number = value.as_u64();
        let value = match value {
            Value::Array(list) => list_of(list),
            one => fitted(&harmless(&text_of(one)), VALUE_MAX),
        };
        match number.filter(|number| *number >= READABLE_BYTES && name.ends_with("_bytes")) {
            Some(number) => format!("{name}={value} ({})", bytes(number)),
            None => format!("{name}={value}"),
        }
    });
    pairs.collect::<Vec<_>>().join("  ")
}

/// A value for people: `203.0.113.9`, `0.25`; the members of an object as `(peer=…, bytes=…)`.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            // Ratios and means are not known to sixteen digits.
            Some(float) if number.is_f64() => significant(float),
            _ => number.to_string(),
        },
        Value::Array(list) => list_of(list),
        Value::Object(members) => {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("{name}={}", text_of(value))).collect();
            format!("({})", members.join(", "))
        }
        other => other.to_string(),
    }
}

/// `user_identity,file_listing`: whole items, as many as fit, and how many more there are.
fn list_of(list: &[Value]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    let mut text = String::new();
    for (place, value) in list.iter().enumerate() {
        let item = fitted(&harmless(&text_of(value)), VALUE_MAX);
        let comma = if place > 0 { "," } else { "" };
        if place > 0 && text.len() + item.len() > VALUE_MAX {
            text.push_str(&format!(" and {} more", list.len() - place));
            break;
        }
        text.push_str(comma);
        text.push_str(&item);
    }
    text
}

/// Four significant digits at most: `0.1234`, `12.5`, `1234567`.
fn significant(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let magnitude = number.abs().log10().floor() as i32;
    let decimals = usize::try_from((3 - magnitude).clamp(0, 12)).unwrap_or(0);
    let text = format!("{number:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn steps(response: &[&str]) -> impl Iterator<Item = String> {
    response.iter().enumerate().map(|(place, step)| format!("{}. {step}", place + 1))
}

fn more(alert: &Alert) -> String {
    let rule = alert.finding.rule;
    let techniques = rule.techniques.join(" ");
    format!("vethwatch ads {} (rule {}, ATT&CK {techniques})", alert.detector, rule.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_between_items() {
        let part = |number: u64| {
            serde_json::json!({"peer": "203.0.113.9:443", "ratio": 0.125,
            "sent_bytes": number})
        };
        assert_eq!(list_of(&[]), "none");
        assert_eq!(list_of(&["a".into(), 2.into()]), "a,2");
        assert_eq!(
            list_of(&(1..=9).map(part).collect::<Vec<_>>()),
            "(peer=203.0.113.9:443, ratio=0.125, sent_bytes=1),\
             (peer=203.0.113.9:443, ratio=0.125, sent_bytes=2),\
             (peer=203.0.113.9:443, ratio=0.125, sent_bytes=3) and 6 more"
        );
    }

    #[test]
    fn floats_are_rounded_to_what_is_known() {
        for (number, text) in [
            (0.0, "0"),
            (12.5, "12.5"),
            (0.123_456, "0.1235"),
            (1_234_567.8, "1234568"),
            (29.999_99, "30"),
            (-0.000_012_345, "-0.00001234"),
            (1e-30, "0"),
        ] {
            assert_eq!(significant(number), text);
        }
    }
}
