//! The containers that the host tells of: who shares an interface, how well each is seen, and what
//! changed of that.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::attribution::inventory::listed;
use crate::attribution::{Container, Coverage, Unseen};
use crate::detect::blind_spot::{Blindness, SECONDARY, Sight};

/// A container is being set up so long after it was first seen: what comes into its namespace then
/// belongs to it.
const SET_UP: Duration = Duration::from_secs(5);
const ENDED: &str = "it has ended";
const STOOD_FOR: &str = "its pod is told by its other containers from now on";

/// All containers by id, and what was told of them.
#[derive(Default)]
pub(super) struct Roster {
    containers: BTreeMap<String, Container>,
    /// Since when each is known.
    since: BTreeMap<String, Instant>,
    /// Those that have coverage records, with the latest.
    told: BTreeMap<String, Container>,
    /// Interfaces whose containers changed.
    changed: BTreeSet<u32>,
    /// Interfaces whose container has gained one that is not seen, and of which kind.
    secondary: BTreeMap<u32, Unseen>,
    sights: Vec<(u32, Sight)>,
}

impl Roster {
    /// Takes a container that is new, or of which more is known.
    pub(super) fn put(&mut self, container: Container) {
        let since = *self.since.entry(container.id.clone()).or_insert_with(Instant::now);
        let known = self.containers.insert(container.id.clone(), container.clone());
        self.changed.extend(&container.interfaces);
        let Some(known) = known else { return };
        self.changed.extend(&known.interfaces);
        let Some(index) = container.interfaces.first().copied() else { return };
        let gained = gained(&known.coverage, &container.coverage);
        let lives = !container.pids.is_empty() && since.elapsed() >= SET_UP;
        let is_there = |kind: Unseen| match &container.coverage {
            Coverage::Partial(ways) => ways.contains(&kind),
            _ => false,
        };
        let told = self.secondary.get(&index).copied();
        if let Some(kind) = gained.filter(|_| lives && !told.is_some_and(is_there)) {
            if self.secondary.insert(index, kind).is_some() {
                self.sights.push((index, Sight::Regained(&SECONDARY)));
            }
            let why = Blindness::SecondaryInterface { kind: kind.as_str() };
            self.sights.push((index, Sight::Lost(why)));
        } else if container.coverage == Coverage::Seen && self.secondary.remove(&index).is_some() {
            self.sights.push((index, Sight::Regained(&SECONDARY)));
        }
    }

    /// A container has ended.
    pub(super) fn remove(&mut self, container: &Container) {
        self.containers.remove(&container.id);
        self.since.remove(&container.id);
        self.changed.extend(&container.interfaces);
    }

    /// An interface is gone.
    pub(super) fn forget(&mut self, index: u32) {
        self.changed.remove(&index);
        self.secondary.remove(&index);
    }

    /// The containers behind an interface.
    pub(super) fn sharing(&self, index: u32) -> impl Iterator<Item = &Container> {
        self.containers.values().filter(move |container| container.interfaces.contains(&index))
    }

    /// Their processes, but for the one that holds a pod's namespaces.
    pub(super) fn processes(&self, index: u32) -> Vec<u32> {
        let apps = self.sharing(index).filter(|container| !container.sandbox);
        apps.flat_map(|container| &container.pids).copied().collect()
    }

    /// Interfaces whose containers changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.changed)
    }

    /// What came into containers' namespaces, or went, since this was last asked.
    pub(super) fn take_sights(&mut self) -> Vec<(u32, Sight)> {
        std::mem::take(&mut self.sights)
    }

    /// The containers whose coverage is to be told: new, changed, or not listed any more.
    pub(super) fn take_news(&mut self) -> Vec<Container> {
        let now: BTreeMap<&str, &Container> =
            listed(&self.containers).map(|container| (container.id.as_str(), container)).collect();
        let gone = self.told.iter().filter(|(id, _)| !now.contains_key(id.as_str()));
        let mut news: Vec<Container> = gone
            .map(|(id, container)| {
                let why = if self.containers.contains_key(id) { STOOD_FOR } else { ENDED };
                Container { coverage: Coverage::Gone(why), ..container.clone() }
            })
            .collect();
        let changed = now.values().filter(|container| {
            self.told.get(&container.id).is_none_or(|told| told.coverage != container.coverage)
        });
        news.extend(changed.map(|container| (*container).clone()));
        for container in &news {
            match container.coverage {
                Coverage::Gone(_) => self.told.remove(&container.id),
                _ => self.told.insert(container.id.clone(), container.clone()),
            };
        }
        news
    }

    /// The first line: how many are seen on so many interfaces, and how many are not (counts).
    pub(super) fn summary(&self, interfaces: usize) -> String {
        let (seen, others): (Vec<&Container>, Vec<&Container>) =
            listed(&self.containers).partition(|container| !container.interfaces.is_empty());
        let of = match seen.len() {
            1 => "1 container".to_owned(),
            count => format!("{count} containers"),
        };
        let plural = if interfaces == 1 { "" } else { "s" };
        let mut line = format!("watching {interfaces} interface{plural} of {of}");
        let blind = others.iter().filter(|container| container.coverage.is_blind()).count();
        if blind > 0 {
            line += &format!("; not seen: {blind} more, which `vethwatch coverage` lists");
        }
        line
    }
}

/// The first way out that it did not have before, beside its interface. One that was moved away is
/// told as that.
fn gained(before: &Coverage, now: &Coverage) -> Option<Unseen> {
    let Coverage::Partial(now) = now else { return None };
    let before: &[Unseen] = match before {
        Coverage::Seen => &[],
        Coverage::Partial(before) => before,
        _ => return None,
    };
    now.iter().find(|way| **way != Unseen::Moved && !before.contains(way)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Attribution;
    use crate::attribution::inventory::Kubernetes;

    fn container(id: &str, sandbox: bool, coverage: Coverage) -> Container {
        Container {
            id: id.to_owned(),
            name: None,
            image: None,
            labels: BTreeMap::new(),
            kubernetes: Some(Kubernetes { pod_uid: "uid".to_owned(), ..Kubernetes::default() }),
            sandbox,
            pids: vec![1],
            started: None,
            netns: None,
            nsid: None,
            interfaces: vec![7],
            addresses: Vec::new(),
            how: Attribution::Runtime,
            coverage,
        }
    }

    fn news(roster: &mut Roster) -> String {
        let news = roster.take_news();
        let news: Vec<_> =
            news.iter().map(|one| format!("{} {}", one.id, one.coverage.as_str())).collect();
        news.join(", ")
    }

    #[test]
    fn the_list_can_be_kept_from_its_changes() {
        let mut roster = Roster::default();
        let sandbox = container("pause", true, Coverage::Seen);
        let app = container("app", false, Coverage::Seen);
        roster.put(sandbox.clone());
        assert_eq!(news(&mut roster), "pause seen", "it stands for its pod");
        assert_eq!(roster.summary(1), "watching 1 interface of 1 container");
        roster.put(app.clone());
        assert_eq!(news(&mut roster), "pause gone, app seen");
        assert_eq!(roster.summary(1), "watching 1 interface of 1 container");
        roster.put(app.clone());
        assert_eq!(news(&mut roster), "", "nothing is new");
        roster.put(Container { coverage: Coverage::Down, ..app.clone() });
        assert_eq!(news(&mut roster), "app interface_down");
        roster.remove(&app);
        roster.remove(&sandbox);
        assert_eq!(news(&mut roster), "app gone");
        assert!(roster.told.is_empty() && roster.since.is_empty());
    }

    #[test]
    fn a_second_way_out_is_news_once_it_runs() {
        let with = |ways: &[Unseen]| container("a", false, Coverage::Partial(ways.to_vec()));
        for (case, age_s, before, now, expected) in [
            ("it runs", 60, Coverage::Seen, &[Unseen::Macvlan][..], Some("macvlan")),
            ("it is being set up", 1, Coverage::Seen, &[Unseen::Macvlan], None),
            ("one of two was moved", 60, Coverage::Seen, &[Unseen::Moved], None),
            (
                "it had one from the start",
                60,
                Coverage::Partial(vec![Unseen::Macvlan]),
                &[Unseen::Macvlan],
                None,
            ),
            (
                "a third",
                60,
                Coverage::Partial(vec![Unseen::Macvlan]),
                &[Unseen::Macvlan, Unseen::Physical],
                Some("physical"),
            ),
        ] {
            let mut roster = Roster::default();
            roster.put(container("a", false, before));
            let since = Instant::now().checked_sub(Duration::from_secs(age_s)).unwrap();
            roster.since.insert("a".to_owned(), since);
            roster.put(with(now));
            roster.put(with(now));
            let told: Vec<_> = roster.take_sights();
            let expected = expected.map(|kind| Blindness::SecondaryInterface { kind });
            let found = match told[..] {
                [] => None,
                [(7, Sight::Lost(why))] => Some(why),
                _ => panic!("{case}: {told:?}"),
            };
            assert_eq!(found, expected, "{case}");
            roster.put(container("a", false, Coverage::Seen));
            let over = roster.take_sights();
            assert_eq!(over.len(), usize::from(expected.is_some()), "{case}: {over:?}");
        }
    }

    #[test]
    fn another_way_out_in_the_place_of_one_is_told_anew() {
        let mut roster = Roster::default();
        roster.put(container("a", false, Coverage::Seen));
        let since = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        roster.since.insert("a".to_owned(), since);
        let mut told = |ways: &[Unseen]| {
            roster.put(container("a", false, Coverage::Partial(ways.to_vec())));
            roster.take_sights().into_iter().map(|(_, sight)| sight).collect::<Vec<_>>()
        };
        assert!(matches!(told(&[Unseen::Macvlan])[..], [Sight::Lost(_)]));
        let both = told(&[Unseen::Macvlan, Unseen::Elsewhere]);
        assert!(both.is_empty(), "one is told of both: {both:?}");
        let news = told(&[Unseen::Physical]);
        let physical = Blindness::SecondaryInterface { kind: "physical" };
        let [Sight::Regained(_), Sight::Lost(why)] = news[..] else { panic!("{news:?}") };
        assert_eq!(why, physical);
    }
}
