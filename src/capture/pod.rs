//! Whose interfaces a sidecar has kept, as their captures tell: who its pod is, in a comment of each.

use crate::container::Named;

/// What the comment begins with; JSON follows.
const MARK: &str = "vethwatch pod ";
/// A name that is longer is none (bytes): Kubernetes' longest have 253, an image's may have more.
const NAME_BYTES: usize = 1_024;
/// So are more addresses (count).
const ADDRESSES_MAX: usize = 64;

/// The comment for a pod.
pub(super) fn comment(pod: &Named) -> Option<String> {
    serde_json::to_string(pod).ok().map(|json| format!("{MARK}{json}"))
}

/// The pod that a comment tells, if it tells one. Whoever made the file may have written anything.
pub(super) fn read(comment: &str) -> Option<Box<Named>> {
    let pod: Named = serde_json::from_str(comment.strip_prefix(MARK)?).ok()?;
    let Named { name, addresses, namespace, pod: own, pod_uid, owner, image } = &pod;
    let others = [namespace, own, pod_uid, owner, image].into_iter().flatten();
    let printable = others
        .chain([name])
        .all(|text| text.len() <= NAME_BYTES && !text.chars().any(char::is_control));
    let some = (1..=ADDRESSES_MAX).contains(&addresses.len());
    (printable && some).then(|| Box::new(pod))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_read_as_it_was_written_and_nothing_else_is() {
        let pod = Named {
            name: "app".into(),
            addresses: vec!["10.9.1.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            namespace: Some("shop".into()),
            pod: Some("web-0".into()),
            pod_uid: None,
            owner: Some("StatefulSet/web".into()),
            image: None,
        };
        let written = comment(&pod).unwrap();
        assert_eq!(read(&written).as_deref(), Some(&pod));
        for other in [
            "a comment".to_owned(),
            written.replace("vethwatch", "another"),
            written.replace("app", "a\\u001bpp"),
            written.replace("app", &"a".repeat(2_000)),
            written[..written.len() - 3].to_owned(),
            format!("{MARK}{{\"name\":\"app\",\"addresses\":[]}}"),
        ] {
            assert_eq!(read(&other), None, "{other}");
        }
    }
}
