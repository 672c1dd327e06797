//! Who this pod is: what the downward API says in variables and files.

use std::env;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, bail};

use crate::container::Named;

/// Where the files are, unless `--podinfo` says otherwise.
const PODINFO: &str = "/etc/podinfo";
/// Mounted into nearly every pod.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Longest file that is read (bytes): Kubernetes keeps annotations below 256 KiB.
const FILE_BYTES: u64 = 1 << 20;

/// Where the pieces come from.
struct Sources<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// A file of the downward API's volume.
    file: &'a dyn Fn(&str) -> Option<String>,
    /// The namespace of the service account.
    account: Option<String>,
    host: Option<String>,
}

/// This pod as a container, with the addresses of its interfaces.
///
/// # Errors
/// The directory that was asked for cannot be read.
pub(super) fn pod(podinfo: Option<&Path>, addresses: Vec<IpAddr>) -> anyhow::Result<Named> {
    if let Some(folder) = podinfo {
        let entries = std::fs::read_dir(folder).with_context(|| {
            format!("{}: cannot be read; check the path given with --podinfo", folder.display())
        })?;
        if entries.count() == 0 {
            bail!("{}: is empty; mount a downwardAPI volume there", folder.display());
        }
    }
    let folder = podinfo.unwrap_or(Path::new(PODINFO));
    let sources = Sources {
        variable: &|name| env::var(name).ok().and_then(|text| trimmed(&text)),
        file: &|name| read(&folder.join(name)),
        account: read(Path::new(NAMESPACE)),
        host: read(Path::new(HOST_NAME)),
    };
    Ok(sources.pod(addresses))
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES).read_to_string(&mut text).ok()?;
    trimmed(&text)
}

fn trimmed(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

impl Sources<'_> {
    fn pod(&self, addresses: Vec<IpAddr>) -> Named {
        // Our own prefix first: an application's variables may be called the same.
        let variable = |name: &str| {
            (self.variable)(&format!("VETHWATCH_{name}")).or_else(|| (self.variable)(name))
        };
        let either = |name, file| variable(name).or_else(|| (self.file)(file));
        let namespace = either("POD_NAMESPACE", "namespace").or_else(|| self.account.clone());
        let named = either("POD_NAME", "name");
        // A pod's host name is its name, unless its specification gives another.
        let guessed = namespace.as_ref().and(self.host.as_ref()).cloned();
        let pod = named.or(guessed);
        let labels = (self.file)("labels").unwrap_or_default();
        let owner = pod.as_deref().and_then(|pod| owner(pod, &labels));
        let name = variable("CONTAINER_NAME").or_else(|| pod.clone()).or_else(|| self.host.clone());
        Named {
            name: name.unwrap_or_else(|| "pod".to_owned()).into(),
            addresses,
            namespace: namespace.map(Into::into),
            pod: pod.map(Into::into),
            pod_uid: either("POD_UID", "uid").map(Into::into),
            owner: owner.map(Into::into),
            image: variable("CONTAINER_IMAGE").map(Into::into),
        }
    }
}

/// The workload whose pod this is, as the labels say that its controller sets.
fn owner(pod: &str, labels: &str) -> Option<String> {
    let label = |name: &str| {
        labels.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"')?;
            (!value.is_empty()).then_some(value)
        })
    };
    if label("statefulset.kubernetes.io/pod-name") == Some(pod) {
        let (set, _) = pod.rsplit_once('-')?;
        return Some(format!("StatefulSet/{set}"));
    }
    if let Some(hash) = label("pod-template-hash") {
        // The pod of a Deployment is called after it, its replica set's hash, and five characters.
        let (set, _) = pod.rsplit_once('-')?;
        let name = set.strip_suffix(hash)?.strip_suffix('-')?;
        return Some(format!("Deployment/{name}"));
    }
    let job = label("batch.kubernetes.io/job-name").or_else(|| label("job-name"))?;
    Some(format!("Job/{job}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, namespace, pod, uid, owner and image, `-` where unknown.
    fn known(variables: &[(&str, &str)], files: &[(&str, &str)], account: Option<&str>) -> String {
        let of = |list: &[(&str, &str)], name: &str| {
            let found = list.iter().find(|(known, _)| *known == name);
            found.and_then(|(_, text)| trimmed(text))
        };
        let sources = Sources {
            variable: &|name| of(variables, name),
            file: &|name| of(files, name),
            account: account.map(str::to_owned),
            host: Some("host".to_owned()),
        };
        let pod = sources.pod(Vec::new());
        let rest = [pod.namespace, pod.pod, pod.pod_uid, pod.owner, pod.image];
        let rest = rest.map(|text| text.unwrap_or_else(|| "-".into()).into_string());
        format!("{} {}", pod.name, rest.join(" "))
    }

    #[test]
    fn takes_what_the_downward_api_says() {
        let files = [
            ("name", "web-5d9c7b-x2x4z\n"),
            ("namespace", "shop"),
            ("uid", "1111"),
            ("labels", "app=\"web\"\npod-template-hash=\"5d9c7b\"\n"),
        ];
        assert_eq!(
            known(&[], &files, None),
            "web-5d9c7b-x2x4z shop web-5d9c7b-x2x4z 1111 Deployment/web -"
        );
        let variables = [
            ("POD_NAME", "an-application's"),
            ("VETHWATCH_POD_NAME", "web-0"),
            ("CONTAINER_NAME", "app"),
            ("CONTAINER_IMAGE", "web:1"),
        ];
        assert_eq!(known(&variables, &files[1..3], None), "app shop web-0 1111 - web:1");
        assert_eq!(known(&[], &[], None), "host - - - - -", "nothing says that it is a pod");
        let container = [("CONTAINER_NAME", "app")];
        assert_eq!(known(&container, &[], None), "app - - - - -");
        assert_eq!(
            known(&container, &[], Some("shop")),
            "app shop host - - -",
            "a container's name is no pod's"
        );
    }

    #[test]
    fn names_the_workload_by_its_controllers_labels() {
        for (pod, labels, expected) in [
            ("web-0", "statefulset.kubernetes.io/pod-name=\"web-0\"", Some("StatefulSet/web")),
            ("web-0", "statefulset.kubernetes.io/pod-name=\"other-0\"", None),
            ("a-b-12ab-xxxxx", "pod-template-hash=\"12ab\"", Some("Deployment/a-b")),
            ("a-b", "pod-template-hash=\"12ab\"", None),
            ("once-abc", "batch.kubernetes.io/job-name=\"once\"", Some("Job/once")),
            ("web", "app=\"web\"", None),
        ] {
            assert_eq!(owner(pod, labels).as_deref(), expected, "{pod}: {labels}");
        }
    }
}
