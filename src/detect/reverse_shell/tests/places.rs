//! What the other end, and what the capture lacks, do to a finding; and how it is put.

use super::*;

/// A named TLS service that so many containers use, which the node knew so long before the flow.
fn fleet(siblings: u32, known_s: u64) -> Scene {
    let name = "jobs.example";
    let mut scene = Scene::new(Side::Originator);
    scene.flow.opened = Timestamp::from_nanos(100_000_000_000_000);
    scene.now_ms = 100_000_000;
    let first = Timestamp::from_nanos((100_000 - known_s) * 1_000_000_000);
    let key = DestinationKey::of_name(name);
    for container in 0..siblings {
        scene.node.destinations.count(first, key);
        scene.node.destinations.note_payload(first, key, container, [9, 9]);
    }
    scene.tls(Some(name))
}

#[test]
fn siblings_explain_only_what_the_node_has_long_known() {
    let shell = lines(&PAUSES, 22, &OUTPUTS);
    let severity = |scene: Scene| worst(&scene.play(&shell).end()).map(|(_, severity)| severity);
    assert_eq!(severity(fleet(1, 7_200)), Some(Severity::Medium), "one container's own");
    assert_eq!(severity(fleet(3, 7_200)), Some(Severity::Low), "an agent of all");
    assert_eq!(severity(fleet(3, 6)), Some(Severity::Medium), "replicas taken together");
    let mut suspected = fleet(3, 7_200);
    let at = Timestamp::from_nanos(99_000_000_000_000);
    suspected.node.destinations.suspect(at, DestinationKey::of_name("jobs.example"));
    assert_eq!(severity(suspected), Some(Severity::Medium), "a finding was about it");
    let mut findings = fleet(3, 6).play(&shell).end();
    let against = findings.pop().unwrap().1.against.join(" ");
    assert!(
        against.contains("3 containers of this node") && against.contains("little"),
        "{against}"
    );
}

/// A push protocol between two addresses, of which the capture has the packets' heads.
fn push(cut: bool, zone: Zone) -> Vec<(u64, Finding)> {
    let mut scene = Scene::new(Side::Originator);
    scene.flow.zones[Side::Responder.index()] = zone;
    for index in 0..25 {
        scene.flow.sides[Side::Responder.index()].cut_frames += u32::from(cut);
        scene.say(PAUSES[index % 8], P, What::Cipher(39 + index % 12));
        scene.say(2, C, What::Cipher(OUTPUTS[index % 8] + 70));
    }
    scene.end()
}

#[test]
fn what_the_snap_length_cut_is_said_and_excuses_inside_peers() {
    let inside = push(true, Zone::Cluster);
    assert_eq!(worst(&inside), Some(("shell.reverse.encrypted", Severity::Low)));
    let finding = &inside.last().unwrap().1;
    assert!(finding.why.contains("holds too little"), "{}", finding.why);
    assert!(finding.against.iter().any(|text| text.contains("snap length")), "{finding:?}");
    let whole = push(false, Zone::Cluster);
    assert!(!is_silent(&whole) && !whole[0].1.why.contains("holds too little"), "{whole:?}");
    let outside = push(true, Zone::External);
    assert!(!is_silent(&outside), "who waits for whom shows in headers too");
    assert!(outside[0].1.why.contains("holds too little"), "{}", outside[0].1.why);
}

#[test]
fn clear_text_that_is_no_shell_s_is_called_so() {
    let mut scene = Scene::new(Side::Originator);
    let tasks = ["resize 7 large\n", "thumb 12\n", "crop 4 10 20\n", "rotate 9\n"];
    let reports = ["done in 12 ms, wrote 3 files to the bucket of the month\n", "ok 1\n"];
    for index in 0..12 {
        scene.say(PAUSES[index % 8], P, What::Text(tasks[index % 4]));
        scene.say(4, C, What::Text(reports[usize::from(index % 3 == 0)]));
        scene.say(1, C, What::Text(["a\n", "lorem ipsum dolor sit amet\n"][index % 2]));
    }
    let finding = scene.end().pop().unwrap().1;
    assert!(finding.why.contains("can be read, and is not what shells"), "{}", finding.why);
    assert!(finding.why.contains("% of the questions"), "{}", finding.why);
    let against = finding.against.join(" ");
    assert!(against.contains("it is not what shells read and write"), "{against}");
    assert!(against.contains("allow them by network."), "the peer has no name: {against}");
    let named = Scene::new(Side::Originator).tls(Some("jobs.example"));
    let named = named.play(&lines(&PAUSES, 22, &OUTPUTS)).end();
    assert!(named[0].1.against.join(" ").contains("allow them by name."), "{named:?}");
}

#[test]
fn a_proxy_speaks_against_a_shell_s_place() {
    let mut scene = Scene::new(Side::Originator);
    scene.say(100, P, What::Text("id\n"));
    scene.say(3, C, What::Text("uid=0(root) gid=0(root)\n"));
    assert!(scene.findings[0].1.against.iter().any(|text| text.contains("proxy")));
}
