//! The queue before readers that stop, read, and go.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use super::*;
use crate::output::chunks::Chunks;

/// A writer whose reader never reads, filled until nothing more goes.
fn stuck(settings: &Settings) -> (Queue, Writer, UnixStream) {
    let (reader, file) = UnixStream::pair().unwrap();
    let (mut queue, writer) =
        start(settings, File::from(OwnedFd::from(file)), || {}, |_| {}).unwrap();
    // More than a socket takes: the thread waits in the middle of it from now on.
    queue.carry(batch(&vec![b'x'; 16 << 20], RecordKind::Flow)).unwrap();
    while writer.0.state().writing.total() == 0 {
        thread::yield_now();
    }
    (queue, writer, reader)
}

fn batch(bytes: &[u8], kind: RecordKind) -> Batch<'_> {
    let mut records = Counts::default();
    records.add(kind);
    Batch { bytes, records }
}

fn small() -> Settings {
    Settings { queue_bytes: (16 << 20) + 800, queue_records_max: 1_000, stats_interval_s: 0 }
}

#[test]
fn drops_bulk_first_and_alerts_last() {
    let (mut queue, writer, _reader) = stuck(&small());
    // The big one is above three quarters and seven eighths: neither flows nor counters pass.
    queue.carry(batch(&[b'f'; 100], RecordKind::Flow)).unwrap();
    queue.carry(batch(&[b's'; 100], RecordKind::Stats)).unwrap();
    for _ in 0..9 {
        queue.carry(batch(&[b'a'; 100], RecordKind::Alert)).unwrap();
    }
    assert_eq!(writer.dropped().to_string(), "1 alert, 1 flow, 1 stats");
    let left = writer.close(Duration::from_millis(10));
    assert_eq!(left.to_string(), "8 alert, 1 flow");
}

#[test]
fn an_alert_takes_the_place_of_what_is_none() {
    let settings = Settings { queue_bytes: 64 << 20, queue_records_max: 4, stats_interval_s: 0 };
    let (mut queue, writer, _reader) = stuck(&settings);
    for kind in [RecordKind::Dns, RecordKind::Tls, RecordKind::Flow, RecordKind::Alert] {
        queue.carry(batch(b"x", kind)).unwrap();
    }
    assert_eq!(writer.dropped().to_string(), "1 flow", "three of four");
    queue.carry(batch(b"x", RecordKind::Alert)).unwrap();
    assert_eq!(writer.dropped().to_string(), "1 flow, 1 dns", "the oldest that waited");
}

/// Its reader never reads.
struct Stopped(mpsc::Receiver<()>);

impl Destination for Stopped {}

impl Write for Stopped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is half written cannot make room: it is a part of the queue alone.
#[test]
fn a_queue_as_small_as_a_chunk_has_room_for_alerts() {
    for (queue_bytes, queue_records_max) in [(64 << 10, 1_000), (4 << 20, 16)] {
        let settings = Settings { queue_bytes, queue_records_max, stats_interval_s: 0 };
        let (_reader, file) = mpsc::channel();
        let (queue, writer) = start(&settings, Stopped(file), || {}, |_| {}).unwrap();
        let mut chunks = Chunks::new(queue);
        let mut record = |kind, bytes| {
            let buffer = chunks.buffer();
            buffer.resize(buffer.len() + bytes, b'x');
            chunks.record_done(kind);
        };
        while writer.0.state().writing.total() == 0 {
            record(RecordKind::Flow, 1_000);
        }
        for _ in 0..10 {
            for _ in 0..1_000 {
                record(RecordKind::Flow, 1_000);
            }
            record(RecordKind::Alert, 2_500);
        }
        assert_eq!(writer.dropped().of(RecordKind::Alert), 0, "of {queue_bytes} bytes");
        assert_eq!(writer.close(Duration::ZERO).of(RecordKind::Alert), 10);
    }
}

#[test]
fn all_is_written_to_whoever_reads() {
    let (reader, file) = UnixStream::pair().unwrap();
    let settings = Settings { queue_bytes: 1_000, queue_records_max: 10, stats_interval_s: 0 };
    let (mut queue, writer) =
        start(&settings, File::from(OwnedFd::from(file)), || {}, |_| {}).unwrap();
    let read = thread::spawn(move || io::copy(&mut &reader, &mut io::sink()).unwrap());
    #[expect(clippy::disallowed_methods, reason = "patience is measured by the clock")]
    writer.wait_for_room(Instant::now() + Duration::from_secs(60));
    for _ in 0..1_000 {
        queue.carry(batch(&[b'f'; 400], RecordKind::Flow)).unwrap();
    }
    assert_eq!(writer.close(Duration::from_secs(60)), Counts::default());
    assert_eq!(writer.dropped(), Counts::default());
    assert_eq!(read.join().unwrap(), 400_000);
}

#[test]
fn a_reader_that_went_is_noticed() {
    let (reader, file) = UnixStream::pair().unwrap();
    let (mut queue, writer) =
        start(&small(), File::from(OwnedFd::from(file)), || {}, |_| {}).unwrap();
    drop(reader);
    queue.carry(batch(b"x", RecordKind::Alert)).unwrap();
    writer.close(Duration::from_secs(60));
    assert_eq!(queue.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(queue.carry(batch(b"x", RecordKind::Alert)).is_err());
}

/// A disk that is full for a while, in the middle of a record.
struct Disk {
    room: usize,
    failures: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Destination for Disk {}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 && self.failures > 0 {
            self.failures -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = if self.room == 0 { bytes.len() } else { bytes.len().min(self.room) };
        self.room = self.room.saturating_sub(taken);
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_a_slow_reader() {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let say = {
        let said = Arc::clone(&said);
        move |text: &str| said.lock().unwrap().push(text.to_owned())
    };
    let disk = Disk { room: 8, failures: 1, written: Arc::clone(&written) };
    let settings = Settings { queue_bytes: 1_000, queue_records_max: 4, stats_interval_s: 0 };
    let (mut queue, writer) = start(&settings, disk, || {}, say).unwrap();
    queue.carry(batch(b"{first}\n{sec", RecordKind::Alert)).unwrap();
    while said.lock().unwrap().is_empty() {
        thread::yield_now();
    }
    for _ in 0..4 {
        queue.carry(batch(b"{flow}\n", RecordKind::Flow)).unwrap();
    }
    assert!(queue.flush().is_ok(), "the capture goes on");
    assert_eq!(writer.close(Duration::from_secs(60)), Counts::default());
    assert_eq!(writer.dropped().to_string(), "2 flow", "three quarters of the queue are bulk's");
    assert!(writer.failure().is_some());
    assert_eq!(&**written.lock().unwrap(), b"{first}\n{sec{flow}\n{flow}\n", "nothing is cut off");
    while said.lock().unwrap().len() < 2 {
        thread::yield_now();
    }
    assert!(said.lock().unwrap()[1].contains("again; dropped so far: 2 flow"));
}
