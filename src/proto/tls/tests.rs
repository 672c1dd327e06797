//! Handshakes from the first hello to their end, and streams that only begin like one.

use super::{Parser, Sink, Tls};
use crate::event::{Fact, Side};
use crate::proto::testing::{
    C, Learnt, S, byte_by_byte, client_hello, handshake, learn, record, server_hello,
};

/// What is expected of a flow: its protocol, and words of its last fact.
struct Row {
    case: &'static str,
    said: Vec<(Side, Vec<u8>)>,
    app: &'static str,
    last: &'static [&'static str],
}

fn learn_owned(said: &[(Side, Vec<u8>)]) -> (Learnt, Learnt) {
    let said: Vec<_> = said.iter().map(|(from, bytes)| (*from, bytes.as_slice())).collect();
    (learn(true, 4433, &said), learn(true, 4433, &byte_by_byte(&said)))
}

fn changed() -> Vec<u8> {
    record(20, &[1])
}

fn finished() -> Vec<u8> {
    record(22, &[0xee; 40])
}

fn data(bytes: usize) -> Vec<u8> {
    record(23, &vec![0x5a; bytes])
}

#[test]
fn handshakes_are_followed_to_their_end() {
    let hello = |tls13| record(22, &client_hello("Www.Example.com.", tls13, &[5; 32]));
    let retry = {
        let mut retry = server_hello(true, &[]);
        retry[6..38].copy_from_slice(&super::hello::RETRY_REQUEST);
        record(22, &retry)
    };
    let rows = [
        Row {
            case: "TLS 1.3",
            said: vec![
                (C, hello(true)),
                (S, record(22, &server_hello(true, &[5; 32]))),
                (S, [changed(), data(900)].concat()),
                (C, [changed(), data(53)].concat()),
            ],
            app: "tls",
            last: &[
                "TlsHandshake",
                "sni: Some(\"www.example.com\")",
                "version: 772",
                "established: true",
                "resumed: false",
            ],
        },
        Row {
            case: "TLS 1.3 whose client takes offence at the certificate",
            said: vec![
                (C, hello(true)),
                (S, [record(22, &server_hello(true, &[])), changed(), data(900)].concat()),
                (C, [changed(), data(19)].concat()),
            ],
            app: "tls",
            last: &["TlsHandshake", "established: false"],
        },
        Row {
            case: "TLS 1.3 with a second hello",
            said: vec![
                (C, hello(true)),
                (S, [retry, changed()].concat()),
                (C, [changed(), record(22, &client_hello("second.example", true, &[]))].concat()),
                (S, [record(22, &server_hello(true, &[])), data(900)].concat()),
                (C, data(53)),
            ],
            app: "tls",
            last: &["TlsHandshake", "second.example", "established: true"],
        },
        Row {
            case: "TLS 1.2 in messages of one record",
            said: vec![
                (C, hello(false)),
                (S, {
                    let messages = [
                        server_hello(false, &[1; 32]),
                        handshake(11, b"\0\0\0"),
                        handshake(14, b""),
                    ];
                    record(22, &messages.concat())
                }),
                (C, [record(22, &handshake(16, &[4; 66])), changed(), finished()].concat()),
                (S, [changed(), finished()].concat()),
            ],
            app: "tls",
            last: &["version: 771", "cipher: 49199", "alpn: Some(\"h2\")", "established: true"],
        },
        Row {
            case: "TLS 1.2 that resumes by its identifier",
            said: vec![
                (C, hello(false)),
                (S, [record(22, &server_hello(false, &[5; 32])), changed(), finished()].concat()),
                (C, [changed(), finished()].concat()),
            ],
            app: "tls",
            last: &["resumed: true", "established: true"],
        },
        Row {
            case: "a message cut by records",
            said: vec![
                (C, {
                    let hello = client_hello("www.example.com", true, &[]);
                    let (one, two) = hello.split_at(50);
                    [record(22, one), record(22, two)].concat()
                }),
                (S, record(21, b"\x02\x28")),
            ],
            app: "tls",
            last: &["TlsHandshake", "sni: Some(\"www.example.com\")", "established: false"],
        },
        Row {
            case: "only one direction was captured",
            said: vec![(C, [hello(true), changed(), data(53), data(200)].concat())],
            app: "tls",
            last: &["TlsHandshake", "client_version: 772", "version: 0"],
        },
        Row {
            case: "STARTTLS of mail",
            said: vec![
                (S, b"220 mail ESMTP\r\n".to_vec()),
                (C, b"EHLO a\r\n".to_vec()),
                (S, b"250 STARTTLS\r\n".to_vec()),
                (C, b"STARTTLS\r\n".to_vec()),
                (S, b"220 go\r\n".to_vec()),
                (C, hello(true)),
                (S, record(22, &server_hello(true, &[]))),
            ],
            app: "tls",
            last: &["TlsHandshake", "sni: Some(\"www.example.com\")"],
        },
        Row {
            case: "TLS of a database",
            said: vec![
                (C, b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()),
                (S, b"S".to_vec()),
                (C, hello(true)),
                (S, record(22, &server_hello(true, &[]))),
            ],
            app: "tls",
            last: &["TlsHandshake"],
        },
        Row {
            case: "TLS in a proxy's tunnel",
            said: vec![
                (C, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n".to_vec()),
                (S, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
                (C, hello(true)),
                (S, record(22, &server_hello(true, &[]))),
            ],
            app: "tls",
            last: &["TlsHandshake"],
        },
        Row {
            case: "a hello that a shell answers",
            said: vec![(C, hello(true)), (S, b"id\nwhoami\n".to_vec())],
            app: "failed",
            last: &["TlsHandshake", "established: false"],
        },
        Row {
            case: "a hello, and records that no TLS server sends before its own",
            said: vec![(C, hello(true)), (S, data(100))],
            app: "failed",
            last: &["TlsHandshake", "established: false"],
        },
        Row {
            case: "records too short for any cipher",
            said: vec![
                (C, hello(true)),
                (S, record(22, &server_hello(true, &[]))),
                (S, data(2)),
                (C, data(40)),
            ],
            app: "failed",
            last: &["TlsHandshake", "established: false"],
        },
        Row {
            case: "application data without a handshake",
            said: vec![(C, data(100)), (S, data(100))],
            app: "failed",
            last: &[],
        },
        Row {
            case: "a hello of SSL 2 that offers TLS 1.0",
            said: vec![
                (
                    C,
                    [
                        &b"\x80\x22\x01\x03\x01\0\x09\0\0\0\x10\0\0\x39\0\0\x38\0\0\x35"[..],
                        &[8; 16],
                    ]
                    .concat(),
                ),
                (S, record(22, &server_hello(false, &[]))),
            ],
            app: "tls",
            last: &["client_version: 769", "version: 771"],
        },
    ];
    for Row { case, said, app, last } in rows {
        let (whole, in_bytes) = learn_owned(&said);
        assert_eq!(whole.app, app, "{case}: {:?}", whole.facts);
        let fact = whole.facts.last().map_or("", String::as_str);
        for word in last {
            assert!(fact.contains(word), "{case}: {word:?} is not in {fact}");
        }
        assert_eq!(in_bytes, whole, "{case}, byte by byte");
    }
}

#[test]
fn a_stream_picked_up_midway_is_told_by_its_records() {
    use crate::proto::{Session, testing::learn_with};
    let mut session = Session::default();
    session.picked_up_midway();
    let records = [data(100), data(50)].concat();
    assert_eq!(learn_with(session, true, 443, &[(C, &records)]).app, "tls");
}

/// Found by fuzzing: both sides seem to begin a hello of SSL 2, and the first goes on.
#[test]
fn two_hellos_of_ssl_2_are_kept_apart() {
    let (mut dns, mut scratch, settings) = Default::default();
    let fact = &mut |_: Fact<'_>| {};
    let sink = &mut Sink {
        fact,
        dns: &mut dns,
        scratch: &mut scratch,
        settings: &settings,
        dns_text: false,
    };
    let mut tls = Tls::default();
    tls.data(C, b"\x81\0\0\x07\x81\0\0\x01", sink);
    tls.data(S, b"\x81\0\x01\0", sink);
    tls.data(C, &record(22, &[1, 0, 1, 0x9b, 0x81, 0xbe]), sink);
    assert!(!tls.halves[0].lost && tls.client.is_none());
}

/// A message that never ends holds no more than its bound, and ends the parser.
#[test]
fn an_endless_hello_is_given_up() {
    let mut said = vec![(C, record(22, &handshake(1, &[0xff; 16_000])[..12_000]))];
    said[0].1[6] = 1;
    for _ in 0..8 {
        said.push((C, record(22, &[3; 12_000])));
    }
    let (whole, in_bytes) = learn_owned(&said);
    assert_eq!(whole, in_bytes);
    assert!(whole.facts.len() <= 1, "{:?}", whole.facts.len());
}
