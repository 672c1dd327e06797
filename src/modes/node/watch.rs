//! The host's interfaces under one capture, and what the host says of them.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::identity;
use super::roster::Roster;
use super::visibility::{Captured, Visibility};
use crate::alert::CaptureState;
use crate::attribution::links::LinkMonitor;
use crate::attribution::report::coverage_line;
use crate::attribution::{Change, Link, Watcher};
use crate::capture::Interface;
use crate::capture::live::{Heard, LiveError, LiveReader, interface_of, now};
use crate::capture::shed::{Bulk, Fate};
use crate::cli::ResultArgs;
use crate::config::capture::Settings;
use crate::detect::blind_spot::{BYPASSED, Blindness, DOWN, GONE, Sight};
use crate::engine::{Engine, Input};
use crate::event::LinkId;
use crate::modes::kept::Kept;
use crate::modes::live::{self, Ending, Signals};
use crate::modes::warn;
use crate::output::{InterfaceCounts, Sink, queue};
use crate::record::RecordKind;

/// Frames before the clock, the signals and the host's news get their turn (count).
const BATCH_FRAMES: u32 = 4_096;
/// Frames of an interface that is no container's, from which on the kernel passes it over (count).
const STRANGER_FRAMES: u32 = 16;
/// Interfaces that the kernel passes over (count): each is a few instructions of a filter that the
/// kernel runs for every frame, and takes 4096 of them.
const LEFT_OUT_MAX: usize = 256;
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
    /// It was told to be a container's that does more than hold a pod's namespaces.
    of_app: bool,
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

/// All interfaces of the host under one capture.
pub(super) struct Watch {
    reader: LiveReader,
    snaplen: u32,
    links: Links,
    vanished: Vec<Vanished>,
    /// Numbers of links that are gone: the kernel's indices only grow.
    free: Vec<LinkId>,
    roster: Roster,
    /// Frames of interfaces that are no container's, by index.
    strangers: BTreeMap<u32, u32>,
    left_out: BTreeSet<u32>,
    capture: CaptureState,
    bulk_of_gone: Bulk,
    kept: Kept,
    visibility: Visibility,
    alive: bool,
}

impl Watch {
    /// Starts to capture.
    pub(super) fn open(settings: &Settings, kept: Kept, procfs: &Path) -> Result<Self, LiveError> {
        let [snaplen, _] = settings.of_node();
        let mut capture = CaptureState::default();
        capture.add_interface(snaplen);
        let mut watch = Self {
            reader: LiveReader::open_all(settings)?,
            snaplen,
            links: HashMap::default(),
            vanished: Vec::new(),
            free: Vec::new(),
            roster: Roster::default(),
            strangers: BTreeMap::new(),
            left_out: BTreeSet::new(),
            capture,
            bulk_of_gone: Bulk::default(),
            kept,
            visibility: Visibility::new(procfs),
            alive: true,
        };
        // What the host sends for itself, and what bridges and overlays carry for containers, is
        // there a second time.
        if let Ok(monitor) = LinkMonitor::open() {
            let others = monitor.links().values().filter(|link| !link.is_container_side());
            watch.left_out.extend(others.map(|link| link.index).take(LEFT_OUT_MAX));
        }
        watch.reader.leave_out(&watch.left_out)?;
        Ok(watch)
    }

    /// The capture goes on.
    pub(super) const fn is_alive(&self) -> bool {
        self.alive
    }

    /// Hears what is there already, and says so.
    pub(super) fn start(&mut self, watcher: &Watcher, engine: &mut Engine, output: &mut dyn Sink) {
        let until = Instant::now() + START;
        while let Ok(change) = watcher.next(until.saturating_duration_since(Instant::now())) {
            if matches!(change, Change::Started) {
                break;
            }
            self.take(change, engine, output);
        }
        warn(&self.roster.summary(self.links.len()));
    }

    /// Takes the host's news.
    pub(super) fn learn(&mut self, watcher: &Watcher, engine: &mut Engine, output: &mut dyn Sink) {
        while let Ok(change) = watcher.try_next() {
            self.take(change, engine, output);
        }
        let due = |gone: &Vanished| gone.looked.elapsed() >= GRACE;
        let (due, waiting) = std::mem::take(&mut self.vanished).into_iter().partition(due);
        self.vanished = waiting;
        for gone in due {
            self.let_go(gone, engine, output);
        }
    }

    /// An interface has vanished, and nothing of it is on the way any more. If its container lives
    /// on, that is a finding, and the interface stays the container's until it ends.
    fn let_go(&mut self, mut gone: Vanished, engine: &mut Engine, output: &mut dyn Sink) {
        let Some(watched) = self.links.get(&gone.index) else { return };
        let id = watched.id;
        if self.visibility.is_alive(&gone.processes) {
            if gone.at.elapsed() >= BLIND_AFTER && !gone.told {
                gone.told = true;
                sight(id, Sight::Lost(Blindness::InterfaceGone), engine, output);
            }
            gone.looked = Instant::now();
            self.vanished.push(gone);
            return;
        }
        self.bulk_of_gone += watched.bulk;
        self.links.remove(&gone.index);
        self.roster.forget(gone.index);
        engine.handle(Input::LinkGone(id), output);
        self.kept.gone(id);
        self.free.push(id);
    }

    /// An interface is there that leads where one led that has vanished, while what ran there still
    /// runs: it is that one, under whatever number. Another that has got its number is not.
    fn come_back(&mut self, link: &Link, engine: &mut Engine, output: &mut dyn Sink) {
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
            let Some(watched) = self.links.remove(&gone.index) else { return };
            let id = watched.id;
            self.links.insert(link.index, watched);
            if gone.told {
                sight(id, Sight::Regained(&GONE), engine, output);
            }
        } else if let Some(place) = self.vanished.iter().position(|one| one.index == link.index) {
            let mut other = self.vanished.swap_remove(place);
            other.processes.clear();
            self.let_go(other, engine, output);
        }
    }

    /// Interfaces that were set down, and are still, while their container lives.
    fn look_at_downs(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
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
            sight(watched.id, news, engine, output);
        }
    }

    fn take(&mut self, change: Change, engine: &mut Engine, output: &mut dyn Sink) {
        match change {
            Change::InterfaceAppeared(link) | Change::InterfaceChanged(link) => {
                self.interface(link, engine, output);
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
            Change::Complete => self.settle(engine, output),
            Change::Message(text) => warn(&text),
            Change::Started => {}
        }
    }

    fn interface(&mut self, link: Link, engine: &mut Engine, output: &mut dyn Sink) {
        if !self.vanished.is_empty() {
            self.come_back(&link, engine, output);
        }
        let index = link.index;
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
            let link_type = self.reader.link_type();
            self.kept.link(id, Interface { name, link_type, snaplen, of_container: true });
        }
        let known = self.links.get(&index);
        let told_down = known.is_some_and(|watched| watched.told_down);
        let of_app = known.is_some_and(|watched| watched.of_app);
        let down = match known.and_then(|watched| watched.down) {
            _ if link.up => None,
            Some(since) => Some(since),
            // One that was never up is being made.
            None => known.filter(|watched| watched.link.up).map(|_| Instant::now()),
        };
        let watched = Watched { link, id, frames, bulk, vanished: None, down, told_down, of_app };
        self.links.insert(index, watched);
        self.strangers.remove(&index);
        if self.left_out.remove(&index) {
            self.set_filter();
        }
        self.own(index, engine, output);
    }

    /// A look at the containers was told as a whole: draws from it what follows.
    fn settle(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
        for index in self.roster.take_changed() {
            self.own(index, engine, output);
        }
        for (index, news) in self.roster.take_sights() {
            if let Some(watched) = self.links.get(&index) {
                sight(watched.id, news, engine, output);
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

    /// Tells the engine whose an interface is. The last container's name stays with it: what only
    /// holds a pod's namespaces says less.
    fn own(&mut self, index: u32, engine: &mut Engine, output: &mut dyn Sink) {
        let Some(watched) = self.links.get_mut(&index) else { return };
        let sharing: Vec<_> = self.roster.sharing(index).collect();
        let of_app = sharing.iter().any(|container| !container.sandbox);
        if watched.of_app && !of_app {
            return;
        }
        watched.of_app = of_app;
        let owner = identity::owner(watched.id, &watched.link.name, &sharing);
        engine.handle(Input::Owner(&owner), output);
    }

    /// Passes on what is there, a batch at most. Returns whether there was anything.
    pub(super) fn hear(&mut self, engine: &mut Engine, output: &mut dyn Sink) -> bool {
        let mut noticed = false;
        for heard in 0..BATCH_FRAMES {
            let (frame, fate) = match self.reader.hear() {
                Heard::Frame(frame, fate) => (frame, fate),
                Heard::Silence => {
                    if noticed {
                        self.pass_over_strangers();
                    }
                    return heard > 0;
                }
                Heard::Gone(why) => {
                    warn(&format!("the capture has failed: {why}"));
                    self.alive = false;
                    return false;
                }
            };
            let index = interface_of(&frame);
            let Some(watched) = self.links.get_mut(&index) else {
                if self.strangers.len() < LEFT_OUT_MAX || self.strangers.contains_key(&index) {
                    let count = self.strangers.entry(index).or_default();
                    *count = count.saturating_add(1);
                    noticed |= *count == STRANGER_FRAMES;
                }
                continue;
            };
            watched.frames += fate.frames();
            watched.bulk.count(fate, frame.wire_bytes);
            if matches!(fate, Fate::Dropped(_)) {
                continue;
            }
            let link = watched.id;
            self.kept.frame(link, &frame);
            engine.handle(Input::Frame { link, frame }, output);
        }
        if noticed {
            self.pass_over_strangers();
        }
        true
    }

    /// Interfaces that are no container's, and busy.
    fn pass_over_strangers(&mut self) {
        let room = LEFT_OUT_MAX.saturating_sub(self.left_out.len());
        let busy = self.strangers.iter().filter(|(_, frames)| **frames >= STRANGER_FRAMES);
        let busy: Vec<u32> = busy.map(|(index, _)| *index).take(room).collect();
        if busy.is_empty() {
            return;
        }
        for index in busy {
            self.strangers.remove(&index);
            self.left_out.insert(index);
        }
        self.set_filter();
    }

    fn set_filter(&mut self) {
        if let Err(error) = self.reader.leave_out(&self.left_out) {
            // They are passed over here instead, which costs time.
            warn(&error.to_string());
        }
    }

    /// Waits for frames or a signal.
    pub(super) fn wait(&self, signals: &Signals, at_most: Duration) {
        live::wait(std::iter::once(&self.reader), signals, at_most);
    }

    /// Lets windows end where nothing is heard, and hands out what was found.
    pub(super) fn tick(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
        self.note_counts(engine, output);
        engine.handle(Input::Tick { at: live::heard_until() }, output);
        self.look_at_downs(engine, output);
        let counts = self.reader.counts();
        for (link, blindness) in self.visibility.look(counts, captured(&self.links)) {
            let news = blindness.map_or(Sight::Regained(&BYPASSED), Sight::Lost);
            sight(link.unwrap_or(MONITOR), news, engine, output);
        }
        output.flush();
        self.kept.flush();
    }

    /// Takes what the kernel still holds, closes flows and findings, and waits for what can be
    /// written within two seconds.
    pub(super) fn end(
        mut self,
        engine: &mut Engine,
        output: &mut dyn Sink,
        writer: &queue::Writer,
        args: &ResultArgs,
    ) -> anyhow::Result<()> {
        let ending = Ending::begin();
        while self.alive && self.hear(engine, output) && ending.may_drain() {}
        self.visibility.look_at_end(self.reader.counts(), captured(&self.links));
        self.note_counts(engine, output);
        ending.finish(self.kept, engine, output, (writer, args))
    }

    fn note_counts(&mut self, engine: &mut Engine, output: &mut dyn Sink) {
        let counts = self.reader.counts();
        self.capture.passed_frames = counts.passed_frames;
        self.capture.dropped_frames =
            counts.kernel_dropped_frames + counts.interface_dropped_frames;
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
        // Of those that are gone too.
        let mut bulk = self.bulk_of_gone;
        interfaces.iter().for_each(|one| bulk += one.bulk);
        self.capture.bulk_cut_frames = bulk.cut_frames;
        self.capture.bulk_dropped_frames = bulk.dropped_frames;
        interfaces.sort_unstable_by_key(|counts| counts.link.0);
        output.note_interfaces(&interfaces);
        engine.handle(Input::Capture(self.capture), output);
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

/// Tells the engine how well a link's container is seen.
fn sight(link: LinkId, sight: Sight, engine: &mut Engine, output: &mut dyn Sink) {
    engine.handle(Input::Visibility { at: now(), link, sight }, output);
}
