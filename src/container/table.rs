//! The containers of a capture: found by address, bounded in number.

use std::net::IpAddr;

use super::survey::VantagePoint;
use super::{Attribution, Container, ContainerIdentity, Kubernetes, Names, Settings};
use crate::baseline::{self, Destinations};
use crate::bounded::BoundedMap;
use crate::event::Zone;
use crate::time::Timestamp;

/// Strangers (packets without the veth's container) after which the capture counts as a node's.
const STRANGERS_MIN: u64 = 16;

/// All containers, by number and by address. `D` is what is kept beside each: its detectors.
#[derive(Debug)]
pub struct Containers<D> {
    settings: Settings,
    destinations_max: usize,
    rule: Rule,
    entries: Vec<(Container, D)>,
    by_address: BoundedMap<IpAddr, u32>,
    refused: u64,
    packets: u64,
    strangers: u64,
}

/// Which addresses become containers without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// None: all that are were named, or found by the survey.
    Named,
    /// Those in the configured pod networks.
    PodNetworks,
    /// None but the veth's, unless strangers show that it is a node after all.
    Veth,
    /// Those that open flows and are answered.
    Originators { private: bool },
}

impl<D> Containers<D> {
    /// No containers yet.
    pub fn new(settings: &Settings, baseline: &baseline::Settings) -> Self {
        let rule = match (settings.pod_networks.is_empty(), settings.named.is_empty()) {
            (false, _) => Rule::PodNetworks,
            (true, false) => Rule::Named,
            (true, true) => Rule::Originators { private: true },
        };
        Self {
            settings: settings.clone(),
            destinations_max: baseline.container_destinations_max,
            rule,
            entries: Vec::new(),
            by_address: BoundedMap::new(settings.containers_max.saturating_mul(8)),
            refused: 0,
            packets: 0,
            strangers: 0,
        }
    }

    /// Flags or the configuration say which addresses are containers: no survey is needed.
    pub fn is_configured(&self) -> bool {
        matches!(self.rule, Rule::PodNetworks | Rule::Named)
    }

    /// Takes the survey's result.
    pub fn settle(&mut self, at: Timestamp, point: &VantagePoint, make: impl Fn() -> D) {
        match point {
            VantagePoint::Veth(addresses) => {
                self.rule = Rule::Veth;
                self.add(at, addresses, Attribution::Veth, &make);
            }
            VantagePoint::Pair(one, other) => {
                self.rule = Rule::Veth;
                self.add(at, &[*one], Attribution::Veth, &make);
                self.add(at, &[*other], Attribution::Veth, &make);
            }
            VantagePoint::Node { private } => self.rule = Rule::Originators { private: *private },
        }
    }

    /// Number of the container with this address, if it is known to be one.
    pub fn find(&mut self, at: Timestamp, ip: IpAddr, make: impl Fn() -> D) -> Option<u32> {
        if let Some(number) = self.by_address.get_mut(&ip) {
            return Some(*number);
        }
        if !self.is_configured() {
            return None;
        }
        if let Some(named) = self.settings.named.iter().find(|named| named.addresses.contains(&ip))
        {
            let addresses = named.addresses.clone();
            return self.add(at, &addresses, Attribution::Configured, &make);
        }
        let inside = self.settings.pod_networks.iter().any(|network| network.contains(ip));
        if self.rule == Rule::PodNetworks && inside && !self.is_infrastructure(ip) {
            return self.add(at, &[ip], Attribution::PodNetwork, &make);
        }
        None
    }

    /// This address opened a flow and was answered: it may become a container.
    pub fn answered(&mut self, at: Timestamp, ip: IpAddr, make: impl Fn() -> D) -> Option<u32> {
        let Rule::Originators { private } = self.rule else { return None };
        let fits = match Zone::of(ip) {
            Zone::Cluster => true,
            Zone::External => !private,
            Zone::Host | Zone::LinkLocal | Zone::Group => false,
        };
        if !fits || self.is_infrastructure(ip) {
            return None;
        }
        self.add(at, &[ip], Attribution::Originator, &make)
    }

    /// Notes the ends of a flow: many that leave out the veth's container show a node's capture.
    pub fn note_ends(&mut self, known: bool, zones: [Zone; 2]) {
        if self.rule != Rule::Veth
            || zones.iter().any(|zone| matches!(zone, Zone::Group | Zone::LinkLocal | Zone::Host))
        {
            return;
        }
        self.packets += 1;
        self.strangers += u64::from(!known);
        if self.strangers >= STRANGERS_MIN && self.strangers * 50 > self.packets {
            self.rule = Rule::Originators { private: true };
        }
    }

    /// Where an address lies: configured networks first, then by range.
    pub fn zone(&self, ip: IpAddr) -> Zone {
        let cluster = [
            &self.settings.pod_networks,
            &self.settings.service_networks,
            &self.settings.node_networks,
        ];
        if cluster.into_iter().flatten().any(|network| network.contains(ip)) {
            return Zone::Cluster;
        }
        Zone::of(ip)
    }

    /// The container with a number, and what is beside it.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut (Container, D)> {
        self.entries.get_mut(number as usize)
    }

    /// The container with a number.
    pub fn get(&self, number: u32) -> Option<&Container> {
        self.entries.get(number as usize).map(|(container, _)| container)
    }

    /// All, in the order in which they were found.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (Container, D)> {
        self.entries.iter_mut()
    }

    /// All, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Container> {
        self.entries.iter().map(|(container, _)| container)
    }

    /// Containers known (count).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// None is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Addresses that found no room (count of attempts).
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn is_infrastructure(&self, ip: IpAddr) -> bool {
        let networks = [&self.settings.service_networks, &self.settings.node_networks];
        networks.into_iter().flatten().any(|network| network.contains(ip))
    }

    fn add(
        &mut self,
        at: Timestamp,
        addresses: &[IpAddr],
        attribution: Attribution,
        make: impl FnOnce() -> D,
    ) -> Option<u32> {
        if self.entries.len() >= self.settings.containers_max {
            self.refused += 1;
            return None;
        }
        let number = self.entries.len() as u32;
        let first = *addresses.iter().min_by_key(|ip| ip.is_ipv6())?;
        let named = self.settings.named.iter().find(|named| named.addresses.contains(&first));
        let kubernetes = named.and_then(|named| {
            Some(Box::new(Kubernetes {
                namespace: named.namespace.clone()?,
                pod: named.pod.clone().unwrap_or_else(|| named.name.clone()),
                pod_uid: None,
                owner: None,
            }))
        });
        let identity = ContainerIdentity {
            id: first.to_string().into(),
            name: named.map(|named| named.name.clone()),
            image: named.and_then(|named| named.image.clone()),
            ip: first,
            attribution,
            kubernetes,
        };
        for ip in addresses {
            self.by_address.insert(*ip, number);
        }
        let container = Container {
            number,
            identity,
            addresses: addresses.to_vec(),
            first_seen: at,
            last_seen: at,
            flows: [0; 2],
            ip_bytes: [0; 2],
            names: Names::new(self.settings.names_max),
            destinations: Destinations::new(self.destinations_max),
        };
        self.entries.push((container, make()));
        Some(number)
    }
}
