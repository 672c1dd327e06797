//! The report for people, as it looks.

#![allow(clippy::unwrap_used)]

mod samples;

use vethwatch::alert::{Alert, AlertState};
use vethwatch::allow::{AllowList, Entry};
use vethwatch::container::{Attribution, Container};
use vethwatch::detect::Severity;
use vethwatch::output::{Look, Sink, table::Table};
use vethwatch::record::{Output, Record, RecordKind, Stats, Summary, Undecoded};

fn report(
    look: Look,
    alerts: &[Alert],
    containers: &[&Container],
    stats: &Stats,
    allow: &AllowList,
) -> String {
    let mut bytes = Vec::new();
    let mut table = Table::new(look, &mut bytes);
    for alert in alerts {
        table.record(&Record::Alert(alert));
    }
    table.finish(&Summary { containers, unmatched: &[], strangers: &[], stats, allow });
    drop(table);
    String::from_utf8(bytes).unwrap()
}

const PLAIN: Look = Look { width: 100, colour: false };

fn busy_stats() -> Stats {
    Stats {
        frames: 48_120,
        frame_bytes: 90_000_000,
        first_ns: samples::at(0).nanos(),
        last_ns: samples::at(750_000).nanos(),
        cut_frames: 1_204,
        dropped_frames: 12,
        out_of_order_frames: 1,
        gap_bytes: 14_600,
        undecoded: Undecoded { not_ip: 7, fragments_dropped: 1, ..Undecoded::default() },
        flows: 400,
        flows_evicted: 3,
        names_evicted: 1,
        stream_bytes_dropped: 65_536,
        alerts: 5,
        ..Stats::default()
    }
}

fn clean_stats() -> Stats {
    Stats {
        frames: 10,
        frame_bytes: 840,
        first_ns: samples::at(0).nanos(),
        last_ns: samples::at(900).nanos(),
        ..Stats::default()
    }
}

/// A shell that grew and ended, a volume, and a heartbeat for context; three containers.
fn busy(look: Look) -> String {
    let web = samples::container(0, samples::identity());
    let many = samples::container(1, samples::bare_identity("10.244.1.9"));
    let mut quiet =
        samples::container(2, samples::bare_identity("fd00:10:244:1:5054:ff:fe12:3456"));
    quiet.identity.attribution = Attribution::PodNetwork;
    quiet.flows = [0, 2];
    quiet.ip_bytes = [0, 999];
    let mut grown = samples::alert();
    grown.state = AlertState::Update;
    grown.finding.evidence["commands"] = 140.into();
    let mut ended = grown.clone();
    ended.state = AlertState::Close;
    ended.last_seen = samples::at(92_000);
    ended.finding.midstream = true;
    let entries: Vec<Entry> = [
        "reason = 'nightly backup'\nowner = 'storage team'\nport = 1234\nexpires = 2030-01-01",
        "reason = 'migration'\nowner = 'web team'\ndetector = 'reverse_shell'\nexpires = 2020-01-01",
        "reason = 'seldom'\nowner = 'web team'\ncontainer = 'shop/db-*'",
    ]
    .map(|text| toml::from_str(text).unwrap())
    .into();
    let mut allow = AllowList::new(&entries);
    allow.silences(&samples::alert());
    let alerts =
        [samples::alert_for_context(), samples::alert(), samples::alert_about_many(), grown, ended];
    report(look, &alerts, &[&web, &many, &quiet], &busy_stats(), &allow)
}

#[test]
fn wide() {
    insta::assert_snapshot!(busy(PLAIN));
}

#[test]
fn narrow() {
    insta::assert_snapshot!(busy(Look { width: 60, ..PLAIN }));
}

#[test]
fn in_colour() {
    insta::assert_snapshot!(busy(Look { width: 100, colour: true }).replace('\u{1b}', "^["));
}

#[test]
fn nothing_found() {
    let web = samples::container(0, samples::bare_identity("10.244.1.9"));
    insta::assert_snapshot!(report(PLAIN, &[], &[&web], &clean_stats(), &AllowList::default()));
}

/// What a host tells of containers that are not seen stands in the report, as long as it is so.
#[test]
fn who_is_not_seen_is_named() {
    let of = |number: u32, state: &str, blind: bool| {
        let record = serde_json::json!({
            "container": {"id": format!("{number:064}"), "name": format!("c{number}")},
            "coverage": {"state": state, "blind": blind},
        });
        record.to_string()
    };
    let mut bytes = Vec::new();
    let mut table = Table::new(PLAIN, &mut bytes);
    for number in 0..12 {
        table.line(RecordKind::Coverage, &of(number, "host_network", true));
    }
    table.line(RecordKind::Coverage, &of(3, "gone", false));
    table.line(RecordKind::Coverage, &of(4, "seen", false));
    let (stats, allow) = (clean_stats(), AllowList::default());
    let summary =
        Summary { containers: &[], unmatched: &[], strangers: &[], stats: &stats, allow: &allow };
    table.finish(&summary);
    drop(table);
    let text = String::from_utf8(bytes).unwrap().replace("\n    ", " ");
    let named = "10 containers are not fully seen, as `vethwatch coverage` explains: \
        c0 (host_network), c1 (host_network), c2 (host_network), c5 (host_network)";
    assert!(text.contains(named) && text.contains("and 2 others."), "{text}");
    assert!(!text.contains("Nothing was lost"), "{text}");
}

#[test]
fn an_empty_capture() {
    insta::assert_snapshot!(report(PLAIN, &[], &[], &Stats::default(), &AllowList::default()));
}

/// Colour adds sequences and changes nothing else; without it there is none.
#[test]
fn colour_is_only_added() {
    let coloured = busy(Look { width: 80, colour: true });
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, sequence)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = sequence.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    let trimmed: Vec<_> = plain.lines().map(str::trim_end).collect();
    let uncoloured = busy(Look { width: 80, colour: false });
    assert!(!uncoloured.contains('\u{1b}'));
    assert_eq!(trimmed, uncoloured.lines().collect::<Vec<_>>());
}

#[test]
fn lines_fit_the_terminal() {
    for width in [40, 60, 72, 80, 100, 120, 200] {
        for line in busy(Look { width, colour: false }).lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

/// Whatever a peer puts into names, evidence and titles: the terminal gets no control character.
#[test]
fn strings_from_outside_are_harmless() {
    const EVIL: &str = "a\u{1b}[2J\u{9b}31m\r\nCRITICAL  forged\u{7}\u{202e}";
    let mut alert = samples::alert();
    alert.finding.why = EVIL.to_owned();
    alert.finding.title = EVIL.to_owned();
    alert.finding.peer_name = Some(EVIL.into());
    alert.finding.against = vec![EVIL.to_owned()];
    alert.finding.evidence = serde_json::Map::new();
    alert.finding.evidence.insert("text".to_owned(), EVIL.into());
    alert.finding.evidence.insert("list".to_owned(), vec![EVIL].into());
    alert.container.kubernetes = None;
    alert.container.name = Some(EVIL.into());
    let container = samples::container(0, alert.container.clone());
    let report = report(PLAIN, &[alert], &[&container], &clean_stats(), &AllowList::default());
    let evil = |character: char| character != '\n' && character.is_control();
    assert!(!report.contains(evil) && !report.contains('\u{202e}'), "{report}");
    assert!(!report.lines().any(|line| line.starts_with("CRITICAL  forged")), "{report}");
}

/// More findings than a report holds: the worst stay, the rest is counted, memory is bounded.
#[test]
fn a_flood_of_findings_leaves_the_worst() {
    let mut alerts = Vec::new();
    for number in 0..1_200 {
        let mut alert = samples::alert_for_context();
        alert.uid = format!("{number:04}");
        alerts.push(alert);
    }
    alerts.push(samples::alert());
    let report = report(PLAIN, &alerts, &[], &clean_stats(), &AllowList::default());
    assert!(report.starts_with("1 finding to act on and 999 for context"), "{}", &report[..200]);
    assert!(report.contains("201 more findings, none worse than these"));
}

#[test]
fn wants_what_it_shows_and_nothing_else() {
    let table = Table::new(PLAIN, Vec::new());
    for kind in RecordKind::ALL {
        let shown = [RecordKind::Alert, RecordKind::Coverage].contains(&kind);
        assert_eq!(table.wants(kind), shown);
    }
}

/// Findings of one severity are in the order in which they opened, not in that of their updates.
#[test]
fn the_worst_and_the_earliest_come_first() {
    let finding = |uid: &str, severity, millis| {
        let mut alert = samples::alert();
        alert.finding.title = format!("<{uid}>");
        (alert.uid, alert.finding.severity, alert.at) =
            (uid.to_owned(), severity, samples::at(millis));
        alert
    };
    let alerts = [
        finding("low", Severity::Low, 1),
        finding("second", Severity::High, 3),
        finding("first", Severity::High, 2),
        finding("grown", Severity::Medium, 0),
        finding("grown", Severity::Critical, 9),
        finding("first", Severity::High, 10),
    ];
    let report = report(PLAIN, &alerts, &[], &clean_stats(), &AllowList::default());
    let order: Vec<_> =
        report.split('<').skip(1).map(|text| text.split_once('>').unwrap().0).collect();
    assert_eq!(order, ["grown", "first", "second", "low"]);
}
