//! Who stands behind an interface, for records: one container, or a pod of several.

use std::net::IpAddr;

use crate::attribution::{self, Container};
use crate::container::{Attribution, ContainerIdentity, Kubernetes, LinkOwner};
use crate::event::LinkId;

/// Names of a pod's containers that are told together (count).
const NAMES_MAX: usize = 8;

/// The owner of a link, of the containers that share it. A pod's containers share one network, and
/// nothing in a packet says which of them sent it: of several, the pod is told with all their names.
pub(super) fn owner(link: LinkId, name: &str, sharing: &[&Container]) -> LinkOwner {
    let apps: Vec<&&Container> = sharing.iter().filter(|one| !one.sandbox).collect();
    let sandbox = sharing.iter().find(|one| one.sandbox);
    let Some(first) = apps.first().copied().or(sandbox) else {
        let mut owner = LinkOwner::unnamed(link, name);
        owner.identity.attribution = Attribution::Pending;
        return owner;
    };
    let alone = apps.len() < 2;
    let whole = if alone { first } else { sandbox.unwrap_or(first) };
    let names: Vec<&str> =
        apps.iter().filter_map(|one| one.name.as_deref()).take(NAMES_MAX).collect();
    let named = if apps.is_empty() { first.name.clone() } else { Some(names.join(",")) };
    let mut addresses: Vec<IpAddr> =
        sharing.iter().flat_map(|one| &one.addresses).copied().collect();
    addresses.sort_unstable();
    addresses.dedup();
    let place = sharing.iter().find_map(|one| one.kubernetes.as_ref());
    let identity = ContainerIdentity {
        id: whole.id.as_str().into(),
        name: named.filter(|name| !name.is_empty()).map(Into::into),
        image: first.image.as_deref().filter(|_| alone).map(Into::into),
        ip: addresses.first().copied().unwrap_or(IpAddr::from([0; 4])),
        attribution: match first.how {
            attribution::Attribution::Runtime => Attribution::Runtime,
            attribution::Attribution::Cgroup => Attribution::Cgroup,
            attribution::Attribution::Interface => Attribution::Interface,
        },
        kubernetes: place.filter(|place| !place.pod.is_empty()).map(|place| {
            Box::new(Kubernetes {
                namespace: place.namespace.as_str().into(),
                pod: place.pod.as_str().into(),
                pod_uid: Some(place.pod_uid.as_str()).filter(|uid| !uid.is_empty()).map(Into::into),
                owner: place.owner.as_deref().map(Into::into),
            })
        }),
    };
    LinkOwner { link, identity, addresses }
}
