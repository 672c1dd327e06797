//! What the machine is: kernel, libpcap, whose namespaces these are, limits, clock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::control_groups::ControlGroups;
use super::{ALL, Check, LIVE, NODE, SIDECAR, Verdict};
use crate::cli::Mode;

/// Inodes of the first process namespace, since Linux 3.8, and of the first network namespace, since
/// 6.18 (include/uapi/linux/nsfs.h).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
const FIRST_NETWORK_NAMESPACE: u64 = 0xEFFF_FFF9;
/// Stated memory under load (docs/operations.md); a node's kernel buffer comes on top (bytes).
const SIDECAR_BYTES: u64 = 64 << 20;
const NODE_BYTES: u64 = 96 << 20;
/// Reading these clocks costs microseconds: every frame is stamped with one.
const SLOW_CLOCKS: [&str; 4] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

pub(super) fn kernel() -> Check {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned());
    Check::ok("kernel", ALL, format!("Linux {release}"))
}

/// libpcap by its file: the library's own answer needs `unsafe`.
pub(super) fn libpcap() -> Check {
    let maps = read("/proc/self/maps").unwrap_or_default();
    let file = maps.lines().find_map(|line| {
        let path = line.split_once('/')?.1;
        path.rsplit('/').next().filter(|name| name.starts_with("libpcap.so"))
    });
    Check::ok("libpcap", ALL, file.unwrap_or("built in"))
}

/// Whether a namespace is the host's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HostNamespace {
    Yes,
    No,
    Unknown,
}

fn inode(path: impl AsRef<Path>) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// The processes that are seen are the host's.
fn sees_host(procfs: &Path) -> bool {
    // Who names another place says that it is the host's.
    procfs != Path::new("/proc") || inode("/proc/self/ns/pid") == Some(FIRST_PID_NAMESPACE)
}

pub(super) fn process_namespace(procfs: &Path) -> Check {
    let name = "process namespace";
    if sees_host(procfs) {
        return Check::ok(name, NODE, "the host's");
    }
    Check::bad(
        name,
        NODE,
        Verdict::Degraded,
        "not the host's: the processes of containers are not visible",
        "run it in the host's (hostPID: true), or mount the host's procfs and name it with --procfs",
    )
}

pub(super) fn network_namespace(procfs: &Path) -> HostNamespace {
    let own = inode("/proc/self/ns/net");
    if own == Some(FIRST_NETWORK_NAMESPACE) {
        return HostNamespace::Yes;
    }
    // Without the host's processes, the first process is the container's own.
    let first = inode(procfs.join("1/ns/net")).filter(|_| sees_host(procfs));
    match (own, first) {
        (Some(own), Some(first)) if own == first => HostNamespace::Yes,
        (Some(_), Some(_)) => HostNamespace::No,
        _ => HostNamespace::Unknown,
    }
}

/// Memory and processor time that this control group may use.
pub(super) fn limits() -> Vec<Check> {
    let groups = ControlGroups::own();
    let limit = groups.memory_limit();
    let mut checks = Vec::new();
    let version = if groups.unified { "version 2" } else { "version 1" };
    for (name, modes, least) in
        [("memory of a pod", SIDECAR, SIDECAR_BYTES), ("memory of a node", NODE, NODE_BYTES)]
    {
        checks.push(match limit {
            Some(bytes) if bytes < least => Check::bad(
                name,
                modes,
                Verdict::Degraded,
                format!("at most {} MiB (cgroup {version})", bytes >> 20),
                format!(
                    "raise the limit to {} MiB, or lower flow.flows_max in the configuration",
                    least >> 20
                ),
            ),
            Some(bytes) => {
                let found = format!("at most {} MiB (cgroup {version})", bytes >> 20);
                Check::ok(name, modes, found)
            }
            None => Check::ok(name, modes, format!("no limit (cgroup {version})")),
        });
    }
    checks.push(throttling(&groups));
    checks
}

fn throttling(groups: &ControlGroups) -> Check {
    let name = "processor";
    let [periods, throttled] = groups.throttling();
    if throttled == 0 {
        return Check::ok(name, LIVE, "never throttled so far");
    }
    Check::bad(
        name,
        LIVE,
        Verdict::Degraded,
        format!("throttled in {throttled} of {periods} periods so far"),
        "raise the processor limit of the container, or leave it out: packets are lost meanwhile",
    )
}

pub(super) fn clock() -> Check {
    let name = "clock";
    let source = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    match source {
        None => Check::ok(name, LIVE, "unknown: /sys tells of none"),
        Some(source) if SLOW_CLOCKS.contains(&&*source) => Check::bad(
            name,
            LIVE,
            Verdict::Degraded,
            format!("{source}, which is slow to read: every frame is stamped with it"),
            "let the kernel use tsc or the hypervisor's clock (clocksource= on its command line)",
        ),
        Some(source) => Check::ok(name, LIVE, source),
    }
}

impl Mode {
    /// Its name on the command line.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Sidecar => "sidecar",
            Self::Node => "node",
        }
    }
}
