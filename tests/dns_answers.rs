//! DNS against public captures: questions and answers equal what Zeek, Suricata and Arkime logged.
//!
//! Names are compared without regard to case: they are kept in lower case here. What the others log
//! and this project does not (their alerts, their flows) is not compared; `docs/comparison.md` has
//! the table.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod common;
#[path = "support/captures.rs"]
mod captures;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::Value;
use vethwatch::event::{DnsData, DnsMessage, Side};
use vethwatch::record::{Output, Record, RecordKind};

/// A message, flat, under the names that Suricata's tests use.
type Flat = BTreeMap<String, String>;

#[derive(Default)]
struct Messages {
    flat: Vec<Flat>,
    whole: Vec<DnsMessage>,
}

impl Output for Messages {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Dns
    }

    fn record(&mut self, record: &Record<'_>) {
        let Record::Dns { flow, from, message, .. } = record else { return };
        let mut flat = Flat::new();
        let (source, destination) = match from {
            Side::Originator => (flow.originator, flow.responder),
            Side::Responder => (flow.responder, flow.originator),
        };
        let mut put = |key: &str, value: String| flat.insert(key.to_string(), value);
        put("event_type", "dns".into());
        put("dns.type", if message.response { "response" } else { "request" }.into());
        put("src_ip", source.ip.to_string());
        put("src_port", source.port.to_string());
        put("dest_ip", destination.ip.to_string());
        put("dest_port", destination.port.to_string());
        put("proto", flow.protocol.to_string());
        put("dns.id", message.id.to_string());
        put("dns.opcode", (message.flags >> 11 & 0xf).to_string());
        put("dns.flags", format!("{:x}", message.flags));
        put("dns.qr", message.response.to_string());
        put("dns.aa", (message.flags & 0x400 != 0).to_string());
        put("dns.rd", (message.flags & 0x100 != 0).to_string());
        put("dns.ra", (message.flags & 0x80 != 0).to_string());
        put("dns.rcode", rcode_name(message.rcode));
        for (number, question) in message.questions.iter().enumerate() {
            put(&format!("dns.queries[{number}].rrname"), question.name.clone());
            put(&format!("dns.queries[{number}].rrtype"), type_name(question.qtype));
        }
        let mut number = 0;
        for answer in &message.answers {
            let text = data_text(&answer.data);
            // Suricata has an entry for each string of a TXT record.
            let strings = text.split(if answer.rtype == 16 { ' ' } else { '\0' });
            for string in strings {
                let mut put = |key: &str, value: &str| {
                    flat.insert(format!("dns.answers[{number}].{key}"), value.to_string());
                };
                put("rrname", &answer.name);
                put("rrtype", &type_name(answer.rtype));
                put("ttl", &answer.ttl_s.to_string());
                put(if answer.rtype == 33 { "srv.name" } else { "rdata" }, string);
                number += 1;
            }
        }
        self.flat.push(flat);
        self.whole.push((*message).clone());
    }
}

fn type_name(number: u16) -> String {
    match number {
        10 => "NULL".into(),
        99 => "SPF".into(),
        _ => RecordType::from(number).to_string(),
    }
}

fn rcode_name(code: u16) -> String {
    match ResponseCode::from(0, code.to_be_bytes()[1]) {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::Refused => "REFUSED".into(),
        other => format!("{other:?}").to_ascii_uppercase(),
    }
}

fn data_text(data: &DnsData) -> String {
    match data {
        DnsData::Address(address) => address.to_string(),
        DnsData::Name(text) | DnsData::Text(text) => text.clone(),
    }
}

fn messages_of(path: &Path) -> Messages {
    let mut output = Messages::default();
    captures::analyse(path, &mut output);
    output
}

/// The captures whose expected log ends so, each with that log.
fn expected(folder: &Path, prefix: &str, ending: &str) -> Vec<(PathBuf, String)> {
    captures::files_below(&folder.join("public/dns_parse"))
        .into_iter()
        .filter_map(|log| {
            let name = log.file_name()?.to_str()?;
            let capture = name.strip_suffix(ending)?;
            name.starts_with(prefix)
                .then(|| (log.with_file_name(capture), fs::read_to_string(&log).unwrap()))
        })
        .collect()
}

/// Keys of Suricata that have no counterpart here, so that a check on them is left out.
const NOT_COMPARED: &[&str] = &[
    "alert.",
    "anomaly.",
    "app_proto",
    "dns.authorities",
    "dns.grouped",
    "flow.",
    "flow_id",
    "pcap_cnt",
    "tx_id",
    "dns.tx_id",
    "dns.version",
    "direction",
    "pkt_src",
    "srv.",
];

/// A check of suricata-verify: so many records have all of these values.
#[derive(Debug, Default)]
struct Check {
    count: Option<usize>,
    values: Vec<(String, String)>,
}

/// Reads the plain part of a `test.yaml`: filters with a count and values to match.
fn checks(yaml: &str) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for line in yaml.lines() {
        let line = line.trim().trim_start_matches("- ");
        if line.starts_with('#') {
            continue;
        }
        if line == "filter:" || line.starts_with("shell:") {
            checks.push(Check::default());
        } else if let Some((key, value)) = line.split_once(": ")
            && let Some(check) = checks.last_mut()
        {
            let value = value.trim().trim_matches(['"', '\'']);
            match key {
                "count" => check.count = value.parse().ok(),
                key if key.contains('.') || key.contains('_') || key == "proto" => {
                    check.values.push((key.to_string(), value.to_string()));
                }
                _ => {}
            }
        }
    }
    checks
}

#[test]
fn suricatas_checks_hold() {
    let Some(folder) = common::captures() else { return };
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (capture, yaml) in expected(&folder, "OISF", ".expected.txt") {
        let name = capture.file_name().unwrap().to_string_lossy().into_owned();
        // DNS within HTTP/2 in TLS: only its endpoints can read it.
        if name.contains("http2") {
            println!("| {name} | Suricata | DNS over HTTPS is not read |");
            continue;
        }
        let messages = messages_of(&capture);
        let mut here = 0;
        for check in checks(&yaml) {
            let Some(count) = check.count else { continue };
            let dns = check.values.iter().any(|(key, value)| key == "event_type" && value == "dns");
            if !dns {
                continue;
            }
            let values: Vec<_> = check
                .values
                .iter()
                .filter(|(key, _)| !NOT_COMPARED.iter().any(|other| key.starts_with(other)))
                // An old form of the record, whose addresses are those of the flow.
                .filter(|(key, _)| {
                    let old = check.values.iter().any(|(_, value)| value == "answer");
                    !(old && key.ends_with("_ip"))
                })
                .collect();
            let matching = messages
                .flat
                .iter()
                .filter(|message| {
                    values.iter().all(|(key, value)| {
                        // Priority, weight and port of SRV are not kept.
                        if key.contains(".srv.") && !key.ends_with(".name") {
                            return true;
                        }
                        let value = match (key.as_str(), value.as_str()) {
                            ("dns.type", "answer") => "response",
                            ("dns.type", "query") => "request",
                            (_, value) => value,
                        };
                        message.get(key).is_some_and(|got| got.eq_ignore_ascii_case(value))
                    })
                })
                .count();
            here += 1;
            if matching != count {
                wrong.push(format!("{name}: {matching} records, expected {count}: {values:?}"));
            }
        }
        println!("| {name} | Suricata | {here} checks |");
        compared += here;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 170, "only {compared} checks were compared");
}

#[test]
fn zeeks_answers_are_ours() {
    let Some(folder) = common::captures() else { return };
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (capture, log) in expected(&folder, "zeek", ".expected.log") {
        let name = capture.file_name().unwrap().to_string_lossy().into_owned();
        let messages = messages_of(&capture);
        let Some(fields) = log.lines().find_map(|line| line.strip_prefix("#fields\t")) else {
            println!("| {name} | Zeek | not a log of DNS |");
            continue;
        };
        let place = |field: &str| fields.split('\t').position(|other| other == field);
        let (Some(id), Some(query), Some(answers)) =
            (place("trans_id"), place("query"), place("answers"))
        else {
            println!("| {name} | Zeek | not a log of DNS |");
            continue;
        };
        let ttls = place("TTLs").unwrap();
        let mut here = 0;
        for row in log.lines().filter(|line| !line.starts_with('#')) {
            let row: Vec<&str> = row.split('\t').collect();
            let (id, query, answers, ttls) = (row[id], row[query], row[answers], row[ttls]);
            let of_transaction = |message: &&DnsMessage| {
                message.id.to_string() == id
                    && (query == "-"
                        || message.questions.iter().any(|question| question.name == query))
            };
            let found: Vec<_> = messages.whole.iter().filter(of_transaction).collect();
            if found.is_empty() {
                wrong.push(format!("{name}: no message {id} for {query}"));
                continue;
            }
            here += 1;
            if answers == "-" {
                continue;
            }
            let Some(response) = found.iter().find(|message| !message.answers.is_empty()) else {
                wrong.push(format!("{name}: no response {id} for {query}"));
                continue;
            };
            let expected: Vec<&str> = answers.split(',').collect();
            if expected.len() != response.answers.len() {
                wrong.push(format!("{name}: {} is not {expected:?}", response.answers.len()));
                continue;
            }
            for ((answer, expected), ttl) in
                response.answers.iter().zip(expected).zip(ttls.split(','))
            {
                here += 1;
                let same_ttl = ttl == format!("{}.000000", answer.ttl_s);
                let (text, same) = match (answer.rtype, data_text(&answer.data)) {
                    // Zeek puts type and length before each string.
                    (16 | 99, text) => {
                        let same = words_of(expected).eq(words_of(&text));
                        (text, same)
                    }
                    // Signatures and keys: Zeek writes their type, and a part of them.
                    (43 | 46..=48 | 50, text) => {
                        (text, expected.starts_with(&type_name(answer.rtype)))
                    }
                    (_, text) => {
                        let same = text == expected;
                        (text, same)
                    }
                };
                if !same || !same_ttl {
                    wrong.push(format!("{name}: {text} ({} s) is not {expected}", answer.ttl_s));
                }
            }
        }
        println!("| {name} | Zeek | {here} messages and answers |");
        compared += here;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 30, "only {compared} were compared");
}

/// What other logs say in their own forms: so many messages hold this text.
#[test]
fn other_logs_hold() {
    let Some(folder) = common::captures() else { return };
    let zeek = |name: &str| format!("zeek__zeek__{name}.pcap");
    let suricata = |name: &str| format!("OISF__suricata-verify__{name}.pcap");
    for (case, capture, text, count) in [
        ("an extended response code", zeek("dns_extended_rcode"), "rcode: 16", 1),
        ("HTTPS: protocols", zeek("dns-https"), "alpn=h3,h3-29,h3-28,h3-27,h2", 1),
        ("HTTPS: addresses", zeek("dns-https"), "2606:4700::6810:84e5,2606:4700::6810:85e5", 1),
        ("SVCB: an alias", zeek("dns-svcb"), "0 foo.example.com", 1),
        (
            "HTTPS: keys for an encrypted hello",
            zeek("ech"),
            "AMD+DQA8agAgACCuY19tSB4Tb5cnVHw9eCEj",
            1,
        ),
        ("queries without responses", zeek("ticks-dns"), "response: false", 10),
        ("lower case", zeek("ticks-dns"), "pxiqopbiid.de", 1),
        ("two responses for a name", suricata("lua-output-dns_test"), "client-cf.dropbox.com", 4),
        ("a name that does not exist", suricata("lua-output-dns_test"), "rcode: 3", 1),
        (
            "two questions in two queries",
            suricata("dns_dns-query_dns-detect-query-02_input"),
            "google.net",
            1,
        ),
        (
            "mail exchanges",
            suricata("dns_dns-udp-eve-log-answer-only_dns-udp-google.com-a-aaaa-mx"),
            "alt4.aspmx.l.google.com",
            1,
        ),
        ("a name over TCP", suricata("dns_dns-tcp-www-google-com_dns"), "www.google.com", 2),
        ("a query alone", suricata("dns_dns-query_dns-detect-query-01_input"), "google.com", 1),
        ("a query and its response", suricata("dns_dns-single-request_input"), "suricon.net", 2),
        (
            "answers by their name",
            suricata("dns_dns-answer-name_dns-udp-request-with-answer"),
            "answers: [DnsAnswer { name: \"oisf.net\"",
            2, // this sender puts an answer into its query
        ),
        ("multicast names", zeek("mdns"), "_ipps._tcp.local", 6),
    ] {
        let messages = messages_of(&folder.join("public/dns_parse").join(capture));
        let found = messages.whole.iter().filter(|message| format!("{message:?}").contains(text));
        assert_eq!(found.count(), count, "{case}: {text}");
    }
}

/// The words of `TXT 127 one TXT 98 two` but for types and lengths.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !matches!(*word, "TXT" | "SPF") && word.parse::<u16>().is_err())
}

#[test]
fn arkimes_answers_are_ours() {
    let Some(folder) = common::captures() else { return };
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (capture, json) in expected(&folder, "arkime", ".expected.json") {
        let name = capture.file_name().unwrap().to_string_lossy().into_owned();
        let log: Value = serde_json::from_str(&json).unwrap();
        let messages = messages_of(&capture);
        let mut here = 0;
        for session in log["sessions3"].as_array().into_iter().flatten() {
            for entry in session["body"]["dns"].as_array().into_iter().flatten() {
                let query = entry["queryHost"].as_str().unwrap_or_default();
                let query = query.trim_matches(['<', '>']).replace("root", "").to_lowercase();
                let answers = entry["answers"].as_array().cloned().unwrap_or_default();
                let found = messages.whole.iter().find(|message| {
                    message.questions.iter().any(|question| question.name == query)
                        && message.answers.len() >= answers.len()
                });
                let Some(message) = found else {
                    wrong.push(format!("{name}: no message for {query}"));
                    continue;
                };
                here += 1;
                for expected in &answers {
                    here += 1;
                    let rtype = expected["type"].as_str().unwrap_or_default();
                    let owner = expected["name"].as_str().unwrap_or_default().to_lowercase();
                    let owner = owner.trim_matches(['<', '>']).replace("root", "");
                    let key = rtype.to_lowercase();
                    let data = ["ip", "cname", "nameserver", "mx", key.as_str()]
                        .iter()
                        .find_map(|key| expected[*key].as_str())
                        .unwrap_or_default();
                    let fits = message.answers.iter().any(|answer| {
                        let text = data_text(&answer.data).replace('"', "");
                        type_name(answer.rtype) == rtype
                            && answer.name == owner
                            && expected["ttl"].as_u64() == Some(u64::from(answer.ttl_s))
                            && (data.ends_with(&text)
                                || matches!(rtype, "DNSKEY" | "RRSIG" | "DS" | "NSEC" | "HTTPS"))
                    });
                    if !fits {
                        wrong.push(format!("{name}: {expected} is not in {:?}", message.answers));
                    }
                }
            }
        }
        println!("| {name} | Arkime | {here} messages and answers |");
        compared += here;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 10, "only {compared} were compared");
}
