//! String instructions: one element at a time, so that what is done stays done. APM 3, 1.2.6.

use super::access::mask;
use super::arithmetic::subtract;
use super::{Cause, GuestMemory, Intent, Run, Step, advance};
use crate::cpu::{VirtualCpu, gpr};
use crate::exit::{Access, PortAccess};
use hv_defs::control::rflags::{DF, STATUS, TF, ZF};
use iced_x86::{Mnemonic, OpKind};

/// What an element does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Move,
    Load,
    Store,
    Compare,
    Scan,
    In(PortAccess),
    Out(PortAccess),
}

impl<C: VirtualCpu, M: GuestMemory> Run<'_, '_, C, M> {
    /// A string instruction: its one element, or as many as it still has and one exit may do.
    pub(super) fn string(&mut self) -> Result<Step, Step> {
        let Some(kind) = self.kind()? else { return Ok(Step::Done) };
        let width = self.address_size();
        let repeats_while_equal = self.code().has_rep_prefix();
        if !repeats_while_equal && !self.code().has_repne_prefix() {
            self.element(kind, width)?;
            return Ok(self.finish());
        }
        while self.gpr(gpr::RCX, width) != 0 {
            let equal = self.element(kind, width)?;
            self.emulation.elements_left = self.emulation.elements_left.saturating_sub(1);
            self.emulation.logged = 0;
            self.cursor = 0;
            let left = self.gpr(gpr::RCX, width).wrapping_sub(1);
            self.set_gpr(gpr::RCX, left, width);
            if equal.is_some_and(|equal| equal != repeats_while_equal) {
                break;
            }
            // A single step is one element. RIP stays until the last.
            if left & mask(width) != 0 && (self.emulation.elements_left == 0 || self.paging.rflags & TF != 0)
            {
                return Ok(advance(self.machine.cpu, 0).map_or(Step::Done, Step::Deliver));
            }
        }
        Ok(self.finish())
    }

    /// `None`: not the instruction that the CPU has stopped at, because the guest has changed it.
    /// Ports above all: the CPU has checked one port, and hv must not reach another.
    fn kind(&self) -> Result<Option<Kind>, Step> {
        let kind = match self.code().mnemonic() {
            Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => Kind::Move,
            Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => Kind::Load,
            Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => Kind::Store,
            Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq => Kind::Compare,
            Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq => Kind::Scan,
            mnemonic => {
                let access = match mnemonic {
                    Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => Access::Read,
                    Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => Access::Write,
                    _ => return Err(self.unsupported()),
                };
                let Cause::Port(port) = self.emulation.cause else { return Err(self.unsupported()) };
                let size = self.code().memory_size().size();
                let same = port.access == access && usize::from(port.size) == size;
                return Ok(same.then_some(match access {
                    Access::Read => Kind::In(port),
                    Access::Write => Kind::Out(port),
                }));
            }
        };
        Ok((self.emulation.cause == Cause::Memory).then_some(kind))
    }

    /// One element; of `CMPS` and `SCAS`, whether it was equal.
    fn element(&mut self, kind: Kind, width: u64) -> Result<Option<bool>, Step> {
        let size = self.code().memory_size().size() as u64;
        let mut equal = None;
        match kind {
            Kind::Move => {
                // The destination first: a device must not be read for a write that faults.
                let to = self.linear(0, 0, Intent::Write)?;
                self.reach(to, size, Intent::Write)?;
                let from = self.linear(1, 0, Intent::Read)?;
                let value = self.access(from, size, Intent::Read, None)?;
                self.access(to, size, Intent::Write, Some(value))?;
            }
            Kind::Load => {
                let from = self.linear(1, 0, Intent::Read)?;
                let value = self.access(from, size, Intent::Read, None)?;
                self.set_gpr(gpr::RAX, value, size);
            }
            Kind::Store => {
                let to = self.linear(0, 0, Intent::Write)?;
                self.access(to, size, Intent::Write, Some(self.gpr(gpr::RAX, size)))?;
            }
            Kind::Compare | Kind::Scan => {
                let first = if kind == Kind::Scan {
                    self.gpr(gpr::RAX, size)
                } else {
                    let from = self.linear(0, 0, Intent::Read)?;
                    self.access(from, size, Intent::Read, None)?
                };
                let with = self.linear(1, 0, Intent::Read)?;
                let second = self.access(with, size, Intent::Read, None)?;
                let (_, flags) = subtract(first, second, false, size);
                self.set_flags(flags, STATUS);
                equal = Some(flags & ZF != 0);
            }
            Kind::In(port) => {
                let to = self.linear(0, 0, Intent::Write)?;
                self.reach(to, size, Intent::Write)?;
                let value = self.port(port, None)?;
                self.access(to, size, Intent::Write, Some(value & mask(size)))?;
            }
            Kind::Out(port) => {
                let from = self.linear(1, 0, Intent::Read)?;
                let value = self.access(from, size, Intent::Read, None)?;
                self.port(port, Some(value))?;
            }
        }
        self.step_pointers(kind, size, width);
        Ok(equal)
    }

    fn port(&mut self, PortAccess { port, size, .. }: PortAccess, write: Option<u64>) -> Result<u64, Step> {
        self.logged().ok_or(Step::Port { port, size, write })
    }

    fn step_pointers(&mut self, kind: Kind, size: u64, width: u64) {
        let step = if self.paging.rflags & DF == 0 { size } else { size.wrapping_neg() };
        let (source, destination) = match kind {
            Kind::Move | Kind::Compare => (true, true),
            Kind::Load | Kind::Out(_) => (true, false),
            Kind::Store | Kind::Scan | Kind::In(_) => (false, true),
        };
        for (at, moves) in [(gpr::RSI, source), (gpr::RDI, destination)] {
            if moves {
                let next = self.gpr(at, width).wrapping_add(step);
                self.set_gpr(at, next, width);
            }
        }
    }

    /// Bytes of RSI, RDI and RCX that take part.
    fn address_size(&self) -> u64 {
        let instruction = self.code();
        let of_operand = |operand| match instruction.op_kind(operand) {
            OpKind::MemorySegSI | OpKind::MemoryESDI => Some(2),
            OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(4),
            OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(8),
            _ => None,
        };
        of_operand(0).or(of_operand(1)).unwrap_or(8)
    }
}
