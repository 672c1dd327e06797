//! Tunnels: the packet inside is the packet, and the carrier is only named.
//!
//! A tunnel's header is a few bits that chance or an attacker may set, so nothing is taken for a
//! tunnel unless a whole IP header, consistent with the carrier's length, stands where it should.
//! Otherwise the carrier is the packet. That includes ARP and other non-IP frames in a tunnel: they
//! are seen as the carrier's datagrams rather than not at all.

use etherparse::IpNumber;

use super::walk::{Ip, Span, Walk};
use super::{DecodeError, Packet, Transport};
use crate::event::{IpProtocol, Tunnel, TunnelKind};

/// Transparent Ethernet bridging: a whole frame (RFC 7637, RFC 8926).
const ETHERNET: u16 = 0x6558;
/// Mirrored frames: ERSPAN types I and II.
const ERSPAN: u16 = 0x88be;
/// ERSPAN type III.
const ERSPAN_III: u16 = 0x22eb;

/// What an entered tunnel gave; `None` where the carrier stays the packet.
type Inner<'a> = Option<Result<Packet<'a>, DecodeError>>;

impl<'a> Walk<'a, '_> {
    /// What a UDP datagram to a tunnel's port carries.
    #[inline(never)]
    pub(super) fn udp_tunnel(self, kind: TunnelKind, ip: Ip<'a>, payload: Span<'a>) -> Inner<'a> {
        match kind {
            TunnelKind::Vxlan => self.vxlan(ip, payload),
            TunnelKind::Geneve => self.geneve(ip, payload),
            TunnelKind::Gre | TunnelKind::IpInIp => None,
        }
    }

    /// RFC 7348. The flag for a valid identifier must be set; others are extensions (group policy)
    /// or reserved, and ignored.
    fn vxlan(self, ip: Ip<'a>, payload: Span<'a>) -> Inner<'a> {
        let &[flags, _, _, _, n1, n2, n3, _] = payload.bytes.first_chunk::<8>()?;
        if flags & 0x08 == 0 {
            return None;
        }
        let frame = payload.skip(8)?;
        let tunnel = between(ip, TunnelKind::Vxlan, u32::from_be_bytes([0, n1, n2, n3]));
        self.enter(tunnel, |walk| walk.ethernet(frame))
    }

    /// RFC 8926: version 0, options skipped.
    fn geneve(self, ip: Ip<'a>, payload: Span<'a>) -> Inner<'a> {
        let &[version_length, _, p1, p2, n1, n2, n3, _] = payload.bytes.first_chunk::<8>()?;
        if version_length >> 6 != 0 {
            return None;
        }
        let inner = payload.skip(8 + usize::from(version_length & 0x3f) * 4)?;
        let tunnel = between(ip, TunnelKind::Geneve, u32::from_be_bytes([0, n1, n2, n3]));
        let kind = u16::from_be_bytes([p1, p2]);
        self.enter(tunnel, |walk| walk.carried(kind, inner))
    }

    /// GRE and what it carries, else a packet of protocol GRE.
    pub(super) fn gre(self, ip: Ip<'a>, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        match self.gre_inner(ip, span) {
            Some(inner) => inner,
            None => Ok(self.packet(ip, IpProtocol(IpNumber::GRE.0), Transport::Other, span)),
        }
    }

    /// RFC 2784 and 2890, version 0. The key is the tunnel's id as it stands: NVGRE (RFC 7637)
    /// splits it into subnet and flow, but cannot be told from other keyed Ethernet over GRE.
    fn gre_inner(self, ip: Ip<'a>, span: Span<'a>) -> Inner<'a> {
        let &[flags, version, p1, p2] = span.bytes.first_chunk::<4>()?;
        let (checksum, routing, key, sequence) =
            (flags & 0x80 != 0, flags & 0x40 != 0, flags & 0x20 != 0, flags & 0x10 != 0);
        if version & 0x07 != 0 || routing {
            return None;
        }
        let mut rest = span.skip(4 + if checksum { 4 } else { 0 })?;
        let mut id = 0;
        if key {
            id = u32::from_be_bytes(*rest.bytes.first_chunk::<4>()?);
            rest = rest.skip(4)?;
        }
        if sequence {
            rest = rest.skip(4)?;
        }
        let kind = u16::from_be_bytes([p1, p2]);
        match kind {
            // Type I has no header of its own, and no sequence number (which type II must have).
            ERSPAN if sequence => (id, rest) = erspan(rest, 1, 8)?,
            ERSPAN_III => {
                let long = rest.bytes.get(11)? & 1 == 1;
                (id, rest) = erspan(rest, 2, if long { 20 } else { 12 })?;
            }
            _ => {}
        }
        self.enter(between(ip, TunnelKind::Gre, id), |walk| walk.carried(kind, rest))
    }

    /// IPv4 or IPv6 as the payload of IP (RFC 2003, 2473, 4213).
    pub(super) fn ip_in_ip(
        self,
        ip: Ip<'a>,
        protocol: IpNumber,
        span: Span<'a>,
    ) -> Result<Packet<'a>, DecodeError> {
        let inner = self.enter(between(ip, TunnelKind::IpInIp, 0), |walk| {
            if protocol == IpNumber::IPV4 { walk.inner_ipv4(span) } else { walk.inner_ipv6(span) }
        });
        match inner {
            Some(inner) => inner,
            None => Ok(self.packet(ip, IpProtocol(protocol.0), Transport::Other, span)),
        }
    }

    fn carried(mut self, kind: u16, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        self.spend_header()?;
        match kind {
            ETHERNET | ERSPAN | ERSPAN_III => self.ethernet(span),
            _ => self.ether_type(kind, span),
        }
    }
}

/// The session and the mirrored frame behind an ERSPAN header of this version and length
/// (draft-foschiano-erspan-03).
fn erspan(span: Span<'_>, version: u8, length: usize) -> Option<(u32, Span<'_>)> {
    let &[first, _, s1, s2] = span.bytes.first_chunk::<4>()?;
    if first >> 4 != version {
        return None;
    }
    Some((u32::from(u16::from_be_bytes([s1, s2]) & 0x03ff), span.skip(length)?))
}

fn between(ip: Ip<'_>, kind: TunnelKind, id: u32) -> Tunnel {
    let (source, destination) = ip.addresses.read();
    Tunnel { kind, id, source, destination }
}
