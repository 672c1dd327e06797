//! Inputs that end early, and what is said about them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::format::Compression;

/// Why an input was not read to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DamageKind {
    /// It ends inside a record: the usual end of a capture that was not closed properly.
    CutOff,
    /// A record contradicts itself; whatever follows cannot be found.
    Corrupt(String),
    /// The compressed data ends early.
    CompressedCutOff(Compression),
    /// The compressed data cannot be decompressed.
    CompressedCorrupt(Compression, String),
    /// Frames of an interface whose link type cannot be decoded were left out.
    Skipped {
        /// Such frames (count).
        frames: u64,
        /// Name and number of the link type.
        link_type: String,
    },
}

/// What is missing from the analysis of an input. Displays as one warning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Which input.
    pub input: String,
    /// What happened.
    pub kind: DamageKind,
    /// Frames that were read before it (count).
    pub frames: u64,
    /// Bytes that were read before it, of the uncompressed capture.
    pub read_bytes: u64,
    /// Size of the uncompressed capture in bytes, where known.
    pub total_bytes: Option<u64>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, frames, .. } = self;
        match &self.kind {
            DamageKind::CutOff => write!(f, "{input} is cut off inside a record")?,
            DamageKind::Corrupt(reason) => write!(f, "{input} is damaged: {reason}")?,
            DamageKind::CompressedCutOff(compression) => {
                write!(f, "{input} is cut off: its {} data ends early", compression.as_str())?;
            }
            DamageKind::CompressedCorrupt(compression, reason) => {
                write!(
                    f,
                    "{input} is damaged: its {} data is broken ({reason})",
                    compression.as_str()
                )?;
            }
            DamageKind::Skipped { frames: skipped, link_type } => {
                return write!(
                    f,
                    "{input}: left out {skipped} packets of an interface with link type {link_type}"
                );
            }
        }
        write!(f, "; analysed the {frames} packets before that, {} bytes", self.read_bytes)?;
        if let Some(total) = self.total_bytes {
            write!(f, " of {total}")?;
        }
        Ok(())
    }
}

/// Where a reader's bytes come from: for messages and for progress.
#[derive(Debug)]
pub(super) struct Origin {
    /// Path, or `standard input`.
    pub(super) label: String,
    /// Size in bytes, where it is a plain file.
    pub(super) total_bytes: Option<u64>,
    /// The thread that fills the pipe, where there is one.
    pub(super) feed: Option<Feed>,
    damages: Vec<Damage>,
    ended: bool,
}

impl Origin {
    /// Of a file of this size, or of a pipe that `feed` fills.
    pub(super) const fn new(label: String, total_bytes: Option<u64>, feed: Option<Feed>) -> Self {
        Self { label, total_bytes, feed, damages: Vec::new(), ended: false }
    }

    /// Position in the input as stored, given how many bytes the reader has consumed.
    pub(super) fn position(&self, consumed: u64) -> u64 {
        self.feed.as_ref().map_or(consumed, |feed| feed.taken.load(Ordering::Relaxed))
    }

    /// [`Self::end`] was called.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// The reader has come to its end, for `kind` where that is not the proper one. A feed that
    /// failed is the better reason.
    pub(super) fn end(&mut self, kind: Option<DamageKind>, frames: u64, read_bytes: u64) {
        self.ended = true;
        let at_pipe_end = matches!(kind, None | Some(DamageKind::CutOff));
        let feed = if at_pipe_end { self.feed.as_mut().and_then(Feed::failure) } else { None };
        if let Some(kind) = feed.or(kind) {
            self.add(kind, frames, read_bytes);
        }
    }

    /// Notes a damage.
    pub(super) fn add(&mut self, kind: DamageKind, frames: u64, read_bytes: u64) {
        let (input, total_bytes) = (self.label.clone(), self.total_bytes);
        self.damages.push(Damage { input, kind, frames, read_bytes, total_bytes });
    }

    /// Damages not yet told.
    pub(super) fn take(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damages)
    }
}

/// A thread that fills a pipe with an input, decompressed. It ends with its input, or when the
/// pipe's reader is gone.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) compression: Option<Compression>,
    /// Bytes taken from the input so far.
    pub(super) taken: Arc<AtomicU64>,
    pub(super) thread: Option<JoinHandle<io::Result<()>>>,
}

impl Feed {
    /// Why the thread failed, if it did. To be asked at the pipe's end, when the thread is done.
    fn failure(&mut self) -> Option<DamageKind> {
        let error = self.thread.take()?.join().ok()?.err()?;
        Some(match self.compression {
            Some(compression) if error.kind() == io::ErrorKind::UnexpectedEof => {
                DamageKind::CompressedCutOff(compression)
            }
            Some(compression) => DamageKind::CompressedCorrupt(compression, error.to_string()),
            None => DamageKind::Corrupt(error.to_string()),
        })
    }
}
