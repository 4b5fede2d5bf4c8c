//! How much RAM there is, and where: from QEMU's map, else from CMOS.

use handoff::memory_map::Builder;
use handoff::{Refusal, Result};
use hv_abi::memory::{MemoryKind, MemoryMap, PhysRange};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB4: u64 = 1 << 32;
/// The VGA window and what a BIOS keeps above it; RAM is there only if a chipset is told so.
const LEGACY: PhysRange = PhysRange::new(640 * KIB, MIB - 640 * KIB);
/// The I/O APIC, HPET, local APICs, flash: the last 20 MiB below 4 GiB.
const BOARD: PhysRange = PhysRange::new(0xfec0_0000, GIB4 - 0xfec0_0000);

/// Bytes of an entry of QEMU's `etc/e820`: address, length (64 bits each), type (32 bits).
/// QEMU, hw/i386/e820_memory_layout.h; the types are those of ACPI 6.5, table 15.4.
pub const E820_ENTRY: usize = 20;

/// Adds the entries of an E820 map; a part of an entry at the end is ignored.
///
/// # Errors
/// A [`Refusal`] when there are more than the builder takes.
pub fn add_e820(builder: &mut Builder, bytes: &[u8]) -> Result<()> {
    let (entries, _) = bytes.as_chunks::<E820_ENTRY>();
    entries.iter().try_for_each(|entry| {
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| entry[at + byte]));
        let kind = match u32::from_le_bytes([entry[16], entry[17], entry[18], entry[19]]) {
            1 => MemoryKind::USABLE,
            3 => MemoryKind::ACPI_TABLES,
            4 => MemoryKind::ACPI_NVS,
            _ => MemoryKind::RESERVED,
        };
        builder.add(PhysRange::new(word(0), word(8)), kind)
    })
}

/// Adds the RAM that CMOS speaks of. `read` reads a register of it.
///
/// Registers by pairs, low byte first: 0x30 KiB above 1 MiB (up to 63 MiB), 0x34 64 KiB above
/// 16 MiB, 0x5B (three bytes) 64 KiB above 4 GiB. Bochs, bios/rombios32.c and iodev/devices.cc.
///
/// # Errors
/// A [`Refusal`] when there are more pieces than the builder takes.
pub fn add_cmos(builder: &mut Builder, mut read: impl FnMut(u8) -> u8) -> Result<()> {
    let mut number = |registers: &[u8]| {
        registers.iter().rev().fold(0, |number, &register| number << 8 | u64::from(read(register)))
    };
    let above_16_mib = number(&[0x34, 0x35]) * 64 * KIB;
    let above_1_mib = number(&[0x30, 0x31]) * KIB;
    let above_4_gib = number(&[0x5b, 0x5c, 0x5d]) * 64 * KIB;
    let end = if above_16_mib > 0 { 16 * MIB + above_16_mib } else { MIB + above_1_mib };
    builder.add(PhysRange::new(0, end), MemoryKind::USABLE)?;
    builder.add(PhysRange::new(GIB4, above_4_gib), MemoryKind::USABLE)
}

/// Adds what is never RAM on a PC, and `ecam`.
///
/// # Errors
/// A [`Refusal`] when there are more pieces than the builder takes.
pub fn add_board(builder: &mut Builder, ecam: PhysRange) -> Result<()> {
    [LEGACY, BOARD, ecam].into_iter().try_for_each(|range| builder.add(range, MemoryKind::RESERVED))
}

/// One past the highest RAM below 4 GiB.
pub fn low_end(map: &MemoryMap) -> u64 {
    let below = map.of_kind(MemoryKind::USABLE).filter(|range| range.base < GIB4);
    below.map(|range| range.end().min(GIB4)).max().unwrap_or(0)
}

/// The highest `len` bytes of RAM below 4 GiB, as whole pages: tables go there, out of the way.
///
/// # Errors
/// A [`Refusal`] when no piece of RAM is that large.
pub fn highest(map: &MemoryMap, len: u64) -> Result<PhysRange> {
    let len = len.next_multiple_of(hv_abi::memory::PAGE_SIZE);
    let fits = |range: &PhysRange| range.base >= MIB && range.end() <= GIB4 && range.len >= len;
    let highest = map.of_kind(MemoryKind::USABLE).filter(fits).last();
    highest.map(|range| PhysRange::new(range.end() - len, len)).ok_or(Refusal {
        what: "This machine has too little memory for its own ACPI tables.",
        remedy: "Give it at least 128 MiB.",
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn usable(map: &MemoryMap) -> Vec<(u64, u64)> {
        map.of_kind(MemoryKind::USABLE).map(|range| (range.base, range.end())).collect()
    }

    fn entry(base: u64, len: u64, kind: u32) -> Vec<u8> {
        [&base.to_le_bytes()[..], &len.to_le_bytes(), &kind.to_le_bytes()].concat()
    }

    #[test]
    fn qemus_map_of_5_gib_becomes_ours() {
        let bytes = [
            entry(0, 0xc000_0000, 1),
            entry(GIB4, 0x8000_0000, 1),
            entry(0xfeff_c000, 0x4000, 2),
            std::vec![0; 7],
        ]
        .concat();
        let mut builder = Builder::new();
        add_e820(&mut builder, &bytes).expect("room");
        add_board(&mut builder, PhysRange::new(0xb000_0000, 0x1000_0000)).expect("room");
        let map = builder.finish().expect("a map");
        assert_eq!(usable(&map), [(0, 0xa_0000), (0x10_0000, 0xb000_0000), (GIB4, GIB4 + 0x8000_0000)]);
        assert_eq!(low_end(&map), 0xb000_0000);
        assert_eq!(map.check(), Ok(()));
    }

    fn cmos(values: &'static [(u8, u8)]) -> impl FnMut(u8) -> u8 {
        |register| values.iter().find(|(at, _)| *at == register).map_or(0, |&(_, value)| value)
    }

    #[test]
    fn cmos_of_small_and_of_large_machines() {
        for (values, expected) in [
            // 32 MiB: told in KiB above 1 MiB
            (&[(0x30, 0x00), (0x31, 0x7c)][..], [(0, 0x200_0000), (0, 0)]),
            // 512 MiB: told in 64 KiB above 16 MiB; the KiB stop at 63 MiB
            (&[(0x30, 0x00), (0x31, 0xfc), (0x34, 0x00), (0x35, 0x1f)], [(0, 0x2000_0000), (0, 0)]),
            // 3 GiB and 2 GiB above
            (&[(0x35, 0xbf), (0x5c, 0x80)], [(0, 0xc000_0000), (GIB4, GIB4 + 0x8000_0000)]),
        ] {
            let mut builder = Builder::new();
            add_cmos(&mut builder, cmos(values)).expect("room");
            let map = builder.finish().expect("a map");
            let expected: Vec<_> = expected.into_iter().filter(|range| range.1 > 0).collect();
            assert_eq!(usable(&map), expected);
        }
    }

    #[test]
    fn tables_go_to_the_top_of_low_ram() {
        let mut map = MemoryMap::new();
        map.push(PhysRange::new(0, 0x9_f000), MemoryKind::USABLE).expect("room");
        map.push(PhysRange::new(0x10_0000, 0x1000_0000), MemoryKind::USABLE).expect("room");
        map.push(PhysRange::new(GIB4, 0x1000_0000), MemoryKind::USABLE).expect("room");
        assert_eq!(highest(&map, 0x1801), Ok(PhysRange::new(0x100f_e000, 0x2000)));
        assert!(highest(&map, 0x2000_0000).unwrap_err().what.contains("too little"));
    }
}
