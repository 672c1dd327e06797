//! Fragments in every order, and in no order at all.

use super::super::{Decoder, Frame, LinkType, Transport};
use super::*;
use crate::event::IpProtocol;

const SECOND: u64 = 1_000_000_000;

/// One fragment of an IPv4 packet: payload from `offset`, in multiples of 8.
fn v4(id: u8, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let place = ((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, id, place[0], place[1], 64, 17, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

/// The same of an IPv6 packet.
fn v6(id: u8, offset: u16, more: bool, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    let place = (offset | u16::from(more)).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], 44, 64];
    for host in [1, 2] {
        packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    packet.extend([next_header, 0, place[0], place[1], 0, 0, 0, id]);
    packet.extend(payload);
    packet
}

/// A datagram from port 1 to port 2 with a payload that counts.
fn datagram(payload_bytes: u16) -> Vec<u8> {
    let length = (payload_bytes + 8).to_be_bytes();
    let mut datagram = vec![0, 1, 0, 2, length[0], length[1], 0, 0];
    datagram.extend((0..payload_bytes).map(|position| position as u8));
    datagram
}

fn raw(at_s: u64, bytes: &[u8]) -> Frame<'_> {
    Frame {
        at: Timestamp::from_nanos(at_s * SECOND),
        link_type: LinkType::RawIp,
        wire_bytes: bytes.len() as u32,
        bytes,
    }
}

/// Payload of the packets that come out of a row of frames, all at one moment.
fn payloads(decoder: &mut Decoder, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    frames
        .iter()
        .filter_map(|bytes| Some(decoder.decode(&raw(0, bytes)).ok()?.payload.to_vec()))
        .collect()
}

#[test]
fn whole_in_any_order() {
    let whole = datagram(100);
    let [a, b, c] = [(0, 40, true), (40, 80, true), (80, 108, false)];
    for (case, order) in [
        ("in order", vec![a, b, c]),
        ("reversed", vec![c, b, a]),
        ("the middle last", vec![a, c, b]),
        ("repeated", vec![a, a, b, b, c]),
        ("overlapping with the same bytes", vec![(0, 48, true), (40, 88, true), c]),
        ("one inside another", vec![(0, 80, true), (16, 32, true), c]),
        ("around what is there", vec![(16, 32, true), (0, 80, true), c]),
        ("touching on both sides", vec![a, c, (8, 96, true)]),
        ("not a multiple of 8: the rest does not count", vec![(0, 43, true), b, c]),
    ] {
        for v6_packets in [false, true] {
            let frames: Vec<_> = order
                .iter()
                .map(|&(start, end, more)| {
                    let part = &whole[start..end];
                    if v6_packets {
                        v6(7, start as u16, more, 17, part)
                    } else {
                        v4(7, start as u16, more, part)
                    }
                })
                .collect();
            let mut decoder = Decoder::default();
            let got = payloads(&mut decoder, &frames);
            assert_eq!(got, [&whole[8..]], "{case}, IPv6: {v6_packets}");
            let counts = decoder.fragments();
            assert_eq!((counts.completed, counts.dropped), (1, 0), "{case}");
            assert_eq!(counts.fragments, frames.len() as u64, "{case}");
        }
    }
}

#[test]
fn first_data_wins() {
    let whole = datagram(100);
    let mut other = whole.clone();
    other[48..80].fill(0xff);
    let frames = [
        v4(7, 0, true, &whole[..64]),
        v4(7, 48, true, &other[48..80]),
        v4(7, 80, false, &whole[80..]),
    ];
    let got = payloads(&mut Decoder::default(), &frames);
    let expected = [&whole[8..64], &other[64..80], &whole[80..]].concat();
    assert_eq!(got, [expected]);
}

#[test]
fn the_packet_made_of_fragments() {
    let whole = datagram(100);
    let mut decoder = Decoder::default();
    assert_eq!(
        decoder.decode(&raw(0, &v6(7, 0, true, 17, &whole[..64]))).map(|_| ()),
        Err(DecodeError::Fragment)
    );
    let last = v6(7, 64, false, 0, &whole[64..]);
    let packet = decoder.decode(&raw(0, &last)).unwrap();
    assert_eq!(packet.transport, Transport::Udp { source: 1, destination: 2 });
    assert_eq!(packet.protocol, IpProtocol::UDP, "the first fragment's next header counts");
    assert_eq!(packet.payload_bytes, 100);
    assert_eq!(packet.ip_bytes, 48 + 64 + 48 + 44, "all IP packets that brought it");
}

#[test]
fn fragments_apart_stay_apart() {
    let whole = datagram(100);
    let (start, end) = (&whole[..64], &whole[64..]);
    let mut other_host = v4(7, 64, false, end);
    other_host[15] = 9;
    let mut other_protocol = v4(7, 64, false, end);
    other_protocol[9] = 6;
    for (case, second) in [
        ("another id", v4(8, 64, false, end)),
        ("another source", other_host),
        ("another protocol", other_protocol),
        ("a hole", v4(7, 72, false, &end[8..])),
    ] {
        let got = payloads(&mut Decoder::default(), &[v4(7, 0, true, start), second]);
        assert_eq!(got, Vec::<Vec<u8>>::new(), "{case}");
    }
}

#[test]
fn what_contradicts_is_dropped() {
    let part = [0; 64];
    for (case, frames, dropped) in [
        ("beyond the longest packet", vec![v4(7, 65_528, true, &part)], 1),
        ("empty", vec![v4(7, 64, true, &[])], 1),
        ("shorter than 8, and not the last", vec![v4(7, 64, true, &[1; 7])], 1),
        ("two ends", vec![v4(7, 64, false, &part), v4(7, 128, false, &part)], 2),
        ("beyond the end", vec![v4(7, 64, false, &part), v4(7, 128, true, &part)], 2),
        ("an end before what is there", vec![v4(7, 128, true, &part), v4(7, 8, false, &part)], 2),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(payloads(&mut decoder, &frames), Vec::<Vec<u8>>::new(), "{case}");
        assert_eq!(decoder.fragments().dropped, dropped, "{case}");
    }
}

/// The snap length cut a fragment: the packet's length is known, and its payload up to the cut.
#[test]
fn cut_fragments_complete() {
    let whole = datagram(100);
    let first = v4(7, 0, true, &whole[..64]);
    let last = v4(7, 64, false, &whole[64..]);
    for (case, first_captured, last_captured, payload) in [
        ("in the first", 20 + 48, 20 + 44, 40),
        ("in the last", 20 + 64, 20 + 30, 86),
        ("in both", 20 + 48, 20 + 30, 40),
        ("in the first one's header", 20 + 4, 20 + 44, 0),
    ] {
        let mut decoder = Decoder::default();
        let first = Frame { bytes: &first[..first_captured], ..raw(0, &first) };
        let last = Frame { bytes: &last[..last_captured], ..raw(0, &last) };
        assert!(decoder.decode(&first).is_err(), "{case}");
        let packet = decoder.decode(&last).unwrap();
        assert_eq!(packet.payload, &whole[8..8 + payload], "{case}");
        assert_eq!(packet.payload_bytes, 100, "{case}");
    }
}

#[test]
fn bounds_hold_and_are_counted() {
    let settings = Settings { fragments_max: 4, fragment_bytes_max: 4096, ..Settings::default() };
    let first = |id: u8, bytes: usize| v4(id, 0, true, &vec![id; bytes]);
    for (case, ids, bytes, held) in [
        ("as many packets as may be", 4, 64, 4),
        ("one packet too many", 5, 64, 4),
        ("bytes run out first", 4, 2048, 2),
        ("one packet has too many bytes", 1, 8192, 0),
    ] {
        let mut decoder = Decoder::new(settings.clone());
        for id in 1..=ids {
            assert!(decoder.decode(&raw(0, &first(id, bytes))).is_err());
            let partials = &decoder.reassembly.partials;
            let capacity: usize =
                partials.by_key.iter().map(|(_, partial)| partial.bytes.capacity()).sum();
            assert_eq!(partials.held_bytes, capacity, "{case}");
            assert!(capacity <= 4096 && partials.by_key.len() <= 4, "{case}");
        }
        assert_eq!(decoder.reassembly.partials.by_key.len(), held, "{case}");
        assert_eq!(decoder.fragments().dropped, u64::from(ids) - held as u64, "{case}");
    }
    // Every second 8 bytes: as many pieces as there are fragments, until that is too many.
    let mut decoder = Decoder::default();
    for index in 0..=PIECES_MAX as u16 {
        assert_eq!(decoder.fragments().dropped, 0);
        assert!(decoder.decode(&raw(0, &v4(1, index * 16, true, &[0; 8]))).is_err());
    }
    assert_eq!(decoder.fragments().dropped, PIECES_MAX as u64 + 1);
    assert_eq!(decoder.reassembly.partials.held_bytes, 0);
}

#[test]
fn late_fragments_find_nothing() {
    let whole = datagram(100);
    let (first, last) = (v4(7, 0, true, &whole[..64]), v4(7, 64, false, &whole[64..]));
    for (case, wait_s, completes) in [("just in time", 30, true), ("too late", 31, false)] {
        let mut decoder = Decoder::default();
        assert!(decoder.decode(&raw(100, &first)).is_err());
        assert_eq!(decoder.decode(&raw(100 + wait_s, &last)).is_ok(), completes, "{case}");
        assert_eq!(decoder.fragments().dropped, u64::from(!completes), "{case}");
    }
    // A clock that steps back drops nothing.
    let mut decoder = Decoder::default();
    assert!(decoder.decode(&raw(100, &first)).is_err());
    assert!(decoder.decode(&raw(5, &last)).is_ok());
}

/// 8192 fragments of 8 bytes: the longest packet there is, in the worst order for joining.
#[test]
fn longest_packet_from_the_smallest_fragments() {
    let mut decoder = Decoder::default();
    for index in (1..8191_u16).rev() {
        assert!(decoder.decode(&raw(0, &v4(1, index * 8, true, &[1; 8]))).is_err());
    }
    assert!(decoder.decode(&raw(0, &v4(1, 65_528, false, &[1; 7]))).is_err());
    let first = v4(1, 0, true, &[0, 1, 0, 2, 0xff, 0xff, 0, 0]);
    let packet = decoder.decode(&raw(0, &first)).unwrap();
    assert_eq!((packet.payload_bytes, packet.payload.len()), (65_527, 65_527));
}

/// VXLAN whose carrier was fragmented, around a packet that is a fragment itself.
#[test]
fn fragments_inside_fragments() {
    let whole = datagram(100);
    let carry = |id: u8, inner: &[u8]| {
        let vxlan = [&[8, 0, 0, 0, 0, 0, 5, 0], &[0; 12][..], &[8, 0], inner].concat();
        let length = (vxlan.len() as u16 + 8).to_be_bytes();
        let udp = [&[0, 1, 0x12, 0xb5, length[0], length[1], 0, 0], &vxlan[..]].concat();
        [v4(id, 0, true, &udp[..64]), v4(id, 64, false, &udp[64..])]
    };
    let frames: Vec<_> =
        [carry(1, &v4(7, 0, true, &whole[..64])), carry(2, &v4(7, 64, false, &whole[64..]))]
            .concat();
    let mut decoder = Decoder::default();
    assert_eq!(payloads(&mut decoder, &frames), [&whole[8..]]);
    let again = payloads(&mut decoder, &frames);
    assert_eq!(again, [&whole[8..]], "nothing of the first is left");
    assert_eq!(decoder.fragments(), FragmentCounts { fragments: 12, completed: 6, dropped: 0 });
}
