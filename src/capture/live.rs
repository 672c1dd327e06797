//! Interfaces, as they carry packets.

use std::net::IpAddr;

use pcap::{Active, Capture, ConnectionStatus, Device, Precision};

use super::libpcap::{link_type_name, timestamp, words};
use crate::decode::{Frame, LinkType};

/// How long the kernel may gather frames before it hands them on (milliseconds). Shorter costs CPU,
/// longer delays findings.
const GATHER_MS: i32 = 100;

/// Why interfaces cannot be watched. Each message names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// libpcap cannot list interfaces.
    #[error("the interfaces cannot be listed: {0}")]
    List(String),
    /// None with this name.
    #[error("{name}: no such interface; there are: {others}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        others: String,
    },
    /// None is up.
    #[error("no interface is up but loopback; name one with --interface, or add --loopback")]
    NoneUp,
    /// The kernel or libpcap refuses.
    #[error(
        "{name}: cannot be captured: {reason}; the interface must be up, and capturing needs the \
         capability NET_RAW (in a pod: securityContext.capabilities.add: [\"NET_RAW\"])"
    )]
    Refused {
        /// The interface.
        name: String,
        /// libpcap's words.
        reason: String,
    },
    /// Frames of this kind cannot be decoded.
    #[error("{name}: its link type {link_type} is not supported; leave it out with --interface")]
    LinkType {
        /// The interface.
        name: String,
        /// Name and number of the link type.
        link_type: String,
    },
}

/// How much is captured.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Snap length (bytes).
    pub snaplen: i32,
    /// Kernel buffer of an interface (bytes).
    pub buffer_bytes: i32,
}

/// An interface that can be watched.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    device: Device,
}

/// The interfaces of these names; without any, all that are up, and loopback where it is asked for.
///
/// # Errors
/// They cannot be listed, or one is not there, or none is up.
pub fn find(names: &[String], loopback: bool) -> Result<Vec<Found>, LiveError> {
    let devices = Device::list().map_err(|error| LiveError::List(words(&error)))?;
    let of = |device: &Device| Found {
        name: device.name.clone(),
        addresses: device.addresses.iter().map(|address| address.addr).collect(),
        device: device.clone(),
    };
    if names.is_empty() {
        let found: Vec<Found> = devices
            .iter()
            .filter(|device| {
                let flags = &device.flags;
                is_network(device) && flags.is_up() && (loopback || !flags.is_loopback())
            })
            .map(of)
            .collect();
        return if found.is_empty() { Err(LiveError::NoneUp) } else { Ok(found) };
    }
    let find = |name: &String| {
        devices.iter().find(|device| device.name == *name).map(of).ok_or_else(|| {
            let others: Vec<&str> = devices.iter().filter(is_network).map(|d| &*d.name).collect();
            LiveError::Unknown { name: name.clone(), others: others.join(", ") }
        })
    };
    names.iter().map(find).collect()
}

/// libpcap lists what is no interface, too: `any`, netfilter's logs, usb.
fn is_network(device: &&Device) -> bool {
    let flags = &device.flags;
    flags.connection_status != ConnectionStatus::NotApplicable || flags.is_loopback()
}

/// What an interface had to say.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// Nothing for now.
    Silence,
    /// It is gone, or was taken down: why.
    Gone(String),
}

/// One interface under capture. Reading never blocks.
pub struct LiveReader {
    capture: Capture<Active>,
    link_type: LinkType,
}

impl std::fmt::Debug for LiveReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveReader").field("link_type", &self.link_type).finish_non_exhaustive()
    }
}

impl LiveReader {
    /// Starts to capture, what is sent and what is received. Not promiscuous: a pod's own traffic
    /// passes its interface anyway.
    ///
    /// # Errors
    /// The kernel refuses, or the link type is none that can be decoded.
    pub fn open(found: &Found, settings: Settings) -> Result<Self, LiveError> {
        let name = || found.name.clone();
        let capture = Capture::from_device(found.device.clone())
            .map(|capture| {
                capture
                    .promisc(false)
                    .snaplen(settings.snaplen)
                    .buffer_size(settings.buffer_bytes)
                    .timeout(GATHER_MS)
                    .precision(Precision::Nano)
            })
            .and_then(Capture::open)
            .and_then(Capture::setnonblock)
            .map_err(|error| LiveError::Refused { name: name(), reason: words(&error) })?;
        let number = capture.get_datalink().0;
        let link_type =
            u32::try_from(number).ok().and_then(LinkType::from_number).ok_or_else(|| {
                LiveError::LinkType { name: name(), link_type: link_type_name(number) }
            })?;
        Ok(Self { capture, link_type })
    }

    /// The next frame, if one is there.
    #[inline]
    pub fn hear(&mut self) -> Heard<'_> {
        match self.capture.next_packet() {
            Ok(packet) => Heard::Frame(Frame {
                at: timestamp(packet.header.ts.tv_sec, packet.header.ts.tv_usec),
                link_type: self.link_type,
                wire_bytes: packet.header.len,
                bytes: packet.data,
            }),
            Err(pcap::Error::TimeoutExpired) => Heard::Silence,
            Err(error) => Heard::Gone(words(&error)),
        }
    }

    /// Frames that passed and frames that were dropped by the kernel or the interface, since the
    /// capture began (count). Nothing where the interface is gone.
    pub fn counts(&mut self) -> [u64; 2] {
        let Ok(stat) = self.capture.stats() else { return [0; 2] };
        let dropped = u64::from(stat.dropped) + u64::from(stat.if_dropped);
        // On Linux, what libpcap counts as received holds what the kernel dropped.
        [u64::from(stat.received) + u64::from(stat.if_dropped), dropped]
    }
}
