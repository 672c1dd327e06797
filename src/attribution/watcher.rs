//! Keeps the inventory and sends what changes, from threads of its own.
//!
//! Two threads: one hears the kernel's link events and tells of each container interface at once;
//! the other looks at processes and runtimes (which can take time) and tells of containers when their
//! metadata is there. Both send over one channel of bounded length, and wait while it is full: the
//! kernel then drops link events, and the links are read anew.
#![expect(clippy::disallowed_methods, reason = "the shell side waits by the clock")]

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
use super::inventory::{Attribution, Container};
use super::links::{Link, LinkEvent, LinkKind, LinkMonitor};
use super::survey::Surveyor;

/// Changes that may wait for their reader (count).
const CHANGES_MAX: usize = 1_024;
/// Between two looks at the flag that ends the threads.
const STOP_CHECK: Duration = Duration::from_millis(250);
/// What happens within this time after an event is looked at together.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Pause before a failed netlink socket is opened anew.
const REOPEN: Duration = Duration::from_secs(1);
/// First pause before metadata that was missing is asked for again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Looks are repeated after an event until the pauses between them are as long as this.
const SETTLED: Duration = Duration::from_secs(4);
/// A container that ended while its pod goes on may be started anew, of which the kernel tells nothing: until
/// [`Settings::retry`] has passed, pauses are no longer than this.
const RESTART: Duration = Duration::from_secs(1);
/// What was moved into a namespace is set up there later: each look within this time looks inside.
const FRESH: Duration = Duration::from_secs(5);
/// A survey is followed by a pause of so many times its processor time: looking costs at most a tenth
/// of a core.
const REST: u32 = 9;

/// Something changed on this node.
#[derive(Clone, Debug)]
pub enum Change {
    /// A container interface is there; whose it is follows. Told within a second of its creation.
    InterfaceAppeared(Link),
    /// It was set up or down, renamed, or got another master.
    InterfaceChanged(Link),
    /// It is deleted, or no longer a container's.
    InterfaceVanished(Link),
    /// A container is known, with what there was to know within [`Settings::hold`]. It may have no
    /// interface: see its coverage. Several containers of a pod share theirs.
    ContainerKnown(Box<Container>),
    /// Something about it changed: metadata came late, its coverage became another.
    ContainerUpdated(Box<Container>),
    /// It ended. Its interface vanishes before or after, by its own message.
    ContainerGone(Box<Container>),
    /// All that one look at the containers found has been told: a pod's containers are told one by
    /// one, and what follows from them is best drawn now.
    Complete,
    /// All that was there at the start has been told.
    Started,
    /// For people: a socket that fails, a permission that is missing. Each is said once.
    Message(String),
}

/// Watches until it is dropped.
///
/// The threads end within a quarter of a second of that, or after the runtime's answer that they
/// wait for ([`Settings::survey_timeout`] at most); nobody waits for them. Start it before
/// privileges are dropped: threads keep what they had.
pub struct Watcher {
    changes: Receiver<Change>,
    stop: Arc<AtomicBool>,
}

/// What the two threads share.
struct Shared {
    links: Mutex<BTreeMap<u32, Link>>,
    /// An interface that may be a container's now went from here: insides are worth another look.
    moved: AtomicBool,
    stop: Arc<AtomicBool>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn links(&self) -> BTreeMap<u32, Link> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The reader has gone.
struct Gone;

fn send(changes: &SyncSender<Change>, change: Change) -> Result<(), Gone> {
    changes.send(change).map_err(|_| Gone)
}

impl Watcher {
    /// Starts the threads.
    ///
    /// # Errors
    /// The kernel gives no netlink socket or thread.
    pub fn start(settings: Settings) -> io::Result<Self> {
        Self::start_with(settings, || {}, || {})
    }

    /// Starts the threads; each does what is given for it before anything else: the one that hears
    /// the kernel, and the one that looks at processes and runtimes.
    ///
    /// # Errors
    /// The kernel gives no netlink socket or thread.
    pub fn start_with(
        settings: Settings,
        before_links: impl FnOnce() + Send + 'static,
        before_containers: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let monitor = LinkMonitor::open()?;
        let surveyor = Surveyor::new(settings.clone())?;
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            links: Mutex::new(monitor.links().clone()),
            moved: AtomicBool::new(false),
            stop: Arc::clone(&stop),
        });
        let (changes, receiver) = mpsc::sync_channel(CHANGES_MAX);
        let (poke, poked) = mpsc::sync_channel(1);
        let watcher = Self { changes: receiver, stop };
        let links = LinkThread {
            shared: Arc::clone(&shared),
            changes: changes.clone(),
            poke,
            told: BTreeMap::new(),
        };
        thread::Builder::new().name("links".to_owned()).spawn(move || {
            before_links();
            // Ends when the reader has gone.
            let _ = links.run(monitor);
        })?;
        let containers = ContainerThread {
            shared,
            changes,
            poked,
            settings,
            told: BTreeMap::new(),
            first_seen: BTreeMap::new(),
            missed: None,
        };
        thread::Builder::new().name("containers".to_owned()).spawn(move || {
            before_containers();
            let _ = containers.run(surveyor);
        })?;
        Ok(watcher)
    }

    /// The next change, if one is there. `Disconnected`: the threads have ended, which they do not
    /// while this lives.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn try_next(&self) -> Result<Change, TryRecvError> {
        self.changes.try_recv()
    }

    /// The next change, waiting `at_most`.
    ///
    /// # Errors
    /// Nothing came in time.
    pub fn next(&self, at_most: Duration) -> Result<Change, RecvTimeoutError> {
        self.changes.recv_timeout(at_most)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Processor time that this thread has used.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

struct LinkThread {
    shared: Arc<Shared>,
    changes: SyncSender<Change>,
    poke: SyncSender<()>,
    /// Container interfaces that were told, by index.
    told: BTreeMap<u32, Link>,
}

impl LinkThread {
    fn run(mut self, mut monitor: LinkMonitor) -> Result<(), Gone> {
        self.catch_up(&monitor)?;
        let mut unread = 0;
        while !self.shared.stopped() {
            match monitor.wait(STOP_CHECK) {
                Ok(events) if events.is_empty() => {}
                Ok(events) => {
                    for event in events {
                        self.tell(event)?;
                    }
                    self.share(&monitor);
                }
                Err(error) => {
                    let text = format!("the kernel's link events cannot be read: {error}");
                    send(&self.changes, Change::Message(text))?;
                    monitor = self.reopen()?;
                    self.catch_up(&monitor)?;
                }
            }
            if unread == 0 && monitor.unread > 0 {
                unread = monitor.unread;
                let text = "the kernel tells of interfaces in a form that is not understood: some \
                    may be missed; a newer version may know it";
                send(&self.changes, Change::Message(text.to_owned()))?;
            }
        }
        Ok(())
    }

    fn reopen(&self) -> Result<LinkMonitor, Gone> {
        loop {
            thread::sleep(REOPEN);
            if self.shared.stopped() {
                return Err(Gone);
            }
            if let Ok(monitor) = LinkMonitor::open() {
                return Ok(monitor);
            }
        }
    }

    /// Tells what differs between what was told and what is there.
    fn catch_up(&mut self, monitor: &LinkMonitor) -> Result<(), Gone> {
        let gone = self.told.values().filter(|link| !monitor.links().contains_key(&link.index));
        for link in gone.cloned().collect::<Vec<_>>() {
            self.tell(LinkEvent::Vanished(link))?;
        }
        for link in monitor.links().values() {
            self.tell(LinkEvent::Changed(link.clone()))?;
        }
        self.share(monitor);
        Ok(())
    }

    fn share(&self, monitor: &LinkMonitor) {
        let mut shared = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        shared.clone_from(monitor.links());
        drop(shared);
        // One that is full has woken the other thread already.
        let _ = self.poke.try_send(());
    }

    fn tell(&mut self, event: LinkEvent) -> Result<(), Gone> {
        let vanished = matches!(event, LinkEvent::Vanished(_));
        match event {
            LinkEvent::Appeared(link) | LinkEvent::Changed(link) if link.is_container_side() => {
                match self.told.insert(link.index, link.clone()) {
                    None => send(&self.changes, Change::InterfaceAppeared(link)),
                    Some(before) if before != link => {
                        send(&self.changes, Change::InterfaceChanged(link))
                    }
                    Some(_) => Ok(()),
                }
            }
            // Others are of interest once they were a container's.
            LinkEvent::Appeared(link) | LinkEvent::Changed(link) | LinkEvent::Vanished(link) => {
                let moves = matches!(
                    link.kind,
                    LinkKind::Macvlan | LinkKind::Ipvlan | LinkKind::Physical | LinkKind::Tun
                );
                if moves && vanished {
                    self.shared.moved.store(true, Ordering::Relaxed);
                }
                let Some(link) = self.told.remove(&link.index) else { return Ok(()) };
                send(&self.changes, Change::InterfaceVanished(link))
            }
        }
    }
}

struct ContainerThread {
    shared: Arc<Shared>,
    changes: SyncSender<Change>,
    poked: Receiver<()>,
    settings: Settings,
    /// Containers that were told, by id; no more than the inventory holds.
    told: BTreeMap<String, Container>,
    /// Since when each container is there, by id.
    first_seen: BTreeMap<String, Instant>,
    /// When a container was last missed while others that share its network go on.
    missed: Option<Instant>,
}

impl ContainerThread {
    fn run(mut self, mut surveyor: Surveyor) -> Result<(), Gone> {
        // The interfaces that are there are told first, so that none is missing where all are told.
        let _ = self.poked.recv_timeout(REOPEN);
        let (mut started, mut looked_anew, mut moved) = (false, Instant::now(), None);
        let mut retry = RETRY_FIRST;
        while !self.shared.stopped() {
            let begin = Instant::now();
            if self.shared.moved.swap(false, Ordering::Relaxed) {
                moved = Some(begin);
            }
            let fresh = moved.is_some_and(|moved| begin.duration_since(moved) < FRESH);
            if fresh || begin.duration_since(looked_anew) >= self.settings.interval {
                surveyor.look_anew();
                looked_anew = begin;
            }
            let busy_before = busy();
            let survey = surveyor.look(self.shared.links());
            for message in survey.messages {
                send(&self.changes, Change::Message(message))?;
            }
            let found = survey.inventory.containers;
            let waits = self.tell(found, survey.runtime_answered)?;
            if !started {
                started = true;
                send(&self.changes, Change::Started)?;
            }
            // What follows an event may take a while to show: a runtime tells late that one ended.
            let pause = if waits || retry < SETTLED { retry } else { self.settings.interval };
            let restarts = self.missed.is_some_and(|at| at.elapsed() < self.settings.retry);
            let pause = if restarts { pause.min(RESTART) } else { pause };
            let rest =
                busy().saturating_sub(busy_before).saturating_mul(REST).min(self.settings.interval);
            let woken = self.wait(pause.max(rest), rest)?;
            retry = if woken { RETRY_FIRST } else { (retry * 2).min(self.settings.interval) };
        }
        Ok(())
    }

    /// Waits for an event, at least `least` and at most `pause`. Returns whether one came.
    fn wait(&self, pause: Duration, least: Duration) -> Result<bool, Gone> {
        let begin = Instant::now();
        loop {
            let left = pause.saturating_sub(begin.elapsed());
            if left.is_zero() || self.shared.stopped() {
                return Ok(false);
            }
            match self.poked.recv_timeout(left.min(STOP_CHECK)) {
                Ok(()) => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Gone),
            }
        }
        thread::sleep(DEBOUNCE.max(least.saturating_sub(begin.elapsed())));
        let _ = self.poked.try_recv();
        Ok(true)
    }

    /// Tells what changed. Returns whether metadata is missing that may still come.
    fn tell(
        &mut self,
        found: BTreeMap<String, Container>,
        runtime_answered: bool,
    ) -> Result<bool, Gone> {
        let now = Instant::now();
        self.first_seen.retain(|id, _| found.contains_key(id));
        let gone: Vec<String> =
            self.told.keys().filter(|id| !found.contains_key(*id)).cloned().collect();
        let mut news = !gone.is_empty();
        for container in gone.iter().filter_map(|id| self.told.remove(id)).collect::<Vec<_>>() {
            let mut others = found.values().filter(|one| one.nsid == container.nsid);
            if container.nsid.is_some() && others.next().is_some() {
                self.missed = Some(now);
            }
            send(&self.changes, Change::ContainerGone(Box::new(container)))?;
        }
        let mut waits = false;
        for (id, container) in found {
            let since = *self.first_seen.entry(id.clone()).or_insert(now);
            let age = now.duration_since(since);
            let incomplete = container.how != Attribution::Runtime && runtime_answered
                || container.sandbox && container.interfaces.is_empty();
            waits |= incomplete && age < self.settings.retry;
            match self.told.get_mut(&id) {
                None if incomplete && age < self.settings.hold => {}
                None => {
                    news = true;
                    self.told.insert(id, container.clone());
                    send(&self.changes, Change::ContainerKnown(Box::new(container)))?;
                }
                Some(told) => {
                    // Processes come and go.
                    told.pids.clone_from(&container.pids);
                    if *told != container {
                        news = true;
                        told.clone_from(&container);
                        send(&self.changes, Change::ContainerUpdated(Box::new(container)))?;
                    }
                }
            }
        }
        if news {
            send(&self.changes, Change::Complete)?;
        }
        Ok(waits)
    }
}
