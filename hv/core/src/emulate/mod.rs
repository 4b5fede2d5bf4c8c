//! Instructions that hv carries out in the guest's place: those that touch memory which is not RAM,
//! and string forms of port access.
//!
//! The device that answers may be in another VM, so an instruction is a state machine: it stops at
//! each device access with a [`Step`], and goes on when [`Emulation::resume`] brings the answer.
//! Going on means starting over with the accesses already made taken from a log, which is exact
//! because nothing of the CPU is changed before the last access of an instruction (or of one
//! element of a string) is made. RIP moves last.
//!
//! Not done, and answered [`Step::Unsupported`]: vector registers, far pointers, calls and jumps
//! through device memory. Alignment checks (`#AC`) are not made.

mod access;
mod arithmetic;
mod decode;
mod execute;
mod plain;
mod string;
#[cfg(test)]
mod tests;
mod walk;

pub use decode::{Bytes, ControlMove, Mode, Target, decode_control_move, fetch, length_of, prepare};
pub use plain::{Other, PlainMove};
pub use walk::{Intent, PageFault, Paging, error_code};

use crate::cpu::{Event, Gprs, Register, VirtualCpu, exception};
use crate::exit::PortAccess;
use hv_defs::control::{dr6, rflags};
use iced_x86::Instruction;

/// The guest's RAM, by guest-physical address. A range that is not RAM throughout, or may not be
/// written, answers false and nothing has happened.
pub trait GuestMemory {
    /// Reads `into.len()` bytes.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;
    /// Reads eight bytes, aligned or not.
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }
    /// Reads sixteen bytes, aligned or not.
    fn read_u128(&self, address: u64) -> Option<u128> {
        let mut bytes = [0; 16];
        self.read(address, &mut bytes).then(|| u128::from_le_bytes(bytes))
    }
    /// Writes `from`.
    fn write(&self, address: u64, from: &[u8]) -> bool;
    /// Replaces `old` by `new` in one step; false also when something else was there.
    fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> bool;
    /// Replaces `old` by `new` in one step; false also when something else was there.
    fn compare_exchange_u64(&self, address: u64, old: u64, new: u64) -> bool;
    /// Width of a guest-physical address, as CPUID 8000_0008h tells the guest.
    fn address_bits(&self) -> u32;
}

/// What an instruction works on.
pub struct Machine<'a, C, M> {
    /// Its CPU.
    pub cpu: &'a mut C,
    /// Its general-purpose registers.
    pub gprs: &'a mut Gprs,
    /// Its RAM.
    pub memory: &'a M,
}

/// What an instruction needs next, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// A device access: naturally aligned, 1, 2, 4 or 8 bytes. [`Emulation::resume`] takes the
    /// answer (of a write: anything).
    Access {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: u8,
        /// What is written, or it is a read.
        write: Option<u64>,
    },
    /// A port access by `INS` or `OUTS`; else like `Access`.
    Port {
        /// The port.
        port: u16,
        /// 1, 2 or 4.
        size: u8,
        /// What is written, or it is a read.
        write: Option<u64>,
    },
    /// Nothing more: let the guest run. RIP has moved, or stays for what is left of a long string
    /// or for an instruction that has changed since it stopped.
    Done,
    /// Deliver this and let the guest run. RIP and (page fault) CR2 are set for it.
    Deliver(Event),
    /// hv does not know this instruction of the guest's kernel: the VM stops, and its reason names
    /// the bytes. (A process at level 3 gets `#UD` instead: it shall not be able to stop its VM.)
    Unsupported(Bytes),
}

/// Why the guest stopped at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// [`crate::exit::Exit::Memory`].
    Memory,
    /// [`crate::exit::Exit::Port`] with `string` set. That the guest may use the port, the CPU has
    /// checked.
    Port(PortAccess),
}

/// Parts of all operands of an instruction: two of at most four aligned parts.
const MAX_PARTS: usize = 8;
/// Elements of a string per exit, so that interrupts are not held up.
const MAX_ELEMENTS: u8 = 64;

/// An instruction that is being carried out. Kept in the vCPU while a device thinks, and until then
/// the vCPU's registers stay as they are; a reset of the vCPU drops it.
#[derive(Clone, Copy, Debug)]
pub struct Emulation {
    instruction: Instruction,
    bytes: Bytes,
    cause: Cause,
    /// Values of the parts already accessed, in order.
    log: [u64; MAX_PARTS],
    logged: u8,
    elements_left: u8,
}

impl Emulation {
    /// Begins the instruction at RIP. `bytes`: what the CPU says it has fetched, if it says so.
    pub fn begin<C: VirtualCpu, M: GuestMemory>(
        machine: &mut Machine<C, M>,
        cause: Cause,
        bytes: Option<&[u8]>,
    ) -> (Self, Step) {
        let (code, ended) = match decode::at_rip(machine, bytes) {
            Ok(code) => (code, None),
            Err(step) => ((Instruction::default(), Bytes::default()), Some(step)),
        };
        let (instruction, bytes) = code;
        let (log, logged, elements_left) = ([0; MAX_PARTS], 0, MAX_ELEMENTS);
        let mut emulation = Self { instruction, bytes, cause, log, logged, elements_left };
        let step = match ended {
            Some(Step::Unsupported(_)) if Paging::of(machine.cpu).user => Step::Deliver(exception::UD),
            Some(step) => step,
            None => emulation.run(machine),
        };
        (emulation, step)
    }

    /// Goes on: `value` is the answer to the last [`Step::Access`] or [`Step::Port`].
    pub fn resume<C: VirtualCpu, M: GuestMemory>(&mut self, machine: &mut Machine<C, M>, value: u64) -> Step {
        self.record(value);
        self.run(machine)
    }

    fn record(&mut self, value: u64) {
        if let Some(slot) = self.log.get_mut(usize::from(self.logged)) {
            *slot = value;
            self.logged += 1;
        }
    }

    fn run<C: VirtualCpu, M: GuestMemory>(&mut self, machine: &mut Machine<C, M>) -> Step {
        let mut run = Run {
            mode: Mode::of(machine.cpu),
            paging: Paging::of(machine.cpu),
            emulation: self,
            machine,
            cursor: 0,
            popped: 0,
        };
        run.instruction().unwrap_or_else(|step| step)
    }
}

/// One go at an instruction, from its start or its current element.
struct Run<'a, 'b, C, M> {
    emulation: &'a mut Emulation,
    machine: &'a mut Machine<'b, C, M>,
    mode: Mode,
    paging: Paging,
    /// The next part in the log.
    cursor: usize,
    /// `POP` computes its destination with RSP already past what it popped.
    popped: u64,
}

/// The end of an instruction: RIP behind it, shadow and resume flag gone, and the single-step trap
/// if the guest has asked for one. APM 2, 13.1.4. For every instruction that hv completes.
#[inline]
pub fn advance(cpu: &mut impl VirtualCpu, length: u8) -> Option<Event> {
    let next = cpu.get(Register::Rip).wrapping_add(u64::from(length));
    advance_to(cpu, next)
}

/// [`advance`], for an exit that says where the next instruction is.
#[inline]
pub fn advance_to(cpu: &mut impl VirtualCpu, next: u64) -> Option<Event> {
    // Only where the upper half would change does it matter how wide RIP is.
    let wraps = (cpu.get(Register::Rip) ^ next) >> 32 != 0;
    cpu.set(Register::Rip, if wraps { wrapped(cpu, next) } else { next });
    cpu.clear_interrupt_shadow();
    let flags = cpu.get(Register::Rflags);
    if flags & (rflags::RF | rflags::TF) == 0 { None } else { end_traced(cpu, flags) }
}

#[cold]
fn wrapped(cpu: &impl VirtualCpu, next: u64) -> u64 {
    if Mode::of(cpu) == Mode::Bits64 { next } else { next & 0xffff_ffff }
}

/// The end of an instruction that ran with the resume flag or single steps.
#[cold]
fn end_traced(cpu: &mut impl VirtualCpu, flags: u64) -> Option<Event> {
    cpu.set(Register::Rflags, flags & !rflags::RF);
    (flags & rflags::TF != 0).then(|| {
        let debug = cpu.get(Register::Dr6);
        cpu.set(Register::Dr6, debug | dr6::SINGLE_STEP);
        exception::DB
    })
}
