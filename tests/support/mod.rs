//! Captures that tests write themselves.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::print_stdout, clippy::unwrap_used, unreachable_pub)]

mod skipped;

use std::io::Write;
use std::path::PathBuf;

pub use skipped::skipped;

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub fn u64(self, value: u64) -> [u8; 8] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

/// The header of a classic pcap file.
pub fn pcap_header(order: Order, nanos: bool, link_type: u32) -> Vec<u8> {
    let magic: u32 = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = Vec::new();
    file.extend(order.u32(magic));
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    file.extend([0; 8]);
    file.extend(order.u32(262_144));
    file.extend(order.u32(link_type));
    file
}

/// A classic pcap file. Each packet: nanoseconds since the epoch, and its bytes.
pub fn pcap_as(order: Order, nanos: bool, link_type: u32, packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = pcap_header(order, nanos, link_type);
    for (at, bytes) in packets {
        let fraction = (at % 1_000_000_000) as u32;
        file.extend(order.u32((at / 1_000_000_000) as u32));
        file.extend(order.u32(if nanos { fraction } else { fraction / 1_000 }));
        file.extend(order.u32(bytes.len() as u32));
        file.extend(order.u32(bytes.len() as u32));
        file.extend(bytes);
    }
    file
}

/// A classic pcap file of Ethernet frames, little endian, nanoseconds.
pub fn pcap(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    pcap_as(Order::Little, true, 1, packets)
}

/// Ethernet frames with a UDP datagram each, `step_ns` apart from `start_ns` on. Payload and port
/// number them from `first` on.
pub fn datagrams(start_ns: u64, step_ns: u64, first: u16, count: u16) -> Vec<(u64, Vec<u8>)> {
    (0..count)
        .map(|number| {
            let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 244, 1, 7], [203, 0, 113, 9], 64)
                .udp(40_000, 1_000 + first + number);
            let mut frame = Vec::new();
            builder.write(&mut frame, format!("number {}", first + number).as_bytes()).unwrap();
            (start_ns + step_ns * u64::from(number), frame)
        })
        .collect()
}

/// Writes pcapng, block by block.
pub struct Pcapng {
    pub order: Order,
    pub bytes: Vec<u8>,
}

impl Pcapng {
    pub fn new(order: Order) -> Self {
        let mut this = Self { order, bytes: Vec::new() };
        this.section();
        this
    }

    pub fn block(&mut self, kind: u32, body: &[u8]) {
        let padding = body.len().wrapping_neg() % 4;
        let length = self.order.u32((12 + body.len() + padding) as u32);
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.extend(vec![0; padding]);
        self.bytes.extend(length);
    }

    pub fn section(&mut self) {
        let order = self.order;
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend(order.u64(u64::MAX));
        self.block(0x0a0d_0d0a, &body);
    }

    /// An interface; `resolution` is the option `if_tsresol`.
    pub fn interface(&mut self, link_type: u16, name: Option<&str>, resolution: Option<u8>) {
        let order = self.order;
        let mut body = order.u16(link_type).to_vec();
        body.extend([0, 0]);
        body.extend(order.u32(262_144));
        let mut option = |code: u16, value: &[u8]| {
            body.extend(order.u16(code));
            body.extend(order.u16(value.len() as u16));
            body.extend(value);
            body.extend(vec![0; value.len().wrapping_neg() % 4]);
        };
        if let Some(name) = name {
            option(2, name.as_bytes());
        }
        if let Some(resolution) = resolution {
            option(9, &[resolution]);
        }
        option(0, &[]);
        self.block(1, &body);
    }

    /// An Enhanced Packet Block; the time is in the interface's units.
    pub fn packet(&mut self, interface: u32, units: u64, bytes: &[u8]) {
        let order = self.order;
        let mut body = order.u32(interface).to_vec();
        body.extend(order.u32((units >> 32) as u32));
        body.extend(order.u32(units as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(bytes);
        self.block(6, &body);
    }

    /// A Simple Packet Block.
    pub fn simple_packet(&mut self, bytes: &[u8]) {
        let mut body = self.order.u32(bytes.len() as u32).to_vec();
        body.extend(bytes);
        self.block(3, &body);
    }

    /// A Packet Block, as tools wrote it before 2004.
    pub fn old_packet(&mut self, interface: u16, units: u64, bytes: &[u8]) {
        let order = self.order;
        let mut body = order.u16(interface).to_vec();
        body.extend([0, 0]);
        body.extend(order.u32((units >> 32) as u32));
        body.extend(order.u32(units as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(order.u32(bytes.len() as u32));
        body.extend(bytes);
        self.block(2, &body);
    }
}

/// Compressed with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compressed with zstd.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// The labelled captures, where they are at hand; else `None`, and a line that says so.
pub fn shared_captures() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/captures"));
    let folder = std::env::var_os("VETHWATCH_CAPTURES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&format!("no captures at {} (set VETHWATCH_CAPTURES)", folder.display()));
    None
}
