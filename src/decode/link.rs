//! Link headers and the tags between them and IP.

use etherparse::{EtherType, Ethernet2HeaderSlice};

use super::walk::{Span, Walk};
use super::{DecodeError, Frame, LinkType, Packet};

const MPLS_UNICAST: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
/// PPP over Ethernet, session stage (RFC 2516).
const PPPOE_SESSION: u16 = 0x8864;
/// Provider backbone bridging (IEEE 802.1ah): a service tag, then a whole Ethernet frame.
const BACKBONE_SERVICE: u16 = 0x88e7;
/// Virtual machine tag (Cisco VN-Tag), 4 bytes of tag.
const VN_TAG: u16 = 0x8926;
/// Port extender tag (IEEE 802.1BR), 6 bytes of tag.
const E_TAG: u16 = 0x893f;
/// Below this an EtherType is the length of an IEEE 802.3 frame.
const LENGTH_END: u16 = 0x0600;

impl<'a> Walk<'a, '_> {
    /// The whole frame. Ethernet, IP and TCP or UDP are one straight line here; all else branches
    /// off into functions of its own.
    #[inline(always)]
    pub(super) fn frame(self, frame: &Frame<'a>) -> Result<Packet<'a>, DecodeError> {
        let span = Span::new(frame.bytes, frame.wire_bytes);
        if frame.link_type != LinkType::Ethernet {
            return self.other_link(frame.link_type, span);
        }
        let Ok(header) = Ethernet2HeaderSlice::from_slice(span.bytes) else {
            return Err(DecodeError::NoLink);
        };
        let rest = span.skip(header.slice().len()).ok_or(DecodeError::NoLink)?;
        match header.ether_type() {
            EtherType::IPV4 => self.ipv4(rest),
            EtherType::IPV6 => self.ipv6(rest),
            EtherType(kind) => self.ether_type(kind, rest),
        }
    }

    #[inline(never)]
    fn other_link(self, link_type: LinkType, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        match link_type {
            LinkType::Ethernet => self.ethernet(span),
            // The protocol ends the 16 bytes of version 1, and opens the 20 of version 2.
            LinkType::LinuxSll => match span.bytes.get(14..16) {
                Some(&[high, low]) => self.after(16, u16::from_be_bytes([high, low]), span),
                _ => Err(DecodeError::NoLink),
            },
            LinkType::LinuxSll2 => match span.bytes {
                [high, low, ..] => self.after(20, u16::from_be_bytes([*high, *low]), span),
                _ => Err(DecodeError::NoLink),
            },
            LinkType::RawIp => self.ip(span),
            LinkType::Null | LinkType::Loop => self.loopback(span),
        }
    }

    /// BSD's address family, in whichever byte order makes a small number of it: a capture may
    /// come from a machine of the other order, and files of type `Loop` exist in both.
    fn loopback(self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        let (Some(family), Some(rest)) = (span.bytes.first_chunk::<4>(), span.skip(4)) else {
            return Err(DecodeError::NoLink);
        };
        let family = u32::from_be_bytes(*family).min(u32::from_le_bytes(*family));
        match family {
            // AF_INET.
            2 => self.inner_ipv4(rest),
            // AF_INET6 of Linux, of NetBSD and OpenBSD, of FreeBSD, of macOS.
            10 | 24 | 28 | 30 => self.inner_ipv6(rest),
            _ => Err(DecodeError::NotIp),
        }
    }

    /// IP of whichever version its first digit says.
    pub(super) fn ip(self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        match span.bytes.first().map(|first| first >> 4) {
            Some(4) => self.inner_ipv4(span),
            Some(6) => self.inner_ipv6(span),
            Some(_) => Err(DecodeError::NotIp),
            None => Err(DecodeError::NoIp),
        }
    }

    /// An Ethernet frame inside another frame. The packet keeps the outer one's link addresses.
    pub(super) fn ethernet(self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        let header =
            Ethernet2HeaderSlice::from_slice(span.bytes).map_err(|_| DecodeError::NoLink)?;
        self.after(header.slice().len(), header.ether_type().0, span)
    }

    fn after(self, length: usize, kind: u16, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        let rest = span.skip(length).ok_or(DecodeError::NoLink)?;
        self.ether_type(kind, rest)
    }

    /// What an EtherType announces: IP, or tags before it.
    #[inline(never)]
    pub(super) fn ether_type(
        mut self,
        mut kind: u16,
        mut span: Span<'a>,
    ) -> Result<Packet<'a>, DecodeError> {
        loop {
            let tag = match EtherType(kind) {
                EtherType::IPV4 => return self.inner_ipv4(span),
                EtherType::IPV6 => return self.inner_ipv6(span),
                EtherType::VLAN_TAGGED_FRAME
                | EtherType::PROVIDER_BRIDGING
                | EtherType::VLAN_DOUBLE_TAGGED_FRAME => {
                    if let (0, Some(&[high, low])) = (self.around.vlan, span.bytes.get(..2)) {
                        self.around.vlan = u16::from_be_bytes([high, low]) & 0x0fff;
                    }
                    2
                }
                EtherType(VN_TAG) => 4,
                EtherType(E_TAG) => 6,
                EtherType(MPLS_UNICAST | MPLS_MULTICAST) => return self.mpls(span),
                EtherType(PPPOE_SESSION) => return self.pppoe(span),
                EtherType(BACKBONE_SERVICE) => {
                    self.spend_header()?;
                    // Flags and service identifier, then the customer's frame.
                    let inner = span.skip(4).ok_or(DecodeError::NoLink)?;
                    return self.ethernet(inner);
                }
                EtherType(length) if length < LENGTH_END => return self.llc(span),
                _ => return Err(DecodeError::NotIp),
            };
            self.spend_header()?;
            let Some(&[high, low]) = span.bytes.get(tag..tag + 2) else {
                return Err(DecodeError::NoLink);
            };
            kind = u16::from_be_bytes([high, low]);
            span = span.skip(tag + 2).ok_or(DecodeError::NoLink)?;
        }
    }

    /// IEEE 802.2: IP follows a SNAP header, or the older service access point 6.
    fn llc(mut self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        match span.bytes {
            [0xaa, 0xaa, 0x03, 0, 0, 0, high, low, ..] => {
                self.spend_header()?;
                let kind = u16::from_be_bytes([*high, *low]);
                // A length in place of a type would come back here.
                if kind < LENGTH_END { Err(DecodeError::NotIp) } else { self.after(8, kind, span) }
            }
            [0x06, 0x06, 0x03, ..] => self.inner_ipv4(span.skip(3).ok_or(DecodeError::NoLink)?),
            _ => Err(DecodeError::NotIp),
        }
    }

    /// A label stack does not say what follows; the first digit does (RFC 4928, section 3).
    fn mpls(mut self, mut span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        loop {
            self.spend_header()?;
            let (Some(label), Some(rest)) = (span.bytes.first_chunk::<4>(), span.skip(4)) else {
                return Err(DecodeError::NoLink);
            };
            span = rest;
            // Bottom of stack.
            if label[2] & 1 == 1 {
                break;
            }
        }
        match span.bytes.first().map(|first| first >> 4) {
            // A pseudowire's control word (RFC 4385), then Ethernet.
            Some(0) => self.ethernet(span.skip(4).ok_or(DecodeError::NoLink)?),
            _ => self.ip(span),
        }
    }

    fn pppoe(mut self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        self.spend_header()?;
        // Version and type, code, session, length; then PPP's protocol.
        match (span.bytes.get(6..8), span.skip(8)) {
            (Some([0x00, 0x21]), Some(rest)) => self.inner_ipv4(rest),
            (Some([0x00, 0x57]), Some(rest)) => self.inner_ipv6(rest),
            (Some(_), Some(_)) => Err(DecodeError::NotIp),
            _ => Err(DecodeError::NoLink),
        }
    }
}
