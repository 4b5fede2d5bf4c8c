//! Instructions: those that an exit is about, and for accesses to devices any that hv carries out, with
//! any prefixes and operands; or bytes without a meaning.

use crate::guest::{one_in, pick};
use crate::random::Random;
use crate::world::Shared;
use hv_core::cpu::{Gprs, Register, SegmentName, VirtualCpu};
use hv_core::exit::{Access, Exit, PortAccess};
use hv_core::testkit::FakeCpu;

/// Opcodes whose operand can be memory; the last ones hv does not carry out, or not in every form. Those
/// behind 0x0f are in the next table.
const OPCODES: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x08, 0x0b, 0x10, 0x13, 0x18, 0x1b, 0x20, 0x23, 0x28, 0x2b, 0x30, 0x33, 0x38,
    0x39, 0x3a, 0x3b, 0x63, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xc6, 0xc7, 0x8c, 0x8e, 0x8f,
    0xd0, 0xf6, 0xf7, 0xfe, 0xff,
];
const LONG_OPCODES: &[u8] = &[
    0xa3, 0xab, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xc3, 0x10, 0x11, 0x29, 0xae,
    0xba, 0xc7, 0x38, 0x6f, 0x7f,
];
/// How many at the ends of the tables are of that kind.
const DOUBTFUL: (usize, usize) = (10, 9);
const STRINGS: &[u8] = &[0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];

/// Puts the instruction that `exit` is about where RIP is, and answers its bytes.
pub fn at_rip(
    random: &mut Random,
    exit: Exit,
    cpu: &mut FakeCpu,
    gprs: &Gprs,
    shared: &Shared,
    code: u64,
) -> Vec<u8> {
    let long = cpu.segment(SegmentName::Cs).attributes & 0x200 != 0;
    // A kernel that does what hv does not know ends its VM: seldom, or no VM would get old.
    let kernel = cpu.segment(SegmentName::Ss).attributes & 0x60 != 0x60;
    let doubtful = !kernel || one_in(random, 32);
    let mut bytes = match exit {
        _ if doubtful && one_in(random, 4) => anything(random),
        Exit::Memory(_) if one_in(random, 4) => string(random, STRINGS),
        Exit::Memory(_) => operand(random, long, doubtful),
        Exit::Port(port) if port.string => ins_outs(random, port),
        Exit::Control(..) => control(random, gprs),
        Exit::Xsetbv => vec![0x0f, 0x01, 0xd1],
        Exit::Pause => vec![0xf3, 0x90],
        Exit::WriteBack => vec![0x0f, 0x09],
        Exit::Invalidate => vec![0x0f, 0x08],
        Exit::InterruptWindow => vec![0xf4],
        _ => anything(random),
    };
    bytes.resize(bytes.len().max(15), 0x90);
    // At the end of a page now and then, and now and then nowhere.
    let rip = match random.below(256) {
        0 => random.next() >> random.below(64),
        1..=40 => code + 0x1000 - random.below(16),
        _ => code + random.below(0x100),
    };
    cpu.set(Register::Rip, rip);
    let base = if long { 0 } else { cpu.segment(SegmentName::Cs).base };
    let place = rip.wrapping_add(base);
    if (code..code + 0x2000).contains(&place) {
        shared.memory.put(place, &bytes);
        if exit == Exit::InterruptWindow && one_in(random, 2) {
            shared.memory.put(place - 1, &[0xfb]);
        }
    }
    bytes
}

fn anything(random: &mut Random) -> Vec<u8> {
    (0..15).map(|_| random.next() as u8).collect()
}

fn string(random: &mut Random, opcodes: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (prefixes, times) in [(&[0x66][..], 4), (&[0x67], 8), (&[0xf2, 0xf3, 0xf3], 2), (&[0x48, 0x40], 4)] {
        if one_in(random, times) {
            bytes.push(pick(random, prefixes));
        }
    }
    bytes.push(pick(random, opcodes));
    bytes
}

fn ins_outs(random: &mut Random, port: PortAccess) -> Vec<u8> {
    let mut bytes = if port.repeat { vec![0xf3] } else { Vec::new() };
    if port.size == 2 {
        bytes.push(0x66);
    }
    let wide = u8::from(port.size != 1);
    let right = if port.access == Access::Read { 0x6c } else { 0x6e } | wide;
    bytes.push(if one_in(random, 64) { pick(random, &[0x6c, 0x6d, 0x6e, 0x6f, 0xa4]) } else { right });
    bytes
}

/// `MOV CR4` from a register, and its neighbours.
fn control(random: &mut Random, gprs: &Gprs) -> Vec<u8> {
    let from = random.below(gprs.0.len() as u64 / 2) as u8;
    match random.below(8) {
        0 => vec![0x0f, 0x20 + random.below(4) as u8, 0xc0 | random.below(64) as u8],
        1 => vec![0x0f, 0x06],
        2 => vec![0x66, 0x0f, 0x22, 0xe0 | from],
        _ => vec![0x0f, 0x22, 0xe0 | from],
    }
}

/// An instruction with an operand in memory: prefixes, opcode, ModRM, small displacement, immediate.
fn operand(random: &mut Random, long: bool, doubtful: bool) -> Vec<u8> {
    let sound = |table: &'static [u8], doubtful: usize| &table[..table.len() - doubtful];
    let mut bytes = Vec::new();
    while one_in(random, 4) {
        bytes.push(pick(random, &[0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]));
    }
    if long && one_in(random, 2) {
        bytes.push(0x40 | random.below(16) as u8);
    }
    if one_in(random, 3) {
        let opcode = pick(random, if doubtful { LONG_OPCODES } else { sound(LONG_OPCODES, DOUBTFUL.1) });
        bytes.extend([0x0f, opcode]);
        if opcode == 0x38 {
            bytes.push(0xf0 | random.below(2) as u8);
        }
    } else {
        bytes.push(pick(random, if doubtful { OPCODES } else { sound(OPCODES, DOUBTFUL.0) }));
    }
    // Seldom a register instead of memory.
    let form = if doubtful && one_in(random, 16) { 3 } else { random.below(3) as u8 };
    bytes.push(form << 6 | random.below(64) as u8);
    if one_in(random, 2) {
        bytes.push(random.below(32) as u8);
        bytes.extend([0; 3]);
    }
    bytes.extend((0..4).map(|_| random.next() as u8));
    bytes
}
