//! Which addresses are cached: all that is RAM, nothing that is a device. SDM 3, 12.11.
//!
//! RAM is the default; the hole for devices below 4 GiB and the legacy places below 1 MiB are
//! taken out of it.

use hv_abi::memory::PhysRange;

/// Memory types. SDM 3, table 12-2.
pub mod memory_type {
    /// Not cached.
    pub const UNCACHED: u64 = 0;
    /// Cached.
    pub const WRITE_BACK: u64 = 6;
}

/// Bits of the default-type register. SDM 3, 12.11.2.1.
pub mod default_type {
    /// The fixed ranges count.
    pub const FIXED_ENABLE: u64 = 1 << 10;
    /// Ranges and default count; otherwise nothing is cached.
    pub const ENABLE: u64 = 1 << 11;
}

/// Capabilities. SDM 3, 12.11.1.
pub const CAPABILITY: u32 = 0xfe;
/// In [`CAPABILITY`], bits 0–7: how many variable ranges there are.
pub const VARIABLE_COUNT: u64 = 0xff;
/// In [`CAPABILITY`]: there are fixed ranges.
pub const HAS_FIXED: u64 = 1 << 8;
/// First variable range: base and type; its mask is the next register.
pub const VARIABLE_BASE: u32 = 0x200;
/// In a mask: the range counts.
pub const VALID: u64 = 1 << 11;

const RAM: u64 = 0x0101_0101_0101_0101 * memory_type::WRITE_BACK;
const DEVICES: u64 = 0x0101_0101_0101_0101 * memory_type::UNCACHED;

/// The fixed ranges: register, and a type for each of its eight parts. RAM to 640 KiB; above, to
/// 1 MiB, the VGA window and what a BIOS would use. SDM 3, table 12-9.
pub const FIXED: [(u32, u64); 11] = [
    (0x250, RAM),
    (0x258, RAM),
    (0x259, DEVICES),
    (0x268, DEVICES),
    (0x269, DEVICES),
    (0x26a, DEVICES),
    (0x26b, DEVICES),
    (0x26c, DEVICES),
    (0x26d, DEVICES),
    (0x26e, DEVICES),
    (0x26f, DEVICES),
];

/// Where the hole ends.
const HOLE_END: u64 = 1 << 32;

/// Ranges that cover the hole from `start`, rounded up to 64 MiB, to 4 GiB: each as long as a power
/// of two, and aligned to its length, as the registers want them. At most 6.
pub fn hole(start: u64) -> impl Iterator<Item = PhysRange> {
    let mut at = start.max(1).next_multiple_of(64 << 20);
    core::iter::from_fn(move || {
        let len = 1 << at.trailing_zeros();
        let range = (at < HOLE_END).then_some(PhysRange::new(at, len));
        at += len;
        range
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_hole_is_covered_without_gap_by_ranges_that_the_registers_take() {
        for start in [0, 0x2000_0000, 0x7ff0_0000, 0xb000_0000, 0xc000_0000, 0xdac0_0000, 0xe000_0000] {
            let ranges: Vec<_> = hole(start).collect();
            assert!(ranges.len() <= 6, "{start:#x}: {ranges:?}");
            assert!(ranges[0].base >= start && ranges[0].base - start <= 64 << 20);
            assert!(ranges.iter().all(|range| range.len.is_power_of_two()));
            assert!(ranges.iter().all(|range| range.base % range.len == 0), "{ranges:?}");
            assert!(ranges.windows(2).all(|pair| pair[0].end() == pair[1].base));
            assert_eq!(ranges.last().map(|range| range.end()), Some(HOLE_END));
        }
        assert_eq!(hole(0xc000_0000).collect::<Vec<_>>(), [PhysRange::new(0xc000_0000, 1 << 30)]);
    }

    #[test]
    fn the_types_stand_in_every_byte() {
        assert_eq!(RAM, 0x0606_0606_0606_0606);
        assert_eq!(DEVICES, 0);
    }
}
