//! A buffer that fills and empties, and what is told of it.

use super::*;

const MS: u64 = 1_000_000;
const BUFFER: u32 = 1 << 20;

fn shed(bulk_cut_share: f64, bulk_drop_share: f64) -> Shed {
    let settings = Settings { bulk_cut_share, bulk_drop_share, ..Settings::default() };
    Shed::new(&settings, BUFFER)
}

/// Reads frames of 10 000 bytes that were all stamped before `now`, then comes to the buffer's end.
fn read(shed: &mut Shed, now: u64, frames: usize) -> Stage {
    let mut highest = shed.stage();
    for _ in 0..frames {
        let (at, now) = (Timestamp::from_nanos(now - 1), Timestamp::from_nanos(now));
        shed.note(at, 10_000, || now);
        highest = highest.max(shed.stage());
    }
    shed.silence();
    highest
}

#[test]
fn what_lay_in_the_buffer_decides() {
    let mut shed = shed(0.5, 0.75);
    let mut now = 100_000 * MS;
    for _ in 0..100 {
        now += MS;
        assert_eq!(read(&mut shed, now, 40), Stage::Whole, "four tenths of the buffer each time");
    }
    now += MS;
    assert_eq!(read(&mut shed, now, 90), Stage::Cut, "the first measure never drops");
    now += MS;
    assert_eq!(read(&mut shed, now, 60), Stage::Cut);
    now += MS;
    assert_eq!(read(&mut shed, now, 90), Stage::Drop, "full although bulk is cut");
    for _ in 0..19 {
        now += 100 * MS;
        assert_eq!(read(&mut shed, now, 10), Stage::Drop, "held");
    }
    now += 200 * MS;
    read(&mut shed, now, 10);
    assert_eq!(shed.stage(), Stage::Cut);
    now += 100 * MS;
    read(&mut shed, now, 10);
    assert_eq!(shed.stage(), Stage::Whole, "for as long it was not half as full as cutting takes");
}

#[test]
fn a_busy_interface_that_is_read_in_time_is_no_load() {
    let mut shed = shed(0.5, 0.75);
    let mut now = 100_000 * MS;
    // A hundred buffers full, without one silence: each frame is read a millisecond after it came.
    for _ in 0..10_000 {
        now += MS / 10;
        shed.note(Timestamp::from_nanos(now - MS), 10_000, || Timestamp::from_nanos(now));
        assert_eq!(shed.stage(), Stage::Whole);
    }
}

#[test]
fn a_stage_that_has_to_begin_again_is_held_longer() {
    let mut shed = shed(0.5, 1.0);
    let mut now = 100_000 * MS;
    let mut held = Vec::new();
    for _ in 0..4 {
        read(&mut shed, now, 90);
        let begin = now;
        while shed.stage() == Stage::Cut {
            now += 100 * MS;
            read(&mut shed, now, 1);
        }
        held.push((now - begin) / (1_000 * MS));
        now += 100 * MS;
    }
    assert_eq!(held, [2, 4, 8, 16]);
}

#[test]
fn shares_at_the_ends_mean_always_and_never() {
    let mut always = shed(0.0, 1.0);
    assert_eq!(read(&mut always, 1_000 * MS, 2), Stage::Cut);
    for round in 0..10 {
        read(&mut always, (2_000 + 10_000 * round) * MS, 1_000);
        assert_eq!(always.stage(), Stage::Cut);
    }
    let mut never = shed(1.0, 0.0);
    assert_eq!(read(&mut never, 1_000 * MS, 1_000), Stage::Whole);
}

/// An Ethernet frame with IPv4 and TCP.
fn tcp(flags: u8, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 54];
    bytes[12] = 8;
    bytes[14] = 0x45;
    bytes[23] = 6;
    bytes[34..36].copy_from_slice(&ports[0].to_be_bytes());
    bytes[36..38].copy_from_slice(&ports[1].to_be_bytes());
    bytes[46] = 0x50;
    bytes[47] = flags;
    bytes.extend(payload);
    bytes
}

#[test]
fn starts_ends_dns_and_handshakes_are_no_bulk() {
    let data = vec![b'x'; 1_400];
    let hello = [&TLS_HANDSHAKE[..], &data].concat();
    for (case, bytes, bulk) in [
        ("the middle of a transfer", tcp(0x18, [40_000, 443], &data), true),
        ("a small message", tcp(0x18, [40_000, 443], &data[..900]), false),
        ("with a SYN", tcp(0x02, [40_000, 443], &data), false),
        ("with a FIN", tcp(0x19, [40_000, 443], &data), false),
        ("with a RST", tcp(0x14, [40_000, 443], &data), false),
        ("DNS", tcp(0x18, [53, 40_000], &data), false),
        ("a TLS handshake", tcp(0x18, [443, 40_000], &hello), false),
    ] {
        let frame = Frame {
            at: Timestamp::default(),
            link_type: LinkType::Ethernet,
            wire_bytes: bytes.len() as u32,
            bytes: &bytes,
        };
        assert_eq!(bulk_at(&frame, 1_000).is_some(), bulk, "{case}");
        let mut shed = shed(0.5, 0.75);
        shed.stage = Stage::Cut;
        let (kept, fate) = shed.judge(frame);
        assert_eq!((fate == Fate::Cut, kept.bytes.len() == 174), (bulk, bulk), "{case}");
        assert_eq!(kept.wire_bytes, frame.wire_bytes, "volumes hold: {case}");
    }
}
