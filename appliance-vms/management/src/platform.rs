//! What a guest's PC is made of: where its RAM, its devices and its tables are.
//!
//! Addresses are guest-physical. The local APICs, the I/O APIC and the PM timer are hv's; all else is
//! answered by this program's models.
//!
//! ```text
//!            0 ── 0x000a_0000   RAM; loaders put what they tell the kernel at LOADER
//!  0x000a_0000 ── 0x0010_0000   RAM that the memory map reserves; ACPI tables at TABLES
//!  0x0010_0000 ── 0x8000_0000   RAM, as much as there is
//!  0xb000_0000 ── 0xb010_0000   ECAM: PCI configuration space of bus 0
//!  0xc000_0000 ── 0xfe00_0000   memory BARs below 4 GiB
//!  0xfec0_0000                  I/O APIC
//!  0xfee0_0000                  local APICs
//!  4 GiB       ──               the rest of the RAM; above it, from a whole GiB on, memory BARs
//! ```

use core::fmt;
use hv_abi::manifest::{GRANULE, MAX_PIECES};
use hv_abi::memory::PhysRange;

/// RAM below 4 GiB ends here at the latest.
pub const LOW_RAM_END: u64 = 0x8000_0000;
/// The rest of the RAM begins here.
pub const HIGH_RAM: u64 = 1 << 32;
/// Most RAM of a guest: with the BARs above it, it stays below the 39 address bits that small
/// processors have.
pub const MAX_RAM: u64 = 256 << 30;

/// The end of conventional memory: where a PC has its screen and its firmware.
pub const CONVENTIONAL_END: u64 = 0xa_0000;
/// The first address above that.
pub const EXTENDED: u64 = 0x10_0000;
/// What a loader leaves for the kernel: boot information, first page tables, command line. Its end is
/// kept below what Linux takes for the firmware's data area (0x9d000 to 0x9f000: the decompressor's
/// trampoline, arch/x86/boot/compressed/pgtable_64.c).
pub const LOADER: PhysRange = PhysRange::new(0x8_0000, 0x1_8000);
/// The ACPI tables: where kernels look for the root pointer. ACPI 6.5, 5.2.5.1.
pub const TABLES: PhysRange = PhysRange::new(0xe_0000, 0x2_0000);

/// PCI configuration space, memory-mapped: bus 0 only. PCI Express 5.0, 7.2.2.
pub const ECAM: PhysRange = PhysRange::new(0xb000_0000, 0x10_0000);
/// Memory BARs of 32 bits.
pub const BARS_32: PhysRange = PhysRange::new(0xc000_0000, 0x3e00_0000);
/// Bytes for memory BARs of 64 bits, above the RAM.
const BARS_64_LEN: u64 = 4 << 30;
const GIB: u64 = 1 << 30;

/// The I/O APIC, hv's.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The local APICs, hv's.
pub const LOCAL_APIC: u32 = 0xfee0_0000;

/// Ports, as ranges: first port, how many.
pub mod port {
    use hv_abi::memory::PhysRange;

    /// CMOS RTC: index and data.
    pub const RTC: PhysRange = PhysRange::new(0x70, 2);
    /// Keyboard controller's command port; only its reset pulse is there.
    pub const KEYBOARD_COMMAND: PhysRange = PhysRange::new(0x64, 1);
    /// System control port A: A20 and fast reset.
    pub const SYSTEM_CONTROL: PhysRange = PhysRange::new(0x92, 1);
    /// isa-debug-exit, if the appliance asks for it.
    pub const DEBUG_EXIT: PhysRange = PhysRange::new(0xf4, 4);
    /// First serial port.
    pub const COM1: PhysRange = PhysRange::new(0x3f8, 8);
    /// Sleep, reset and event registers: [`crate::models::power`].
    pub const POWER: PhysRange = PhysRange::new(0x600, 8);
    /// ACPI PM timer, hv's. ACPI 6.5, 4.8.3.3.
    pub const PM_TIMER: PhysRange = PhysRange::new(0x608, 4);
    /// Configuration mechanism 1: address and data. PCI 3.0, 3.2.2.3.2.
    pub const PCI_CONFIG: PhysRange = PhysRange::new(0xcf8, 8);
    /// Reset control; lies inside the address register, and answers accesses of one byte.
    pub const RESET_CONTROL: PhysRange = PhysRange::new(0xcf9, 1);
}

/// Pins of the I/O APIC; there is no PIC, and so they are the global system interrupts.
pub mod gsi {
    /// First serial port; edge.
    pub const COM1: u8 = 4;
    /// Generic event device: the power button; level.
    pub const EVENT: u8 = 9;
}

/// An amount of RAM that no guest can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRam(pub u64);

impl fmt::Display for BadRam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, step, most) = (self.0, GRANULE >> 20, MAX_RAM >> 30);
        write!(f, "it asks for {bytes} bytes of RAM; give it a multiple of {step} MiB, up to {most} GiB")
    }
}

/// What a range of addresses is in a memory map. The numbers are those of INT 15h, E820, which
/// Linux, PVH and Multiboot share. ACPI 6.5, 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// RAM to use.
    Usable = 1,
    /// Anything that is not to be used.
    Reserved = 2,
}

/// How much RAM a guest has, and so where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    low: u64,
    high: u64,
}

impl Ram {
    /// So many bytes.
    ///
    /// # Errors
    /// [`BadRam`]: none, too many, or not in whole granules.
    pub const fn new(bytes: u64) -> Result<Self, BadRam> {
        if bytes == 0 || bytes > MAX_RAM || !bytes.is_multiple_of(GRANULE) {
            return Err(BadRam(bytes));
        }
        let low = if bytes < LOW_RAM_END { bytes } else { LOW_RAM_END };
        Ok(Self { low, high: bytes - low })
    }

    /// Bytes below 4 GiB, from address 0 on.
    pub const fn low(self) -> u64 {
        self.low
    }

    /// All its bytes.
    pub const fn bytes(self) -> u64 {
        self.low + self.high
    }

    /// The pieces for hv's manifest ([`hv_abi::manifest::VmManifest::ram`]).
    pub const fn pieces(self) -> [PhysRange; MAX_PIECES] {
        let mut pieces = [PhysRange::new(0, 0); MAX_PIECES];
        pieces[0] = PhysRange::new(0, self.low);
        pieces[1] = PhysRange::new(if self.high == 0 { 0 } else { HIGH_RAM }, self.high);
        pieces
    }

    /// Where memory BARs of 64 bits go.
    pub const fn bars_64(self) -> PhysRange {
        PhysRange::new((HIGH_RAM + self.high).next_multiple_of(GIB), BARS_64_LEN)
    }

    /// RAM that is a kernel's to use, lowest first.
    pub fn usable(self) -> impl Iterator<Item = PhysRange> {
        self.map().filter(|(_, kind)| *kind == MapKind::Usable).map(|(range, _)| range)
    }

    /// The memory map, lowest address first, without empty ranges.
    pub fn map(self) -> impl Iterator<Item = (PhysRange, MapKind)> {
        let range = |base: u64, end: u64| PhysRange::new(base, end.saturating_sub(base));
        [
            (range(0, CONVENTIONAL_END), MapKind::Usable),
            (range(CONVENTIONAL_END, EXTENDED), MapKind::Reserved),
            (range(EXTENDED, self.low), MapKind::Usable),
            // Linux believes the MCFG of early boot only where the memory map agrees.
            (ECAM, MapKind::Reserved),
            (PhysRange::new(HIGH_RAM, self.high), MapKind::Usable),
        ]
        .into_iter()
        .filter(|(range, _)| !range.is_empty())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use hv_abi::manifest::APICS;
    use std::string::ToString;
    use std::vec::Vec;

    const MIB: u64 = 1 << 20;

    fn ram(bytes: u64) -> Ram {
        Ram::new(bytes).expect("a lawful amount")
    }

    #[test]
    fn ram_is_cut_around_the_devices() {
        assert_eq!(ram(256 * MIB).pieces()[..2], [PhysRange::new(0, 256 * MIB), PhysRange::default()]);
        let large = ram(3 << 30);
        assert_eq!(large.pieces()[..2], [PhysRange::new(0, 2 << 30), PhysRange::new(4 << 30, 1 << 30)]);
        assert_eq!(large.bytes(), 3 << 30);
        for bytes in [2 * MIB, LOW_RAM_END, LOW_RAM_END + 2 * MIB, MAX_RAM] {
            for piece in ram(bytes).pieces().into_iter().filter(|piece| !piece.is_empty()) {
                assert_eq!((piece.base | piece.len) % GRANULE, 0);
                for device in [APICS, ECAM, BARS_32, ram(bytes).bars_64()] {
                    assert!(!piece.overlaps(device), "{piece} {device}");
                }
            }
            assert!(ram(bytes).bars_64().end() <= 1 << 39);
        }
    }

    #[test]
    fn an_amount_nobody_can_have_is_refused_in_words() {
        for bytes in [0, MIB, 2 * MIB + 4096, MAX_RAM + 2 * MIB, u64::MAX] {
            let refusal = Ram::new(bytes).expect_err("not lawful").to_string();
            assert!(refusal.contains("a multiple of 2 MiB"), "{refusal}");
        }
    }

    #[test]
    fn the_memory_map_is_in_order_and_agrees_with_the_pieces() {
        for bytes in [2 * MIB, LOW_RAM_END, 4 << 30] {
            let map: Vec<_> = ram(bytes).map().collect();
            assert!(map.windows(2).all(|pair| pair[0].0.end() <= pair[1].0.base));
            let hole = EXTENDED - CONVENTIONAL_END;
            assert_eq!(ram(bytes).usable().map(|range| range.len).sum::<u64>() + hole, bytes);
        }
        assert!(LOADER.end() <= CONVENTIONAL_END && TABLES.end() <= EXTENDED);
    }
}
