//! Docker's own API, which Podman speaks too. Needs access to the socket, which belongs to root.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::runtime::{Known, Pod};

/// A connection, made when it is first needed.
#[derive(Default)]
pub(super) struct Docker {
    client: Option<bollard::Docker>,
}

impl Docker {
    /// Running containers by id.
    pub(super) async fn list(
        &mut self,
        socket: &Path,
        limit: Duration,
    ) -> Result<BTreeMap<String, Known>, String> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let path = socket.to_str().ok_or("its path is not UTF-8")?;
                let seconds = limit.as_secs().max(1);
                bollard::Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION)
                    .map_err(|error| error.to_string())?
            }
        };
        let running = HashMap::from([("status", vec!["running", "paused"])]);
        let options = ListContainersOptionsBuilder::new().filters(&running).build();
        let asked = tokio::time::timeout(limit, async {
            // An older daemon speaks an older version of its API.
            let client = client.negotiate_version().await?;
            let listed = client.list_containers(Some(options)).await?;
            Ok::<_, bollard::errors::Error>((client, listed))
        })
        .await;
        match asked {
            Ok(Ok((client, listed))) => {
                self.client = Some(client);
                let known = listed.into_iter().filter_map(of_summary);
                Ok(known.map(|known| (known.id.clone(), known)).collect())
            }
            Ok(Err(error)) => {
                self.client = None;
                Err(error.to_string())
            }
            Err(_) => {
                self.client = None;
                Err(format!("no answer within {} s", limit.as_secs_f32()))
            }
        }
    }
}

fn of_summary(summary: ContainerSummary) -> Option<Known> {
    let labels: BTreeMap<String, String> = summary.labels.unwrap_or_default().into_iter().collect();
    // Kubernetes over Docker: what the kubelet wrote on it.
    let label = |key: &str| labels.get(key).cloned();
    let pod = label("io.kubernetes.pod.name").map(|name| Pod {
        namespace: label("io.kubernetes.pod.namespace").unwrap_or_default(),
        name,
        uid: label("io.kubernetes.pod.uid").unwrap_or_default(),
    });
    let first = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    let name = label("io.kubernetes.container.name")
        .unwrap_or_else(|| first.trim_start_matches('/').to_owned());
    let sandbox = label("io.kubernetes.docker.type").is_some_and(|kind| kind == "podsandbox");
    let networks = summary.network_settings.and_then(|network| network.networks);
    let mut addresses: Vec<_> = networks
        .unwrap_or_default()
        .into_values()
        .flat_map(|network| [network.ip_address, network.global_ipv6_address])
        .filter_map(|address| address?.parse().ok())
        .collect();
    addresses.sort_unstable();
    let mode = summary.host_config.and_then(|config| config.network_mode);
    let known = Known {
        id: summary.id?,
        name,
        image: summary.image,
        labels,
        pod,
        sandbox,
        addresses,
        netns: None,
        host_network: mode.is_some_and(|mode| mode == "host"),
        pid: None,
    };
    Some(known.bounded())
}
