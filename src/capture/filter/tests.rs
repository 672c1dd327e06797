//! The kernel's program is run here by an interpreter, and must say of each frame what the Rust code says.

use super::*;
use crate::decode::Frame;
use crate::time::Timestamp;

/// Runs a program over what the kernel has of a frame. Returns the length at which it passes.
fn run(program: &[Instruction], data: &[u8], wire: u32, kind: u16, interface: u32) -> u32 {
    run_with(program, data, wire, kind, [interface, 1])
}

fn run_with(program: &[Instruction], data: &[u8], wire: u32, kind: u16, known: [u32; 2]) -> u32 {
    let (mut a, mut x, mut cell, mut at) = (0_u32, 0_u32, 0_u32, 0_usize);
    let load = |place: u32, bytes: usize| -> Option<u32> {
        match place {
            PROTOCOL => Some(u32::from(kind)),
            INTERFACE => Some(known[0]),
            RANDOM => Some(known[1]),
            _ => {
                let bytes = data.get(place as usize..place as usize + bytes)?;
                Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
            }
        }
    };
    loop {
        let (code, yes, no, operand) = program[at];
        at += 1;
        let mut branch = |holds: bool| at += usize::from(if holds { yes } else { no });
        match code {
            RETURN => return operand,
            IF_EQUAL => branch(a == operand),
            IF_AT_LEAST => branch(a >= operand),
            IF_ANY_BIT => branch(a & operand != 0),
            GO => at += operand as usize,
            LOAD_LENGTH => a = wire,
            LOAD_BYTE | LOAD_HALF | LOAD_WORD | LOAD_BYTE_AT_X | LOAD_HALF_AT_X => {
                let (bytes, place) = match code {
                    LOAD_BYTE => (1, operand),
                    LOAD_HALF => (2, operand),
                    LOAD_WORD => (4, operand),
                    LOAD_BYTE_AT_X => (1, x + operand),
                    _ => (2, x + operand),
                };
                // Behind the end: dropped.
                let Some(loaded) = load(place, bytes) else { return 0 };
                a = loaded;
            }
            X_IS_HEADER_LENGTH => x = (u32::from(data[operand as usize]) & 0xf) * 4,
            LOAD_KEPT => a = cell,
            KEEP => cell = a,
            X_IS => x = operand,
            X_IS_A => x = a,
            ADD_X => a = a.wrapping_add(x),
            AND => a &= operand,
            SHIFT_RIGHT => a >>= operand,
            MULTIPLY => a = a.wrapping_mul(operand),
            _ => panic!("{code:#x}"),
        }
    }
}

const WHOLE: u32 = 65_550;

fn filter(stage: Stage) -> Filter {
    let (left_out, share) = (BTreeSet::new(), None);
    Filter { snaplen_bytes: WHOLE, left_out, share, stage, bulk_bytes: 1_000 }
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % below
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len())]
    }
}

/// An IP packet that comes close to every border of the rule.
fn packet(numbers: &mut Numbers) -> (u16, Vec<u8>) {
    let mut bytes = Vec::new();
    let v4 = numbers.next(2) == 0;
    let protocol = numbers.one_of(&[6, 6, 6, 17, 17, 1, 47]);
    if v4 {
        let words = numbers.one_of(&[5, 5, 6, 15]);
        bytes.resize(words * 4, 0);
        bytes[0] = 0x40 | words as u8;
        bytes[6..8].copy_from_slice(&numbers.one_of(&[[0x40, 0], [0, 0], [0x20, 0], [0, 9]]));
        bytes[9] = protocol;
    } else {
        bytes.resize(40, 0);
        bytes[0] = 0x60;
        bytes[6] = protocol;
    }
    for _ in 0..2 {
        let port: u16 = numbers.one_of(&[53, 443, 40_000, 4_789, 8_472, 6_081, 5_353, 52, 54]);
        bytes.extend(port.to_be_bytes());
    }
    let first = numbers.one_of(&[[0x16, 0x03], [0x17, 0x03], [0x16, 0x04], [0xc0, 0], [0x40, 0]]);
    if protocol == 6 {
        let words = numbers.one_of(&[5, 8, 15]);
        bytes.extend([0; 8]);
        bytes.extend([words << 4, numbers.one_of(&[0x10, 0x18, 0x11, 0x02, 0x12, 0x14])]);
        bytes.extend(vec![0; usize::from(words) * 4 - 14]);
    } else {
        bytes.extend([0; 4]);
    }
    bytes.extend(first);
    let length = numbers.one_of(&[60, 999, 1_000, 1_001, 1_500]);
    bytes.resize(length.max(bytes.len()), 0xaa);
    let kind = if v4 { 0x0800 } else { 0x86dd };
    (numbers.one_of(&[kind, kind, kind, kind, 0x0806]), bytes)
}

#[test]
fn kernel_and_program_agree_on_what_is_bulk() {
    let filter = filter(Stage::Cut);
    let mut numbers = Numbers(7);
    let mut cut = 0;
    for _ in 0..20_000 {
        let (kind, packet) = packet(&mut numbers);
        for link_type in [LinkType::Ethernet, LinkType::LinuxSll2] {
            let mut header = vec![0; if link_type == LinkType::Ethernet { 14 } else { 20 }];
            let place = if link_type == LinkType::Ethernet { 12 } else { 0 };
            header[place..place + 2].copy_from_slice(&kind.to_be_bytes());
            let frame_bytes = [&header[..], &packet].concat();
            let frame = Frame {
                at: Timestamp::default(),
                link_type,
                wire_bytes: frame_bytes.len() as u32,
                bytes: &frame_bytes,
            };
            let here = shed::bulk_at(&frame, 1_000).is_some();
            let data = if link_type == LinkType::Ethernet { &frame_bytes } else { &packet };
            let program = filter.program(link_type);
            let passed = run(&program, data, data.len() as u32, kind, 3);
            let kept = data.len() - packet.len() + shed::KEPT_BYTES as usize;
            let there = if here { kept as u32 } else { WHOLE };
            assert_eq!(passed, there, "{link_type:?} {kind:#x} {packet:x?}");
            cut += usize::from(here);
            let program = self::filter(Stage::Drop).program(link_type);
            let passed = [16, 17]
                .map(|random| run_with(&program, data, data.len() as u32, kind, [3, random]));
            let there = if here { [kept as u32 - 8, 0] } else { [WHOLE; 2] };
            assert_eq!(passed, there, "one of sixteen is passed on");
        }
    }
    assert!((1_000..20_000).contains(&cut), "{cut}");
}

#[test]
fn interfaces_are_shared_out_and_left_out() {
    let filter =
        Filter { left_out: [4, 7, 300].into(), share: Some((1, 3)), ..filter(Stage::Drop) };
    let program = filter.program(LinkType::LinuxSll2);
    let passes = |index| run(&program, &[0; 60], 60, 0x0800, index) == WHOLE;
    for index in 0..400 {
        let expected = share_of(index, 3) == 1 && ![4, 7, 300].contains(&index);
        assert_eq!(passes(index), expected, "{index}");
    }
}

#[test]
fn interfaces_are_shared_out_evenly_however_they_are_numbered() {
    for of in [2, 3, 4, 16] {
        for step in 1..=8 {
            for first in [1, 1_000, 4_000_000_000] {
                let mut counts = vec![0_u32; of as usize];
                for number in 0..of * 10 {
                    counts[share_of(first + number * step, of) as usize] += 1;
                }
                let within = counts.iter().all(|count| (6..=15).contains(count));
                assert!(within, "of {of}, every {step}th from {first} on: {counts:?}");
            }
        }
    }
}

#[test]
fn the_longest_program_is_within_the_kernels_bound() {
    let filter =
        Filter { left_out: (0..256).collect(), share: Some((0, 4)), ..filter(Stage::Drop) };
    assert!(filter.program(LinkType::LinuxSll2).len() <= 4_096);
}
