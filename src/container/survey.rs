//! Where a capture was taken, from its first packets: at one container's veth, or on a whole node.
//!
//! Every packet at a veth has the container at one end, so its address is in all of them. On a node
//! no address is. The rule, in order:
//!
//! 1. Addresses and pod networks from flags or the configuration are containers, and nothing else is.
//! 2. An address in (nearly) all packets is the container of a veth; so is the address of the other
//!    IP version with the same link address. Where one peer has all the traffic, two addresses are in
//!    all packets. The container is then, in this order: the private one; the one whose packets no
//!    router has passed on, where the other's were (hop limit); the one that is neither a gateway's
//!    nor a service's. Who opened the flows tells nothing: probes, scrapes and logins come from
//!    outside. Where none of it tells, both are containers. An outside address that several private
//!    ones have in common is none.
//! 3. Else the capture is of a node: a private address that opens flows and is answered, or that
//!    answers, is a container. Without any private address, each address that opens flows is. Not so
//!    - a gateway's (the first address of a network) behind whose link address are outside ones as
//!      well, nor what else stands behind that link address;
//!    - the capturing host's own, in a Linux cooked capture of a host that forwards: all frames from
//!      it are outgoing, while those of a container come in on one interface and go out on another;
//!    - one that only answers, where by custom it is a gateway's or a service's, or where more private
//!      addresses speak than a node has containers (half of `containers_max`).

use std::net::IpAddr;

use super::Settings;
use crate::bounded::BoundedMap;
use crate::decode::{Frame, Packet};
use crate::event::Zone;

/// Share of packets that may lack the address of the veth's container: a bridge floods now and then.
const STRANGERS_MAX: f64 = 0.02;
/// Addresses counted during the survey.
const ADDRESSES_MAX: usize = 4_096;
/// Hop limits with which systems send. A packet leaves the container with one of these, and every
/// router takes one off: also the node, where it forwards to a pod's veth.
const INITIAL_HOP_LIMITS: [u8; 3] = [64, 128, 255];

/// What the first packets show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VantagePoint {
    /// One container's veth: its addresses, the first is the one in most packets.
    Veth(Vec<IpAddr>),
    /// Two hosts with nothing to tell which is the container: each counts as one.
    Pair(IpAddr, IpAddr),
    /// A node; `private` says that it has private addresses.
    Node {
        /// Private addresses are there: only those are containers.
        private: bool,
        /// Private addresses that are no containers: gateways, what stands behind them, and the
        /// capturing host.
        others: Vec<IpAddr>,
        /// More private addresses speak than a node has containers: it is a network's capture, and what
        /// only answers there is a server.
        crowded: bool,
    },
}

/// Counts addresses until the vantage point is decided.
#[derive(Debug)]
pub struct Survey {
    packets: [u64; 2],
    addresses: BoundedMap<IpAddr, Seen>,
    order: u32,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    packets: u64,
    /// Sent by it, and of these passed on by a router (packets).
    sent: u64,
    forwarded: u64,
    /// Sent by it, as a frame that came in to the capturing host, and as one that went out.
    came_in: bool,
    went_out: bool,
    order: u32,
    /// Link address behind which it stands, while there is but one.
    mac: Option<[u8; 6]>,
    mac_varies: bool,
}

impl Survey {
    /// Nothing seen. What the configuration calls a service or a node is no container.
    pub fn new(settings: &Settings) -> Self {
        Self {
            packets: [0; 2],
            addresses: BoundedMap::new(ADDRESSES_MAX),
            order: 0,
            settings: settings.clone(),
        }
    }

    /// Counts a packet.
    pub fn count(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        let is_outgoing = frame.is_outgoing().filter(|_| !frame.is_loopback());
        // Around a tunnel stand the addresses of its ends.
        let macs = frame.link_addresses().filter(|_| packet.tunnel.is_none());
        let counts = |ip| matches!(Zone::of(ip), Zone::Cluster | Zone::External);
        let metadata = |ip| Zone::of(ip) == Zone::LinkLocal && matches!(ip, IpAddr::V4(_));
        let ends = [packet.source, packet.destination];
        if !ends.iter().any(|ip| counts(*ip)) || !ends.iter().all(|ip| counts(*ip) || metadata(*ip))
        {
            return;
        }
        self.packets[usize::from(packet.source.is_ipv6())] += 1;
        for (ip, mac, sends) in [
            (packet.source, macs.map(|(source, _)| source), true),
            (packet.destination, macs.map(|(_, destination)| destination), false),
        ] {
            if !counts(ip) {
                continue;
            }
            let order = self.order;
            self.order += 1;
            let seen = self.addresses.get_or_insert_with(ip, || Seen {
                packets: 0,
                sent: 0,
                forwarded: 0,
                came_in: false,
                went_out: false,
                order,
                mac,
                mac_varies: false,
            });
            seen.packets += 1;
            seen.sent += u64::from(sends);
            seen.forwarded += u64::from(sends && !INITIAL_HOP_LIMITS.contains(&packet.hop_limit));
            seen.came_in |= sends && is_outgoing == Some(false);
            seen.went_out |= sends && is_outgoing == Some(true);
            seen.mac_varies |= seen.mac != mac;
        }
    }

    /// What the packets so far show.
    pub fn decide(&self) -> VantagePoint {
        let mut everywhere: [Vec<(IpAddr, Seen)>; 2] = [Vec::new(), Vec::new()];
        for (ip, seen) in self.addresses.iter() {
            let family = usize::from(ip.is_ipv6());
            let missing = self.packets[family].saturating_sub(seen.packets) as f64;
            if missing <= self.packets[family] as f64 * STRANGERS_MAX
                && !self.settings.is_infrastructure(*ip)
            {
                everywhere[family].push((*ip, *seen));
            }
        }
        // The one outside peer of several private addresses is in all packets too.
        let is_private = |ip: &IpAddr| Zone::of(*ip) == Zone::Cluster;
        if self.addresses.iter().any(|(ip, _)| is_private(ip))
            && !everywhere.iter().flatten().any(|(ip, _)| is_private(ip))
        {
            return self.node();
        }
        for family in &mut everywhere {
            family.sort_by_key(|(_, seen)| (std::cmp::Reverse(seen.packets), seen.order));
        }
        let [v4, v6] = &everywhere;
        let present: Vec<&Vec<_>> = [v4, v6]
            .into_iter()
            .zip(self.packets)
            .filter_map(|(family, packets)| (packets > 0).then_some(family))
            .collect();
        if present.is_empty() || present.iter().any(|family| family.is_empty()) {
            return self.node();
        }
        self.veth(v4, v6)
    }

    fn veth(&self, v4: &[(IpAddr, Seen)], v6: &[(IpAddr, Seen)]) -> VantagePoint {
        let private = |found: &[(IpAddr, Seen)]| -> Vec<(IpAddr, Seen)> {
            let (inside, outside): (Vec<_>, Vec<_>) =
                found.iter().partition(|(ip, _)| Zone::of(*ip) == Zone::Cluster);
            // Between two public ones hop limits tell nothing: such a capture is as likely taken at
            // the far end.
            if inside.is_empty() { outside } else { one_of_two(inside) }
        };
        let (mut v4, mut v6) = (private(v4), private(v6));
        // The other IP version tells which of two is the container, by its link address.
        let (v4_first, v6_first) = (v4.clone(), v6.clone());
        for (one, other) in [(v4_first, &mut v6), (v6_first, &mut v4)] {
            if let ([(_, sure)], [_, _, ..]) = (&one[..], &other[..])
                && sure.mac.is_some()
            {
                other.retain(|(_, seen)| seen.mac == sure.mac);
            }
        }
        match (&v4[..], &v6[..]) {
            ([(one, _)], []) | ([], [(one, _)]) => VantagePoint::Veth(vec![*one]),
            ([(one, a)], [(other, b)]) if a.mac == b.mac => VantagePoint::Veth(vec![*one, *other]),
            ([(one, _), (other, _)], []) | ([], [(one, _), (other, _)]) => {
                let (first, second) = (*one.min(other), *one.max(other));
                VantagePoint::Pair(first, second)
            }
            _ => self.node(),
        }
    }

    fn node(&self) -> VantagePoint {
        let private: Vec<(IpAddr, Seen)> = self
            .addresses
            .iter()
            .filter(|(ip, _)| Zone::of(**ip) == Zone::Cluster)
            .map(|(ip, seen)| (*ip, *seen))
            .collect();
        let behind = |seen: &Seen| seen.mac.filter(|_| !seen.mac_varies);
        let leads_outside = |mac: [u8; 6]| {
            self.addresses
                .iter()
                .any(|(ip, seen)| Zone::of(*ip) == Zone::External && behind(seen) == Some(mac))
        };
        let gateways: Vec<[u8; 6]> = private
            .iter()
            .filter(|(ip, _)| is_gateway(*ip))
            .filter_map(|(_, seen)| behind(seen).filter(|mac| leads_outside(*mac)))
            .collect();
        let forwards = self.addresses.iter().any(|(_, seen)| seen.came_in && seen.went_out);
        let is_host = |seen: &Seen| forwards && seen.went_out && !seen.came_in;
        let others = private
            .iter()
            .filter(|(_, seen)| {
                is_host(seen) || behind(seen).is_some_and(|mac| gateways.contains(&mac))
            })
            .map(|(ip, _)| *ip)
            .collect();
        let speaking = private.iter().filter(|(_, seen)| seen.sent > 0).count();
        VantagePoint::Node {
            private: private.iter().any(|(ip, _)| !self.settings.is_infrastructure(*ip)),
            others,
            crowded: speaking > self.settings.responders_max(),
        }
    }
}

/// Of two addresses that are in all packets, the container's, where something tells.
fn one_of_two(two: Vec<(IpAddr, Seen)>) -> Vec<(IpAddr, Seen)> {
    let [(one, a), (other, b)] = two[..] else { return two };
    let routed = |seen: Seen| seen.forwarded * 2 > seen.sent;
    match (routed(a), routed(b)) {
        (false, true) => return vec![(one, a)],
        (true, false) => return vec![(other, b)],
        _ => {}
    }
    match (is_infrastructure(one), is_infrastructure(other)) {
        (false, true) => vec![(one, a)],
        (true, false) => vec![(other, b)],
        _ => two,
    }
}

/// By custom no container's: the first address of a network is its gateway's (a /24's, and a /64's),
/// and 10.96.0.0/12 is where Kubernetes has services by default (kubeadm).
pub(super) fn is_infrastructure(ip: IpAddr) -> bool {
    is_gateway(ip) || matches!(ip, IpAddr::V4(ip) if matches!(ip.octets(), [10, 96..=111, ..]))
}

fn is_gateway(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[3] == 1,
        IpAddr::V6(ip) => ip.segments()[4..] == [0, 0, 0, 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{LinkType, Transport};
    use crate::event::IpProtocol;
    use crate::time::Timestamp;

    const POD: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const BRIDGE: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn decide(pairs: &[(&str, &str)]) -> VantagePoint {
        let mut survey = Survey::new(&Settings::default());
        count(&mut survey, pairs);
        survey.decide()
    }

    fn packet(from: &str, to: &str, hop_limit: u8) -> Packet<'static> {
        Packet {
            source: from.parse().unwrap(),
            destination: to.parse().unwrap(),
            protocol: IpProtocol::UDP,
            transport: Transport::Other,
            ip_bytes: 0,
            hop_limit,
            payload: &[],
            payload_bytes: 0,
            vlan: 0,
            tunnel: None,
        }
    }

    fn frame(link_type: LinkType, bytes: &[u8]) -> Frame<'_> {
        Frame { at: Timestamp::default(), link_type, wire_bytes: 0, bytes }
    }

    /// Behind the pod's and the bridge's link addresses.
    fn count(survey: &mut Survey, pairs: &[(&str, &str)]) {
        for (from, to) in pairs {
            let header = [BRIDGE, POD].concat();
            survey.count(&frame(LinkType::Ethernet, &header), &packet(from, to, 64));
        }
    }

    fn veth(ips: &[&str]) -> VantagePoint {
        VantagePoint::Veth(ips.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    /// One peer opens all: each of the two is in every packet.
    #[test]
    fn tells_the_container_from_its_only_peer() {
        for (case, own, peer, hop_limit, found) in [
            ("a scraper in another network", "10.244.1.7", "10.250.0.10", 63, true),
            ("a scraper with a smaller address", "10.244.7.9", "10.0.2.2", 61, true),
            ("the node probes", "10.244.7.9", "10.244.7.1", 64, true),
            ("the API server's service", "10.244.7.9", "10.96.0.1", 64, true),
            ("over IPv6", "fd00:244::9", "fd00:250::9", 62, true),
            ("a neighbour on a bridge", "172.31.9.17", "172.31.9.4", 64, false),
        ] {
            let mut survey = Survey::new(&Settings::default());
            let raw = frame(LinkType::RawIp, &[]);
            survey.count(&raw, &packet(peer, own, hop_limit));
            survey.count(&raw, &packet(own, peer, 64));
            let [own, peer]: [IpAddr; 2] = [own, peer].map(|ip| ip.parse().unwrap());
            let expected = match found {
                true => VantagePoint::Veth(vec![own]),
                false => VantagePoint::Pair(own.min(peer), own.max(peer)),
            };
            assert_eq!(survey.decide(), expected, "{case}");
        }
    }

    #[test]
    fn the_gateway_of_a_node_is_no_container() {
        // All hosts but the pods stand behind the bridge's link address.
        let pods = ["10.244.1.7", "10.244.1.8"];
        let mut survey = Survey::new(&Settings::default());
        for (pod, peer) in [
            (pods[0], "203.0.113.9"),
            (pods[1], "10.244.1.1"),
            (pods[0], pods[1]),
            (pods[1], pods[0]),
            (pods[0], "192.168.77.5"),
        ] {
            count(&mut survey, &[(pod, peer)]);
        }
        let others = ["10.244.1.1", "192.168.77.5"].map(|ip| ip.parse().unwrap()).to_vec();
        let sorted = |point| match point {
            VantagePoint::Node { private, mut others, crowded } => {
                others.sort();
                VantagePoint::Node { private, others, crowded }
            }
            point => point,
        };
        assert_eq!(
            sorted(survey.decide()),
            VantagePoint::Node { private: true, others, crowded: false }
        );
    }

    #[test]
    fn a_network_with_more_speakers_than_a_node_has_is_crowded() {
        for (speakers, answer, expected) in [(5, true, true), (4, true, false), (200, false, false)]
        {
            let mut survey = Survey::new(&Settings { containers_max: 8, ..Settings::default() });
            for last in 2..2 + speakers {
                let peer = format!("10.0.0.{last}");
                count(&mut survey, &[("198.51.100.7", &peer), ("198.51.100.8", &peer)]);
                if answer {
                    count(&mut survey, &[(&peer, "198.51.100.7")]);
                }
            }
            let VantagePoint::Node { crowded, .. } = survey.decide() else { panic!("no node's") };
            assert_eq!(crowded, expected, "{speakers}, that answer: {answer}");
        }
    }

    /// `tcpdump -i any`: what a pod sends comes in and, with the node's address, goes out again.
    #[test]
    fn the_capturing_host_is_no_container() {
        for (case, pod_sends, others) in [
            ("on a node", Some(false), &["192.168.77.1"][..]),
            ("inside a pod with two addresses", Some(true), &[]),
            ("the capture does not tell", None, &[]),
        ] {
            let mut survey = Survey::new(&Settings::default());
            let host_sends = pod_sends.map(|_| true);
            for (from, to, is_outgoing) in [
                ("10.244.1.7", "203.0.113.9", pod_sends),
                ("192.168.77.1", "203.0.113.9", host_sends),
                ("203.0.113.9", "192.168.77.1", host_sends.map(|out| !out)),
                ("203.0.113.9", "10.244.1.7", pod_sends.map(|out| !out)),
            ] {
                // Where the packet type of a cooked frame is (PACKET_OUTGOING is 4).
                let cooked = [0, if is_outgoing == Some(true) { 4 } else { 0 }];
                let (link_type, bytes) = match is_outgoing {
                    Some(_) => (LinkType::LinuxSll, &cooked[..]),
                    None => (LinkType::RawIp, &[][..]),
                };
                survey.count(&frame(link_type, bytes), &packet(from, to, 64));
            }
            let others = others.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(
                survey.decide(),
                VantagePoint::Node { private: true, others, crowded: false },
                "{case}"
            );
        }
    }

    #[test]
    fn what_the_configuration_calls_a_node_or_service_is_no_container() {
        let nodes = ["10.0.0.2".parse().unwrap()];
        let services = ["10.250.0.0/16".parse().unwrap()];
        for (case, peer) in [("a node", "10.0.0.2"), ("a service", "10.250.3.4")] {
            let mut survey = Survey::new(&Settings {
                node_networks: nodes.to_vec(),
                service_networks: services.to_vec(),
                ..Settings::default()
            });
            count(&mut survey, &[("10.0.0.3", peer)]);
            assert_eq!(survey.decide(), veth(&["10.0.0.3"]), "{case}");
        }
    }

    #[test]
    fn tells_a_veth_from_a_node() {
        let a = "10.244.1.7";
        for (case, pairs, expected) in [
            ("one pod, two peers", &[(a, "10.96.0.10"), (a, "203.0.113.9")][..], veth(&[a])),
            ("one pod, one outside peer", &[(a, "203.0.113.9")], veth(&[a])),
            (
                "both IP versions, one link address",
                &[(a, "10.96.0.10"), (a, "203.0.113.9"), ("fd00::7", "2001:db8::1")],
                veth(&[a, "fd00::7"]),
            ),
            (
                "nothing tells",
                &[("10.0.0.3", "10.0.0.2")],
                VantagePoint::Pair("10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()),
            ),
            (
                "several pods",
                &[(a, "203.0.113.9"), ("10.244.1.8", "203.0.113.9"), ("10.244.1.9", "10.96.0.1")],
                VantagePoint::Node {
                    private: true,
                    others: vec!["10.96.0.1".parse().unwrap()],
                    crowded: false,
                },
            ),
            (
                "metadata access does not hide the pod",
                &[(a, "169.254.169.254"), (a, "10.96.0.10")],
                veth(&[a]),
            ),
            (
                "nothing",
                &[],
                VantagePoint::Node { private: false, others: Vec::new(), crowded: false },
            ),
        ] {
            assert_eq!(decide(pairs), expected, "{case}");
        }
    }
}
