//! What goes first under load: the payload of bulk.
//!
//! Connection starts, DNS and handshakes are small, and findings rest on them; what fills a buffer is the
//! middle of transfers. How full the kernel's buffer is tells how far behind the reader is: all frames that
//! were stamped before a moment and are read after it lay in the buffer at that moment. From
//! `bulk_cut_share` on, bulk is cut to its headers ([`KEPT_BYTES`]), in the kernel too
//! ([`super::filter`]), so that the buffer lasts longer and volumes stay exact. From `bulk_drop_share`
//! on, although it is cut, bulk is counted and not analysed: the kernel passes on the headers of one frame
//! in [`SAMPLE`], picked at random, which is counted as so many.
//!
//! No clock and no socket: time comes in, a stage comes out.

use std::time::Duration;

use crate::config::capture::Settings;
use crate::decode::{Frame, LinkType};
use crate::time::Timestamp;

/// What is kept of a segment of bulk, from its IP header on (bytes): the headers, and the first words of
/// a message.
pub const KEPT_BYTES: u32 = 160;
/// The same of a frame that stands for [`SAMPLE`] (bytes): its length says so.
pub const SAMPLED_BYTES: u32 = KEPT_BYTES - 8;
/// Of so many frames that are counted only, the kernel passes one on (count; a power of two).
pub const SAMPLE: u32 = 16;
/// Smallest frame that may be called bulk (bytes from the IP header on): all that is looked at lies in it.
pub const BULK_BYTES_MIN: u32 = 256;
/// UDP ports whose datagrams may be large and are no bulk: DNS, multicast DNS; tunnels, in which anything may
/// be (VXLAN by IANA and by Linux, Geneve).
pub const KEPT_UDP_PORTS: [u16; 5] = [53, 5353, 4789, 8472, 6081];
/// The TCP port whose segments are no bulk: DNS (a zone transfer is a finding, not a load).
pub const KEPT_TCP_PORT: u16 = 53;
/// TCP flags of segments that open or end a connection: FIN, SYN, RST.
pub const TURNING_FLAGS: u8 = 0x07;
/// First bytes of a TLS handshake record (RFC 8446, section 5.1).
pub const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];
/// First bit of a QUIC long header: the packets of handshakes (RFC 9000, section 17.2).
pub const QUIC_LONG: u8 = 0x80;
/// Any of these bits: a fragment (RFC 791).
pub const FRAGMENT: u16 = 0x3fff;

/// What a frame takes of the kernel's buffer besides its bytes: headers and alignment of TPACKET_V3
/// (bytes, at least).
const OVERHEAD_BYTES: u64 = 96;
/// The buffer must have been emptier for so long before a stage ends; twice as long each time that it
/// had to begin again at once, up to the second.
const HOLD: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(64)];

/// How much is spared.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Nothing.
    #[default]
    Whole,
    /// Bulk is cut to its headers.
    Cut,
    /// Bulk is counted only.
    Drop,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is as it was captured.
    Whole,
    /// It was bulk, and is cut to its headers.
    Cut,
    /// It was bulk, stands for so many frames, and is to be counted and passed over.
    Dropped(u32),
}

impl Fate {
    /// How many frames it stands for.
    pub const fn frames(self) -> u64 {
        match self {
            Self::Dropped(frames) => frames as u64,
            Self::Whole | Self::Cut => 1,
        }
    }
}

/// Bulk that was spared (counts since the start).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bulk {
    /// Frames that were cut to their headers.
    pub cut_frames: u64,
    /// Their length on the wire (bytes).
    pub cut_bytes: u64,
    /// Frames that were not analysed: estimated from a sample, see [`SAMPLE`].
    pub dropped_frames: u64,
    /// Their length on the wire (bytes).
    pub dropped_bytes: u64,
}

impl Bulk {
    /// Counts a frame.
    #[inline]
    pub fn count(&mut self, fate: Fate, wire_bytes: u32) {
        let (frames, bytes) = match fate {
            Fate::Whole => return,
            Fate::Cut => (&mut self.cut_frames, &mut self.cut_bytes),
            Fate::Dropped(_) => (&mut self.dropped_frames, &mut self.dropped_bytes),
        };
        *frames += fate.frames();
        *bytes += fate.frames() * u64::from(wire_bytes);
    }
}

impl std::ops::AddAssign for Bulk {
    fn add_assign(&mut self, other: Self) {
        self.cut_frames += other.cut_frames;
        self.cut_bytes += other.cut_bytes;
        self.dropped_frames += other.dropped_frames;
        self.dropped_bytes += other.dropped_bytes;
    }
}

/// Decides, for one kernel buffer.
#[derive(Debug)]
pub struct Shed {
    /// From so many bytes in the buffer on: cut, drop; `u64::MAX` for never.
    from: [u64; 2],
    bulk_bytes: u32,
    stage: Stage,
    /// When [`Shed::stage`] last rose.
    risen: Timestamp,
    /// When it last fell, and how long it is held.
    fallen: Timestamp,
    hold: Duration,
    /// When the buffer was last half as full as it takes, for each stage.
    full: [Timestamp; 2],
    /// All that is stamped before this was in the buffer then.
    since: Option<Timestamp>,
    /// What was read of it so far (bytes of the buffer).
    read_bytes: u64,
}

impl Shed {
    /// For a kernel buffer of this size (bytes).
    pub fn new(settings: &Settings, buffer_bytes: u32) -> Self {
        let from = |share: f64| {
            if share >= 1.0 { u64::MAX } else { (share * f64::from(buffer_bytes)) as u64 }
        };
        Self {
            from: [from(settings.bulk_cut_share), from(settings.bulk_drop_share)],
            bulk_bytes: settings.bulk_bytes.max(BULK_BYTES_MIN),
            stage: Stage::Whole,
            risen: Timestamp::default(),
            fallen: Timestamp::default(),
            hold: HOLD[0],
            full: [Timestamp::default(); 2],
            since: None,
            read_bytes: 0,
        }
    }

    /// How much is spared now.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Smallest frame that is bulk (bytes from the IP header on).
    pub const fn bulk_bytes(&self) -> u32 {
        self.bulk_bytes
    }

    /// A frame was read, of so many captured bytes; `now` tells the time when it is needed.
    #[inline]
    pub fn note(&mut self, at: Timestamp, captured_bytes: usize, now: impl FnOnce() -> Timestamp) {
        let Some(since) = self.since else {
            // The first after a silence: what is in the buffer now is measured from here.
            self.since = Some(now());
            self.read_bytes = captured_bytes as u64 + OVERHEAD_BYTES;
            return;
        };
        self.read_bytes += captured_bytes as u64 + OVERHEAD_BYTES;
        if at >= since {
            self.measured();
            self.since = Some(now());
            self.read_bytes = 0;
        } else if self.read_bytes >= self.from[usize::from(self.stage == Stage::Cut)] {
            self.rise(since);
        }
    }

    /// Nothing is left in the buffer.
    pub fn silence(&mut self) {
        self.measured();
        self.since = None;
        self.read_bytes = 0;
    }

    /// It is known how full the buffer was at [`Shed::since`].
    fn measured(&mut self) {
        let Some(since) = self.since else { return };
        self.rise(since);
        let place = match self.stage {
            Stage::Whole => return,
            Stage::Cut => 0,
            Stage::Drop => 1,
        };
        if since_for(since, self.full[place]) >= self.hold {
            self.fallen = since;
            self.stage = if place == 0 { Stage::Whole } else { Stage::Cut };
        }
    }

    fn rise(&mut self, since: Timestamp) {
        for (full, from) in self.full.iter_mut().zip(self.from) {
            if self.read_bytes >= from / 2 {
                *full = since;
            }
        }
        let next = match self.stage {
            Stage::Whole if self.read_bytes >= self.from[0] => Stage::Cut,
            // What lay in the buffer when cutting began says nothing of what cutting is worth.
            Stage::Cut if self.read_bytes >= self.from[1] && since > self.risen => Stage::Drop,
            _ => return,
        };
        let at_once = since_for(since, self.fallen) < self.hold;
        self.hold = if at_once { (self.hold * 2).min(HOLD[1]) } else { HOLD[0] };
        self.stage = next;
        self.risen = since;
    }

    /// What becomes of a frame at this stage, and the frame as it is then.
    #[inline]
    pub fn judge<'a>(&self, frame: Frame<'a>) -> (Frame<'a>, Fate) {
        // What the kernel had cut may come after the stage has ended.
        if self.stage == Stage::Whole && frame.bytes.len() >= frame.wire_bytes as usize {
            return (frame, Fate::Whole);
        }
        self.judge_bulk(frame)
    }

    fn judge_bulk<'a>(&self, mut frame: Frame<'a>) -> (Frame<'a>, Fate) {
        let Some(ip_at) = bulk_at(&frame, self.bulk_bytes) else { return (frame, Fate::Whole) };
        let end = ip_at + KEPT_BYTES as usize;
        if frame.bytes.len() == ip_at + SAMPLED_BYTES as usize {
            return (frame, Fate::Dropped(SAMPLE));
        }
        match self.stage {
            Stage::Whole if frame.bytes.len() != end => return (frame, Fate::Whole),
            Stage::Drop => return (frame, Fate::Dropped(1)),
            Stage::Whole | Stage::Cut => {}
        }
        frame.bytes = frame.bytes.get(..end).unwrap_or(frame.bytes);
        (frame, Fate::Cut)
    }
}

fn since_for(now: Timestamp, before: Timestamp) -> Duration {
    Duration::from_nanos(now.nanos().saturating_sub(before.nanos()))
}

/// Where the IP header of a frame begins that is bulk: large, TCP or UDP, and neither the start nor the end of a
/// connection, nor DNS, nor a handshake. What cannot be told is none.
pub fn bulk_at(frame: &Frame<'_>, bulk_bytes: u32) -> Option<usize> {
    let bytes = frame.bytes;
    let byte = |place: usize| bytes.get(place).copied();
    let word = |place: usize| Some(u16::from_be_bytes([byte(place)?, byte(place + 1)?]));
    let (mut kind, mut ip) = match frame.link_type {
        LinkType::Ethernet => (word(12)?, 14),
        LinkType::LinuxSll2 => (word(0)?, 20),
        _ => return None,
    };
    // The kernel takes the tag away before its filter looks, and libpcap puts it back.
    if kind == 0x8100 {
        (kind, ip) = (word(ip + 2)?, ip + 4);
    }
    if frame.wire_bytes < bulk_bytes + ip as u32 {
        return None;
    }
    let (protocol, upper) = match kind {
        0x0800 if word(ip + 6)? & FRAGMENT == 0 => {
            (byte(ip + 9)?, ip + usize::from(byte(ip)? & 0x0f) * 4)
        }
        0x86dd => (byte(ip + 6)?, ip + 40),
        _ => return None,
    };
    let ports = [word(upper)?, word(upper + 2)?];
    let is_bulk = match protocol {
        6 => {
            let payload = upper + usize::from(byte(upper + 12)? >> 4) * 4;
            !ports.contains(&KEPT_TCP_PORT)
                && byte(upper + 13)? & TURNING_FLAGS == 0
                && word(payload)? != u16::from_be_bytes(TLS_HANDSHAKE)
        }
        17 => {
            !KEPT_UDP_PORTS.iter().any(|port| ports.contains(port))
                && byte(upper + 8)? & QUIC_LONG == 0
        }
        _ => false,
    };
    is_bulk.then_some(ip)
}

#[cfg(test)]
mod tests;
