//! Keeps what was captured: pcapng files that `replay` reads, rotated and bounded.
//!
//! Each interface is described with its name, and with [`CONTAINER_LINK`] where it is the host's end
//! of a container's interface, or with whose it is where a pod's own are kept, so that a replay tells containers
//! apart as the live run did. That one is gone is told by its statistics (an Interface Statistics Block,
//! which others write at their end).
//! The format is that of draft-ietf-opsawg-pcapng; blocks are in the machine's own byte order.

mod earlier;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{CONTAINER_LINK, Interface, pod};
use crate::container::Named;
use crate::decode::Frame;
use crate::event::LinkId;
use crate::time::Timestamp;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
/// Options of an interface: a comment, its name, its description, the unit of its time stamps.
const COMMENT: u16 = 1;
const NAME: u16 = 2;
const DESCRIPTION: u16 = 3;
const RESOLUTION: u16 = 9;
/// Time stamps count nanoseconds.
const NANOSECONDS: u8 = 9;
/// Before a file's first interface, and around a packet (bytes).
const PACKET_OVERHEAD: u64 = 32;
/// Runs that end soon leave small files: so many more than full ones are kept (count).
const SMALL_FILES_MAX: usize = 60;

/// Files of one capture, the newest written to. Full, a file is closed and the next begun; beyond
/// what so many full ones take the oldest is deleted. Those of earlier runs at the same place count.
#[derive(Debug)]
pub struct CaptureFiles {
    path: PathBuf,
    file_bytes_max: u64,
    files_max: usize,
    file: BufWriter<File>,
    file_bytes: u64,
    /// Of the file that is written to: 1 is `path` itself.
    number: u64,
    /// Closed files that are still there, the oldest first.
    kept: VecDeque<Closed>,
    /// What is known of each interface, in the order of their descriptions in the file.
    links: BTreeMap<LinkId, Interface>,
    /// What each is described with where all are a pod's own.
    pod: Option<String>,
    described: BTreeMap<LinkId, u32>,
    /// The file that each was last described in.
    described_in: BTreeMap<LinkId, u64>,
    /// Interfaces described in this file (count).
    descriptions: u32,
    /// Time of the last frame.
    latest: Timestamp,
}

/// A file that is written to no more.
#[derive(Debug)]
struct Closed {
    path: PathBuf,
    bytes: u64,
}

impl CaptureFiles {
    /// Begins the first file at `path`; later ones are `path` with `.1`, `.2` and so on behind it, and
    /// the first one of a later run goes on in that. As many bytes are kept as `files_max` files of
    /// `file_bytes_max` hold.
    ///
    /// # Errors
    /// The file cannot be created, or another process writes there.
    pub fn create(path: &Path, file_bytes_max: u64, files_max: usize) -> io::Result<Self> {
        let earlier = earlier::find(path)?;
        let number = earlier.keys().next_back().map_or(1, |newest| newest + 1);
        let mut files = Self {
            path: path.to_path_buf(),
            file_bytes_max,
            files_max: files_max.max(1),
            file: BufWriter::new(create(&earlier::path_of(path, number))?),
            file_bytes: 0,
            number,
            kept: earlier.into_values().collect(),
            links: BTreeMap::new(),
            pod: None,
            described: BTreeMap::new(),
            described_in: BTreeMap::new(),
            descriptions: 0,
            latest: Timestamp::default(),
        };
        files.begin()?;
        files.delete_beyond();
        Ok(files)
    }

    /// Tells of an interface, before its first frame.
    pub fn link(&mut self, link: LinkId, interface: Interface) {
        self.links.insert(link, interface);
        self.described.remove(&link);
    }

    /// Tells whose all interfaces are, or by which further addresses the pod is known from now on.
    pub fn pod(&mut self, pod: &Named) {
        self.pod = pod::comment(pod);
        self.described.clear();
    }

    /// Forgets an interface that is gone, and says so where a file that is kept holds any of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn gone(&mut self, link: LinkId) -> io::Result<()> {
        let oldest = self.number - self.kept.len() as u64;
        let is_kept = self.described_in.remove(&link).is_some_and(|number| number >= oldest);
        let number = match self.described.remove(&link) {
            None if is_kept && self.links.contains_key(&link) => self.describe(link)?,
            Some(number) => number,
            None => {
                self.links.remove(&link);
                return Ok(());
            }
        };
        self.links.remove(&link);
        self.described.remove(&link);
        self.described_in.remove(&link);
        let at = self.latest.nanos();
        let mut body = [0; 12];
        for (place, word) in body.chunks_exact_mut(4).zip([number, (at >> 32) as u32, at as u32]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.block(STATISTICS, &body, &[])
    }

    /// Keeps a frame of an interface that was told.
    ///
    /// # Errors
    /// The file cannot be written, or the next not be created.
    pub fn frame(&mut self, link: LinkId, frame: &Frame<'_>) -> io::Result<()> {
        if self.file_bytes + frame.bytes.len() as u64 + PACKET_OVERHEAD > self.file_bytes_max {
            self.rotate()?;
        }
        let number = match self.described.get(&link) {
            Some(number) => *number,
            None => self.describe(link)?,
        };
        self.latest = frame.at;
        let at = frame.at.nanos();
        let captured = frame.bytes.len() as u32;
        let mut head = [0; 20];
        for (place, word) in head.chunks_exact_mut(4).zip([
            number,
            (at >> 32) as u32,
            at as u32,
            captured,
            frame.wire_bytes.max(captured),
        ]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.block(PACKET, &head, frame.bytes)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn begin(&mut self) -> io::Result<()> {
        // Byte order mark, version 1.0, section length unknown.
        let mut body = [0; 16];
        body[..4].copy_from_slice(&0x1a2b_3c4d_u32.to_ne_bytes());
        body[4..6].copy_from_slice(&1_u16.to_ne_bytes());
        body[8..].copy_from_slice(&u64::MAX.to_ne_bytes());
        self.file_bytes = 0;
        self.described.clear();
        self.descriptions = 0;
        self.block(SECTION, &body, &[])
    }

    /// Begins the next file after one that could not be written to its end. Nothing older is deleted
    /// unless that works.
    ///
    /// # Errors
    /// The next file cannot be created or written.
    pub fn go_on(&mut self) -> io::Result<()> {
        let (next, cut_off_bytes) = (self.path_of(self.number + 1), self.file_bytes);
        let cut_off = std::mem::replace(&mut self.file, BufWriter::new(create(&next)?));
        // What is buffered belongs to a block that was cut off.
        let (old, _) = cut_off.into_parts();
        if let Err(error) = self.begin().and_then(|()| self.file.flush()) {
            let failed = std::mem::replace(&mut self.file, BufWriter::new(old));
            let _ = failed.into_parts();
            let _ = fs::remove_file(next);
            return Err(error);
        }
        self.begun(cut_off_bytes);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file = BufWriter::new(create(&self.path_of(self.number + 1))?);
        self.begun(self.file_bytes);
        self.begin()
    }

    /// The next file is begun: the one before is closed with so many bytes, and what is beyond the bound
    /// deleted.
    fn begun(&mut self, bytes: u64) {
        self.kept.push_back(Closed { path: self.path_of(self.number), bytes });
        self.number += 1;
        self.delete_beyond();
    }

    fn delete_beyond(&mut self) {
        let most = self.file_bytes_max.saturating_mul(self.files_max as u64);
        loop {
            let bytes: u64 = self.kept.iter().map(|closed| closed.bytes).sum();
            if bytes.saturating_add(self.file_bytes_max) <= most
                && self.kept.len() < self.files_max + SMALL_FILES_MAX
            {
                return;
            }
            let Some(oldest) = self.kept.pop_front() else { return };
            // One that somebody took away already is gone, which is all that is wanted.
            let _ = fs::remove_file(oldest.path);
        }
    }

    fn path_of(&self, number: u64) -> PathBuf {
        earlier::path_of(&self.path, number)
    }

    fn describe(&mut self, link: LinkId) -> io::Result<u32> {
        let unknown = || io::Error::other(format!("interface {} was never told", link.0));
        let interface = self.links.get(&link).ok_or_else(unknown)?;
        let mut body = Vec::with_capacity(64);
        body.extend_from_slice(&(interface.link_type.number() as u16).to_ne_bytes());
        body.extend_from_slice(&[0; 2]);
        body.extend_from_slice(&interface.snaplen.to_ne_bytes());
        if let Some(name) = &interface.name {
            option(&mut body, NAME, name.as_bytes());
        }
        if interface.of_container {
            option(&mut body, DESCRIPTION, CONTAINER_LINK.as_bytes());
        }
        if let Some(pod) = &self.pod {
            option(&mut body, COMMENT, pod.as_bytes());
        }
        option(&mut body, RESOLUTION, &[NANOSECONDS]);
        option(&mut body, 0, &[]);
        let number = self.descriptions;
        self.block(INTERFACE, &body, &[])?;
        self.descriptions += 1;
        self.described.insert(link, number);
        self.described_in.insert(link, self.number);
        Ok(number)
    }

    fn block(&mut self, kind: u32, head: &[u8], data: &[u8]) -> io::Result<()> {
        let padding = data.len().next_multiple_of(4) - data.len();
        let length = (12 + head.len() + data.len() + padding) as u32;
        self.file_bytes += u64::from(length);
        self.file.write_all(&kind.to_ne_bytes())?;
        self.file.write_all(&length.to_ne_bytes())?;
        self.file.write_all(head)?;
        self.file.write_all(data)?;
        self.file.write_all(&[0; 3][..padding])?;
        self.file.write_all(&length.to_ne_bytes())
    }
}

/// Packets hold what was said: for us alone. No link is followed to another's file, and nobody else
/// begins to write here.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        // It may have been there, for others to read.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        earlier::lock(&file)?;
    }
    Ok(file)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    body.extend_from_slice(&code.to_ne_bytes());
    body.extend_from_slice(&(value.len() as u16).to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests;
