//! Lands the payload and jumps into it.

use crate::landing::{self, Layout};
use crate::{Payload, Refusal, Result};
use core::arch::asm;
use hv_abi::boot::{BootInfo, DIRECT_MAP};
use hv_abi::memory::PhysRange;
use hv_abi::payload::Segment;
use hv_defs::paging::{self, ENTRIES, Mapping, PageSize, Rights, TABLE_SIZE, TableMemory, bits};
use hv_defs::{cpuid, msr};
use x86_64::registers::model_specific::Msr;

/// A payload that lies where it will run, with page tables to run it.
pub struct Landed {
    layout: Layout,
    entry: u64,
    root: u64,
    image: PhysRange,
    module: PhysRange,
}

/// The largest page this CPU can map.
///
/// # Errors
/// A [`Refusal`] when the CPU lacks what hv's page tables need.
pub fn largest_page() -> Result<PageSize> {
    let features = core::arch::x86_64::__cpuid(0x8000_0001).edx;
    if features & cpuid::EXT1_EDX_NO_EXECUTE == 0 {
        return Err(Refusal {
            what: "This computer's processor can't protect memory from being executed (no NX).",
            remedy: "Switch on \"Execute Disable\" or \"NX\" in the machine's setup, or use a newer machine.",
        });
    }
    let gib_pages = features & cpuid::EXT1_EDX_GIB_PAGES != 0;
    Ok(if gib_pages { PageSize::OneGib } else { PageSize::TwoMib })
}

/// Bytes that [`land`] needs for `payload` on a machine that is mapped up to `top`
/// ([`landing::top`]).
///
/// # Errors
/// A [`Refusal`] when the CPU lacks what hv needs.
pub fn landing_len(payload: &Payload<'_>, top: u64) -> Result<u64> {
    Ok(Layout::new(0, payload, top, largest_page()?).block().len)
}

/// Unpacks the payload to the start of `block` and builds its page tables behind it.
///
/// # Errors
/// A [`Refusal`] when the payload does not unpack, or `block` is too small.
///
/// # Safety
/// * `block` is RAM below 4 GiB, 2 MiB aligned, that nobody else uses;
/// * it is mapped, writable, at its physical address.
pub unsafe fn land(payload: &Payload<'_>, block: PhysRange, top: u64) -> Result<Landed> {
    let largest = largest_page()?;
    let layout = Layout::new(block.base, payload, top, largest);
    if !block.contains(layout.block()) || !block.base.is_multiple_of(landing::ALIGNMENT) {
        return Err(Refusal {
            what: "The door has set aside too little memory for the Hearth payload.",
            remedy: "Please report this: it is a fault in Hearth.",
        });
    }
    // SAFETY: the caller gives the block to us alone, mapped where it is.
    let image = unsafe { memory(layout.image) };
    payload.unpack(image)?;
    // SAFETY: as above; the layout's parts do not overlap.
    let tables = unsafe { memory(layout.tables) };
    tables.fill(0);
    let mut tables = Tables { free: layout.tables, used: 0 };
    let root =
        build(&mut tables, payload, &layout, landing::mapped_memory(top), largest).map_err(|_| Refusal {
            what: "The door could not build the page tables for the Hearth payload.",
            remedy: "Please report this: it is a fault in Hearth.",
        })?;
    let header = payload.header();
    let image = PhysRange::new(layout.image.base, header.program_len());
    let module = PhysRange::new(layout.image.base + header.module_offset, header.module_len);
    Ok(Landed { layout, entry: header.entry, root, image, module })
}

/// The bytes of a range.
///
/// # Safety
/// The range is the caller's alone, and mapped at its physical address.
unsafe fn memory(range: PhysRange) -> &'static mut [u8] {
    let start = core::ptr::with_exposed_provenance_mut(range.base as usize);
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts_mut(start, range.len as usize) }
}

/// Page tables in a block of zeroed memory that is mapped at its physical address.
struct Tables {
    free: PhysRange,
    used: u64,
}

impl TableMemory for Tables {
    fn allocate(&mut self) -> Option<u64> {
        let table = self.free.base + self.used * TABLE_SIZE;
        self.used += 1;
        (table < self.free.end()).then_some(table)
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        // SAFETY: `table` came from `allocate`, so it lies in the block that `land` was given.
        unsafe { entry(table, index).read() }
    }

    fn write(&mut self, table: u64, index: usize, value: u64) {
        // SAFETY: as above.
        unsafe { entry(table, index).write(value) }
    }
}

fn entry(table: u64, index: usize) -> *mut u64 {
    assert!(index < ENTRIES);
    core::ptr::with_exposed_provenance_mut(table as usize + index * 8)
}

fn build(
    tables: &mut impl TableMemory,
    payload: &Payload<'_>,
    layout: &Layout,
    memory: u64,
    largest: PageSize,
) -> core::result::Result<u64, paging::MapError> {
    let root = tables.allocate().ok_or(paging::MapError::NoTable)?;
    let all = Mapping { virt: DIRECT_MAP, phys: 0, len: memory, rights: Rights::Transition, largest };
    paging::map(tables, root, all)?;
    // The low half shares the direct map's tables: the door runs its last instructions there. Only
    // the root's entries differ, and there execution is forbidden for the direct map as a whole.
    for at in 0..ENTRIES / 2 {
        let entry = tables.read(root, at + ENTRIES / 2);
        tables.write(root, at, entry);
        if entry & bits::PRESENT != 0 {
            tables.write(root, at + ENTRIES / 2, entry | bits::NO_EXECUTE);
        }
    }
    let header = payload.header();
    for segment in header.segments() {
        let rights = match segment.rights {
            Segment::EXECUTE => Rights::ReadExecute,
            Segment::WRITE => Rights::ReadWrite,
            _ => Rights::Read,
        };
        let mapping = Mapping {
            virt: header.virtual_base + u64::from(segment.offset),
            phys: layout.image.base + u64::from(segment.offset),
            len: u64::from(segment.len),
            rights,
            largest: PageSize::FourKib,
        };
        paging::map(tables, root, mapping)?;
    }
    Ok(root)
}

/// Leaves the door for good: hv runs from here. `boot.memory` must be the final map; the landing
/// is marked in it.
///
/// # Errors
/// A [`Refusal`] when the map has no room for the landing; on success it does not return.
///
/// # Safety
/// * this code runs at its physical address, in long mode, on the machine's first CPU;
/// * nothing that the door or the firmware below it has running (timers, DMA) writes memory that
///   `boot.memory` calls usable.
pub unsafe fn enter(landed: &Landed, mut boot: BootInfo) -> Result<core::convert::Infallible> {
    let Landed { layout, entry, root, image, module } = *landed;
    boot.landing = layout.block();
    boot.image = image;
    boot.module = module;
    boot.memory = landing::mark(&boot.memory, boot.landing)?;
    let at: *mut BootInfo = core::ptr::with_exposed_provenance_mut(layout.boot_info.base as usize);
    // SAFETY: the landing is ours (`land`), page-aligned there, and large enough.
    unsafe { at.write(boot) };
    x86_64::instructions::interrupts::disable();
    let mut efer = Msr::new(msr::EFER);
    // SAFETY: the new tables use no-execute bits, and `largest_page` saw that the CPU has them.
    unsafe { efer.write(efer.read() | msr::efer::NO_EXECUTE_ENABLE) };
    // SAFETY: the new tables map this code where it runs, the stack, the `BootInfo` and the image.
    unsafe {
        asm!(
            "mov cr3, {root}",
            "mov rsp, {stack}",
            "xor ebp, ebp",
            // The entry point sees a stack as after a call: it never returns to the zero there.
            "push rbp",
            "jmp {entry}",
            root = in(reg) root,
            stack = in(reg) DIRECT_MAP + layout.stack.end(),
            entry = in(reg) entry,
            in("rdi") DIRECT_MAP + layout.boot_info.base,
            options(noreturn)
        )
    }
}
