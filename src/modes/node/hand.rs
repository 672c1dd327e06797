//! A worker on a thread of its own. The main thread tells it what to do through a bounded channel, and reads
//! what it said at its last tick.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::worker::{Order, Report, Worker};
use crate::modes::live::Ending;
use crate::modes::pace::Pace;
use crate::output::Sink;

/// Orders that wait for a worker (count). Who brings more waits until there is room.
const ORDERS_MAX: usize = 1_024;

/// A worker that has ended, and its output.
pub(super) type Ended = (Worker, Box<dyn Sink>);

/// A worker's thread, seen from the main one.
pub(super) struct Hand {
    orders: SyncSender<Order>,
    wake: UnixStream,
    report: Arc<Mutex<Report>>,
    thread: thread::JoinHandle<Ended>,
}

impl Hand {
    /// Starts the thread, which does `first` before anything else, and waits for orders.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        (worker, output): Ended,
        first: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (came, wake) = UnixStream::pair()?;
        came.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let (orders, taken) = sync_channel(ORDERS_MAX);
        let report = Arc::<Mutex<Report>>::default();
        let told = Arc::clone(&report);
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(move || {
            first();
            Work { worker, output, orders: taken, came, told }.run()
        })?;
        Ok(Self { orders, wake, report, thread })
    }

    /// Tells the worker something.
    pub(super) fn tell(&self, order: Order) {
        // One that has ended by itself needs no orders, and a full pipe wakes as well.
        let _ = self.orders.send(order);
        let _ = (&self.wake).write(&[0]);
    }

    /// What it said at its last tick; what is told once is taken.
    pub(super) fn report(&self) -> Report {
        let mut report = lock(&self.report);
        let (news, memories) = (report.news.take(), report.memories.take());
        Report {
            counts: report.counts,
            links: report.links.clone(),
            bulk_of_gone: report.bulk_of_gone,
            stats: report.stats.clone(),
            news,
            memories,
            failed: report.failed || self.thread.is_finished(),
        }
    }

    /// Waits for its end, after [`Order::End`]; nothing where it was no orderly one.
    pub(super) fn join(self) -> Option<Ended> {
        self.thread.join().ok()
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread has.
struct Work {
    worker: Worker,
    output: Box<dyn Sink>,
    orders: Receiver<Order>,
    /// Readable after an order.
    came: UnixStream,
    told: Arc<Mutex<Report>>,
}

impl Work {
    fn run(mut self) -> Ended {
        if let Some(ending) = self.until_begun() {
            return self.end(ending);
        }
        let mut pace = Pace::new(0);
        loop {
            if let Some(ending) = self.follow() {
                return self.end(ending);
            }
            let heard = self.worker.hear(&mut *self.output);
            if pace.ticks() {
                self.tick();
            }
            if !heard {
                self.wait(pace.left());
            }
        }
    }

    /// What is captured meanwhile waits in the kernel's buffer.
    fn until_begun(&mut self) -> Option<Ending> {
        loop {
            match self.orders.recv() {
                Ok(Order::Begin) => return None,
                Ok(Order::End(ending)) => return Some(ending),
                Ok(order) => self.take(order),
                Err(_) => return Some(Ending::begin()),
            }
        }
    }

    /// Follows the orders that are there.
    fn follow(&mut self) -> Option<Ending> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::End(ending)) => return Some(ending),
                Ok(order) => self.take(order),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(Ending::begin()),
            }
        }
    }

    fn take(&mut self, order: Order) {
        if let Order::Link { id, interface, .. } = &order
            && let Some(name) = &interface.name
        {
            self.output.name_link(*id, name);
        }
        self.worker.take(order, &mut *self.output);
    }

    fn tick(&mut self) {
        let memories = self.worker.tick(&mut *self.output);
        self.output.flush();
        let mut new = self.worker.report();
        new.stats = self.worker.engine.stats().clone();
        let mut told = lock(&self.told);
        // What the main thread has not fetched stays; what is new comes with the next.
        new.news = told.news.take();
        if new.news.is_none() {
            new.news = self.worker.engine.news();
        }
        new.memories = memories.or_else(|| told.memories.take());
        *told = new;
    }

    /// Waits for frames or an order.
    fn wait(&self, at_most: Duration) {
        let mut waited = vec![PollFd::new(&self.came, PollFlags::IN)];
        if !self.worker.failed {
            let frames = self.worker.reader.as_fd();
            waited.push(PollFd::from_borrowed_fd(frames, PollFlags::IN));
        }
        let at_most = Timespec { tv_sec: 0, tv_nsec: i64::from(at_most.subsec_nanos()) };
        // Interrupted or refused: the loop looks around and comes back.
        let _ = poll(&mut waited, Some(&at_most));
        let mut bytes = [0; 64];
        while matches!((&self.came).read(&mut bytes), Ok(read) if read > 0) {}
    }

    fn end(mut self, ending: Ending) -> Ended {
        self.worker.drain(ending, &mut *self.output);
        (self.worker, self.output)
    }
}
