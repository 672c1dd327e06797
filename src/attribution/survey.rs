//! One look at everything: reads the sources, joins them, and looks into each namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::Settings;
use super::inventory::coverage::{Inside, judge};
use super::inventory::{Container, Coverage, Facts, Inventory, Unseen};
use super::links::Link;
use super::namespaces::{self, Namespaces};
use super::runtime::{Answers, Runtimes};
use crate::time::Timestamp;

/// Interfaces inside one namespace that are remembered to have been seen here (count).
const PAST_MAX: usize = 64;

/// Reads and joins, again and again.
pub struct Surveyor {
    settings: Settings,
    namespaces: Namespaces,
    runtimes: Runtimes,
    /// What was seen inside namespaces, by inode, until [`Self::look_anew`].
    insides: BTreeMap<u64, Inside>,
    /// Interfaces inside each namespace whose other end was a link of ours, by index.
    past: BTreeMap<u64, BTreeSet<u32>>,
    lives: Lives,
    /// What was said already.
    said: BTreeSet<String>,
}

/// Containers that run, by their processes.
#[derive(Default)]
struct Lives {
    /// When each began, by id, where that is known. Those that have ended stay while a runtime tells
    /// of them.
    started: BTreeMap<String, Option<Timestamp>>,
}

impl Lives {
    /// Takes off what has ended though a runtime tells of it: it tells late, and while it is away not
    /// at all. One without a process that was ever seen is the runtime's to tell.
    fn take_off_ended(&mut self, facts: &mut Facts, began: impl Fn(u32) -> Option<Timestamp>) {
        let places =
            facts.processes.iter().filter_map(|one| Some((&one.place.as_ref()?.id, one.pid)));
        let mut alive: BTreeMap<&String, Vec<u32>> = BTreeMap::new();
        for (id, pid) in places {
            alive.entry(id).or_default().push(pid);
        }
        for (id, pids) in &alive {
            if !self.started.contains_key(*id) {
                let first = pids.iter().filter_map(|pid| began(*pid)).min();
                self.started.insert((*id).clone(), first);
            }
        }
        self.started.retain(|id, _| alive.contains_key(id) || facts.known.contains_key(id));
        facts.known.retain(|id, _| alive.contains_key(id) || !self.started.contains_key(id));
    }
}

/// What one look gave.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The containers.
    pub inventory: Inventory,
    /// What people should know, said once: sockets that fail, permissions that are missing.
    pub messages: Vec<String>,
    /// A runtime answered.
    pub runtime_answered: bool,
}

impl Surveyor {
    /// Opens what it needs; asks nothing yet.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn new(settings: Settings) -> io::Result<Self> {
        Ok(Self {
            namespaces: Namespaces::open()?,
            runtimes: Runtimes::new(&settings)?,
            settings,
            insides: BTreeMap::new(),
            past: BTreeMap::new(),
            lives: Lives::default(),
            said: BTreeSet::new(),
        })
    }

    /// Forgets what was seen inside namespaces, so that the next look looks again.
    pub fn look_anew(&mut self) {
        self.insides.clear();
    }

    /// The runtimes' sockets.
    pub const fn runtimes(&self) -> &Runtimes {
        &self.runtimes
    }

    /// Looks.
    pub fn look(&mut self, links: BTreeMap<u32, Link>) -> Survey {
        let mut survey = Survey::default();
        let answers = self.runtimes.ask();
        survey.messages.extend_from_slice(&answers.messages);
        survey.runtime_answered = answers.any;
        let facts = self.read(links, answers, &mut survey.messages);
        let mut inventory = facts.join(self.settings.containers_max);
        let places = facts.processes.iter().filter_map(|process| process.place.as_ref());
        let outer: BTreeSet<&str> = places.filter_map(|place| place.outer.as_deref()).collect();
        let mut live = BTreeSet::new();
        for container in inventory.containers.values_mut() {
            live.extend(container.netns);
            container.started = self.lives.started.get(&container.id).copied().flatten();
            if container.addresses.is_empty()
                && self.is_apart(container)
                && let Some(pid) = container.pids.first()
            {
                container.addresses = namespaces::addresses(&self.settings.procfs, *pid);
            }
            let hosts = outer.contains(&*container.id);
            container.coverage = self.coverage(container, &facts, hosts);
        }
        tell_nested(&mut inventory, &facts);
        self.insides.retain(|netns, _| live.contains(netns));
        self.past.retain(|netns, _| live.contains(netns));
        if inventory.refused > 0 {
            let max = self.settings.containers_max;
            let text =
                format!("there are more than {max} containers: the others are not attributed");
            self.say(text, &mut survey.messages);
        }
        survey.inventory = inventory;
        survey
    }

    fn read(
        &mut self,
        links: BTreeMap<u32, Link>,
        answers: Answers,
        messages: &mut Vec<String>,
    ) -> Facts {
        let settings = self.settings.clone();
        let (procfs, own) = (&settings.procfs, self.namespaces.own);
        let found = namespaces::processes(procfs, own, settings.processes_max);
        let mut found = found.unwrap_or_else(|error| {
            let path = procfs.display();
            let text = format!(
                "{path}: cannot be read: {error}; without it no container is known \
                but by the runtime's socket"
            );
            self.say(text, messages);
            namespaces::Processes::default()
        });
        if found.hidden > 0 {
            let text = format!(
                "the network namespaces of some containers' processes may not be read ({}): the coverage of \
                 those without an interface here may stay unknown",
                namespaces::why_unread()
            );
            self.say(text, messages);
        }
        if found.cut {
            let text = format!("only the first {} processes are read", settings.processes_max);
            self.say(text, messages);
        }
        let others = found.list.iter().any(|one| one.netns.is_none() || one.netns != own);
        if !others && links.values().any(Link::is_container_side) {
            let text = "no process is visible behind any container's interface: where containers run, the \
                host's process namespace (hostPID) is missing, or its procfs (--procfs)";
            self.say(text.to_owned(), messages);
        }
        let whole = !found.cut && !found.list.is_empty();
        let mut facts = Facts {
            links,
            mounted: self.namespaces.mounted(&settings.netns_folders),
            known: answers.known,
            past: self.past.keys().copied().collect(),
            ..Facts::default()
        };
        for mounted in &facts.mounted {
            facts.nsids.extend(mounted.nsid.map(|nsid| (mounted.netns, nsid)));
        }
        let mut asked = BTreeSet::new();
        let own_number = (found.hidden > 0).then(|| self.namespaces.own_number()).flatten();
        for process in &mut found.list {
            match process.netns {
                Some(netns) if Some(netns) == own || facts.nsids.contains_key(&netns) => {}
                Some(netns) => {
                    if asked.insert(netns)
                        && let Some(nsid) = self.namespaces.number(procfs, process.pid)
                    {
                        facts.nsids.insert(netns, nsid);
                    }
                }
                None => {
                    let nsid = self.namespaces.nsid_of_process(procfs, process.pid);
                    if nsid.is_some() && nsid == own_number {
                        process.netns = own;
                        continue;
                    }
                    facts.nsids_of_pids.extend(nsid.map(|nsid| (process.pid, nsid)));
                }
            }
        }
        facts.processes = found.list;
        if whole {
            self.lives.take_off_ended(&mut facts, |pid| namespaces::began(procfs, pid));
        }
        facts
    }

    /// It is known to be in another network namespace than ours.
    fn is_apart(&self, container: &Container) -> bool {
        container.nsid.is_some()
            || container.netns.is_some_and(|_| container.netns != self.namespaces.own)
    }

    fn coverage(&mut self, container: &Container, facts: &Facts, hosts: bool) -> Coverage {
        let told = facts.known.get(&container.id).is_some_and(|known| known.host_network);
        let apart = self.is_apart(container);
        let own = container.netns.is_some() && container.netns == self.namespaces.own;
        if own || told && !apart {
            return Coverage::Unseen(Unseen::HostNetwork);
        }
        if !apart {
            let why = if container.pids.is_empty() {
                "none of its processes is visible: the host's process namespace (hostPID) or its \
                 procfs is missing"
                    .to_owned()
            } else {
                format!("its network namespace may not be read ({})", namespaces::why_unread())
            };
            return Coverage::Unknown(why);
        }
        let on_host: Vec<&Link> =
            container.interfaces.iter().filter_map(|index| facts.links.get(index)).collect();
        let mut past = BTreeSet::new();
        if let Some(netns) = container.netns {
            let known = self.past.entry(netns).or_default();
            let news = on_host.iter().filter_map(|link| link.peer_index);
            known.extend(news.take(PAST_MAX.saturating_sub(known.len())));
            past.clone_from(known);
            if known.is_empty() {
                self.past.remove(&netns);
            }
        }
        let remembered = container.netns.filter(|_| !on_host.is_empty());
        if let Some(inside) = remembered.and_then(|netns| self.insides.get(&netns)) {
            return judge(&on_host, inside, &past, hosts);
        }
        let inside = self.inside(container);
        let coverage = judge(&on_host, &inside, &past, hosts);
        if let Some(netns) = remembered {
            self.insides.insert(netns, inside);
        }
        coverage
    }

    fn inside(&mut self, container: &Container) -> Inside {
        let why = match container.nsid.map(|nsid| self.namespaces.links_inside(nsid)) {
            Some(Ok(links)) => return Inside::Links(links),
            Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                "the kinds of its interfaces may not be asked (NET_ADMIN is missing)".to_owned()
            }
            Some(Err(error)) => format!("the kinds of its interfaces cannot be asked: {error}"),
            None => "its network namespace has no number here (NET_ADMIN is missing)".to_owned(),
        };
        let pid = container.pids.first();
        match pid.and_then(|pid| namespaces::has_interface(&self.settings.procfs, *pid)) {
            Some(any) => Inside::Any(any, why),
            None => Inside::Unread(why),
        }
    }

    /// Says a thing once.
    fn say(&mut self, text: String, messages: &mut Vec<String>) {
        if !self.said.contains(&text) {
            self.said.insert(text.clone());
            messages.push(text);
        }
    }
}

/// Containers within one that is seen: what they send leaves by its interface.
fn tell_nested(inventory: &mut Inventory, facts: &Facts) {
    let places = facts.processes.iter().filter_map(|process| process.place.as_ref());
    for (id, outer) in places.filter_map(|place| Some((&place.id, place.outer.as_ref()?))) {
        let around = inventory.containers.get(outer).map(|outer| &outer.coverage);
        if around == Some(&Coverage::Seen)
            && let Some(inner) = inventory.containers.get_mut(id)
            && inner.coverage == Coverage::Unseen(Unseen::Elsewhere)
        {
            inner.coverage = Coverage::Nested;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::cgroup::{Place, Runtime};
    use super::super::runtime::Known;
    use super::*;

    #[test]
    fn what_a_runtime_still_tells_of_is_taken_off_once_its_processes_are_gone() {
        let process = |pid, id: &str| namespaces::Process {
            pid,
            place: Some(Place {
                id: id.to_owned(),
                pod_uid: None,
                runtime: Runtime::Containerd,
                outer: None,
            }),
            netns: None,
            pause: false,
        };
        let mut lives = Lives::default();
        let mut look = |processes: &[namespaces::Process]| {
            let known = ["app", "pause", "unborn"].map(|id| (id.to_owned(), Known::default()));
            let processes = processes.to_vec();
            let mut facts = Facts { processes, known: known.into(), ..Facts::default() };
            lives.take_off_ended(&mut facts, |pid| Some(Timestamp::from_nanos(u64::from(pid))));
            let began = lives.started.get("app").copied().flatten().map(Timestamp::nanos);
            (facts.known.into_keys().collect::<Vec<_>>().join(" "), began)
        };
        let (pause, app, exec) = (process(1, "pause"), process(9, "app"), process(3, "app"));
        let all = "app pause unborn".to_owned();
        assert_eq!(look(from_ref(&pause)), (all.clone(), None), "not seen yet");
        assert_eq!(look(&[pause.clone(), app.clone(), exec]), (all.clone(), Some(3)));
        assert_eq!(look(&[pause.clone(), app.clone()]).1, Some(3), "it began when it began");
        assert_eq!(look(from_ref(&pause)).0, "pause unborn", "it has ended, whatever is told");
        assert_eq!(look(from_ref(&pause)).0, "pause unborn", "and is not taken for unborn then");
        assert_eq!(look(&[pause, app]).0, all, "the same, started anew");
    }
}
