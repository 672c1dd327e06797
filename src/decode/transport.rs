//! Transport headers: where the walk ends and the packet is made.

use etherparse::{IpNumber, TcpHeader, TcpHeaderSlice, UdpHeaderSlice};

use super::walk::{Ip, Span, Walk};
use super::{DecodeError, Packet, Tcp, Transport};
use crate::event::IpProtocol;

const ICMP_HEADER_BYTES: u32 = 8;
const SCTP_HEADER_BYTES: u32 = 12;

impl<'a> Walk<'a, '_> {
    #[inline(always)]
    pub(super) fn tcp(self, ip: Ip<'a>, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        let Ok(header) = TcpHeaderSlice::from_slice(span.bytes) else {
            return Ok(self.tcp_cut(ip, span));
        };
        let transport = Transport::Tcp(Tcp {
            source: header.source_port(),
            destination: header.destination_port(),
            sequence: header.sequence_number(),
            acknowledgement: header.acknowledgment_number(),
            flags: header.slice().get(13).copied().unwrap_or_default(),
            window: header.window_size(),
        });
        let payload = span.skip(header.slice().len()).unwrap_or(span);
        Ok(self.packet(ip, IpProtocol::TCP, transport, payload))
    }

    /// A TCP header of which the snap length left no more than ports, numbers and flags; or one
    /// that contradicts itself, which every receiver drops.
    #[cold]
    fn tcp_cut(self, ip: Ip<'a>, span: Span<'a>) -> Packet<'a> {
        let other = self.packet(ip, IpProtocol::TCP, Transport::Other, span);
        let Some(&[s1, s2, d1, d2, q1, q2, q3, q4, a1, a2, a3, a4, offset, flags]) =
            span.bytes.first_chunk::<14>()
        else {
            return other;
        };
        let header_bytes = u32::from(offset >> 4) * 4;
        if header_bytes < TcpHeader::MIN_LEN as u32 || header_bytes > span.wire {
            return other;
        }
        let window = match span.bytes.get(14..16) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let transport = Transport::Tcp(Tcp {
            source: u16::from_be_bytes([s1, s2]),
            destination: u16::from_be_bytes([d1, d2]),
            sequence: u32::from_be_bytes([q1, q2, q3, q4]),
            acknowledgement: u32::from_be_bytes([a1, a2, a3, a4]),
            flags,
            window,
        });
        self.packet(ip, IpProtocol::TCP, transport, above(span, header_bytes))
    }

    /// UDP, or what a tunnel over UDP carries. The datagram ends at its own length where that is
    /// shorter than IP's; zero stands for IP's (RFC 2675).
    #[inline(always)]
    pub(super) fn udp(self, ip: Ip<'a>, span: Span<'a>) -> Result<Packet<'a>, DecodeError> {
        let Ok(header) = UdpHeaderSlice::from_slice(span.bytes) else {
            return Ok(self.ports_only(ip, IpNumber::UDP, span));
        };
        let destination = header.destination_port();
        let length = header.slice().len();
        let datagram = match header.length() {
            0 => span,
            // Linux drops what is longer than IP says; the bytes were sent all the same.
            bytes => span.end_at(u32::from(bytes).max(length as u32).min(span.wire)),
        };
        let payload = datagram.skip(length).unwrap_or(datagram);
        if let Some(kind) = self.ports.kind(destination)
            && let Some(inner) = self.udp_tunnel(kind, ip, payload)
        {
            return inner;
        }
        let transport = Transport::Udp { source: header.source_port(), destination };
        Ok(self.packet(ip, IpProtocol::UDP, transport, payload))
    }

    pub(super) fn sctp(self, ip: Ip<'a>, span: Span<'a>) -> Packet<'a> {
        self.ports_only(ip, IpNumber::SCTP, span)
    }

    /// A header of which the ports suffice.
    #[cold]
    fn ports_only(self, ip: Ip<'a>, protocol: IpNumber, span: Span<'a>) -> Packet<'a> {
        let protocol = IpProtocol(protocol.0);
        let Some(&[s1, s2, d1, d2]) = span.bytes.first_chunk::<4>() else {
            return self.packet(ip, protocol, Transport::Other, span);
        };
        let (source, destination) = (u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]));
        let (transport, header_bytes) = match protocol {
            IpProtocol::SCTP => (Transport::Sctp { source, destination }, SCTP_HEADER_BYTES),
            _ => (Transport::Udp { source, destination }, etherparse::UdpHeader::LEN as u32),
        };
        self.packet(ip, protocol, transport, above(span, header_bytes))
    }

    /// ICMP of either version; identifier and sequence number where it is an echo.
    pub(super) fn icmp(self, ip: Ip<'a>, protocol: IpNumber, span: Span<'a>) -> Packet<'a> {
        let protocol = IpProtocol(protocol.0);
        let Some(&[kind, code]) = span.bytes.first_chunk::<2>() else {
            return self.packet(ip, protocol, Transport::Other, span);
        };
        let echo =
            matches!((protocol, kind), (IpProtocol::ICMP, 0 | 8) | (IpProtocol::ICMPV6, 128 | 129));
        let (id, sequence) = match span.bytes.get(4..8) {
            Some(&[i1, i2, s1, s2]) if echo => {
                (u16::from_be_bytes([i1, i2]), u16::from_be_bytes([s1, s2]))
            }
            _ => (0, 0),
        };
        let transport = Transport::Icmp { kind, code, id, sequence };
        self.packet(ip, protocol, transport, above(span, ICMP_HEADER_BYTES))
    }
}

/// What follows a header that may itself be cut, by the capture or in truth.
fn above(span: Span<'_>, header_bytes: u32) -> Span<'_> {
    span.skip(header_bytes as usize)
        .unwrap_or(Span { bytes: &[], wire: span.wire.saturating_sub(header_bytes) })
}
