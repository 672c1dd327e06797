//! Captures to frames: files, directories and standard input, compressed or not, in time order.
//!
//! Classic pcap files are read by libpcap. It hides which interface a pcapng frame came from, and
//! refuses files whose interfaces differ in link type, so pcapng goes through [`pcapng`], built on
//! the `pcap-parser` crate. Compressed input and standard input reach either through a pipe that a
//! thread fills. Several inputs are merged by the time of their next frame ([`merge`]).
//!
//! The common case, one uncompressed pcap file, hands out what libpcap returns: no copy, no
//! allocation, no dynamic dispatch.

pub mod batch;
mod compressed;
mod damage;
pub mod filter;
mod format;
mod input;
mod libpcap;
pub mod live;
mod merge;
mod pcapng;
mod pod;
pub mod shed;
mod wide_buffer;
pub mod write;

pub use compressed::Stop;
pub use damage::{Damage, DamageKind};
pub use format::Compression;
pub use input::{InputError, Opened, Opening, open, open_until};
pub use libpcap::PcapReader;
pub use merge::Merge;
pub use pcapng::PcapngReader;

use crate::container::Named;
use crate::decode::{Frame, LinkType};
use crate::event::LinkId;

/// An interface that a capture names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its name, where the capture tells (pcapng's `if_name`).
    pub name: Option<String>,
    /// What its frames begin with.
    pub link_type: LinkType,
    /// Bytes of a frame that were captured at most; 0 where the capture does not tell.
    pub snaplen: u32,
    /// It is the host's end of a container's interface: the capture says so by
    /// [`CONTAINER_LINK`].
    pub of_container: bool,
    /// It is one of this pod's own: a sidecar has kept the capture, and says so.
    pub pod: Option<Box<Named>>,
}

/// What a capture says (pcapng's `if_description`) of an interface that is the host's end of a
/// container's.
pub const CONTAINER_LINK: &str = "host end of a container's interface";

/// What a source has next.
#[derive(Debug)]
pub enum Next<'a> {
    /// An interface, before its first frame.
    Link(LinkId, Interface),
    /// A frame.
    Frame(LinkId, Frame<'a>),
    /// A container's interface is gone, and its container with it: a live mode kept that. One of a pod's own
    /// is told so when its last is gone.
    LinkGone(LinkId),
    /// No more; [`Source::damages`] says whether something is missing.
    End,
}

/// Hands out frames. Not an iterator: a frame is borrowed from the source until the next call.
pub trait Source {
    /// The next frame, or the interface that it will come from.
    fn next(&mut self) -> Next<'_>;

    /// How far the input has been read, in bytes as stored (compressed bytes, where compressed).
    fn position(&self) -> u64;

    /// What could not be read; each is told once.
    fn damages(&mut self) -> Vec<Damage>;
}

/// One file or stream.
#[derive(Debug)]
pub enum FileSource {
    /// Through libpcap.
    Pcap(PcapReader),
    /// Through pcap-parser.
    Pcapng(PcapngReader),
}

impl Source for FileSource {
    fn next(&mut self) -> Next<'_> {
        match self {
            Self::Pcap(reader) => reader.next(),
            Self::Pcapng(reader) => reader.next(),
        }
    }

    fn position(&self) -> u64 {
        match self {
            Self::Pcap(reader) => reader.position(),
            Self::Pcapng(reader) => reader.position(),
        }
    }

    fn damages(&mut self) -> Vec<Damage> {
        match self {
            Self::Pcap(reader) => reader.damages(),
            Self::Pcapng(reader) => reader.damages(),
        }
    }
}
