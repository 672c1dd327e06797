//! Coverage as records: one for each container, by the schema's `coverage`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::inventory::{Container, Coverage};
use super::links::Link;
use crate::output::SCHEMA_VERSION;
use crate::time::Timestamp;

#[derive(Serialize)]
struct Record<'a> {
    timestamp: String,
    schema_version: &'static str,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    container: Who<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<Place<'a>>,
    coverage: How<'a>,
}

#[derive(Serialize)]
struct Who<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    attribution: &'static str,
}

#[derive(Serialize)]
struct Place<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pod: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pod_uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
}

#[derive(Serialize)]
struct How<'a> {
    state: &'static str,
    blind: bool,
    why: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen: Vec<&'static str>,
    interfaces: Vec<Interface<'a>>,
    addresses: &'a [IpAddr],
    pids: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<&'a str>,
}

#[derive(Serialize)]
struct Interface<'a> {
    index: u32,
    name: &'a str,
    kind: String,
    up: bool,
}

/// One line of JSON, without its end.
pub fn coverage_line(at: Timestamp, container: &Container, links: &BTreeMap<u32, Link>) -> String {
    let on_host = || container.interfaces.iter().filter_map(|index| links.get(index));
    let place = container.kubernetes.as_ref();
    let record = Record {
        timestamp: at.to_string(),
        schema_version: SCHEMA_VERSION,
        event_type: "coverage",
        in_iface: on_host().next().map(|link| link.name.as_str()),
        container: Who {
            id: &container.id,
            name: container.name.as_deref(),
            image: container.image.as_deref(),
            ip: container.addresses.iter().min().copied(),
            attribution: container.how.as_str(),
        },
        kubernetes: place.filter(|place| !place.pod.is_empty() || !place.pod_uid.is_empty()).map(
            |place| Place {
                namespace: &place.namespace,
                pod: &place.pod,
                pod_uid: &place.pod_uid,
                owner: place.owner.as_deref(),
            },
        ),
        coverage: How {
            state: container.coverage.as_str(),
            blind: container.coverage.is_blind(),
            why: container.coverage.to_string(),
            unseen: match &container.coverage {
                Coverage::Partial(unseen) => unseen.iter().map(|unseen| unseen.as_str()).collect(),
                _ => Vec::new(),
            },
            interfaces: on_host()
                .map(|link| Interface {
                    index: link.index,
                    name: &link.name,
                    kind: link.kind.to_string(),
                    up: link.up,
                })
                .collect(),
            addresses: &container.addresses,
            pids: &container.pids,
            netns: container.netns,
            pod_uid: place.map(|place| place.pod_uid.as_str()).filter(|uid| !uid.is_empty()),
        },
    };
    serde_json::to_string(&record).unwrap_or_default()
}
