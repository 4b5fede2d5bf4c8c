//! What each instruction does with its operands.

use super::access::mask;
use super::arithmetic::{add, logic, subtract};
use super::{Cause, GuestMemory, Intent, Mode, Run, Step, advance};
use crate::cpu::{Register, SegmentName, VirtualCpu, attributes, gpr};
use hv_defs::control::rflags::{CF, STATUS};
use iced_x86::{Mnemonic, OpKind};

impl<C: VirtualCpu, M: GuestMemory> Run<'_, '_, C, M> {
    /// Carries the instruction out, up to its end or its next device access.
    pub(super) fn instruction(&mut self) -> Result<Step, Step> {
        if self.code().is_string_instruction() {
            return self.string();
        }
        if self.emulation.cause != Cause::Memory {
            // The guest has changed the instruction since the CPU stopped at it: try that one.
            return Ok(Step::Done);
        }
        // Before anything is done: segment and vector registers.
        let foreign =
            |at| self.code().op_kind(at) == OpKind::Register && !self.code().op_register(at).is_gpr();
        if (0..self.code().op_count()).any(foreign) {
            return Err(self.unsupported());
        }
        match self.code().mnemonic() {
            Mnemonic::Mov | Mnemonic::Movnti | Mnemonic::Movzx => {
                let value = self.read(1, Intent::Read)?;
                self.write(0, value)?;
            }
            Mnemonic::Movsx | Mnemonic::Movsxd => {
                let value = self.read(1, Intent::Read)?;
                let unused = 64 - 8 * self.size(1);
                self.write(0, ((value << unused).cast_signed() >> unused).cast_unsigned())?;
            }
            Mnemonic::Movbe => {
                let value = self.read(1, Intent::Read)?;
                self.write(0, value.swap_bytes() >> (64 - 8 * self.size(1)))?;
            }
            Mnemonic::Xchg => {
                let (first, second) = (self.read(0, Intent::Write)?, self.read(1, Intent::Read)?);
                self.write(0, second)?;
                self.write(1, first)?;
            }
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => self.bit()?,
            Mnemonic::Push if self.code().op_kind(0) == OpKind::Memory => self.push()?,
            Mnemonic::Pop if self.code().op_kind(0) == OpKind::Memory => self.pop()?,
            // The line is not in any cache; only the page must be there.
            Mnemonic::Clflush | Mnemonic::Clflushopt | Mnemonic::Clwb => {
                let linear = self.linear(0, 0, Intent::Read)?;
                self.reach(linear, 1, Intent::Read)?;
            }
            _ => self.arithmetic()?,
        }
        Ok(self.finish())
    }

    /// RIP goes on.
    pub(super) fn finish(&mut self) -> Step {
        let length = self.code().len() as u8;
        advance(self.machine.cpu, length).map_or(Step::Done, Step::Deliver)
    }

    pub(super) fn set_flags(&mut self, flags: u64, which: u64) {
        let old = self.machine.cpu.get(Register::Rflags);
        self.machine.cpu.set(Register::Rflags, old & !which | flags & which);
    }

    fn arithmetic(&mut self) -> Result<(), Step> {
        use Mnemonic::{Adc, Add, And, Cmp, Cmpxchg, Dec, Inc, Neg, Not, Or, Sbb, Sub, Test, Xadd, Xor};
        let mnemonic = self.code().mnemonic();
        if !matches!(
            mnemonic,
            Adc | Add | And | Cmp | Cmpxchg | Dec | Inc | Neg | Not | Or | Sbb | Sub | Test | Xadd | Xor
        ) {
            return Err(self.unsupported());
        }
        let compares = matches!(mnemonic, Cmp | Test);
        let size = self.size(0);
        let a = self.read(0, if compares { Intent::Read } else { Intent::Write })?;
        let b = match mnemonic {
            Dec | Inc | Neg | Not => 1,
            _ => self.read(1, Intent::Read)? & mask(size),
        };
        let carry = self.paging.rflags & CF != 0;
        let (result, flags) = match mnemonic {
            Add | Xadd | Inc => add(a, b, false, size),
            Adc => add(a, b, carry, size),
            Sub | Cmp | Dec => subtract(a, b, false, size),
            Sbb => subtract(a, b, carry, size),
            Neg => subtract(0, a, false, size),
            And | Test => logic(a & b, size),
            Or => logic(a | b, size),
            Xor => logic(a ^ b, size),
            Cmpxchg => return self.compare_exchange(a, b, size),
            _ => (!a & mask(size), 0),
        };
        if !compares {
            self.write(0, result)?;
        }
        if mnemonic == Xadd {
            self.write(1, a)?;
        }
        let which = match mnemonic {
            Not => 0,
            Inc | Dec => STATUS & !CF,
            _ => STATUS,
        };
        self.set_flags(flags, which);
        Ok(())
    }

    /// `CMPXCHG`: the destination is written whatever the outcome. APM 3.
    fn compare_exchange(&mut self, old: u64, new: u64, size: u64) -> Result<(), Step> {
        let accumulator = self.gpr(gpr::RAX, size);
        let equal = accumulator == old;
        self.write(0, if equal { new } else { old })?;
        if !equal {
            self.set_gpr(gpr::RAX, old, size);
        }
        self.set_flags(subtract(accumulator, old, false, size).1, STATUS);
        Ok(())
    }

    /// `BT` and its relatives: a register operand counts bits from the address on, either way.
    fn bit(&mut self) -> Result<(), Step> {
        let mnemonic = self.code().mnemonic();
        let intent = if mnemonic == Mnemonic::Bt { Intent::Read } else { Intent::Write };
        let size = self.size(0);
        let index = self.read(1, Intent::Read)?;
        let bit = 1 << (index & (8 * size - 1));
        if self.code().op_kind(0) != OpKind::Memory {
            return Err(self.unsupported());
        }
        let displacement = if self.code().op_kind(1) == OpKind::Register {
            let unused = 64 - 8 * size;
            let index = (index << unused).cast_signed() >> unused;
            (index >> (8 * size).ilog2()).cast_unsigned().wrapping_mul(size)
        } else {
            0
        };
        let linear = self.linear(0, displacement, intent)?;
        let old = self.access(linear, size, intent, None)?;
        let new = match mnemonic {
            Mnemonic::Bts => old | bit,
            Mnemonic::Btr => old & !bit,
            _ => old ^ bit,
        };
        if intent == Intent::Write {
            self.access(linear, size, intent, Some(new))?;
        }
        self.set_flags(if old & bit != 0 { CF } else { 0 }, CF);
        Ok(())
    }

    /// Bytes of the stack pointer. APM 2, 4.8.3 (D/B of SS) and 2.5.
    fn stack_size(&self) -> u64 {
        match self.mode {
            Mode::Bits64 => 8,
            _ if self.machine.cpu.segment(SegmentName::Ss).attributes & attributes::BIG != 0 => 4,
            _ => 2,
        }
    }

    fn push(&mut self) -> Result<(), Step> {
        let (size, stack) = (self.size(0), self.stack_size());
        let pointer = self.gpr(gpr::RSP, stack).wrapping_sub(size) & mask(stack);
        let linear = self.segmented(SegmentName::Ss, pointer, size, Intent::Write)?;
        self.reach(linear, size, Intent::Write)?;
        let value = self.read(0, Intent::Read)?;
        self.access(linear, size, Intent::Write, Some(value))?;
        self.set_gpr(gpr::RSP, pointer, stack);
        Ok(())
    }

    fn pop(&mut self) -> Result<(), Step> {
        let (size, stack) = (self.size(0), self.stack_size());
        let pointer = self.gpr(gpr::RSP, stack);
        let linear = self.segmented(SegmentName::Ss, pointer, size, Intent::Read)?;
        let value = self.access(linear, size, Intent::Read, None)?;
        self.popped = size;
        self.write(0, value)?;
        self.set_gpr(gpr::RSP, pointer.wrapping_add(size), stack);
        Ok(())
    }
}
