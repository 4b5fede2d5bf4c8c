//! From bytes to instruction: fetch, full decode, and the short ways for the few instructions that
//! exits are about.

use super::{GuestMemory, Intent, Machine, PageFault, Paging, Step};
use crate::cpu::{Register, SegmentName, VirtualCpu, attributes};
use crate::exit::{Access, ControlRegister};
use core::fmt;
use hv_defs::msr::efer;
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

/// No instruction is longer. APM 3, 1.1.
const LONGEST: usize = 15;

/// The bytes of one instruction, or as many as could be fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Bytes {
    /// The first 15 of `from`.
    pub fn new(from: &[u8]) -> Self {
        let mut bytes = Self::default();
        let taken = from.iter().zip(&mut bytes.bytes).map(|(from, to)| *to = *from).count();
        bytes.length = taken as u8;
        bytes
    }

    /// As a slice.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Bytes as they stand in a VM's reason to stop.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How wide operands and addresses are without prefixes. APM 3, 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real and virtual-8086 mode, 16-bit segments.
    Bits16,
    /// 32-bit segments.
    Bits32,
    /// 64-bit code.
    Bits64,
}

impl Mode {
    /// That `cpu` is in.
    pub fn of(cpu: &impl VirtualCpu) -> Self {
        let code = cpu.segment(SegmentName::Cs).attributes;
        let long = cpu.get(Register::Efer) & efer::LONG_MODE_ACTIVE != 0;
        match (long && code & attributes::LONG != 0, code & attributes::BIG != 0) {
            (true, _) => Self::Bits64,
            (_, true) => Self::Bits32,
            _ => Self::Bits16,
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::Bits16 => 16,
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }
}

/// Has the decoder build its tables: once, before any guest runs. They are the only thing in hv
/// that takes memory from its arena.
pub fn prepare() {
    let _ = decode(&[0x90], Mode::Bits64);
}

fn decode(bytes: &[u8], mode: Mode) -> Result<Instruction, DecoderError> {
    let mut decoder = Decoder::new(mode.bits(), bytes, DecoderOptions::NONE);
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => Ok(instruction),
        error => Err(error),
    }
}

/// The instruction at RIP.
pub(super) fn at_rip<C: VirtualCpu, M: GuestMemory>(
    machine: &mut Machine<C, M>,
    given: Option<&[u8]>,
) -> Result<(Instruction, Bytes), Step> {
    let (bytes, rest) = match given {
        Some(given) if !given.is_empty() => (Bytes::new(given), None),
        _ => fetch(machine.cpu, machine.memory).map_err(|fault| Step::Deliver(fault.event(machine.cpu)))?,
    };
    let mode = Mode::of(machine.cpu);
    let rip = machine.cpu.get(Register::Rip);
    let mut decoder = Decoder::with_ip(mode.bits(), bytes.as_slice(), rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    match (decoder.last_error(), rest) {
        (DecoderError::None, _) => Ok((instruction, bytes)),
        // It goes on where the guest has no page.
        (DecoderError::NoMoreBytes, Some(fault)) => Err(Step::Deliver(fault.event(machine.cpu))),
        _ => Err(Step::Unsupported(bytes)),
    }
}

/// The bytes at RIP, and the fault that kept the page after them from being read. No bytes: RIP is
/// not in RAM.
///
/// # Errors
/// The fault of the page that RIP is in.
pub fn fetch(
    cpu: &impl VirtualCpu,
    memory: &impl GuestMemory,
) -> Result<(Bytes, Option<PageFault>), PageFault> {
    let mode = Mode::of(cpu);
    let base = if mode == Mode::Bits64 { 0 } else { cpu.segment(SegmentName::Cs).base };
    let start = base.wrapping_add(cpu.get(Register::Rip));
    let start = if mode == Mode::Bits64 { start } else { start & 0xffff_ffff };
    let paging = Paging::of(cpu);
    let mut bytes = Bytes::default();
    let here = ((0x1000 - (start & 0xfff)) as usize).min(LONGEST);
    let (head, tail) = bytes.bytes.split_at_mut(here);
    if !memory.read(paging.translate(memory, start, Intent::Fetch)?, head) {
        return Ok((Bytes::default(), None));
    }
    bytes.length = here as u8;
    if tail.is_empty() {
        return Ok((bytes, None));
    }
    match paging.translate(memory, start.wrapping_add(here as u64), Intent::Fetch) {
        Ok(address) if memory.read(address, tail) => bytes.length = LONGEST as u8,
        Ok(_) => {}
        Err(fault) => return Ok((bytes, Some(fault))),
    }
    Ok((bytes, None))
}

/// What follows the prefixes, and their number; of REX the bits. APM 3, 1.2.
fn opcode(bytes: &[u8], mode: Mode) -> (usize, u8, &[u8]) {
    let legacy = |byte: &&u8| {
        matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3)
    };
    let count = bytes.iter().take(LONGEST).take_while(legacy).count();
    let rest = bytes.get(count..).unwrap_or_default();
    match rest {
        [rex @ 0x40..=0x4f, rest @ ..] if mode == Mode::Bits64 => (count + 1, *rex, rest),
        _ => (count, 0, rest),
    }
}

/// The length of the instruction that `bytes` begin with.
///
/// For those that exits are about this is a look at the opcode; others are decoded. So `RDTSC` and
/// `RDTSCP` are told apart however the exit calls them.
pub fn length_of(bytes: &[u8], mode: Mode) -> Option<u8> {
    let (prefixes, _, rest) = opcode(bytes, mode);
    let length = match rest {
        // NOP (PAUSE), HLT
        [0x90 | 0xf4, ..] => 1,
        // CLTS, INVD, WBINVD, WRMSR, RDTSC, RDMSR, RDPMC, CPUID, RSM
        [0x0f, 0x06 | 0x08 | 0x09 | 0x30..=0x33 | 0xa2 | 0xaa, ..] => 2,
        // VMMCALL, XSETBV, MONITOR, RDTSCP and all the others with a register form's ModRM byte;
        // MOV to and from control and debug registers, which ignore ModRM's upper bits
        [0x0f, 0x01, 0xc0..=0xff, ..] | [0x0f, 0x20..=0x23, _, ..] => 3,
        _ => return decode(bytes, mode).ok().map(|instruction| instruction.len() as u8),
    };
    let length = prefixes + length;
    (length <= LONGEST).then_some(length as u8)
}

/// A register that only the kernel moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A control register.
    Control(ControlRegister),
    /// CR2 or another that hv has no part in, by number.
    OtherControl(u8),
    /// A debug register, by number.
    Debug(u8),
    /// CR0 by `CLTS`; no other register has a part.
    TaskSwitched,
    /// The low half of CR0, by `LMSW` from a register.
    StatusWord,
}

/// An intercepted instruction on a control or debug register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlMove {
    /// The special register.
    pub target: Target,
    /// The general-purpose register: an index of [`crate::cpu::Gprs`].
    pub gpr: usize,
    /// From it is a read.
    pub access: Access,
    /// Bytes of the instruction.
    pub length: u8,
}

/// Which registers an intercepted `MOV CRn`, `MOV DRn`, `CLTS` or `LMSW` moves. APM 3, chapter 4.
pub fn decode_control_move(bytes: &[u8], mode: Mode) -> Option<ControlMove> {
    let (prefixes, rex, rest) = opcode(bytes, mode);
    let (target, gpr, access, length) = match *rest {
        [0x0f, 0x06, ..] => (Target::TaskSwitched, 0, Access::Write, 2),
        [0x0f, 0x01, modrm @ (0xf0..=0xf7), ..] => (Target::StatusWord, modrm & 7, Access::Write, 3),
        [0x0f, code @ 0x20..=0x23, modrm, ..] => {
            // LOCK stands for REX.R where there is no REX (CPUID: AltMovCr8). APM 3, MOV CRn.
            let alternative = if code & 1 == 0 && bytes[..prefixes].contains(&0xf0) { 8 } else { 0 };
            let number = modrm >> 3 & 7 | (rex & 4) << 1 | alternative;
            let target = match (code & 1, number) {
                (1, number) => Target::Debug(number),
                (_, 0) => Target::Control(ControlRegister::Cr0),
                (_, 3) => Target::Control(ControlRegister::Cr3),
                (_, 4) => Target::Control(ControlRegister::Cr4),
                (_, 8) => Target::Control(ControlRegister::Cr8),
                (_, number) => Target::OtherControl(number),
            };
            (target, modrm & 7, if code & 2 == 0 { Access::Read } else { Access::Write }, 3)
        }
        _ => return None,
    };
    let gpr = usize::from(gpr | (rex & 1) << 3);
    let length = prefixes + length;
    (length <= LONGEST).then_some(ControlMove { target, gpr, access, length: length as u8 })
}
