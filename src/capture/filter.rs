//! What the kernel's filter of a capture lets pass, and how much of it.
//!
//! One classic BPF program a capture, written here and not by libpcap, for two reasons: it cuts bulk to its
//! headers ([`super::shed`]) and passes the rest whole, and filters of libpcap pass all frames at the same
//! length; and it shares interfaces out by their index. A load behind the end of
//! a frame would drop it: all that is read of bulk lies in its first [`shed::BULK_BYTES_MIN`] bytes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use socket2::{SockFilter, SockRef};

use super::shed::{self, Stage};
use crate::decode::LinkType;

/// What the kernel knows of a frame besides its bytes (`linux/filter.h`): EtherType, interface, and a
/// random number.
const KNOWN: u32 = (-0x1000_i32).cast_unsigned();
const PROTOCOL: u32 = KNOWN;
const INTERFACE: u32 = KNOWN + 8;
const RANDOM: u32 = KNOWN + 56;
/// Bits of `linux/bpf_common.h`.
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const LOAD_LENGTH: u16 = 0x80;
const LOAD_BYTE_AT_X: u16 = 0x50;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_KEPT: u16 = 0x60;
const KEEP: u16 = 0x02;
const X_IS: u16 = 0x01;
/// Four times the low half of a byte: an IPv4 header's length.
const X_IS_HEADER_LENGTH: u16 = 0xb1;
const X_IS_A: u16 = 0x07;
const ADD_X: u16 = 0x0c;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const MULTIPLY: u16 = 0x24;
const GO: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// An instruction: code, where to go if true and if not, operand.
type Instruction = (u16, u8, u8, u32);

/// Which of several captures (from 0 on, of how many) hears the interface with this index.
///
/// By the golden ratio (Knuth, The Art of Computer Programming 3, 6.4, "Fibonacci hashing"): indices of hosts' ends
/// often all are even or all odd, since their other ends were numbered in between, and a remainder would give them
/// to half of the captures. Any steady progression is shared out evenly so.
pub const fn share_of(index: u32, of: u32) -> u32 {
    (index.wrapping_mul(GOLDEN) >> 16).wrapping_mul(of) >> 16
}

/// 2 to the power of 32, divided by the golden ratio.
const GOLDEN: u32 = 0x9e37_79b1;

/// What a capture hears.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Snap length (bytes).
    pub snaplen_bytes: u32,
    /// Interfaces that are passed over, by index.
    pub left_out: BTreeSet<u32>,
    /// Only the interfaces that are its own by [`share_of`]: which capture, of how many.
    pub share: Option<(u32, u32)>,
    /// What happens to bulk.
    pub stage: Stage,
    /// Smallest frame that is bulk (bytes from the IP header on).
    pub bulk_bytes: u32,
}

impl Filter {
    /// Puts the filter in force for the frames that come from now on.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn apply(&self, capture: &impl AsFd, link_type: LinkType) -> io::Result<()> {
        let program = self.program(link_type);
        let program: Vec<SockFilter> = program
            .into_iter()
            .map(|(code, yes, no, operand)| SockFilter::new(code, yes, no, operand))
            .collect();
        SockRef::from(capture).attach_filter(&program)
    }

    fn program(&self, link_type: LinkType) -> Vec<Instruction> {
        let mut program = Vec::new();
        if let Some((number, of)) = self.share {
            program.extend([
                (LOAD_WORD, 0, 0, INTERFACE),
                (MULTIPLY, 0, 0, GOLDEN),
                (SHIFT_RIGHT, 0, 0, 16),
                (MULTIPLY, 0, 0, of),
                (SHIFT_RIGHT, 0, 0, 16),
                (IF_EQUAL, 1, 0, number),
                (RETURN, 0, 0, 0),
            ]);
        }
        if !self.left_out.is_empty() {
            program.push((LOAD_WORD, 0, 0, INTERFACE));
            for index in &self.left_out {
                program.extend([(IF_EQUAL, 0, 1, *index), (RETURN, 0, 0, 0)]);
            }
        }
        if self.stage > Stage::Whole {
            self.spare(&mut program, link_type);
        }
        program.push(self.whole());
        program
    }

    const fn whole(&self) -> Instruction {
        (RETURN, 0, 0, self.snaplen_bytes)
    }

    /// What ends a program for bulk.
    fn of_bulk(&self, ip: u32) -> Vec<Instruction> {
        let pass = |bytes: u32| (RETURN, 0, 0, ip + bytes);
        // A snap length below these lengths would hide which of them it was.
        if self.stage == Stage::Cut || self.snaplen_bytes < shed::BULK_BYTES_MIN {
            return vec![pass(shed::KEPT_BYTES)];
        }
        vec![
            (LOAD_WORD, 0, 0, RANDOM),
            (IF_ANY_BIT, 0, 1, shed::SAMPLE - 1),
            (RETURN, 0, 0, 0),
            pass(shed::SAMPLED_BYTES),
        ]
    }

    /// The same as [`shed::bulk_at`], and a shorter length for what is bulk. Else it runs to the end, or
    /// returns at full length.
    fn spare(&self, program: &mut Vec<Instruction>, link_type: LinkType) {
        let whole_if = |code: u16, operand: u32| [(code, 0, 1, operand), self.whole()];
        let whole_unless = |code: u16, operand: u32| [(code, 1, 0, operand), self.whole()];
        // A cooked capture's frames begin with the IP header here; libpcap adds theirs later.
        let ip = match link_type {
            LinkType::Ethernet => 14,
            LinkType::LinuxSll2 => 0,
            _ => return,
        };
        program.push((LOAD_LENGTH, 0, 0, 0));
        program.extend(whole_unless(IF_AT_LEAST, self.bulk_bytes.max(shed::BULK_BYTES_MIN) + ip));
        program.push(match link_type {
            LinkType::Ethernet => (LOAD_HALF, 0, 0, 12),
            _ => (LOAD_WORD, 0, 0, PROTOCOL),
        });
        // The upper protocol is kept in cell 0, its header's place from the IP header on in X.
        let v6 = [(LOAD_BYTE, 0, 0, ip + 6), (KEEP, 0, 0, 0), (X_IS, 0, 0, 40)];
        let mut v4 = vec![(LOAD_HALF, 0, 0, ip + 6)];
        v4.extend(whole_if(IF_ANY_BIT, u32::from(shed::FRAGMENT)));
        v4.extend([(LOAD_BYTE, 0, 0, ip + 9), (KEEP, 0, 0, 0), (X_IS_HEADER_LENGTH, 0, 0, ip)]);
        v4.push((GO, 0, 0, 2 + v6.len() as u32));
        program.push((IF_EQUAL, 0, v4.len() as u8, 0x0800));
        program.extend(v4);
        program.extend(whole_unless(IF_EQUAL, 0x86dd));
        program.extend(v6);

        let mut udp = Vec::new();
        for place in [0, 2] {
            udp.push((LOAD_HALF_AT_X, 0, 0, ip + place));
            for port in shed::KEPT_UDP_PORTS {
                udp.extend(whole_if(IF_EQUAL, u32::from(port)));
            }
        }
        udp.push((LOAD_BYTE_AT_X, 0, 0, ip + 8));
        udp.extend(whole_if(IF_ANY_BIT, u32::from(shed::QUIC_LONG)));
        udp.extend(self.of_bulk(ip));
        program.push((LOAD_KEPT, 0, 0, 0));
        program.push((IF_EQUAL, 0, udp.len() as u8, 17));
        program.extend(udp);
        program.extend(whole_unless(IF_EQUAL, 6));
        for place in [0, 2] {
            program.push((LOAD_HALF_AT_X, 0, 0, ip + place));
            program.extend(whole_if(IF_EQUAL, u32::from(shed::KEPT_TCP_PORT)));
        }
        program.push((LOAD_BYTE_AT_X, 0, 0, ip + 13));
        program.extend(whole_if(IF_ANY_BIT, u32::from(shed::TURNING_FLAGS)));
        // The header's length is the high half of its byte, in words of four bytes.
        program.push((LOAD_BYTE_AT_X, 0, 0, ip + 12));
        program.extend([
            (SHIFT_RIGHT, 0, 0, 2),
            (AND, 0, 0, 0x3c),
            (ADD_X, 0, 0, 0),
            (X_IS_A, 0, 0, 0),
        ]);
        program.push((LOAD_HALF_AT_X, 0, 0, ip));
        program.extend(whole_if(IF_EQUAL, u32::from(u16::from_be_bytes(shed::TLS_HANDSHAKE))));
        program.extend(self.of_bulk(ip));
    }
}

#[cfg(test)]
mod tests;
