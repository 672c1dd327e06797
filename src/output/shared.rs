//! One report from several workers: its handles meet in it when there is a finding, and on no other packet's
//! way. What is wanted is asked without a lock.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{InterfaceCounts, Sink};
use crate::event::LinkId;
use crate::record::{Output, Record, RecordKind, Summary};

/// A handle to an output; each worker has its own.
#[derive(Clone)]
pub struct Shared {
    wanted: [bool; RecordKind::ALL.len()],
    sink: Arc<Mutex<Box<dyn Sink>>>,
}

impl Shared {
    /// The first handle.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        let mut wanted = [false; RecordKind::ALL.len()];
        for kind in RecordKind::ALL {
            wanted[kind as usize] = sink.wants(kind);
        }
        Self { wanted, sink: Arc::new(Mutex::new(sink)) }
    }

    /// Nobody panics while holding it, so it is whole even if someone did.
    fn sink(&self) -> MutexGuard<'_, Box<dyn Sink>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output for Shared {
    fn wants(&self, kind: RecordKind) -> bool {
        self.wanted[kind as usize]
    }

    fn record(&mut self, record: &Record<'_>) {
        if self.wants(record.kind()) {
            self.sink().record(record);
        }
    }

    fn name_link(&mut self, link: LinkId, name: &str) {
        self.sink().name_link(link, name);
    }

    fn finish(&mut self, summary: &Summary<'_>) {
        self.sink().finish(summary);
    }
}

impl Sink for Shared {
    fn flush(&mut self) {
        self.sink().flush();
    }

    fn is_broken(&self) -> bool {
        self.sink().is_broken()
    }

    fn take_error(&mut self) -> Option<io::Error> {
        self.sink().take_error()
    }

    fn line(&mut self, kind: RecordKind, json: &str) {
        self.sink().line(kind, json);
    }

    fn note_interfaces(&mut self, interfaces: &[InterfaceCounts]) {
        self.sink().note_interfaces(interfaces);
    }
}
