//! The state of one frame's unwrapping: what has been passed on the way inwards.

use std::net::IpAddr;

use super::fragments::Fragment;
use super::{DecodeError, Packet, Settings, Transport};
use crate::event::{IpProtocol, Tunnel, TunnelKind};

/// Tags, labels, extension headers and tunnels followed per frame (count). Real frames hold fewer
/// than ten; the bound keeps a frame of nothing but tags from costing more than its bytes.
const HEADERS_MAX: u8 = 32;

/// Tunnels followed per frame (count). What lies deeper stays payload of the last one followed.
const TUNNELS_MAX: u8 = 4;

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
pub(super) struct Ip {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// The whole packet on the wire.
    pub(super) bytes: u32,
    /// Extension headers may follow. The addresses do not tell: IPv4-mapped ones became IPv4.
    pub(super) v6: bool,
}

/// Unwraps one frame, from the outside in. Each layer's method stands in that layer's file and ends
/// by calling the next, so the packet is made once, where it ends.
#[derive(Debug)]
pub(super) struct Walk<'a, 's> {
    pub(super) ports: &'s TunnelPorts,
    /// The first identifier met that is not 0: the outermost VLAN.
    pub(super) vlan: u16,
    pub(super) macs: Option<([u8; 6], [u8; 6])>,
    /// The innermost met.
    pub(super) tunnel: Option<Tunnel>,
    pub(super) tunnels: u8,
    headers_left: u8,
    /// What ended the walk with [`DecodeError::Fragment`].
    pub(super) fragment: Option<Fragment<'a>>,
}

impl<'a, 's> Walk<'a, 's> {
    #[inline(always)]
    pub(super) const fn new(ports: &'s TunnelPorts) -> Self {
        Self {
            ports,
            vlan: 0,
            macs: None,
            tunnel: None,
            tunnels: 0,
            headers_left: HEADERS_MAX,
            fragment: None,
        }
    }

    /// Accounts for one more tag, label or header.
    pub(super) const fn spend_header(&mut self) -> Result<(), DecodeError> {
        match self.headers_left.checked_sub(1) {
            Some(left) => {
                self.headers_left = left;
                Ok(())
            }
            None => Err(DecodeError::TooDeep),
        }
    }

    /// Walks on inside `tunnel` as `read` says. `None` where that leads nowhere: then the carrier
    /// is the packet, and what looked like a tunnel is its payload.
    pub(super) fn enter(
        &mut self,
        tunnel: Tunnel,
        read: impl FnOnce(&mut Self) -> Result<Packet<'a>, DecodeError>,
    ) -> Option<Result<Packet<'a>, DecodeError>> {
        if self.tunnels >= TUNNELS_MAX {
            return None;
        }
        let mut inner = Self {
            tunnel: Some(tunnel),
            tunnels: self.tunnels + 1,
            ports: self.ports,
            vlan: self.vlan,
            macs: self.macs,
            headers_left: self.headers_left,
            fragment: None,
        };
        match read(&mut inner) {
            Ok(packet) => Some(Ok(packet)),
            Err(DecodeError::Fragment) => {
                *self = inner;
                Some(Err(DecodeError::Fragment))
            }
            Err(_) => None,
        }
    }

    #[inline(always)]
    pub(super) const fn packet(
        &self,
        ip: Ip,
        protocol: IpProtocol,
        transport: Transport,
        payload: Span<'a>,
    ) -> Packet<'a> {
        Packet {
            source: ip.source,
            destination: ip.destination,
            protocol,
            transport,
            ip_bytes: ip.bytes,
            payload: payload.bytes,
            payload_bytes: payload.wire,
            vlan: self.vlan,
            tunnel: self.tunnel,
            macs: self.macs,
        }
    }
}

/// The UDP ports that carry tunnels, for a quick "none of them".
#[derive(Clone, Debug)]
pub(super) struct TunnelPorts {
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
        Self { kinds, lowest, highest }
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
