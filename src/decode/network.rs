//! IPv4 and IPv6 headers, and the extension headers up to the transport.

use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeader, Ipv6FragmentHeaderSlice,
    Ipv6HeaderSlice, Ipv6RawExtHeaderSlice,
};

use super::fragments::Fragment;
use super::walk::{Addresses, Ip, Span, Walk};
use super::{DecodeError, Packet, Transport};
use crate::event::IpProtocol;

impl<'a> Walk<'a, '_> {
    /// An IPv4 packet. A total length of zero is a segment above 64 KiB (GRO, "BIG TCP") or one
    /// that the network card was to cut: then the frame's length stands in.
    #[inline(always)]
    pub(super) fn ipv4(self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        let header = match Ipv4HeaderSlice::from_slice(span.bytes) {
            Ok(header) => header,
            Err(error) => return Err(no_ipv4(error)),
        };
        let bytes = match header.total_len() {
            0 => span.wire,
            length => u32::from(length),
        };
        let length = header.slice().len();
        if (bytes as usize) < length || self.outgrows_tunnel(bytes, span) {
            return Err(DecodeError::BadIp);
        }
        let payload = span.end_at(bytes).skip(length).ok_or(DecodeError::NoIp)?;
        let addresses = header.slice().get(12..).and_then(<[u8]>::first_chunk);
        let addresses = addresses.ok_or(DecodeError::NoIp)?;
        let ip = Ip { addresses: Addresses::V4(addresses), bytes, hop_limit: header.ttl() };
        if header.is_fragmenting_payload() {
            return Err(self.stop_at(Fragment {
                ip,
                id: u32::from(header.identification()),
                protocol: header.protocol().0,
                offset: u32::from(header.fragments_offset().byte_offset()),
                more: header.more_fragments(),
                payload,
            }));
        }
        self.upper(ip, header.protocol(), payload)
    }

    /// An IPv6 packet. A payload length of zero is a jumbogram (RFC 2675; "BIG TCP"): then the
    /// frame's length stands in.
    #[inline(always)]
    pub(super) fn ipv6(self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        let Ok(header) = Ipv6HeaderSlice::from_slice(span.bytes) else {
            return Err(if span.bytes.len() < 40 { DecodeError::NoIp } else { DecodeError::BadIp });
        };
        let length = header.slice().len();
        let bytes = match header.payload_length() {
            0 if header.next_header() != IpNumber::IPV6_NO_NEXT_HEADER => span.wire,
            payload => u32::from(payload) + length as u32,
        };
        if self.outgrows_tunnel(bytes, span) {
            return Err(DecodeError::BadIp);
        }
        let payload = span.end_at(bytes).skip(length).ok_or(DecodeError::NoIp)?;
        let addresses = header.slice().last_chunk().ok_or(DecodeError::NoIp)?;
        let ip = Ip { addresses: Addresses::V6(addresses), bytes, hop_limit: header.hop_limit() };
        self.upper(ip, header.next_header(), payload)
    }

    /// The same as [`Walk::ipv4`], for all but the shortest way to it: one copy in the program.
    #[inline(never)]
    pub(super) fn inner_ipv4(self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        self.ipv4(span)
    }

    /// As [`Walk::inner_ipv4`].
    #[inline(never)]
    pub(super) fn inner_ipv6(self, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        self.ipv6(span)
    }

    /// What an IP header, or reassembly, hands up.
    #[inline(always)]
    pub(super) fn upper(
        self,
        ip: Ip<'a>,
        protocol: IpNumber,
        span: Span<'a>,
    ) -> Result<Packet<'a>, DecodeError> {
        match protocol {
            IpNumber::TCP => self.tcp(ip, span),
            IpNumber::UDP => self.udp(ip, span),
            _ => self.other(ip, protocol, span),
        }
    }

    /// Whether what claims to be a packet in a tunnel is longer than the tunnel's own payload:
    /// then it is no packet. Outside of tunnels the frame's length may be the capture's, not the
    /// wire's, and the header is believed.
    const fn outgrows_tunnel(self, bytes: u32, span: Span<'a>) -> bool {
        self.in_tunnel() && bytes > span.wire
    }

    /// Anything but TCP and UDP directly after IP.
    #[inline(never)]
    fn other(
        mut self,
        ip: Ip<'a>,
        mut protocol: IpNumber,
        mut span: Span<'a>,
    ) -> Result<Packet<'a>, DecodeError> {
        loop {
            let next = match protocol {
                IpNumber::TCP => return self.tcp(ip, span),
                IpNumber::UDP => return self.udp(ip, span),
                IpNumber::ICMP | IpNumber::IPV6_ICMP => return Ok(self.icmp(ip, protocol, span)),
                IpNumber::SCTP => return Ok(self.sctp(ip, span)),
                IpNumber::GRE => return self.gre(ip, span),
                IpNumber::IPV4 | IpNumber::IPV6 => return self.ip_in_ip(ip, protocol, span),
                IpNumber::AUTHENTICATION_HEADER => IpAuthHeaderSlice::from_slice(span.bytes)
                    .ok()
                    .map(|header| (header.next_header(), header.slice().len())),
                IpNumber::IPV6_HEADER_HOP_BY_HOP
                | IpNumber::IPV6_ROUTE_HEADER
                | IpNumber::IPV6_DESTINATION_OPTIONS
                | IpNumber::MOBILITY_HEADER
                | IpNumber::HIP
                | IpNumber::SHIM6
                    if ip.is_v6() =>
                {
                    Ipv6RawExtHeaderSlice::from_slice(span.bytes)
                        .ok()
                        .map(|header| (header.next_header(), header.slice().len()))
                }
                IpNumber::IPV6_FRAGMENTATION_HEADER if ip.is_v6() => {
                    self.fragment_header(ip, span)?.map(|next| (next, Ipv6FragmentHeader::LEN))
                }
                _ => None,
            };
            // No header to follow, or one that the capture cut: the packet ends here.
            let Some((next, length)) = next else {
                return Ok(self.packet(ip, IpProtocol(protocol.0), Transport::Other, span));
            };
            self.spend_header()?;
            protocol = next;
            span = span.skip(length).ok_or(DecodeError::NoIp)?;
        }
    }

    /// What follows a fragment header around a whole payload (RFC 6946); `None` where it is cut.
    fn fragment_header(self, ip: Ip<'a>, span: Span<'a>) -> Result<Option<IpNumber>, DecodeError> {
        let Ok(header) = Ipv6FragmentHeaderSlice::from_slice(span.bytes) else {
            return Ok(None);
        };
        if !header.is_fragmenting_payload() {
            return Ok(Some(header.next_header()));
        }
        let payload = span.skip(header.slice().len()).ok_or(DecodeError::NoIp)?;
        Err(self.stop_at(Fragment {
            ip,
            id: header.identification(),
            protocol: header.next_header().0,
            offset: u32::from(header.fragment_offset().byte_offset()),
            more: header.more_fragments(),
            payload,
        }))
    }
}

#[cold]
const fn no_ipv4(error: etherparse::err::ipv4::HeaderSliceError) -> DecodeError {
    match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => DecodeError::NoIp,
        etherparse::err::ipv4::HeaderSliceError::Content(_) => DecodeError::BadIp,
    }
}
