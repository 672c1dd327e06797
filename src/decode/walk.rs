//! The state of one frame's unwrapping: what has been passed on the way inwards.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fragments::Fragment;
use super::{DecodeError, Packet, Settings, Transport};
use crate::event::{IpProtocol, Tunnel, TunnelKind};

/// Tags, labels, extension headers and tunnels followed per frame (count). Real frames hold fewer
/// than ten; the bound keeps a frame of nothing but tags from costing more than its bytes.
const HEADERS_MAX: u8 = 32;

/// Tunnels followed per frame (count): overlays and mirrors make three at most. What lies deeper stays
/// payload of the last one followed, and is counted: nobody wraps so for an honest purpose.
pub(super) const TUNNELS_MAX: u8 = 8;

/// The captured bytes of one layer, and how many there were on the wire; never less than captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) wire: u32,
}

impl<'a> Span<'a> {
    pub(super) fn new(bytes: &'a [u8], wire: u32) -> Self {
        Self { bytes, wire: wire.max(u32::try_from(bytes.len()).unwrap_or(u32::MAX)) }
    }

    /// What follows the first `length` bytes; `None` where the capture does not reach so far.
    #[inline(always)]
    pub(super) fn skip(self, length: usize) -> Option<Self> {
        let bytes = self.bytes.get(length..)?;
        Some(Self { bytes, wire: self.wire.saturating_sub(length as u32) })
    }

    /// The same, ended after `wire` bytes, whatever the capture holds beyond.
    #[inline(always)]
    pub(super) fn end_at(self, wire: u32) -> Self {
        Self { bytes: self.bytes.get(..wire as usize).unwrap_or(self.bytes), wire }
    }
}

/// The parts of an IP header that outlast it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip<'a> {
    pub(super) addresses: Addresses<'a>,
    /// The whole packet on the wire.
    pub(super) bytes: u32,
    /// Time to live, or hop limit.
    pub(super) hop_limit: u8,
}

/// Source and destination, where they stand in the header: copied once, into the packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Addresses<'a> {
    V4(&'a [u8; 8]),
    V6(&'a [u8; 32]),
}

impl Addresses<'_> {
    /// Source and destination. IPv4-mapped addresses become IPv4 addresses, so that a host is one
    /// host; on the wire they come from translators alone.
    #[inline(always)]
    pub(super) fn read(self) -> (IpAddr, IpAddr) {
        match self {
            Self::V4(&[a, b, c, d, e, f, g, h]) => {
                (Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into())
            }
            Self::V6(both) => {
                // Asked first: nearly none is mapped.
                let address = |half: Option<&[u8; 16]>| match half {
                    Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]) => {
                        Ipv4Addr::new(a, b, c, d).into()
                    }
                    half => IpAddr::V6(Ipv6Addr::from(half.copied().unwrap_or_default())),
                };
                (address(both.first_chunk()), address(both.last_chunk()))
            }
        }
    }
}

impl Ip<'_> {
    /// Extension headers may follow.
    pub(super) const fn is_v6(&self) -> bool {
        matches!(self.addresses, Addresses::V6(_))
    }
}

/// What has been passed on the way inwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// The first identifier met that is not 0: the outermost VLAN.
    pub(super) vlan: u16,
    /// The innermost met.
    pub(super) tunnel: Option<Tunnel>,
    tunnels: u8,
    headers_left: u8,
}

/// Where a walk ended with [`DecodeError::Fragment`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped<'a> {
    pub(super) around: Around,
    pub(super) fragment: Fragment<'a>,
}

/// Unwraps one frame, from the outside in. Each layer's method stands in that layer's file and ends
/// by calling the next, so the packet is made once, where it ends.
///
/// A value that is passed on, not a place that is written to: on the straight way the compiler then
/// keeps all of it in registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a, 's> {
    pub(super) ports: &'s TunnelPorts,
    pub(super) around: Around,
    stopped: &'s Cell<Option<Stopped<'a>>>,
}

impl<'a, 's> Walk<'a, 's> {
    /// From the frame's first byte. Where a fragment ends it, `stopped` says which.
    #[inline(always)]
    pub(super) const fn new(
        ports: &'s TunnelPorts,
        stopped: &'s Cell<Option<Stopped<'a>>>,
    ) -> Self {
        let around = Around { vlan: 0, tunnel: None, tunnels: 0, headers_left: HEADERS_MAX };
        Self { ports, around, stopped }
    }

    /// From where another walk ended.
    pub(super) const fn from(
        around: Around,
        ports: &'s TunnelPorts,
        stopped: &'s Cell<Option<Stopped<'a>>>,
    ) -> Self {
        Self { ports, around, stopped }
    }

    /// Ends here, until the fragment's siblings come.
    #[cold]
    pub(super) fn stop_at(self, fragment: Fragment<'a>) -> DecodeError {
        self.stopped.set(Some(Stopped { around: self.around, fragment }));
        DecodeError::Fragment
    }

    /// Accounts for one more tag, label or header.
    pub(super) fn spend_header(&mut self) -> Result<(), DecodeError> {
        let left = self.around.headers_left.checked_sub(1).ok_or(DecodeError::TooDeep)?;
        self.around.headers_left = left;
        Ok(())
    }

    /// Walks on inside `tunnel` as `read` says. `None` where that leads nowhere: then the carrier
    /// is the packet, and what looked like a tunnel is its payload.
    pub(super) fn enter(
        mut self,
        tunnel: Tunnel,
        read: impl FnOnce(Self) -> Result<Packet<'a>, DecodeError>,
    ) -> Option<Result<Packet<'a>, DecodeError>> {
        if self.around.tunnels >= TUNNELS_MAX {
            self.ports.too_deep.set(self.ports.too_deep.get().saturating_add(1));
            return None;
        }
        self.around.tunnel = Some(tunnel);
        self.around.tunnels += 1;
        match read(self) {
            Ok(packet) => Some(Ok(packet)),
            Err(DecodeError::Fragment) => Some(Err(DecodeError::Fragment)),
            Err(_) => None,
        }
    }

    /// Some tunnel has been entered.
    #[inline(always)]
    pub(super) const fn in_tunnel(&self) -> bool {
        self.around.tunnels > 0
    }

    #[inline(always)]
    pub(super) fn packet(
        &self,
        ip: Ip<'a>,
        protocol: IpProtocol,
        transport: Transport,
        payload: Span<'a>,
    ) -> Packet<'a> {
        let (source, destination) = ip.addresses.read();
        Packet {
            source,
            destination,
            protocol,
            transport,
            ip_bytes: ip.bytes,
            hop_limit: ip.hop_limit,
            payload: payload.bytes,
            payload_bytes: payload.wire,
            vlan: self.around.vlan,
            // Most packets are in none: no copy of nothing.
            tunnel: if self.in_tunnel() { self.around.tunnel } else { None },
        }
    }
}

/// The UDP ports that carry tunnels, for a quick "none of them".
#[derive(Clone, Debug)]
pub(super) struct TunnelPorts {
    /// Tunnels that were not followed for their depth (count).
    pub(super) too_deep: Cell<u64>,
    kinds: Vec<(u16, TunnelKind)>,
    lowest: u16,
    highest: u16,
}

impl TunnelPorts {
    pub(super) fn new(settings: &Settings) -> Self {
        let vxlan = settings.vxlan_ports.iter().map(|port| (*port, TunnelKind::Vxlan));
        let geneve = settings.geneve_ports.iter().map(|port| (*port, TunnelKind::Geneve));
        let mut kinds: Vec<_> = vxlan.chain(geneve).collect();
        kinds.sort_unstable();
        let lowest = kinds.first().map_or(u16::MAX, |(port, _)| *port);
        let highest = kinds.last().map_or(0, |(port, _)| *port);
        Self { too_deep: Cell::new(0), kinds, lowest, highest }
    }

    #[inline(always)]
    pub(super) fn kind(&self, port: u16) -> Option<TunnelKind> {
        if port < self.lowest || port > self.highest {
            return None;
        }
        let at = self.kinds.binary_search_by_key(&port, |(port, _)| *port).ok()?;
        self.kinds.get(at).map(|(_, kind)| *kind)
    }
}
