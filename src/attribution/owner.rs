//! What made a pod, by the labels that Kubernetes' own controllers put on it.
//!
//! Runtimes do not know a pod's owner; the kubelet passes on its labels, and those of the built-in
//! controllers are fixed. A label can be set by hand too: this names things, it decides nothing.

use std::collections::BTreeMap;

/// The owner as `Kind/name`, where the labels tell.
pub fn owner(labels: &BTreeMap<String, String>, pod: &str) -> Option<String> {
    let label = |key| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
    if let Some(job) = label("batch.kubernetes.io/job-name").or_else(|| label("job-name")) {
        return Some(format!("Job/{job}"));
    }
    if label("statefulset.kubernetes.io/pod-name").is_some()
        || label("apps.kubernetes.io/pod-index").is_some()
    {
        let (name, ordinal) = pod.rsplit_once('-')?;
        let ordinal_is = !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit());
        return ordinal_is.then(|| format!("StatefulSet/{name}"));
    }
    // Pods of a Deployment are NAME-HASH-xxxxx, those of a DaemonSet NAME-xxxxx.
    let (generated, _random) = pod.rsplit_once('-')?;
    if let Some(hash) = label("pod-template-hash") {
        let name = generated.strip_suffix(hash).and_then(|name| name.strip_suffix('-'));
        return Some(name.map_or_else(
            || format!("ReplicaSet/{generated}"),
            |name| format!("Deployment/{name}"),
        ));
    }
    label("controller-revision-hash")?;
    Some(format!("DaemonSet/{generated}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_controllers_are_known() {
        for (pod, labels, expected) in [
            (
                "web-6d4cf56db6-x7x2p",
                vec![("pod-template-hash", "6d4cf56db6")],
                Some("Deployment/web"),
            ),
            (
                "web-api-x7x2p",
                vec![("pod-template-hash", "6d4cf56db6")],
                Some("ReplicaSet/web-api"),
            ),
            (
                "db-0",
                vec![
                    ("statefulset.kubernetes.io/pod-name", "db-0"),
                    ("controller-revision-hash", "db-7f"),
                ],
                Some("StatefulSet/db"),
            ),
            (
                "node-exporter-q8sdf",
                vec![("controller-revision-hash", "7f")],
                Some("DaemonSet/node-exporter"),
            ),
            ("backup-28-x7x2p", vec![("job-name", "backup-28")], Some("Job/backup-28")),
            ("alone", vec![("app", "alone")], None),
            ("alone", vec![("pod-template-hash", "6d4cf56db6")], None),
            ("odd-x", vec![("statefulset.kubernetes.io/pod-name", "odd-x")], None),
        ] {
            let labels = labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(owner(&labels, pod).as_deref(), expected, "{pod}");
        }
    }
}
