//! Bytes on their way out: collected into chunks, errors kept for the end.

use std::io::{self, ErrorKind};

use super::carrier::{Batch, Carrier, Counts};
use crate::record::RecordKind;

/// Written at once. Large enough that the system call is no cost, small enough for the cache.
const CHUNK_BYTES: usize = 64 << 10;
/// Room above a chunk for the record that fills it. Larger records grow the buffer once.
const RECORD_BYTES: usize = 16 << 10;

/// Collects records for a carrier. After the first error nothing is written any more.
pub(super) struct Chunks<W> {
    writer: W,
    bytes: Vec<u8>,
    /// Bytes and records (count) of a chunk.
    chunk: [u64; 2],
    /// Complete records among the bytes, and where they end.
    records: Counts,
    done_bytes: usize,
    error: Option<io::Error>,
    broken: bool,
}

impl<W: Carrier> Chunks<W> {
    /// Nothing collected.
    pub(super) fn new(writer: W) -> Self {
        let bytes = Vec::with_capacity(CHUNK_BYTES + RECORD_BYTES);
        let [most_bytes, most_records] = writer.batch_max().unwrap_or([u64::MAX; 2]);
        Self {
            writer,
            bytes,
            chunk: [most_bytes.min(CHUNK_BYTES as u64), most_records],
            records: Counts::default(),
            done_bytes: 0,
            error: None,
            broken: false,
        }
    }

    /// Where a record is put together.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// A record is complete: writes if a chunk is. What someone may wait for is written at once,
    /// apart from the bulk before it, which may have to be dropped.
    pub(super) fn record_done(&mut self, kind: RecordKind) {
        let urgent = matches!(kind, RecordKind::Alert | RecordKind::Stats);
        if urgent && self.done_bytes > 0 {
            self.write_done();
        }
        self.records.add(kind);
        self.done_bytes = self.bytes.len();
        if urgent {
            self.flush();
        } else if self.done_bytes as u64 >= self.chunk[0] || self.records.total() >= self.chunk[1] {
            self.write_done();
        }
    }

    /// Records that the carrier dropped; `None` where it drops none.
    pub(super) fn dropped(&self) -> Option<Counts> {
        self.writer.dropped()
    }

    /// Writes everything, through the writer's own buffer too.
    pub(super) fn flush(&mut self) {
        self.done_bytes = self.bytes.len();
        self.write_done();
        if !self.broken
            && let Err(error) = self.writer.flush()
        {
            self.fail(error);
        }
    }

    /// See [`super::Sink::is_broken`].
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// See [`super::Sink::take_error`].
    pub(super) const fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// The writer, for tests.
    #[cfg(test)]
    pub(super) const fn writer(&self) -> &W {
        &self.writer
    }

    fn write_done(&mut self) {
        let batch = Batch { bytes: &self.bytes[..self.done_bytes], records: self.records };
        if !self.broken
            && !batch.bytes.is_empty()
            && let Err(error) = self.writer.carry(batch)
        {
            self.fail(error);
        }
        self.bytes.drain(..self.done_bytes);
        self.records = Counts::default();
        self.done_bytes = 0;
    }

    fn fail(&mut self, error: io::Error) {
        self.broken = true;
        if error.kind() != ErrorKind::BrokenPipe {
            self.error = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Takes `room` bytes, then fails with `kind`.
    struct Full {
        room: usize,
        kind: ErrorKind,
        calls: usize,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.room == 0 {
                return Err(self.kind.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn fails_once_and_stays_silent() {
        for (case, kind, reported) in [
            ("a full disk is an error", ErrorKind::StorageFull, true),
            ("a reader that went away is none", ErrorKind::BrokenPipe, false),
        ] {
            let mut chunks = Chunks::new(Full { room: 100, kind, calls: 0 });
            for _ in 0..3 {
                chunks.buffer().resize(CHUNK_BYTES, b'x');
                chunks.record_done(RecordKind::Flow);
            }
            chunks.flush();
            assert!(chunks.is_broken(), "{case}");
            assert_eq!(chunks.writer().calls, 2, "{case}: nothing is written after the error");
            assert_eq!(chunks.take_error().map(|e| e.kind()), reported.then_some(kind), "{case}");
            assert!(chunks.take_error().is_none(), "{case}: reported once");
        }
    }

    #[test]
    fn writes_whole_chunks_and_the_rest_on_demand() {
        let mut chunks = Chunks::new(Vec::new());
        chunks.buffer().extend_from_slice(b"a\n");
        chunks.record_done(RecordKind::Flow);
        assert!(chunks.writer().is_empty());
        chunks.flush();
        assert_eq!(chunks.writer(), b"a\n");
    }
}
