//! A share of the host's interfaces: captured, analysed, kept. Nothing on a packet's way is another's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::alert::CaptureState;
use crate::capture::Interface;
use crate::capture::live::{Counts, Heard, LiveReader, interface_of};
use crate::capture::shed::{Bulk, Fate};
use crate::config::Config;
use crate::container::LinkOwner;
use crate::detect::blind_spot::Sight;
use crate::engine::{Engine, Input, News};
use crate::event::LinkId;
use crate::modes::kept::Kept;
use crate::modes::live::{self, Ending};
use crate::modes::reload;
use crate::modes::state::Noting;
use crate::modes::warn;
use crate::output::Sink;
use crate::record::Stats;
use crate::state::Memories;
use crate::time::Timestamp;

/// Frames before the clock, the signals and the host's news get their turn (count).
const BATCH_FRAMES: u32 = 4_096;
/// Frames of an interface that is no container's, from which on the kernel passes it over (count).
const STRANGER_FRAMES: u32 = 16;
/// Interfaces that the kernel passes over (count): each is a few instructions of a filter that the
/// kernel runs for every frame, and takes 4096 of them.
const LEFT_OUT_MAX: usize = 256;

/// What a worker is told. Interfaces go by the kernel's index.
pub(super) enum Order {
    /// All that was there at the start is told: capture.
    Begin,
    /// An interface is a container's, or is called otherwise now.
    Link { index: u32, id: LinkId, interface: Interface },
    /// It has another index.
    Renumbered { from: u32, to: u32 },
    /// It is gone.
    Gone { index: u32 },
    /// Whose it is.
    Owner(Box<LinkOwner>),
    /// How well it is seen.
    Visibility { at: Timestamp, link: LinkId, sight: Sight },
    /// What all captures together say of themselves.
    Capture(CaptureState),
    /// What another worker's engine has to tell.
    News(Arc<News>),
    /// Another configuration.
    Reconfigure(Arc<Config>),
    /// Note what containers do: it is time to write the state.
    Note,
    /// Take what the kernel still holds, and end.
    End(Ending),
}

/// What a worker says of itself at a tick.
#[derive(Default)]
pub(super) struct Report {
    pub(super) counts: Counts,
    /// Index, frames and bulk of each of its interfaces.
    pub(super) links: Vec<(u32, u64, Bulk)>,
    pub(super) bulk_of_gone: Bulk,
    pub(super) stats: Stats,
    /// For the other workers.
    pub(super) news: Option<News>,
    /// Noted since [`Order::Note`]; told once.
    pub(super) memories: Option<Memories>,
    /// Its capture has ended by itself.
    pub(super) failed: bool,
}

/// An interface of a container.
struct Seat {
    id: LinkId,
    frames: u64,
    bulk: Bulk,
}

/// A share of the host's interfaces.
pub(super) struct Worker {
    pub(super) reader: LiveReader,
    pub(super) engine: Engine,
    pub(super) kept: Kept,
    seats: HashMap<u32, Seat, foldhash::fast::FixedState>,
    bulk_of_gone: Bulk,
    /// Frames of interfaces that are no container's, by index.
    strangers: BTreeMap<u32, u32>,
    left_out: BTreeSet<u32>,
    noting: Noting,
    pub(super) failed: bool,
}

impl Worker {
    /// A worker that hears what its reader does, but for these interfaces.
    pub(super) fn new(
        reader: LiveReader,
        engine: Engine,
        kept: Kept,
        others: impl Iterator<Item = u32>,
    ) -> Self {
        let mut worker = Self {
            reader,
            engine,
            kept,
            seats: HashMap::default(),
            bulk_of_gone: Bulk::default(),
            strangers: BTreeMap::new(),
            left_out: others.take(LEFT_OUT_MAX).collect(),
            noting: Noting::default(),
            failed: false,
        };
        worker.set_filter();
        worker
    }

    /// Does what it is told; but for beginning and ending, which is done by who runs it.
    pub(super) fn take(&mut self, order: Order, output: &mut dyn Sink) {
        let input = match &order {
            Order::Link { index, id, interface } => {
                self.kept.link(*id, interface.clone());
                self.seats.entry(*index).or_insert(Seat {
                    id: *id,
                    frames: 0,
                    bulk: Bulk::default(),
                });
                self.strangers.remove(index);
                if self.left_out.remove(index) {
                    self.set_filter();
                }
                return;
            }
            Order::Renumbered { from, to } => {
                if let Some(seat) = self.seats.remove(from) {
                    self.seats.insert(*to, seat);
                }
                return;
            }
            Order::Gone { index } => {
                let Some(seat) = self.seats.remove(index) else { return };
                self.bulk_of_gone += seat.bulk;
                self.kept.gone(seat.id);
                Input::LinkGone(seat.id)
            }
            Order::Owner(owner) => Input::Owner(owner),
            Order::Visibility { at, link, sight } => {
                Input::Visibility { at: *at, link: *link, sight: *sight }
            }
            Order::Capture(capture) => Input::Capture(*capture),
            Order::News(news) => Input::Node(news),
            Order::Reconfigure(config) => return reload::give(config, &mut self.engine),
            Order::Note => return self.noting.begin(),
            Order::Begin | Order::End(_) => return,
        };
        self.engine.handle(input, output);
    }

    /// Passes on what is there, a batch at most. Returns whether there was anything.
    pub(super) fn hear(&mut self, output: &mut dyn Sink) -> bool {
        if self.failed {
            return false;
        }
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
                    self.failed = true;
                    return false;
                }
            };
            let index = interface_of(&frame);
            let Some(seat) = self.seats.get_mut(&index) else {
                if self.strangers.len() < LEFT_OUT_MAX || self.strangers.contains_key(&index) {
                    let count = self.strangers.entry(index).or_default();
                    *count = count.saturating_add(1);
                    noticed |= *count == STRANGER_FRAMES;
                }
                continue;
            };
            seat.frames += fate.frames();
            seat.bulk.count(fate, frame.wire_bytes);
            if matches!(fate, Fate::Dropped(_)) {
                continue;
            }
            let link = seat.id;
            self.kept.frame(link, &frame);
            self.engine.handle(Input::Frame { link, frame }, output);
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

    /// Lets windows end where nothing is heard. Returns the memories of all containers, when they were asked
    /// for and are all noted.
    pub(super) fn tick(&mut self, output: &mut dyn Sink) -> Option<Memories> {
        self.engine.handle(Input::Tick { at: live::heard_until() }, output);
        self.kept.flush();
        self.noting.step(&mut self.engine)
    }

    /// What its capture and its interfaces have counted.
    pub(super) fn report(&mut self) -> Report {
        let links = self.seats.iter().map(|(index, seat)| (*index, seat.frames, seat.bulk));
        Report {
            counts: self.reader.counts(),
            links: links.collect(),
            bulk_of_gone: self.bulk_of_gone,
            failed: self.failed,
            ..Report::default()
        }
    }

    /// Takes what the kernel still holds.
    pub(super) fn drain(&mut self, ending: Ending, output: &mut dyn Sink) {
        while self.hear(output) && ending.may_drain() {}
    }
}
