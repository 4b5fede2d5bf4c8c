//! Where things are in hv's virtual memory, and what its page tables shall map.
//!
//! ```text
//! 0xffff_8000_0000_0000   direct map: RAM, never executable, without hv's image
//! 0xffff_f000_0000_0000   stacks, one slot a CPU, each stack above a page that is not mapped
//! 0xffff_ffff_8000_0000   hv's image: text, read-only data, data
//! ```
//!
//! Nothing is mapped in the low half.

use hv_abi::boot::DIRECT_MAP;
use hv_abi::memory::{MemoryKind, MemoryMap, PAGE_SIZE, PhysRange};
use hv_defs::paging::{Mapping, PageSize, Rights, TABLE_SIZE, tables_needed};

/// The first CPU's slot of stacks.
pub const STACKS: u64 = 0xffff_f000_0000_0000;
/// Bytes of a CPU's slot.
pub const SLOT: u64 = 128 << 10;
/// Stacks in a slot: one to run on, three to fault on.
pub const STACKS_PER_CPU: usize = 4;
/// Bytes of the stack to run on, and of each stack to fault on.
const SIZES: [u64; STACKS_PER_CPU] = [64 << 10, 16 << 10, 16 << 10, 16 << 10];
/// Pages that a CPU's stacks take.
pub const STACK_PAGES: u64 = (SIZES[0] + SIZES[1] + SIZES[2] + SIZES[3]) / PAGE_SIZE;

const _: () = assert!((STACK_PAGES + STACKS_PER_CPU as u64) * PAGE_SIZE <= SLOT);

/// A stack in virtual memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Lowest address; the page below is not mapped.
    pub bottom: u64,
    /// One past the highest address.
    pub top: u64,
}

/// The stacks of a CPU: the one to run on, then the ones to fault on.
pub fn stacks(cpu: usize) -> [Stack; STACKS_PER_CPU] {
    let mut guard = STACKS + cpu as u64 * SLOT;
    SIZES.map(|size| {
        let bottom = guard + PAGE_SIZE;
        guard = bottom + size;
        Stack { bottom, top: guard }
    })
}

/// The CPU whose stack overflowed, if `address` is in a page below a stack.
pub fn overflowed(address: u64, cpus: usize) -> Option<usize> {
    let cpu = usize::try_from(address.checked_sub(STACKS)? / SLOT).ok().filter(|&cpu| cpu < cpus)?;
    let below = |stack: &Stack| (stack.bottom - PAGE_SIZE..stack.bottom).contains(&address);
    stacks(cpu).iter().any(below).then_some(cpu)
}

/// The direct map: all RAM that the map knows, without `image`, which has mappings of its own.
pub fn direct_map(
    memory: &MemoryMap,
    image: PhysRange,
    largest: PageSize,
) -> impl Iterator<Item = Mapping> + '_ {
    let ram = memory.regions().iter().filter(|region| region.kind != MemoryKind::RESERVED);
    ram.flat_map(move |region| without(region.range, image)).map(move |range| Mapping {
        virt: DIRECT_MAP + range.base,
        phys: range.base,
        len: range.len,
        rights: Rights::ReadWrite,
        largest,
    })
}

/// `range` without the bytes of `hole`: what is below it and what is above, where not empty.
fn without(range: PhysRange, hole: PhysRange) -> impl Iterator<Item = PhysRange> {
    let below_end = range.end().min(hole.base.max(range.base));
    let above_base = range.base.max(hole.end().min(range.end()));
    let below = PhysRange::new(range.base, below_end - range.base);
    let above = PhysRange::new(above_base, range.end() - above_base);
    [below, above].into_iter().filter(|part| !part.is_empty())
}

/// Bytes of memory hv takes for itself: page tables for `memory` and everything else it maps, the
/// stacks of `cpus` CPUs; `places` are pages of devices that it maps somewhere.
pub fn own_memory(memory: &MemoryMap, largest: PageSize, cpus: usize, places: usize) -> u64 {
    let ram = memory.regions().iter().filter(|region| region.kind != MemoryKind::RESERVED);
    // A region may fall into two around the image, and each part has ragged ends of its own.
    let tables_of_ram: u64 = ram.map(|region| 2 * tables_needed(region.range.len, largest)).sum();
    let stacks = cpus as u64 * STACK_PAGES + tables_needed(cpus as u64 * SLOT, PageSize::FourKib);
    let tables = tables_of_ram + places as u64 * tables_needed(PAGE_SIZE, PageSize::FourKib) + OTHER_TABLES;
    tables * TABLE_SIZE + (stacks + VM_PAGES + cpus as u64 * CPU_PAGES) * PAGE_SIZE
}

/// Tables for hv's image, the devices it drives, the root, and the page that other CPUs start in.
const OTHER_TABLES: u64 = 64;

/// Pages for virtual machines: their nested tables, control blocks, registers.
const VM_PAGES: u64 = 256;
/// Pages of its own that a CPU needs for running guests.
const CPU_PAGES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_never_touch_and_have_a_guard_below() {
        let mut last_top = 0;
        for stack in (0..3).flat_map(stacks) {
            assert!(stack.bottom >= last_top + PAGE_SIZE);
            assert_eq!(stack.top % 16, 0);
            last_top = stack.top;
        }
        assert!(stacks(1)[0].bottom >= STACKS + SLOT);
    }

    #[test]
    fn an_overflow_is_told_from_any_other_fault() {
        let stack = stacks(2)[1];
        assert_eq!(overflowed(stack.bottom - 8, 4), Some(2));
        assert_eq!(overflowed(stack.bottom, 4), None);
        assert_eq!(overflowed(stack.bottom - 8, 2), None);
        assert_eq!(overflowed(0x1000, 4), None);
    }

    #[test]
    fn the_image_is_left_out_of_the_direct_map_and_nothing_else() {
        let mut memory = MemoryMap::new();
        for (base, end, kind) in [
            (0, 0x9_f000, MemoryKind::USABLE),
            (0x20_0000, 0x60_0000, MemoryKind::LANDING),
            (0xffe0_0000, 0x1_0000_0000, MemoryKind::RESERVED),
        ] {
            memory.push(PhysRange::new(base, end - base), kind).expect("room");
        }
        let mapped = |image| {
            direct_map(&memory, image, PageSize::TwoMib)
                .map(|mapping| (mapping.phys, mapping.phys + mapping.len))
                .collect::<heapless::Vec<_, 8>>()
        };
        let start = PhysRange::new(0x20_0000, 0x8_0000);
        assert_eq!(mapped(start), [(0, 0x9_f000), (0x28_0000, 0x60_0000)]);
        let middle = PhysRange::new(0x30_0000, 0x1000);
        assert_eq!(mapped(middle), [(0, 0x9_f000), (0x20_0000, 0x30_0000), (0x30_1000, 0x60_0000)]);
        let elsewhere = PhysRange::new(0x1000_0000, 0x1000);
        assert_eq!(mapped(elsewhere), [(0, 0x9_f000), (0x20_0000, 0x60_0000)]);
    }
}
