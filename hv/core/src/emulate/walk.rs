//! The guest's own page tables: from linear to guest-physical address, as its CPU would.
//! APM 2, 5.2 to 5.6; SDM 3, 4.3 to 4.8.
//!
//! Protection keys and shadow stacks are not offered to guests, so they are not looked at.

use super::GuestMemory;
use crate::cpu::{Register, SegmentName, VirtualCpu, attributes};
use hv_defs::control::{cr0, cr4, rflags};
use hv_defs::msr::efer;
use hv_defs::paging::bits::{ADDRESS, LARGE, NO_EXECUTE, PRESENT, WRITE};

/// Entry bits that the tables hv builds for itself have no use for. APM 2, 5.4.1.
mod entry {
    pub const USER: u64 = 1 << 2;
    pub const ACCESSED: u64 = 1 << 5;
    pub const DIRTY: u64 = 1 << 6;
}

/// The error code of a page fault. APM 2, 8.2.15.
pub mod error_code {
    /// The page was there; something else forbade it.
    pub const PRESENT: u32 = 1 << 0;
    /// It was a write.
    pub const WRITE: u32 = 1 << 1;
    /// It was tried at privilege level 3.
    pub const USER: u32 = 1 << 2;
    /// A reserved bit of an entry was set.
    pub const RESERVED: u32 = 1 << 3;
    /// It was an instruction fetch, and fetching can be forbidden.
    pub const FETCH: u32 = 1 << 4;
}

/// What an address is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// To read data.
    Read,
    /// To write data, perhaps after reading it.
    Write,
    /// To execute.
    Fetch,
}

/// The guest's tables forbid it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// Linear address: CR2.
    pub address: u64,
    /// See [`error_code`].
    pub error: u32,
}

/// The registers that decide how linear addresses are translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the registers are their own names
pub struct Paging {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub rflags: u64,
    /// The privilege level is 3.
    pub user: bool,
}

/// A table entry on the way: where it is, what it says.
#[derive(Clone, Copy)]
struct Step {
    address: u64,
    value: u64,
}

/// How often a walk starts again because another CPU changed an entry under it. A guest that keeps
/// changing them gets a walk without the accessed and dirty bits: a loss that is its own.
const TRIES: usize = 8;

impl Paging {
    /// As `cpu` has it now.
    pub fn of(cpu: &impl VirtualCpu) -> Self {
        let level = cpu.segment(SegmentName::Ss).attributes >> attributes::DPL_SHIFT & 3;
        Self {
            cr0: cpu.get(Register::Cr0),
            cr3: cpu.get(Register::Cr3),
            cr4: cpu.get(Register::Cr4),
            efer: cpu.get(Register::Efer),
            rflags: cpu.get(Register::Rflags),
            user: level == 3,
        }
    }

    /// Where `linear` is in guest-physical memory.
    ///
    /// Sets accessed and dirty bits as the CPU would: hv acts in its place, and for most of what it
    /// touches (the other side of a `MOVS`, a stack) the CPU has not walked the tables.
    ///
    /// # Errors
    /// The page fault that the guest has to see.
    pub fn translate(
        &self,
        memory: &impl GuestMemory,
        linear: u64,
        intent: Intent,
    ) -> Result<u64, PageFault> {
        if self.cr0 & cr0::PG == 0 {
            return Ok(linear & 0xffff_ffff);
        }
        for _ in 1..TRIES {
            let (found, settled) = self.walk(memory, linear, intent)?;
            if settled {
                return Ok(found);
            }
        }
        self.walk(memory, linear, intent).map(|(found, _)| found)
    }

    /// One walk, and whether the accessed and dirty bits could be set.
    fn walk(&self, memory: &impl GuestMemory, linear: u64, intent: Intent) -> Result<(u64, bool), PageFault> {
        let fault = |bits| PageFault { address: linear, error: self.error(intent) | bits };
        let (levels, index_bits, wide) = self.shape();
        let mut table = self.cr3 & if wide && levels > 3 { ADDRESS } else { 0xffff_ffe0 };
        if !wide {
            table &= !0xfff;
        }
        let (mut rights, mut no_execute) = (WRITE | entry::USER, false);
        let mut path = [Step { address: 0, value: 0 }; 5];
        for level in (1..=levels).rev() {
            let shift = 12 + index_bits * (level - 1);
            // PAE's root has four entries, without rights; all other tables fill a page.
            let pae_root = levels == 3 && level == 3;
            let count = if pae_root { 4 } else { 1 << index_bits };
            let index = linear >> shift & (count - 1);
            let address = table + index * if wide { 8 } else { 4 };
            let value = read_entry(memory, address, wide);
            if value & PRESENT == 0 {
                return Err(fault(0));
            }
            let last = level == 1 || value & LARGE != 0 && self.may_be_large(levels, level);
            if value & self.reserved(memory.address_bits(), levels, level, last) != 0 {
                return Err(fault(error_code::PRESENT | error_code::RESERVED));
            }
            if !pae_root {
                path[level as usize - 1] = Step { address, value };
                rights &= value;
                no_execute |= wide && value & NO_EXECUTE != 0;
            }
            if last {
                if !self.allowed(rights, no_execute, intent) {
                    return Err(fault(error_code::PRESENT));
                }
                let settled = self.mark(memory, &path[level as usize - 1..], intent);
                let offset = (1 << shift) - 1;
                return Ok((frame(value, wide, level) & !offset | linear & offset, settled));
            }
            table = if wide { value & ADDRESS } else { value & 0xffff_f000 };
        }
        // Not reached: level 1 is always the last.
        Err(fault(0))
    }

    /// Levels, index bits of each, and whether entries have 64 bits.
    const fn shape(&self) -> (u32, u32, bool) {
        match (self.efer & efer::LONG_MODE_ACTIVE != 0, self.cr4 & cr4::PAE != 0) {
            (true, _) if self.cr4 & cr4::LA57 != 0 => (5, 9, true),
            (true, _) => (4, 9, true),
            (false, true) => (3, 9, true),
            (false, false) => (2, 10, false),
        }
    }

    /// At which levels the large bit makes a page. APM 2, figures 5-9 to 5-27.
    const fn may_be_large(&self, levels: u32, level: u32) -> bool {
        match (levels, level) {
            (2, 2) => self.cr4 & cr4::PSE != 0,
            (3.., 2) | (4.., 3) => true,
            _ => false,
        }
    }

    /// Bits that must be zero in an entry of `level`.
    const fn reserved(&self, address_bits: u32, levels: u32, level: u32, last: bool) -> u64 {
        let high = ADDRESS & !((1 << if address_bits < 52 { address_bits } else { 52 }) - 1);
        // Below the address of a large page only bit 12 (PAT) has a meaning.
        let low = if last && level > 1 { (1 << (12 + 9 * (level - 1))) - (1 << 13) } else { 0 };
        let no_execute = if self.efer & efer::NO_EXECUTE_ENABLE == 0 { NO_EXECUTE } else { 0 };
        match (levels, level) {
            // PSE-36: bits 13 to 20 are address bits 32 to 39, as far as there are such; bit 21 is
            // reserved. SDM 3, 4.3.
            (2, 2) if last => (1 << 22) - (1 << (if address_bits < 40 { address_bits } else { 40 } - 19)),
            (2, _) => 0,
            // Bit 5 is reserved in PAE's root, but QEMU 7.2 sets it there: as the accessed bit.
            (3, 3) => high | 0xfff0_0000_0000_01c6,
            (3, _) => high | low | no_execute | 0x7ff0_0000_0000_0000,
            (_, 4..) => high | no_execute | LARGE,
            _ => high | low | no_execute,
        }
    }

    /// APM 2, 5.6.
    const fn allowed(&self, rights: u64, no_execute: bool, intent: Intent) -> bool {
        let user_page = rights & entry::USER != 0;
        if self.user && !user_page {
            return false;
        }
        let kernel_on_user = !self.user && user_page;
        match intent {
            Intent::Fetch => !(no_execute || kernel_on_user && self.cr4 & cr4::SMEP != 0),
            Intent::Write if rights & WRITE == 0 && (self.user || self.cr0 & cr0::WP != 0) => false,
            Intent::Read | Intent::Write => {
                !kernel_on_user || self.cr4 & cr4::SMAP == 0 || self.rflags & rflags::AC != 0
            }
        }
    }

    /// The part of the error code that does not depend on the tables.
    const fn error(&self, intent: Intent) -> u32 {
        let no_execute = self.efer & efer::NO_EXECUTE_ENABLE != 0 && self.cr4 & cr4::PAE != 0;
        let user = if self.user { error_code::USER } else { 0 };
        match intent {
            Intent::Write => user | error_code::WRITE,
            Intent::Fetch if no_execute || self.cr4 & cr4::SMEP != 0 => user | error_code::FETCH,
            Intent::Read | Intent::Fetch => user,
        }
    }

    /// Sets the accessed bits of `path` and the dirty bit of its first entry, the page's own.
    /// False when an entry is no longer what the walk has seen.
    fn mark(&self, memory: &impl GuestMemory, path: &[Step], intent: Intent) -> bool {
        let (.., wide) = self.shape();
        path.iter().enumerate().filter(|(_, step)| step.value & PRESENT != 0).all(|(at, step)| {
            let dirty = if at == 0 && intent == Intent::Write { entry::DIRTY } else { 0 };
            let new = step.value | entry::ACCESSED | dirty;
            new == step.value || exchange(memory, step, new, wide)
        })
    }
}

/// Where the page of an entry is.
const fn frame(value: u64, wide: bool, level: u32) -> u64 {
    match (wide, level) {
        (true, _) => value & ADDRESS,
        (false, 2) => value & 0xffc0_0000 | (value >> 13 & 0xff) << 32,
        (false, _) => value & 0xffff_f000,
    }
}

/// Where the CPU, in long mode, has just fetched from `linear`: a walk that checks nothing, because the CPU
/// has. `None` where the tables have changed since.
#[inline]
pub(super) fn follow(cpu: &impl VirtualCpu, memory: &impl GuestMemory, linear: u64) -> Option<u64> {
    let levels = if cpu.get(Register::Cr4) & cr4::LA57 != 0 { 5 } else { 4 };
    let mut table = cpu.get(Register::Cr3) & ADDRESS;
    // What is left to translate, from the highest bit down.
    let mut rest = linear << (52 - 9 * levels);
    for level in (0..levels).rev() {
        let entry = memory.read_u64(table | rest >> 52 & 0xff8)?;
        rest <<= 9;
        if entry & PRESENT == 0 {
            return None;
        }
        if level == 0 || level < 3 && entry & LARGE != 0 {
            let offset = (1 << (12 + 9 * level)) - 1;
            return Some(entry & ADDRESS & !offset | linear & offset);
        }
        table = entry & ADDRESS;
    }
    None
}

/// An entry; what is not RAM answers as a bus without a device.
fn read_entry(memory: &impl GuestMemory, address: u64, wide: bool) -> u64 {
    if wide {
        return memory.read_u64(address).unwrap_or(u64::MAX);
    }
    let mut bytes = [0; 4];
    if memory.read(address, &mut bytes) { u32::from_le_bytes(bytes).into() } else { u32::MAX.into() }
}

fn exchange(memory: &impl GuestMemory, step: &Step, new: u64, wide: bool) -> bool {
    if wide {
        memory.compare_exchange_u64(step.address, step.value, new)
    } else {
        memory.compare_exchange_u32(step.address, step.value as u32, new as u32)
    }
}
