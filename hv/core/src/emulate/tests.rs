//! The emulator over fakes: a page of device registers at [`DEVICE`], code at [`CODE`].

extern crate std;

mod forms;
mod strings;
mod tables;

use super::*;
use crate::cpu::{SegmentName, gpr};
use crate::testkit::{FakeCpu, FakeMemory};
use std::vec::Vec;

/// The end of RAM, so that an operand can lie across.
const DEVICE: u64 = 0x10_0000;
const CODE: u64 = 0x4000;

/// A machine with a device that remembers what is written.
struct Bench {
    cpu: FakeCpu,
    gprs: Gprs,
    memory: FakeMemory,
    registers: [u8; 0x2000],
    /// Address, bytes, what was written.
    accesses: Vec<(u64, u8, Option<u64>)>,
    ports: Vec<(u16, u8, Option<u64>)>,
    cause: Cause,
}

impl Bench {
    fn new(cpu: FakeCpu) -> Self {
        let memory = FakeMemory::new(DEVICE as usize).identity();
        let mut bench = Self {
            cpu,
            gprs: Gprs::default(),
            memory,
            registers: [0; 0x2000],
            accesses: Vec::new(),
            ports: Vec::new(),
            cause: Cause::Memory,
        };
        bench.cpu.set(Register::Rip, CODE);
        bench
    }

    /// The mode's CPU. In 16-bit mode DS and ES begin at [`DEVICE`] and code at [`CODE`]; elsewhere
    /// RBX points there.
    fn of(mode: Mode) -> Self {
        let mut bench = Self::new(match mode {
            Mode::Bits16 => FakeCpu::real(),
            Mode::Bits32 => FakeCpu::protected(),
            Mode::Bits64 => FakeCpu::long(),
        });
        if mode == Mode::Bits16 {
            for (name, base) in
                [(SegmentName::Cs, CODE), (SegmentName::Ds, DEVICE), (SegmentName::Es, DEVICE)]
            {
                let segment = bench.cpu.segment(name);
                bench.cpu.set_segment(name, crate::cpu::Segment { base, ..segment });
            }
            bench.cpu.set(Register::Rip, 0);
        } else {
            bench.gprs.0[gpr::RBX] = DEVICE;
        }
        bench
    }

    /// What the device has at `offset`.
    fn device(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.registers[offset..offset + 8].try_into().unwrap())
    }

    /// Puts `code` at RIP and runs it until it ends.
    fn run(&mut self, code: &[u8]) -> Step {
        let base =
            if Mode::of(&self.cpu) == Mode::Bits64 { 0 } else { self.cpu.segment(SegmentName::Cs).base };
        self.memory.put(base + self.cpu.get(Register::Rip), code);
        self.go(None)
    }

    fn go(&mut self, bytes: Option<&[u8]>) -> Step {
        let mut machine = Machine { cpu: &mut self.cpu, gprs: &mut self.gprs, memory: &self.memory };
        let (mut emulation, mut step) = Emulation::begin(&mut machine, self.cause, bytes);
        for _ in 0..10_000 {
            let answer = match step {
                Step::Access { address, size, write } => {
                    assert_eq!(address % u64::from(size), 0, "unaligned");
                    self.accesses.push((address, size, write));
                    let at = (address.wrapping_sub(DEVICE) as usize) % 0x1ff8;
                    if let Some(value) = write {
                        let size = usize::from(size);
                        self.registers[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
                    }
                    // Rubbish above the size must not matter.
                    u64::from_le_bytes(self.registers[at..at + 8].try_into().unwrap())
                }
                Step::Port { port, size, write } => {
                    self.ports.push((port, size, write));
                    0xdead_beef_0102_0304
                }
                end => return end,
            };
            step = emulation.resume(&mut machine, answer);
        }
        panic!("an instruction without an end: {}", emulation.bytes);
    }

    fn rip(&self) -> u64 {
        self.cpu.get(Register::Rip)
    }
}

#[test]
fn an_operand_may_lie_across_the_end_of_ram() {
    let mut bench = Bench::of(Mode::Bits64);
    bench.memory.put(DEVICE - 3, &[0x11, 0x22, 0x33]);
    bench.registers[..5].copy_from_slice(&[0x44, 0x55, 0x66, 0x77, 0x88]);
    bench.gprs.0[gpr::RAX] = 1;
    // add [rbx-3], rax
    assert_eq!(bench.run(&[0x48, 0x01, 0x43, 0xfd]), Step::Done);
    assert_eq!(bench.memory.number(DEVICE - 3, 3), 0x33_2212, "added once");
    assert_eq!(bench.device(0), 0x88_7766_5544);
    let four_and_one =
        |write: bool| [(DEVICE, 4, write.then_some(0x7766_5544)), (DEVICE + 4, 1, write.then_some(0x88))];
    assert_eq!(bench.accesses, [four_and_one(false), four_and_one(true)].concat());
}

#[test]
fn every_alignment_becomes_aligned_parts() {
    for offset in 0..16 {
        let mut bench = Bench::of(Mode::Bits64);
        bench.gprs.0[gpr::RAX] = 0x8877_6655_4433_2211;
        // mov [rbx+offset], rax; mov rcx, [rbx+offset]
        assert_eq!(bench.run(&[0x48, 0x89, 0x43, offset]), Step::Done);
        assert_eq!(bench.run(&[0x48, 0x8b, 0x4b, offset]), Step::Done);
        assert_eq!(bench.gprs.0[gpr::RCX], bench.gprs.0[gpr::RAX]);
        assert_eq!(bench.device(usize::from(offset)), bench.gprs.0[gpr::RAX]);
        assert!(bench.accesses.len() <= MAX_PARTS, "{offset}");
    }
}

#[test]
fn a_page_fault_comes_before_any_access() {
    let mut bench = Bench::of(Mode::Bits64);
    // The tables end at 4 GiB.
    bench.gprs.0[gpr::RBX] = 0xffff_fffc;
    let step = bench.run(&[0x48, 0x01, 0x03]); // add [rbx], rax
    let error = Some(error_code::WRITE);
    assert_eq!(step, Step::Deliver(Event::Exception { vector: 14, error }));
    assert_eq!((bench.cpu.get(Register::Cr2), bench.rip()), (0x1_0000_0000, CODE));
    assert!(bench.accesses.is_empty());
}

#[test]
fn code_is_fetched_across_pages_only_as_far_as_it_goes() {
    let mut bench = Bench::of(Mode::Bits64);
    let last_page = FakeMemory::ROOT + 0x1000 + 8 * 3;
    bench.memory.put(last_page, &[0; 8]);
    // Identity but for the second GiB, which is RAM from 0 on: code at its end, then nothing.
    bench.memory.put(last_page - 8, &0x83_u64.to_le_bytes());
    bench.gprs.0[gpr::RBX] = DEVICE;
    bench.cpu.set(Register::Rip, 0xbfff_fffe);
    let code = [0x8b, 0x03]; // mov eax, [rbx]
    let high = FakeMemory::new(0x4000_0000).identity();
    for at in [last_page, last_page - 8] {
        high.put(at, &bench.memory.number(at, 8).to_le_bytes());
    }
    high.put(0x3fff_fffe, &code);
    bench.memory = high;
    assert_eq!(bench.go(None), Step::Done);
    assert_eq!(bench.rip(), 0xc000_0000);
    // The same with a longer instruction: mov eax, [rbx+disp8]
    bench.memory.put(0x3fff_fffe, &[0x8b, 0x43]);
    bench.cpu.set(Register::Rip, 0xbfff_fffe);
    let error = Some(error_code::FETCH);
    assert_eq!(bench.go(None), Step::Deliver(Event::Exception { vector: 14, error }));
    assert_eq!(bench.cpu.get(Register::Cr2), 0xc000_0000);
    // And with what the CPU says it has fetched.
    assert_eq!(bench.go(Some(&[0x8b, 0x43, 0x04, 0x90])), Step::Done);
    assert_eq!(bench.rip(), 0xc000_0001);
}

#[test]
fn what_is_not_known_is_named_and_changes_nothing() {
    let mut bench = Bench::of(Mode::Bits64);
    // movups [rbx], xmm0; vmovups [rbx], ymm0; call [rbx]; mov ds, [rbx]; cmpxchg16b [rbx]
    for code in [
        &[0x0f, 0x11, 0x03][..],
        &[0xc5, 0xfc, 0x11, 0x03],
        &[0xff, 0x13],
        &[0x8e, 0x1b],
        &[0x48, 0x0f, 0xc7, 0x0b],
    ] {
        let Step::Unsupported(bytes) = bench.run(code) else { panic!("{code:x?}") };
        assert!(bytes.as_slice().starts_with(code));
        assert_eq!(std::format!("{bytes}").len(), 30);
        assert_eq!(bench.rip(), CODE);
    }
    assert!(bench.accesses.is_empty(), "a device was read for an instruction that nobody finishes");
    // What does not decode: prefixes without end, AVX.
    assert!(matches!(bench.run(&[0x66; 15]), Step::Unsupported(_)));
    let code = bench.cpu.segment(SegmentName::Ss);
    let attributes = code.attributes | 3 << crate::cpu::attributes::DPL_SHIFT;
    bench.cpu.set_segment(SegmentName::Ss, crate::cpu::Segment { attributes, ..code });
    bench.memory.put(FakeMemory::ROOT + 0x1000, &0x87_u64.to_le_bytes());
    for code in [&[0x0f, 0x11, 0x03][..], &[0xc5, 0xfc, 0x11, 0x03]] {
        assert_eq!(bench.run(code), Step::Deliver(exception::UD), "a process is not its VM");
    }
}

#[test]
fn the_end_of_an_instruction_clears_and_traps() {
    let mut bench = Bench::of(Mode::Bits64);
    bench.cpu.shadow = true;
    bench.cpu.set(Register::Rflags, rflags::RF | rflags::TF | 2);
    assert_eq!(bench.run(&[0x8b, 0x03]), Step::Deliver(exception::DB)); // mov eax, [rbx]
    assert_eq!((bench.rip(), bench.cpu.shadow), (CODE + 2, false));
    assert_eq!(bench.cpu.get(Register::Rflags), rflags::TF | 2);
    assert_eq!(bench.cpu.get(Register::Dr6), 1 << 14);
    // Outside 64-bit mode RIP has 32 bits.
    let mut cpu = FakeCpu::protected();
    assert_eq!(advance_to(&mut cpu, 0x1_0000_0001), None);
    assert_eq!(cpu.get(Register::Rip), 1);
}

#[test]
fn segments_limit_and_forbid() {
    const SS: Event = Event::Exception { vector: 12, error: Some(0) };
    // Attributes and limit of DS, offset, whether a byte can be read, whether written.
    let table = [
        (0xc93, 0xffff_ffff, 0xffff_ffff, true, true),
        (0xc93, 0x0fff, 0x0fff, true, true),
        (0xc93, 0x0fff, 0x1000, false, false),
        (0xc91, 0xffff_ffff, 0, true, false),  // read-only data
        (0xc9b, 0xffff_ffff, 0, true, false),  // readable code
        (0xc99, 0xffff_ffff, 0, false, false), // code that can only be executed
        (0xc13, 0xffff_ffff, 0, false, false), // not present
        (0xc97, 0x0fff, 0x0fff, false, false), // expands down
        (0xc97, 0x0fff, 0x1000, true, true),
        (0x097, 0x0fff, 0x1_0000, false, false),
    ];
    for (attributes, limit, offset, read, written) in table {
        for (code, allowed) in [(0x8a, read), (0x88, written)] {
            let mut bench = Bench::of(Mode::Bits32);
            let segment = crate::cpu::Segment { selector: 8, attributes, limit, base: 0 };
            bench.cpu.set_segment(SegmentName::Ds, segment);
            bench.cpu.set_segment(SegmentName::Ss, segment);
            bench.gprs.0[gpr::RBX] = offset;
            let expected = |event| if allowed { Step::Done } else { Step::Deliver(event) };
            assert_eq!(bench.run(&[code, 0x03]), expected(exception::GP), "{attributes:x} {offset:x}");
            // The same by SS: [ebp+0]
            bench.gprs.0[gpr::RBP] = offset;
            assert_eq!(bench.run(&[code, 0x45, 0]), expected(SS), "{attributes:x} {offset:x}");
        }
    }
    let mut bench = Bench::of(Mode::Bits64);
    bench.gprs.0[gpr::RBX] = 0x8000_0000_0000;
    assert_eq!(bench.run(&[0x8b, 0x03]), Step::Deliver(exception::GP)); // not canonical
    bench.gprs.0[gpr::RBP] = 0x8000_0000_0000;
    assert_eq!(bench.run(&[0x8b, 0x45, 0]), Step::Deliver(SS));
}
