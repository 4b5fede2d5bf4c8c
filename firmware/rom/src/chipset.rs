//! The boards this door knows, told apart by their host bridge, and what they need before anything
//! else can be found: power-management ports, the ECAM window, interrupt routes.
//!
//! Sources: Intel 82441FX (290549), 82371AB "PIIX4" (290562), ICH9 (316972), Q35 (316966).

use handoff::pci::{Config, Function, command, register};
use handoff::{Refusal, Result};
use hv_abi::memory::PhysRange;

const HOST_BRIDGE: Function = Function::new(0, 0, 0);
/// Vendor 8086 in the low half, the device above.
const ID_I440FX: u32 = 0x1237_8086;
const ID_Q35: u32 = 0x29c0_8086;

/// First I/O port of power management; where QEMU's and Bochs's own firmware put it.
pub const PM_BASE: u16 = 0x600;
/// PM1a control, after 4 bytes of PM1a event registers. ACPI 6.5, 4.8.3.2.1.
pub const PM_CONTROL: u16 = PM_BASE + 4;
/// The PM timer. PIIX4 7.1, ICH9 13.8.3.
pub const PM_TIMER: u16 = PM_BASE + 8;
/// Global interrupt that power management raises; fixed in the chipsets.
pub const SCI: u8 = 9;

/// Q35: PCI configuration as memory, 256 MiB; where QEMU's own firmware puts it.
const ECAM: PhysRange = PhysRange::new(0xb000_0000, 256 << 20);
/// First address for devices below 4 GiB, unless RAM goes on above it.
const DEVICES: u64 = 0xc000_0000;
/// RAM's end, rounded to this, is where devices may start.
const DEVICES_ALIGN: u64 = 64 << 20;
/// Where devices below 4 GiB end: the I/O APIC.
const DEVICES_END: u64 = 0xfec0_0000;

/// I440FX: the bridge to ISA (PIIX3, PIIX4 function 0) and power management beside it.
const PIIX_ISA: Function = Function::new(0, 1, 0);
const PIIX4_PM: Function = Function::new(0, 1, 3);
const ID_PIIX4_PM: u32 = 0x7113_8086;
/// Q35: the bridge to LPC.
const ICH9_LPC: Function = Function::new(0, 31, 0);

/// Class of bridges, and class and subclass of bridges to PCI. PCI Code and ID Assignment, 1.7.
const CLASS_BRIDGE: u32 = 0x06;
const CLASS_BRIDGE_TO_PCI: u32 = 0x0604;

/// The four or eight inputs of the interrupt router, A to H.
type Pirq = u8;

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// 82441FX with PIIX3 or PIIX4: QEMU `pc`, Bochs.
    I440fx,
    /// Q35 with ICH9: QEMU `q35`.
    Q35,
}

/// Finds out which board this is.
///
/// # Errors
/// A [`Refusal`] on all others.
pub fn identify(config: &mut impl Config) -> Result<Board> {
    match config.read(HOST_BRIDGE, register::ID) {
        ID_I440FX => Ok(Board::I440fx),
        ID_Q35 => Ok(Board::Q35),
        _ => Err(Refusal {
            what: "hearth.rom does not know this board's chipset.",
            remedy: "Start Hearth from a disk with hearth.img; or in QEMU choose the machine q35 or pc.",
        }),
    }
}

impl Board {
    /// Puts power management at [`PM_BASE`] and ECAM at its place. QEMU writes both into the ACPI
    /// tables it hands out, so this comes before they are read.
    ///
    /// # Errors
    /// A [`Refusal`] when the board's power management is missing: hv could not tell the time.
    pub fn open(self, config: &mut impl Config) -> Result<()> {
        match self {
            Self::I440fx => {
                if config.read(PIIX4_PM, register::ID) != ID_PIIX4_PM {
                    return Err(Refusal {
                        what: "This virtual machine has no power management, and so no clock for Hearth.",
                        remedy: "Switch its ACPI on: in QEMU leave out acpi=off, in Bochs enable the acpi plugin.",
                    });
                }
                // PMBA, bit 0 says I/O; PMREGMISC, bit 0 opens it (PIIX4 7.3.1, 7.3.10).
                config.write32(PIIX4_PM, 0x40, u32::from(PM_BASE) | 1);
                config.write8(PIIX4_PM, 0x80, 1);
                config.write16(PIIX4_PM, register::COMMAND, command::IO);
                config.write8(PIIX4_PM, register::INTERRUPT, SCI);
            }
            Self::Q35 => {
                // PMBASE; ACPI_CNTL, bit 7 opens it, SCI on interrupt 9 (ICH9 13.1.11, 13.1.12).
                config.write32(ICH9_LPC, 0x40, u32::from(PM_BASE) | 1);
                config.write8(ICH9_LPC, 0x44, 1 << 7);
                // PCIEXBAR: upper half first, bit 0 opens it, 256 MiB (Q35 5.1.15).
                config.write32(HOST_BRIDGE, 0x64, (ECAM.base >> 32) as u32);
                config.write32(HOST_BRIDGE, 0x60, ECAM.base as u32 | 1);
            }
        }
        Ok(())
    }

    /// PCI configuration as memory; empty where the board has none.
    pub fn ecam(self) -> PhysRange {
        match self {
            Self::I440fx => PhysRange::new(0, 0),
            Self::Q35 => ECAM,
        }
    }

    /// Addresses below 4 GiB for devices on a board whose RAM below 4 GiB ends at `ram_end`.
    pub fn devices(self, ram_end: u64) -> PhysRange {
        let base = DEVICES.max(ram_end.next_multiple_of(DEVICES_ALIGN));
        PhysRange::new(base, DEVICES_END.saturating_sub(base))
    }

    /// First address below 4 GiB that is not RAM's.
    pub fn hole(self, ram_end: u64) -> u64 {
        match self {
            Self::I440fx => self.devices(ram_end).base,
            Self::Q35 => ECAM.base,
        }
    }

    /// Routes the inputs of the interrupt router to interrupts 10 and 11, level-triggered, so that
    /// devices' `Interrupt Line` registers tell the truth. The answer is for port 0x4D1.
    pub fn route_interrupts(self, config: &mut impl Config) -> u8 {
        let (router, registers): (_, &[u8]) = match self {
            Self::I440fx => (PIIX_ISA, &[0x60]),
            Self::Q35 => (ICH9_LPC, &[0x60, 0x68]),
        };
        for &register in registers {
            config.write32(router, register, u32::from_le_bytes(core::array::from_fn(|at| line(at as u8))));
        }
        // ELCR2, interrupts 8 to 15 (PIIX4 4.1.4).
        1 << (10 - 8) | 1 << (11 - 8)
    }

    /// The interrupt line of pin `pin` (0 = INTA) of `device` on bus 0.
    pub fn interrupt_line(self, device: u8, pin: u8) -> u8 {
        line(self.pirq(device, pin))
    }

    fn pirq(self, device: u8, pin: u8) -> Pirq {
        match self {
            // Wired on the board: each slot is one further than the last, slot 1 starts at A.
            Self::I440fx => (device + 3 + pin) % 4,
            // Chipset devices: their DxxIR registers say, after reset, A to D (ICH9 10.1.45).
            Self::Q35 if matches!(device, 25..=29 | 31) => pin,
            // Slots: E to H, each slot one further, as QEMU wires them (hw/isa/lpc_ich9.c).
            Self::Q35 => 4 + (device + pin) % 4,
        }
    }
}

/// The interrupt that a router's input is routed to: A, B → 10, C, D → 11, and so on.
const fn line(pirq: Pirq) -> u8 {
    10 + (pirq & 3) / 2
}

/// Whether a function is left as the board has it: bridges to anything but PCI (host, ISA, power
/// management). They have no base addresses, and what they decode is fixed or set by [`Board`].
pub fn is_fixed(config: &mut impl Config, function: Function) -> bool {
    let class = config.read(function, register::CLASS) >> 16;
    class >> 8 == CLASS_BRIDGE && class != CLASS_BRIDGE_TO_PCI
}

/// What a function's command register gets once its base addresses are assigned.
pub const DECODE: u16 = command::IO | command::MEMORY;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::tests::Fake;

    #[test]
    fn boards_are_told_apart_and_others_refused() {
        for (id, board) in [(ID_I440FX, Board::I440fx), (ID_Q35, Board::Q35)] {
            let mut config = Fake::new();
            config.add(HOST_BRIDGE, id, 0x0600_0000, &[]);
            assert_eq!(identify(&mut config), Ok(board));
        }
        assert!(identify(&mut Fake::new()).unwrap_err().remedy.contains("hearth.img"));
    }

    #[test]
    fn power_management_and_ecam_open_where_the_tables_will_say() {
        let mut config = Fake::new();
        config.add(HOST_BRIDGE, ID_Q35, 0x0600_0000, &[]);
        config.add(ICH9_LPC, 0x2918_8086, 0x0601_0000, &[]);
        assert_eq!(Board::Q35.open(&mut config), Ok(()));
        assert_eq!(config.read(ICH9_LPC, 0x40), 0x601);
        assert_eq!(config.read(HOST_BRIDGE, 0x60), 0xb000_0001);
        assert_eq!(Board::Q35.ecam().end(), DEVICES);

        let mut config = Fake::new();
        assert!(Board::I440fx.open(&mut config).unwrap_err().remedy.contains("ACPI"));
        config.add(PIIX4_PM, ID_PIIX4_PM, 0x0680_0000, &[]);
        assert_eq!(Board::I440fx.open(&mut config), Ok(()));
        assert_eq!((config.read(PIIX4_PM, 0x40), config.read(PIIX4_PM, 0x80)), (0x601, 1));
    }

    #[test]
    fn devices_start_above_ram() {
        assert_eq!(Board::I440fx.devices(0x2000_0000).base, 0xc000_0000);
        assert_eq!(Board::I440fx.devices(0xe000_0000).base, 0xe000_0000);
        assert_eq!(Board::I440fx.devices(0xdac0_0000).base, 0xdc00_0000);
        assert_eq!(Board::Q35.hole(0x2000_0000), 0xb000_0000);
    }

    #[test]
    fn every_pin_of_every_slot_gets_a_line_that_is_routed() {
        for board in [Board::I440fx, Board::Q35] {
            for (device, pin) in (0..32).flat_map(|device| (0..4).map(move |pin| (device, pin))) {
                assert!(matches!(board.interrupt_line(device, pin), 10 | 11));
            }
        }
        // QEMU pc: INTA of slot 3 is input C; q35: INTA of slot 2 is input G, of 1f.0 input A.
        assert_eq!(Board::I440fx.pirq(3, 0), 2);
        assert_eq!(Board::Q35.pirq(2, 0), 6);
        assert_eq!(Board::Q35.pirq(31, 0), 0);
    }
}
