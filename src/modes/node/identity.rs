//! Who stands behind an interface, for records: one container, or a pod of several.

use std::net::IpAddr;

use crate::attribution::{self, Container};
use crate::container::{Attribution, ContainerIdentity, Kubernetes, LinkOwner, Member, Sharing};
use crate::event::LinkId;

/// The owner of a link, of the containers that share it.
pub(super) fn owner(link: LinkId, name: &str, all: &[&Container]) -> LinkOwner {
    let (sandboxes, others): (Vec<&Container>, Vec<&Container>) =
        all.iter().copied().partition(|one| one.sandbox);
    // A namespace without a known container is no container of it.
    let (networks, members): (Vec<&Container>, Vec<&Container>) =
        others.into_iter().partition(|one| one.how == attribution::Attribution::Interface);
    let sandbox = sandboxes.first();
    let told = members.first().or(sandbox).or(networks.first());
    let netns = all.iter().find_map(|one| one.netns).map(|netns| format!("netns:{netns}"));
    let network = netns.or_else(|| networks.first().map(|one| one.id.clone()));
    let sharing = Sharing {
        sandbox: sandbox.map(|one| one.id.as_str().into()),
        network_name: networks.first().and_then(|one| one.name.as_deref()).map(Into::into),
        members: members.iter().map(|one| member(one)).collect(),
        ..Sharing::of_network(network.as_deref().unwrap_or(name))
    };
    let mut addresses: Vec<IpAddr> = all.iter().flat_map(|one| &one.addresses).copied().collect();
    addresses.sort_unstable();
    addresses.dedup();
    let mut places: Vec<_> = all.iter().filter_map(|one| one.kubernetes.as_ref()).collect();
    places.sort_by_key(|place| place.pod.is_empty());
    let identity = ContainerIdentity {
        ip: addresses.first().copied().unwrap_or(IpAddr::from([0; 4])),
        attribution: told.map_or(Attribution::Pending, |one| match one.how {
            attribution::Attribution::Runtime => Attribution::Runtime,
            attribution::Attribution::Cgroup => Attribution::Cgroup,
            attribution::Attribution::Interface => Attribution::Interface,
        }),
        kubernetes: places.first().map(|place| {
            Box::new(Kubernetes {
                namespace: place.namespace.as_str().into(),
                pod: place.pod.as_str().into(),
                pod_uid: Some(place.pod_uid.as_str()).filter(|uid| !uid.is_empty()).map(Into::into),
                owner: place.owner.as_deref().map(Into::into),
            })
        }),
        ..LinkOwner::unnamed(link, name).identity
    };
    LinkOwner { link, identity: identity.of_sharing(sharing), addresses }
}

fn member(container: &Container) -> Member {
    Member {
        id: container.id.as_str().into(),
        name: container.name.as_deref().map(Into::into),
        image: container.image.as_deref().map(Into::into),
        started: container.started,
        ended: None,
    }
}
