//! Packets of one kind, made for counting what each costs.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use etherparse::PacketBuilder;
use vethwatch::config::Config;
use vethwatch::container::Named;
use vethwatch::decode::{Frame, LinkType};
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch::record::{Output, Record, RecordKind};
use vethwatch::time::Timestamp;

const POD: [u8; 4] = [10, 244, 1, 7];
const OUTSIDE: [u8; 4] = [203, 0, 113, 9];
const RESOLVER: [u8; 4] = [10, 96, 0, 10];

/// Takes findings and nothing else.
pub struct Findings(pub u64);

impl Output for Findings {
    fn wants(&self, kind: RecordKind) -> bool {
        kind == RecordKind::Alert
    }

    fn record(&mut self, _record: &Record<'_>) {
        self.0 += 1;
    }
}

/// An engine that knows its container, so that no survey holds frames back.
pub fn engine() -> Engine {
    engine_of(POD)
}

/// An engine that knows this container alone.
pub fn engine_of(address: [u8; 4]) -> Engine {
    let mut config = Config::default();
    config.containers.named = vec![Named {
        name: "web".into(),
        addresses: vec![address.into()],
        namespace: None,
        pod: None,
        pod_uid: None,
        owner: None,
        image: None,
    }];
    Engine::new(&config).unwrap()
}

/// Frames with their times in nanoseconds, laid end to end.
#[derive(Default)]
pub struct Traffic {
    bytes: Vec<u8>,
    frames: Vec<(u64, usize)>,
    now: u64,
}

/// Makes `n` rounds of one kind of traffic.
pub type Maker = fn(&mut Traffic, u32);

/// Kinds of packets that the benchmark and the allocation test know.
pub const KINDS: &[(&str, Maker)] = &[
    ("tcp bulk, 1448 bytes", |traffic, n| traffic.bulk(n)),
    ("tcp request and answer", |traffic, n| traffic.exchange(n)),
    ("tcp keystrokes with echo", |traffic, n| traffic.keystrokes(n)),
    ("udp datagrams both ways", |traffic, n| traffic.datagrams(n)),
    ("dns query and answer", |traffic, n| traffic.dns(n)),
    ("icmp echo", |traffic, n| traffic.echo(n)),
    ("tcp flow of 10 packets", |traffic, n| traffic.flows(n)),
    ("tcp syn, unanswered", |traffic, n| traffic.syns(n)),
];

impl Traffic {
    /// What flows of each kind need before they are known.
    pub fn opening(kind: &str) -> Self {
        let mut traffic = Self { now: 1_780_000_000_000_000_000, ..Self::default() };
        match kind {
            "tcp bulk, 1448 bytes" | "tcp request and answer" | "tcp keystrokes with echo" => {
                traffic.tcp(true, 40_000, 1_000, 0, 2, b"");
                traffic.tcp(false, 40_000, 9_000, 1_001, 0x12, b"");
                traffic.tcp(true, 40_000, 1_001, 9_001, 0x10, b"");
            }
            _ => {}
        }
        traffic
    }

    /// A download of `n` packets. (An upload to an unknown host would be a finding.)
    fn bulk(&mut self, n: u32) {
        let payload = [0x5a; 1_448];
        for number in 0..n {
            self.now += 12_000;
            self.tcp(false, 40_000, 9_001 + number * 1_448, 1_001, 0x10, &payload);
        }
    }

    fn exchange(&mut self, n: u32) {
        for number in 0..n / 2 {
            self.now += 900_000;
            let (sent, received) = (1_001 + number * 40, 9_001 + number * 60);
            self.tcp(true, 40_000, sent, received, 0x18, &[1; 40]);
            self.now += 300_000;
            self.tcp(false, 40_000, received, sent + 40, 0x18, &[2; 60]);
        }
    }

    fn keystrokes(&mut self, n: u32) {
        for number in 0..n / 2 {
            self.now += 250_000_000;
            let (sent, received) = (1_001 + number, 9_001 + number);
            self.tcp(true, 40_000, sent, received, 0x18, b"x");
            self.now += 20_000_000;
            self.tcp(false, 40_000, received, sent + 1, 0x18, b"x");
        }
    }

    fn datagrams(&mut self, n: u32) {
        for number in 0..n {
            self.now += 1_000_000;
            self.udp(number % 2 == 0, 41_000, OUTSIDE, 5_000, &[0xf3; 180]);
        }
    }

    fn dns(&mut self, n: u32) {
        let question = b"\x03api\x04shop\x07example\0\0\x01\0\x01";
        for number in 0..n / 2 {
            self.now += 2_000_000;
            let id = (number as u16).to_be_bytes();
            let mut query = [&id[..], b"\x01\0\0\x01\0\0\0\0\0\0", question].concat();
            self.udp(true, 42_000, RESOLVER, 53, &query);
            query[2..4].copy_from_slice(b"\x81\x80");
            query[7] = 1;
            query.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x09");
            self.now += 500_000;
            self.udp(false, 42_000, RESOLVER, 53, &query);
        }
    }

    fn echo(&mut self, n: u32) {
        for number in 0..n {
            self.now += 10_000_000;
            let (from, to) = if number % 2 == 0 { (POD, OUTSIDE) } else { (OUTSIDE, POD) };
            let packet = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from, to, 64);
            let packet = if number % 2 == 0 {
                packet.icmpv4_echo_request(7, number as u16)
            } else {
                packet.icmpv4_echo_reply(7, number as u16)
            };
            let start = self.bytes.len();
            packet.write(&mut self.bytes, &[0x61; 56]).unwrap();
            self.frames.push((self.now, self.bytes.len() - start));
        }
    }

    fn flows(&mut self, n: u32) {
        for number in 0..n / 10 {
            let port = 1_024 + (number % 64_000) as u16;
            self.now += 1_000_000;
            self.tcp(true, port, 1_000, 0, 2, b"");
            self.tcp(false, port, 9_000, 1_001, 0x12, b"");
            self.tcp(true, port, 1_001, 9_001, 0x10, b"");
            self.tcp(true, port, 1_001, 9_001, 0x18, b"\0\x01\x02\x03");
            self.tcp(false, port, 9_001, 1_005, 0x10, b"");
            self.tcp(false, port, 9_001, 1_005, 0x18, &[1; 8]);
            self.tcp(true, port, 1_005, 9_009, 0x10, b"");
            self.tcp(true, port, 1_005, 9_009, 0x11, b"");
            self.tcp(false, port, 9_009, 1_006, 0x11, b"");
            self.tcp(true, port, 1_006, 9_010, 0x10, b"");
        }
    }

    fn syns(&mut self, n: u32) {
        for number in 0..n {
            self.now += 1_000_000;
            self.tcp(true, 1_024 + (number % 64_000) as u16, number, 0, 2, b"");
        }
    }

    fn tcp(&mut self, out: bool, port: u16, sequence: u32, ack: u32, flags: u8, payload: &[u8]) {
        let (from, to) = if out { (POD, OUTSIDE) } else { (OUTSIDE, POD) };
        let (source, destination) = if out { (port, 443) } else { (443, port) };
        let mut header = etherparse::TcpHeader::new(source, destination, sequence, 64_240);
        header.acknowledgment_number = ack;
        header.fin = flags & 1 != 0;
        header.syn = flags & 2 != 0;
        header.psh = flags & 8 != 0;
        header.ack = flags & 16 != 0;
        let start = self.bytes.len();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(from, to, 64)
            .tcp_header(header)
            .write(&mut self.bytes, payload)
            .unwrap();
        self.frames.push((self.now, self.bytes.len() - start));
    }

    fn udp(&mut self, out: bool, port: u16, peer: [u8; 4], peer_port: u16, payload: &[u8]) {
        let (from, to) = if out { (POD, peer) } else { (peer, POD) };
        let (source, destination) = if out { (port, peer_port) } else { (peer_port, port) };
        let start = self.bytes.len();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(from, to, 64)
            .udp(source, destination)
            .write(&mut self.bytes, payload)
            .unwrap();
        self.frames.push((self.now, self.bytes.len() - start));
    }

    /// Packets (count).
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Gives the packets from number `first` on to an engine.
    pub fn feed(&self, engine: &mut Engine, first: usize, output: &mut dyn Output) {
        self.feed_range(engine, first..self.len(), output);
    }

    /// Gives some packets to an engine.
    pub fn feed_range(
        &self,
        engine: &mut Engine,
        range: std::ops::Range<usize>,
        output: &mut dyn Output,
    ) {
        let mut start = self.frames[..range.start].iter().map(|(_, length)| length).sum();
        for (at, length) in &self.frames[range] {
            let bytes = &self.bytes[start..start + length];
            start += length;
            let frame = Frame {
                at: Timestamp::from_nanos(*at),
                link_type: LinkType::Ethernet,
                wire_bytes: *length as u32,
                bytes,
            };
            step(engine, frame, output);
        }
    }
}

/// Gives one packet to an engine. Never inlined: instructions are counted by its name.
#[inline(never)]
fn step(engine: &mut Engine, frame: Frame<'_>, output: &mut dyn Output) {
    engine.handle(Input::Frame { link: LinkId(0), frame }, output);
}
