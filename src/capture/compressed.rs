//! Compressed input and streams: a thread undoes the compression into a pipe.

use std::io::{self, BufReader, PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::damage::Feed;
use super::format::Compression;

/// Bytes moved at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Any input whose bytes another thread may read.
pub(super) type Stream = Box<dyn Read + Send>;

/// A stream of the decompressed bytes, and a count of the bytes taken from `input`.
pub(super) fn decompress(
    input: Stream,
    compression: Option<Compression>,
) -> (Stream, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Counted { input, taken: Arc::clone(&taken) };
    let stream: Stream = match compression {
        None => Box::new(counted),
        Some(compression) => {
            let buffered = BufReader::with_capacity(CHUNK_BYTES, counted);
            match compression {
                Compression::Gzip => Box::new(MultiGzDecoder::new(buffered)),
                Compression::Zstd => Box::new(ZstdFrames::new(buffered)),
            }
        }
    };
    (stream, taken)
}

/// Starts the thread that moves `stream` into a pipe, and hands out the pipe's other end.
///
/// # Errors
/// The system has no pipe or thread to give.
pub(super) fn feed(
    stream: Stream,
    compression: Option<Compression>,
    taken: Arc<AtomicU64>,
) -> io::Result<(PipeReader, Feed)> {
    let (reader, writer) = io::pipe()?;
    let thread = thread::Builder::new().name("feed".into()).spawn(move || pour(stream, writer))?;
    Ok((reader, Feed { compression, taken, thread: Some(thread) }))
}

fn pour(mut stream: Stream, mut pipe: PipeWriter) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // The reader is gone: it has its own reason to stop, and nobody needs the rest.
        if pipe.write_all(&chunk[..length]).is_err() {
            return Ok(());
        }
    }
}

/// Asks for the end of reading. Whoever waits for a stream sees it within [`Stop::PATIENCE`].
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    const PATIENCE: Duration = Duration::from_millis(100);

    /// The flag, for whoever sets it.
    pub const fn flag(&self) -> &Arc<AtomicBool> {
        &self.0
    }

    /// The end was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that ends when asked to, also while it waits for its writer. A thread of its own waits;
/// it is left behind then, and goes with the process.
pub(super) struct Stoppable {
    chunks: Receiver<io::Result<Vec<u8>>>,
    rest: io::Cursor<Vec<u8>>,
    stop: Stop,
}

impl Stoppable {
    /// Chunks read ahead (count), and bytes of each: what a pipe holds.
    const AHEAD: usize = 2;
    const CHUNK_BYTES: usize = 64 << 10;

    /// # Errors
    /// The system has no thread to give.
    pub(super) fn new(mut input: impl Read + Send + 'static, stop: Stop) -> io::Result<Self> {
        let (sender, chunks) = mpsc::sync_channel(Self::AHEAD);
        thread::Builder::new().name("stream".into()).spawn(move || {
            loop {
                let mut chunk = vec![0; Self::CHUNK_BYTES];
                let read = input.read(&mut chunk).map(|length| {
                    chunk.truncate(length);
                    chunk
                });
                let over = match &read {
                    Ok(chunk) => chunk.is_empty(),
                    Err(error) => error.kind() != io::ErrorKind::Interrupted,
                };
                if sender.send(read).is_err() || over {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, rest: io::Cursor::default(), stop })
    }
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.rest.read(buffer)?;
            if length > 0 || buffer.is_empty() || self.stop.is_asked() {
                return Ok(length);
            }
            match self.chunks.recv_timeout(Stop::PATIENCE) {
                Ok(chunk) => self.rest = io::Cursor::new(chunk?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

/// Counts what passes.
struct Counted {
    input: Stream,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.taken.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// Zstandard frames one after another, skippable ones left out. The decoder refuses windows above
/// 128 MiB, which bounds its memory.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: io::BufRead> ZstdFrames<R> {
    fn new(input: R) -> Self {
        Self { input, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Begins the next frame; `false` at the end of the input.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let wanted = u64::from(length);
                    if io::copy(&mut (&mut self.input).take(wanted), &mut io::sink())? < wanted {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(self.failure(error)),
            }
        }
        Ok(false)
    }

    /// An end of the input inside a frame is told apart from other failures.
    fn failure(&mut self, error: FrameDecoderError) -> io::Error {
        match self.input.fill_buf() {
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            _ => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        }
    }
}

impl<R: io::BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.in_frame && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                if let Err(error) = self.decoder.decode_blocks(&mut self.input, one) {
                    return Err(self.failure(error));
                }
            } else {
                self.in_frame = self.begin()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
        }
    }
}
