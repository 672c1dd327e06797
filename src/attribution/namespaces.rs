//! Network namespaces and the processes in them, from procfs and netlink.
//!
//! The kernel gives each namespace a number in ours (nsid) once something connects the two. A link's
//! other end is told by that number, and so is a process's namespace when asked (`RTM_GETNSID`), so
//! the two meet without entering any namespace. Asking by process number needs no privilege; reading
//! `/proc/PID/ns/net` of other users' processes needs `SYS_PTRACE`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caps::{CapSet, Capability};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::cgroup::{self, Place};
use super::links::{self, Link};
use super::netlink::Route;
use crate::time::Timestamp;

/// The most that is read of a file of `/proc/PID/net` (bytes).
const NET_BYTES_MAX: u64 = 256 * 1024;
/// A process's name in procfs, with its line's end (`proc_pid_comm(5)`).
const COMM_BYTES_MAX: u64 = 17;
/// The most that is read of `/proc/PID/stat` (bytes): 52 numbers and a name.
const STAT_BYTES_MAX: u64 = 2_048;
/// Ticks in which procfs counts (per second): what the kernel shows to programs, whatever its own clock.
const USER_HZ: u64 = 100;
/// Addresses of one namespace that are kept (count).
const ADDRESSES_MAX: usize = 16;
/// Mounted namespaces that are looked at, of one folder (count).
const MOUNTS_MAX: usize = 8_192;

/// A process of a container, or in another network namespace than ours.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number in the process namespace of the procfs that was read.
    pub pid: u32,
    /// Its container, where its cgroup names one.
    pub place: Option<Place>,
    /// Inode of its network namespace. None: reading it was not permitted.
    pub netns: Option<u64>,
    /// Of a pod's: it calls itself `pause`, as what holds a pod's namespaces does.
    pub pause: bool,
}

/// What was found in procfs.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// Those of containers and those in other network namespaces, by number.
    pub list: Vec<Process>,
    /// Processes of containers whose network namespace may not be read (count).
    pub hidden: usize,
    /// There were more processes than were to be read.
    pub cut: bool,
}

/// Inode of this process's own network namespace.
pub fn own_netns() -> Option<u64> {
    fs::metadata("/proc/self/ns/net").ok().map(|metadata| metadata.ino())
}

/// Why the namespace of another user's process may not be read: this thread lacks the capability, or something
/// forbids what it has.
pub fn why_unread() -> &'static str {
    if may_trace() {
        "SYS_PTRACE is there: AppArmor, SELinux or another Landlock forbids it"
    } else {
        "SYS_PTRACE is missing"
    }
}

/// This thread has `SYS_PTRACE`.
pub fn may_trace() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE).unwrap_or(false)
}

/// Reads all processes, at most `max`.
///
/// # Errors
/// The folder cannot be read.
pub fn processes(procfs: &Path, own: Option<u64>, max: usize) -> io::Result<Processes> {
    let mut found = Processes::default();
    let mut pids: Vec<u32> = fs::read_dir(procfs)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    found.cut = pids.len() > max;
    pids.truncate(max);
    for pid in pids {
        let folder = procfs.join(pid.to_string());
        // One that ends meanwhile is no concern.
        let Ok(text) = read(&folder.join("cgroup"), cgroup::FILE_BYTES_MAX) else { continue };
        let place = cgroup::parse(&text);
        let netns = match fs::read_link(folder.join("ns/net")) {
            Ok(link) => inode(&link.to_string_lossy()),
            // It has ended, and is kept until its parent has asked for it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_last(&folder) => continue,
            Err(error) => {
                let denied = error.kind() == io::ErrorKind::PermissionDenied;
                found.hidden += usize::from(denied && place.is_some());
                None
            }
        };
        if place.is_some() || (netns.is_some() && netns != own) {
            let of_pod = place.as_ref().is_some_and(|place| place.pod_uid.is_some());
            let pause = of_pod
                && read(&folder.join("comm"), COMM_BYTES_MAX)
                    .is_ok_and(|name| name.trim_end() == "pause");
            found.list.push(Process { pid, place, netns, pause });
        }
    }
    Ok(found)
}

/// No thread of a process but its first is there: where that has ended, so has the process.
fn is_last(folder: &Path) -> bool {
    fs::read_dir(folder.join("task")).map_or(0, Iterator::count) <= 1
}

/// When a process began. None: it is gone, or that could not be read.
pub fn began(procfs: &Path, pid: u32) -> Option<Timestamp> {
    use rustix::time::{ClockId, clock_gettime};
    let ticks = start_ticks(&read(&procfs.join(format!("{pid}/stat")), STAT_BYTES_MAX).ok()?)?;
    let clock = |id| Duration::try_from(clock_gettime(id)).ok();
    let boot = clock(ClockId::Realtime)?.checked_sub(clock(ClockId::Boottime)?)?;
    let since_boot = Duration::from_millis(ticks.checked_mul(1_000 / USER_HZ)?);
    u64::try_from((boot + since_boot).as_nanos()).ok().map(Timestamp::from_nanos)
}

/// `starttime` of `proc_pid_stat(5)`: the 22nd field, where the second may hold anything.
fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The number in `net:[4026531840]`.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

fn read(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A network namespace that is mounted somewhere, so that it lives without a process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mounted {
    /// Where.
    pub path: PathBuf,
    /// Its inode.
    pub netns: u64,
    /// Its number here, if it has one.
    pub nsid: Option<i32>,
}

/// Asks the kernel about namespaces.
pub struct Namespaces {
    route: Route,
    /// Inode of our own namespace.
    pub own: Option<u64>,
}

impl Namespaces {
    /// Opens a socket for the questions.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self { route: Route::open(&[])?, own: own_netns() })
    }

    /// The number that a process's namespace has here. None: it has none, or the process is gone.
    pub fn nsid_of_process(&mut self, procfs: &Path, pid: u32) -> Option<i32> {
        // Where procfs is another's, so are the numbers in it: only a file tells.
        if procfs == Path::new("/proc") {
            self.nsid(NsidAttribute::Pid(pid))
        } else {
            self.nsid_of_file(&procfs.join(format!("{pid}/ns/net")))
        }
    }

    /// The number of the namespace behind a file.
    fn nsid_of_file(&mut self, path: &Path) -> Option<i32> {
        let file = File::open(path).ok()?;
        self.nsid(NsidAttribute::Fd(u32::try_from(file.as_raw_fd()).ok()?))
    }

    /// As [`Self::nsid_of_process`]; a namespace without a number is given one (needs `NET_ADMIN`).
    /// That connects nothing, and the number ends with the namespace.
    pub fn number(&mut self, procfs: &Path, pid: u32) -> Option<i32> {
        if let Some(nsid) = self.nsid_of_process(procfs, pid) {
            return Some(nsid);
        }
        self.number_of(&File::open(procfs.join(format!("{pid}/ns/net"))).ok()?)
    }

    /// The number that our own namespace has for itself: by it a process in the host's network is known whose
    /// namespace may not be read. Given one as by [`Self::number`].
    pub fn own_number(&mut self) -> Option<i32> {
        let file = File::open("/proc/self/ns/net").ok()?;
        let fd = u32::try_from(file.as_raw_fd()).ok()?;
        self.nsid(NsidAttribute::Fd(fd)).or_else(|| self.number_of(&file))
    }

    fn number_of(&mut self, file: &File) -> Option<i32> {
        let fd = u32::try_from(file.as_raw_fd()).ok()?;
        let mut request = NsidMessage::default();
        request.attributes = vec![NsidAttribute::Fd(fd), NsidAttribute::Id(-1)];
        self.route.request(RouteNetlinkMessage::NewNsId(request)).ok()?;
        self.nsid(NsidAttribute::Fd(fd))
    }

    fn nsid(&mut self, of: NsidAttribute) -> Option<i32> {
        let mut request = NsidMessage::default();
        request.attributes.push(of);
        let answers = self.route.request(RouteNetlinkMessage::GetNsId(request)).ok()?;
        answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewNsId(message) => {
                message.attributes.into_iter().find_map(|attribute| match attribute {
                    NsidAttribute::Id(nsid) if nsid >= 0 => Some(nsid),
                    _ => None,
                })
            }
            _ => None,
        })
    }

    /// The namespaces that are mounted in these folders.
    pub fn mounted(&mut self, folders: &[PathBuf]) -> Vec<Mounted> {
        let mut found: Vec<Mounted> = Vec::new();
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let mut paths: Vec<PathBuf> =
                entries.take(MOUNTS_MAX).filter_map(|entry| Some(entry.ok()?.path())).collect();
            paths.sort();
            for path in paths {
                let Ok(metadata) = fs::metadata(&path) else { continue };
                let netns = metadata.ino();
                if found.iter().all(|mounted| mounted.netns != netns)
                    && let Some(nsid) = self.nsid_of_file(&path)
                {
                    found.push(Mounted { path, netns, nsid: Some(nsid) });
                }
            }
        }
        found
    }

    /// The links inside the namespace that has this number here.
    ///
    /// # Errors
    /// `NET_ADMIN` over that namespace is missing.
    pub fn links_inside(&mut self, nsid: i32) -> io::Result<Vec<Link>> {
        links::dump(&mut self.route, Some(nsid)).map(|(links, _)| links)
    }
}

/// The addresses of a process's network namespace, but for loopback and link-local ones.
pub fn addresses(procfs: &Path, pid: u32) -> Vec<IpAddr> {
    let folder = procfs.join(format!("{pid}/net"));
    let text = |name| read(&folder.join(name), NET_BYTES_MAX).unwrap_or_default();
    let mut found: BTreeSet<IpAddr> = local_ipv4(&text("fib_trie")).map(IpAddr::V4).collect();
    found.extend(global_ipv6(&text("if_inet6")).map(IpAddr::V6));
    found.into_iter().take(ADDRESSES_MAX).collect()
}

/// There is an interface besides loopback. None: that cannot be read.
pub fn has_interface(procfs: &Path, pid: u32) -> Option<bool> {
    let text = read(&procfs.join(format!("{pid}/net/dev")), NET_BYTES_MAX).ok()?;
    let names = text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    Some(names.into_iter().any(|name| name != "lo"))
}

/// Local addresses in the kernel's print of its routing table: `|-- ADDRESS`, then `/32 host LOCAL`.
fn local_ipv4(fib_trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut last = None;
    fib_trie.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
            return None;
        }
        let address = last.filter(|address| !address.is_loopback())?;
        line.starts_with("/32 host LOCAL").then_some(address)
    })
}

/// Addresses of global scope in `/proc/net/if_inet6`: 32 digits, index, prefix, scope, flags, name.
fn global_ipv6(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    if_inet6.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        (fields.nth(2)? == "00").then(|| Ipv6Addr::from(address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_began_before_now() {
        assert_eq!(
            start_ticks("7 (a) (b) S 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4711 9"),
            Some(4_711)
        );
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec as f64;
        let mut child = std::process::Command::new("sleep").arg("9").spawn().unwrap();
        let began = began(Path::new("/proc"), child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let late_s = began.seconds_since(Timestamp::default()) - now;
        assert!((-0.1..2.0).contains(&late_s), "{late_s}");
    }

    #[test]
    fn a_process_that_has_ended_is_none() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let folder = Path::new("/proc").join(child.id().to_string());
        while fs::read_link(folder.join("ns/net")).is_ok() {
            std::thread::yield_now();
        }
        assert!(folder.exists() && is_last(&folder), "nobody has asked for it yet");
        let id = child.id();
        let found = processes(Path::new("/proc"), None, usize::MAX).unwrap();
        assert!(found.list.iter().all(|process| process.pid != id));
        assert!(found.list.iter().any(|process| process.pid == std::process::id()));
        child.wait().unwrap();
    }

    #[test]
    fn addresses_are_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            Local:\n     |-- 10.244.77.5\n        /32 host LOCAL\n     |-- 10.244.77.255\n        \
            /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(local_ipv4(trie).collect::<Vec<_>>(), [Ipv4Addr::new(10, 244, 77, 5)]);
        let inet6 = "fd000000000000000000000000000007 02 40 00 80     eth0\n\
            fe800000000000000000000000000001 02 40 20 80     eth0\n\
            00000000000000000000000000000001 01 80 10 80       lo\nodd\n";
        assert_eq!(
            global_ipv6(inet6).collect::<Vec<_>>(),
            ["fd00::7".parse::<Ipv6Addr>().unwrap()]
        );
    }

    #[test]
    fn namespace_links_are_read() {
        assert_eq!(inode("net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(inode("net:4026531840"), None);
    }
}
