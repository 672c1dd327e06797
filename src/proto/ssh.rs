//! SSH (RFC 4253): the identification lines of both sides.

use super::text::{Line, Lines};
use super::{Appetite, Match, Parser, Probe, Registration, Sink};
use crate::event::{Fact, Manner, Protocol, Side, SshFacts};

/// SSH.
pub static PROTOCOL: Protocol = Protocol { name: "ssh", manner: Manner::Carrier };

/// SSH on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).read_by(|| Box::new(Ssh::default())).of_both_sides();

/// Longest identification line with its end (RFC 4253, section 4.2) in bytes.
const BANNER_BYTES_MAX: usize = 255;

/// Longest packet that an implementation must take (RFC 4253, section 6.1), with room: bytes.
const PACKET_BYTES_MAX: u32 = 256 * 1024;

/// First message of each side: SSH_MSG_KEXINIT.
const KEXINIT: u8 = 20;

fn probe(probe: &Probe<'_>) -> Match {
    match Match::prefix(probe.opening(), b"SSH-2.0-") {
        Match::No => Match::prefix(probe.opening(), b"SSH-1.99-"),
        decided => decided,
    }
}

#[derive(Default)]
struct Ssh {
    facts: SshFacts,
    sides: [Half; 2],
}

/// What one side has said so far.
#[derive(Default)]
struct Half {
    lines: Lines<BANNER_BYTES_MAX>,
    banner: bool,
    /// Head of the packet behind the banner: length, padding, message type.
    head: [u8; 6],
    head_bytes: usize,
}

impl Parser for Ssh {
    fn data(&mut self, from: Side, bytes: &[u8], sink: &mut Sink<'_>) -> Appetite {
        let half = &mut self.sides[from.index()];
        let mut bytes = bytes;
        while !half.banner {
            match half.lines.next(&mut bytes) {
                Line::Whole(line) => {
                    let text = String::from_utf8_lossy(line);
                    // Only a server may say other lines first (RFC 4253, section 4.2).
                    if !text.starts_with("SSH-") {
                        if from == Side::Originator {
                            return Appetite::Contradicted;
                        }
                        continue;
                    }
                    half.banner = true;
                    let banner = Some(Box::from(text.as_ref()));
                    match from {
                        Side::Originator => self.facts.originator = banner,
                        Side::Responder => self.facts.responder = banner,
                    }
                    (sink.fact)(Fact::Ssh(&self.facts));
                }
                Line::More => return Appetite::More,
                Line::TooLong => return Appetite::Contradicted,
            }
        }
        while half.head_bytes < half.head.len() {
            let Some((first, rest)) = bytes.split_first() else { return Appetite::More };
            half.head[half.head_bytes] = *first;
            half.head_bytes += 1;
            bytes = rest;
        }
        let [a, b, c, d, padding, kind] = half.head;
        let length = u32::from_be_bytes([a, b, c, d]);
        if kind != KEXINIT || length > PACKET_BYTES_MAX || length < u32::from(padding) + 2 {
            return Appetite::Contradicted;
        }
        if self.sides.iter().all(|half| half.head_bytes == half.head.len()) {
            return Appetite::Done;
        }
        Appetite::More
    }
}
