//! What flows are, by what they say: each protocol, shells that are none, and shells that pretend.

use super::Session;
use super::testing::{C, S, Said, byte_by_byte, first_byte_alone, learn};

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 64, "{} bytes", size_of::<Session>());
}

/// Each flow is what it is, however it is cut into segments.
fn check(port: u16, rows: &[(&str, &str, &[Said<'_>])]) {
    for (case, expected, said) in rows {
        let learnt = learn(true, port, said);
        assert_eq!(learnt.app, *expected, "{case}: {:?}", learnt.facts);
        let in_bytes = learn(true, port, &byte_by_byte(said));
        assert_eq!(in_bytes, learnt, "{case}, byte by byte");
        let split = learn(true, port, &first_byte_alone(said));
        assert_eq!(split, learnt, "{case}, the first byte alone");
    }
}

/// Rows of `u8` strings that are easier to read in hexadecimal.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

const KEXINIT: &[u8] = b"\0\0\x01\x04\x05\x14";

#[test]
fn http_is_followed() {
    check(8080, &[
        ("a request and its response", "http", &[
            (C, b"GET / HTTP/1.1\r\nHost: a.example:80\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            (C, b"GET /b HTTP/1.1\r\n\r\n"),
        ]),
        ("a request longer than what is probed", "http", &[
            (C, format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "a".repeat(600)).as_bytes()),
            (S, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ]),
        ("chunks both ways, then another request", "http", &[
            (C, b"POST /u HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            (S, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"),
            (S, b"\r\n2;x=y\r\nok\r\n0\r\nTrailer: a\r\n\r\n"),
            (C, b"HEAD /b HTTP/1.1\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
            (C, b"GET /c HTTP/1.1\r\n\r\n"),
            (S, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        ]),
        ("a proxy's tunnel to something unknown", "failed", &[
            (C, b"CONNECT a.example:9 HTTP/1.1\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\n\r\n"),
            (S, b"id\n"),
            (C, b"uid=0(root) gid=0(root)\n"),
        ]),
        ("a proxy's tunnel to ssh", "ssh", &[
            (C, b"CONNECT a.example:22 HTTP/1.1\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\n\r\n"),
            (S, b"SSH-2.0-a\r\n\0\0\x01\x04\x05\x14"),
            (C, b"SSH-2.0-b\r\n\0\0\x01\x04\x05\x14"),
        ]),
        ("WebSocket after an upgrade", "websocket", &[
            (C, b"GET /w HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\n"),
            (S, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"),
            (C, b"\x81\x82abcd\x01\x02\x82\xfe\x00\x02abcd\x01\x02"),
        ]),
        ("a shell after an upgrade", "failed", &[
            (C, b"GET /w HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
            (S, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\nid\n"),
            (C, b"uid=0(root)\n"),
        ]),
        ("a raw stream after an upgrade to one", "failed", &[
            (C, b"POST /exec HTTP/1.1\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n"),
            (S, b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n"),
            (C, b"ls\n"),
        ]),
        ("HTTP/2 by its preface", "http2", &[(C, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")]),
        ("gRPC in it", "grpc", &[
            (C, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x0d\x01\x04\0\0\0\x01"),
            (C, b"\x5f\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64"),
        ]),
    ]);
}

#[test]
fn the_first_request_is_the_flows() {
    let learnt = learn(
        true,
        80,
        &[
            (C, b"GET /a?b HTTP/1.1\r\nHost: WWW.Example.COM.:80\r\nUser-Agent: x/1\r\n\r\n"),
            (S, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
            (C, b"GET /c HTTP/1.1\r\nHost: other.example\r\n\r\n"),
            (S, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
    );
    let request = "HttpRequest(HttpFacts { method: \"GET\", path: \"/a?b\", \
                   host: Some(\"www.example.com\"), user_agent: Some(\"x/1\"), upgrade: None, \
                   status: 0 })";
    let response =
        request.replace("HttpRequest", "HttpResponse").replace("status: 0", "status: 404");
    assert_eq!(learnt.facts, [request, &response]);
}

/// A shell is never taken for a protocol, whoever speaks first.
#[test]
fn shells_are_no_protocol() {
    for line in [
        &b"id\n"[..],
        b"ls\n",
        b"ls -la\n",
        b"whoami\r\n",
        b"pwd\n",
        b"w\n",
        b"uname -a\n",
        b"cat /etc/passwd\n",
        b"get /etc/passwd\n",
        b"set\n",
        b"stats\n",
        b"version\n",
        b"get x\n",
        b"help\n",
        b"NICK\n",
        b"\n",
        b"$ ",
        b"# ",
        b"/ # ",
        b"sh-5.1$ ",
        b"bash-5.1# ",
        b"root@web-0:/# ",
        b"\x1b[?2004hroot@web-0:/# ",
        b"\x1b]0;root@web-0: /\x07root@web-0:/# ",
        b"PS C:\\Users\\a> ",
        b"Microsoft Windows [Version 10.0.19045.2965]\r\n(c) Microsoft Corporation.\r\n",
        b"C:\\Windows\\system32>",
        b"uid=0(root) gid=0(root) groups=0(root)\n",
        b"Linux web-0 6.1.0-18-amd64 #1 SMP x86_64 GNU/Linux\n",
        b"sh: 0: can't access tty; job control turned off\n# ",
        b"bash: cannot set terminal process group (1): Inappropriate ioctl for device\n",
        b"total 64\ndrwxr-xr-x 1 root root 4096 Mar  1 12:00 .\n",
        b"-rw-r--r-- 1 root root 0 Mar  1 12:00 a\n",
        b"+ id\nuid=0(root)\n",
        b"* one\n",
        b"Connection received\n",
        b"<html>\n",
        b"{\"cmd\":\"id\"}\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"OK\n",
        b"EHLO\n",
        b"220\n",
        b"PING\n",
        b"q",
        b"i",
    ] {
        for from in [C, S] {
            for port in [4444, 53, 443, 25, 6379, 11211, 80, 21] {
                let line_text = String::from_utf8_lossy(line);
                let other: &[u8] = b"uid=0(root) gid=0(root) groups=0(root)\nls: cannot access\n";
                let learnt = learn(true, port, &[(from, line), (from.other(), other)]);
                // A server may break off unasked with a status line; the client has not spoken then.
                assert_eq!(learnt.app, "failed", "{line_text:?} from {from:?} on {port}");
            }
        }
    }
}

/// A false greeting does not make a shell a protocol once the exchange goes on.
#[test]
fn false_greetings_are_found_out() {
    let shell: &[Said<'_>] = &[
        (S, b"id\n"),
        (C, b"uid=0(root) gid=0(root) groups=0(root)\n"),
        (S, b"ls /\n"),
        (C, b"bin\nboot\ndev\netc\n"),
    ];
    for (case, greeting) in [
        ("SMTP's", &[(S, &b"220 x\r\n"[..])][..]),
        ("SMTP's, answered", &[(S, b"220 mail ESMTP\r\n"), (C, b"EHLO x\r\n"), (S, b"250 x\r\n")]),
        ("FTP's, answered", &[(S, b"220 x\r\n"), (C, b"USER a\r\n"), (S, b"331 y\r\n")]),
        ("POP3's, answered", &[(S, b"+OK x\r\n"), (C, b"USER a\r\n"), (S, b"+OK\r\n")]),
        ("IMAP's, answered", &[(S, b"* OK x\r\n"), (C, b"a LOGIN b c\r\n"), (S, b"a OK d\r\n")]),
        ("IRC's, answered", &[(C, b"NICK a\r\nUSER a b c :d\r\n"), (S, b":x 001 a :hello\r\n")]),
        ("Redis's", &[(C, b"*1\r\n$4\r\nPING\r\n"), (S, b"+PONG\r\n")]),
        ("SSH's", &[(S, b"SSH-2.0-x\r\n"), (C, b"SSH-2.0-y\r\n")]),
        ("HTTP's, from the wrong side", &[(C, b"HTTP/1.1 200 OK\r\n\r\n")]),
        ("HTTP's request", &[(C, b"GET / HTTP/1.1\r\n\r\n")]),
        (
            "HTTP's, answered without end",
            &[(C, b"GET / HTTP/1.1\r\n\r\n"), (S, b"HTTP/1.1 200 OK\r\n\r\n")],
        ),
        (
            "HTTP's, answered with an end",
            &[(C, b"GET / HTTP/1.1\r\n\r\n"), (S, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")],
        ),
        ("syslog's", &[(C, b"<13>Mar  1 12:00:00 host app: hello, this is a message\n")]),
        ("memcached's request", &[(C, b"get x\r\n")]),
        ("Telnet's", &[(S, b"\xff\xfd\x18")]),
        ("NATS's", &[(S, b"INFO {\"server_id\":\"x\"}\r\n")]),
    ] {
        let said: Vec<_> = greeting.iter().chain(shell).copied().collect();
        assert_eq!(learn(true, 4444, &said).app, "failed", "{case}");
        assert_eq!(learn(true, 4444, &byte_by_byte(&said)).app, "failed", "{case}, byte by byte");
    }
}

#[test]
fn mail_and_other_dialogues() {
    check(2525, &[
        ("SMTP to the message", "smtp", &[
            (S, b"220-mail.example ESMTP\r\n220 ready\r\n"),
            (C, b"EHLO a.example\r\n"),
            (S, b"250-mail.example\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"),
            (C, b"AUTH LOGIN\r\n"),
            (S, b"334 VXNlcm5hbWU6\r\n"),
            (C, b"YQ==\r\n"),
            (S, b"235 ok\r\n"),
            (C, b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n"),
            (S, b"250 ok\r\n250 ok\r\n354 go on\r\n"),
            (C, b"Subject: x\r\n\r\nid\r\n.\r\n"),
            (S, b"250 queued\r\n"),
        ]),
        ("FTP with a reply of many lines", "ftp", &[
            (S, b"220 (vsFTPd 3.0.5)\r\n"),
            (C, b"USER anonymous\r\n"),
            (S, b"331 Please specify the password.\r\n"),
            (C, b"PASS x\r\nFEAT\r\nPASV\r\n"),
            (S, b"230 ok\r\n211-Features:\r\n EPRT\r\n EPSV\r\n211 End\r\n227 (1,2,3,4,5,6)\r\n"),
        ]),
        ("POP3", "pop3", &[
            (S, b"+OK ready\r\n"),
            (C, b"CAPA\r\n"),
            (S, b"+OK\r\nSTLS\r\nUIDL\r\n.\r\n"),
            (C, b"USER a\r\n"),
            (S, b"-ERR no\r\n"),
        ]),
        ("IMAP", "imap", &[
            (S, b"* OK [CAPABILITY IMAP4rev1] ready\r\n"),
            (C, b"a1 CAPABILITY\r\n"),
            (S, b"* CAPABILITY IMAP4rev1\r\na1 OK done\r\n"),
            (C, b"a2 IDLE\r\n"),
            (S, b"+ idling\r\n* 3 EXISTS\r\n"),
            (C, b"DONE\r\n"),
            (S, b"a2 OK\r\n"),
        ]),
        ("IRC", "irc", &[
            (C, b"CAP LS 302\r\nNICK a\r\nUSER a 0 * :a\r\n"),
            (S, b":irc.example NOTICE * :*** Looking up\r\nPING :123\r\n"),
            (C, b"PONG :123\r\nJOIN #a\r\n"),
            (S, b":irc.example 001 a :Welcome\r\n:b!b@h PRIVMSG #a :hi\r\n"),
        ]),
        ("ssh", "ssh", &[
            (S, b"SSH-2.0-OpenSSH_9.2p1\r\n"),
            (C, b"SSH-2.0-OpenSSH_9.2\r\n"),
            (C, KEXINIT),
            (S, KEXINIT),
        ]),
        ("XMPP", "xmpp", &[
            (C, b"<?xml version='1.0'?><stream:stream to='a' xmlns='jabber:client'>"),
            (S, b"<?xml version='1.0'?><stream:stream from='a'>"),
        ]),
    ]);
}

#[test]
fn stores_and_queues() {
    let mysql = hex("4a000000 0a 382e302e333600 0b000000 1234567812345678 00 fff7 21 0200 ff81 15");
    let pgsql = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0shop\0\0";
    let mongo_msg =
        hex("25000000 01000000 00000000 dd070000 00000000 00 10000000 1068656c6c6f000100000000");
    let mongo_query = [
        &hex("3a000000 01000000 00000000 d4070000 00000000")[..],
        b"admin.$cmd\0\0\0\0\0\xff\xff\xff\xff\x13\0\0\0\x10isMaster\0\x01\0\0\0\0",
    ]
    .concat();
    let kafka = b"\0\0\0\x13\0\x12\0\x03\0\0\0\x07\0\x05admin\0\0\0\0\0";
    check(9999, &[
        ("Redis", "redis", &[
            (C, b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*1\r\n$4\r\nPING\r\n"),
            (S, b"+OK\r\n+PONG\r\n"),
            (C, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"),
            (S, b"$5\r\na\nb\nc\r\n:3\r\n*2\r\n$1\r\na\r\n$-1\r\n"),
        ]),
        ("Redis inline", "redis", &[(C, b"PING\r\n"), (S, b"+PONG\r\n")]),
        ("MySQL", "mysql", &[(S, &mysql)]),
        ("PostgreSQL", "pgsql", &[(C, pgsql)]),
        ("PostgreSQL that asks for TLS", "pgsql", &[(C, b"\0\0\0\x08\x04\xd2\x16\x2f"), (S, b"N")]),
        ("MongoDB", "mongodb", &[(C, &mongo_msg)]),
        ("an old MongoDB", "mongodb", &[(C, &mongo_query)]),
        ("Kafka", "kafka", &[(C, kafka), (S, b"\0\0\0\x0a\0\0\0\x07\0\0\0\0\0\0")]),
        ("Kafka's request with another's answer", "failed", &[
            (C, kafka),
            (S, b"\0\0\0\x0a\0\0\0\x08\0\0\0\0\0\0"),
        ]),
        ("memcached", "memcached", &[(C, b"get a\r\n"), (S, b"VALUE a 0 1\r\nx\r\nEND\r\n")]),
        ("AMQP 0-9-1", "amqp", &[(C, b"AMQP\0\0\x09\x01"), (S, b"\x01\0\0\0\0\x01\xfb\0\x0a\0\x0a")]),
        ("MQTT", "mqtt", &[(C, b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd"), (S, b"\x20\x02\0\0")]),
        ("NATS", "nats", &[
            (S, b"INFO {\"server_id\":\"N\",\"version\":\"2\"}\r\n"),
            (C, b"CONNECT {\"verbose\":false}\r\nPING\r\n"),
        ]),
        ("ZooKeeper", "zookeeper", &[
            (C, &hex("0000002d 00000000 0000000000000000 00007530 0000000000000000 00000010 00000000")),
        ]),
        ("Cassandra", "cassandra", &[
            (C, b"\x04\0\0\0\x05\0\0\0\0"),
            (S, b"\x84\0\0\0\x06\0\0\0\x02\0\0"),
        ]),
        ("Fluentd", "fluent", &[(C, b"\x93\xa8app.logs\xdc\x00\x10")]),
        ("Ceph", "ceph", &[(S, b"ceph v2\n\0\0"), (C, b"ceph v2\n\0\0")]),
        ("LDAP bind", "ldap", &[(C, &hex("300c 020101 6007 020103 0400 8000"))]),
        ("LDAP over TLS to come", "ldap", &[
            (C, b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"),
        ]),
        ("SQL Server", "tds", &[
            (C, &hex("1201 002f 0000 0100 00 001a 0006 01 0020 0001 02 0021 0001 03 0022 0004 04")),
        ]),
        ("BGP", "bgp", &[(C, &[&[0xff; 16][..], b"\0\x1d\x01\x04\xfd\xe8\0\xb4"].concat())]),
        ("rsync", "rsync", &[(S, b"@RSYNCD: 31.0\n"), (C, b"@RSYNCD: 31.0\n")]),
        ("git", "git", &[(C, b"0033git-upload-pack /a.git\0host=a.example\0")]),
        ("a miner", "stratum", &[
            (C, b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"x/1\"]}\n"),
        ]),
        ("a miner of another kind", "stratum", &[
            (C, b"{\"id\":1,\"method\":\"login\",\"params\":{\"login\":\"4a\",\"pass\":\"x\",\"agent\":\"y\"}}\n"),
        ]),
        ("VNC", "rfb", &[(S, b"RFB 003.008\n"), (C, b"RFB 003.008\n")]),
        ("RDP", "rdp", &[(C, &hex("0300 0013 0e e0 0000 0000 00 01 00 0800 03000000"))]),
        ("SMB", "smb", &[(C, b"\0\0\0\xb8\xfeSMB\x40\0")]),
        ("Telnet", "telnet", &[(S, b"\xff\xfd\x18\xff\xfd\x20"), (C, b"\xff\xfb\x18")]),
        ("NFS", "nfs", &[(C, &hex("80000028 0000abcd 00000000 00000002 000186a3 00000004"))]),
        ("syslog", "syslog", &[(C, b"<34>1 2026-03-01T12:00:00Z host app - - - hello\n")]),
        ("Graphite", "graphite", &[(C, b"app.cpu 31512 1795529489\napp.mem 2.5 1795529489\n")]),
        ("SIP", "sip", &[(C, b"REGISTER sip:a.example SIP/2.0\r\nVia: x\r\n\r\n")]),
        ("RTSP", "rtsp", &[(C, b"OPTIONS rtsp://a.example/x RTSP/1.0\r\nCSeq: 1\r\n\r\n")]),
        ("X11", "x11", &[(C, b"l\0\x0b\0\0\0\0\0\0\0\0\0"), (S, b"\x01\0\x0b\0\0\0")]),
        ("BitTorrent", "bittorrent", &[(C, b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0")]),
    ]);
}

#[test]
fn what_is_relayed_is_probed_afresh() {
    let ssh = [&b"SSH-2.0-a\r\n"[..], KEXINIT].concat();
    check(
        1080,
        &[
            (
                "SOCKS 5 with ssh in it",
                "ssh",
                &[
                    (C, b"\x05\x02\0\x02"),
                    (S, b"\x05\x02"),
                    (C, b"\x01\x01a\x01b"),
                    (S, b"\x01\0"),
                    (C, b"\x05\x01\0\x03\x09a.example\0\x16"),
                    (S, b"\x05\0\0\x01\0\0\0\0\0\0"),
                    (S, &ssh),
                    (C, &ssh),
                ],
            ),
            (
                "SOCKS 4 with a shell in it",
                "failed",
                &[
                    (C, b"\x04\x01\x11\x5c\xc0\0\x02\x01a\0"),
                    (S, b"\0\x5a\0\0\0\0\0\0"),
                    (S, b"id\n"),
                ],
            ),
            (
                "SOCKS 4a that is refused",
                "socks",
                &[(C, b"\x04\x01\x11\x5c\0\0\0\x01a\0a.example\0"), (S, b"\0\x5b\0\0\0\0\0\0")],
            ),
        ],
    );
}

#[test]
fn datagrams_are_named() {
    let ntp = [&b"\x23\0\x06\xec"[..], &[0; 44]].concat();
    let mut quic = hex("c3 00000001 08 0102030405060708 00 00 449e");
    quic.resize(1_200, 0x5a);
    let mut dhcp = hex("01010600 12345678");
    dhcp.resize(236, 0);
    dhcp.extend([99, 130, 83, 99, 53, 1, 1]);
    let mut wireguard = hex("01000000 5a5a5a5a");
    wireguard.resize(148, 0x77);
    let netbios =
        [&hex("1234 0010 0001 0000 0000 0000 20")[..], &[b'C'; 32], &hex("00 0021 0001")].concat();
    for (case, port, bytes, expected) in [
        ("NTP", 123, &ntp[..], "ntp"),
        ("NTP on another port", 10_123, &ntp, "ntp"),
        ("QUIC", 443, &quic, "quic"),
        ("a short first datagram of QUIC is none", 443, &quic[..600], "failed"),
        ("DHCP", 67, &dhcp, "dhcp"),
        ("WireGuard", 51_820, &wireguard, "wireguard"),
        ("StatsD", 8125, b"app.requests:1|c|@0.1|#env:prod\napp.time:12.5|ms", "statsd"),
        ("syslog", 514, b"<34>Mar  1 12:00:00 host app: hello", "syslog"),
        ("STUN", 3478, &hex("0001 0000 2112a442 0102030405060708090a0b0c"), "stun"),
        (
            "SNMP",
            161,
            &hex(
                "3026 020101 0406 7075626c6963 a019 020411223344 020100 020100 300b 3009 06052b06010201 0500",
            ),
            "snmp",
        ),
        ("SSDP", 1900, b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n", "ssdp"),
        ("NetBIOS names", 137, &netbios, "nbns"),
        ("OpenVPN", 1194, &hex("38 0102030405060708 00 00000000"), "openvpn"),
        (
            "DTLS",
            4433,
            &hex("16 fefd 0000 000000000000 0010 01 000004 0000 000000 000004 fefd0000"),
            "dtls",
        ),
        ("a shell's line", 4444, b"id\n", "failed"),
        ("random bytes", 53, &hex("8f3a91c2d45e6f708192a3b4c5d6e7f8"), "failed"),
    ] {
        assert_eq!(learn(false, port, &[(C, bytes)]).app, expected, "{case}");
    }
}

mod any_bytes {
    //! Whatever is said, and however it is cut: no panic, and the same facts.

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::testing::{C, S, client_hello, learn, record, server_hello};
    use crate::event::Side;

    /// Flows to begin with. Each is changed at some places before it is said.
    fn flows() -> Vec<Vec<(Side, Vec<u8>)>> {
        let said = |rows: &[(Side, &[u8])]| -> Vec<(Side, Vec<u8>)> {
            rows.iter().map(|(from, bytes)| (*from, bytes.to_vec())).collect()
        };
        let dns = b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
        vec![
            said(&[
                (C, &record(22, &client_hello("a.example", true, &[]))),
                (S, &[record(22, &server_hello(true, &[])), record(23, &[1; 80])].concat()),
                (C, &[record(20, &[1]), record(23, &[1; 60])].concat()),
            ]),
            said(&[
                (C, b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n"),
                (S, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            ]),
            said(&[
                (C, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
                (S, b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"),
                (C, b"\x81\x81abcd\x01"),
            ]),
            said(&[(C, dns), (S, dns), (C, dns)]),
            said(&[
                (S, b"220 x ESMTP\r\n"),
                (C, b"EHLO a\r\n"),
                (S, b"250-x\r\n250 STARTTLS\r\n"),
                (C, &record(22, &client_hello("a.example", false, &[3; 32]))),
            ]),
            said(&[
                (C, b"\x05\x01\0"),
                (S, b"\x05\0"),
                (C, b"\x05\x01\0\x01\x01\x02\x03\x04\0\x50"),
                (S, b"\x05\0\0\x01\0\0\0\0\0\0"),
                (C, b"GET / HTTP/1.0\r\n\r\n"),
            ]),
            said(&[(C, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), (S, b"$2\r\nhi\r\n")]),
            said(&[(S, b"SSH-2.0-a\r\n\0\0\0\x20\x04\x14"), (C, b"SSH-2.0-b\r\n\0\0\0\x20\x04\x14")]),
        ]
    }

    /// Cuts what is said into segments of the given lengths, again and again.
    fn cut<'a>(said: &'a [(Side, Vec<u8>)], lengths: &[usize]) -> Vec<(Side, &'a [u8])> {
        let mut lengths = lengths.iter().copied().cycle();
        let mut segments = Vec::new();
        for (from, bytes) in said {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let length = lengths.next().unwrap_or(1).clamp(1, rest.len());
                segments.push((*from, &rest[..length]));
                rest = &rest[length..];
            }
        }
        segments
    }

    fn whole(said: &[(Side, Vec<u8>)]) -> Vec<(Side, &[u8])> {
        said.iter().map(|(from, bytes)| (*from, bytes.as_slice())).collect()
    }

    fn side() -> impl Strategy<Value = Side> {
        prop_oneof![Just(C), Just(S)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn changed_flows_are_the_same_however_cut(
            flow in 0..8usize,
            changes in vec((any::<u16>(), any::<u8>()), 0..4),
            lengths in vec(1..40usize, 1..12),
            port in prop_oneof![Just(53u16), Just(443), Just(4444)],
        ) {
            let mut said = flows().swap_remove(flow);
            for (place, byte) in changes {
                let total: usize = said.iter().map(|(_, bytes)| bytes.len()).sum();
                let mut place = usize::from(place) % total;
                for (_, bytes) in &mut said {
                    if place < bytes.len() {
                        bytes[place] = byte;
                        break;
                    }
                    place -= bytes.len();
                }
            }
            prop_assert_eq!(learn(true, port, &cut(&said, &lengths)), learn(true, port, &whole(&said)));
        }

        #[test]
        fn any_bytes_are_the_same_however_cut(
            said in vec((side(), vec(any::<u8>(), 1..200)), 1..6),
            lengths in vec(1..40usize, 1..12),
            port in any::<u16>(),
        ) {
            prop_assert_eq!(learn(true, port, &cut(&said, &lengths)), learn(true, port, &whole(&said)));
        }

        #[test]
        fn any_lines_are_the_same_however_cut(
            said in vec((side(), "[ -~\r\n]{1,80}\n"), 1..8),
            lengths in vec(1..40usize, 1..12),
            port in any::<u16>(),
        ) {
            let said: Vec<_> =
                said.into_iter().map(|(from, text)| (from, text.into_bytes())).collect();
            prop_assert_eq!(learn(true, port, &cut(&said, &lengths)), learn(true, port, &whole(&said)));
        }

        #[test]
        fn any_datagrams_are_survived(
            said in vec((side(), vec(any::<u8>(), 0..300)), 1..6),
            port in prop_oneof![Just(53u16), Just(123), Just(5353), any::<u16>()],
        ) {
            learn(false, port, &whole(&said));
        }
    }
}
