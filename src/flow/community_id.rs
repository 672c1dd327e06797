//! Community ID: a name for a flow that all tools compute alike.
//!
//! Version 1 of Corelight's specification (github.com/corelight/community-id-spec): SHA-1 over seed,
//! addresses, protocol and ports, the lower endpoint first, in Base64.

use std::net::IpAddr;

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

use crate::event::{Endpoint, IpProtocol};

/// Lets an organisation keep its IDs apart from others'; 0 is every tool's default.
const SEED: u16 = 0;

/// Longest input: seed, two IPv6 addresses, protocol, padding, two ports.
const INPUT_MAX: usize = 2 + 16 + 16 + 1 + 1 + 2 + 2;

/// The ID of the flow between `a`, who sent the first packet, and `b`.
///
/// `icmp` is the type and code of the first message where the protocol is ICMP or ICMPv6; without
/// it an echo request is assumed.
pub(super) fn community_id(
    a: Endpoint,
    b: Endpoint,
    protocol: IpProtocol,
    icmp: Option<(u8, u8)>,
) -> String {
    let (mut a, mut b) = ((a.ip, a.port), (b.ip, b.port));
    let mut one_way = false;
    if let Some((request, answers)) = icmp_ports(protocol, icmp) {
        (a.1, b.1, one_way) = (request, answers.port, answers.one_way);
    }
    // Addresses of one family order as their bytes do. A message that expects no answer is a flow
    // of its own in either direction, and keeps its order.
    if !one_way && b < a {
        (a, b) = (b, a);
    }
    let mut input = Input { bytes: [0; INPUT_MAX], length: 0 };
    input.push(&SEED.to_be_bytes());
    input.push_address(a.0);
    input.push_address(b.0);
    input.push(&[protocol.0, 0]);
    if has_ports(protocol) {
        input.push(&a.1.to_be_bytes());
        input.push(&b.1.to_be_bytes());
    }
    let mut id = String::with_capacity(30);
    id.push_str("1:");
    BASE64.encode_append(&Sha1::digest(input.as_slice()), &mut id);
    id
}

const fn has_ports(protocol: IpProtocol) -> bool {
    matches!(
        protocol,
        IpProtocol::TCP
            | IpProtocol::UDP
            | IpProtocol::SCTP
            | IpProtocol::ICMP
            | IpProtocol::ICMPV6
    )
}

/// What stands where the destination port would.
struct Answers {
    port: u16,
    one_way: bool,
}

/// The specification's stand-ins for ports: the message's type, and the type that answers it.
fn icmp_ports(protocol: IpProtocol, icmp: Option<(u8, u8)>) -> Option<(u16, Answers)> {
    let (kind, code, answer) = match protocol {
        IpProtocol::ICMP => {
            let (kind, code) = icmp.unwrap_or((8, 0));
            (kind, code, icmp_answer(kind))
        }
        IpProtocol::ICMPV6 => {
            let (kind, code) = icmp.unwrap_or((128, 0));
            (kind, code, icmpv6_answer(kind))
        }
        _ => return None,
    };
    let port = u16::from(answer.unwrap_or(code));
    Some((u16::from(kind), Answers { port, one_way: answer.is_none() }))
}

const fn icmp_answer(kind: u8) -> Option<u8> {
    Some(match kind {
        // Echo, router discovery, timestamp, information, address mask.
        0 => 8,
        8 => 0,
        9 => 10,
        10 => 9,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

const fn icmpv6_answer(kind: u8) -> Option<u8> {
    Some(match kind {
        // Echo, multicast listener, router, neighbour, node information, home agent discovery.
        128 => 129,
        129 => 128,
        130 => 131,
        131 => 130,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        139 => 140,
        140 => 139,
        144 => 145,
        145 => 144,
        _ => return None,
    })
}

/// The hash's input, on the stack.
struct Input {
    bytes: [u8; INPUT_MAX],
    length: usize,
}

impl Input {
    fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(more);
            self.length = end;
        }
    }

    fn push_address(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.push(&ip.octets()),
            IpAddr::V6(ip) => self.push(&ip.octets()),
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(protocol: u8, source: (&str, u16), destination: (&str, u16)) -> String {
        let end = |(ip, port): (&str, u16)| Endpoint { ip: ip.parse().unwrap(), port };
        community_id(end(source), end(destination), IpProtocol(protocol), None)
    }

    fn icmp_id(protocol: u8, source: &str, destination: &str, icmp: Option<(u8, u8)>) -> String {
        let end = |ip: &str| Endpoint { ip: ip.parse().unwrap(), port: 0 };
        community_id(end(source), end(destination), IpProtocol(protocol), icmp)
    }

    /// Values from the specification's `baseline/baseline_deflt.json`.
    #[test]
    fn equals_the_specifications_baseline() {
        for (what, protocol, a, b, expected) in [
            (
                "TCP over IPv4",
                6,
                ("128.232.110.120", 34_855),
                ("66.35.250.204", 80),
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                "TCP over IPv6",
                6,
                ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63_943),
                ("2607:f8b0:400c:c03::1a", 25),
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
            (
                "UDP",
                17,
                ("192.168.1.52", 54_585),
                ("8.8.8.8", 53),
                "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
            ),
            (
                "SCTP with equal ports",
                132,
                ("192.168.170.8", 7),
                ("192.168.170.56", 7),
                "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=",
            ),
            (
                "RSVP has no ports, and what stands there does not count",
                46,
                ("10.1.12.1", 1),
                ("10.1.12.2", 2),
                "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=",
            ),
        ] {
            assert_eq!(id(protocol, a, b), expected, "{what}");
            assert_eq!(id(protocol, b, a), expected, "{what}, other direction");
        }
    }

    /// Values from the same file; the last four of `pycommunityid`'s own tests.
    #[test]
    fn icmp_types_stand_for_ports() {
        let (host_a, host_b) = ("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea");
        let (near, far) = ("3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:501:0:1001::2");
        for (what, protocol, from, to, icmp, expected) in [
            (
                "echo request",
                1,
                "192.168.0.89",
                "192.168.0.1",
                (8, 0),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            (
                "echo reply",
                1,
                "192.168.0.1",
                "192.168.0.89",
                (0, 0),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            ("time exceeded", 1, "10.0.0.1", "10.0.0.2", (11, 0), "1:YHxtAirCG//0OzkcVAukqKQN9xM="),
            (
                "neighbour solicitation",
                58,
                host_a,
                host_b,
                (135, 0),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
            (
                "neighbour advertisement",
                58,
                host_b,
                host_a,
                (136, 0),
                "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=",
            ),
            (
                "solicited the other way",
                58,
                host_b,
                host_a,
                (135, 0),
                "1:zavyT/cezQr1fmImYCwYnMXbgck=",
            ),
            (
                "no route",
                58,
                "3ffe:501:410:0:2c0:dfff:fe47:33e",
                near,
                (1, 4),
                "1:hLZd0XGWojozrvxqE0dWB1iM6R0=",
            ),
            ("echo request over IPv6", 58, near, far, (128, 0), "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="),
            ("echo reply over IPv6", 58, far, near, (129, 0), "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="),
            (
                "router solicitation",
                58,
                host_a,
                "ff02::2",
                (133, 0),
                "1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0=",
            ),
            (
                "router advertisement",
                58,
                host_b,
                "ff02::1",
                (134, 0),
                "1:pkvHqCL88/tg1k4cPigmZXUtL00=",
            ),
            (
                "an unknown type",
                1,
                "192.168.0.89",
                "192.168.0.1",
                (20, 0),
                "1:3o2RFccXzUgjl7zDpqmY7yJi8rI=",
            ),
            (
                "the same, other code",
                1,
                "192.168.0.89",
                "192.168.0.1",
                (20, 1),
                "1:tz/fHIDUHs19NkixVVoOZywde+I=",
            ),
            (
                "an answered type's code is not read",
                1,
                "192.168.0.1",
                "192.168.0.89",
                (0, 20),
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            ),
            (
                "one-way messages keep their order",
                58,
                "3ffe:507:0:1:260:97ff:fe07:69ea",
                near,
                (3, 0),
                "1:NdobDX8PQNJbAyfkWxhtL2Pqp5w=",
            ),
        ] {
            assert_eq!(icmp_id(protocol, from, to, Some(icmp)), expected, "{what}");
        }
        assert_eq!(
            icmp_id(1, "192.168.0.89", "192.168.0.1", None),
            "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
            "without a type, an echo request"
        );
    }
}
