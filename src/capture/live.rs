//! Interfaces, as they carry packets.
#![expect(
    clippy::disallowed_methods,
    reason = "how long frames lay in the buffer is told by the clock"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{SystemTime, UNIX_EPOCH};

use pcap::{Active, Capture, Device, Linktype, Precision};
use rustix::net::netdevice::name_to_index;

use super::filter::Filter;
pub use super::filter::share_of;
use super::libpcap::{link_type_name, timestamp, words};
use super::shed::{Fate, Shed, Stage};
use crate::config::capture::Settings;
use crate::decode::{Frame, LinkType};
use crate::time::Timestamp;

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

/// An interface that can be watched.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    device: Device,
}

impl Found {
    /// What passes it goes from its machine to itself.
    pub fn is_loopback(&self) -> bool {
        self.device.flags.is_loopback()
    }
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

/// What there is at this moment.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Those that are to be watched and are up.
    pub up: Vec<Found>,
    /// The names of all, up or down.
    pub names: Vec<String>,
    /// Any but loopback is up, to be watched or not.
    pub any_up: bool,
}

/// What there is of the interfaces that [`find`] would find.
///
/// # Errors
/// They cannot be listed.
pub fn present(names: &[String], loopback: bool) -> Result<Present, LiveError> {
    let devices = Device::list().map_err(|error| LiveError::List(words(&error)))?;
    let mut present = Present::default();
    for device in devices.into_iter().filter(|device| is_network(&device)) {
        let (is_up, is_loopback) = (device.flags.is_up(), device.flags.is_loopback());
        let wanted =
            if names.is_empty() { loopback || !is_loopback } else { names.contains(&device.name) };
        present.names.push(device.name.clone());
        present.any_up |= is_up && !is_loopback;
        if wanted && is_up {
            let addresses = device.addresses.iter().map(|address| address.addr).collect();
            present.up.push(Found { name: device.name.clone(), addresses, device });
        }
    }
    Ok(present)
}

/// libpcap lists what is no interface, too: `any`, netfilter's logs, usb. The kernel has a number for interfaces alone.
/// (libpcap's connection status says less: netkit, WireGuard and dummies have no cable to tell of either.)
fn is_network(device: &&Device) -> bool {
    UnixDatagram::unbound().is_ok_and(|socket| name_to_index(socket, &device.name).is_ok())
}

/// What an interface had to say.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A frame, and what became of it under load. One that is dropped is to be counted and no more.
    Frame(Frame<'a>, Fate),
    /// Nothing for now.
    Silence,
    /// It is gone, or was taken down: why.
    Gone(String),
}

/// What an interface has counted since its capture began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Frames that passed it, those dropped included.
    pub passed_frames: u64,
    /// Frames that the kernel dropped: its buffer was full.
    pub kernel_dropped_frames: u64,
    /// Frames that the interface dropped.
    pub interface_dropped_frames: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed_frames += other.passed_frames;
        self.kernel_dropped_frames += other.kernel_dropped_frames;
        self.interface_dropped_frames += other.interface_dropped_frames;
    }
}

/// One interface under capture. Reading never blocks.
pub struct LiveReader {
    capture: Capture<Active>,
    link_type: LinkType,
    counters: Counters,
    shed: Shed,
    filter: Filter,
    /// Each frame passes it twice for the kernel, going out and coming in, and libpcap hands on the second.
    twice: bool,
    /// Frames of bulk that the kernel let go, for which others stood (count).
    sampled_out: u64,
}

impl std::fmt::Debug for LiveReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveReader").field("link_type", &self.link_type).finish_non_exhaustive()
    }
}

/// Readable when frames have come, or the interface has gone.
impl AsFd for LiveReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }
}

/// The host's time.
pub fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// What libpcap calls all interfaces together.
const ALL: &str = "any";

/// The index of the interface that a frame of [`LiveReader::open_all`] was seen on
/// (LINKTYPE_LINUX_SLL2: bytes 4 to 7).
pub fn interface_of(frame: &Frame<'_>) -> u32 {
    frame
        .bytes
        .get(4..8)
        .map_or(0, |index| index.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

fn activate(device: Device, [snaplen, buffer]: [u32; 2]) -> Result<Capture<Active>, pcap::Error> {
    let number = |bytes: u32| i32::try_from(bytes).unwrap_or(i32::MAX);
    Capture::from_device(device)
        .map(|capture| {
            capture
                .promisc(false)
                .snaplen(number(snaplen))
                .buffer_size(number(buffer))
                .timeout(GATHER_MS)
                .precision(Precision::Nano)
        })
        .and_then(Capture::open)
        .and_then(Capture::setnonblock)
}

impl LiveReader {
    /// Starts to capture, what is sent and what is received. Not promiscuous: a pod's own traffic
    /// passes its interface anyway.
    ///
    /// # Errors
    /// The kernel refuses, or the link type is none that can be decoded.
    pub fn open(found: &Found, settings: &Settings) -> Result<Self, LiveError> {
        let name = || found.name.clone();
        let sizes = settings.of(&found.name);
        let capture = activate(found.device.clone(), sizes)
            .map_err(|error| LiveError::Refused { name: name(), reason: words(&error) })?;
        let number = capture.get_datalink().0;
        let link_type =
            u32::try_from(number).ok().and_then(LinkType::from_number).ok_or_else(|| {
                LiveError::LinkType { name: name(), link_type: link_type_name(number) }
            })?;
        let shed = Shed::new(settings, sizes[1]);
        let reader = Self::new(capture, link_type, (sizes[0], None), shed);
        Ok(Self { twice: found.is_loopback(), ..reader })
    }

    /// Starts to capture all interfaces of this network namespace through one kernel buffer, those
    /// that come later too: an interface is heard from its first frame on, and a thousand take no
    /// more memory than one. Each frame says where it was seen: [`interface_of`]. Of several such
    /// captures (which from 0 on, of how many), each hears the interfaces that are its own by [`share_of`],
    /// and has its part of the buffer.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open_all(settings: &Settings, [number, of]: [u32; 2]) -> Result<Self, LiveError> {
        let [snaplen, buffer] = settings.of_node();
        let sizes = [snaplen, (buffer / of.max(1)).max(Settings::BUFFER_BYTES[0])];
        activate(Device::from(ALL), sizes)
            .and_then(|mut capture| {
                capture.set_datalink(Linktype(LinkType::LinuxSll2.number() as i32))?;
                Ok(capture)
            })
            .map(|capture| {
                let shed = Shed::new(settings, sizes[1]);
                let share = (of > 1).then_some((number, of));
                Self::new(capture, LinkType::LinuxSll2, (snaplen, share), shed)
            })
            .map_err(|error| LiveError::Refused { name: ALL.to_owned(), reason: words(&error) })
    }

    fn new(
        capture: Capture<Active>,
        link_type: LinkType,
        (snaplen, share): (u32, Option<(u32, u32)>),
        shed: Shed,
    ) -> Self {
        let filter = Filter {
            snaplen_bytes: snaplen,
            left_out: BTreeSet::new(),
            share,
            stage: Stage::Whole,
            bulk_bytes: shed.bulk_bytes(),
        };
        let counters = Counters::default();
        let mut reader =
            Self { capture, link_type, counters, shed, filter, twice: false, sampled_out: 0 };
        // The kernel copies no more than the snap length.
        reader.follow_stage();
        reader
    }

    /// Lets the kernel pass over these interfaces (by index) in a capture of all.
    ///
    /// # Errors
    /// The kernel refuses the filter.
    pub fn leave_out(&mut self, interfaces: &BTreeSet<u32>) -> Result<(), LiveError> {
        self.filter.left_out.clone_from(interfaces);
        self.filter
            .apply(&self.capture, self.link_type)
            .map_err(|error| LiveError::Refused { name: ALL.to_owned(), reason: error.to_string() })
    }

    /// The kernel spares as much as is decided here. Where it refuses to, all of it is done here.
    #[cold]
    fn follow_stage(&mut self) {
        self.filter.stage = self.shed.stage();
        let _ = self.filter.apply(&self.capture, self.link_type);
    }

    /// What its frames begin with.
    pub const fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// The next frame, if one is there.
    #[inline]
    pub fn hear(&mut self) -> Heard<'_> {
        if self.shed.stage() != self.filter.stage {
            self.follow_stage();
        }
        match self.capture.next_packet() {
            Ok(packet) => {
                let frame = Frame {
                    at: timestamp(packet.header.ts.tv_sec, packet.header.ts.tv_usec),
                    link_type: self.link_type,
                    wire_bytes: packet.header.len,
                    bytes: packet.data,
                };
                self.shed.note(frame.at, frame.bytes.len(), now);
                let (frame, fate) = self.shed.judge(frame);
                self.sampled_out += fate.frames() - 1;
                Heard::Frame(frame, fate)
            }
            Err(pcap::Error::TimeoutExpired) => {
                self.shed.silence();
                Heard::Silence
            }
            Err(error) => Heard::Gone(words(&error)),
        }
    }

    /// Counts since the capture began; the last known ones where the interface is gone.
    pub fn counts(&mut self) -> Counts {
        if let Ok(stat) = self.capture.stats() {
            self.counters.advance([stat.received, stat.dropped, stat.if_dropped]);
        }
        let mut counts = self.counters.counts(self.twice);
        counts.passed_frames += self.sampled_out;
        counts
    }
}

/// libpcap's counters have 32 bits and wrap: what is counted is how far they moved from one look to
/// the next, which must come before they have gone round once (at ten million frames a second: seven
/// minutes).
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    last: [u32; 3],
    /// Received, dropped by the kernel, dropped by the interface.
    totals: [u64; 3],
}

impl Counters {
    fn advance(&mut self, now: [u32; 3]) {
        for ((total, last), now) in self.totals.iter_mut().zip(&mut self.last).zip(now) {
            *total += u64::from(now.wrapping_sub(*last));
            *last = now;
        }
    }

    /// On Linux, what libpcap counts as received holds what the kernel dropped. Of frames that the kernel has
    /// counted `twice`, as many as there were.
    const fn counts(&self, twice: bool) -> Counts {
        let [received, kernel, interface] = self.totals;
        let (received, kernel) =
            if twice { (received / 2, kernel.div_ceil(2)) } else { (received, kernel) };
        Counts {
            passed_frames: received + interface,
            kernel_dropped_frames: kernel,
            interface_dropped_frames: interface,
        }
    }
}

#[cfg(test)]
mod tests {
    use pcap::{ConnectionStatus, DeviceFlags};

    use super::*;

    #[test]
    fn counters_that_wrap_go_on() {
        let mut counters = Counters::default();
        counters.advance([u32::MAX - 1, 5, 0]);
        counters.advance([3, 5, 2]);
        let counts = counters.counts(false);
        assert_eq!(counts.passed_frames, u64::from(u32::MAX) + 4 + 2);
        assert_eq!((counts.kernel_dropped_frames, counts.interface_dropped_frames), (5, 2));
        let counts = counters.counts(true);
        assert_eq!(counts.passed_frames, (u64::from(u32::MAX) + 4) / 2 + 2);
        assert_eq!(counts.kernel_dropped_frames, 3);
    }

    #[test]
    fn an_interface_is_what_the_kernel_has_a_number_for() {
        let device = |name: &str, connection_status: ConnectionStatus| {
            let mut flags = DeviceFlags::empty();
            flags.connection_status = connection_status;
            Device { flags, ..Device::from(name) }
        };
        // libpcap says so of netkit, too: it has no cable to tell of.
        assert!(is_network(&&device("lo", ConnectionStatus::NotApplicable)));
        for name in ["any", "nflog", "nfqueue", "usbmon0", "bluetooth-monitor"] {
            assert!(!is_network(&&device(name, ConnectionStatus::Unknown)), "{name}");
        }
    }
}
