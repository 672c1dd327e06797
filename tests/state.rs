//! What a container usually does is its successor's past, and its own after a restart.
#![allow(clippy::unwrap_used, missing_docs)]

use etherparse::PacketBuilder;
use proptest::prelude::*;
use vethwatch::alert::AlertState;
use vethwatch::config::Config;
use vethwatch::container::{Attribution, Kubernetes, LinkOwner};
use vethwatch::decode::{Frame, LinkType};
use vethwatch::detect::Severity;
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::record::{Output, Record, RecordKind};
use vethwatch::state::{Memories, Settings, State};
use vethwatch::time::Timestamp;

const STORE: [u8; 4] = [203, 0, 113, 7];
const STRANGER: [u8; 4] = [198, 51, 100, 66];
const MB: usize = 1_000_000;
const HOUR_S: u64 = 3_600;

/// Rule and other side of each finding that matters.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Output for Heard {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert
    }

    fn record(&mut self, record: &Record<'_>) {
        if let Record::Alert(alert) = record
            && alert.state == AlertState::Open
            && alert.finding.severity >= Severity::Medium
        {
            let peer = alert.finding.peer.ip.to_string();
            self.0.push((alert.finding.rule.id.to_owned(), peer));
        }
    }
}

/// An engine that watches the host's ends of containers, and the time there.
struct Node {
    engine: Engine,
    heard: Heard,
    now: u64,
    port: u16,
}

impl Node {
    fn new(state: Option<&State>, now: u64) -> Self {
        Self::with("", state, now)
    }

    fn with(config: &str, state: Option<&State>, now: u64) -> Self {
        let mut engine = Engine::new(&Config::parse(config).unwrap()).unwrap();
        if let Some(state) = state {
            engine.import_state(state);
        }
        Self { engine, heard: Heard::default(), now, port: 30_000 }
    }

    /// Two engines that share a node.
    fn two() -> [Self; 2] {
        [0, 1].map(|number| {
            let mut node = Self::new(None, START);
            node.engine.share(number, 2);
            node.engine.import_state(&State::default());
            node
        })
    }

    /// Hears what another engine that shares the node has to tell.
    fn hear(&mut self, other: &mut Self) {
        self.now = self.now.max(other.now);
        self.wait(0);
        if let Some(news) = other.engine.news() {
            self.engine.handle(Input::Node(&news), &mut self.heard);
        }
    }

    /// What it has noted by now.
    fn noted(&mut self) -> Memories {
        while self.engine.remember_next() {}
        self.engine.export_memories().unwrap()
    }

    fn wait(&mut self, seconds: u64) {
        self.now += seconds * 1_000_000_000;
        let at = Timestamp::from_nanos(self.now);
        self.engine.handle(Input::Tick { at }, &mut self.heard);
    }

    /// A pod of a workload behind an interface.
    fn pod(&mut self, link: u32, owner: &str, pod: &str) {
        let mut known = LinkOwner::unnamed(LinkId(link), pod);
        known.identity.attribution = Attribution::Runtime;
        known.identity.name = Some("app".into());
        known.identity.kubernetes = Some(Box::new(Kubernetes {
            namespace: "shop".into(),
            pod: pod.into(),
            pod_uid: None,
            owner: Some(owner.into()),
        }));
        self.engine.handle(Input::Owner(&known), &mut self.heard);
    }

    /// One of which nothing is known yet.
    fn pending(&mut self, link: u32) {
        let mut known = LinkOwner::unnamed(LinkId(link), "veth");
        known.identity.attribution = Attribution::Pending;
        self.engine.handle(Input::Owner(&known), &mut self.heard);
    }

    fn gone(&mut self, link: u32) {
        self.engine.handle(Input::LinkGone(LinkId(link)), &mut self.heard);
    }

    /// A connection that sends so much, as an interface with segmentation offload has it.
    fn upload(&mut self, link: u32, to: [u8; 4], bytes: usize) {
        self.port += 1;
        let own = [10, 244, 1, link as u8 + 1];
        let (mut sent, piece) = (0_usize, [0x5a; 60_000]);
        self.tcp(link, own, to, |tcp| tcp.syn(), 0, &[]);
        self.tcp(link, to, own, |tcp| tcp.syn().ack(1), 0, &[]);
        while sent < bytes {
            let part = &piece[..piece.len().min(bytes - sent)];
            self.tcp(link, own, to, |tcp| tcp.ack(1), sent as u32 + 1, part);
            sent += part.len();
        }
        self.tcp(link, own, to, |tcp| tcp.fin().ack(1), sent as u32 + 1, &[]);
        self.tcp(link, to, own, |tcp| tcp.fin().ack(sent as u32 + 2), 1, &[]);
        self.wait(10);
    }

    fn tcp(
        &mut self,
        link: u32,
        from: [u8; 4],
        to: [u8; 4],
        flags: impl FnOnce(
            etherparse::PacketBuilderStep<etherparse::TcpHeader>,
        ) -> etherparse::PacketBuilderStep<etherparse::TcpHeader>,
        sequence: u32,
        payload: &[u8],
    ) {
        self.now += 2_000_000;
        let opens = from[0] == 10;
        let (source, target) = if opens { (self.port, 443) } else { (443, self.port) };
        let builder = PacketBuilder::ipv4(from, to, 64).tcp(source, target, sequence, 64_000);
        let mut packet = Vec::new();
        flags(builder).write(&mut packet, payload).unwrap();
        // LINKTYPE_LINUX_SLL2: the host sends what goes to the container.
        let mut bytes = vec![0; 20];
        bytes[..2].copy_from_slice(&0x0800_u16.to_be_bytes());
        bytes[4..8].copy_from_slice(&link.to_be_bytes());
        bytes[8..10].copy_from_slice(&1_u16.to_be_bytes());
        bytes[10] = if opens { 0 } else { 4 };
        bytes.extend(packet);
        let frame = Frame {
            at: Timestamp::from_nanos(self.now),
            link_type: LinkType::LinuxSll2,
            wire_bytes: bytes.len() as u32,
            bytes: &bytes,
        };
        self.engine.handle(Input::Frame { link: LinkId(link), frame }, &mut self.heard);
    }

    /// Uploads to the store, each within what may go to an address without a name.
    fn live(&mut self, link: u32) {
        for _ in 0..3 {
            self.upload(link, STORE, 8 * MB);
            self.wait(HOUR_S);
        }
        assert_eq!(self.heard.0, [], "nothing of this is much");
    }

    /// The end of a run.
    fn end(mut self) -> (State, u64) {
        self.engine.finish(&mut self.heard);
        while self.engine.remember_next() {}
        (self.engine.export_state(), self.now)
    }

    fn found(&self) -> Vec<(&str, &str)> {
        self.heard.0.iter().map(|(rule, peer)| (&**rule, &**peer)).collect()
    }
}

const START: u64 = 1_780_000_000_000_000_000;
const WEB: &str = "Deployment/web";

fn lived() -> (State, u64) {
    let mut node = Node::new(Some(&State::default()), START);
    node.pod(0, WEB, "web-1");
    node.live(0);
    node.end()
}

#[test]
fn a_restart_costs_no_past() {
    let (state, now) = lived();
    assert_eq!(state.lines.len(), 1);
    for (case, state, to, megabytes, expected) in [
        ("what is usual, known", Some(&state), STORE, 20, &[][..]),
        ("the same, without a past", None, STORE, 20, &[("exfil.volume", "203.0.113.7")]),
        ("what is new, known", Some(&state), STRANGER, 7, &[("exfil.volume", "198.51.100.66")]),
        ("the same, without a past", None, STRANGER, 7, &[]),
    ] {
        let mut node = Node::new(state, now);
        node.pod(0, WEB, "web-2");
        node.wait(60);
        node.upload(0, to, megabytes * MB);
        assert_eq!(node.found(), expected, "{case}: {megabytes} MB");
    }
}

#[test]
fn a_successor_goes_on_where_the_pod_before_it_stopped() {
    for (case, owner, keeps, expected) in [
        ("of the same workload", WEB, true, 1),
        ("of another", "Deployment/other", true, 0),
        ("where nothing is kept", WEB, false, 0),
    ] {
        let mut node = Node::new(Some(&State::default()).filter(|_| keeps), START);
        node.pod(0, WEB, "web-1");
        node.live(0);
        node.gone(0);
        node.wait(30);
        node.pod(0, owner, "web-2");
        node.upload(0, STRANGER, 7 * MB);
        assert_eq!(node.found().len(), expected, "much for one that has a past: {case}");
    }
}

#[test]
fn whose_past_it_is_may_be_known_late() {
    let (state, now) = lived();
    let mut node = Node::new(Some(&state), now);
    node.pending(3);
    node.upload(3, STORE, 4 * MB);
    node.upload(3, STRANGER, 4 * MB);
    node.pod(3, WEB, "web-2");
    node.upload(3, STORE, 16 * MB);
    assert_eq!(node.found(), []);
    node.upload(3, STRANGER, 2 * MB);
    assert_eq!(node.found(), [("exfil.volume", "198.51.100.66")]);
}

#[test]
fn nothing_is_kept_of_whom_nothing_is_known() {
    let mut node = Node::new(Some(&State::default()), START);
    node.pending(0);
    node.live(0);
    assert_eq!(node.end().0.lines.len(), 0);
    let mut node = Node::new(None, START);
    node.pod(0, WEB, "web-1");
    node.live(0);
    assert_eq!(node.end().0.lines.len(), 0, "without a file");
}

#[test]
fn of_replicas_the_eldest_speaks() {
    let (state, now) = lived();
    let mut node = Node::new(Some(&state), now);
    node.pod(0, WEB, "web-2");
    node.upload(0, STORE, MB);
    node.pod(1, WEB, "web-3");
    node.upload(1, STRANGER, MB);
    let (state, _) = node.end();
    assert_eq!(state.lines.len(), 1);
    let line: serde_json::Value = serde_json::from_str(&state.lines[0]).unwrap();
    assert!(line["first_seen"].as_u64().unwrap() < START + 1_000_000_000, "the first pod's");
    assert_eq!(line["destinations"].as_array().unwrap().len(), 1, "the elder's alone");
}

#[test]
fn a_successor_inherits_wherever_it_is_seen() {
    for (case, ends, told, expected) in [
        ("its predecessor has ended", true, true, 1),
        ("its predecessor lives on, and was noted", false, true, 1),
        ("nothing was told", true, false, 0),
    ] {
        let [mut one, mut other] = Node::two();
        one.pod(0, WEB, "web-1");
        one.live(0);
        if ends {
            one.gone(0);
        } else {
            one.noted();
        }
        if told {
            other.hear(&mut one);
        }
        other.now = one.now;
        other.wait(30);
        other.pod(1, WEB, "web-2");
        other.upload(1, STRANGER, 7 * MB);
        assert_eq!(other.found().len(), expected, "{case}");
    }
}

#[test]
fn several_engines_write_one_state() {
    let (mut settings, [mut one, mut other]) = (Settings::default(), Node::two());
    one.pod(0, WEB, "web-1");
    one.upload(0, STORE, MB);
    one.pod(2, "Deployment/db", "db-1");
    one.upload(2, STORE, MB);
    other.now = one.now;
    other.pod(1, WEB, "web-2");
    other.upload(1, STRANGER, MB);
    other.upload(1, STORE, MB);
    let destinations = |state: &State| -> Vec<usize> {
        let read = |line: &std::sync::Arc<str>| serde_json::from_str(line).unwrap();
        let lines = state.lines.iter().map(read);
        lines
            .map(|line: serde_json::Value| line["destinations"].as_array().unwrap().len())
            .collect()
    };
    let written = |one: &mut Node, other: &mut Node, settings: &Settings| {
        let noted = [one.noted(), other.noted()];
        other.hear(one);
        one.hear(other);
        Memories::merge(settings, &noted).state()
    };
    let state = written(&mut one, &mut other, &settings);
    assert_eq!(destinations(&state), [1, 1], "a line a workload, and the elder's");
    one.gone(0);
    written(&mut one, &mut other, &settings);
    let state = written(&mut one, &mut other, &settings);
    assert_eq!(destinations(&state), [1, 2], "the younger's, once the elder has ended");
    settings.workloads_max = 1;
    assert_eq!(destinations(&written(&mut one, &mut other, &settings)), [2], "the latest stays");
}

#[test]
fn a_workload_is_forgotten_in_time() {
    let (state, now) = lived();
    let day = 86_400_000_000_000;
    for (case, later, expected) in [("after six days", 6 * day, 0), ("after eight", 8 * day, 1)] {
        let mut node = Node::new(Some(&state), now + later);
        node.wait(1);
        node.pod(0, WEB, "web-2");
        node.upload(0, STORE, 20 * MB);
        assert_eq!(node.found().len(), expected, "{case}");
    }
    let mut node = Node::new(Some(&state), now + 8 * day);
    node.pending(0);
    node.wait(1);
    assert_eq!(node.end().0.lines.len(), 0, "nor is it written again");
    let mut node = Node::new(Some(&state), now - day);
    node.pod(0, WEB, "web-2");
    node.upload(0, STORE, 20 * MB);
    assert_eq!(node.found().len(), 1, "a past from the future is none");
}

#[test]
fn what_is_kept_is_bounded() {
    for (case, config, most) in [
        ("workloads", "[state]\nworkloads_max = 3", 3),
        ("bytes", "[state]\nbytes_max = 5000", 4),
        ("neither", "", 20),
    ] {
        let mut node = Node::with(config, Some(&State::default()), START);
        for number in 0..20 {
            node.pod(number, &format!("Deployment/d{number}"), "pod");
            node.upload(number, STORE, MB);
        }
        let (state, now) = node.end();
        let bytes: usize = state.lines.iter().map(|line| line.len()).sum();
        assert!(state.lines.len() <= most && !state.lines.is_empty(), "{case}: {bytes}");
        assert_eq!(state.evicted > 0, most < 20, "{case}");
        let last = state.lines.last().unwrap();
        assert!(last.contains("Deployment/d19"), "{case}: the latest stay");
        let again = Node::with(config, Some(&state), now).end().0;
        assert_eq!(again.lines, state.lines, "{case}: what was read is written");
    }
}

#[test]
fn odd_lines_do_no_harm() {
    let (state, now) = lived();
    let line = state.lines[0].to_string();
    for (case, odd) in [
        ("no object", "7".to_owned()),
        ("not of a workload", "{}".to_owned()),
        ("another detector's", line.replace("exfiltration", "astrology")),
        ("bins of another kind", line.replace("\"total\":[", "\"total\":[7,")),
        ("times beyond time", line.replace("\"first_seen\":1", "\"first_seen\":99")),
    ] {
        let odd = State { lines: vec![odd.into(), line.clone().into()], evicted: 0 };
        let only = State { lines: odd.lines[..1].to_vec(), evicted: 0 };
        for state in [&odd, &only] {
            let mut node = Node::new(Some(state), now);
            node.pod(0, WEB, "web-2");
            node.upload(0, STORE, MB);
            assert_eq!(node.end().0.lines.len(), 1, "{case}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever was done, what was read and not touched is written as it was; and what a container
    /// takes up and adds nothing to but a connection is not lost.
    #[test]
    fn what_is_taken_up_is_left_again(
        steps in proptest::collection::vec((0u8..6, 0usize..6 * MB, 0u64..2 * HOUR_S), 1..8),
    ) {
        let mut node = Node::new(Some(&State::default()), START);
        node.pod(0, WEB, "web-1");
        for (host, bytes, wait) in steps {
            node.upload(0, [203, 0, 113, host], bytes);
            node.wait(wait);
        }
        let (state, now) = node.end();
        let untouched = Node::new(Some(&state), now).end().0;
        prop_assert_eq!(&untouched.lines, &state.lines);
        let mut node = Node::new(Some(&state), now);
        node.pod(0, WEB, "web-2");
        node.upload(0, [203, 0, 113, 1], 0);
        let (after, _) = node.end();
        let read = |state: &State| serde_json::from_str::<serde_json::Value>(&state.lines[0]).unwrap();
        let (before, after) = (read(&state), read(&after));
        prop_assert_eq!(&before["first_seen"], &after["first_seen"]);
        let past = |value: &serde_json::Value| value["detectors"]["exfiltration"]["destinations"].clone();
        prop_assert_eq!(past(&before), past(&after));
    }
}
