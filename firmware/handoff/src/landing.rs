//! The landing: the one block of memory that the payload comes down in.
//!
//! ```text
//! image | BootInfo | stack | page tables
//! ```
#![forbid(unsafe_code)]

use crate::{Payload, Refusal, Result};
use hv_abi::boot::{BootInfo, Framebuffer};
use hv_abi::memory::{MemoryKind, MemoryMap, PAGE_SIZE, PhysRange};
use hv_defs::paging::{PageSize, TABLE_SIZE, tables_needed};

/// The block's alignment, so that the image can be mapped with large pages one day.
pub const ALIGNMENT: u64 = 2 << 20;
/// The block ends below this, because other CPUs start in real mode and load 32-bit addresses.
pub const CEILING: u64 = 1 << 32;
/// Bytes of hv's first stack.
pub const STACK: u64 = 64 << 10;
/// Where usable memory starts for a landing: below are the BIOS's own places.
const FLOOR: u64 = 1 << 20;

/// Where the parts of a landing are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The image.
    pub image: PhysRange,
    /// The [`BootInfo`].
    pub boot_info: PhysRange,
    /// The stack.
    pub stack: PhysRange,
    /// Page tables.
    pub tables: PhysRange,
}

impl Layout {
    /// Lays the parts out from `base`; `top` ([`top`]) and `largest` decide how many page tables
    /// it takes.
    pub fn new(base: u64, payload: &Payload<'_>, top: u64, largest: PageSize) -> Self {
        let image = PhysRange::new(base, payload.memory_len());
        let boot_info = after(image, (size_of::<BootInfo>() as u64).next_multiple_of(PAGE_SIZE));
        let stack = after(boot_info, STACK);
        let tables = 1
            + tables_needed(mapped_memory(top), largest)
            + tables_needed(payload.memory_len(), PageSize::FourKib);
        Self { image, boot_info, stack, tables: after(stack, tables * TABLE_SIZE) }
    }

    /// The whole block.
    pub fn block(&self) -> PhysRange {
        PhysRange::new(self.image.base, self.tables.end() - self.image.base)
    }
}

fn after(range: PhysRange, len: u64) -> PhysRange {
    PhysRange::new(range.end(), len)
}

/// How much physical memory is mapped from address 0: up to `top`, and at least 4 GiB, where the
/// door and the APICs are.
pub fn mapped_memory(top: u64) -> u64 {
    top.max(1 << 32).next_multiple_of(PageSize::OneGib.bytes())
}

/// The end of what hv must be able to reach before it has page tables of its own: RAM, and the
/// screen, which some boards put far above it.
pub fn top(memory: &MemoryMap, screen: Framebuffer) -> u64 {
    let screen = screen.usable().map_or(0, |screen| screen.range.end());
    memory.top_of_ram().max(screen)
}

/// Finds the lowest usable memory for a block of `len` bytes.
///
/// # Errors
/// A [`Refusal`] when there is none.
pub fn place(map: &MemoryMap, len: u64) -> Result<PhysRange> {
    map.of_kind(MemoryKind::USABLE)
        .map(|range| PhysRange::new(range.base.max(FLOOR).next_multiple_of(ALIGNMENT), range.end()))
        .find(|window| window.base + len <= window.len.min(CEILING))
        .map(|window| PhysRange::new(window.base, len))
        .ok_or(Refusal {
            what: "This machine has too little memory for Hearth to start.",
            remedy: "Give it at least 128 MiB.",
        })
}

/// The map with the block marked as [`MemoryKind::LANDING`].
///
/// # Errors
/// A [`Refusal`] when the map has no room for the pieces.
pub fn mark(map: &MemoryMap, block: PhysRange) -> Result<MemoryMap> {
    let mut builder = crate::memory_map::Builder::new();
    for region in map.regions() {
        builder.add(region.range, region.kind)?;
    }
    builder.add(block, MemoryKind::LANDING)?;
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(regions: &[(u64, u64)]) -> MemoryMap {
        let mut map = MemoryMap::new();
        for &(base, end) in regions {
            map.push(PhysRange::new(base, end - base), MemoryKind::USABLE).expect("room");
        }
        map
    }

    #[test]
    fn the_block_goes_to_the_lowest_memory_above_1_mib_that_holds_it() {
        let map = map(&[(0, 0x9_f000), (0x10_0000, 0x50_0000), (0x80_0000, 0x4000_0000)]);
        assert_eq!(place(&map, 0x20_0000), Ok(PhysRange::new(0x20_0000, 0x20_0000)));
        assert_eq!(place(&map, 0x40_0000), Ok(PhysRange::new(0x80_0000, 0x40_0000)));
    }

    #[test]
    fn memory_above_4_gib_is_no_place_to_land() {
        let refused = place(&map(&[(0, 0x9_f000), (1 << 32, 8 << 32)]), 0x10_0000);
        assert!(refused.unwrap_err().what.contains("too little memory"));
    }

    #[test]
    fn a_screen_above_ram_is_reached_too() {
        let map = map(&[(0x10_0000, 0x4000_0000)]);
        assert_eq!(mapped_memory(top(&map, Framebuffer::NONE)), 4 << 30);
        let screen = Framebuffer {
            range: PhysRange::new(0x38_0000_0000, 1280 * 720 * 4),
            width: 1280,
            height: 720,
            stride: 5120,
            format: hv_abi::boot::PixelFormat::BGRX,
        };
        assert!(mapped_memory(top(&map, screen)) >= screen.range.end());
    }

    #[test]
    fn a_marked_map_knows_the_landing_and_loses_no_memory() {
        let before = map(&[(0, 0x9_f000), (0x10_0000, 0x1000_0000)]);
        let block = PhysRange::new(0x20_0000, 0x30_0000);
        let after = mark(&before, block).expect("room");
        assert_eq!(after.check(), Ok(()));
        assert_eq!(after.total(MemoryKind::LANDING), block.len);
        assert_eq!(after.total(MemoryKind::USABLE) + block.len, before.total(MemoryKind::USABLE));
    }
}
