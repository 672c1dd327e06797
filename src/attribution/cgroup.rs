//! A process's container, by the path of its cgroup.
//!
//! Runtimes name the cgroup of a container after its id, and kubelets that of a pod after its UID.
//! The layouts below are those of containerd, CRI-O, Docker and Podman with the systemd and the
//! cgroupfs driver, under cgroup version 1 and 2.

/// The longest `/proc/PID/cgroup` that is read (bytes).
pub const FILE_BYTES_MAX: u64 = 16 * 1024;

/// Digits of a container id.
const ID_DIGITS: usize = 64;

/// Whose container, as far as a path tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Runtime {
    /// containerd, by its CRI plugin.
    Containerd,
    /// CRI-O.
    Crio,
    /// Docker.
    Docker,
    /// Podman, or another user of libpod.
    Podman,
    /// LXC and Incus.
    Lxc,
    /// The path has an id and nothing more.
    Unknown,
}

/// What a cgroup's path tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The container's id: 64 hexadecimal digits, or a name (LXC). Of nested ones, the innermost.
    pub id: String,
    /// UID of its pod.
    pub pod_uid: Option<String>,
    /// Whose it is.
    pub runtime: Runtime,
    /// The container around it, where containers are nested (kind, Docker in Docker).
    pub outer: Option<String>,
}

/// Reads the text of `/proc/PID/cgroup`. None: no container's process.
pub fn parse(text: &str) -> Option<Place> {
    // Each line is `number:controllers:path`; version 2 has one, `0::path`.
    text.lines().filter_map(|line| path(line.splitn(3, ':').nth(2)?)).next()
}

/// Reads one path.
fn path(path: &str) -> Option<Place> {
    let mut found: Option<Place> = None;
    let (mut pod_uid, mut parent) = (None, "");
    for part in path.split('/') {
        pod_uid = pod(part).or(pod_uid);
        // The monitor process beside a container, named after it.
        if part.contains("conmon-") {
            return None;
        }
        if let Some((id, runtime)) = container(part, parent) {
            let outer = found.take().map(|outer| outer.id);
            found = Some(Place { id: id.to_owned(), pod_uid: pod_uid.take(), runtime, outer });
        }
        parent = part;
    }
    found
}

/// The container that this part of a path stands for.
fn container<'a>(part: &'a str, parent: &str) -> Option<(&'a str, Runtime)> {
    const PREFIXES: [(&str, Runtime); 5] = [
        ("cri-containerd-", Runtime::Containerd),
        ("crio-", Runtime::Crio),
        ("docker-", Runtime::Docker),
        ("libpod-", Runtime::Podman),
        ("nerdctl-", Runtime::Containerd),
    ];
    let name = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some((id, runtime));
        }
    }
    // containerd told the systemd driver's form, with runc using cgroupfs: `SLICE:PREFIX:ID`.
    if let Some((before, id)) = name.rsplit_once(':')
        && is_id(id)
    {
        let runtime = match before.rsplit(':').next() {
            Some("cri-containerd") => Runtime::Containerd,
            Some("crio") => Runtime::Crio,
            Some("docker") => Runtime::Docker,
            _ => Runtime::Unknown,
        };
        return Some((id, runtime));
    }
    if is_id(name) {
        let runtime = match parent {
            "docker" => Runtime::Docker,
            "libpod_parent" => Runtime::Podman,
            "k8s.io" => Runtime::Containerd,
            _ => Runtime::Unknown,
        };
        return Some((name, runtime));
    }
    let lxc = part.strip_prefix("lxc.payload.").or_else(|| (parent == "lxc").then_some(part));
    let is_name = |name: &&str| {
        (1..=ID_DIGITS).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    lxc.filter(is_name).map(|name| (name, Runtime::Lxc))
}

/// The UID of the pod whose cgroup this is: `podUID`, or `kubepods-burstable-podUID.slice` with
/// underscores for dashes.
fn pod(part: &str) -> Option<String> {
    // The form with colons has the slice in front.
    let slice = part.split(':').next().unwrap_or(part);
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    let uid = match name.rsplit_once("-pod") {
        Some((before, uid)) if before.contains("kubepods") => uid,
        _ => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    // 32 digits with four dashes; without dashes for pods from a file of the kubelet.
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|byte| *byte == b'-').count();
    (digits == 32 && (dashes == 4 || dashes == 0) && digits + dashes == uid.len()).then_some(uid)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS
        && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "5dc1eeb2a0a5a8e9b2e1c0d9f8e7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9";
    const B: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "8a9a5e5e-3e6f-4a57-8d8d-5f5c1c3f2b10";
    const STATIC_UID: &str = "a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8";

    #[test]
    fn layouts_of_runtimes_are_read() {
        use Runtime::*;
        let (us, uid) = (UID.replace('-', "_"), Some(UID));
        for (case, path, pod_uid, runtime) in [
            (
                "containerd, systemd",
                format!(
                    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{us}.slice/cri-containerd-{A}.scope"
                ),
                uid,
                Containerd,
            ),
            (
                "containerd, systemd, guaranteed",
                format!("kubepods.slice/kubepods-pod{us}.slice/cri-containerd-{A}.scope"),
                uid,
                Containerd,
            ),
            ("cgroupfs, guaranteed", format!("kubepods/pod{UID}/{A}"), uid, Unknown),
            ("cgroupfs, best effort", format!("kubepods/besteffort/pod{UID}/{A}"), uid, Unknown),
            (
                "systemd's form under cgroupfs",
                format!(
                    "system.slice/containerd.service/kubepods-besteffort-pod{us}.slice:cri-containerd:{A}"
                ),
                uid,
                Containerd,
            ),
            (
                "CRI-O",
                format!(
                    "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{us}.slice/crio-{A}.scope"
                ),
                uid,
                Crio,
            ),
            (
                "CRI-O, with the payload below",
                format!("kubepods.slice/kubepods-pod{us}.slice/crio-{A}.scope/container"),
                uid,
                Crio,
            ),
            (
                "a pod from a file",
                format!(
                    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC_UID}.slice/cri-containerd-{A}.scope"
                ),
                Some(STATIC_UID),
                Containerd,
            ),
            (
                "Kubernetes with Docker",
                format!("kubepods.slice/kubepods-pod{us}.slice/docker-{A}.scope"),
                uid,
                Docker,
            ),
            ("Docker, cgroupfs", format!("docker/{A}"), None, Docker),
            ("Docker, systemd", format!("system.slice/docker-{A}.scope"), None, Docker),
            (
                "systemd inside Docker",
                format!("system.slice/docker-{A}.scope/init.scope"),
                None,
                Docker,
            ),
            ("Podman", format!("machine.slice/libpod-{A}.scope"), None, Podman),
            (
                "Podman, payload below",
                format!("machine.slice/libpod-{A}.scope/container"),
                None,
                Podman,
            ),
            ("Podman, cgroupfs", format!("libpod_parent/libpod-{A}"), None, Podman),
            (
                "rootless Podman",
                format!(
                    "user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container"
                ),
                None,
                Podman,
            ),
            ("nerdctl", format!("system.slice/nerdctl-{A}.scope"), None, Containerd),
            ("containerd's own client", format!("k8s.io/{A}"), None, Containerd),
            ("ECS", format!("ecs/task/{A}"), None, Unknown),
            ("seen from another cgroup namespace", format!("../../pod{UID}/{A}"), uid, Unknown),
        ] {
            for text in [
                format!("0::/{path}\n"),
                format!("12:cpu,cpuacct:/{path}\n1:name=systemd:/{path}\n0::/\n"),
                format!("3:misc:/\n2:memory:/{path}\n"),
            ] {
                let place = parse(&text).unwrap_or_else(|| panic!("{case}: {text}"));
                assert_eq!(
                    (place.id.as_str(), place.pod_uid.as_deref(), place.runtime, place.outer),
                    (A, pod_uid, runtime, None),
                    "{case}: {text}"
                );
            }
        }
    }

    #[test]
    fn the_innermost_of_nested_containers_counts() {
        let us = UID.replace('-', "_");
        for path in [
            format!("/docker/{A}/kubelet/kubepods/besteffort/pod{UID}/{B}"),
            format!(
                "/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{us}.slice/cri-containerd-{B}.scope"
            ),
        ] {
            let place = parse(&format!("0::{path}")).unwrap();
            assert_eq!((place.id.as_str(), place.outer.as_deref()), (B, Some(A)), "{path}");
            assert_eq!(place.pod_uid.as_deref(), Some(UID), "{path}");
        }
        let lxc = parse("0::/lxc.payload.web-1/system.slice/cron.service").unwrap();
        assert_eq!((lxc.id.as_str(), lxc.runtime), ("web-1", Runtime::Lxc));
        assert_eq!(parse("4:memory:/lxc/web-1").unwrap().id, "web-1");
    }

    #[test]
    fn what_is_no_container_is_none() {
        for text in [
            String::new(),
            "0::/".to_owned(),
            "nonsense\n\0\n::".to_owned(),
            "0::/system.slice/containerd.service".to_owned(),
            "0::/user.slice/user-1000.slice/session-3.scope".to_owned(),
            format!("0::/machine.slice/libpod-conmon-{A}.scope"),
            format!("0::/kubepods.slice/kubepods-pod{UID}.slice/crio-conmon-{A}.scope"),
            format!("0::/docker/{}", &A[..63]),
            format!("0::/docker/{}", A.to_uppercase()),
            format!("0::/kubepods/besteffort/pod{UID}"),
            "0::/system.slice/docker-.scope".to_owned(),
        ] {
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    #[test]
    fn odd_pods_have_no_uid() {
        for odd in
            ["podman", "pod", "podzzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz", "pod-----------------"]
        {
            let place = parse(&format!("0::/kubepods/{odd}/{A}")).unwrap();
            assert_eq!(place.pod_uid, None, "{odd}");
        }
    }
}
