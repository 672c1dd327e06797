//! What the machine is: kernel, libpcap, whose namespaces these are, limits, clock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{ALL, Check, LIVE, NODE, SIDECAR, Verdict};
use crate::cli::Mode;

/// Inodes of the first process namespace, since Linux 3.8, and of the first network namespace, since
/// 6.18 (include/uapi/linux/nsfs.h).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
const FIRST_NETWORK_NAMESPACE: u64 = 0xEFFF_FFF9;
/// Stated memory under load (docs/operations.md); a node's kernel buffer comes on top (bytes).
const SIDECAR_BYTES: u64 = 64 << 20;
const NODE_BYTES: u64 = 96 << 20;
const CGROUPS: &str = "/sys/fs/cgroup";
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
    let groups = Groups::of(&read("/proc/self/cgroup").unwrap_or_default(), Path::new(CGROUPS));
    let limit = groups.least(&groups.memory);
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

fn throttling(groups: &Groups) -> Check {
    let name = "processor";
    let stat = groups.processor.iter().find_map(|folder| read(folder.join("cpu.stat")));
    let stat = stat.unwrap_or_default();
    let field = |name| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let (periods, throttled) = (field("nr_periods"), field("nr_throttled"));
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

/// Folders of this process's control groups, from its own to the root's, where a limit may stand.
struct Groups {
    unified: bool,
    memory: Vec<PathBuf>,
    processor: Vec<PathBuf>,
}

impl Groups {
    /// From `/proc/self/cgroup`: lines `number:controllers:path`.
    fn of(text: &str, root: &Path) -> Self {
        let path = |controller: &str| {
            text.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers.split(',').any(|one| one == controller).then_some(path)
            })
        };
        let unified = path("memory").is_none();
        let folders = |controller: &str| {
            let (root, path) = match path(controller) {
                Some(path) => (root.join(controller), path),
                None => (root.to_path_buf(), path("").unwrap_or("/")),
            };
            // Within a namespace of control groups, what stands above is not visible.
            let own = root.join(path.trim_start_matches('/'));
            let up = own.ancestors().take_while(|folder| folder.starts_with(&root));
            up.map(Path::to_path_buf).collect()
        };
        Self { unified, memory: folders("memory"), processor: folders("cpu") }
    }

    fn least(&self, folders: &[PathBuf]) -> Option<u64> {
        let file = if self.unified { "memory.max" } else { "memory.limit_in_bytes" };
        let limits = folders.iter().filter_map(|folder| read(folder.join(file))?.parse().ok());
        // Version 1 says "none" as the largest number of pages.
        limits.filter(|bytes: &u64| *bytes < 1 << 62).min()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("pods/one/memory.max", "max\n");
        write("pods/memory.max", "67108864\n");
        write("memory/pods/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/pods/one/memory.limit_in_bytes", "33554432\n");
        for (text, unified, expected) in [
            ("0::/pods/one\n", true, Some(64 << 20)),
            ("0::/\n", true, None),
            ("4:memory:/pods/one\n1:cpu,cpuacct:/\n0::/\n", false, Some(32 << 20)),
            ("4:memory:/pods\n0::/\n", false, None),
            ("", true, None),
        ] {
            let groups = Groups::of(text, root.path());
            assert_eq!(groups.unified, unified, "{text}");
            assert_eq!(groups.least(&groups.memory), expected, "{text}");
        }
    }
}
