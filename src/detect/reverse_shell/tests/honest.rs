//! Conversations that come close stay silent.

use super::*;

#[test]
fn honest_conversations_stay_silent() {
    use Side::{Originator, Responder};
    let mut polls = Vec::new();
    let mut pushes = Vec::new();
    let mut pings = Vec::new();
    let mut uploads = Vec::new();
    let mut jobs = Vec::new();
    let mut watch = Vec::new();
    let mut chat = Vec::new();
    let mut inserts = Vec::new();
    let mut client = Vec::new();
    let mut bot = Vec::new();
    let mut ansible = Vec::new();
    let mut peers = Vec::new();
    let mut server = Vec::new();
    for index in 0..40_u64 {
        let (wait, size) = (PAUSES[(index % 8) as usize], OUTPUTS[(index % 8) as usize]);
        // The server holds the poll until something happens; the client asks again at once.
        polls.extend([c(wait * 4, P, 190), c(1, C, 420)]);
        pushes.extend([c(wait, P, 60 + size), c(3, C, 26)]);
        pings.extend([c(20_000, P, 24), c(1, C, 28)]);
        // Pictures to a service that takes a second for each.
        uploads.extend([c(900 + index % 3 * 40, P, 320), c(2, C, 20_000 + 37 * size)]);
        jobs.extend([c(wait, P, 700 + size), c(2_500, C, 300)]);
        watch.extend([c(wait, P, 900 + size)]);
        chat.extend([c(wait, P, 40 + index as usize % 9), c(1_200, C, 45), c(3_000, C, 38)]);
        inserts.extend([c(60, P, 40), c(1, C, 4_000 + size)]);
        // Held request, then an answer to a person with varied text, and the next request.
        bot.extend([
            c(wait, P, 191 + index as usize % 9),
            c(12, C, 400 + 2 * size),
            c(110, P, 168),
            c(1, C, 146),
        ]);
        // Either side may ask.
        peers.extend([c(wait, P, 20 + index as usize % 9), c(3, C, 60 + size)]);
        peers.extend([c(wait / 2 + 600, C, 20 + index as usize % 9), c(40, P, 12)]);
        // The host works for seconds; the script has its next task ready.
        ansible.extend([
            c(wait / 2 + 600, P, 140 + size / 4),
            c(80, C, 300 + size),
            c(40, P, 52),
            c(2, C, 200 + size),
        ]);
        client.extend([c(wait, C, 30 + index as usize % 20), c(40, P, 60 + size)]);
        server.extend([c(wait, P, 120 + index as usize % 40), c(3, C, 400 + size)]);
    }
    let telnet = [
        t(30, P, "login: "),
        t(2_000, C, "app\r\n"),
        t(40, P, "Password: "),
        t(2_000, C, "secret\r\n"),
        t(40, P, "\r\nrouter:/# "),
        t(3_000, C, "i"),
        t(40, P, "i"),
        t(90, C, "d"),
        t(40, P, "d"),
        t(90, C, "\r\n"),
        t(40, P, "\r\nuid=0(root) gid=0(root)\r\nrouter:/# "),
        t(3_000, C, "ls /bin\r\n"),
        t(40, P, "ls /bin\r\nbash\r\ncp\r\nid\r\nls\r\nps\r\npwd\r\nwhoami\r\nrouter:/# "),
        t(3_000, C, "uname -a\r\n"),
        t(40, P, "uname -a\r\nLinux router 6.1.0 #1 SMP x86_64 GNU/Linux\r\nrouter:/# "),
    ];
    let listener = [
        t(30, C, "id\n"),
        t(40, P, "uid=0(root) gid=0(root) groups=0(root)\n"),
        t(4_000, C, "ls -la\n"),
        t(40, P, "total 4\ndrwxr-xr-x 2 root root 4096 Jan 1 00:00 .\n"),
        t(4_000, C, "whoami\n"),
        t(40, P, "root\n"),
    ];
    let ftp = [
        t(700, P, "220 ProFTPD Server\r\n"),
        t(5_000, C, "USER anonymous\r\n"),
        t(700, P, "331 Anonymous login ok\r\n"),
        t(1, C, "PASS me@example\r\n"),
        t(700, P, "230 Login successful\r\n"),
        t(1, C, "PWD\r\n"),
        t(700, P, "257 \"/\" is the current directory\r\n"),
        t(1, C, "LIST\r\n"),
        t(700, P, "150 Here comes the directory listing\r\n"),
    ];
    let listing = [
        t(
            30,
            C,
            "drwxr-xr-x 2 root root 4096 Jan 1 00:00 .\n-rw-r--r-- 1 root root 5 Jan 1 00:00 x\n",
        ),
        t(500, C, "drwxr-xr-x 2 root root 4096 Jan 1 00:00 ..\n"),
    ];
    let mail = [
        t(700, P, "220 mail.example ESMTP\r\n"),
        t(1, C, "EHLO web-0\r\n"),
        t(700, P, "250 OK\r\n"),
        t(1, C, "DATA\r\n"),
        t(700, P, "354 End data\r\n"),
        t(
            1,
            C,
            "Subject: cron\r\n\r\nuid=0(root) gid=0(root)\r\n-rw-r--r-- 1 root root 5 Jan 1 x\r\n.\r\n",
        ),
        t(700, P, "250 queued\r\n"),
        t(1, C, "QUIT\r\n"),
    ];
    let memcached = [
        t(10, P, "get session:1\r\n"),
        t(1, C, "VALUE session:1 0 5\r\nhello\r\nEND\r\n"),
        t(3_000, P, "stats\r\n"),
        t(1, C, "STAT pid 1\r\nEND\r\n"),
        t(3_000, P, "set a 0 0 5\r\nhello\r\n"),
        t(1, C, "STORED\r\n"),
    ];
    let words = [
        t(10, P, "find me later\n"),
        t(900, C, "ok will do\n"),
        t(4_000, P, "who was that\n"),
        t(900, C, "no idea\n"),
        t(4_000, P, "date tonight?\n"),
        t(900, C, "sure\n"),
        t(4_000, P, "more coffee first\n"),
        t(900, C, "always\n"),
    ];
    let (mut sentences, mut found, mut orders, mut pushed) = (vec![], vec![], vec![], vec![]);
    for (index, line) in [
        "which one is better?\n",
        "find me a red dress\n",
        "cat sat on the mat\n",
        "make my day\n",
        "top ten songs\n",
        "touch the sky\n",
        "less is more\n",
        "date night ideas\n",
        "kill two birds\n",
        "sort of nice\n",
        "head over heels\n",
        "ps I love you\n",
    ]
    .into_iter()
    .enumerate()
    {
        let label = ["{\"intent\":\"x\",\"score\":0.17}\n", "{\"intent\":\"x\",\"score\":0.9}\n"];
        sentences.extend([t(PAUSES[index % 8], P, line), t(50, C, label[index % 2])]);
        let result = ["lorem ipsum dolor\n", "sit amet\n", "consectetur, adipiscing elit\n"];
        found.extend([t(PAUSES[index % 8], P, line), t(50, C, result[index % 3])]);
    }
    for line in ["date 2026-11-24\n", "id 4711\n", "ls /5\n", "ps -3\n", "df /\n", "echo 17\n"] {
        orders.extend([t(3_000, P, line), t(50, C, "OK\n")]);
    }
    for revision in ["applied rev 0\n", "applied rev 1\n", "applied rev 2\n"] {
        pushed.push(t(10_000, P, "#!/bin/sh\nset -e\ncd /etc\nls -la\ncat hosts\nid\n"));
        pushed.push(t(300, C, revision));
    }
    for (case, scene, script) in [
        ("sentences to be labelled", Scene::new(Originator), sentences.clone()),
        ("the same, asked from outside", Scene::new(Responder), sentences),
        ("sentences to be searched for", Scene::new(Responder), found),
        ("orders that are acknowledged", Scene::new(Originator), orders),
        ("scripts that are pushed", Scene::new(Originator), pushed),
        ("a bot that answers people", Scene::new(Originator).tls(Some("bot.example")), bot.clone()),
        ("the same to an address", Scene::new(Originator).tls(None), bot),
        ("long polling over TLS", Scene::new(Originator).tls(Some("api.example")), polls.clone()),
        (
            "messages pushed and acknowledged",
            Scene::new(Originator).tls(Some("push.example")),
            pushes.clone(),
        ),
        ("the same without a name", Scene::new(Originator).tls(None), pushes),
        ("pings of a server", Scene::new(Originator).tls(None), pings),
        (
            "a slow service that pictures are sent to",
            Scene::new(Originator).tls(Some("ml.example")),
            uploads,
        ),
        ("jobs and short reports", Scene::new(Originator).tls(Some("ci.example")), jobs),
        ("a watch that is never answered", Scene::new(Originator).tls(Some("api.example")), watch),
        ("a chat of two persons", Scene::new(Originator).tls(Some("chat.example")), chat.clone()),
        ("the same without a name", Scene::new(Originator).tls(None), chat),
        ("rows written to a database far away", Scene::new(Originator).tls(None), inserts),
        ("two peers that ask each other", Scene::new(Originator), peers),
        ("a script of ten tasks over SSH", Scene::new(Originator).ssh(), ansible[..40].to_vec()),
        ("an SSH client", Scene::new(Originator).ssh(), client.clone()),
        ("a client of an unknown protocol", Scene::new(Originator), client),
        ("a server of an unknown protocol", Scene::new(Responder), server.clone()),
        ("a TLS server", Scene::new(Responder).tls(Some("shop.example")), server),
        ("an administrator's SSH", Scene::new(Responder).ssh(), typed(&PAUSES, 36, 36, &OUTPUTS)),
        ("a person in the container who uses Telnet", Scene::new(Originator), telnet.to_vec()),
        ("a container that listens for shells of others", Scene::new(Responder), listener.to_vec()),
        ("FTP with a slow server", Scene::new(Originator).app(&FTP), ftp.to_vec()),
        ("an FTP server's data connection", Scene::new(Originator), listing.to_vec()),
        ("mail with command output in it", Scene::new(Originator).app(&SMTP), mail.to_vec()),
        ("messages to an MQTT subscriber", Scene::new(Originator).app(&MQTT), polls),
        ("memcached, typed", Scene::new(Responder), memcached.to_vec()),
        ("English with verbs of the shell in it", Scene::new(Originator), words.to_vec()),
    ] {
        let findings = scene.play(&script).end();
        assert!(
            is_silent(&findings),
            "{case}: {:?} {:?}",
            worst(&findings),
            findings.last().map(|(_, finding)| &finding.evidence)
        );
    }
}

#[test]
fn a_server_is_driven_by_nature() {
    let mut script = Vec::new();
    for index in 0..24 {
        script.extend([c(PAUSES[index % 8], P, 30 + index * 7 % 40), c(60, C, OUTPUTS[index % 8])]);
    }
    let findings = Scene::new(Side::Responder).play(&script).end();
    assert_eq!(worst(&findings), Some(("shell.bind", Severity::Low)));
    let finding = &findings[0].1;
    assert!(finding.title.contains("may drive"), "{}", finding.title);
    assert!(finding.against[0].starts_with("Servers"), "{:?}", finding.against);
}

/// Short questions and short answers are no keystrokes, however many: nobody types one every two
/// seconds, and nobody types whole words at once.
#[test]
fn questions_of_a_field_bus_are_no_keystrokes() {
    let mut script = Vec::new();
    for index in 0..40_usize {
        let pause = [2_343, 310, 852, 5_297, 1_004, 2_280, 440, 8_959, 1_616, 647][index % 10];
        script.extend([c(pause, P, 12), c(20, C, 12 + index * 7 % 20)]);
    }
    let findings = Scene::new(Side::Originator).play(&script).end();
    assert!(findings.iter().all(|(_, finding)| finding.evidence["keystrokes_echoed"] == 0));
    assert!(worst(&findings).is_none_or(|(_, severity)| severity <= Severity::Medium));
}

/// Of a connection older than the capture neither name nor protocol can be missing.
#[test]
fn what_lies_before_the_capture_is_not_odd() {
    for (midstream, expected) in [(false, Severity::High), (true, Severity::Medium)] {
        let mut scene = Scene::new(Side::Originator);
        scene.flow.midstream = midstream;
        let findings = scene.play(&lines(&PAUSES, 8, &OUTPUTS)).end();
        assert_eq!(worst(&findings).unwrap().1, expected, "midstream: {midstream}");
        let said = findings[0].1.against.iter().any(|line| line.contains("older than the capture"));
        assert_eq!(said, midstream);
    }
    let mut ssh = Scene::new(Side::Responder);
    ssh.flow.midstream = true;
    ssh.flow.responder.port = 22;
    assert!(is_silent(&ssh.play(&typed(&PAUSES, 36, 36, &OUTPUTS)).end()), "ssh to the container");
}
