//! What a guest does between two exits: it may set every register and all of its RAM to anything.
//!
//! Mostly it does what reaches far into hv: page tables that lead somewhere, instructions on
//! addresses where devices are, numbers of MSRs that exist. Now and then it does anything at all.

use crate::code;
use crate::random::Random;
use crate::world::{RAM, Shared};
use hv_core::cpu::{Event, Gprs, Register, Segment, SegmentName, VirtualCpu, gpr};
use hv_core::exit::{Access, ControlRegister, Exit, NestedFault, PortAccess};
use hv_core::testkit::FakeCpu;
use hv_core::vlapic::Vlapic;
use hv_defs::apic::io;
use hv_defs::control::{cr0, cr4, rflags};
use hv_defs::msr::efer;

/// Roots of page tables: of long mode (all for the kernel; with pages for programs; nonsense), of
/// PAE, of 32 bits.
const LONG_ROOTS: [u64; 4] = [FAKE_ROOT, 0x3000, 0x3000, 0xc000];
const FAKE_ROOT: u64 = hv_core::testkit::FakeMemory::ROOT;
const PAE_ROOT: u64 = 0x7000;
const LEGACY_ROOT: u64 = 0xa000;
/// Where instructions are put, and data.
const CODE: u64 = 0x2_0000;
const DATA: u64 = 0x3_0000;
const APIC: u64 = 0xfee0_0000;

/// One of several.
pub fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

pub fn one_in(random: &mut Random, times: u64) -> bool {
    random.below(times) == 0
}

/// A number of any magnitude.
pub fn number(random: &mut Random) -> u64 {
    random.next() >> random.below(64)
}

/// Puts page tables into a VM's RAM.
pub fn build_tables(random: &mut Random, shared: &Shared) {
    let put = |address: u64, value: u64| shared.memory.put(address, &value.to_le_bytes());
    let put_half = |address: u64, value: u64| shared.memory.put(address, &(value as u32).to_le_bytes());
    // Long mode: PML4 at 0x3000, PDPT 0x4000, PD 0x5000, PT 0x6000, which the others use too.
    for entry in [0, 511] {
        put(0x3000 + entry * 8, 0x4007);
        put(0x4000 + entry * 8, 0x5007);
    }
    put(0x4018, 0xc000_0087);
    put(0x5000, 0x6007);
    put(0x5008, 0x87);
    for page in 0..512 {
        let rights = if one_in(random, 8) { random.below(128) } else { 7 };
        let frame =
            if one_in(random, 16) { pick(random, &[APIC, io::PAGE, 0xf000_0000]) } else { page << 12 };
        let extra = if one_in(random, 16) { 1 << random.below(64) } else { 0 };
        put(0x6000 + page * 8, frame | rights | extra);
        put_half(0xb000 + page * 4, frame | rights);
    }
    // PAE: root at 0x7000, for 0 and for 3 GiB; 32 bits: directory at 0xa000, table 0xb000.
    put(PAE_ROOT, 0x8001);
    put(PAE_ROOT + 24, 0x9001);
    put(0x8000, 0x6007);
    for large in [0x1f6, 0x1f7] {
        put(0x9000 + large * 8, 0xc000_0087 + (large << 21));
    }
    put_half(LEGACY_ROOT, 0xb007);
    put_half(LEGACY_ROOT + 0x3fb * 4, 0xfec0_0087);
    // Large pages anywhere below 2⁴⁰.
    for entry in 1..64 {
        put_half(LEGACY_ROOT + entry * 4, random.next() & 0xffff_e07f | 0x81);
    }
    // Nonsense that leads to itself.
    for at in (0xc000..0xe000).step_by(8) {
        let far = number(random) & 0x000f_ffff_ffff_f000;
        let frame = pick(random, &[0xc000, 0xd000, 0xc000, APIC, far]);
        let extra = if one_in(random, 8) { 1 << random.below(64) } else { 0 };
        put(at, frame | random.below(256) | extra);
    }
}

/// A new state of the CPU: a mode of its own, all in it random within what the CPU itself enforces.
pub fn state(random: &mut Random, cpu: &mut FakeCpu, shared: &Shared) {
    let level = random.below(2) * 3;
    let data = |attributes: u16| attributes | (level as u16) << 5;
    let wide = random.below(2) == 1;
    let (control, extended, tables, code) = match random.below(8) {
        0..=2 => (cr0::PG, efer::LONG_MODE_ENABLE | efer::LONG_MODE_ACTIVE, pick(random, &LONG_ROOTS), 0x29b),
        3 => (cr0::PG, efer::LONG_MODE_ENABLE | efer::LONG_MODE_ACTIVE, pick(random, &LONG_ROOTS), 0xc9b),
        4 if wide => (cr0::PG, 0, PAE_ROOT, 0xc9b),
        4 => (cr0::PG, 0, LEGACY_ROOT, 0xc9b),
        5 => (0, 0, 0, pick(random, &[0xc9b, 0x9b])),
        _ => (0, 0, 0, 0x9b),
    };
    let protected = control != 0 || code == 0xc9b;
    let long = extended != 0;
    let possible = shared.policy.cr4 & !(cr4::PAE | cr4::PCIDE);
    let pae = if long || tables == PAE_ROOT { cr4::PAE } else { 0 };
    let protection = if protected { cr0::PE } else { 0 };
    let flags = 2 | random.next() & (rflags::STATUS | rflags::DF | rflags::AC | rflags::RF);
    let v8086 = if !long && protected && one_in(random, 8) { rflags::VM } else { 0 };
    let trap = if one_in(random, 8) { rflags::TF } else { 0 };
    let interrupts = if one_in(random, 3) { 0 } else { rflags::IF };
    let no_execute = random.next() & shared.policy.efer & efer::NO_EXECUTE_ENABLE;
    cpu.set(Register::Cr0, control | protection | cr0::ET | random.next() & cr0::WP);
    cpu.set(Register::Cr3, if one_in(random, 32) { number(random) & 0xff_ffff_ffff_f018 } else { tables });
    cpu.set(Register::Cr4, random.next() & possible | pae);
    cpu.set(Register::Efer, extended | no_execute);
    cpu.set(Register::Rflags, flags | v8086 | trap | interrupts);
    let limit = if code == 0x9b { 0xffff } else { u32::MAX };
    for name in [SegmentName::Es, SegmentName::Ss, SegmentName::Ds, SegmentName::Fs, SegmentName::Gs] {
        let base = if one_in(random, 4) { number(random) & 0xffff_ffff } else { 0 };
        let kind = if one_in(random, 8) { random.next() as u16 & 0xdf } else { 0xc93 };
        let limit = if one_in(random, 8) { random.next() as u32 } else { limit };
        cpu.set_segment(name, Segment { selector: 0, attributes: data(kind & !0x60), limit, base });
    }
    cpu.set_segment(
        SegmentName::Cs,
        Segment { selector: 8, attributes: data(code), limit: u32::MAX, base: 0 },
    );
}

/// An address that leads somewhere.
fn address(random: &mut Random) -> u64 {
    let apic = pick(random, &[0x20, 0x80, 0xb0, 0xd0, 0xe0, 0xf0, 0x280, 0x300, 0x310, 0x320, 0x380, 0x3e0]);
    match random.below(12) {
        0..=2 => APIC + apic,
        3 => APIC + random.below(0x1010),
        4 | 5 => io::PAGE + pick(random, &[0, 0x10, 0x40]),
        6 => 0xf000_0000 + random.below(0x100),
        7 => DATA + random.below(0x1000),
        8 => 0x1000 * random.below(0x40) + 0x1000 - random.below(16),
        9 => RAM - 8 + random.below(16),
        10 => {
            pick(random, &[0xffff_fff0, 0x7fff_ffff_fff8, 0xffff_8000_0000_0000, u64::MAX]) + random.below(1)
        }
        _ => number(random),
    }
}

fn value(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => pick(random, &[0x1ff, 0x2_00fe, 0x4_00fd, 0x31, 0xc_4031, 0x4_4500, 0x608, 0x4400, 0x1_8041]),
        1 => random.below(256),
        2 => address(random),
        _ => number(random),
    }
}

/// What no CPU would ever be in.
pub fn nonsense(random: &mut Random, cpu: &mut FakeCpu) {
    for name in [Register::Cr0, Register::Cr3, Register::Cr4, Register::Efer, Register::Rflags] {
        cpu.set(name, number(random));
    }
    for name in [SegmentName::Cs, SegmentName::Ss, SegmentName::Ds, SegmentName::Es, SegmentName::Fs] {
        let (attributes, limit) = (random.next() as u16, random.next() as u32);
        cpu.set_segment(name, Segment { selector: 0, attributes, limit, base: number(random) });
    }
}

pub fn registers(random: &mut Random, gprs: &mut Gprs) {
    for register in &mut gprs.0 {
        if one_in(random, 2) {
            *register = if one_in(random, 3) { value(random) } else { address(random) };
        }
    }
    gprs.0[gpr::RCX] = if one_in(random, 2) { random.below(200) } else { gprs.0[gpr::RCX] };
}

/// An MSR's number.
fn msr(random: &mut Random) -> u32 {
    const KNOWN: [u32; 30] = [
        0x10,
        0x11,
        0x12,
        0x1b,
        0x3b,
        0x48,
        0x49,
        0x8b,
        0xfe,
        0x174,
        0x175,
        0x176,
        0x1a0,
        0x1d9,
        0x200,
        0x250,
        0x277,
        0x2ff,
        0x6e0,
        0xda0,
        0x4b56_4d00,
        0x4b56_4d01,
        0x4b56_4d04,
        0xc000_0080,
        0xc000_0081,
        0xc000_0082,
        0xc000_0100,
        0xc000_0101,
        0xc000_0102,
        0xc000_0103,
    ];
    match random.below(8) {
        0..=3 => pick(random, &KNOWN),
        4 | 5 => 0x800 + random.below(0x40) as u32,
        6 => pick(random, &[0, 0xc000_0000, 0xc001_0000, 0xc001_1000]) + random.below(0x300) as u32,
        _ => number(random) as u32,
    }
}

/// Which exit comes next, with all that it needs in place; and the bytes that the CPU has saved.
pub fn exit(
    random: &mut Random,
    cpu: &mut FakeCpu,
    gprs: &mut Gprs,
    shared: &Shared,
    apic: &Vlapic,
) -> (Exit, Option<Vec<u8>>) {
    let exit = match random.below(32) {
        0 | 1 => Exit::Cpuid,
        2..=5 => Exit::Msr(if one_in(random, 3) { Access::Read } else { Access::Write }),
        6 | 7 => Exit::Hypercall,
        8..=11 => Exit::Port(port(random)),
        12..=21 => Exit::Memory(nested(random)),
        22 => Exit::Xsetbv,
        23 => Exit::Control(ControlRegister::Cr4, Access::Write),
        24 => Exit::InterruptWindow,
        25 => Exit::Iret,
        26 => Exit::Halt,
        27 => pick(random, &[Exit::HostInterrupt, Exit::HostNmi, Exit::HostInit, Exit::HostSmi]),
        28 => pick(random, &[Exit::Pause, Exit::WriteBack, Exit::Invalidate]),
        29 => pick(random, &[Exit::MonitorWait, Exit::NoSuchInstruction, Exit::PerformanceCounter]),
        30 => exception(random),
        _ if one_in(random, 16) => fatal(random),
        _ => Exit::HostInterrupt,
    };
    match exit {
        Exit::Cpuid => {
            let base = pick(random, &[0, 0, 0x4000_0000, 0x8000_0000, 0x8000_0000]);
            gprs.0[gpr::RAX] = if one_in(random, 16) { random.next() } else { base + random.below(0x24) };
            gprs.0[gpr::RCX] = if one_in(random, 8) { random.next() } else { random.below(9) };
        }
        Exit::Msr(_) => set_msr(random, gprs),
        Exit::Hypercall if one_in(random, 2) => {
            gprs.0[gpr::RAX] = 10;
            gprs.0[gpr::RBX] = number(random);
            gprs.0[gpr::RDX] = if one_in(random, 4) { number(random) } else { 0 };
            gprs.0[gpr::RSI] =
                pick(random, &[0x31, 0x61, 0x91, 0xf1, 0x400, 0x500, 0x69f, 0x69f, 0x131, 0xc0_0031, 5]);
        }
        Exit::Xsetbv => {
            gprs.0[gpr::RCX] = u64::from(one_in(random, 8));
            gprs.set_edx_eax(if one_in(random, 4) { number(random) } else { random.below(256) });
        }
        Exit::Control(..) => {
            let value = cpu.get(Register::Cr4) ^ 1 << random.below(34);
            gprs.0[random.below(8) as usize] = value;
        }
        _ => {}
    }
    let mut bytes = code::at_rip(random, exit, cpu, gprs, shared, CODE);
    if let Exit::Memory(_) = exit
        && let Some(plain) = apic_access(random, cpu, gprs, shared, apic)
    {
        bytes = plain;
    }
    let next = cpu.get(Register::Rip).wrapping_add(1 + random.below(15));
    cpu.set(Register::NextRip, if one_in(random, 4) { next } else { 0 });
    let exit = match exit {
        Exit::Port(port) => Exit::Port(PortAccess { next_rip: next, ..port }),
        exit => exit,
    };
    // The CPU saves the bytes, or has not, or has too few of them.
    let saved = match random.below(256) {
        0 => Some(bytes[..random.below(bytes.len() as u64 + 1) as usize].to_vec()),
        1..80 => Some(bytes),
        _ => None,
    };
    (exit, saved.filter(|_| matches!(exit, Exit::Memory(_) | Exit::Control(..))))
}

fn set_msr(random: &mut Random, gprs: &mut Gprs) {
    gprs.set_low(gpr::RCX, msr(random));
    let value = match gprs.low(gpr::RCX) {
        0x1b => APIC | random.below(16) << 8,
        0x830 => random.below(4) << 32 | value(random),
        0x80f | 0x80b if one_in(random, 2) => 0,
        0x6e0 => (1 << 40) + number(random),
        0x277 => 0x0007_0406_0007_0406 ^ 1 << random.below(64),
        0xc000_0080 => random.next() & 0x7d01,
        _ => value(random),
    };
    gprs.set_edx_eax(value);
}

/// Now and then a plain access of a kernel's to its local APIC: `MOV [RBX], EAX`, long mode.
fn apic_access(
    random: &mut Random,
    cpu: &mut FakeCpu,
    gprs: &mut Gprs,
    shared: &Shared,
    apic: &Vlapic,
) -> Option<Vec<u8>> {
    const MOV: [u8; 2] = [0x89, 0x03];
    let page = apic.page().filter(|_| one_in(random, 2))?;
    let (register, value) = match random.below(10) {
        0..=3 => (0xb0, 0),
        4 => (0x80, random.below(256)),
        5 => (0xf0, 0x1ff),
        6 | 7 => (0x300, pick(random, &[0, 0x4_0000, 0x8_0000, 0xc_0000]) | (16 + random.below(240))),
        8 => (0x320, pick(random, &[0, 0x2_0000, 0x4_0000]) | (16 + random.below(240))),
        _ => (0x380, number(random)),
    };
    let kernel = FakeCpu::long();
    for name in [SegmentName::Cs, SegmentName::Ss, SegmentName::Ds] {
        cpu.set_segment(name, kernel.segment(name));
    }
    for name in [Register::Cr0, Register::Cr3, Register::Cr4, Register::Efer] {
        cpu.set(name, kernel.get(name));
    }
    cpu.set(Register::Rip, CODE);
    gprs.0[gpr::RBX] = page + register;
    gprs.0[gpr::RAX] = value;
    shared.memory.put(CODE, &MOV);
    Some(MOV.to_vec())
}

fn port(random: &mut Random) -> PortAccess {
    PortAccess {
        port: if one_in(random, 3) { 0x606 + random.below(8) as u16 } else { random.next() as u16 },
        size: pick(random, &[1, 2, 4]),
        access: pick(random, &[Access::Read, Access::Write]),
        string: one_in(random, 2),
        repeat: one_in(random, 2),
        next_rip: 0,
    }
}

fn nested(random: &mut Random) -> NestedFault {
    NestedFault {
        address: address(random) & 0xf_ffff_ffff_ffff,
        access: pick(random, &[Access::Read, Access::Write]),
        fetch: one_in(random, 500),
        present: one_in(random, 2),
        in_page_walk: one_in(random, 500),
    }
}

fn exception(random: &mut Random) -> Exit {
    let vector =
        pick(random, &[0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 28, 29, 30]);
    Exit::Exception { vector, error: random.next() as u32, address: address(random) }
}

/// What ends a VM.
fn fatal(random: &mut Random) -> Exit {
    match random.below(7) {
        0 => Exit::Shutdown,
        1 => Exit::TaskSwitch,
        2 => Exit::Invalid,
        3 => Exit::Unknown(random.next()),
        4 => Exit::Debug(random.below(16) as u8, pick(random, &[Access::Read, Access::Write])),
        5 => Exit::TimeStamp,
        _ => {
            let register = pick(random, &[ControlRegister::Cr0, ControlRegister::Cr3, ControlRegister::Cr8]);
            Exit::Control(register, pick(random, &[Access::Read, Access::Write]))
        }
    }
}

/// What was being delivered when the guest stopped: what was given to it, or anything that `INT n`
/// and faults can make.
pub fn interrupted(random: &mut Random, given: Option<Event>) -> Option<Event> {
    match random.below(32) {
        0..=3 => given,
        4 => Some(Event::SoftwareInterrupt(random.next() as u8)),
        5 => Some(Event::Exception { vector: 14, error: Some(random.next() as u32) }),
        6 => Some(Event::Nmi),
        7 => Some(Event::Interrupt(16 + random.below(240) as u8)),
        _ => None,
    }
}
