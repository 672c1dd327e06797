//! The host's interfaces, and what the host says of them: told to the workers that capture them.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::path::Path;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::crew::Crew;
use super::identity;
use super::roster::Roster;
use super::visibility::{Captured, Visibility};
use super::worker::{Order, Report};
use crate::alert::CaptureState;
use crate::attribution::report::coverage_line;
use crate::attribution::{Change, Link, Watcher};
use crate::capture::Interface;
use crate::capture::live::{Counts, now};
use crate::capture::shed::Bulk;
use crate::cli::ResultArgs;
use crate::config::Config;
use crate::config::capture::Settings;
use crate::decode::LinkType;
use crate::detect::blind_spot::{BYPASSED, Blindness, DOWN, GONE, Sight};
use crate::engine::Engine;
use crate::event::LinkId;
use crate::modes::live::{Ending, Signals};
use crate::modes::state::Keeper;
use crate::modes::warn;
use crate::output::{InterfaceCounts, Sink, queue};
use crate::record::{RecordKind, Stats};

/// Frames of an interface that vanished may still come for so long.
const GRACE: Duration = Duration::from_secs(1);
/// A container that lives so long after its interface is gone is a blind spot,
const BLIND_AFTER: Duration = Duration::from_secs(5);
/// and one whose interface is down for so long.
const DOWN_AFTER: Duration = Duration::from_secs(2);
/// No interface: what is said is about the monitor.
const MONITOR: LinkId = LinkId(u32::MAX);
/// Longest wait for the host's first news at the start: a runtime that hangs takes five seconds of it.
const START: Duration = Duration::from_secs(6);

/// An interface that is the host's end of a container's.
struct Watched {
    link: Link,
    id: LinkId,
    frames: u64,
    bulk: Bulk,
    /// It is deleted; what the kernel still holds of it may come.
    vanished: Option<Instant>,
    /// It was set down.
    down: Option<Instant>,
    told_down: bool,
}

/// An interface that vanished.
struct Vanished {
    index: u32,
    at: Instant,
    /// When it was last asked whether its container lives.
    looked: Instant,
    /// Those of its containers, but for the one that holds the pod's namespaces.
    processes: Vec<u32>,
    told: bool,
}

/// By the kernel's index.
type Links = HashMap<u32, Watched, foldhash::fast::FixedState>;

/// All interfaces of the host, and those who capture them.
pub(super) struct Watch {
    crew: Crew,
    snaplen: u32,
    links: Links,
    vanished: Vec<Vanished>,
    /// Numbers of links that are gone: the kernel's indices only grow.
    free: Vec<LinkId>,
    roster: Roster,
    capture: CaptureState,
    visibility: Visibility,
    alive: bool,
}

impl Watch {
    /// Watches for these workers.
    pub(super) fn new(crew: Crew, settings: &Settings, procfs: &Path) -> Self {
        let [snaplen, _] = settings.of_node();
        let mut capture = CaptureState::default();
        capture.add_interface(snaplen);
        Self {
            crew,
            snaplen,
            links: HashMap::default(),
            vanished: Vec::new(),
            free: Vec::new(),
            roster: Roster::default(),
            capture,
            visibility: Visibility::new(procfs),
            alive: true,
        }
    }

    /// The capture goes on.
    pub(super) const fn is_alive(&self) -> bool {
        self.alive
    }

    /// Hears what is there already, and says so.
    pub(super) fn start(&mut self, watcher: &Watcher, output: &mut dyn Sink) {
        let until = Instant::now() + START;
        while let Ok(change) = watcher.next(until.saturating_duration_since(Instant::now())) {
            if matches!(change, Change::Started) {
                break;
            }
            self.take(change, output);
        }
        self.crew.begin();
        let _ = self.visibility.look(Counts::default(), captured(&self.links));
        warn(&self.roster.summary(self.links.len()));
    }

    /// Takes the host's news.
    pub(super) fn learn(&mut self, watcher: &Watcher, output: &mut dyn Sink) {
        while let Ok(change) = watcher.try_next() {
            self.take(change, output);
        }
        let due = |gone: &Vanished| gone.looked.elapsed() >= GRACE;
        let (due, waiting) = std::mem::take(&mut self.vanished).into_iter().partition(due);
        self.vanished = waiting;
        for gone in due {
            self.let_go(gone, output);
        }
    }

    /// An interface has vanished, and nothing of it is on the way any more. If its container lives
    /// on, that is a finding, and the interface stays the container's until it ends.
    fn let_go(&mut self, mut gone: Vanished, output: &mut dyn Sink) {
        let Some(watched) = self.links.get(&gone.index) else { return };
        let id = watched.id;
        if self.visibility.is_alive(&gone.processes) {
            if gone.at.elapsed() >= BLIND_AFTER && !gone.told {
                gone.told = true;
                let sight = seen(id, Sight::Lost(Blindness::InterfaceGone));
                self.crew.tell(gone.index, sight, output);
            }
            gone.looked = Instant::now();
            self.vanished.push(gone);
            return;
        }
        self.roster.forget(gone.index);
        self.release(gone.index, output);
    }

    /// Nothing of the interface will be heard any more.
    fn release(&mut self, index: u32, output: &mut dyn Sink) {
        if let Some(watched) = self.links.remove(&index) {
            self.crew.tell(index, Order::Gone { index }, output);
            self.free.push(watched.id);
        }
    }

    /// An interface is there that leads where one led that has vanished, while what ran there still
    /// runs: it is that one, under whatever number. Another that has got its number is not.
    fn come_back(&mut self, link: &Link, output: &mut dyn Sink) {
        let leads = |gone: &Vanished| {
            let known = self.links.get(&gone.index);
            known.is_some_and(|watched| watched.link.peer_nsid == link.peer_nsid)
                && self.visibility.is_alive(&gone.processes)
        };
        // Of several that lead there, the one with its number, or its other end.
        let like = |gone: &Vanished| {
            let known = self.links.get(&gone.index);
            let same_end = known.is_some_and(|one| one.link.peer_index == link.peer_index);
            (gone.index != link.index, !same_end)
        };
        let place = (0..self.vanished.len())
            .filter(|place| leads(&self.vanished[*place]))
            .min_by_key(|place| like(&self.vanished[*place]));
        if let Some(place) = place
            && (self.vanished[place].index == link.index || !self.links.contains_key(&link.index))
        {
            let gone = self.vanished.swap_remove(place);
            let (from, to) = (gone.index, link.index);
            if gone.told
                && let Some(watched) = self.links.get(&from)
            {
                self.crew.tell(from, seen(watched.id, Sight::Regained(&GONE)), output);
            }
            if !self.crew.is_same(from, to) {
                // Under its new number it is another worker's, who begins anew.
                self.release(from, output);
            } else if from != to
                && let Some(watched) = self.links.remove(&from)
            {
                self.links.insert(to, watched);
                self.crew.tell(to, Order::Renumbered { from, to }, output);
            }
        } else if let Some(place) = self.vanished.iter().position(|one| one.index == link.index) {
            let mut other = self.vanished.swap_remove(place);
            other.processes.clear();
            self.let_go(other, output);
        }
    }

    /// Interfaces that were set down, and are still, while their container lives.
    fn look_at_downs(&mut self, output: &mut dyn Sink) {
        for watched in self.links.values_mut().filter(|watched| watched.vanished.is_none()) {
            let news = match (&watched.down, watched.told_down) {
                (Some(since), false) if since.elapsed() >= DOWN_AFTER => {
                    Sight::Lost(Blindness::InterfaceDown)
                }
                (None, true) => Sight::Regained(&DOWN),
                _ => continue,
            };
            let down = watched.down.is_some();
            let processes = || self.roster.processes(watched.link.index);
            if down && !self.visibility.is_alive(&processes()) {
                continue;
            }
            watched.told_down = down;
            self.crew.tell(watched.link.index, seen(watched.id, news), output);
        }
    }

    fn take(&mut self, change: Change, output: &mut dyn Sink) {
        match change {
            Change::InterfaceAppeared(link) | Change::InterfaceChanged(link) => {
                self.interface(link, output);
            }
            Change::InterfaceVanished(link) => {
                let processes = self.roster.processes(link.index);
                if let Some(watched) = self.links.get_mut(&link.index) {
                    let now = Instant::now();
                    watched.vanished = Some(now);
                    self.vanished.push(Vanished {
                        index: link.index,
                        at: now,
                        looked: now,
                        processes,
                        told: false,
                    });
                }
            }
            Change::ContainerKnown(container) | Change::ContainerUpdated(container) => {
                self.roster.put(*container);
            }
            Change::ContainerGone(container) => self.roster.remove(&container),
            Change::Complete => self.settle(output),
            Change::Message(text) => warn(&text),
            Change::Started => {}
        }
    }

    fn interface(&mut self, link: Link, output: &mut dyn Sink) {
        if !self.vanished.is_empty() {
            self.come_back(&link, output);
        }
        let index = link.index;
        self.look_whether_moved(&link, output);
        let known = self.links.get(&index);
        let renamed = known.is_none_or(|watched| watched.link.name != link.name);
        let (frames, bulk) =
            known.map_or((0, Bulk::default()), |watched| (watched.frames, watched.bulk));
        let id = match known {
            Some(watched) => watched.id,
            None => self.free.pop().unwrap_or(LinkId(self.links.len() as u32)),
        };
        if renamed {
            output.name_link(id, &link.name);
            let (name, snaplen) = (Some(link.name.clone()), self.snaplen);
            let link_type = LinkType::LinuxSll2;
            let interface = Interface { name, link_type, snaplen, of_container: true, pod: None };
            self.crew.tell(index, Order::Link { index, id, interface }, output);
        }
        let known = self.links.get(&index);
        let told_down = known.is_some_and(|watched| watched.told_down);
        let down = match known.and_then(|watched| watched.down) {
            _ if link.up => None,
            Some(since) => Some(since),
            // One that was never up is being made.
            None => known.filter(|watched| watched.link.up).map(|_| Instant::now()),
        };
        let watched = Watched { link, id, frames, bulk, vanished: None, down, told_down };
        self.links.insert(index, watched);
        self.own(index, output);
    }

    /// The other end was taken out of its namespace into another: from now on it is another container's interface.
    /// That the one that it was taken from lives is a finding.
    fn look_whether_moved(&mut self, link: &Link, output: &mut dyn Sink) {
        let known = self.links.get(&link.index).filter(|watched| watched.vanished.is_none());
        let Some(watched) = known else { return };
        let (Some(before), Some(now)) = (watched.link.peer_nsid, link.peer_nsid) else { return };
        // Home again is where its container has been all the time.
        let home = self.roster.sharing(link.index).any(|container| container.nsid == Some(now));
        if before == now || home {
            return;
        }
        if self.visibility.is_alive(&self.roster.processes(link.index)) {
            let sight = seen(watched.id, Sight::Lost(Blindness::InterfaceGone));
            self.crew.tell(link.index, sight, output);
        }
        self.roster.forget(link.index);
        self.release(link.index, output);
    }

    /// A look at the containers was told as a whole: draws from it what follows.
    fn settle(&mut self, output: &mut dyn Sink) {
        for index in self.roster.take_changed() {
            self.own(index, output);
        }
        for (index, news) in self.roster.take_sights() {
            if let Some(watched) = self.links.get(&index) {
                self.crew.tell(index, seen(watched.id, news), output);
            }
        }
        if output.wants(RecordKind::Coverage) {
            let links =
                self.links.values().map(|watched| (watched.link.index, watched.link.clone()));
            let links = links.collect();
            for container in self.roster.take_news() {
                let line = coverage_line(now(), &container, &links);
                output.line(RecordKind::Coverage, &line);
            }
        }
    }

    /// Tells the engine whose an interface is.
    fn own(&mut self, index: u32, output: &mut dyn Sink) {
        let Some(watched) = self.links.get(&index) else { return };
        let sharing: Vec<_> = self.roster.sharing(index).collect();
        let owner = identity::owner(watched.id, &watched.link.name, &sharing);
        self.crew.tell(index, Order::Owner(Box::new(owner)), output);
    }

    /// Passes on what is there, where that is this thread's work. Returns whether there was anything.
    pub(super) fn hear(&mut self, output: &mut dyn Sink) -> bool {
        self.crew.hear(output)
    }

    /// Waits for frames, a signal or the host's news.
    pub(super) fn wait(
        &mut self,
        watcher: &Watcher,
        signals: &Signals,
        at_most: Duration,
        output: &mut dyn Sink,
    ) {
        if let Some(change) = self.crew.wait(watcher, signals, at_most) {
            self.take(change, output);
        }
    }

    /// Takes what of another configuration can be taken: see [`crate::engine::Engine::reconfigure`].
    pub(super) fn reconfigure(&mut self, config: &Config, output: &mut dyn Sink) {
        self.crew.reconfigure(config, output);
    }

    /// Counts of all engines.
    pub(super) fn stats(&mut self) -> &Stats {
        self.crew.stats()
    }

    /// Lets windows end where nothing is heard, and hands out what was found. The keeper gets what it asks for.
    pub(super) fn tick(&mut self, keeper: Option<&mut Keeper>, output: &mut dyn Sink) {
        let mut reports = self.crew.reports();
        self.alive = !reports.iter().any(|report| report.failed);
        let counts = self.note_counts(&reports, output);
        self.crew.tell_capture(self.capture, output);
        self.crew.tick(output);
        self.look_at_downs(output);
        for (link, blindness) in self.visibility.look(counts, captured(&self.links)) {
            let news = blindness.map_or(Sight::Regained(&BYPASSED), Sight::Lost);
            let sight = seen(link.unwrap_or(MONITOR), news);
            self.crew.tell(self.index_of(link), sight, output);
        }
        if let Some(keeper) = keeper {
            reports
                .iter_mut()
                .filter_map(|report| report.memories.take())
                .for_each(|noted| keeper.take(noted));
            if keeper.is_due() {
                self.crew.note(output);
            }
        }
        output.flush();
    }

    /// Takes what the kernel still holds, closes flows and findings, and waits for what can be
    /// written within two seconds. Returns the engines, too.
    pub(super) fn end(
        mut self,
        output: &mut dyn Sink,
        writer: &queue::Writer,
        args: &ResultArgs,
    ) -> (anyhow::Result<()>, Vec<Engine>) {
        let ending = Ending::begin();
        let mut returned = self.crew.end(ending, output);
        let counts = self.note_counts(&returned.reports, output);
        let blind = self.visibility.look_at_end(counts, captured(&self.links));
        self.note_counts(&returned.reports, output);
        let blind = blind.into_iter().map(|(link, why)| {
            (self.index_of(link), seen(link.unwrap_or(MONITOR), Sight::Lost(why)))
        });
        let blind: Vec<_> = blind.collect();
        let kept = std::mem::take(&mut returned.kept).into_iter();
        let close = |output: &mut dyn Sink| returned.close(self.capture, &blind, output);
        let written = ending.finish(self.capture, kept, close, output, (writer, args));
        (written, returned.engines)
    }

    /// Index of a link's interface. What is the monitor's own goes to whoever has a container.
    fn index_of(&self, link: Option<LinkId>) -> u32 {
        let of = |id| self.links.iter().find(|(_, watched)| watched.id == id);
        let some = || self.links.keys().min().copied().unwrap_or_default();
        link.and_then(of).map_or_else(some, |(index, _)| *index)
    }

    /// Takes what the workers have counted. Returns what their captures say together.
    fn note_counts(&mut self, reports: &[Report], output: &mut dyn Sink) -> Counts {
        let (mut counts, mut bulk) = (Counts::default(), Bulk::default());
        for report in reports {
            counts += report.counts;
            // Of those that are gone too.
            bulk += report.bulk_of_gone;
            for (index, frames, of) in &report.links {
                bulk += *of;
                if let Some(watched) = self.links.get_mut(index) {
                    (watched.frames, watched.bulk) = (*frames, *of);
                }
            }
        }
        self.capture.passed_frames = counts.passed_frames;
        self.capture.dropped_frames =
            counts.kernel_dropped_frames + counts.interface_dropped_frames;
        self.capture.bulk_cut_frames = bulk.cut_frames;
        self.capture.bulk_dropped_frames = bulk.dropped_frames;
        let mut interfaces: Vec<InterfaceCounts> = self
            .links
            .values()
            .map(|watched| InterfaceCounts {
                link: watched.id,
                watched: watched.vanished.is_none(),
                passed_frames: watched.frames,
                kernel_dropped_frames_estimate: Some(self.visibility.lost_of(watched.id)),
                bulk: watched.bulk,
                ..InterfaceCounts::default()
            })
            .collect();
        interfaces.sort_unstable_by_key(|counts| counts.link.0);
        output.note_interfaces(&interfaces);
        counts
    }
}

/// What was captured of each interface that is there.
fn captured(links: &Links) -> impl Iterator<Item = Captured<'_>> {
    links.values().filter(|watched| watched.vanished.is_none()).map(|watched| Captured {
        link: watched.id,
        name: &watched.link.name,
        frames: watched.frames,
    })
}

/// How well a link's container is seen.
fn seen(link: LinkId, sight: Sight) -> Order {
    Order::Visibility { at: now(), link, sight }
}
