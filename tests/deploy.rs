//! The manifests in `deploy/`: they render, every field is one that Kubernetes knows, the privileges
//! are exactly those that the documents name, and vethwatch understands what they say to it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Namespace, PodSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vethwatch::cli::Cli;
use vethwatch::config::Config;

/// What is applied together.
#[derive(Default)]
struct Manifests {
    namespaces: Vec<Namespace>,
    configs: Vec<ConfigMap>,
    pods: Vec<PodSpec>,
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Reads an object, and refuses what its type has no place for: that would not come out again.
fn strictly<T: Serialize + DeserializeOwned>(value: &Value) -> T {
    let object: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(
        &serde_json::to_value(&object).unwrap(),
        value,
        "a field that Kubernetes does not know"
    );
    object
}

impl Manifests {
    fn parse(yaml: &str) -> Self {
        let mut manifests = Self::default();
        for document in serde_yaml_ng::Deserializer::from_str(yaml) {
            let value = Value::deserialize(document).unwrap();
            match value["kind"].as_str().unwrap() {
                "Namespace" => manifests.namespaces.push(strictly(&value)),
                "ConfigMap" => manifests.configs.push(strictly(&value)),
                "DaemonSet" => {
                    let set: DaemonSet = strictly(&value);
                    manifests.pods.push(set.spec.unwrap().template.spec.unwrap());
                }
                "Deployment" => {
                    let deployment: Deployment = strictly(&value);
                    manifests.pods.push(deployment.spec.unwrap().template.spec.unwrap());
                }
                kind => panic!("{kind} is not looked at here"),
            }
        }
        manifests
    }

    fn read(name: &str) -> Self {
        Self::parse(&fs::read_to_string(deploy().join(name)).unwrap())
    }

    /// As `kubectl kustomize` renders a folder; none where there is no kubectl.
    fn render(folder: &Path) -> Option<Self> {
        let Ok(rendered) = Command::new("kubectl").arg("kustomize").arg(folder).output() else {
            support::skipped("kubectl is not installed: the manifests are read and not rendered");
            return None;
        };
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        Some(Self::parse(&String::from_utf8(rendered.stdout).unwrap()))
    }

    fn pod(&self) -> &PodSpec {
        assert_eq!(self.pods.len(), 1);
        &self.pods[0]
    }
}

fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.containers.iter().chain(pod.init_containers.iter().flatten())
}

/// The container that runs vethwatch.
fn vethwatch(pod: &PodSpec) -> &Container {
    containers(pod).find(|container| container.name == "vethwatch").unwrap()
}

/// The capabilities it has; all others are taken.
fn capabilities(container: &Container) -> Vec<String> {
    let security = container.security_context.as_ref().unwrap();
    let capabilities = security.capabilities.as_ref().unwrap();
    assert_eq!(capabilities.drop.as_deref(), Some(&["ALL".to_owned()][..]));
    capabilities.add.clone().unwrap_or_default()
}

/// What holds for vethwatch wherever it runs.
fn check(pod: &PodSpec) {
    let container = vethwatch(pod);
    let security = container.security_context.as_ref().unwrap();
    assert_eq!(security.privileged, Some(false));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(security.read_only_root_filesystem, Some(true));
    assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!((pod.host_ipc, &pod.share_process_namespace), (None, &None));

    let resources = container.resources.as_ref().unwrap();
    let (requests, limits) = (resources.requests.as_ref(), resources.limits.as_ref().unwrap());
    assert!(["cpu", "memory"].iter().all(|name| requests.unwrap().contains_key(*name)));
    // A processor limit would make the kernel drop frames.
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["memory"]);

    let volumes: Vec<&str> = pod.volumes.iter().flatten().map(|volume| &*volume.name).collect();
    for mount in container.volume_mounts.iter().flatten() {
        assert!(volumes.contains(&&*mount.name), "no volume {}", mount.name);
        let kept = mount.name == "state" && mount.mount_path == "/var/lib/vethwatch";
        assert!(kept || mount.read_only == Some(true), "{}", mount.name);
    }
    let args = container.args.iter().flatten().map(String::as_str);
    Cli::try_parse_from(std::iter::once("vethwatch").chain(args)).unwrap();
}

/// Every file of the configuration is one that vethwatch takes, and it is where the pod looks for it.
fn check_config(manifests: &Manifests) {
    assert_eq!(manifests.configs.len(), 1);
    let config = &manifests.configs[0];
    let data = config.data.as_ref().unwrap();
    Config::parse(&data["vethwatch.toml"]).unwrap();
    let mounted = manifests.pod().volumes.iter().flatten();
    let mounted = mounted.filter_map(|volume| volume.config_map.as_ref()).next().unwrap();
    assert_eq!(Some(&mounted.name), config.metadata.name.as_ref());
    let namespace = &manifests.namespaces[0].metadata.name;
    assert_eq!(&config.metadata.namespace, namespace);
}

#[test]
fn the_node_has_what_it_needs_and_nothing_else() {
    let manifests = Manifests::read("daemonset.yaml");
    let pod = manifests.pod();
    check(pod);
    assert_eq!((pod.host_network, pod.host_pid), (Some(true), Some(true)));
    assert_eq!(capabilities(vethwatch(pod)), ["NET_RAW", "SYS_PTRACE", "NET_ADMIN"]);
    let security = vethwatch(pod).security_context.as_ref().unwrap();
    assert_eq!(security.app_armor_profile.as_ref().unwrap().type_, "Unconfined");
    let labels = security.se_linux_options.as_ref().unwrap();
    assert_eq!((labels.type_.as_deref(), &labels.level), (Some("spc_t"), &None));
    let paths = pod.volumes.iter().flatten().filter_map(|volume| volume.host_path.as_ref());
    assert_eq!(
        paths.map(|path| &*path.path).collect::<Vec<_>>(),
        ["/run/containerd", "/var/lib/vethwatch", "/run/netns"]
    );
    let toleration = &pod.tolerations.as_ref().unwrap()[0];
    assert_eq!((toleration.operator.as_deref(), &toleration.key), (Some("Exists"), &None));
}

#[test]
fn the_sidecar_has_net_raw_and_is_not_root() {
    for name in ["sidecar.yaml", "sidecar-older.yaml"] {
        let manifests = Manifests::read(name);
        let pod = manifests.pod();
        check(pod);
        check_config(&manifests);
        assert_eq!((pod.host_network, pod.host_pid), (None, None));
        let container = vethwatch(pod);
        assert_eq!(capabilities(container), ["NET_RAW"]);
        let security = container.security_context.as_ref().unwrap();
        assert_eq!((security.run_as_non_root, security.run_as_user), (Some(true), Some(65_534)));
        assert_eq!((&security.app_armor_profile, &security.se_linux_options), (&None, &None));
        let variables = container.env.iter().flatten().map(|variable| &*variable.name);
        assert_eq!(
            variables.collect::<Vec<_>>(),
            ["POD_NAME", "POD_NAMESPACE", "POD_UID", "CONTAINER_NAME", "CONTAINER_IMAGE"]
        );
        for container in containers(pod) {
            let security = container.security_context.as_ref().unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false), "{name}");
        }
    }
}

#[test]
fn both_sidecars_are_the_same_but_for_their_form() {
    let (native, older) = (Manifests::read("sidecar.yaml"), Manifests::read("sidecar-older.yaml"));
    let mut container = native.pod().init_containers.as_ref().unwrap()[0].clone();
    assert_eq!(container.restart_policy.take().as_deref(), Some("Always"));
    assert_eq!(older.pod().init_containers, None);
    assert_eq!(&container, vethwatch(older.pod()));
    assert_eq!(native.pod().containers[0], older.pod().containers[0]);
    assert_eq!(native.configs, older.configs);
}

#[test]
fn the_node_is_rendered() {
    let Some(manifests) = Manifests::render(&deploy()) else { return };
    check(manifests.pod());
    check_config(&manifests);
    // Rendered, its name says what is in it, so that a change replaces the pods.
    let name = manifests.configs[0].metadata.name.as_ref().unwrap();
    assert!(name.strip_prefix("vethwatch-").is_some_and(|hash| hash.len() == 10), "{name}");
    assert_eq!(vethwatch(manifests.pod()).image.as_deref(), Some(&*image()));
    let namespace = &manifests.namespaces[0].metadata;
    let labels = namespace.labels.as_ref().unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");
}

#[test]
fn the_sidecars_are_rendered() {
    for name in ["sidecar.yaml", "sidecar-older.yaml"] {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(deploy().join(name), folder.path().join(name)).unwrap();
        let list = format!("resources:\n- {name}\n");
        fs::write(folder.path().join("kustomization.yaml"), list).unwrap();
        let Some(manifests) = Manifests::render(folder.path()) else { return };
        check(manifests.pod());
        check_config(&manifests);
        assert_eq!(vethwatch(manifests.pod()).image.as_deref(), Some(&*image()));
    }
}

/// The image of this version.
fn image() -> String {
    format!("vethwatch:{}", env!("CARGO_PKG_VERSION"))
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_refused() {
    let text = fs::read_to_string(deploy().join("daemonset.yaml")).unwrap();
    let wrong = text.replace("readOnlyRootFilesystem:", "readOnlyRootFileSystem:");
    assert!(wrong != text && std::panic::catch_unwind(|| Manifests::parse(&wrong)).is_err());
}

#[test]
fn the_image_has_no_root_and_no_shell() {
    let text = fs::read_to_string(deploy().join("Dockerfile")).unwrap();
    let (_, last) = text.rsplit_once("\nFROM ").unwrap();
    let steps: Vec<&str> = last.lines().collect();
    assert_eq!(
        steps,
        [
            "scratch",
            "COPY --from=build /image/ /",
            "USER 65534:65534",
            "ENTRYPOINT [\"/vethwatch\"]",
            "CMD [\"sidecar\"]"
        ]
    );
}
