//! Who does the work: one worker on the main thread, or several on threads of their own. Each interface
//! has one, by its index.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::hand::Hand;
use super::worker::{Order, Report, Worker};
use crate::alert::CaptureState;
use crate::attribution::{Change, Watcher};
use crate::capture::live::share_of;
use crate::config::Config;
use crate::engine::{Engine, Input};
use crate::modes::kept::Kept;
use crate::modes::live::{self, Ending, Signals};
use crate::modes::privilege::Confinement;
use crate::output::Sink;
use crate::record::Stats;
use crate::state::Memories;

/// Where the main thread waits for the host's news, signals are looked for so often.
const LOOK: Duration = Duration::from_millis(50);

/// Those who do the work.
pub(super) enum Crew {
    /// The main thread, with the memories that it has noted.
    Alone(Box<Worker>, Option<Memories>),
    /// Threads, in the order of their captures, and what their engines counted together.
    Several(Vec<Hand>, Box<Stats>),
}

impl Crew {
    /// Starts a thread for each worker that has an output of its own. The only worker may have none.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        mut workers: Vec<Worker>,
        outputs: Vec<Box<dyn Sink>>,
        confinement: &Confinement,
    ) -> anyhow::Result<Self> {
        if outputs.is_empty()
            && let Some(alone) = workers.pop()
        {
            return Ok(Self::Alone(Box::new(alone), None));
        }
        let hands = workers.into_iter().zip(outputs).map(|own| {
            Hand::start(own, confinement.thread(&[]))
                .context("no thread can be started for a worker")
        });
        Ok(Self::Several(hands.collect::<anyhow::Result<_>>()?, Box::default()))
    }

    /// Everything that was there at the start is told.
    pub(super) fn begin(&self) {
        if let Self::Several(hands, _) = self {
            hands.iter().for_each(|hand| hand.tell(Order::Begin));
        }
    }

    /// Both indices are the same worker's.
    pub(super) fn is_same(&self, one: u32, other: u32) -> bool {
        match self {
            Self::Alone(..) => true,
            Self::Several(hands, _) => place(one, hands) == place(other, hands),
        }
    }

    /// Tells whoever has the interface with this index.
    pub(super) fn tell(&mut self, index: u32, order: Order, output: &mut dyn Sink) {
        match self {
            Self::Alone(worker, _) => worker.take(order, output),
            Self::Several(hands, _) => hands[place(index, hands)].tell(order),
        }
    }

    fn tell_all(&mut self, order: impl Fn() -> Order, output: &mut dyn Sink) {
        match self {
            Self::Alone(worker, _) => worker.take(order(), output),
            Self::Several(hands, _) => hands.iter().for_each(|hand| hand.tell(order())),
        }
    }

    /// Tells everyone what all captures together say of themselves.
    pub(super) fn tell_capture(&mut self, capture: CaptureState, output: &mut dyn Sink) {
        self.tell_all(|| Order::Capture(capture), output);
    }

    /// Gives everyone another configuration.
    pub(super) fn reconfigure(&mut self, config: &Config, output: &mut dyn Sink) {
        let config = Arc::new(config.clone());
        self.tell_all(|| Order::Reconfigure(Arc::clone(&config)), output);
    }

    /// Lets everyone note what their containers do.
    pub(super) fn note(&mut self, output: &mut dyn Sink) {
        self.tell_all(|| Order::Note, output);
    }

    /// What each says of itself. What one has to tell, the others are told.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        let (hands, stats) = match self {
            Self::Alone(worker, memories) => {
                return vec![Report { memories: memories.take(), ..worker.report() }];
            }
            Self::Several(hands, stats) => (hands, stats),
        };
        let mut reports: Vec<Report> = hands.iter().map(Hand::report).collect();
        for (from, report) in reports.iter_mut().enumerate() {
            let Some(news) = report.news.take().map(Arc::new) else { continue };
            for (_, hand) in hands.iter().enumerate().filter(|(to, _)| *to != from) {
                hand.tell(Order::News(Arc::clone(&news)));
            }
        }
        **stats = Stats::default();
        reports.iter().for_each(|report| stats.add(&report.stats));
        reports
    }

    /// What all engines have counted.
    pub(super) fn stats(&mut self) -> &Stats {
        match self {
            Self::Alone(worker, _) => worker.engine.stats(),
            Self::Several(_, stats) => stats,
        }
    }

    /// Passes on what is there, where that is this thread's work. Returns whether there was anything.
    pub(super) fn hear(&mut self, output: &mut dyn Sink) -> bool {
        match self {
            Self::Alone(worker, _) => worker.hear(output),
            Self::Several(..) => false,
        }
    }

    /// The same for what is due at a tick.
    pub(super) fn tick(&mut self, output: &mut dyn Sink) {
        if let Self::Alone(worker, memories) = self {
            *memories = worker.tick(output);
        }
    }

    /// Waits for frames or a signal, or where frames are not this thread's, for the host's news.
    pub(super) fn wait(
        &self,
        watcher: &Watcher,
        signals: &Signals,
        at_most: Duration,
    ) -> Option<Change> {
        match self {
            Self::Alone(worker, _) => {
                live::wait(std::iter::once(&worker.reader), signals, at_most);
                None
            }
            Self::Several(..) => watcher.next(at_most.min(LOOK)).ok(),
        }
    }

    /// Everyone takes what the kernel still holds, and comes back.
    pub(super) fn end(&mut self, ending: Ending, output: &mut dyn Sink) -> Returned {
        let mut returned = Returned::default();
        match std::mem::replace(self, Self::Several(Vec::new(), Box::default())) {
            Self::Alone(mut worker, _) => {
                worker.drain(ending, output);
                returned.add(*worker);
            }
            Self::Several(hands, _) => {
                hands.iter().for_each(|hand| hand.tell(Order::End(ending)));
                for (worker, own) in hands.into_iter().filter_map(Hand::join) {
                    returned.add(worker);
                    returned.outputs.push(own);
                }
            }
        }
        returned
    }
}

/// What workers bring back when they have taken what there was.
#[derive(Default)]
pub(super) struct Returned {
    pub(super) reports: Vec<Report>,
    pub(super) engines: Vec<Engine>,
    pub(super) kept: Vec<Kept>,
    /// Of several workers, the output of each.
    outputs: Vec<Box<dyn Sink>>,
}

impl Returned {
    fn add(&mut self, mut worker: Worker) {
        self.reports.push(worker.report());
        self.engines.push(worker.engine);
        self.kept.push(worker.kept);
    }

    /// Closes flows and findings, and gives the summary. Each order is for whoever has the interface with its
    /// index.
    pub(super) fn close(
        &mut self,
        capture: CaptureState,
        orders: &[(u32, Order)],
        output: &mut dyn Sink,
    ) {
        let of = self.engines.len() as u32;
        for (place, engine) in self.engines.iter_mut().enumerate() {
            let own = orders.iter().filter(|(index, _)| share_of(*index, of) as usize == place);
            let told = own.map(|(_, order)| order);
            match self.outputs.get_mut(place) {
                Some(own) => end(engine, capture, told, &mut **own),
                None => end(engine, capture, told, output),
            }
        }
        Engine::summarize(&self.engines.iter().collect::<Vec<_>>(), output);
    }
}

/// Whose an interface is.
fn place(index: u32, hands: &[Hand]) -> usize {
    share_of(index, hands.len() as u32) as usize
}

fn end<'a>(
    engine: &mut Engine,
    capture: CaptureState,
    sights: impl Iterator<Item = &'a Order>,
    output: &mut dyn Sink,
) {
    engine.handle(Input::Capture(capture), output);
    for order in sights {
        if let Order::Visibility { at, link, sight } = order {
            engine.handle(Input::Visibility { at: *at, link: *link, sight: *sight }, output);
        }
    }
    engine.end(output);
    output.flush();
}
