//! The containers of a capture: found by address, bounded in number.

use std::collections::HashSet;
use std::net::IpAddr;

use super::survey::{self, VantagePoint};
use super::{
    Attribution, Container, ContainerIdentity, Kubernetes, LinkOwner, Named, Names, Settings,
};
use crate::baseline::{self, Destinations};
use crate::bounded::BoundedMap;
use crate::event::{LinkId, Side, Zone};
use crate::time::Timestamp;

/// Strangers (packets without the veth's container) after which the capture counts as a node's.
const STRANGERS_MIN: u64 = 16;
/// Addresses that are no container's, kept for the report (count).
const STRANGERS_SHOWN: usize = 6;

/// All containers, by number and by address. `D` is what is kept beside each: its detectors.
#[derive(Debug)]
pub struct Containers<D> {
    settings: Settings,
    destinations_max: usize,
    rule: Rule,
    /// By the low 16 bits of the number.
    entries: Vec<Option<(Container, D)>>,
    /// Numbers of containers that are gone: their places are free.
    gone: Vec<u32>,
    by_address: BoundedMap<IpAddr, u32>,
    by_link: BoundedMap<LinkId, u32>,
    refused: u64,
    packets: u64,
    strangers: u64,
    strangers_seen: Vec<IpAddr>,
    /// By the survey: never containers.
    others: HashSet<IpAddr, foldhash::fast::FixedState>,
    /// Containers that have opened a flow (count).
    callers: usize,
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
    /// Those that open flows and are answered, and private ones that answer.
    Originators { private: bool, crowded: bool },
}

impl<D> Containers<D> {
    /// No containers yet.
    pub fn new(settings: &Settings, baseline: &baseline::Settings) -> Self {
        let rule = match (settings.pod_networks.is_empty(), settings.named.is_empty()) {
            (false, _) => Rule::PodNetworks,
            (true, false) => Rule::Named,
            (true, true) => Rule::Originators { private: true, crowded: false },
        };
        Self {
            settings: settings.clone(),
            destinations_max: baseline.container_destinations_max,
            rule,
            entries: Vec::new(),
            gone: Vec::new(),
            by_link: BoundedMap::new(settings.containers_max),
            by_address: BoundedMap::new(settings.containers_max.saturating_mul(8)),
            refused: 0,
            packets: 0,
            strangers: 0,
            strangers_seen: Vec::new(),
            others: HashSet::default(),
            callers: 0,
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
            VantagePoint::Node { private, others, crowded } => {
                self.rule = Rule::Originators { private: *private, crowded: *crowded };
                self.others = others.iter().copied().collect();
            }
        }
    }

    /// Number of the container whose other end this link is.
    #[inline]
    pub fn on_link(&self, link: LinkId) -> Option<u32> {
        if self.by_link.is_empty() {
            return None;
        }
        self.by_link.peek(&link).copied()
    }

    /// Names a container, or gives further addresses to one that is called so. From then on no address makes
    /// a container that is neither named nor in a pod network. Who had one of its addresses before keeps them.
    pub fn know(&mut self, named: &Named) {
        if self.rule != Rule::PodNetworks {
            self.rule = Rule::Named;
        }
        let all = &mut self.settings.named;
        let name =
            |named: &Named| (named.name.clone(), named.namespace.clone(), named.pod_uid.clone());
        let Some(known) = all.iter_mut().find(|known| name(known) == name(named)) else {
            let taken =
                |known: &Named| known.addresses.iter().any(|ip| named.addresses.contains(ip));
            if all.len() < self.settings.containers_max && !all.iter().any(taken) {
                all.push(named.clone());
            }
            return;
        };
        let number = known.addresses.iter().find_map(|ip| self.by_address.peek(ip).copied());
        for ip in &named.addresses {
            if known.addresses.len() < super::ADDRESSES_MAX && !known.addresses.contains(ip) {
                known.addresses.push(*ip);
            }
        }
        let addresses = known.addresses.clone();
        let Some(number) = number else { return };
        let Some((container, _)) = self.get_mut(number) else { return };
        container.addresses.clone_from(&addresses);
        for ip in addresses {
            self.by_address.insert(ip, number);
        }
    }

    /// Takes what the host says of a link's container: a new one, or more about one that is known.
    /// Returns its number, where there is room. From then on no address makes a container.
    pub fn own(&mut self, at: Timestamp, owner: &LinkOwner, make: impl Fn() -> D) -> Option<u32> {
        self.rule = Rule::Named;
        let number = match self.on_link(owner.link) {
            Some(number) => number,
            None => {
                let number = self.insert(at, owner.identity.clone(), &[], make)?;
                self.by_link.insert(owner.link, number);
                number
            }
        };
        let (container, _) = self.get_mut(number)?;
        container.link = Some(owner.link);
        let seen_ip = container.identity.ip;
        // A link has one container until it is gone: who was known does not become unknown.
        container.identity.renew(at, &owner.identity);
        if container.identity.ip.is_unspecified() {
            container.identity.ip = seen_ip;
        }
        owner.addresses.iter().for_each(|ip| container.note_address(*ip));
        Some(number)
    }

    /// Number of the container that has an address of this one's.
    pub fn of_named(&self, named: &Named) -> Option<u32> {
        named.addresses.iter().find_map(|ip| self.by_address.peek(ip).copied())
    }

    /// The link is gone, and its container with it. Returns what was known of it.
    pub fn disown(&mut self, link: LinkId) -> Option<(Container, D)> {
        let number = self.by_link.remove(&link)?;
        self.take(number)
    }

    /// A container that was named has ended. Returns what was known of it. It may be named anew.
    pub fn end(&mut self, number: u32) -> Option<(Container, D)> {
        let ended = self.take(number)?;
        for ip in &ended.0.addresses {
            self.by_address.remove(ip);
        }
        let its = |named: &Named| named.addresses.iter().any(|ip| ended.0.addresses.contains(ip));
        self.settings.named.retain(|named| !its(named));
        Some(ended)
    }

    fn take(&mut self, number: u32) -> Option<(Container, D)> {
        let entry = self.entries.get_mut(place_of(number))?.take()?;
        self.callers -= usize::from(entry.0.flows[0] > 0);
        self.gone.push(number);
        Some(entry)
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
        if self.rule == Rule::PodNetworks && inside && !self.settings.is_infrastructure(ip) {
            return self.add(at, &[ip], Attribution::PodNetwork, &make);
        }
        self.note_stranger(ip);
        None
    }

    fn note_stranger(&mut self, ip: IpAddr) {
        if self.strangers_seen.len() < STRANGERS_SHOWN
            && matches!(Zone::of(ip), Zone::Cluster | Zone::External)
            && !self.strangers_seen.contains(&ip)
        {
            self.strangers_seen.push(ip);
        }
    }

    /// Configured containers and pod networks that no packet matched, each in words.
    pub fn unmatched(&self) -> Vec<String> {
        if self.refused > 0 {
            // They may be among those that found no room.
            return Vec::new();
        }
        let has = |test: &dyn Fn(IpAddr) -> bool| {
            self.iter().any(|container| container.addresses.iter().any(|ip| test(*ip)))
        };
        let settings = &self.settings;
        let named = settings.named.iter().filter(|named| !has(&|ip| named.addresses.contains(&ip)));
        let networks =
            settings.pod_networks.iter().filter(|network| !has(&|ip| network.contains(ip)));
        named
            .map(|named| {
                let addresses: Vec<_> = named.addresses.iter().map(IpAddr::to_string).collect();
                format!("container {} ({})", named.name, addresses.join(", "))
            })
            .chain(networks.map(|network| format!("pod network {network}")))
            .collect()
    }

    /// Some addresses that are none, the first seen first: where containers are configured, all others;
    /// else those that open flows and that the configuration calls a service's or a node's.
    pub fn strangers(&self) -> &[IpAddr] {
        &self.strangers_seen
    }

    /// This end of a flow that was answered may be a container.
    pub fn answered(
        &mut self,
        at: Timestamp,
        (ip, side): (IpAddr, Side),
        make: impl Fn() -> D,
    ) -> Option<u32> {
        let Rule::Originators { private, crowded } = self.rule else { return None };
        let fits = match Zone::of(ip) {
            Zone::Cluster => true,
            Zone::External => !private && side == Side::Originator,
            Zone::Host | Zone::LinkLocal | Zone::Group => false,
        };
        if fits && (self.settings.is_infrastructure(ip) || self.others.contains(&ip)) {
            self.note_stranger(ip);
            return None;
        }
        match (fits, side) {
            (false, _) => None,
            (true, Side::Originator) => self.add(at, &[ip], Attribution::Originator, &make),
            (true, Side::Responder) => {
                let room = !crowded && self.len() < self.settings.responders_max();
                if !room || survey::is_infrastructure(ip) {
                    return None;
                }
                self.add(at, &[ip], Attribution::Responder, &make)
            }
        }
    }

    /// A container opens a flow: counts it. Returns the container.
    pub fn opens(&mut self, number: u32) -> Option<&mut Container> {
        let (container, _) = self.entries.get_mut(place_of(number))?.as_mut()?;
        if container.number != number {
            return None;
        }
        self.callers += usize::from(container.flows[0] == 0);
        container.flows[0] += 1;
        if container.identity.attribution == Attribution::Responder {
            container.identity.attribution = Attribution::Originator;
        }
        Some(container)
    }

    /// Containers that have opened a flow (count): what others do not call tells nothing of what is
    /// usual.
    pub const fn callers(&self) -> usize {
        self.callers
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
            self.rule = Rule::Originators { private: true, crowded: false };
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
        let entry = self.entries.get_mut(place_of(number))?.as_mut()?;
        (entry.0.number == number).then_some(entry)
    }

    /// The container with a number.
    pub fn get(&self, number: u32) -> Option<&Container> {
        let (container, _) = self.entries.get(place_of(number))?.as_ref()?;
        (container.number == number).then_some(container)
    }

    /// The places of all; those of containers that are gone are empty.
    pub fn entries(&self) -> &[Option<(Container, D)>] {
        &self.entries
    }

    /// All, in the order in which they were found.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (Container, D)> {
        self.entries.iter_mut().flatten()
    }

    /// All, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Container> {
        self.entries.iter().flatten().map(|(container, _)| container)
    }

    /// Containers known (count).
    pub fn len(&self) -> usize {
        self.entries.len() - self.gone.len()
    }

    /// None is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Addresses that found no room (count of attempts).
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn add(
        &mut self,
        at: Timestamp,
        addresses: &[IpAddr],
        attribution: Attribution,
        make: impl FnOnce() -> D,
    ) -> Option<u32> {
        let first = *addresses.iter().min_by_key(|ip| ip.is_ipv6())?;
        let named = self.settings.named.iter().find(|named| named.addresses.contains(&first));
        let kubernetes = named.and_then(|named| {
            Some(Box::new(Kubernetes {
                namespace: named.namespace.clone()?,
                pod: named.pod.clone().unwrap_or_else(|| named.name.clone()),
                pod_uid: named.pod_uid.clone(),
                owner: named.owner.clone(),
            }))
        });
        let identity = ContainerIdentity {
            id: first.to_string().into(),
            name: named.map(|named| named.name.clone()),
            image: named.and_then(|named| named.image.clone()),
            ip: first,
            attribution,
            kubernetes,
            sharing: None,
        };
        let number = self.insert(at, identity, addresses, make)?;
        for ip in addresses {
            self.by_address.insert(*ip, number);
        }
        Some(number)
    }

    fn insert(
        &mut self,
        at: Timestamp,
        identity: ContainerIdentity,
        addresses: &[IpAddr],
        make: impl FnOnce() -> D,
    ) -> Option<u32> {
        if self.len() >= self.settings.containers_max.min(PLACES) {
            self.refused += 1;
            return None;
        }
        // A number is not used again soon, though its place is: what still speaks of the container
        // that had it must not be taken to speak of this one.
        let number = match self.gone.pop() {
            Some(number) => number.wrapping_add(PLACES as u32),
            None => {
                self.entries.push(None);
                self.entries.len() as u32 - 1
            }
        };
        let container = Container {
            number,
            identity,
            addresses: addresses.to_vec(),
            link: None,
            first_seen: at,
            last_seen: at,
            flows: [0; 2],
            ip_bytes: [0; 2],
            names: Names::new(self.settings.names_max),
            destinations: Destinations::new(self.destinations_max),
        };
        *self.entries.get_mut(place_of(number))? = Some((container, make()));
        Some(number)
    }
}

/// Containers at a time, at most (count): a number's low 16 bits are its place.
const PLACES: usize = 1 << 16;

const fn place_of(number: u32) -> usize {
    number as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(containers_max: usize) -> Containers<()> {
        let settings = Settings { containers_max, ..Settings::default() };
        let mut containers = Containers::new(&settings, &baseline::Settings::default());
        let host = "192.168.77.1".parse().unwrap();
        let point = VantagePoint::Node { private: true, others: vec![host], crowded: false };
        containers.settle(Timestamp::default(), &point, || ());
        containers
    }

    fn answered(containers: &mut Containers<()>, ip: &str, side: Side) -> Option<Attribution> {
        let end = (ip.parse().unwrap(), side);
        let number = containers.answered(Timestamp::default(), end, || ())?;
        Some(containers.get(number)?.identity.attribution)
    }

    #[test]
    fn both_ends_of_an_answered_flow_may_be_containers() {
        use Side::{Originator, Responder};
        for (ip, side, expected) in [
            ("10.244.1.7", Originator, Some(Attribution::Originator)),
            ("10.244.1.7", Responder, Some(Attribution::Responder)),
            ("10.96.0.10", Responder, None),
            ("10.244.1.1", Responder, None),
            ("10.244.1.1", Originator, Some(Attribution::Originator)),
            ("192.168.77.1", Originator, None),
            ("203.0.113.9", Responder, None),
        ] {
            assert_eq!(answered(&mut node(8), ip, side), expected, "{ip} as {side:?}");
        }
    }

    /// As the captures of two sidecars tell of their pods, merged.
    #[test]
    fn pods_are_known_by_more_than_a_name_and_keep_their_addresses() {
        let mut containers = node(2);
        let named = |uid: &str, addresses: &[&str]| Named {
            name: "app".into(),
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            namespace: Some("shop".into()),
            pod: None,
            pod_uid: Some(uid.into()),
            owner: None,
            image: None,
        };
        containers.know(&named("1", &["10.9.1.2"]));
        containers.know(&named("2", &["10.9.1.3"]));
        containers.know(&named("3", &["10.9.1.4"]));
        let find = |containers: &mut Containers<()>, ip: &str| {
            let number = containers.find(Timestamp::default(), ip.parse().unwrap(), || ())?;
            Some(containers.get(number)?.identity.id.to_string())
        };
        assert_eq!(find(&mut containers, "10.9.1.2").as_deref(), Some("10.9.1.2"));
        containers.know(&named("1", &["10.9.1.2", "10.9.9.2"]));
        assert_eq!(find(&mut containers, "10.9.9.2").as_deref(), Some("10.9.1.2"), "the same pod");
        assert_eq!(find(&mut containers, "10.9.1.3").as_deref(), Some("10.9.1.3"), "another");
        assert_eq!(find(&mut containers, "10.9.1.4"), None, "there is room for two");
        let first = containers.of_named(&named("1", &["10.9.1.2"])).unwrap();
        assert!(containers.end(first).is_some());
        assert_eq!(find(&mut containers, "10.9.9.2"), None, "it has ended");
        assert!(containers.unmatched().is_empty() && containers.len() == 1);
        containers.know(&named("3", &["10.9.1.4"]));
        assert_eq!(find(&mut containers, "10.9.1.4").as_deref(), Some("10.9.1.4"));
        assert_eq!(answered(&mut containers, "10.9.1.9", Side::Originator), None);
        let mut one = node(2);
        one.know(&named("1", &["10.9.1.2"]));
        one.know(&named("2", &["10.9.1.2", "10.9.1.3"]));
        assert_eq!(find(&mut one, "10.9.1.3"), None, "who had the address keeps it");
    }

    #[test]
    fn those_that_only_answer_leave_room_and_do_not_count_as_callers() {
        let mut containers = node(4);
        for ip in ["10.0.0.2", "10.0.0.3", "10.0.0.4"] {
            answered(&mut containers, ip, Side::Responder);
        }
        assert_eq!((containers.len(), containers.callers()), (2, 0), "half of the places");
        answered(&mut containers, "10.0.0.5", Side::Originator);
        assert_eq!((containers.len(), containers.callers()), (3, 0));
        for (number, callers) in [(2, 1), (2, 1), (0, 2)] {
            let container = containers.opens(number).unwrap();
            assert_eq!(container.identity.attribution, Attribution::Originator);
            assert_eq!(containers.callers(), callers);
        }
    }
}
