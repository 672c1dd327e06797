//! HTTP/2 in plain (RFC 9113): its preface, and whether it carries gRPC.

use super::text::contains_ignore_case;
use super::{Appetite, Match, Parser, Probe, Registration, Sink};
use crate::event::{Manner, Protocol, Side};

/// HTTP/2.
pub static PROTOCOL: Protocol = Protocol { name: "http2", manner: Manner::Push };

/// gRPC, which runs on it.
pub static GRPC: Protocol = Protocol { name: "grpc", manner: Manner::Push };

/// HTTP/2 on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, |probe: &Probe<'_>| Match::prefix(probe.opening(), PREFACE))
        .read_by(|| Box::new(Http2::default()));

static GRPC_REGISTRATION: Registration = Registration::stream(&GRPC, |_| Match::No);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of the client in which its first request's head is looked for.
const HEAD_BYTES_MAX: usize = 4_096;

const FRAME_HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;

/// `application/grpc` in the code of HPACK (RFC 7541, appendix B).
const GRPC_CODED: &[u8] = b"\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64";

#[derive(Default)]
struct Http2 {
    client: Vec<u8>,
}

impl Parser for Http2 {
    fn data(&mut self, from: Side, bytes: &[u8], _sink: &mut Sink<'_>) -> Appetite {
        if from == Side::Responder {
            return Appetite::More;
        }
        let room = HEAD_BYTES_MAX.saturating_sub(self.client.len()).min(bytes.len());
        self.client.extend_from_slice(&bytes[..room]);
        let mut at = PREFACE.len();
        while let Some(head) = self.client.get(at..at + FRAME_HEADER_BYTES) {
            let [a, b, c, kind, ..] = head else { return Appetite::Done };
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let payload = self.client.get(at + FRAME_HEADER_BYTES..).unwrap_or_default();
            if *kind > 16 {
                return Appetite::Contradicted;
            }
            if *kind == HEADERS && (payload.len() >= length || self.client.len() >= HEAD_BYTES_MAX)
            {
                let payload = payload.get(..length).unwrap_or(payload);
                let grpc = memchr::memmem::find(payload, GRPC_CODED).is_some()
                    || contains_ignore_case(payload, b"application/grpc");
                return if grpc {
                    Appetite::Upgrade { to: &GRPC_REGISTRATION, rest: 0 }
                } else {
                    Appetite::Done
                };
            }
            at += FRAME_HEADER_BYTES + length;
        }
        if self.client.len() >= HEAD_BYTES_MAX { Appetite::Done } else { Appetite::More }
    }
}
