//! The join and the judgement, over facts made by hand.

use super::super::cgroup::{Place, Runtime};
use super::super::links::LinkKind;
use super::super::runtime::Pod;
use super::coverage::{Inside, judge};
use super::*;

fn link(index: u32, kind: LinkKind, peer_index: u32, peer_nsid: Option<i32>) -> Link {
    Link {
        index,
        name: format!("l{index}"),
        kind,
        up: true,
        running: true,
        master: None,
        peer_index: Some(peer_index),
        peer_nsid,
    }
}

fn process(pid: u32, id: Option<&str>, netns: Option<u64>) -> Process {
    let place = id.map(|id| Place {
        id: id.to_owned(),
        pod_uid: Some("uid-1".to_owned()),
        runtime: Runtime::Containerd,
        outer: None,
    });
    Process { pid, place, netns, pause: id == Some("pause") }
}

#[test]
fn the_chain_meets_at_the_namespace_number() {
    let pod = Pod { namespace: "shop".into(), name: "web-0".into(), uid: "uid-1".into() };
    let labels = BTreeMap::from([("statefulset.kubernetes.io/pod-name".into(), "web-0".into())]);
    let known = Known {
        id: "app".into(),
        name: "nginx".into(),
        image: Some("shop/web:1".into()),
        labels,
        pod: Some(pod),
        ..Known::default()
    };
    let facts = Facts {
        links: [(7, link(7, LinkKind::Veth, 2, Some(3))), (8, link(8, LinkKind::Veth, 2, Some(4)))]
            .into(),
        processes: vec![
            process(10, Some("app"), Some(100)),
            process(11, Some("pause"), Some(100)),
            process(12, None, Some(200)),
        ],
        nsids: [(100, 3), (200, 4)].into(),
        known: [("app".to_owned(), known)].into(),
        ..Facts::default()
    };
    let without = Facts { links: BTreeMap::new(), past: [200, 300].into(), ..facts.clone() };
    let ids: Vec<String> = without.join(10).containers.into_keys().collect();
    assert_eq!(ids, ["app", "netns:200", "pause"], "its interface is gone, and it lives");
    let inventory = facts.join(10);
    assert!(inventory.containers["pause"].sandbox && !inventory.containers["app"].sandbox);
    let app = &inventory.containers["app"];
    assert_eq!((app.interfaces.as_slice(), app.how), (&[7][..], Attribution::Runtime));
    let place = app.kubernetes.as_ref().unwrap();
    assert_eq!((place.pod.as_str(), place.owner.as_deref()), ("web-0", Some("StatefulSet/web")));
    let pause = &inventory.containers["pause"];
    assert_eq!((pause.how, pause.name.as_deref()), (Attribution::Cgroup, None));
    let other = &inventory.containers["netns:200"];
    assert_eq!((other.interfaces.as_slice(), other.pids.as_slice()), (&[8][..], &[12][..]));
    assert_eq!(inventory.on_link(7).len(), 2);

    assert_eq!(facts.join(1).refused, 2, "the bound holds, and what it costs is counted");
}

#[test]
fn without_permission_the_number_by_process_does() {
    let facts = Facts {
        links: [(7, link(7, LinkKind::Veth, 2, Some(3)))].into(),
        processes: vec![process(10, Some("app"), None)],
        nsids_of_pids: [(10, 3)].into(),
        ..Facts::default()
    };
    assert_eq!(facts.join(10).containers["app"].interfaces, [7]);
}

#[test]
fn a_pod_without_a_process_is_known_by_its_mounted_namespace() {
    let known = Known {
        id: "sandbox".into(),
        sandbox: true,
        netns: Some("/var/run/netns/cni-1".into()),
        ..Known::default()
    };
    let mounted = Mounted { path: "/run/netns/cni-1".into(), netns: 100, nsid: Some(3) };
    let facts = Facts {
        links: [(7, link(7, LinkKind::Netkit, 2, Some(3)))].into(),
        known: [("sandbox".to_owned(), known)].into(),
        mounted: vec![mounted],
        ..Facts::default()
    };
    let inventory = facts.join(10);
    assert_eq!(inventory.containers.len(), 1);
    assert_eq!(inventory.containers["sandbox"].interfaces, [7]);
}

#[test]
fn coverage_is_judged_by_the_ways_out() {
    let host = link(7, LinkKind::Veth, 2, Some(3));
    let down = Link { up: false, ..host.clone() };
    let cable = link(2, LinkKind::Veth, 7, Some(0));
    let outside = |kind| link(3, kind, 1, Some(0));
    let inside = |links: &[&Link]| Inside::Links(links.iter().copied().cloned().collect());
    let denied = || "not permitted".to_owned();
    let lo = Link { kind: LinkKind::Loopback, ..link(1, LinkKind::Dummy, 0, None) };
    for (case, on_host, inside, expected) in [
        ("a cable", vec![&host], inside(&[&lo, &cable]), Coverage::Seen),
        ("a cable, nothing more known", vec![&host], Inside::Unread(denied()), Coverage::Seen),
        ("a cable that is down", vec![&down], inside(&[&cable]), Coverage::Down),
        (
            "a second interface",
            vec![&host],
            inside(&[&cable, &outside(LinkKind::Macvlan)]),
            Coverage::Partial(vec![Unseen::Macvlan]),
        ),
        (
            "a macvlan of its own, on its cable",
            vec![&host],
            inside(&[&cable, &link(3, LinkKind::Macvlan, 2, None)]),
            Coverage::Seen,
        ),
        (
            "a tunnel over its cable",
            vec![&host],
            inside(&[&cable, &link(3, LinkKind::Tun, 0, None)]),
            Coverage::Seen,
        ),
        (
            "macvlan",
            vec![],
            inside(&[&outside(LinkKind::Macvlan)]),
            Coverage::Unseen(Unseen::Macvlan),
        ),
        (
            "a VLAN of the host's interface",
            vec![],
            inside(&[&lo, &outside(LinkKind::Other("vlan".into()))]),
            Coverage::Unseen(Unseen::Stacked),
        ),
        (
            "a VLAN of its own cable",
            vec![&host],
            inside(&[&cable, &link(3, LinkKind::Other("vlan".into()), 2, None)]),
            Coverage::Seen,
        ),
        (
            "WireGuard that sends by another namespace",
            vec![],
            inside(&[&lo, &link(3, LinkKind::Wireguard, 0, None)]),
            Coverage::Unseen(Unseen::Stacked),
        ),
        (
            "WireGuard over its own interface",
            vec![],
            inside(&[&outside(LinkKind::Macvlan), &link(4, LinkKind::Wireguard, 0, None)]),
            Coverage::Unseen(Unseen::Macvlan),
        ),
        ("ipvlan", vec![], inside(&[&outside(LinkKind::Ipvlan)]), Coverage::Unseen(Unseen::Ipvlan)),
        (
            "hardware",
            vec![],
            inside(&[&link(3, LinkKind::Physical, 0, None)]),
            Coverage::Unseen(Unseen::Physical),
        ),
        (
            "slirp",
            vec![],
            inside(&[&link(3, LinkKind::Tun, 0, None)]),
            Coverage::Unseen(Unseen::UserMode),
        ),
        (
            "nested",
            vec![],
            inside(&[&outside(LinkKind::Veth)]),
            Coverage::Unseen(Unseen::Elsewhere),
        ),
        ("none", vec![], inside(&[&lo]), Coverage::NoInterface),
        ("none, by name only", vec![], Inside::Any(false, denied()), Coverage::NoInterface),
        ("some, by name only", vec![], Inside::Any(true, denied()), Coverage::Unknown(denied())),
        ("unreadable", vec![], Inside::Unread(denied()), Coverage::Unknown(denied())),
    ] {
        assert_eq!(judge(&on_host, &inside, &BTreeSet::new(), false), expected, "{case}");
    }
    let away = inside(&[&outside(LinkKind::Veth)]);
    assert_eq!(judge(&[], &away, &BTreeSet::from([3]), false), Coverage::Unseen(Unseen::Moved));

    // Containers within: what they send leaves by the cable.
    let both = inside(&[&cable, &outside(LinkKind::Veth)]);
    let port = inside(&[&cable, &Link { master: Some(9), ..outside(LinkKind::Veth) }]);
    let elsewhere = Coverage::Partial(vec![Unseen::Elsewhere]);
    for (case, links, hosts, expected) in [
        ("another cable", &both, false, elsewhere),
        ("a container's", &both, true, Coverage::Seen),
        ("a bridge's port", &port, false, Coverage::Seen),
    ] {
        assert_eq!(judge(&[&host], links, &BTreeSet::new(), hosts), expected, "{case}");
    }
}

/// With the interface it moves into a namespace that it has made.
#[test]
fn a_container_that_leaves_its_namespace_is_the_same() {
    let facts = Facts {
        links: [(7, link(7, LinkKind::Veth, 2, Some(4)))].into(),
        processes: vec![
            process(10, Some("app"), Some(100)),
            process(11, Some("app"), Some(200)),
            process(12, None, Some(200)),
        ],
        nsids: [(100, 3), (200, 4)].into(),
        ..Facts::default()
    };
    let interfaces = |facts: &Facts, id: &str| {
        facts.join(10).containers.get(id).map(|container| container.interfaces.clone())
    };
    assert_eq!(interfaces(&facts, "app"), Some(vec![7]));
    assert_eq!(interfaces(&facts, "netns:200"), None);

    let mut other = facts.clone();
    other.processes.push(process(13, Some("web"), Some(200)));
    assert_eq!(interfaces(&other, "app"), Some(vec![]), "that one is at home there");
    assert_eq!(interfaces(&other, "web"), Some(vec![7]));

    let mounted = Mounted { path: "/run/netns/cni-1".into(), netns: 200, nsid: Some(4) };
    let named = Facts { mounted: vec![mounted], ..facts.clone() };
    assert_eq!(interfaces(&named, "app"), Some(vec![]), "a pod before its first process");

    // The host's own namespace has no number here.
    let on_host = Facts { nsids: [(200, 4)].into(), ..facts };
    assert_eq!(interfaces(&on_host, "app"), Some(vec![]), "it may look into any");
}
