//! Conversations written out as scripts: who says what after which pause, over which channel.

mod places;
mod words;

use std::net::IpAddr;

use super::*;
use crate::baseline::{self, Baseline, Destinations};
use crate::container::{Attribution, Container, ContainerIdentity, Names};
use crate::detect::Finding;
use crate::event::{Endpoint, FlowEnd, LinkId, Manner, Protocol, SshFacts, TlsFacts, Zone};
use crate::flow::turns::Turns;
use crate::flow::{Flow, History, SideCounters, State, TcpEnding};

static TLS: Protocol = Protocol { name: "tls", manner: Manner::Carrier };
static SSH: Protocol = Protocol { name: "ssh", manner: Manner::Carrier };
static WEBSOCKET: Protocol = Protocol { name: "websocket", manner: Manner::Carrier };
static HTTP: Protocol = Protocol { name: "http", manner: Manner::RequestResponse };
static FTP: Protocol = Protocol { name: "ftp", manner: Manner::Interactive };
static SMTP: Protocol = Protocol { name: "smtp", manner: Manner::RequestResponse };
static MQTT: Protocol = Protocol { name: "mqtt", manner: Manner::Push };

/// Who speaks, seen from the container.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    /// The container.
    C,
    /// Its peer.
    P,
}
use Who::{C, P};

/// What is said: text, or so many bytes of a cipher.
#[derive(Clone, Debug)]
enum What {
    Text(&'static str),
    Cipher(usize),
}

type Line = (u64, Who, What);

fn t(after_ms: u64, who: Who, text: &'static str) -> Line {
    (after_ms, who, What::Text(text))
}

fn c(after_ms: u64, who: Who, bytes: usize) -> Line {
    (after_ms, who, What::Cipher(bytes))
}

/// One flow of one container, and the detector that hears of it.
struct Scene {
    detector: ReverseShell,
    flow: Flow,
    container: Container,
    node: Baseline,
    side: Side,
    turns: Turns,
    now_ms: u64,
    /// Segments are cut to so many bytes.
    cut: usize,
    findings: Vec<(u64, Finding)>,
    /// Rules of the findings that were closed.
    closed: Vec<&'static str>,
}

impl Scene {
    fn new(side: Side) -> Self {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = Endpoint { ip: ip("10.244.1.7"), port: 41_022 };
        let peer = Endpoint { ip: ip("203.0.113.9"), port: 1_234 };
        let (originator, responder) = match side {
            Side::Originator => (own, peer),
            Side::Responder => (peer, own),
        };
        let mut zones = [Zone::Cluster; 2];
        zones[side.other().index()] = Zone::External;
        let at = Timestamp::from_nanos(1_000_000_000_000);
        Self {
            detector: ReverseShell::new(&Settings::default()),
            flow: Flow {
                id: 1,
                originator,
                responder,
                protocol: IpProtocol::TCP,
                vlan: 0,
                tunnel: None,
                icmp: None,
                link: LinkId(0),
                opened: at,
                last: at,
                state: State::Established,
                ending: TcpEnding::None,
                sides: [SideCounters::default(); 2],
                history: History::default(),
                midstream: false,
                direction_inferred: false,
                app: None,
                outer: None,
                app_unknown: false,
                facts: None,
                name: None,
                containers: [Some(0), None],
                zones,
            },
            container: Container {
                number: 0,
                identity: ContainerIdentity {
                    id: "a".into(),
                    name: None,
                    image: None,
                    ip: own.ip,
                    attribution: Attribution::Configured,
                    kubernetes: None,
                },
                addresses: vec![own.ip],
                link: None,
                first_seen: at,
                last_seen: at,
                flows: [0; 2],
                ip_bytes: [0; 2],
                names: Names::new(4),
                destinations: Destinations::new(4),
            },
            node: Baseline::new(&baseline::Settings::default()),
            side,
            turns: Turns::new(),
            now_ms: 1_000_000,
            cut: usize::MAX,
            findings: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn app(mut self, app: &'static Protocol) -> Self {
        self.flow.app = Some(app);
        self
    }

    /// A TLS connection after its handshake; `name` is its SNI.
    fn tls(mut self, name: Option<&str>) -> Self {
        self.flow.app = Some(&TLS);
        self.flow.responder.port = 443;
        self.flow.name = name.map(Into::into);
        self.flow.facts_mut().tls = Some(Box::new(TlsFacts {
            sni: name.map(Into::into),
            established: true,
            ..TlsFacts::default()
        }));
        for (who, bytes) in [(C, 500), (P, 2_500), (C, 80), (P, 500)] {
            self.say(40, who, What::Cipher(bytes));
        }
        self
    }

    fn ssh(mut self) -> Self {
        self.flow.app = Some(&SSH);
        self.flow.responder.port = 22;
        self.flow.facts_mut().ssh = Some(Box::new(SshFacts::default()));
        for bytes in [40, 1_500, 1_200, 60, 140, 300] {
            self.say(50, C, What::Cipher(bytes));
            self.say(50, P, What::Cipher(bytes));
        }
        self
    }

    fn emit(&mut self, event: &Event<'_>) {
        let mut verdicts = Vec::new();
        let at = Timestamp::from_nanos(self.now_ms * 1_000_000);
        let Self { detector, flow, container, node, side, .. } = self;
        let allow = &();
        let seen = Seen { at, side: *side, flow, container, node, allow };
        detector.observe(&seen, event, &mut verdicts);
        for verdict in verdicts {
            match verdict {
                Verdict::Raise(finding) => self.findings.push((self.now_ms, *finding)),
                Verdict::Pause { .. } => {}
                Verdict::Close { rule, .. } => self.closed.push(rule.id),
            }
        }
    }

    fn say(&mut self, after_ms: u64, who: Who, what: What) {
        self.now_ms += after_ms;
        let from = if who == C { self.side } else { self.side.other() };
        let bytes = match what {
            What::Text(text) => text.as_bytes().to_vec(),
            What::Cipher(length) => (0..length).map(|index| 0x80 | (index * 37) as u8).collect(),
        };
        for piece in bytes.chunks(self.cut) {
            let at = Timestamp::from_nanos(self.now_ms * 1_000_000);
            self.flow.last = at;
            let sent = &mut self.flow.sides[from.index()].payload_bytes;
            let offset = *sent;
            *sent += piece.len() as u64;
            let (ended, place) = self.turns.speak(at, from, piece.len() as u64);
            if let Some(turn) = ended {
                let mut totals = self.flow.sides.map(|side| side.payload_bytes);
                totals[from.index()] = offset;
                self.emit(&Event::Turn { turn, totals });
            }
            self.emit(&Event::Data { from, offset, bytes: piece, turn_head: place == Some(0) });
        }
    }

    fn play(mut self, script: &[Line]) -> Self {
        for (after_ms, who, what) in script {
            self.say(*after_ms, *who, what.clone());
        }
        self
    }

    fn end(mut self) -> Vec<(u64, Finding)> {
        if let Some(turn) = self.turns.close() {
            let totals = self.flow.sides.map(|side| side.payload_bytes);
            self.emit(&Event::Turn { turn, totals });
        }
        self.emit(&Event::FlowClosed(FlowEnd::Closed));
        self.findings
    }
}

fn worst(findings: &[(u64, Finding)]) -> Option<(&'static str, Severity)> {
    findings
        .iter()
        .max_by_key(|(_, finding)| finding.severity)
        .map(|(_, finding)| (finding.rule.id, finding.severity))
}

fn is_silent(findings: &[(u64, Finding)]) -> bool {
    worst(findings).is_none_or(|(_, severity)| severity < Severity::Medium)
}

const PROMPT: &str = "root@web-0:/# ";

/// Keys of a typist, each echoed, then the output.
fn typed(pauses_ms: &[u64], key: usize, echo: usize, outputs: &[usize]) -> Vec<Line> {
    let mut script = Vec::new();
    for (pause, output) in pauses_ms.iter().zip(outputs) {
        for index in 0..6 {
            let gap = if index == 0 { *pause } else { 90 + 35 * (index % 4) };
            script.push(c(gap, P, key));
            script.push(c(2, C, if index == 5 { *output } else { echo }));
        }
    }
    script
}

const PAUSES: [u64; 8] = [4_000, 2_500, 7_000, 3_200, 1_400, 9_000, 2_100, 5_500];
const OUTPUTS: [usize; 8] = [150, 1_500, 90, 400, 2_400, 120, 60, 900];

/// Whole lines and their output, over a channel that adds `overhead` bytes.
fn lines(pauses_ms: &[u64], overhead: usize, outputs: &[usize]) -> Vec<Line> {
    let sizes = [3, 12, 7, 18, 5, 27, 16, 9];
    let mut script = Vec::new();
    for ((pause, output), size) in pauses_ms.iter().zip(outputs).zip(sizes) {
        script.push(c(*pause, P, size + overhead));
        script.push(c(4, C, output + overhead));
    }
    script
}

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
    assert!(size_of::<Text>() <= 640, "{}", size_of::<Text>());
}
