//! Frames by hand and by etherparse's builder, one sentence a row.

use etherparse::PacketBuilder;

use super::*;

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];
const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const A6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const B6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// IPv4 with a protocol's bytes as its payload.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0];
    packet.extend(A);
    packet.extend(B);
    packet.extend(payload);
    let length = (packet.len() as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    packet
}

/// IPv6, the same.
fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next_header, 64];
    packet.extend(A6);
    packet.extend(B6);
    packet.extend(payload);
    packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    packet
}

fn udp(destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x12, 0x34];
    datagram.extend(destination.to_be_bytes());
    datagram.extend((payload.len() as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// A segment from port 4660 to 80, with PSH and ACK.
fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut segment =
        vec![0x12, 0x34, 0, 80, 0, 0, 0, 9, 0, 0, 0, 5, 0x50, 0x18, 0x20, 0, 0, 0, 0, 0];
    segment.extend(payload);
    segment
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&MAC_B[..], &MAC_A[..], &kind.to_be_bytes()[..], payload].concat()
}

fn vxlan(vni: u8, inner: &[u8]) -> Vec<u8> {
    [&[0x08, 0, 0, 0, 0, 0, vni, 0], inner].concat()
}

fn frame(link_type: LinkType, bytes: &[u8]) -> Frame<'_> {
    Frame { at: Timestamp::default(), link_type, wire_bytes: bytes.len() as u32, bytes }
}

/// A packet in words: addresses and ports, protocol, payload captured/on the wire, IP bytes, and
/// VLAN and tunnel where there are any.
fn words(result: Result<Packet<'_>, DecodeError>) -> String {
    let packet = match result {
        Ok(packet) => packet,
        Err(error) => return format!("{error:?}"),
    };
    let mut words = format!(
        "{} > {} {} {}/{} of {}",
        packet.from(),
        packet.to(),
        packet.protocol,
        packet.payload.len(),
        packet.payload_bytes,
        packet.ip_bytes
    );
    match packet.transport {
        Transport::Icmp { kind, code, id, sequence } => {
            words += &format!(" {kind}.{code} {id} {sequence}");
        }
        Transport::Other => words += " other",
        _ => {}
    }
    if packet.vlan != 0 {
        words += &format!(" vlan {}", packet.vlan);
    }
    if let Some(tunnel) = packet.tunnel {
        let Tunnel { kind, id, source, destination } = tunnel;
        words += &format!(" in {kind:?} {id} {source} > {destination}");
    }
    words
}

fn decoded(link_type: LinkType, bytes: &[u8]) -> String {
    words(Decoder::default().decode(&frame(link_type, bytes)))
}

#[test]
fn link_layers() {
    let v4 = ipv4(17, &udp(53, b"abc"));
    let v6 = ipv6(17, &udp(53, b"abc"));
    let is_v4 = "10.0.0.1:4660 > 10.0.0.2:53 UDP 3/3 of 31";
    let is_v6 = "[2001:db8::1]:4660 > [2001:db8::2]:53 UDP 3/3 of 51";
    let sll = |kind: u16| [&[0, 0, 0, 1, 0, 6][..], &[0; 8], &kind.to_be_bytes()].concat();
    let sll2 = |kind: u16| [&kind.to_be_bytes()[..], &[0; 18]].concat();
    for (case, link_type, header, packet, expected) in [
        ("Ethernet, IPv4", LinkType::Ethernet, ethernet(0x0800, &[]), &v4, is_v4),
        ("Ethernet, IPv6", LinkType::Ethernet, ethernet(0x86dd, &[]), &v6, is_v6),
        ("cooked, version 1", LinkType::LinuxSll, sll(0x0800), &v4, is_v4),
        ("cooked, version 1, IPv6", LinkType::LinuxSll, sll(0x86dd), &v6, is_v6),
        ("cooked, version 2", LinkType::LinuxSll2, sll2(0x0800), &v4, is_v4),
        ("cooked, version 2, IPv6", LinkType::LinuxSll2, sll2(0x86dd), &v6, is_v6),
        ("raw IPv4", LinkType::RawIp, vec![], &v4, is_v4),
        ("raw IPv6", LinkType::RawIp, vec![], &v6, is_v6),
        ("BSD loopback, little-endian", LinkType::Null, vec![2, 0, 0, 0], &v4, is_v4),
        ("BSD loopback, big-endian", LinkType::Null, vec![0, 0, 0, 2], &v4, is_v4),
        ("BSD loopback, macOS IPv6", LinkType::Null, vec![30, 0, 0, 0], &v6, is_v6),
        ("OpenBSD loopback", LinkType::Loop, vec![0, 0, 0, 24], &v6, is_v6),
        ("loopback of another family", LinkType::Null, vec![7, 0, 0, 0], &v4, "NotIp"),
        ("ARP", LinkType::Ethernet, ethernet(0x0806, &[]), &v4, "NotIp"),
        (
            "IEEE 802.3 with SNAP",
            LinkType::Ethernet,
            ethernet(40, &[0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0]),
            &v4,
            is_v4,
        ),
        ("IEEE 802.3 with LLC", LinkType::Ethernet, ethernet(40, &[6, 6, 3]), &v4, is_v4),
        ("spanning tree", LinkType::Ethernet, ethernet(38, &[0x42, 0x42, 3]), &v4, "NotIp"),
        (
            "SNAP inside SNAP is not followed",
            LinkType::Ethernet,
            ethernet(40, &[0xaa, 0xaa, 3, 0, 0, 0, 0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]),
            &v4,
            "NotIp",
        ),
        ("IPv6 announced as IPv4", LinkType::Ethernet, ethernet(0x0800, &[]), &v6, "BadIp"),
        ("IPv4 announced as IPv6", LinkType::Ethernet, ethernet(0x86dd, &[]), &v4, "NoIp"),
        ("raw, neither version", LinkType::RawIp, vec![0x10], &v4, "NotIp"),
    ] {
        let bytes = [&header[..], &packet[..]].concat();
        assert_eq!(decoded(link_type, &bytes), expected, "{case}");
    }
    for (case, link_type, length) in [
        ("nothing at all", LinkType::Ethernet, 0),
        ("Ethernet, cut", LinkType::Ethernet, 13),
        ("cooked, version 1, cut", LinkType::LinuxSll, 15),
        ("cooked, version 2, cut", LinkType::LinuxSll2, 1),
        ("loopback, cut", LinkType::Null, 3),
    ] {
        assert_eq!(decoded(link_type, &vec![0; length]), "NoLink", "{case}");
    }
    assert_eq!(decoded(LinkType::RawIp, &[]), "NoIp", "no raw packet at all");
}

#[test]
fn link_addresses_are_the_frames_own() {
    let inner = ethernet(0x0800, &ipv4(6, &tcp(b"")));
    let bytes = ethernet(0x0800, &ipv4(17, &udp(4789, &vxlan(5, &inner))));
    let swapped = [&bytes[6..12], &bytes[..6], &bytes[12..]].concat();
    assert_eq!(frame(LinkType::Ethernet, &swapped).link_addresses(), Some((MAC_B, MAC_A)));
    assert_eq!(frame(LinkType::Ethernet, &swapped[..11]).link_addresses(), None);
    let raw = ipv4(6, &tcp(b""));
    assert_eq!(frame(LinkType::RawIp, &raw).link_addresses(), None);
}

#[test]
fn tags_and_labels() {
    let ip = ipv4(6, &tcp(b"hello"));
    let tcp = "10.0.0.1:4660 > 10.0.0.2:80 TCP 5/5 of 45";
    for (case, kind, tags, expected) in [
        ("one VLAN", 0x8100, &[0x60, 42, 8, 0][..], " vlan 42"),
        ("priority bits are no part of the id", 0x8100, &[0xff, 0xff, 8, 0], " vlan 4095"),
        ("a priority tag is no VLAN", 0x8100, &[0x60, 0, 8, 0], ""),
        ("802.1ad: the outer counts", 0x88a8, &[0, 7, 0x81, 0, 0, 9, 8, 0], " vlan 7"),
        ("QinQ as 0x9100", 0x9100, &[0, 7, 0x81, 0, 0, 9, 8, 0], " vlan 7"),
        ("QinQ as 0x8100 twice", 0x8100, &[0, 7, 0x81, 0, 0, 9, 8, 0], " vlan 7"),
        ("a priority tag, then a VLAN", 0x8100, &[0, 0, 0x81, 0, 0, 9, 8, 0], " vlan 9"),
        ("one label", 0x8847, &[0, 1, 1, 64], ""),
        ("three labels", 0x8847, &[0, 1, 0, 64, 0, 2, 0, 64, 0, 3, 1, 64], ""),
        ("labels in a VLAN", 0x8100, &[0, 5, 0x88, 0x47, 0, 1, 1, 64], " vlan 5"),
        ("PPPoE", 0x8864, &[0x11, 0, 0, 1, 0, 47, 0, 0x21], ""),
        ("Cisco VN-Tag", 0x8926, &[0, 1, 0, 2, 8, 0], ""),
        ("802.1BR E-Tag", 0x893f, &[0, 1, 0, 2, 0, 3, 8, 0], ""),
    ] {
        let bytes = ethernet(kind, &[tags, &ip].concat());
        assert_eq!(decoded(LinkType::Ethernet, &bytes), format!("{tcp}{expected}"), "{case}");
        let cut = &bytes[..14 + tags.len() - 1];
        assert_eq!(decoded(LinkType::Ethernet, cut), "NoLink", "{case}, cut");
    }
    let wire = ethernet(0x8847, &[&[0, 1, 1, 64, 0, 0, 0, 0], &ethernet(0x0800, &ip)[..]].concat());
    assert_eq!(decoded(LinkType::Ethernet, &wire), tcp, "Ethernet over MPLS");
    let backbone = ethernet(0x88e7, &[&[0, 0, 1, 2], &ethernet(0x0800, &ip)[..]].concat());
    assert_eq!(decoded(LinkType::Ethernet, &backbone), tcp, "provider backbone bridge");
    let endless = ethernet(0x8100, &[0x81, 0].repeat(400));
    assert_eq!(decoded(LinkType::Ethernet, &endless), "TooDeep", "nothing but tags");
    let endless = ethernet(0x8847, &[0; 400]);
    assert_eq!(decoded(LinkType::Ethernet, &endless), "TooDeep", "nothing but labels");
}

#[test]
fn ip_lengths_decide() {
    let segment = tcp(b"hello");
    let mut options = ipv4(6, &[&[0; 4], &segment[..]].concat());
    options[0] = 0x46;
    let mut zero = ipv4(6, &segment);
    zero[2..4].fill(0);
    let mut zero6 = ipv6(6, &segment);
    zero6[4..6].fill(0);
    let mut long = ipv4(6, &segment);
    long[2..4].copy_from_slice(&60_000_u16.to_be_bytes());
    let mut short = ipv4(6, &segment);
    short[2..4].copy_from_slice(&19_u16.to_be_bytes());
    let mut tiny = ipv4(6, &segment);
    tiny[0] = 0x44;
    let padded = [ipv4(6, &tcp(b"")), vec![0; 6]].concat();
    let padded6 = [ipv6(59, b""), vec![0; 6]].concat();
    let mapped = |octets: [u8; 4]| [&[0; 10][..], &[0xff, 0xff], &octets].concat();
    let mut mapped6 = ipv6(6, &segment);
    mapped6[8..24].copy_from_slice(&mapped(A));
    let v4 = "10.0.0.1:4660 > 10.0.0.2:80 TCP";
    let v6 = "[2001:db8::1]:4660 > [2001:db8::2]:80 TCP";
    for (case, bytes, expected) in [
        ("options", options, format!("{v4} 5/5 of 49")),
        ("total length 0: the frame's counts", zero, format!("{v4} 5/5 of 45")),
        ("payload length 0: the frame's counts", zero6, format!("{v6} 5/5 of 65")),
        ("the wire had more than the frame", long, format!("{v4} 5/59960 of 60000")),
        ("total length below the header's", short, "BadIp".to_owned()),
        ("header length below 20", tiny, "BadIp".to_owned()),
        ("padding is no payload", padded, format!("{v4} 0/0 of 40")),
        (
            "IPv6 with nothing in it, padded",
            padded6,
            "2001:db8::1 > 2001:db8::2 59 0/0 of 40 other".to_owned(),
        ),
        (
            "an IPv4-mapped address is an IPv4 address",
            mapped6,
            "10.0.0.1:4660 > [2001:db8::2]:80 TCP 5/5 of 65".to_owned(),
        ),
    ] {
        assert_eq!(decoded(LinkType::RawIp, &bytes), expected, "{case}");
    }
    // A segment of 100 000 bytes, as GRO makes them, of which 96 were captured.
    let mut big = ethernet(0x0800, &ipv4(6, &tcp(&[0; 42])));
    big[16..18].fill(0);
    let big = Frame { wire_bytes: 100_054, ..frame(LinkType::Ethernet, &big) };
    assert_eq!(words(Decoder::default().decode(&big)), format!("{v4} 42/100000 of 100040"));
}

#[test]
fn extension_headers() {
    let segment = tcp(b"hello");
    let with =
        |first: u8, headers: &[&[u8]]| ipv6(first, &[headers.concat(), segment.clone()].concat());
    let ext = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let ah = |next: u8| [next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2];
    let v6 = "[2001:db8::1]:4660 > [2001:db8::2]:80 TCP 5/5";
    for (case, bytes, expected) in [
        ("hop-by-hop", with(0, &[&ext(6)]), format!("{v6} of 73")),
        (
            "hop-by-hop, routing, destination",
            with(0, &[&ext(43), &ext(60), &ext(6)]),
            format!("{v6} of 89"),
        ),
        ("mobility", with(135, &[&ext(6)]), format!("{v6} of 73")),
        ("authentication", with(51, &[&ah(6)]), format!("{v6} of 89")),
        (
            "a fragment header around a whole packet",
            with(44, &[&[6, 0, 0, 0, 0, 0, 0, 1]]),
            format!("{v6} of 73"),
        ),
        ("encrypted", with(50, &[]), "2001:db8::1 > 2001:db8::2 ESP 25/25 of 65 other".to_owned()),
        (
            "an extension header cut short",
            ipv6(60, &[6, 1, 0, 0, 0, 0, 0, 0]),
            "2001:db8::1 > 2001:db8::2 60 8/8 of 48 other".to_owned(),
        ),
        ("nothing but extension headers", ipv6(0, &ext(0).repeat(100)), "TooDeep".to_owned()),
        (
            "IPv6's extension headers are none in IPv4",
            ipv4(60, &[&ext(6), &segment[..]].concat()),
            "10.0.0.1 > 10.0.0.2 60 33/33 of 53 other".to_owned(),
        ),
        (
            "authentication in IPv4",
            ipv4(51, &[&ah(6), &segment[..]].concat()),
            "10.0.0.1:4660 > 10.0.0.2:80 TCP 5/5 of 69".to_owned(),
        ),
    ] {
        assert_eq!(decoded(LinkType::RawIp, &bytes), expected, "{case}");
    }
}

#[test]
fn transports() {
    let mut lying = tcp(b"hello");
    lying[12] = 0x40;
    let mut overlong = tcp(b"hello");
    overlong[12] = 0xf0;
    let mut short_udp = udp(53, b"abcdef");
    short_udp[4..6].copy_from_slice(&11_u16.to_be_bytes());
    let mut long_udp = udp(53, b"abc");
    long_udp[4..6].copy_from_slice(&900_u16.to_be_bytes());
    let mut zero_udp = udp(53, b"abc");
    zero_udp[4..6].fill(0);
    let mut tiny_udp = udp(53, b"abc");
    tiny_udp[4..6].copy_from_slice(&7_u16.to_be_bytes());
    let (ports, hosts) = ("10.0.0.1:4660 > 10.0.0.2", "10.0.0.1 > 10.0.0.2");
    for (case, protocol, bytes, expected) in [
        ("TCP header below 20 bytes", 6, lying, format!("{hosts} TCP 25/25 of 45 other")),
        ("TCP header beyond the packet", 6, overlong, format!("{hosts} TCP 25/25 of 45 other")),
        ("UDP shorter than IP says", 17, short_udp, format!("{ports}:53 UDP 3/3 of 34")),
        ("UDP longer than IP says", 17, long_udp, format!("{ports}:53 UDP 3/3 of 31")),
        ("UDP of length 0", 17, zero_udp, format!("{ports}:53 UDP 3/3 of 31")),
        ("UDP shorter than its header", 17, tiny_udp, format!("{ports}:53 UDP 0/0 of 31")),
        (
            "UDP without a whole header",
            17,
            vec![0x12, 0x34, 0, 53],
            format!("{ports}:53 UDP 0/0 of 24"),
        ),
        ("SCTP", 132, udp(53, b"abcdefgh"), format!("{ports}:53 SCTP 4/4 of 36")),
        ("echo", 1, vec![8, 0, 0, 0, 1, 2, 0, 3, 9], format!("{hosts} ICMP 1/1 of 29 8.0 258 3")),
        (
            "an ICMP error has no id",
            1,
            vec![3, 1, 0, 0, 1, 2, 0, 3, 9],
            format!("{hosts} ICMP 1/1 of 29 3.1 0 0"),
        ),
        ("ICMP below 8 bytes", 1, vec![8, 0, 0], format!("{hosts} ICMP 0/0 of 23 8.0 0 0")),
        ("ICMP below 2 bytes", 1, vec![8], format!("{hosts} ICMP 1/1 of 21 other")),
        ("OSPF", 89, vec![2, 1], format!("{hosts} 89 2/2 of 22 other")),
    ] {
        assert_eq!(decoded(LinkType::RawIp, &ipv4(protocol, &bytes)), expected, "{case}");
    }
    let echo = ipv6(58, &[129, 0, 0, 0, 0, 7, 0, 8]);
    assert_eq!(
        decoded(LinkType::RawIp, &echo),
        "2001:db8::1 > 2001:db8::2 IPv6-ICMP 0/0 of 48 129.0 7 8"
    );
    let whole = ipv4(6, &tcp(b""));
    let whole = Decoder::default().decode(&frame(LinkType::RawIp, &whole)).map(|p| p.transport);
    let header = Tcp {
        source: 4660,
        destination: 80,
        sequence: 9,
        acknowledgement: 5,
        flags: Tcp::PSH | Tcp::ACK,
        window: 0x2000,
    };
    assert_eq!(whole, Ok(Transport::Tcp(header)));
}

/// The snap length may cut anywhere; what is left is read, and lengths stay the wire's.
#[test]
fn cut_frames() {
    let whole = ethernet(0x0800, &ipv4(6, &tcp(b"hello")));
    for (case, captured, expected) in [
        ("in the payload", 56, "10.0.0.1:4660 > 10.0.0.2:80 TCP 2/5 of 45"),
        ("after the TCP header", 54, "10.0.0.1:4660 > 10.0.0.2:80 TCP 0/5 of 45"),
        ("after the window", 50, "10.0.0.1:4660 > 10.0.0.2:80 TCP 0/5 of 45"),
        ("after the flags", 48, "10.0.0.1:4660 > 10.0.0.2:80 TCP 0/5 of 45"),
        ("before the flags", 47, "10.0.0.1 > 10.0.0.2 TCP 13/25 of 45 other"),
        ("after the IP header", 34, "10.0.0.1 > 10.0.0.2 TCP 0/25 of 45 other"),
        ("in the IP header", 33, "NoIp"),
        ("before the IP header", 14, "NoIp"),
        ("in the link header", 13, "NoLink"),
    ] {
        let cut = Frame { wire_bytes: 59, ..frame(LinkType::Ethernet, &whole[..captured]) };
        assert_eq!(words(Decoder::default().decode(&cut)), expected, "{case}");
    }
    let segment = PacketBuilder::ipv4(A, B, 64).tcp(4660, 80, 9, 1).options_raw(&[1; 12]).unwrap();
    let mut bytes = Vec::new();
    segment.write(&mut bytes, b"hello").unwrap();
    let cut = Frame { wire_bytes: 57, ..frame(LinkType::RawIp, &bytes[..44]) };
    assert_eq!(
        words(Decoder::default().decode(&cut)),
        "10.0.0.1:4660 > 10.0.0.2:80 TCP 0/5 of 57",
        "in the TCP options"
    );
}

#[test]
fn tunnels() {
    let ip = ipv4(6, &tcp(b"hello"));
    let ip6 = ipv6(6, &tcp(b"hello"));
    let inner = ethernet(0x0800, &ip);
    let v4 = "10.0.0.1:4660 > 10.0.0.2:80 TCP 5/5 of 45";
    let v6 = "[2001:db8::1]:4660 > [2001:db8::2]:80 TCP 5/5 of 65";
    let geneve = |kind: u16, options: &[u8], inner: &[u8]| {
        let head = [(options.len() / 4) as u8, 0, (kind >> 8) as u8, kind as u8, 0, 0, 6, 0];
        [&head[..], options, inner].concat()
    };
    let gre = |head: &[u8], inner: &[u8]| [head, inner].concat();
    let by = "10.0.0.1 > 10.0.0.2";
    let other_vni = vxlan(9, &ethernet(0x0800, &ipv4(17, &udp(6081, &geneve(0x86dd, &[], &ip6)))));
    for (case, bytes, expected) in [
        ("VXLAN", ipv4(17, &udp(4789, &vxlan(5, &inner))), format!("{v4} in Vxlan 5 {by}")),
        (
            "VXLAN on Linux's port",
            ipv4(17, &udp(8472, &vxlan(5, &inner))),
            format!("{v4} in Vxlan 5 {by}"),
        ),
        (
            "VXLAN over IPv6",
            ipv6(17, &udp(4789, &vxlan(5, &inner))),
            format!("{v4} in Vxlan 5 2001:db8::1 > 2001:db8::2"),
        ),
        (
            "Geneve with Ethernet and options",
            ipv4(17, &udp(6081, &geneve(0x6558, &[0; 8], &inner))),
            format!("{v4} in Geneve 6 {by}"),
        ),
        (
            "Geneve with IP",
            ipv4(17, &udp(6081, &geneve(0x86dd, &[], &ip6))),
            format!("{v6} in Geneve 6 {by}"),
        ),
        (
            "Geneve in VXLAN: the innermost counts",
            ipv4(17, &udp(4789, &other_vni)),
            format!("{v6} in Geneve 6 {by}"),
        ),
        ("GRE", ipv4(47, &gre(&[0, 0, 8, 0], &ip)), format!("{v4} in Gre 0 {by}")),
        (
            "GRE with key",
            ipv4(47, &gre(&[0x20, 0, 8, 0, 0, 0, 1, 4], &ip)),
            format!("{v4} in Gre 260 {by}"),
        ),
        (
            "GRE with checksum, key, number",
            ipv4(47, &gre(&[0xb0, 0, 8, 0, 9, 9, 9, 9, 0, 0, 0, 7, 8, 8, 8, 8], &ip)),
            format!("{v4} in Gre 7 {by}"),
        ),
        (
            "Ethernet over GRE",
            ipv4(47, &gre(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 3], &inner)),
            format!("{v4} in Gre 3 {by}"),
        ),
        (
            "MPLS over GRE",
            ipv4(47, &gre(&[0, 0, 0x88, 0x47, 0, 1, 1, 64], &ip)),
            format!("{v4} in Gre 0 {by}"),
        ),
        ("ERSPAN I", ipv4(47, &gre(&[0, 0, 0x88, 0xbe], &inner)), format!("{v4} in Gre 0 {by}")),
        (
            "ERSPAN II",
            ipv4(47, &gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 77, 0, 0, 0, 0], &inner)),
            format!("{v4} in Gre 77 {by}"),
        ),
        (
            "ERSPAN III",
            ipv4(
                47,
                &gre(
                    &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0],
                    &inner,
                ),
            ),
            format!("{v4} in Gre 77 {by}"),
        ),
        (
            "ERSPAN III with subheader",
            ipv4(
                47,
                &gre(
                    &[
                        0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1, 0,
                        0, 0, 0, 0, 0, 0, 0,
                    ],
                    &inner,
                ),
            ),
            format!("{v4} in Gre 77 {by}"),
        ),
        ("4in4", ipv4(4, &ip), format!("{v4} in IpInIp 0 {by}")),
        ("6in4", ipv4(41, &ip6), format!("{v6} in IpInIp 0 {by}")),
        ("4in6", ipv6(4, &ip), format!("{v4} in IpInIp 0 2001:db8::1 > 2001:db8::2")),
        ("6in6", ipv6(41, &ip6), format!("{v6} in IpInIp 0 2001:db8::1 > 2001:db8::2")),
        (
            "the inner VLAN, where the frame has none",
            ipv4(17, &udp(4789, &vxlan(5, &ethernet(0x8100, &[&[0, 8, 8, 0], &ip[..]].concat())))),
            format!("{v4} vlan 8 in Vxlan 5 {by}"),
        ),
    ] {
        assert_eq!(decoded(LinkType::RawIp, &bytes), expected, "{case}");
    }
}

#[test]
fn what_is_no_tunnel_stays_its_carrier() {
    let ip = ipv4(6, &tcp(b"hello"));
    let inner = ethernet(0x0800, &ip);
    let mut no_flag = vxlan(5, &inner);
    no_flag[0] = 0;
    let mut outgrows = inner.clone();
    outgrows[17] += 1;
    let udp4789 = |payload: &[u8]| ipv4(17, &udp(4789, payload));
    let datagram = |bytes: usize| {
        format!("10.0.0.1:4660 > 10.0.0.2:4789 UDP {bytes}/{bytes} of {}", bytes + 28)
    };
    let carrier = |protocol: &str, bytes: usize| {
        format!("10.0.0.1 > 10.0.0.2 {protocol} {bytes}/{bytes} of {} other", bytes + 20)
    };
    let nested = |tunnels: u8| {
        (0..tunnels).fold(inner.clone(), |frame, vni| {
            ethernet(0x0800, &ipv4(17, &udp(4789, &vxlan(vni, &frame))))
        })
    };
    for (case, bytes, expected) in [
        ("text on VXLAN's port", udp4789(b"GET / HTTP/1.1"), datagram(14)),
        ("no valid-identifier flag", udp4789(&no_flag), datagram(no_flag.len())),
        ("ARP in VXLAN", udp4789(&vxlan(5, &ethernet(0x0806, &ip))), datagram(67)),
        ("an inner packet longer than its carrier", udp4789(&vxlan(5, &outgrows)), datagram(67)),
        ("VXLAN with half an inner header", udp4789(&vxlan(5, &inner[..20])), datagram(28)),
        (
            "Geneve of another version",
            ipv4(17, &udp(6081, &[&[0x40, 0, 8, 0, 0, 0, 0, 0], &ip[..]].concat())),
            "10.0.0.1:4660 > 10.0.0.2:6081 UDP 53/53 of 81".to_owned(),
        ),
        (
            "GRE for PPTP",
            ipv4(47, &[&[0x30, 1, 0x88, 0x0b, 0, 45, 0, 1, 0, 0, 0, 0], &ip[..]].concat()),
            carrier("GRE", 57),
        ),
        (
            "GRE with source routes",
            ipv4(47, &[&[0x40, 0, 8, 0, 0, 0, 0, 0], &ip[..]].concat()),
            carrier("GRE", 53),
        ),
        ("GRE keep-alive", ipv4(47, &[0, 0, 0, 0]), carrier("GRE", 4)),
        ("GRE cut in its key", ipv4(47, &[0x20, 0, 8, 0, 0]), carrier("GRE", 5)),
        ("no IP in IP", ipv4(4, b"nothing of the kind, that is"), carrier("4", 28)),
    ] {
        assert_eq!(decoded(LinkType::RawIp, &bytes), expected, "{case}");
    }
    let whole =
        "10.0.0.1:4660 > 10.0.0.2:80 TCP 5/5 of 45 in Vxlan 0 10.0.0.1 > 10.0.0.2".to_owned();
    let in_vxlan = |bytes, vni| format!("{} in Vxlan {vni} 10.0.0.1 > 10.0.0.2", datagram(bytes));
    let ip_in_ip = (0..9).fold(ip.clone(), |packet, _| ipv4(4, &packet));
    for (case, link_type, bytes, expected, too_deep) in [
        ("eight tunnels", LinkType::Ethernet, nested(8), whole, 0),
        (
            "a ninth stays the eighth one's payload",
            LinkType::Ethernet,
            nested(9),
            in_vxlan(67, 1),
            1,
        ),
        (
            "a ninth of IP in IP",
            LinkType::RawIp,
            ip_in_ip,
            format!("{} in IpInIp 0 10.0.0.1 > 10.0.0.2", carrier("4", ip.len())),
            1,
        ),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(words(decoder.decode(&frame(link_type, &bytes))), expected, "{case}");
        assert_eq!(decoder.take_too_deep(), too_deep, "{case}");
        assert_eq!(decoder.take_too_deep(), 0, "{case}, told once");
    }
    let settings = Settings { vxlan_ports: vec![], geneve_ports: vec![], ..Settings::default() };
    let bytes = udp4789(&vxlan(5, &inner));
    let mut none = Decoder::new(settings);
    assert_eq!(words(none.decode(&frame(LinkType::RawIp, &bytes))), datagram(67), "no ports set");
}
