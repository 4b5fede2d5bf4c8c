//! Operands: registers, and memory by way of segments, page tables, RAM and devices.

use super::{Emulation, GuestMemory, Intent, MAX_PARTS, Mode, Run, Step};
use crate::cpu::{Event, Gprs, Register, Segment, SegmentName, VirtualCpu, attributes, exception, gpr};
use hv_defs::control::{cr0, rflags};
use iced_x86::{Instruction, OpKind, Register as Name};

/// All bits of an operand of `size` bytes.
pub(super) const fn mask(size: u64) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (8 * size)) - 1 }
}

/// `old` with its low `size` bytes set as an instruction does: 32-bit results clear the upper half.
const fn merge(old: u64, value: u64, size: u64) -> u64 {
    if size == 4 { value & mask(4) } else { old & !mask(size) | value & mask(size) }
}

/// Position of a general-purpose register in [`Gprs`], and how far its lowest bit is shifted.
fn locate(name: Name) -> Option<(usize, u32)> {
    let high = matches!(name, Name::AH | Name::CH | Name::DH | Name::BH);
    name.is_gpr().then(|| (name.full_register().number() & 15, if high { 8 } else { 0 }))
}

fn register(gprs: &Gprs, name: Name) -> Option<u64> {
    let (at, shift) = locate(name)?;
    Some(gprs.0[at] >> shift & mask(name.size() as u64))
}

fn segment_name(name: Name) -> SegmentName {
    match name {
        Name::ES => SegmentName::Es,
        Name::CS => SegmentName::Cs,
        Name::SS => SegmentName::Ss,
        Name::FS => SegmentName::Fs,
        Name::GS => SegmentName::Gs,
        _ => SegmentName::Ds,
    }
}

/// The segment allows this. APM 2, 4.12; a real-mode segment has only its limit.
fn segment_allows(segment: &Segment, offset: u64, size: u64, write: bool, protected: bool) -> bool {
    const KIND: u16 = 0b1110;
    let Some(last) = offset.checked_add(size.saturating_sub(1)) else { return false };
    let kind = segment.attributes & KIND;
    let (code, data_expands_down) = (kind & 0b1000 != 0, kind & 0b1100 == 0b0100);
    let rights = segment.attributes & attributes::PRESENT != 0
        && if write { !code && kind & 0b0010 != 0 } else { !code || kind & 0b0010 != 0 };
    let limit = u64::from(segment.limit);
    let top = if segment.attributes & attributes::BIG != 0 { 0xffff_ffff } else { 0xffff };
    let inside = if data_expands_down { offset > limit && last <= top } else { last <= limit };
    inside && (rights || !protected)
}

impl<C: VirtualCpu, M: GuestMemory> Run<'_, '_, C, M> {
    pub(super) fn code(&self) -> &Instruction {
        &self.emulation.instruction
    }

    pub(super) fn unsupported(&self) -> Step {
        if self.paging.user {
            return Step::Deliver(exception::UD);
        }
        Step::Unsupported(self.emulation.bytes)
    }

    /// Bytes of an operand.
    pub(super) fn size(&self, operand: u32) -> u64 {
        let size = match self.code().op_kind(operand) {
            OpKind::Register => self.code().op_register(operand).size(),
            _ => self.code().memory_size().size(),
        };
        size as u64
    }

    pub(super) fn gpr(&self, at: usize, size: u64) -> u64 {
        self.machine.gprs.0[at] & mask(size)
    }

    pub(super) fn set_gpr(&mut self, at: usize, value: u64, size: u64) {
        let old = self.machine.gprs.0[at];
        self.machine.gprs.0[at] = merge(old, value, size);
    }

    /// The value of an operand. `intent` is `Write` when it will be written too: then nothing is
    /// read that can't be written.
    pub(super) fn read(&mut self, operand: u32, intent: Intent) -> Result<u64, Step> {
        match self.code().op_kind(operand) {
            OpKind::Register => {
                register(self.machine.gprs, self.code().op_register(operand)).ok_or(self.unsupported())
            }
            OpKind::Memory => {
                let linear = self.linear(operand, 0, intent)?;
                self.access(linear, self.size(operand), intent, None)
            }
            _ => self.code().try_immediate(operand).map_err(|_| self.unsupported()),
        }
    }

    /// Sets an operand.
    pub(super) fn write(&mut self, operand: u32, value: u64) -> Result<(), Step> {
        if self.code().op_kind(operand) == OpKind::Memory {
            let linear = self.linear(operand, 0, Intent::Write)?;
            return self.access(linear, self.size(operand), Intent::Write, Some(value)).map(drop);
        }
        let name = self.code().op_register(operand);
        let (at, shift) = locate(name).ok_or(self.unsupported())?;
        if shift == 0 {
            self.set_gpr(at, value, name.size() as u64);
        } else {
            self.machine.gprs.0[at] = self.machine.gprs.0[at] & !0xff00 | (value & 0xff) << 8;
        }
        Ok(())
    }

    /// The linear address of a memory operand, moved by `displacement`.
    pub(super) fn linear(&self, operand: u32, displacement: u64, intent: Intent) -> Result<u64, Step> {
        use OpKind::{MemoryESDI, MemoryESEDI, MemoryESRDI};
        let instruction = self.code();
        let gprs = &self.machine.gprs;
        let offset = instruction.virtual_address(operand, 0, |name, _, _| match name {
            _ if name.is_segment_register() => Some(0),
            Name::RSP | Name::ESP | Name::SP => {
                Some(gprs.0[gpr::RSP].wrapping_add(self.popped) & mask(name.size() as u64))
            }
            _ => register(gprs, name),
        });
        let name = match instruction.op_kind(operand) {
            MemoryESDI | MemoryESEDI | MemoryESRDI => SegmentName::Es,
            _ => segment_name(instruction.memory_segment()),
        };
        let offset = offset.ok_or(self.unsupported())?.wrapping_add(displacement);
        self.segmented(name, offset, self.size(operand), intent)
    }

    /// The linear address of `size` bytes at `offset` of a segment.
    pub(super) fn segmented(
        &self,
        name: SegmentName,
        offset: u64,
        size: u64,
        intent: Intent,
    ) -> Result<u64, Step> {
        let fault = match name {
            SegmentName::Ss => Event::Exception { vector: 12, error: Some(0) },
            _ => exception::GP,
        };
        if self.mode == Mode::Bits64 {
            let base = match name {
                SegmentName::Fs | SegmentName::Gs => self.machine.cpu.segment(name).base,
                _ => 0,
            };
            let linear = base.wrapping_add(offset);
            let unused = if self.paging.cr4 & hv_defs::control::cr4::LA57 != 0 { 7 } else { 16 };
            let canonical =
                |address: u64| (address << unused).cast_signed() >> unused == address.cast_signed();
            let whole = canonical(linear) && canonical(linear.wrapping_add(size.saturating_sub(1)));
            return if whole { Ok(linear) } else { Err(Step::Deliver(fault)) };
        }
        let segment = self.machine.cpu.segment(name);
        let protected = self.paging.cr0 & cr0::PE != 0 && self.paging.rflags & rflags::VM == 0;
        let offset = offset & 0xffff_ffff;
        if !segment_allows(&segment, offset, size, intent == Intent::Write, protected) {
            return Err(Step::Deliver(fault));
        }
        Ok(segment.base.wrapping_add(offset) & 0xffff_ffff)
    }

    fn translate(&mut self, linear: u64, intent: Intent) -> Result<u64, Step> {
        self.paging
            .translate(self.machine.memory, linear, intent)
            .map_err(|fault| Step::Deliver(fault.event(self.machine.cpu)))
    }

    /// Where both ends of `size` bytes are; a fault of either page comes before any access.
    pub(super) fn reach(&mut self, linear: u64, size: u64, intent: Intent) -> Result<(u64, u64), Step> {
        let first = self.translate(linear, intent)?;
        let last = linear.wrapping_add(size.saturating_sub(1)) & !0xfff;
        let second = if last == linear & !0xfff { 0 } else { self.translate(last, intent)? };
        Ok((first, second))
    }

    /// Reads `size` bytes, or writes `write`, in naturally aligned parts.
    pub(super) fn access(
        &mut self,
        linear: u64,
        size: u64,
        intent: Intent,
        write: Option<u64>,
    ) -> Result<u64, Step> {
        if !matches!(size, 1 | 2 | 4 | 8) {
            return Err(self.unsupported());
        }
        if linear.is_multiple_of(size) && self.cursor < usize::from(self.emulation.logged) {
            return self.part(0, size, write);
        }
        let (first, second) = self.reach(linear, size, intent)?;
        let (mut done, mut value) = (0, 0);
        while done < size {
            let at = linear.wrapping_add(done);
            let aligned = at & at.wrapping_neg();
            let largest = 1 << (size - done).ilog2();
            let bytes = if aligned == 0 { largest } else { aligned.min(largest) };
            let first_page = at & !0xfff == linear & !0xfff;
            let address = if first_page { first.wrapping_add(done) } else { second | at & 0xfff };
            let part = self.part(address, bytes, write.map(|value| value >> (8 * done) & mask(bytes)))?;
            value |= part << (8 * done);
            done += bytes;
        }
        Ok(value)
    }

    /// One aligned part: from the log, in RAM, or by a device.
    fn part(&mut self, address: u64, size: u64, write: Option<u64>) -> Result<u64, Step> {
        if let Some(value) = self.logged() {
            return Ok(value & mask(size));
        }
        if self.cursor >= MAX_PARTS {
            return Err(self.unsupported());
        }
        let mut bytes = write.unwrap_or(0).to_le_bytes();
        let buffer = &mut bytes[..size as usize];
        let ram = match write {
            Some(_) => self.machine.memory.write(address, buffer),
            None => self.machine.memory.read(address, buffer),
        };
        if !ram {
            return Err(Step::Access { address, size: size as u8, write });
        }
        self.emulation.record(u64::from_le_bytes(bytes));
        self.cursor += 1;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The next access, if it has been made.
    pub(super) fn logged(&mut self) -> Option<u64> {
        let Emulation { log, logged, .. } = &*self.emulation;
        let value = *log.get(..usize::from(*logged))?.get(self.cursor)?;
        self.cursor += 1;
        Some(value)
    }
}

impl super::PageFault {
    /// Sets CR2; the event is for the guest.
    pub fn event(self, cpu: &mut impl VirtualCpu) -> Event {
        cpu.set(Register::Cr2, self.address);
        Event::Exception { vector: 14, error: Some(self.error) }
    }
}
