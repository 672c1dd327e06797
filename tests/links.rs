//! Containers found by the host's end of their interface, as on a node.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::IpAddr;
use std::path::Path;

use common::{OwnedFrame, frames};
use vethwatch::alert::AlertState;
use vethwatch::config::Config;
use vethwatch::container::{Attribution, LinkOwner};
use vethwatch::decode::{Frame, LinkType};
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::record::{Output, Record, RecordKind};
use vethwatch::time::Timestamp;

const POD: &str = "10.244.9.225";
const POD_LINK: LinkId = LinkId(7);
const SIBLING_LINK: LinkId = LinkId(9);

/// State, container and attribution of each alert, with its identifier; flows by container.
#[derive(Default)]
struct Heard {
    alerts: Vec<(AlertState, String, Attribution, String)>,
    flows: Vec<(LinkId, String, [Option<String>; 2], u64)>,
    /// Detector and interface of each alert.
    places: Vec<(&'static str, LinkId)>,
}

impl Output for Heard {
    fn wants(&self, kind: RecordKind) -> bool {
        matches!(kind, RecordKind::Alert | RecordKind::Flow)
    }

    fn record(&mut self, record: &Record<'_>) {
        match record {
            Record::Alert(alert) => {
                self.alerts.push((
                    alert.state,
                    alert.container.id.to_string(),
                    alert.container.attribution,
                    alert.uid.clone(),
                ));
                self.places.push((alert.detector, alert.link));
            }
            Record::Flow { flow, end: Some(_), containers, .. } => {
                let ids = containers.map(|one| one.map(|one| one.identity.id.to_string()));
                self.flows.push((flow.link, flow.community_id(), ids, flow.packets()));
            }
            _ => {}
        }
    }
}

fn owner(link: LinkId, id: &str, attribution: Attribution) -> LinkOwner {
    let mut owner = LinkOwner::unnamed(link, id);
    owner.identity.attribution = attribution;
    owner
}

/// Source and destination of an IPv4 packet in Ethernet.
fn ends(frame: &OwnedFrame) -> Option<[IpAddr; 2]> {
    let ip = frame.bytes.get(14..34).filter(|ip| ip[0] >> 4 == 4)?;
    let at = |place: usize| IpAddr::from(<[u8; 4]>::try_from(&ip[place..place + 4]).unwrap());
    Some([at(12), at(16)])
}

/// The frame as a cooked capture of the host has it (LINKTYPE_LINUX_SLL2).
fn cooked(frame: &OwnedFrame, link: LinkId, host_sent: bool) -> OwnedFrame {
    let mut bytes = vec![0; 20];
    bytes[..2].copy_from_slice(&frame.bytes[12..14]);
    bytes[4..8].copy_from_slice(&link.0.to_be_bytes());
    bytes[8..10].copy_from_slice(&1_u16.to_be_bytes());
    bytes[10] = if host_sent { 4 } else { 0 };
    bytes.extend_from_slice(&frame.bytes[14..]);
    let wire_bytes = frame.wire_bytes + 6;
    OwnedFrame { link_type: LinkType::LinuxSll2, wire_bytes, bytes, ..frame.clone() }
}

/// Feeds the capture as two containers' host ends see it: the pod, and whoever in the cluster it
/// talks to.
fn feed(engine: &mut Engine, heard: &mut Heard, upto: Option<usize>, from: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/reverse-shell.pcap");
    let pod: IpAddr = POD.parse().unwrap();
    let all = frames(&path).unwrap();
    for frame in &all[from..upto.unwrap_or(all.len())] {
        let Some([source, destination]) = ends(frame) else { continue };
        let peer = if source == pod { destination } else { source };
        let cluster = matches!(peer, IpAddr::V4(ip) if ip.octets()[..2] == [10, 244]);
        for link in [POD_LINK, SIBLING_LINK] {
            if link == SIBLING_LINK && !cluster {
                continue;
            }
            let host_sent = (link == POD_LINK) == (destination == pod);
            let frame = cooked(frame, link, host_sent);
            let OwnedFrame { at, link_type, wire_bytes, ref bytes } = frame;
            let frame = Frame { at, link_type, wire_bytes, bytes };
            engine.handle(Input::Frame { link, frame }, heard);
        }
    }
}

fn engine() -> Engine {
    Engine::new(&Config::default()).unwrap()
}

fn own(engine: &mut Engine, heard: &mut Heard, owner: &LinkOwner) {
    engine.handle(Input::Owner(owner), heard);
}

#[test]
fn each_end_of_a_conversation_is_counted_on_its_own_link() {
    let (mut engine, mut heard) = (engine(), Heard::default());
    own(&mut engine, &mut heard, &owner(POD_LINK, "pod", Attribution::Runtime));
    own(&mut engine, &mut heard, &owner(SIBLING_LINK, "sibling", Attribution::Runtime));
    feed(&mut engine, &mut heard, None, 0);
    engine.finish(&mut heard);
    let of = |link: LinkId| heard.flows.iter().filter(move |(on, ..)| *on == link);
    assert!(of(SIBLING_LINK).count() > 5, "conversations inside the cluster");
    for (_, community, containers, packets) in of(SIBLING_LINK) {
        let twin = of(POD_LINK).find(|(_, other, _, count)| other == community && count == packets);
        let (.., other) = (twin.unwrap(), &twin.unwrap().2);
        let stands = |ids: &[Option<String>; 2], id: &str| {
            ids.iter().position(|one| one.as_deref() == Some(id))
        };
        let (here, there) = (stands(containers, "sibling"), stands(other, "pod"));
        assert_eq!(here.unwrap(), 1 - there.unwrap(), "opposite sides of {community}");
    }
    assert!(heard.alerts.iter().all(|(_, id, ..)| id == "pod"), "{:?}", heard.alerts);
    assert!(!heard.alerts.is_empty());
}

#[test]
fn a_finding_waits_for_its_containers_name_and_keeps_its_identifier() {
    let (mut engine, mut heard) = (engine(), Heard::default());
    own(&mut engine, &mut heard, &owner(POD_LINK, "link 7", Attribution::Pending));
    feed(&mut engine, &mut heard, Some(700), 0);
    let known = owner(POD_LINK, "5dc1eeb2", Attribution::Runtime);
    let waited = heard.alerts.len();
    own(&mut engine, &mut heard, &known);
    feed(&mut engine, &mut heard, None, 700);
    engine.handle(Input::LinkGone(POD_LINK), &mut heard);
    engine.finish(&mut heard);
    assert!(waited <= 1, "told at once: {:?}", heard.alerts);
    let (first, last) = (heard.alerts.first().unwrap(), heard.alerts.last().unwrap());
    assert_eq!(first.0, AlertState::Open);
    assert_eq!((last.0, &*last.1, last.2), (AlertState::Close, "5dc1eeb2", Attribution::Runtime));
    assert!(
        heard.alerts.iter().any(|(state, id, ..)| *state != AlertState::Close && id == "5dc1eeb2")
    );
    let mut uids: Vec<&String> = heard.alerts.iter().map(|(.., uid)| uid).collect();
    uids.dedup();
    assert_eq!(uids.len(), 1, "{:?}", heard.alerts);
}

#[test]
fn containers_that_come_and_go_take_no_more_room() {
    let (mut engine, mut heard) = (engine(), Heard::default());
    for round in 0..5_000_u32 {
        own(
            &mut engine,
            &mut heard,
            &owner(LinkId(round), &round.to_string(), Attribution::Cgroup),
        );
        engine.handle(Input::LinkGone(LinkId(round)), &mut heard);
    }
    assert_eq!(engine.stats().containers, 0);
    assert_eq!(engine.stats().containers_refused, 0);
}

/// Counts of a capture's end.
fn stats_of(inputs: impl Iterator<Item = (LinkId, OwnedFrame)>) -> vethwatch::record::Stats {
    let (mut engine, mut heard) = (engine(), Heard::default());
    for (link, frame) in inputs {
        let OwnedFrame { at, link_type, wire_bytes, ref bytes } = frame;
        let frame = Frame { at, link_type, wire_bytes, bytes };
        engine.handle(Input::Frame { link, frame }, &mut heard);
    }
    engine.finish(&mut heard);
    engine.stats().clone()
}

fn capture() -> Vec<OwnedFrame> {
    frames(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/reverse-shell.pcap")).unwrap()
}

#[test]
fn a_packet_that_several_interfaces_show_counts_once() {
    let frames = || capture().into_iter().filter(|frame| ends(frame).is_some());
    let once = stats_of(frames().map(|frame| (LinkId(0), cooked(&frame, LinkId(3), false))));
    // As `tcpdump -i any` has it on a node: on the veth, the bridge and the uplink.
    let crossing = |frame: OwnedFrame| {
        [3, 4, 5].map(|index| {
            let mut seen = cooked(&frame, LinkId(index), index == 5);
            seen.at = Timestamp::from_nanos(frame.at.nanos() + u64::from(index) * 20_000);
            (LinkId(0), seen)
        })
    };
    let thrice = stats_of(frames().flat_map(crossing));
    assert_eq!(thrice.copied_frames, 2 * once.frames);
    assert_eq!((thrice.flows, thrice.alerts), (once.flows, once.alerts));
    // Two files, each of another interface, merged.
    let both = |frame: OwnedFrame| [(LinkId(0), frame.clone()), (LinkId(1), frame)];
    let merged = stats_of(capture().into_iter().flat_map(both));
    let single = stats_of(capture().into_iter().map(|frame| (LinkId(0), frame)));
    assert_eq!((merged.flows, merged.alerts), (single.flows, single.alerts));
    assert_eq!(single.copied_frames, 0);
}

#[test]
fn a_direction_that_is_missing_is_counted() {
    let pod: IpAddr = POD.parse().unwrap();
    let sent =
        capture().into_iter().filter(|frame| ends(frame).is_some_and(|[from, _]| from == pod));
    assert!(stats_of(sent.map(|frame| (LinkId(0), frame))).one_sided_connections > 5);
    let all = capture().into_iter().map(|frame| (LinkId(0), frame));
    assert_eq!(stats_of(all).one_sided_connections, 0);
}

/// A finding about a destination has no flow to tell its interface.
#[test]
fn a_beacon_is_told_on_its_containers_interface() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/malicious/beacon-http.pcap");
    let truth = std::fs::read_to_string(path.with_extension("toml")).unwrap();
    let truth: toml::Table = truth.parse().unwrap();
    let pod: IpAddr = truth["container"].as_str().unwrap().parse().unwrap();
    let (mut engine, mut heard) = (engine(), Heard::default());
    for link in [SIBLING_LINK, POD_LINK] {
        own(&mut engine, &mut heard, &owner(link, "one of them", Attribution::Runtime));
    }
    for frame in frames(&path).unwrap() {
        let Some([_, destination]) = ends(&frame) else { continue };
        let frame = cooked(&frame, POD_LINK, destination == pod);
        let OwnedFrame { at, link_type, wire_bytes, ref bytes } = frame;
        let frame = Frame { at, link_type, wire_bytes, bytes };
        engine.handle(Input::Frame { link: POD_LINK, frame }, &mut heard);
    }
    engine.finish(&mut heard);
    assert!(heard.places.contains(&("beacon", POD_LINK)), "{:?}", heard.places);
    assert!(heard.places.iter().all(|(_, link)| *link == POD_LINK), "{:?}", heard.places);
}
