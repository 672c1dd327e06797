//! Shells are found, by words and by rhythm, however they are cut, wrapped and paused.

use super::*;

#[test]
fn shells_are_found() {
    use Side::{Originator, Responder};
    let sh = [
        t(100, P, "id\n"),
        t(2, C, "uid=0(root) gid=0(root) groups=0(root)\n"),
        t(5_000, P, "cat /etc/passwd\n"),
        t(2, C, "root:x:0:0:root:/root:/bin/bash\n"),
    ];
    let bash = [
        t(100, C, "bash: cannot set terminal process group (-1): Inappropriate ioctl\n"),
        t(50, C, "bash: no job control in this shell\nroot@web-0:/# "),
        t(5_000, P, "pwd\n"),
        t(1, C, "pwd"),
        t(90, C, "\n/\nroot@web-0:/# "),
    ];
    let silent_words = [
        t(100, P, "whoami\n"),
        t(2, C, "www-data\n"),
        t(3_000, P, "pwd\n"),
        t(2, C, "/srv\n"),
        t(3_000, P, "ls\n"),
        t(2, C, "app\nstatic\n"),
    ];
    let pty = [
        t(20, C, "\x1b[?2004h"),
        t(20, C, PROMPT),
        t(6_000, P, "i"),
        t(1, C, "i"),
        t(110, P, "d"),
        t(1, C, "d"),
        t(200, P, "\r"),
        t(2, C, "\r\n\x1b[?2004l\ruid=0(root) gid=0(root) groups=0(root)\r\n"),
        t(20, C, "\x1b[?2004hroot@web-0:/# "),
    ];
    let cmd = [
        t(50, C, "Microsoft Windows [Version 10.0.17763.107]\r\n\r\nC:\\inetpub>"),
        t(4_000, P, "dir\r\n"),
        t(9, C, "dir\r\n Volume in drive C has no label.\r\n\r\nC:\\inetpub>"),
    ];
    let foreign = [
        t(100, P, "dir\r\n"),
        t(90, C, " Datentr\u{e4}ger in Laufwerk C: ist System\r\n Verzeichnis von C:\\web\r\n"),
        t(6_000, P, "cd logs\r\n"),
        t(4_000, P, "tasklist /v\r\n"),
        t(300, C, "Abbildname    PID Sitzungsname\r\n"),
    ];
    let chunked = [
        t(10, C, "POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
        t(10, P, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        t(6_000, P, "8\r\ncd /etc\n\r\n"),
        t(4, C, "2\r\nok\r\n"),
        t(4_000, P, "9\r\nuname -a\n\r\n"),
        t(4, C, "34\r\nLinux web-0 6.1.0 #1 SMP Debian x86_64 GNU/Linux\n\r\n"),
    ];
    let fake = [
        t(50, P, "220 mail.example ESMTP\r\n"),
        t(4_000, P, "id\n"),
        t(5, C, "uid=33(www-data) gid=33(www-data)\n"),
    ];
    for (case, scene, script, expected) in [
        (
            "a shell without a terminal",
            Scene::new(Originator),
            sh.to_vec(),
            "shell.reverse.plaintext",
        ),
        ("bash -i over /dev/tcp", Scene::new(Originator), bash.to_vec(), "shell.reverse.plaintext"),
        (
            "three commands with telling words only on one side",
            Scene::new(Originator),
            silent_words.to_vec(),
            "shell.reverse.plaintext",
        ),
        ("a pty, key by key", Scene::new(Originator), pty.to_vec(), "shell.reverse.plaintext"),
        ("cmd.exe", Scene::new(Originator), cmd.to_vec(), "shell.reverse.plaintext"),
        (
            "behind a mail server's greeting",
            Scene::new(Originator).app(&SMTP),
            fake.to_vec(),
            "shell.reverse.plaintext",
        ),
        (
            "commands whose output has no known form",
            Scene::new(Originator),
            foreign.to_vec(),
            "shell.reverse.plaintext",
        ),
        (
            "in the chunks of one HTTP exchange",
            Scene::new(Originator).app(&HTTP),
            chunked.to_vec(),
            "shell.reverse.plaintext",
        ),
        ("a bind shell", Scene::new(Responder), sh.to_vec(), "shell.bind"),
        (
            "a terminal in TLS, key by key",
            Scene::new(Originator).tls(None),
            typed(&PAUSES, 23, 23, &OUTPUTS),
            "shell.reverse.encrypted",
        ),
        (
            "the same to a named server",
            Scene::new(Originator).tls(Some("c2.example")),
            typed(&PAUSES, 23, 23, &OUTPUTS),
            "shell.reverse.encrypted",
        ),
        (
            "lines in TLS",
            Scene::new(Originator).tls(None),
            lines(&PAUSES, 22, &OUTPUTS),
            "shell.reverse.encrypted",
        ),
        (
            "lines in a cipher of their own",
            Scene::new(Originator),
            lines(&PAUSES, 28, &OUTPUTS),
            "shell.reverse.encrypted",
        ),
        (
            "lines in a WebSocket in the clear, masked output",
            Scene::new(Originator).app(&WEBSOCKET),
            lines(&PAUSES, 6, &OUTPUTS),
            "shell.reverse.encrypted",
        ),
        (
            "ssh -R, key by key",
            Scene::new(Originator).ssh(),
            typed(&PAUSES, 76, 76, &OUTPUTS),
            "shell.reverse.ssh_tunnel",
        ),
        (
            "a terminal behind an encrypted port",
            Scene::new(Responder),
            typed(&PAUSES, 40, 40, &OUTPUTS),
            "shell.bind",
        ),
    ] {
        let findings = scene.play(&script).end();
        let (rule, severity) = worst(&findings).unwrap_or_else(|| panic!("{case}: silent"));
        assert_eq!(rule, expected, "{case}");
        assert!(severity >= Severity::Medium, "{case}: {severity:?}");
        let finding = &findings[0].1;
        assert!(finding.why.len() > 20 && !finding.evidence.is_empty(), "{case}");
    }
}

#[test]
fn encoded_lines_are_judged_by_rhythm() {
    let findings = Scene::new(Side::Originator)
        .play(&[
            t(900, P, "aWQ=\n"),
            t(4, C, "dWlkPTAocm9vdCkgZ2lkPTAocm9vdCkK\n"),
            t(4_000, P, "bHMgLWxhIC90bXA=\n"),
            t(4, C, "dG90YWwgNApkcnd4cnd4cnd0IDIgcm9vdCByb290IDQwIE5vdiAyNCAwMzo0MyAuCg==\n"),
            t(9_000, P, "d2hvYW1pIDIx\n"),
            t(4, C, "cm9vdAo=\n"),
            t(2_500, P, "Y2F0IC9ldGMvcGFzc3dk\n"),
            t(4, C, "cm9vdDp4OjA6MDpyb290Oi9yb290Oi9iaW4vYmFzaApkYWVtb246eDoxOjE6ZGFlbW9uCg==\n"),
            t(6_000, P, "dW5hbWUgLWEg\n"),
            t(4, C, "TGludXggd2ViLTAgNi4xLjAgIzEgU01QIHg4Nl82NCBHTlUvTGludXgK\n"),
            t(3_000, P, "cHMgYXV4IC0t\n"),
            t(4, C, "VVNFUiBQSUQgJUNQVSAlTUVNIFZTWiBSU1MgVFRZIFNUQVQgU1RBUlQgVElNRSBDT01NQU5ECnJvb3Q=\n"),
            t(3_000, P, "aG9zdG5hbWU=\n"),
            t(4, C, "d2ViLTAK\n"),
        ])
        .end();
    assert!(!is_silent(&findings), "{findings:?}");
}

#[test]
fn shells_over_datagrams_are_found_by_their_words() {
    let mut scene = Scene::new(Side::Originator);
    scene.flow.protocol = IpProtocol::UDP;
    let peer = scene.side.other();
    for (from, bytes) in [
        (scene.side, &b"\n"[..]),
        (peer, b"id\n"),
        (scene.side, b"uid=33(www-data) gid=33(www-data)\n"),
    ] {
        let wire_bytes = bytes.len() as u32;
        scene.emit(&Event::Datagram { from, bytes, wire_bytes });
    }
    assert_eq!(worst(&scene.end()), Some(("shell.reverse.plaintext", Severity::High)));
}

#[test]
fn the_first_answered_command_is_enough() {
    let mut scene = Scene::new(Side::Originator);
    scene.say(100, P, What::Text("id\n"));
    assert!(scene.findings.is_empty());
    scene.say(3, C, What::Text("uid=0(root) gid=0(root) groups=0(root)\n"));
    assert_eq!(scene.findings.len(), 1);
    let finding = &scene.findings[0].1;
    assert_eq!(finding.severity, Severity::Critical);
    assert_eq!(finding.evidence["first_command"], "id");
    let spoken = format!("{} {:?} {:?}", finding.why, finding.evidence, finding.against);
    assert!(!spoken.contains("groups="), "payload stays out of alerts: {spoken}");
}

#[test]
fn a_shell_may_read_from_one_flow_and_write_to_another() {
    let mut scene = Scene::new(Side::Originator);
    let (mut reads, mut writes) = (scene.flow.clone(), scene.flow.clone());
    (reads.originator.port, writes.originator.port) = (41_001, 41_002);
    (writes.id, writes.responder.port) = (2, 1_235);
    let mut turns = (Turns::new(), Turns::new());
    for (command, output) in
        [("ls\n", "app\n"), ("id\n", "uid=0(root) gid=0(root)\n"), ("cd /etc\n", "")]
    {
        (scene.flow, scene.turns) = (reads, turns.0);
        scene.say(3_000, P, What::Text(command));
        (reads, turns.0) = (scene.flow.clone(), std::mem::take(&mut scene.turns));
        (scene.flow, scene.turns) = (writes, turns.1);
        if !output.is_empty() {
            scene.say(4, C, What::Text(output));
        }
        (writes, turns.1) = (scene.flow.clone(), std::mem::take(&mut scene.turns));
    }
    assert_eq!(worst(&scene.findings), Some(("shell.reverse.plaintext", Severity::Critical)));
    let finding = &scene.findings[0].1;
    assert_eq!(finding.evidence["commands_from_port"], 1_234);
    for text in ["203.0.113.9:1234 sent 1 shell command (", "opened with 203.0.113.9:1235"] {
        assert!(finding.why.contains(text), "{}", finding.why);
    }
    assert!(finding.title.contains("203.0.113.9 drives"), "{}", finding.title);
}

/// `curl -N … | sh | curl -T - …`: commands in the chunks of one response, output in those of another
/// request.
#[test]
fn a_shell_may_read_from_a_response_and_write_into_a_request() {
    for (case, output, expected) in [
        ("output", "27\r\nuid=0(root) gid=0(root) groups=0(root)\n\r\n", true),
        ("something else", "27\r\n{\"level\":\"info\",\"msg\":\"started\",\"n\":4}\n\r\n", false),
    ] {
        let mut scene = Scene::new(Side::Originator).app(&HTTP);
        let (mut reads, mut writes) = (scene.flow.clone(), scene.flow.clone());
        (reads.originator.port, writes.originator.port, writes.id) = (41_001, 41_002, 2);
        let mut turns = (Turns::new(), Turns::new());
        for (command, output) in [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "PUT /o HTTP/1.1\r\n\r\n"),
            ("3\r\nid\n\r\n", output),
            ("3\r\nid\n\r\n", output),
        ] {
            (scene.flow, scene.turns) = (reads, turns.0);
            scene.say(3_000, P, What::Text(command));
            (reads, turns.0) = (scene.flow.clone(), std::mem::take(&mut scene.turns));
            (scene.flow, scene.turns) = (writes, turns.1);
            scene.say(4, C, What::Text(output));
            (writes, turns.1) = (scene.flow.clone(), std::mem::take(&mut scene.turns));
        }
        assert_eq!(!is_silent(&scene.findings), expected, "{case}: {:?}", scene.findings);
    }
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    for cut in [1, 2, 3, 7, 64] {
        let mut scene = Scene::new(Side::Originator);
        scene.cut = cut;
        let findings = scene
            .play(&[
                t(100, P, "id\n"),
                t(2, C, "uid=1000(app) gid=1000(app)\n$ "),
                t(3_000, P, "ls -la\n"),
                t(2, C, "total 4\ndrwxr-xr-x 2 app app 4096 Jan 1 00:00 .\n$ "),
            ])
            .end();
        assert_eq!(
            worst(&findings),
            Some(("shell.reverse.plaintext", Severity::High)),
            "segments of {cut} bytes"
        );
    }
}

#[test]
fn a_shell_left_idle_is_found_when_it_is_used() {
    let mut scene = Scene::new(Side::Originator).tls(None);
    for _ in 0..200 {
        scene.say(30_000, P, What::Cipher(24));
        scene.say(1, C, What::Cipher(28));
    }
    assert!(is_silent(&scene.findings));
    let findings = scene.play(&lines(&PAUSES, 24, &OUTPUTS)).end();
    assert!(!is_silent(&findings));
}

#[test]
fn pings_between_commands_hide_nothing() {
    let mut scene = Scene::new(Side::Originator).tls(None);
    for (index, line) in lines(&[1_700; 8], 24, &OUTPUTS).chunks(2).enumerate() {
        for _ in 0..12 {
            scene.say(5_000, P, What::Cipher(24));
            scene.say(1, C, What::Cipher(28));
        }
        scene.say(700 + 500 * (index as u64 % 7), P, line[0].2.clone());
        scene.say(4, C, line[1].2.clone());
    }
    let findings = scene.end();
    assert!(!is_silent(&findings), "{findings:?}");
    assert_eq!(worst(&findings).unwrap().0, "shell.reverse.encrypted");
}

/// The container's own signs of life say nothing of who drives; a client that asks does.
#[test]
fn pings_of_the_container_hide_nothing() {
    for (case, grows, silent) in [("pings", false, false), ("questions of its own", true, true)] {
        let mut scene = Scene::new(Side::Originator);
        scene.say(0, C, What::Cipher(300));
        for (index, line) in lines(&[1_700; 8], 24, &OUTPUTS).chunks(2).enumerate() {
            for ping in 0..3 {
                let more = if grows { 7 * (3 * index + ping) } else { 0 };
                scene.say(5_000, C, What::Cipher(32 + more));
                scene.say(1, P, What::Cipher(22 + more));
            }
            scene.say(700 + 500 * (index as u64 % 7), P, line[0].2.clone());
            scene.say(4, C, line[1].2.clone());
        }
        let findings = scene.end();
        assert_eq!(is_silent(&findings), silent, "{case}: {findings:?}");
    }
}

#[test]
fn a_script_without_pauses_is_found_in_tls() {
    let pauses: Vec<u64> = (0..24).map(|index| 60 + index * 53 % 190).collect();
    let mut script = vec![c(4_000, P, 25), c(3, C, 61)];
    for (index, pause) in pauses.iter().enumerate() {
        script.push(c(*pause, P, 25 + index * 11 % 30));
        script.push(c(2, C, 27 + OUTPUTS[index % 8]));
    }
    let findings = Scene::new(Side::Originator).tls(None).play(&script).end();
    assert_eq!(worst(&findings).unwrap().0, "shell.reverse.encrypted");
}

/// A capture that lacks a piece of the handshake, or its snap length does, never sees it completed.
#[test]
fn a_handshake_that_was_not_seen_whole_hides_nothing() {
    let mut scene = Scene::new(Side::Originator).tls(None);
    scene.flow.facts.tls = Some(Box::default());
    let findings = scene.play(&lines(&PAUSES, 24, &OUTPUTS)).end();
    assert_eq!(worst(&findings).unwrap().0, "shell.reverse.encrypted");
}

/// XORed with one byte, text stays printable; to read it is another thing.
#[test]
fn printable_bytes_are_no_text() {
    let words =
        ["id", "ls -la /tmp", "cat /etc/passwd", "ps aux", "uname -a", "find / -perm -4000"];
    let answers =
        ["uid=48(www) gid=48(www)", "total 8 drwxrwxrwt 2 root root", "root:x:0:0:root:/root"];
    let worst_with = |key: u8| {
        let mut scene = Scene::new(Side::Originator);
        let hidden = |text: &str| {
            let bytes = text.bytes().map(|byte| byte ^ key).collect();
            What::Text(String::from_utf8(bytes).unwrap().leak())
        };
        for (index, pause) in PAUSES.iter().enumerate() {
            scene.say(*pause, P, hidden(words[index % words.len()]));
            scene.say(3, C, hidden(&answers[index % 3].repeat(1 + index * 5 % 17)));
        }
        worst(&scene.end())
    };
    for key in [0x5a, 0x13, 0x01] {
        assert_eq!(worst_with(key), Some(("shell.reverse.encrypted", Severity::High)), "{key:#x}");
    }
}
