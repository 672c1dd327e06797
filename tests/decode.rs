//! Captures of tunnels and odd link types: how many packets come out, and the first of them.
//!
//! Every row was compared with tshark 4.0: the same number of frames with an IP packet (less the
//! fragments that wait for others), the same addresses, ports and identifiers.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use vethwatch::decode::{Decoder, Frame, LinkType};
use vethwatch::time::Timestamp;

mod common;
#[path = "support/captures.rs"]
mod captures;

/// Frames, packets, packets in a tunnel; and the first packet, the first in a tunnel if any is.
fn summary(path: &Path) -> (usize, usize, usize, String) {
    let mut decoder = Decoder::default();
    let (mut packets, mut tunnelled, mut first) = (0, 0, String::new());
    let frames = captures::frames(path);
    for frame in &frames {
        let Some(link_type) = LinkType::from_number(frame.link_type) else { continue };
        let frame = Frame {
            at: Timestamp::from_nanos(frame.at_ns),
            link_type,
            wire_bytes: frame.wire_bytes,
            bytes: &frame.bytes,
        };
        let Ok(packet) = decoder.decode(&frame) else { continue };
        packets += 1;
        tunnelled += usize::from(packet.tunnel.is_some());
        if packets == 1 || packet.tunnel.is_some() && tunnelled == 1 {
            first = format!("{} > {} {}", packet.from(), packet.to(), packet.protocol);
            if packet.vlan != 0 {
                first += &format!(" vlan {}", packet.vlan);
            }
            if let Some(tunnel) = packet.tunnel {
                first += &format!(" {:?} {}", tunnel.kind, tunnel.id);
            }
        }
    }
    (frames.len(), packets, tunnelled, first)
}

#[test]
fn public_captures_decode_as_tshark_says() {
    let Some(captures) = common::captures() else { return };
    let folder = captures.join("public/decode_tunnel");
    for (file, frames, packets, tunnelled, first) in [
        ("zeek__zeek__4in4.pcap", 1, 1, 1, "10.0.0.1:30000 > 10.0.0.2:13000 UDP IpInIp 0"),
        ("zeek__zeek__4in6.pcap", 1, 1, 1, "70.55.213.211:31337 > 192.88.99.1:80 TCP IpInIp 0"),
        ("zeek__zeek__6in4.pcap", 1, 1, 1, "[dead::beef]:30000 > [cafe::babe]:13000 UDP IpInIp 0"),
        (
            "zeek__zeek__6in6in6.pcap",
            1,
            1,
            1,
            "[dead::beef]:30000 > [cafe::babe]:13000 UDP IpInIp 0",
        ),
        (
            "zeek__zeek__ping6-in-ipv4.pcap",
            10,
            10,
            10,
            "2001:db8:0:1::1 > 2001:db8:0:1::2 IPv6-ICMP IpInIp 0",
        ),
        (
            "OISF__suricata-verify__flow-pkt-recursion_middleware-pkt-flows.pcap",
            2,
            2,
            2,
            "1.1.1.1 > 2.2.2.2 ICMP IpInIp 0",
        ),
        (
            "zeek__zeek__geneve-tagged-udp-packet.pcap",
            4,
            4,
            4,
            "127.0.0.1:12345 > 127.0.0.1:31337 UDP Geneve 100",
        ),
        (
            "zeek__zeek__vxlan-encapsulated-http.pcap",
            12,
            12,
            12,
            "172.16.11.201:40354 > 54.86.237.188:80 TCP Vxlan 1",
        ),
        ("zeek__zeek__vxlan-triple-v2.pcap", 1, 1, 1, "4.4.4.4:53 > 4.4.4.9:53 UDP Vxlan 3"),
        (
            "OISF__suricata-verify__vxlan-decoder-01_input.pcap",
            3,
            3,
            1,
            "10.96.0.10:53 > 185.27.115.6:12345 UDP Vxlan 37",
        ),
        (
            "OISF__suricata-verify__vxlan-non-zero-reserved-fields_input.pcap",
            10,
            10,
            10,
            "218.94.93.34:51252 > 192.168.1.134:80 TCP Vxlan 11",
        ),
        ("zeek__zeek__gre-sample.pcap", 40, 40, 40, "66.59.111.190 > 172.28.2.3 ICMP Gre 0"),
        (
            "zeek__zeek__tunnel-direct-bypass.pcap",
            20,
            20,
            10,
            "10.20.0.1:44444 > 10.20.0.2:80 TCP Gre 0",
        ),
        ("zeek__zeek__gre-pptp.pcap", 2, 2, 2, "16.0.0.200 > 192.52.166.154 GRE vlan 100 IpInIp 0"),
        ("zeek__zeek__erspan.pcap", 287, 248, 238, "192.168.69.10 > 192.168.69.2 ICMP Gre 0"),
        (
            "OISF__suricata-verify__decode-erspan-typeI-02_input.pcap",
            42,
            42,
            42,
            "100.95.2.201 > 100.95.3.105 ICMP vlan 1011 Gre 0",
        ),
        (
            "OISF__suricata-verify__decode-erspan-typeII-01_input.pcap",
            6,
            6,
            4,
            "23.0.0.2 > 23.0.0.3 ICMP Gre 100",
        ),
        ("zeek__zeek__q-in-q.pcap", 5, 4, 0, "172.19.51.37:47808 > 172.19.51.63:47808 UDP vlan 13"),
        ("zeek__zeek__http-vlan-0.pcap", 14, 14, 0, "141.142.228.5:59856 > 192.150.187.43:80 TCP"),
        (
            "zeek__zeek__vlan-pcp-dei.pcapng",
            9,
            9,
            0,
            "192.168.1.100:12345 > 192.168.1.200:80 TCP vlan 10",
        ),
        ("zeek__zeek__icmp_dot1q.pcap", 15, 9, 0, "192.168.123.2 > 192.168.123.1 ICMP vlan 123"),
        ("arkime__arkime__dot1ad.pcap", 2, 2, 0, "47.245.159.156 > 92.104.109.0 ICMP vlan 1525"),
        ("arkime__arkime__mpls-basic.pcap", 58, 52, 0, "10.1.2.1:711 > 255.255.255.255:711 UDP"),
        ("zeek__zeek__pbb.pcap", 12, 10, 0, "10.199.242.132 > 224.0.0.5 89 vlan 4052"),
        ("zeek__zeek__pbb-recursive-frames.pcapng", 1, 0, 0, ""),
        ("OISF__suricata-verify__decode-too-many-layers_input.pcap", 1, 0, 0, ""),
        (
            "OISF__suricata-verify__decode-etag-01_input.pcap",
            1,
            1,
            0,
            "52.114.124.106:443 > 192.168.1.46:52566 TCP",
        ),
        (
            "OISF__suricata-verify__decode-vntag-01_input.pcap",
            5,
            5,
            0,
            "1.1.1.1 > 1.1.2.1 253 vlan 11",
        ),
        ("zeek__zeek__snap-tcp.pcap", 8, 8, 0, "192.168.1.1:12345 > 192.168.1.2:80 TCP"),
        ("zeek__zeek__ip6_esp.pcap", 121, 121, 0, "fe80::211:43ff:fe4a:d70a > ff02::16 IPv6-ICMP"),
        ("ntop__nDPI__ah.pcapng", 6, 6, 0, "10.2.3.2:500 > 10.3.4.4:500 UDP"),
        (
            "zeek__zeek__gtp_ext_header.pcap",
            2,
            1,
            0,
            "10.155.148.149:9000 > 10.155.148.157:2152 UDP",
        ),
        ("seladb__PcapPlusPlus__null_loopback.pcap", 3, 2, 0, "[::1]:49888 > [::1]:81 TCP"),
        ("zeek__zeek__socks.pcap", 18, 18, 0, "127.0.0.1:62270 > 127.0.0.1:1080 TCP"),
        (
            "OISF__suricata-verify__linktype-228_flow-test-01.pcap",
            7,
            7,
            0,
            "192.168.0.2:15057 > 192.168.0.1:443 TCP",
        ),
        (
            "seladb__PcapPlusPlus__linktype_ipv6.pcap",
            1,
            1,
            0,
            "[2001:618:400::5199:cc70]:35995 > [2001:618:1:8000::5]:80 TCP",
        ),
        (
            "seladb__PcapPlusPlus__SllPacket.pcap",
            1,
            1,
            0,
            "[2404:6800:8004::68]:80 > [2404:138:4002:4000:230:48ff:fedd:53]:50243 TCP",
        ),
        ("seladb__PcapPlusPlus__sll2.pcap", 3, 3, 0, "116.63.66.108:443 > 7.249.151.114:57292 TCP"),
        (
            "OISF__suricata-verify__decode-sll2-01_input.pcap",
            5,
            5,
            0,
            "192.168.1.253:56478 > 192.168.1.21:80 TCP",
        ),
        (
            "seladb__PcapPlusPlus__pcapng-example.pcapng",
            159,
            159,
            0,
            "127.0.0.1:40304 > 127.0.0.1:3306 TCP",
        ),
    ] {
        let expected = (frames, packets, tunnelled, first.to_owned());
        assert_eq!(summary(&folder.join(file)), expected, "{file}");
    }
}

/// Fragment evasions: what comes out whole, and what does not.
#[test]
fn fragmented_captures() {
    let Some(captures) = common::captures() else { return };
    for (file, frames, packets) in [
        ("tcp_evasion/OISF__suricata-verify__exception-policy-defrag-01_ipv4frags.pcap", 3, 2),
        ("decode_tunnel/zeek__zeek__gtp1_gn_normal_incl_fragmentation.pcap", 108, 68),
        ("tcp_evasion/seladb__PcapPlusPlus__frag_http_req.pcap", 11, 1),
        ("tcp_evasion/seladb__PcapPlusPlus__frag_with_padding.pcap", 8, 1),
        ("tcp_evasion/seladb__PcapPlusPlus__ip4_fragments.pcap", 53, 9),
        ("tcp_evasion/zeek__zeek__fragmented-2.pcap", 3, 0),
        ("tcp_evasion/zeek__zeek__ipv6-reassembly-state-leak.pcap", 92, 0),
    ] {
        let (got_frames, got_packets, ..) = summary(&captures.join("public").join(file));
        assert_eq!((got_frames, got_packets), (frames, packets), "{file}");
    }
}
