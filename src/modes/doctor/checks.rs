//! What vethwatch itself needs: capabilities, captures, namespaces, sockets, confinement.

use std::fs;
use std::path::Path;

use caps::{CapSet, Capability};

use super::machine::{self, HostNamespace};
use super::{ALL, Check, LIVE, NODE, SIDECAR, Verdict};
use crate::attribution::Settings;
use crate::attribution::links::LinkMonitor;
use crate::attribution::namespaces;
use crate::attribution::runtime::{Runtimes, State};
use crate::capture::live::{LiveError, LiveReader, find};
use crate::cli::SourceArgs;
use crate::config;
use crate::modes::coverage;
use crate::modes::privilege::landlock_here;

/// Snap length and kernel buffer of captures that are opened to see whether they can be.
fn tried() -> config::capture::Settings {
    let least = 1 << 20;
    config::capture::Settings {
        snaplen_bytes: 96,
        buffer_bytes: least,
        node_buffer_bytes: least,
        ..config::capture::Settings::default()
    }
}

/// All checks, in the order in which they are shown.
pub(super) fn all(sources: &SourceArgs) -> Vec<Check> {
    let settings = coverage::settings(sources);
    let mut checks = vec![machine::kernel(), machine::libpcap()];
    checks.extend(capabilities());
    checks.push(capture_of_pod());
    checks.push(capture_of_node());
    checks.push(netlink());
    checks.push(machine::process_namespace(&settings.procfs));
    checks.push(network_namespace(&settings.procfs));
    checks.push(processes(&settings));
    checks.push(runtimes(&settings));
    checks.extend([landlock(), seccomp(), no_new_privs()]);
    checks.extend(machine::limits());
    checks.push(machine::clock());
    checks
}

fn capabilities() -> Vec<Check> {
    let names = |set| {
        let mut names: Vec<String> = caps::read(None, set)
            .unwrap_or_default()
            .iter()
            .map(|one| one.to_string().trim_start_matches("CAP_").to_owned())
            .collect();
        names.sort();
        match names.len() {
            0 => "none".to_owned(),
            9.. => format!("{} of them", names.len()),
            _ => names.join(" "),
        }
    };
    let found =
        format!("effective: {}; ambient: {}", names(CapSet::Effective), names(CapSet::Ambient));
    let mut checks = vec![Check::ok("capabilities", ALL, found)];
    for (name, capability, modes, verdict, remedy) in [
        (
            "NET_RAW",
            Capability::CAP_NET_RAW,
            LIVE,
            Verdict::Cannot,
            "capturing needs it; in a pod: securityContext.capabilities.add: [\"NET_RAW\"]; for a \
             user that is not root, the file needs it too (setcap cap_net_raw+ep), or it must be \
             ambient (setpriv --inh-caps=+net_raw --ambient-caps=+net_raw)",
        ),
        (
            "SYS_PTRACE",
            Capability::CAP_SYS_PTRACE,
            NODE,
            Verdict::Degraded,
            "without it, containers without an interface of their own are listed with an unknown \
             coverage; add it to the capabilities",
        ),
        (
            "NET_ADMIN",
            Capability::CAP_NET_ADMIN,
            NODE,
            Verdict::Degraded,
            "without it, macvlan, ipvlan, hardware and user-mode networks cannot be told apart, and a \
             second way out of a container goes unnoticed; add it to the capabilities",
        ),
    ] {
        let has = |set| caps::has_cap(None, set, capability).unwrap_or(false);
        checks.push(match (has(CapSet::Effective), has(CapSet::Permitted)) {
            (true, _) => Check::ok(name, modes, "effective"),
            (false, true) => Check::bad(name, modes, verdict, "permitted, not effective", remedy),
            (false, false) => Check::bad(name, modes, verdict, "missing", remedy),
        });
    }
    checks
}

fn capture_of_pod() -> Check {
    let name = "capture in a pod";
    let opened = find(&[], false).and_then(|found| {
        let names: Vec<String> = found.iter().map(|one| one.name.clone()).collect();
        found.first().map_or(Err(LiveError::NoneUp), |first| LiveReader::open(first, &tried()))?;
        Ok(names)
    });
    match opened {
        Ok(names) => {
            let more = names.len().saturating_sub(4);
            let shown = names[..names.len() - more].join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Check::ok(name, SIDECAR, format!("can be opened: {shown}{more}"))
        }
        Err(error) => {
            let remedy = "see the message; the pod needs an interface that is up, and NET_RAW";
            Check::bad(name, SIDECAR, Verdict::Cannot, error.to_string(), remedy)
        }
    }
}

fn capture_of_node() -> Check {
    let name = "capture of all interfaces";
    match LiveReader::open_all(&tried(), [0, 1]) {
        Ok(_) => Check::ok(name, NODE, "libpcap's `any` can be opened as Linux cooked v2"),
        Err(error) => {
            let remedy = "needs NET_RAW and libpcap 1.10 or newer";
            Check::bad(name, NODE, Verdict::Cannot, error.to_string(), remedy)
        }
    }
}

fn netlink() -> Check {
    match LinkMonitor::open() {
        Ok(monitor) => {
            let links = monitor.links();
            let sides = links.values().filter(|link| link.is_container_side()).count();
            let found = format!("{} interfaces, {sides} of them containers'", links.len());
            Check::ok("netlink", NODE, found)
        }
        Err(error) => Check::bad(
            "netlink",
            NODE,
            Verdict::Cannot,
            format!("the kernel's interfaces cannot be listed: {error}"),
            "allow AF_NETLINK sockets (the seccomp profile of the container forbids them)",
        ),
    }
}

fn network_namespace(procfs: &Path) -> Check {
    let name = "network namespace";
    match machine::network_namespace(procfs) {
        HostNamespace::Yes => Check::ok(name, NODE, "the host's"),
        HostNamespace::No => Check::bad(
            name,
            NODE,
            Verdict::Degraded,
            "not the host's: only containers that are connected with this one are seen",
            "run it in the host's (hostNetwork: true)",
        ),
        HostNamespace::Unknown => Check::bad(
            name,
            NODE,
            Verdict::Degraded,
            "it cannot be told whether it is the host's: /proc/1/ns/net may not be read",
            if namespaces::may_trace() {
                "SYS_PTRACE is there: what confines this process (a virtual machine's, a runtime's or \
                 a security module's policy) forbids to read it; that is the place to look"
            } else {
                "run it in the host's network and process namespaces (hostNetwork, hostPID), with \
                 SYS_PTRACE"
            },
        ),
    }
}

fn processes(settings: &Settings) -> Check {
    let name = "processes of containers";
    let own = namespaces::own_netns();
    match namespaces::processes(&settings.procfs, own, settings.processes_max) {
        Err(error) => Check::bad(
            name,
            NODE,
            Verdict::Degraded,
            format!("{}: cannot be read: {error}", settings.procfs.display()),
            "mount the host's procfs, and name its place with --procfs",
        ),
        Ok(found) if found.hidden > 0 => Check::bad(
            name,
            NODE,
            Verdict::Degraded,
            format!("the network namespaces of {} may not be read", found.hidden),
            if namespaces::may_trace() {
                "SYS_PTRACE is there and something forbids it: run it as AppArmor's Unconfined (or under a \
                 profile with `ptrace (read),`), as SELinux's spc_t, and under no other Landlock"
            } else {
                "add SYS_PTRACE to the capabilities"
            },
        ),
        Ok(found) => {
            let of_containers = found.list.iter().filter(|process| process.place.is_some()).count();
            let none = "there are none, or the host's process namespace is missing";
            let some = format!("{of_containers} can be seen");
            Check::ok(name, NODE, if of_containers == 0 { none.to_owned() } else { some })
        }
    }
}

fn runtimes(settings: &Settings) -> Check {
    let name = "runtime's socket";
    let ids = "without one, containers have ids and pod UIDs, and no names";
    let mut runtimes = match Runtimes::new(settings) {
        Ok(runtimes) => runtimes,
        Err(error) => {
            return Check::bad(name, NODE, Verdict::Degraded, error.to_string(), ids);
        }
    };
    let known = runtimes.ask().known.len();
    let (mut answers, mut fails) = (Vec::new(), Vec::new());
    for (path, state) in runtimes.states() {
        match state {
            State::Answers => answers.push(path.display().to_string()),
            State::Fails(why) => fails.push(format!("{}: {why}", path.display())),
            State::Absent => {}
        }
    }
    if !fails.is_empty() {
        let remedy = format!("let this user open the socket (as a rule, root's); {ids}");
        return Check::bad(name, NODE, Verdict::Degraded, fails.join("; "), remedy);
    }
    if answers.is_empty() {
        let tried: Vec<String> =
            runtimes.states().map(|(path, _)| path.display().to_string()).collect();
        return Check::bad(
            name,
            NODE,
            Verdict::Degraded,
            format!("none is there; looked for {}", tried.join(", ")),
            format!("mount it, or name it with --cri-socket or --docker-socket; {ids}"),
        );
    }
    Check::ok(name, NODE, format!("{} answers; {known} containers", answers.join(", ")))
}

fn landlock() -> Check {
    match landlock_here() {
        Ok(version) => Check::ok("Landlock", LIVE, format!("version {version}")),
        Err(why) => Check::bad(
            "Landlock",
            LIVE,
            Verdict::Degraded,
            why,
            "the live modes run without it, less confined; Linux 5.13 or newer with landlock in lsm= \
             has it",
        ),
    }
}

fn seccomp() -> Check {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let knows = std::env::consts::ARCH;
    let is_known = seccompiler::TargetArch::try_from(knows).is_ok();
    if actions.split_whitespace().any(|action| action == "errno") && is_known {
        return Check::ok("seccomp", LIVE, "filters can be set");
    }
    let found = if is_known {
        "this kernel tells of no filters".to_owned()
    } else {
        format!("no filter is known for {knows}")
    };
    let remedy = "the live modes run without it, less confined; a kernel with CONFIG_SECCOMP_FILTER \
                  has it, on x86_64, aarch64 and riscv64";
    Check::bad("seccomp", LIVE, Verdict::Degraded, found, remedy)
}

fn no_new_privs() -> Check {
    let found = match rustix::thread::no_new_privs() {
        Ok(true) => "set already",
        Ok(false) => "not set; the live modes set it",
        Err(_) => {
            let remedy = "the live modes run without it; Linux 3.5 or newer has it";
            return Check::bad("no_new_privs", LIVE, Verdict::Degraded, "cannot be asked", remedy);
        }
    };
    Check::ok("no_new_privs", LIVE, found)
}
