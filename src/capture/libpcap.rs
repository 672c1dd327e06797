//! Classic pcap through libpcap: the path whose every nanosecond counts.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use pcap::{Capture, Linktype, Offline, Precision};

use super::damage::{Damage, DamageKind, Origin};
use super::wide_buffer::Buffered;
use super::{Interface, Next, Source};
use crate::decode::{Frame, LinkType};
use crate::event::LinkId;
use crate::time::Timestamp;

/// The file's header (bytes).
const HEADER_BYTES: u64 = 24;
/// A record's header (bytes).
const RECORD_HEADER_BYTES: u64 = 16;
/// How libpcap's message begins when the file ends inside a record.
const CUT_OFF: &str = "truncated dump file";

/// Reads a pcap file, in either byte order and with micro- or nanoseconds.
pub struct PcapReader {
    capture: Buffered,
    interface: Interface,
    phase: Phase,
    frames: u64,
    read_bytes: u64,
    origin: Origin,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Its link is still to be told.
    Opened,
    Reading,
    /// libpcap would read on behind a damaged record, and find nonsense.
    Ended,
}

impl std::fmt::Debug for PcapReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcapReader")
            .field("origin", &self.origin)
            .field("interface", &self.interface)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

/// A path by which libpcap opens a descriptor of its own: handing ours over would need `unsafe`.
fn descriptor(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Why libpcap cannot open a file that begins as a capture does.
pub(super) enum OpenError {
    /// libpcap's own words.
    Refused(String),
    /// The name and number of a link type that cannot be decoded.
    LinkType(String),
}

impl PcapReader {
    /// Opens a file. libpcap takes only paths in UTF-8; `file` is the way to others.
    pub(super) fn from_file(
        path: &Path,
        file: &File,
        snaplen: u32,
        origin: Origin,
    ) -> Result<Self, OpenError> {
        match path.to_str() {
            Some(_) => Self::new(path, Buffered::widen, snaplen, origin),
            None => Self::new(&descriptor(file), Buffered::widen, snaplen, origin),
        }
    }

    /// Opens what comes out of a pipe.
    pub(super) fn from_pipe(
        pipe: &PipeReader,
        snaplen: u32,
        origin: Origin,
    ) -> Result<Self, OpenError> {
        Self::new(&descriptor(pipe), Buffered::plain, snaplen, origin)
    }

    fn new(
        path: &Path,
        buffered: fn(Capture<Offline>) -> Buffered,
        snaplen: u32,
        origin: Origin,
    ) -> Result<Self, OpenError> {
        let capture = Capture::from_file_with_precision(path, Precision::Nano)
            .map_err(|error| OpenError::Refused(words(&error)))?;
        let number = capture.get_datalink().0;
        let link_type = u32::try_from(number)
            .ok()
            .and_then(LinkType::from_number)
            .ok_or_else(|| OpenError::LinkType(link_type_name(number)))?;
        Ok(Self {
            capture: buffered(capture),
            interface: Interface { name: None, link_type, snaplen, of_container: false, pod: None },
            phase: Phase::Opened,
            frames: 0,
            read_bytes: HEADER_BYTES,
            origin,
        })
    }
}

impl Source for PcapReader {
    // In the loop itself: a frame that comes back through memory is read before its stores are done.
    #[inline(always)]
    fn next(&mut self) -> Next<'_> {
        match self.phase {
            Phase::Reading => {}
            Phase::Opened => {
                self.phase = Phase::Reading;
                return Next::Link(LinkId(0), self.interface.clone());
            }
            Phase::Ended => return Next::End,
        }
        match self.capture.get().next_packet() {
            Ok(packet) => {
                self.frames += 1;
                self.read_bytes += RECORD_HEADER_BYTES + packet.data.len() as u64;
                let frame = Frame {
                    at: timestamp(packet.header.ts.tv_sec, packet.header.ts.tv_usec),
                    link_type: self.interface.link_type,
                    wire_bytes: packet.header.len,
                    bytes: packet.data,
                };
                Next::Frame(LinkId(0), frame)
            }
            Err(error) => {
                self.phase = Phase::Ended;
                self.origin.end(damage(&error), self.frames, self.read_bytes);
                Next::End
            }
        }
    }

    fn position(&self) -> u64 {
        self.origin.position(self.read_bytes)
    }

    fn damages(&mut self) -> Vec<Damage> {
        self.origin.take()
    }
}

/// The file's seconds are unsigned (until 2106); libpcap hands them out as signed.
#[inline]
pub(super) const fn timestamp(seconds: i64, nanos: i64) -> Timestamp {
    Timestamp::from_nanos(seconds as u32 as u64 * 1_000_000_000 + nanos as u32 as u64)
}

#[cold]
fn damage(error: &pcap::Error) -> Option<DamageKind> {
    let reason = match error {
        pcap::Error::NoMorePackets => return None,
        other => words(other),
    };
    Some(if reason.starts_with(CUT_OFF) { DamageKind::CutOff } else { DamageKind::Corrupt(reason) })
}

/// libpcap's message without the crate's prefix.
pub(super) fn words(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// `IEEE802_11_RADIO (127)`.
pub(super) fn link_type_name(number: i32) -> String {
    match Linktype(number).get_name() {
        Ok(name) => format!("{name} ({number})"),
        Err(_) => number.to_string(),
    }
}
