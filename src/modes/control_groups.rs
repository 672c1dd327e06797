//! The control groups that this process is in, and the limits that stand there.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// Folders of this process's control groups, from its own to the root's, where a limit may stand.
pub(super) struct ControlGroups {
    /// Version 2.
    pub(super) unified: bool,
    memory: Vec<PathBuf>,
    processor: Vec<PathBuf>,
}

impl ControlGroups {
    /// This process's.
    pub(super) fn own() -> Self {
        Self::of(&read(Path::new("/proc/self/cgroup")), Path::new(ROOT))
    }

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

    /// The least limit on the way up (bytes), if there is any.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        let file = if self.unified { "memory.max" } else { "memory.limit_in_bytes" };
        let limits = self.memory.iter().filter_map(|folder| read(&folder.join(file)).parse().ok());
        // Version 1 says "none" as the largest number of pages.
        limits.filter(|bytes: &u64| *bytes < 1 << 62).min()
    }

    /// Periods of the processor's limits on the way up, and those in which one was hit (count).
    pub(super) fn throttling(&self) -> [u64; 2] {
        let mut sums = [0_u64; 2];
        for folder in &self.processor {
            let stat = read(&folder.join("cpu.stat"));
            for (sum, key) in sums.iter_mut().zip(["nr_periods ", "nr_throttled "]) {
                let value =
                    stat.lines().find_map(|line| line.strip_prefix(key)?.parse::<u64>().ok());
                *sum = sum.saturating_add(value.unwrap_or(0));
            }
        }
        sums
    }
}

/// A file's text without the white space around it; empty where it cannot be read.
fn read(path: &Path) -> String {
    fs::read_to_string(path).map_or_else(|_| String::new(), |text| text.trim().to_owned())
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
            let groups = ControlGroups::of(text, root.path());
            assert_eq!(groups.unified, unified, "{text}");
            assert_eq!(groups.memory_limit(), expected, "{text}");
        }
    }

    #[test]
    fn throttling_is_that_of_all_limits_on_the_way_up() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, periods: u64, throttled: u64| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = format!("usage_usec 7\nnr_periods {periods}\nnr_throttled {throttled}\n");
            fs::write(path, text).unwrap();
        };
        write("system.slice/one.service/cpu.stat", 100, 40);
        write("system.slice/cpu.stat", 10, 1);
        write("cpu/pods/one/cpu.stat", 7, 3);
        for (text, expected) in [
            ("0::/system.slice/one.service\n", [110, 41]),
            ("0::/\n", [0, 0]),
            ("4:memory:/pods\n1:cpu,cpuacct:/pods/one\n0::/\n", [7, 3]),
        ] {
            assert_eq!(ControlGroups::of(text, root.path()).throttling(), expected, "{text}");
        }
    }
}
