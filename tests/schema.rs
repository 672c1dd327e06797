//! The output contract: every record holds against the schema, and the schema against its past.

#![allow(clippy::unwrap_used)]

mod common;
mod samples;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vethwatch::alert::Alert;
use vethwatch::allow::{AllowList, Entry};
use vethwatch::config::Config;
use vethwatch::container::Container;
use vethwatch::engine::Engine;
use vethwatch::event::{FlowEnd, IpProtocol, LinkId, Side};
use vethwatch::flow::{Flow, State};
use vethwatch::output::{Events, SCHEMA_VERSION, eve::Eve, schema};
use vethwatch::record::{Output, Record, RecordKind, Stats, Summary};

/// The schema as published.
fn published() -> Value {
    serde_json::from_str(schema()).unwrap()
}

/// The schema with nothing allowed that it does not name: what readers must tolerate, we must not
/// emit by accident.
fn strict() -> Value {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(map) => {
                map.values_mut().for_each(close);
                if map.contains_key("properties") {
                    map.insert("additionalProperties".to_owned(), Value::Bool(false));
                }
            }
            Value::Array(list) => list.iter_mut().for_each(close),
            _ => {}
        }
    }
    let mut schema = published();
    close(&mut schema);
    schema
}

/// One validator per event type: their errors say more than those of a choice of five.
struct Contract(BTreeMap<&'static str, jsonschema::Validator>);

impl Contract {
    fn new() -> Self {
        let validators = RecordKind::ALL.into_iter().map(|kind| {
            let mut schema = strict();
            let only = serde_json::json!({ "$ref": format!("#/$defs/{}", kind.as_str()) });
            schema["oneOf"] = serde_json::json!([only]);
            (kind.as_str(), jsonschema::draft202012::new(&schema).unwrap())
        });
        Self(validators.collect())
    }

    /// Panics unless the line is one record that the schema describes in full.
    fn check(&self, line: &str) -> Value {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let errors = self.errors(&record);
        assert!(errors.is_empty(), "{errors:#?}\nin {line}");
        record
    }

    fn errors(&self, record: &Value) -> Vec<String> {
        let validator = &self.0[record["event_type"].as_str().unwrap()];
        let errors = validator.iter_errors(record);
        errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
    }
}

/// What Eve writes for these records.
fn written(events: Events, fill: impl FnOnce(&mut Eve<&mut Vec<u8>>)) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut eve = Eve::new(events, &mut bytes);
    eve.name_link(LinkId(0), "vethd9f4cca0");
    fill(&mut eve);
    let (stats, allow) = (Stats::default(), AllowList::default());
    eve.finish(&Summary {
        containers: &[],
        unmatched: &[],
        strangers: &[],
        stats: &stats,
        allow: &allow,
    });
    drop(eve);
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn both() -> (Container, Container) {
    (
        samples::container(0, samples::identity()),
        samples::container(1, samples::bare_identity("10.244.1.9")),
    )
}

/// Each kind of record with little in it and with all that it can have.
fn every_kind_of_record(eve: &mut impl Output) {
    let (web, other) = both();
    let sides = [[None, None], [Some(&web), None], [None, Some(&web)], [Some(&web), Some(&other)]];
    let shared = Alert { container: samples::shared_identity("10.244.1.8"), ..samples::alert() };
    for alert in
        [samples::alert(), samples::alert_about_many(), samples::alert_for_context(), shared]
    {
        eve.record(&Record::Alert(&alert));
    }
    let at = samples::at(99_000);
    for containers in sides {
        for end in [
            None,
            Some(FlowEnd::Closed),
            Some(FlowEnd::Idle),
            Some(FlowEnd::Evicted),
            Some(FlowEnd::Reused),
            Some(FlowEnd::CaptureEnd),
        ] {
            for flow in [samples::flow(), samples::full_flow(), samples::dns_flow(), ping()] {
                eve.record(&Record::Flow { at, flow: &flow, end, containers });
            }
        }
        let flow = samples::dns_flow();
        for message in [samples::dns_query(), samples::dns_response(), samples::odd_dns_message()] {
            let from = Side::Originator;
            eve.record(&Record::Dns { at, flow: &flow, from, message: &message, containers });
        }
        let flow = samples::flow();
        for tls in [samples::tls(), samples::tls_unanswered()] {
            eve.record(&Record::Tls { at, flow: &flow, tls: &tls, containers });
        }
    }
    eve.record(&Record::Stats { at, stats: &Stats::default() });
}

/// No ports, no answer yet, first bytes that fit nothing.
fn ping() -> Flow {
    Flow {
        protocol: IpProtocol::ICMP,
        state: State::Icmp,
        app: None,
        outer: None,
        app_unknown: true,
        ..samples::dns_flow()
    }
}

#[test]
fn every_record_holds_against_the_schema() {
    let contract = Contract::new();
    let published = jsonschema::draft202012::new(&published()).unwrap();
    let lines = written(Events::ALL, |eve| every_kind_of_record(eve));
    assert_eq!(lines.len(), 4 + 4 * (6 * 4 + 3 + 2) + 1 + 1);
    for line in lines {
        let record = contract.check(&line);
        assert!(published.is_valid(&record), "{line}");
        assert_eq!(record["schema_version"], SCHEMA_VERSION);
    }
}

/// Whole captures through the engine: the project's own, and public ones with odd protocols,
/// certificates, names and damage. Of a long capture, the first records of each kind and a sample
/// of the rest.
#[test]
fn every_record_of_whole_captures_holds_against_the_schema() {
    const ALL_UP_TO: usize = 200;
    const THEN_EACH: usize = 23;
    let contract = Contract::new();
    let mut seen = BTreeMap::<String, usize>::new();
    for path in capture_files() {
        let Some(frames) = common::frames(&path) else { continue };
        let lines = written(Events::ALL, |eve| {
            let mut engine = Engine::new(&Config::default()).unwrap();
            for frame in &frames {
                engine.handle(frame.as_input(), eve);
            }
            engine.finish(eve);
        });
        let mut of_this = BTreeMap::<&str, usize>::new();
        for line in &lines {
            let (_, rest) = line.split_once("\"event_type\":\"").unwrap();
            let (kind, _) = rest.split_once('"').unwrap();
            let number = of_this.entry(kind).or_default();
            *number += 1;
            if *number <= ALL_UP_TO || number.is_multiple_of(THEN_EACH) {
                contract.check(line);
                *seen.entry(kind.to_owned()).or_default() += 1;
            }
        }
    }
    for kind in ["flow", "dns", "tls", "stats"] {
        assert!(seen.get(kind).is_some_and(|count| *count > 0), "{kind}: {seen:?}");
    }
    eprintln!("{seen:?}");
}

/// Captures of at most this many bytes: the test is about shapes, not about volume.
const CAPTURE_BYTES_MAX: u64 = 400_000;

fn capture_files() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps")];
    if let Some(shared) = common::captures() {
        for category in ["tls_fingerprint", "dns_parse", "malformed", "decode_tunnel"] {
            folders.push(shared.join("public").join(category));
        }
        folders.push(shared.join("scenarios"));
    }
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, size) = (entry.path(), entry.metadata().map_or(0, |data| data.len()));
            let capture = path.extension().is_some_and(|kind| kind == "pcap" || kind == "pcapng");
            if path.is_dir() {
                folders.push(path);
            } else if capture && size <= CAPTURE_BYTES_MAX {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A Community ID that is remembered belongs to its own flow, whatever came between.
#[test]
fn remembered_community_ids_are_the_right_ones() {
    let flows: Vec<_> = [1, 257, 1, 2, 513, 257, 1]
        .into_iter()
        .map(|id| Flow {
            id,
            originator: samples::endpoint("10.244.1.7", id as u16),
            ..samples::dns_flow()
        })
        .collect();
    let message = samples::dns_query();
    let lines = written(Events::NONE.with(RecordKind::Dns), |eve| {
        for flow in &flows {
            let (at, from, containers) = (samples::at(0), Side::Originator, [None, None]);
            eve.record(&Record::Dns { at, flow, from, message: &message, containers });
        }
    });
    for (flow, line) in flows.iter().zip(&lines) {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["community_id"], flow.community_id(), "flow {}", flow.id);
    }
    assert_eq!(lines.len(), flows.len());
}

/// The check itself can fail: what the schema does not name, requires or types is found.
#[test]
fn a_wrong_record_does_not_pass() {
    let contract = Contract::new();
    let line = &written(Events::ALL, |eve| every_kind_of_record(eve))[0];
    let right: Value = serde_json::from_str(line).unwrap();
    for (case, path, value) in [
        ("a field that is not described", "/vethwatch/extra", Some(Value::from(1))),
        ("a number as text", "/vethwatch/confidence", Some(Value::from("97"))),
        ("a missing field", "/vethwatch/why", None),
        ("a severity that is none", "/vethwatch/severity", Some(Value::from("urgent"))),
        ("another clock", "/timestamp", Some(Value::from("2026-03-01T12:00:07+01:00"))),
    ] {
        let mut wrong = right.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = wrong.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(key.to_owned(), value),
            None => parent.remove(key),
        };
        assert_eq!(contract.errors(&wrong).len(), 1, "{case}");
    }
}

#[test]
fn the_alert_is_the_one_of_the_contract() {
    let lines = written(Events::NONE.with(RecordKind::Alert), |eve| {
        eve.record(&Record::Alert(&samples::alert()));
    });
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    insta::assert_snapshot!(line);
}

/// One line of each kind, to read and to review.
#[test]
fn records_in_full() {
    let (web, other) = both();
    let (at, containers) = (samples::at(99_000), [Some(&web), Some(&other)]);
    let lines = written(Events::ALL, |eve| {
        let flow = samples::full_flow();
        eve.record(&Record::Flow { at, flow: &flow, end: Some(FlowEnd::Closed), containers });
        let (flow, message) = (samples::dns_flow(), samples::dns_response());
        let from = Side::Responder;
        eve.record(&Record::Dns { at, flow: &flow, from, message: &message, containers });
        let (flow, tls) = (samples::flow(), samples::tls());
        eve.record(&Record::Tls { at, flow: &flow, tls: &tls, containers });
    });
    insta::assert_snapshot!(lines.join("\n\n"));
}

#[test]
fn of_a_pod_without_a_name_its_uid_is_told() {
    let shared = Alert { container: samples::shared_identity("10.244.1.8"), ..samples::alert() };
    let lines = written(Events::NONE.with(RecordKind::Alert), |eve| {
        eve.record(&Record::Alert(&shared));
    });
    let record: Value = serde_json::from_str(&lines[0]).unwrap();
    let uid = "11111111-2222-3333-4444-555555555555";
    assert_eq!(record["kubernetes"], serde_json::json!({ "pod_uid": uid }));
    assert_eq!(record["container"]["id"], "netns:4026532281");
    assert_eq!(
        record["container"]["containers"],
        serde_json::json!(["5dc1eeb2a4f6", "0bcb59c01bd1"])
    );
    assert!(record["container"].get("name").is_none());
}

#[test]
fn only_what_was_asked_for_is_written() {
    for (asked, expected) in [
        ("alert", &["alert"][..]),
        ("dns,tls", &["dns", "tls"]),
        ("flow", &["flow"]),
        ("stats", &["stats"]),
    ] {
        let lines = written(asked.parse().unwrap(), |eve| every_kind_of_record(eve));
        let mut kinds: Vec<_> = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["event_type"].clone())
            .collect();
        kinds.dedup();
        kinds.sort_by_key(Value::to_string);
        kinds.dedup();
        assert_eq!(kinds, expected, "{asked}");
    }
}

#[test]
fn a_flow_says_that_it_was_alerted_even_if_alerts_are_not_written() {
    let lines = written(Events::NONE.with(RecordKind::Flow), |eve| {
        assert!(eve.wants(RecordKind::Alert));
        let flow = samples::flow();
        let (at, containers) = (samples::at(0), [None, None]);
        let ended = Some(FlowEnd::Closed);
        eve.record(&Record::Flow { at, flow: &flow, end: None, containers });
        eve.record(&Record::Alert(&samples::alert()));
        eve.record(&Record::Flow { at, flow: &flow, end: None, containers });
        eve.record(&Record::Flow { at, flow: &flow, end: ended, containers });
    });
    let alerted: Vec<_> = lines.iter().map(|line| line.contains("\"alerted\":true")).collect();
    assert_eq!(alerted, [false, true, true]);
}

#[test]
fn the_last_record_tells_what_the_allow_list_did() {
    let entries: Vec<Entry> = [
        "reason = 'backup'\nowner = 'storage'\nport = 1234\nexpires = 2030-01-01",
        "reason = 'old'\nowner = 'web'\ndetector = 'reverse_shell'\nexpires = 2020-01-01",
    ]
    .map(|text| toml::from_str(text).unwrap())
    .into();
    let mut allow = AllowList::new(&entries);
    assert!(allow.silences(&samples::alert()));
    let stats = Stats { last_ns: samples::at(0).nanos(), frames: 1, ..Stats::default() };
    let mut bytes = Vec::new();
    let mut eve = Eve::new(Events::ALL, &mut bytes);
    eve.finish(&Summary {
        containers: &[],
        unmatched: &[],
        strangers: &[],
        stats: &stats,
        allow: &allow,
    });
    drop(eve);
    let record = Contract::new().check(std::str::from_utf8(&bytes).unwrap());
    let allow = record["vethwatch"]["allow"].as_array().unwrap();
    let told: Vec<_> = allow
        .iter()
        .map(|entry| {
            let expired = entry["expired"].as_bool().unwrap();
            (expired, entry["silenced_findings"].as_u64(), entry["expired_reports"].as_u64())
        })
        .collect();
    assert_eq!(told, [(false, Some(1), Some(0)), (true, Some(0), Some(1))]);
}

/// Every property says what it is. Units are in words there, as EVE's names cannot change.
#[test]
fn every_property_is_described() {
    fn walk(path: &str, schema: &Value, missing: &mut Vec<String>) {
        let Some(map) = schema.as_object() else { return };
        if let Some(properties) = map.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let described = property.get("description").or(property.get("$ref")).is_some();
                if !described {
                    missing.push(format!("{path}.{name}"));
                }
            }
        }
        for (key, value) in map {
            walk(&format!("{path}.{key}"), value, missing);
        }
    }
    let mut missing = Vec::new();
    walk("", &published(), &mut missing);
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Version 1.0 is kept as one line per field: path, whether it is always there, type. Fields may be
/// added and enumerations may grow; nothing may vanish, become optional or change its type.
/// Before the first release, `VETHWATCH_WRITE_BASELINE=1 cargo test --test schema` writes it anew.
#[test]
fn the_contract_only_grows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/baseline-1.0.txt");
    if std::env::var_os("VETHWATCH_WRITE_BASELINE").is_some() {
        let lines =
            promises(&published()).into_iter().map(|(path, promise)| format!("{path} {promise}\n"));
        std::fs::write(&path, lines.collect::<String>()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let baseline: BTreeMap<String, String> = kept
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(path, promise)| (path.to_owned(), promise.to_owned()))
        .collect();
    assert!(baseline.len() > 150, "the baseline is there");
    let now = promises(&published());
    let broken: Vec<_> = baseline
        .iter()
        .filter(|(path, promise)| !now.get(*path).is_some_and(|now| keeps(promise, now)))
        .map(|(path, promise)| format!("{path}: {promise} became {:?}", now.get(path)))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_broken_promise_is_noticed() {
    for (case, promise, now, kept) in [
        ("the same", "required string", "required string", true),
        ("optional became required", "optional string", "required string", true),
        ("required became optional", "required string", "optional string", false),
        ("another type", "required integer", "required string", false),
        ("a value more", "required enum a|b", "required enum a|b|c", true),
        ("a value less", "required enum a|b", "required enum a|c", false),
    ] {
        assert_eq!(keeps(promise, now), kept, "{case}");
    }
}

fn keeps(promise: &str, now: &str) -> bool {
    let split = |text: &str| {
        let (presence, kind) = text.split_once(' ').unwrap();
        (presence == "required", kind.to_owned())
    };
    let ((was_required, was), (is_required, is)) = (split(promise), split(now));
    let same = match (was.strip_prefix("enum "), is.strip_prefix("enum ")) {
        (Some(was), Some(is)) => {
            let is: Vec<_> = is.split('|').collect();
            was.split('|').all(|value| is.contains(&value))
        }
        _ => was == is,
    };
    same && (is_required || !was_required)
}

/// Path of each field → `required` or `optional`, and its type or values.
fn promises(schema: &Value) -> BTreeMap<String, String> {
    fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(target) => root.pointer(target.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }
    fn kind(schema: &Value) -> String {
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let values: Vec<_> = values.iter().map(|value| value.as_str().unwrap()).collect();
            return format!("enum {}", values.join("|"));
        }
        match schema.get("const") {
            Some(value) => format!("const {value}"),
            None => schema["type"].as_str().unwrap().to_owned(),
        }
    }
    fn walk(root: &Value, path: &str, schema: &Value, out: &mut BTreeMap<String, String>) {
        let schema = resolve(root, schema);
        if let Some(items) = schema.get("items") {
            let items = resolve(root, items);
            out.insert(format!("{path}[]"), format!("required {}", kind(items)));
            walk(root, &format!("{path}[]"), items, out);
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        let required = schema["required"].as_array().unwrap();
        for (name, property) in properties {
            let property = resolve(root, property);
            let always = required.iter().any(|field| field == name.as_str());
            let presence = if always { "required" } else { "optional" };
            let path = format!("{path}.{name}");
            out.insert(path.clone(), format!("{presence} {}", kind(property)));
            walk(root, &path, property, out);
        }
    }
    let mut out = BTreeMap::new();
    for record in RecordKind::ALL {
        let name = record.as_str();
        walk(schema, name, &schema["$defs"][name], &mut out);
    }
    out
}
