//! Conversations told by their words alone: question and answer by turns, the peer asks.

use super::*;

/// Findings of medium severity or more after each answer, and at the end.
fn asked(side: Side, gap_ms: u64, dialogue: &[(&'static str, &'static str)]) -> Option<usize> {
    let mut scene = Scene::new(side);
    let mut found = None;
    for (place, (question, answer)) in dialogue.iter().enumerate() {
        scene.say(gap_ms, P, What::Text(question));
        if !answer.is_empty() {
            scene.say(10, C, What::Text(answer));
        }
        if found.is_none() && !is_silent(&scene.findings) {
            found = Some(place);
        }
    }
    scene.say(3_000, P, What::Text("bye\n"));
    if !is_silent(&scene.end()) { found.or(Some(dialogue.len())) } else { None }
}

#[test]
fn the_third_distinct_command_is_enough_whatever_is_answered() {
    for answers in [
        ["/app\n", "a\nb\nc\n", "hello world\n"],
        ["alpha\n", "bravo\n", "config\n"],
        ["orders\n", "token\n", "views\n"],
        ["celery\n", "build\n", "dump\n"],
    ] {
        let commands = ["pwd\n", "ls\n", "cat /app/a\n"];
        let dialogue: Vec<_> = commands.into_iter().zip(answers).collect();
        // The next question shows the last answer's form.
        let found = asked(Side::Originator, 1_500, &dialogue);
        assert!(found.is_some_and(|place| place >= 2), "{answers:?}: {found:?}");
    }
}

#[test]
fn everyday_commands_of_intruders_are_known() {
    for (case, dialogue) in [
        (
            "databases",
            &[
                ("mysqldump -u root shop users\n", "-- MySQL dump 10.13\nCREATE TABLE users\n"),
                ("mysql -e \"show tables\"\n", "Tables_in_shop\nusers\n"),
                ("redis-cli keys \"*\"\n", "1) \"a\"\n"),
            ][..],
        ),
        (
            "containers",
            &[
                ("crictl ps\n", "CONTAINER   IMAGE\nabc nginx\n"),
                ("docker run -v /:/host alpine ls /host\n", "bin\netc\n"),
                ("nsenter -t 1 -m sh\n", ""),
                ("fdisk -l\n", "Disk /dev/sda: 20 GiB\n"),
            ],
        ),
        (
            "clouds and interpreters",
            &[
                ("gcloud auth list\n", "ACCOUNT\nbob@x.example\n"),
                ("node -e \"console.log(1)\"\n", "1\n"),
                ("php -v\n", "PHP 8.2.7 (cli)\n"),
            ],
        ),
        (
            "who is here, and loops",
            &[
                ("uptime\n", "19:07:03 up 9:36, 0 user\n"),
                ("who\n", ""),
                ("w\n", "USER     TTY      FROM\n"),
                ("for i in /home/*; do echo $i; done\n", "/home/cloudsdk\n"),
                ("date\n", "Tue Nov 24 19:07:24 UTC 2026\n"),
            ],
        ),
        (
            "tests and archives",
            &[
                ("for f in $(ls /etc/*.conf); do echo $f; done\n", "/etc/adduser.conf\n"),
                ("[ -f /.dockerenv ] && echo yes\n", "yes\n"),
                ("tar cz /etc/ssh 2>/dev/null | base64 -w0 | head -c 200\n", "H4sIAAAA\n"),
            ],
        ),
    ] {
        assert!(asked(Side::Originator, 1_500, dialogue).is_some(), "{case}");
    }
    let load =
        [("w;uptime;who\n", " 19:02:02 up  9:31,  0 user,  load average: 1.44, 1.07, 1.09\n")];
    assert_eq!(asked(Side::Originator, 1_500, &load), Some(0));
}

#[test]
fn further_lines_of_two_verbs_add_up() {
    let dialogue = [
        ("ls\n", "app.py\nconfig.yml\nsrc\n"),
        ("cat app.py\n", "import flask\n"),
        ("cat db.py\n", "import psycopg2\n"),
        ("cat config.yml\n", "db:\n  host: db\n"),
        ("cat notes.txt\n", "remember the milk\n"),
        ("cat Makefile\n", "all:\n\tpython app.py\n"),
    ];
    assert_eq!(asked(Side::Originator, 300, &dialogue), Some(4));
    // The same two lines again and again, or always the same form: a service of two verbs.
    let same = [("ls\n", "one\n"), ("cat a.txt\n", "two\n"), ("ls\n", "three\n")];
    assert_eq!(asked(Side::Originator, 300, &same.repeat(8)), None);
    let service: Vec<_> = ["ls /a\n", "stat /a\n", "ls /b\n", "ls /c\n", "stat /c\n", "ls /d\n"]
        .into_iter()
        .map(|line| (line, "OK 7\n"))
        .collect();
    assert_eq!(asked(Side::Originator, 300, &service), None);
    // One verb is a protocol, whatever it is answered with.
    let lookups = [
        ("ip 192.0.2.1\n", "Berlin\n"),
        ("ip 192.0.2.2\n", "Paris\n"),
        ("ip 192.0.2.3\n", "Rome\n"),
        ("ip 192.0.2.4\n", "Oslo\n"),
        ("ip 192.0.2.5\n", "Bern\n"),
        ("ip 192.0.2.6\n", "Lima\n"),
    ];
    assert_eq!(asked(Side::Originator, 300, &lookups), None);
}

#[test]
fn consoles_of_other_programs_are_no_shells() {
    let consoles: [(&str, &[(&str, &str)]); 9] = [
        (
            "redis, typed",
            &[
                ("ping\n", "+PONG\n"),
                ("set a b\n", "+OK\n"),
                ("get a\n", "$1\nb\n"),
                ("type a\n", "+string\n"),
                ("sort list\n", "*0\n"),
                ("echo hi\n", "$2\nhi\n"),
                ("keys *\n", "*1\n$1\na\n"),
                ("exit\n", "+OK\n"),
            ],
        ),
        (
            "ZooKeeper's words",
            &[
                ("ruok\n", "imok"),
                ("stat\n", "Zookeeper version: 3.9\nClients:\n"),
                ("mntr\n", "zk_version\t3.9\n"),
                ("conf\n", "clientPort=2181\n"),
                ("kill\n", "bye\n"),
                ("dump\n", "SessionTracker dump:\n"),
            ],
        ),
        (
            "HAProxy",
            &[
                ("show info\n", "Name: HAProxy\n"),
                ("help\n", "The following commands are valid\n"),
                ("clear counters all\n", "\n"),
                ("show stat\n", "# pxname,svname\n"),
                ("set server be/s1 state drain\n", "\n"),
                ("test\n", "Unknown command.\n"),
            ],
        ),
        (
            "Varnish",
            &[
                ("ping\n", "200 19      \nPONG 1 1.0\n"),
                ("status\n", "200 22      \nChild in state running\n"),
                ("vcl.list\n", "200 30      \nactive auto warm boot\n"),
                ("help\n", "200 80      \nhelp [command]\n"),
            ],
        ),
        (
            "a debugger",
            &[
                ("break main\n", "Breakpoint 1 at 0x1139\n"),
                ("if $x == 1\n", ">\n"),
                ("while 1\n", ">\n"),
                ("info registers\n", "rax 0x0 0\n"),
                ("kill\n", "[Inferior 1 killed]\n"),
                ("help\n", "List of classes of commands:\n"),
            ],
        ),
        (
            "SQL",
            &[
                ("select 1;\n", "?column?\n"),
                ("set x to 1;\n", "SET\n"),
                ("if exists t;\n", "ERROR 42601\n"),
                ("show tables;\n", "t\n"),
            ],
        ),
        (
            "FTP, typed",
            &[
                ("user bob\n", "331 Password\n"),
                ("pwd\n", "257 \"/\"\n"),
                ("stat\n", "211-Status\n"),
                ("help\n", "214-Commands\n"),
                ("type i\n", "200 Type set\n"),
            ],
        ),
        (
            "IRC",
            &[
                ("PING :irc.example\n", "PONG :irc.example\n"),
                (":a!b@c PRIVMSG #x :ls -la please\n", "PRIVMSG #x :no\n"),
                (":a!b@c PRIVMSG #x :w;uptime\n", "PRIVMSG #x :why\n"),
            ],
        ),
        (
            "engineers who chat",
            &[
                ("mysql is down\n", "since when?\n"),
                ("docker keeps crashing on me\n", "logs?\n"),
                ("which git branch was it again\n", "main\n"),
                ("for you, at least\n", "thanks :)\n"),
                ("if you restart node it works\n", "node 18 or node 20?\n"),
                ("who was on call last night\n", "me\n"),
                ("last one: is psql my problem\n", "it is\n"),
                ("date for the release?\n", "friday\n"),
                ("test passed\n", "great\n"),
                ("find me a reviewer\n", "bob\n"),
            ],
        ),
    ];
    for (case, dialogue) in consoles {
        for side in [Side::Originator, Side::Responder] {
            assert_eq!(asked(side, 2_100, dialogue), None, "{case}, {side:?}");
        }
    }
}

/// Says that a handshake's bytes pass, and that they are taken for this protocol.
fn disguised(app: &'static Protocol, rounds: usize) -> Scene {
    let mut scene = Scene::new(Side::Originator).app(app);
    if app.name == "tls" {
        let (version, established) = (0x0304, rounds > 1);
        let tls = TlsFacts { version, established, ..TlsFacts::default() };
        scene.flow.facts.tls = Some(Box::new(tls));
    }
    for _ in 0..rounds {
        scene.say(40, C, What::Cipher(148));
        scene.say(40, P, What::Cipher(1_400));
    }
    scene
}

#[test]
fn text_after_a_false_handshake_is_read() {
    let root = "uid=0(root) gid=0(root) groups=0(root)\n";
    for (app, rounds) in [(&TLS, 1), (&TLS, 3), (&SSH, 1), (&SSH, 3)] {
        let case = format!("{} after {rounds} rounds", app.name);
        let mut scene = disguised(app, rounds);
        scene.say(3_000, P, What::Text("id\n"));
        scene.say(20, C, What::Text(root));
        assert_eq!(scene.findings.len(), 1, "{case}");
        assert_eq!(scene.findings[0].1.rule.id, "shell.reverse.plaintext", "{case}");
        // Behind real ciphertext, in a flow whose rhythm is watched already.
        let mut scene = disguised(app, rounds);
        for bytes in [200, 90, 140] {
            scene.say(3_000, P, What::Cipher(60));
            scene.say(20, C, What::Cipher(bytes));
        }
        scene.say(3_000, P, What::Text("cat /etc/passwd\n"));
        scene.say(20, C, What::Text("root:x:0:0:root:/root:/bin/bash\n"));
        assert_eq!(worst(&scene.findings).unwrap().0, "shell.reverse.plaintext", "{case}");
    }
    // Found false by the parser while its first command passes.
    let mut scene = disguised(&TLS, 1);
    scene.say(3_000, P, What::Text("whoami\n"));
    scene.flow.app = None;
    let tls = scene.flow.facts.tls.clone().unwrap();
    scene.emit(&Event::Fact(Fact::TlsHandshake(&tls)));
    scene.say(20, C, What::Text("www-data\n"));
    scene.say(2_000, P, What::Text("ls -la /\n"));
    scene.say(20, C, What::Text("total 8\ndrwxr-xr-x 2 root root 4096 Nov 24 10:00 bin\n"));
    assert_eq!(worst(&scene.findings), Some(("shell.reverse.plaintext", Severity::High)));
}

#[test]
fn ciphertext_that_begins_like_a_command_is_no_text() {
    for app in [&TLS, &SSH] {
        let mut scene = disguised(app, 3);
        for _ in 0..40 {
            scene.say(900, P, What::Text("w|\u{a7}\u{e9}\u{203a}$(\u{b5}x\n"));
            scene.say(20, C, What::Text("uid=0(root) gid=0(root)\n"));
        }
        assert!(
            scene.findings.iter().all(|(_, finding)| finding.rule.id != "shell.reverse.plaintext")
        );
    }
}

/// Each command on a connection of its own, so long after the last one.
fn one_each(side: Side, gap_ms: u64, dialogue: &[(&'static str, &'static str)]) -> Scene {
    let mut scene = Scene::new(side);
    for (id, (question, answer)) in dialogue.iter().enumerate() {
        scene.flow.id = id as u64 + 1;
        scene.flow.originator.port = 40_000 + id as u16;
        scene.flow.sides = [SideCounters::default(); 2];
        scene.turns = Turns::new();
        scene.say(gap_ms, P, What::Text(question));
        scene.say(20, C, What::Text(answer));
        if let Some(turn) = scene.turns.close() {
            let totals = scene.flow.sides.map(|side| side.payload_bytes);
            scene.emit(&Event::Turn { turn, totals });
        }
        scene.emit(&Event::FlowClosed(FlowEnd::Closed));
    }
    scene
}

#[test]
fn a_shell_may_take_each_command_on_a_connection_of_its_own() {
    let dialogue = [
        ("pwd\n", "/app\n"),
        ("ls\n", "a\nb\n"),
        ("hostname\n", "web-0\n"),
        ("cat a.txt\n", "hello\n"),
        ("env\n", "A=1\nB=2\n"),
    ];
    let scene = one_each(Side::Originator, 5_000, &dialogue);
    assert_eq!(worst(&scene.findings), Some(("shell.reverse.plaintext", Severity::Medium)));
    let why = &scene.findings[0].1.why;
    assert!(why.contains("sent 3 shell commands (first answered: pwd) on 3 connections"), "{why}");
    // Long after one another, from outside, or always the same: no shell.
    assert!(is_silent(&one_each(Side::Originator, 700_000, &dialogue).findings));
    assert!(is_silent(&one_each(Side::Responder, 5_000, &dialogue).findings));
    let polls = [("ls /jobs\n", "job 1\n"), ("stat /jobs\n", "job 2\n"), ("ls /jobs\n", "job 3\n")];
    assert!(is_silent(&one_each(Side::Originator, 5_000, &polls.repeat(9)).findings));
}

/// The next begins to be read while the one before it has not ended.
#[test]
fn connections_that_overlap_are_all_counted() {
    let mut scene = Scene::new(Side::Originator);
    let end = |scene: &mut Scene, id| {
        let flow = scene.flow.id;
        scene.flow.id = id;
        scene.emit(&Event::FlowClosed(FlowEnd::Closed));
        scene.flow.id = flow;
    };
    for id in 1..=8 {
        scene.flow.id = id;
        scene.flow.sides = [SideCounters::default(); 2];
        scene.turns = Turns::new();
        scene.say(1_000, P, What::Text("id\n"));
        scene.say(20, C, What::Text("uid=33(www-data) gid=33(www-data) groups=33(www-data)\n"));
        scene.say(500, P, What::Text("ls -la /\n"));
        scene.say(20, C, What::Text("total 8\ndrwxr-xr-x 2 root root 4096 Nov 24 10:00 bin\n"));
        if id > 1 {
            end(&mut scene, id - 1);
        }
    }
    let why = &scene.findings.last().unwrap().1.why;
    assert!(why.contains("sent 16 shell commands (first answered: id) on 8 connections"), "{why}");
}

#[test]
fn what_is_remembered_of_ended_connections_is_bounded() {
    let mut scene = Scene::new(Side::Originator);
    for port in 1..=200 {
        scene.flow.id = u64::from(port);
        scene.flow.responder.port = port;
        scene.turns = Turns::new();
        scene.say(1_000, P, What::Text("ls\n"));
        scene.say(20, C, What::Text("app\n"));
        scene.emit(&Event::FlowClosed(FlowEnd::Closed));
    }
    assert_eq!(scene.detector.told.len(), TOLD_MAX);
    assert!(size_of::<Told>() <= 256, "{}", size_of::<Told>());
}
