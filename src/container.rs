//! Containers: which address belongs to which, and what is known about each.

pub mod names;
pub mod network;
pub mod sharing;
pub mod survey;
pub mod table;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::baseline::Destinations;
use crate::event::LinkId;
use crate::time::Timestamp;

pub use names::Names;
pub use network::Network;
pub use sharing::{Member, Sharing};

/// `[containers]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address ranges whose every address is a container (`"10.244.0.0/16"`).
    pub pod_networks: Vec<Network>,
    /// Address ranges of services (`"10.96.0.0/12"`): inside the cluster, never a container.
    pub service_networks: Vec<Network>,
    /// Addresses of nodes and gateways: inside the cluster, never a container.
    pub node_networks: Vec<Network>,
    /// Containers with their names: `[[containers.named]]`.
    pub named: Vec<Named>,
    /// Containers known at a time (count).
    pub containers_max: usize,
    /// Addresses with a name per container (count).
    pub names_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pod_networks: Vec::new(),
            service_networks: Vec::new(),
            node_networks: Vec::new(),
            named: Vec::new(),
            containers_max: 1_024,
            names_max: 1_024,
        }
    }
}

impl Settings {
    /// Containers at most that are known for having answered (count): whoever scans must not take the
    /// places of those that will be found to open flows.
    pub(crate) const fn responders_max(&self) -> usize {
        self.containers_max / 2
    }

    /// The configuration says that this address is a service's, a node's or a gateway's.
    pub fn is_infrastructure(&self, ip: IpAddr) -> bool {
        let networks = [&self.service_networks, &self.node_networks];
        networks.into_iter().flatten().any(|network| network.contains(ip))
    }
}

/// A container that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Name for records.
    pub name: Box<str>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Kubernetes namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Box<str>>,
    /// Kubernetes pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Box<str>>,
    /// UID of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Box<str>>,
    /// Workload that the pod belongs to: `StatefulSet/web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<str>>,
    /// Container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<str>>,
}

/// How a container was found: every record says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attribution {
    /// Named by a flag or in the configuration.
    Configured,
    /// In a pod network that a flag or the configuration names.
    PodNetwork,
    /// The one address that every packet of the capture has: the capture was taken at its veth.
    Veth,
    /// A private address that opens flows, in the capture of a whole node.
    Originator,
    /// A private address that opens none, and answers, in the capture of a whole node.
    Responder,
    /// By the interface that is the host's end of its veth, and nothing more is known of it.
    Interface,
    /// By that interface, and its name is being asked for.
    Pending,
    /// By that interface, its network namespace, and its cgroup there.
    Cgroup,
    /// By that interface, its network namespace, and what the container runtime says of it.
    Runtime,
}

impl Attribution {
    /// By the host's end of its interface, whatever else is known.
    pub const fn is_by_link(self) -> bool {
        matches!(self, Self::Interface | Self::Pending | Self::Cgroup | Self::Runtime)
    }

    /// As in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::PodNetwork => "pod_network",
            Self::Veth => "veth",
            Self::Originator => "originator",
            Self::Responder => "responder",
            Self::Interface => "interface",
            Self::Pending => "pending",
            Self::Cgroup => "cgroup",
            Self::Runtime => "runtime",
        }
    }
}

/// Who a container is, for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerIdentity {
    /// Runtime id, that of its pod's sandbox where it is one of several; in replay, its first address.
    pub id: Box<str>,
    /// Its name, where known.
    pub name: Option<Box<str>>,
    /// Its image, where known.
    pub image: Option<Box<str>>,
    /// Its first address (IPv4 before IPv6).
    pub ip: IpAddr,
    /// How it was found.
    pub attribution: Attribution,
    /// Its place in Kubernetes, where known.
    pub kubernetes: Option<Box<Kubernetes>>,
    /// Of a link: what the host knows of those behind it. The above is drawn from it.
    pub sharing: Option<Box<Sharing>>,
}

impl ContainerIdentity {
    /// Its pod, where that is known by its name.
    pub fn pod(&self) -> Option<&Kubernetes> {
        self.kubernetes.as_deref().filter(|pod| pod.is_named())
    }

    /// What to call it: `shop/web-0`, else its name, else its address.
    pub fn label(&self) -> String {
        match (self.pod(), &self.name) {
            (Some(pod), _) => format!("{}/{}", pod.namespace, pod.pod),
            (None, Some(name)) => name.to_string(),
            (None, None) => self.ip.to_string(),
        }
    }
}

/// A container's place in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// Namespace. Empty where only the pod's UID is known.
    pub namespace: Box<str>,
    /// Pod name. Empty as above.
    pub pod: Box<str>,
    /// Pod UID.
    pub pod_uid: Option<Box<str>>,
    /// `StatefulSet/web`.
    pub owner: Option<Box<str>>,
}

/// The container whose interface's other end a link is, as the host knows it. All that a link
/// carries is that container's traffic, whatever its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOwner {
    /// The host's end.
    pub link: LinkId,
    /// Who it is. An unspecified address means that its packets shall tell.
    pub identity: ContainerIdentity,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

impl LinkOwner {
    /// Of which nothing is known but the name of its host's end.
    pub fn unnamed(link: LinkId, name: &str) -> Self {
        let identity = ContainerIdentity {
            id: name.into(),
            name: None,
            image: None,
            ip: IpAddr::from([0; 4]),
            attribution: Attribution::Interface,
            kubernetes: None,
            sharing: None,
        };
        Self { link, identity, addresses: Vec::new() }
    }
}

/// A container as detectors see it.
#[derive(Debug)]
pub struct Container {
    /// Number in the table.
    pub number: u32,
    /// Who it is.
    pub identity: ContainerIdentity,
    /// All its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its interface; else the one that saw its first flow.
    pub link: Option<LinkId>,
    /// First packet.
    pub first_seen: Timestamp,
    /// Last packet.
    pub last_seen: Timestamp,
    /// Flows opened by it, and to it (count).
    pub flows: [u64; 2],
    /// IP bytes that it sent, and that it received.
    pub ip_bytes: [u64; 2],
    /// Names of the addresses that it asked for.
    pub names: Names,
    /// Where it went so far.
    pub destinations: Destinations,
}

/// Addresses noted of a container that is found by its link (count).
const ADDRESSES_MAX: usize = 16;

impl Container {
    /// Notes an address from which a container that is found by its link speaks.
    pub(crate) fn note_address(&mut self, ip: IpAddr) {
        if self.addresses.contains(&ip) || ip.is_unspecified() || ip.is_multicast() {
            return;
        }
        if self.identity.ip.is_unspecified() || self.identity.ip.is_ipv6() && ip.is_ipv4() {
            self.identity.ip = ip;
        }
        if self.addresses.len() < ADDRESSES_MAX {
            self.addresses.push(ip);
        }
    }
}
