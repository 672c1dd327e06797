//! IP reassembly, bounded in packets, bytes, pieces and time.
//!
//! Where fragments overlap, the first to come wins. Linux delivers no such packet at all: it drops
//! the whole of it for IPv6 (RFC 5722), and for IPv4 too, exact repetitions aside (since 4.19, after
//! CVE-2018-5391). vethwatch keeps it, because the receiver may be no Linux host, and because what
//! an attacker tries is worth seeing; a container's own kernel would not have handed it on.
//!
//! What an attacker gains by filling the bounds: fragmented packets of others go unseen, and the
//! count of dropped fragments says so.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

use etherparse::IpNumber;

use super::walk::{Around, Ip, Span, Stopped, TunnelPorts, Walk};
use super::{DecodeError, Packet, Settings};
use crate::bounded::BoundedMap;
use crate::event::Tunnel;
use crate::time::Timestamp;

/// Longest payload of an IP packet that can be fragmented (bytes): 16-bit lengths.
const PAYLOAD_MAX: u32 = 65_535;

/// Separate pieces of one packet (count). Fragments that touch make one piece, so packets whose
/// fragments come in order, or in reverse, have one or two; only a hostile sender makes more.
const PIECES_MAX: usize = 64;

/// A fragment, as it ends the walk through its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) ip: Ip<'a>,
    pub(super) id: u32,
    pub(super) protocol: u8,
    /// Position of its payload in the packet's (bytes).
    pub(super) offset: u32,
    /// It is not the last.
    pub(super) more: bool,
    pub(super) payload: Span<'a>,
}

/// What became of fragments.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FragmentCounts {
    /// Fragments seen (count).
    pub fragments: u64,
    /// Packets put together from them (count).
    pub completed: u64,
    /// Fragments dropped for a bound or a time-out, or because they contradict their siblings
    /// (count).
    pub dropped: u64,
}

/// Which fragments belong together: RFC 791 and RFC 8200, within one network.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// 0 for IPv6, where it is no part of the key.
    protocol: u8,
    vlan: u16,
    tunnel: Option<Tunnel>,
}

/// A packet under reassembly.
#[derive(Debug)]
struct Partial {
    first: Timestamp,
    /// From the fragment that has the packet's beginning.
    protocol: u8,
    bytes: Vec<u8>,
    /// What was on the wire: disjoint, not touching, in order.
    pieces: Vec<(u32, u32)>,
    /// Length of the payload, once the last fragment came.
    length: Option<u32>,
    /// Where the snap length cut the first hole into the payload.
    captured: u32,
    /// Fragments so far, and their lengths together.
    fragments: u64,
    ip_bytes: u32,
}

/// A packet put together.
struct Whole<'a> {
    ip: Ip<'a>,
    protocol: IpNumber,
    bytes: Vec<u8>,
    wire: u32,
}

/// Fragments that wait, and the packets made of them last.
#[derive(Debug)]
pub(super) struct Reassembly {
    partials: Partials,
    /// The packet last put together, and one that it carried in fragments of its own.
    outer: Vec<u8>,
    inner: Vec<u8>,
}

impl Reassembly {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { partials: Partials::new(settings), outer: Vec::new(), inner: Vec::new() }
    }

    pub(super) const fn counts(&self) -> FragmentCounts {
        self.partials.counts
    }

    /// Keeps the fragment that ended a walk; where it completes a packet, walks on in that.
    #[cold]
    pub(super) fn resume<'a>(
        &'a mut self,
        at: Timestamp,
        ports: &TunnelPorts,
        stopped: Option<Stopped<'a>>,
    ) -> Result<Packet<'a>, DecodeError> {
        let (around, whole) = self.partials.add(at, stopped).ok_or(DecodeError::Fragment)?;
        self.outer = whole.bytes;
        let (span, stopped) = (Span::new(&self.outer, whole.wire), Cell::new(None));
        match Walk::from(around, ports, &stopped).upper(whole.ip, whole.protocol, span) {
            Err(DecodeError::Fragment) => {}
            done => return done,
        }
        // A tunnel's packet that came in fragments, and brought a fragment.
        let (around, whole) = self.partials.add(at, stopped.take()).ok_or(DecodeError::Fragment)?;
        self.inner = whole.bytes;
        let (span, stopped) = (Span::new(&self.inner, whole.wire), Cell::new(None));
        match Walk::from(around, ports, &stopped).upper(whole.ip, whole.protocol, span) {
            Err(DecodeError::Fragment) => Err(DecodeError::TooDeep),
            done => done,
        }
    }
}

/// The packets under reassembly, in the order in which their first fragments came.
#[derive(Debug)]
struct Partials {
    by_key: BoundedMap<Key, Partial>,
    held_bytes: usize,
    held_bytes_max: usize,
    timeout: Duration,
    counts: FragmentCounts,
}

impl Partials {
    fn new(settings: &Settings) -> Self {
        Self {
            by_key: BoundedMap::new(settings.fragments_max),
            held_bytes: 0,
            held_bytes_max: settings.fragment_bytes_max,
            timeout: Duration::from_secs(settings.fragment_timeout_s),
            counts: FragmentCounts::default(),
        }
    }

    /// Takes a fragment in. Returns the packet that it completes, and what is around it.
    fn add<'a>(
        &mut self,
        at: Timestamp,
        stopped: Option<Stopped<'a>>,
    ) -> Option<(Around, Whole<'a>)> {
        let Stopped { around, fragment } = stopped?;
        self.counts.fragments += 1;
        self.expire(at);
        let Some(range) = fragment.range() else {
            self.counts.dropped += 1;
            return None;
        };
        let key = Key::new(&fragment, &around);
        if self.by_key.peek(&key).is_none()
            && let Some((_, evicted)) = self.by_key.insert(key.clone(), Partial::new(at))
        {
            self.forget(&evicted);
        }
        let partial = self.by_key.peek_mut(&key)?;
        let held_before = partial.bytes.capacity();
        let fits = partial.add(&fragment, range);
        let whole = partial.is_whole();
        self.held_bytes = (self.held_bytes + partial.bytes.capacity()).saturating_sub(held_before);
        if !fits || whole {
            let partial = self.by_key.remove(&key)?;
            if whole && fits {
                self.held_bytes = self.held_bytes.saturating_sub(partial.bytes.capacity());
                self.counts.completed += 1;
                return Some((around, partial.into_whole(fragment.ip)));
            }
            self.forget(&partial);
        }
        while self.held_bytes > self.held_bytes_max
            && let Some((_, oldest)) = self.by_key.pop_oldest()
        {
            self.forget(&oldest);
        }
        None
    }

    fn expire(&mut self, at: Timestamp) {
        while let Some((_, oldest)) = self.by_key.peek_oldest()
            && at.since(oldest.first) > self.timeout
            && let Some((_, oldest)) = self.by_key.pop_oldest()
        {
            self.forget(&oldest);
        }
    }

    /// Accounts for a packet that will not be completed.
    fn forget(&mut self, partial: &Partial) {
        self.held_bytes = self.held_bytes.saturating_sub(partial.bytes.capacity());
        self.counts.dropped += partial.fragments;
    }
}

impl Key {
    fn new(fragment: &Fragment<'_>, around: &Around) -> Self {
        let (source, destination) = fragment.ip.addresses.read();
        Self {
            source,
            destination,
            id: fragment.id,
            protocol: if fragment.ip.is_v6() { 0 } else { fragment.protocol },
            vlan: around.vlan,
            tunnel: around.tunnel,
        }
    }
}

impl Fragment<'_> {
    /// The part of the packet's payload that it brings. Only the last may end off a multiple of 8;
    /// what is beyond that in another does not count (as in Linux). `None` where it brings nothing,
    /// or lies beyond the longest packet.
    fn range(&self) -> Option<(u32, u32)> {
        let length = if self.more { self.payload.wire & !7 } else { self.payload.wire };
        let end = self.offset.checked_add(length)?;
        (length > 0 && end <= PAYLOAD_MAX).then_some((self.offset, end))
    }
}

impl Partial {
    const fn new(first: Timestamp) -> Self {
        Self {
            first,
            protocol: 0,
            bytes: Vec::new(),
            pieces: Vec::new(),
            length: None,
            captured: u32::MAX,
            fragments: 0,
            ip_bytes: 0,
        }
    }

    /// Takes a fragment in; `false` where it contradicts the others, or makes too many pieces.
    fn add(&mut self, fragment: &Fragment<'_>, (start, end): (u32, u32)) -> bool {
        self.fragments += 1;
        self.ip_bytes = self.ip_bytes.saturating_add(fragment.ip.bytes);
        let last_end = self.pieces.last().map_or(0, |(_, end)| *end);
        if self.length.is_some_and(|length| end > length || (!fragment.more && end != length)) {
            return false;
        }
        if !fragment.more {
            if last_end > end {
                return false;
            }
            self.length = Some(end);
        }
        if start == 0 && self.pieces.first().is_none_or(|(start, _)| *start > 0) {
            self.protocol = fragment.protocol;
        }
        self.fill(fragment, (start, end));
        self.cover((start, end));
        self.pieces.len() <= PIECES_MAX
    }

    /// Copies what is not there yet.
    fn fill(&mut self, fragment: &Fragment<'_>, (start, end): (u32, u32)) {
        let mut from = start;
        for index in 0..=self.pieces.len() {
            let (piece_start, piece_end) = self.pieces.get(index).copied().unwrap_or((end, end));
            let to = piece_start.min(end);
            if from < to {
                self.copy(fragment, from, to);
            }
            from = from.max(piece_end);
            if from >= end {
                return;
            }
        }
    }

    /// Copies one stretch, as far as it was captured.
    fn copy(&mut self, fragment: &Fragment<'_>, from: u32, to: u32) {
        let offset = fragment.offset;
        let captured_end = offset.saturating_add(fragment.payload.bytes.len() as u32).min(to);
        if captured_end < to {
            self.captured = self.captured.min(captured_end.max(from));
        }
        let source =
            (from.saturating_sub(offset) as usize)..(captured_end.saturating_sub(offset) as usize);
        let target = (from as usize)..(captured_end as usize);
        let Some(source) = fragment.payload.bytes.get(source) else { return };
        if self.bytes.len() < target.end {
            self.bytes.resize(target.end, 0);
        }
        if let Some(target) = self.bytes.get_mut(target) {
            target.copy_from_slice(source);
        }
    }

    /// Adds a range to the pieces, joined with those that it touches.
    fn cover(&mut self, (mut start, mut end): (u32, u32)) {
        self.pieces.retain(|piece| {
            let apart = piece.1 < start || piece.0 > end;
            if !apart {
                start = start.min(piece.0);
                end = end.max(piece.1);
            }
            apart
        });
        let at = self.pieces.partition_point(|piece| piece.0 < start);
        self.pieces.insert(at, (start, end));
    }

    fn is_whole(&self) -> bool {
        self.length.is_some_and(|length| self.pieces == [(0, length)])
    }

    /// The packet, under the header of the fragment that completed it.
    fn into_whole(self, ip: Ip<'_>) -> Whole<'_> {
        let wire = self.length.unwrap_or_default();
        let mut bytes = self.bytes;
        bytes.truncate(self.captured.min(wire) as usize);
        Whole {
            ip: Ip { bytes: self.ip_bytes, ..ip },
            protocol: IpNumber(self.protocol),
            bytes,
            wire,
        }
    }
}

#[cfg(test)]
mod tests;
