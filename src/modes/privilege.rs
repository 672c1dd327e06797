//! What a live mode gives up once all is open: capabilities, the way to more of them, most of the
//! file system, most system calls. `docs/privileges.md` is the list.
//!
//! Capabilities and Landlock are each thread's own, and a thread inherits them from the one that
//! starts it; so the main thread gives up what nobody needs before it starts any, and each gives up
//! the rest itself. The seccomp filter comes last and is for all.

mod filter;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::thread::set_no_new_privs;

use super::warn;
use crate::cli::{NodeArgs, SidecarArgs};
use crate::config::Config;
use crate::config::privilege::Settings;

/// Longest wait for threads that were started to give up what they do not need.
const SETTLED: Duration = Duration::from_secs(5);
/// What libpcap and the kernel's tables of interfaces need.
const READ: [&str; 2] = ["/proc", "/sys"];

/// A new capture needs it.
const CAPTURE: Capability = Capability::CAP_NET_RAW;
/// To see which network namespace another user's process is in, and to ask for the interfaces in it.
const LOOK: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_NET_ADMIN];

/// How a mode is confined. Dropping it confines nothing.
#[derive(Clone)]
pub(super) struct Confinement(Arc<Shared>);

struct Shared {
    settings: Settings,
    /// Kept until all is open,
    start: Vec<Capability>,
    /// and by the main thread after that.
    main: Vec<Capability>,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    state: Mutex<State>,
    /// A thread has settled.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// Threads that have not settled (count).
    pending: usize,
    said: BTreeSet<String>,
}

impl Confinement {
    /// For `sidecar`: an interface that comes back needs `NET_RAW`.
    pub(super) fn sidecar(config: &Config, args: &SidecarArgs) -> Self {
        let [start, main] = [vec![CAPTURE], vec![CAPTURE]];
        let written = [args.keep.write.as_deref(), args.results.output.as_deref()];
        Self::new(config, [start, main], [args.config.as_deref(), None], written)
    }

    /// For `node`: its one capture has all interfaces, later ones too.
    pub(super) fn node(config: &Config, args: &NodeArgs) -> Self {
        let start = [&[CAPTURE], &LOOK[..]].concat();
        let read = [args.config.as_deref(), Some(&*args.sources.procfs)];
        let written = [args.keep.write.as_deref(), args.results.output.as_deref()];
        Self::new(config, [start, Vec::new()], read, written)
    }

    fn new(
        in_force: &Config,
        [start, main]: [Vec<Capability>; 2],
        [config, procfs]: [Option<&Path>; 2],
        written: [Option<&Path>; 2],
    ) -> Self {
        // A pipe or a terminal is open already; a file is made anew when it is rotated.
        let is_file = |path: &&Path| path.metadata().map_or(true, |there| there.is_file());
        let written = written.into_iter().chain([in_force.state.path.as_deref()]).flatten();
        let write = written.filter(is_file).map(folder).collect();
        let mut read: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
        read.extend(procfs.map(Path::to_path_buf));
        if let Some(config) = config {
            // An editor or a ConfigMap puts another file in its place: the folder is what stays.
            read.push(folder(config));
            read.extend(config.canonicalize().iter().map(|path| folder(path)));
        }
        Self(Arc::new(Shared {
            settings: in_force.privilege.clone(),
            start,
            main,
            read,
            write,
            state: Mutex::default(),
            settled: Condvar::new(),
        }))
    }

    /// Before any thread is started: gives up what no thread needs.
    pub(super) fn begin(&self) {
        if let Err(error) = set_no_new_privs(true) {
            self.0.say(format!("no_new_privs cannot be set: {error}"));
        }
        self.0.drop_capabilities(&self.0.start);
    }

    /// What a thread does first: it keeps these capabilities, and is under Landlock.
    pub(super) fn thread(&self, keep: &'static [Capability]) -> impl FnOnce() + Send + use<> {
        self.settling(move |shared| {
            shared.landlock();
            shared.drop_capabilities(keep);
        })
    }

    /// For the thread that hears the kernel's link events.
    pub(super) fn links(&self) -> impl FnOnce() + Send + use<> {
        self.thread(&[])
    }

    /// For the thread that looks at processes and asks runtimes. Under Landlock the kernel shows
    /// nobody's namespaces, so this thread is not.
    pub(super) fn containers(&self) -> impl FnOnce() + Send + use<> {
        self.settling(|shared| shared.drop_capabilities(&LOOK))
    }

    fn settling<S: FnOnce(&Shared) + Send + 'static>(
        &self,
        settle: S,
    ) -> impl FnOnce() + Send + use<S> {
        self.0.state().pending += 1;
        let shared = Arc::clone(&self.0);
        move || {
            settle(&shared);
            shared.state().pending -= 1;
            shared.settled.notify_all();
        }
    }

    /// All is open and every thread started: confines the main thread, and all by the filter.
    pub(super) fn seal(&self) {
        let shared = &*self.0;
        shared.landlock();
        shared.drop_capabilities(&shared.main);
        let state = shared.state();
        let waited = shared.settled.wait_timeout_while(state, SETTLED, |state| state.pending > 0);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if waited.timed_out() {
            shared.say("a thread did not give up its privileges in time".to_owned());
        }
        if !shared.settings.seccomp {
            return;
        }
        if let Err(error) = filter::apply() {
            shared.say(format!(
                "system calls are not confined: seccomp: {error}; privilege.seccomp = false in the \
                 configuration leaves it out"
            ));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says a thing once.
    fn say(&self, text: String) {
        if !self.state().said.contains(&text) {
            warn(&text);
            self.state().said.insert(text);
        }
    }

    /// Of this thread, all but these.
    fn drop_capabilities(&self, keep: &[Capability]) {
        if !self.settings.drop_capabilities {
            return;
        }
        if let Err(error) = drop_all_but(keep) {
            self.say(format!(
                "capabilities could not be dropped: {error}; privilege.drop_capabilities = false in \
                 the configuration leaves it at that"
            ));
        }
    }

    /// Confines this thread, and those that it starts, to some folders.
    fn landlock(&self) {
        if !self.settings.landlock {
            return;
        }
        let missing = match restrict(&self.read, &self.write) {
            Ok(status) => missing(status.landlock),
            Err(error) => Some(format!("no file and no connection is refused: {error}")),
        };
        if let Some(missing) = missing {
            self.say(format!(
                "Landlock: {missing}; privilege.landlock = false in the configuration leaves it out"
            ));
        }
    }
}

/// Where a file is.
fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn drop_all_but(keep: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let none = CapsHashSet::new();
    // What programs that are started could have. Where that may not be changed (it takes SETPCAP),
    // no_new_privs and the filter say the same.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    let kept = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = keep.iter().copied().filter(|one| kept.contains(one)).collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Inheritable, &none)
}

/// The newest kernel interface whose rules are used; an older one's are used as far as they go.
const RULES: ABI = ABI::V6;

fn restrict(read: &[PathBuf], write: &[PathBuf]) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let writing: BitFlags<AccessFs> = reading
        | AccessFs::WriteFile
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Truncate;
    let reading = read.iter().map(|path| (path, reading));
    for (path, access) in reading.chain(write.iter().map(|path| (path, writing))) {
        // What is not there needs no rule.
        let Ok(place) = PathFd::new(path) else { continue };
        rules = rules.add_rule(PathBeneath::new(place, access))?;
    }
    rules.restrict_self()
}

/// What the kernel's Landlock cannot do.
fn missing(status: LandlockStatus) -> Option<String> {
    let all = "no file and no connection is refused:";
    let abi = match status {
        LandlockStatus::NotImplemented => return Some(format!("{all} this kernel has none")),
        LandlockStatus::NotEnabled => {
            return Some(format!("{all} it is not enabled; add it to the kernel's lsm= parameter"));
        }
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
    };
    let lacks: Vec<&str> = [
        (ABI::V3, "truncating files"),
        (ABI::V4, "TCP"),
        (ABI::V5, "commands to devices"),
        (ABI::V6, "signals to other processes"),
    ]
    .into_iter()
    .filter(|(since, _)| abi < *since)
    .map(|(_, what)| what)
    .collect();
    let number = abi as i32;
    (!lacks.is_empty())
        .then(|| format!("version {number} of this kernel does not confine {}", lacks.join(", ")))
}

/// What Landlock can do here: its version and the lack of it. A thread tries, and ends.
pub(super) fn landlock_here() -> Result<i32, String> {
    let tried = std::thread::spawn(|| restrict(&[], &[]).map(|status| status.landlock)).join();
    match tried {
        Ok(Ok(LandlockStatus::Available { effective_abi, kernel_abi })) => {
            Ok(kernel_abi.unwrap_or(effective_abi as i32))
        }
        Ok(Ok(status)) => Err(missing(status).unwrap_or_default()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it cannot be tried".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_an_old_kernel_cannot_confine() {
        let at =
            |effective_abi| missing(LandlockStatus::Available { effective_abi, kernel_abi: None });
        assert_eq!(at(ABI::V6), None);
        assert_eq!(
            at(ABI::V4).as_deref(),
            Some(
                "version 4 of this kernel does not confine commands to devices, signals to other \
                 processes"
            )
        );
        assert!(missing(LandlockStatus::NotEnabled).unwrap().contains("lsm="));
    }

    #[test]
    fn a_file_without_a_folder_is_here() {
        assert_eq!(folder(Path::new("a.toml")), Path::new("."));
        assert_eq!(folder(Path::new("/etc/a.toml")), Path::new("/etc"));
    }
}
