//! ACPI tables for a board whose machine brings none (Bochs): root pointer, XSDT, FADT, MADT, and
//! a DSDT that names nothing, because the FADT must have one. ACPI 6.5, chapter 5.2.

use super::checksum;

/// What the tables say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description<'d> {
    /// The CPUs' local APIC IDs, the first CPU's first.
    pub cpus: &'d [u8],
    /// The I/O APIC's ID; it sits at [`IO_APIC`] and serves interrupts from 0.
    pub io_apic_id: u8,
    /// I/O port of PM1a events (4 bytes); control (2 bytes) and timer follow as in `chipset`.
    pub pm_base: u16,
    /// I/O port of PM1a control.
    pub pm_control: u16,
    /// I/O port of the PM timer, 24 bits.
    pub pm_timer: u16,
    /// The interrupt of power management.
    pub sci: u8,
}

/// Where PCs have the local APICs and the first I/O APIC.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// As above.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The port that resets the machine, and what to write. PIIX4 4.1.5.5 (`RC`): hard reset.
const RESET_PORT: u16 = 0xcf9;
const RESET_VALUE: u8 = 0x06;

/// Bytes of memory the tables need at most, for 255 CPUs.
pub const MEMORY: usize = 4096;

const HEADER: usize = 36;
const XSDT: usize = HEADER + 2 * 8;
const DSDT: usize = HEADER;
/// The FADT of ACPI 2.0 to 4.0, revision 3: all that the later ones add is zero here.
const FADT: usize = 244;
const ROOT: usize = 36;

/// Where each table starts: multiples of 16, as the root pointer must (5.2.5.1).
const AT_ROOT: usize = 0;
const AT_XSDT: usize = 48;
const AT_DSDT: usize = 112;
const AT_FADT: usize = 160;
const AT_MADT: usize = 416;

const _: () = assert!(AT_ROOT + ROOT <= AT_XSDT && AT_XSDT + XSDT <= AT_DSDT);
const _: () = assert!(AT_DSDT + DSDT <= AT_FADT && AT_FADT + FADT <= AT_MADT);
const _: () = assert!(AT_MADT + HEADER + 8 + 255 * 8 + 12 + 5 * 10 + 6 <= MEMORY);

/// Writes the tables to `memory`, which lies at the physical address `base`, and answers where the
/// root pointer is.
///
/// # Panics
/// When there are more than 255 CPUs: APIC IDs have 8 bits here.
pub fn write(description: &Description<'_>, memory: &mut [u8; MEMORY], base: u64) -> u64 {
    memory.fill(0);
    let address = |at: usize| (base + at as u64).to_le_bytes();
    let madt = madt(description, &mut memory[AT_MADT..]);
    header(&mut memory[AT_MADT..AT_MADT + madt], *b"APIC", 3);
    fadt(description, &mut memory[AT_FADT..AT_FADT + FADT], base + AT_DSDT as u64);
    header(&mut memory[AT_DSDT..AT_DSDT + DSDT], *b"DSDT", 2);

    put(memory, AT_XSDT + HEADER, address(AT_FADT));
    put(memory, AT_XSDT + HEADER + 8, address(AT_MADT));
    header(&mut memory[AT_XSDT..AT_XSDT + XSDT], *b"XSDT", 1);

    // Root pointer: 5.2.5.3. Two checksums: over the first 20 bytes, then over all.
    put(memory, AT_ROOT, *b"RSD PTR ");
    put(memory, AT_ROOT + 9, OEM);
    memory[AT_ROOT + 15] = 2;
    put(memory, AT_ROOT + 20, (ROOT as u32).to_le_bytes());
    put(memory, AT_ROOT + 24, address(AT_XSDT));
    memory[AT_ROOT + 8] = checksum(&memory[AT_ROOT..AT_ROOT + 20]);
    memory[AT_ROOT + 32] = checksum(&memory[AT_ROOT..AT_ROOT + ROOT]);
    base + AT_ROOT as u64
}

const OEM: [u8; 6] = *b"HEARTH";

fn put<const N: usize>(memory: &mut [u8], at: usize, bytes: [u8; N]) {
    memory[at..at + N].copy_from_slice(&bytes);
}

/// Fills the header of a table whose other bytes are final. 5.2.6.
fn header(table: &mut [u8], signature: [u8; 4], revision: u8) {
    let len = table.len() as u32;
    put(table, 0, signature);
    put(table, 4, len.to_le_bytes());
    table[8] = revision;
    put(table, 10, OEM);
    put(table, 16, *b"ROM     ");
    put(table, 24, 1_u32.to_le_bytes());
    put(table, 28, *b"HRTH");
    put(table, 32, 1_u32.to_le_bytes());
    table[9] = checksum(table);
}

/// A register in I/O space: Generic Address Structure, 5.2.3.2.
fn port(port: u16, bits: u8) -> [u8; 12] {
    const IO_SPACE: u8 = 1;
    let [low, high] = port.to_le_bytes();
    let access = match bits {
        8 => 1,
        16 => 2,
        _ => 3,
    };
    [IO_SPACE, bits, 0, access, low, high, 0, 0, 0, 0, 0, 0]
}

/// 5.2.9. SMI_CMD stays 0: the machine is in ACPI mode already.
fn fadt(description: &Description<'_>, table: &mut [u8], dsdt: u64) {
    const WBINVD: u32 = 1 << 0;
    const HALT_IN_C1: u32 = 1 << 2;
    const NO_POWER_BUTTON: u32 = 1 << 4;
    const NO_SLEEP_BUTTON: u32 = 1 << 5;
    const RESET_REGISTER: u32 = 1 << 10;
    const LEGACY_DEVICES: u16 = 1 << 0;
    const KEYBOARD: u16 = 1 << 1;
    let flags = WBINVD | HALT_IN_C1 | NO_POWER_BUTTON | NO_SLEEP_BUTTON | RESET_REGISTER;
    let Description { pm_base, pm_control, pm_timer, sci, .. } = *description;
    put(table, 40, (dsdt as u32).to_le_bytes());
    put(table, 46, u16::from(sci).to_le_bytes());
    put(table, 56, u32::from(pm_base).to_le_bytes());
    put(table, 64, u32::from(pm_control).to_le_bytes());
    put(table, 76, u32::from(pm_timer).to_le_bytes());
    put(table, 88, [4, 2, 0, 4]);
    // C2 and C3 latencies that mean "not supported".
    put(table, 96, 101_u16.to_le_bytes());
    put(table, 98, 1001_u16.to_le_bytes());
    put(table, 109, (LEGACY_DEVICES | KEYBOARD).to_le_bytes());
    put(table, 112, flags.to_le_bytes());
    put(table, 116, port(RESET_PORT, 8));
    table[128] = RESET_VALUE;
    put(table, 140, dsdt.to_le_bytes());
    put(table, 148, port(pm_base, 32));
    put(table, 172, port(pm_control, 16));
    put(table, 208, port(pm_timer, 32));
    header(table, *b"FACP", 3);
}

/// 5.2.12, without its header; answers the table's length.
fn madt(description: &Description<'_>, table: &mut [u8]) -> usize {
    const LOCAL: u8 = 0;
    const IO: u8 = 1;
    const OVERRIDE: u8 = 2;
    const NMI: u8 = 4;
    const ENABLED: u32 = 1;
    const ALSO_PIC: u32 = 1;
    const HIGH_LEVEL: u16 = 0b1101;
    const ALL: u8 = 0xff;
    assert!(description.cpus.len() <= 255, "APIC IDs have 8 bits");
    put(table, HEADER, LOCAL_APIC.to_le_bytes());
    put(table, HEADER + 4, ALSO_PIC.to_le_bytes());
    let mut at = HEADER + 8;
    for (number, &id) in description.cpus.iter().enumerate() {
        put(table, at, [LOCAL, 8, number as u8, id]);
        put(table, at + 4, ENABLED.to_le_bytes());
        at += 8;
    }
    put(table, at, [IO, 12, description.io_apic_id, 0]);
    put(table, at + 4, IO_APIC.to_le_bytes());
    at += 12;
    // The timer's interrupt 0 is wired to input 2; the interrupts that PCI shares are levels.
    for (source, input, flags) in
        [(0, 2, 0), (5, 5, HIGH_LEVEL), (9, 9, HIGH_LEVEL), (10, 10, HIGH_LEVEL), (11, 11, HIGH_LEVEL)]
    {
        put(table, at, [OVERRIDE, 10, 0, source]);
        put(table, at + 4, u32::to_le_bytes(input));
        put(table, at + 8, flags.to_le_bytes());
        at += 10;
    }
    // NMI comes to LINT1 of every CPU.
    put(table, at, [NMI, 6, ALL, 0, 0, 1]);
    at + 6
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const BASE: u64 = 0x1fff_f000;

    fn written(cpus: &[u8]) -> [u8; MEMORY] {
        let mut memory = [0xaa; MEMORY];
        let description =
            Description { cpus, io_apic_id: 4, pm_base: 0x600, pm_control: 0x604, pm_timer: 0x608, sci: 9 };
        assert_eq!(write(&description, &mut memory, BASE), BASE);
        memory
    }

    fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
        bytes[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    fn table(memory: &[u8], address: u64) -> &[u8] {
        let at = (address - BASE) as usize;
        let len = number(memory, at + 4, 4) as usize;
        assert_eq!(checksum(&memory[at..at + len]), 0);
        &memory[at..at + len]
    }

    #[test]
    fn every_table_is_found_from_the_root_and_adds_up() {
        let memory = written(&[0, 1]);
        assert_eq!(&memory[..8], b"RSD PTR ");
        assert_eq!((checksum(&memory[..20]), checksum(&memory[..36])), (0, 0));
        let xsdt = table(&memory, number(&memory, 24, 8));
        assert_eq!(&xsdt[..4], b"XSDT");
        let fadt = table(&memory, number(xsdt, 36, 8));
        assert_eq!(&fadt[..4], b"FACP");
        assert_eq!(&table(&memory, number(xsdt, 44, 8))[..4], b"APIC");
        assert_eq!(&table(&memory, number(fadt, 140, 8))[..4], b"DSDT");
        assert_eq!(number(fadt, 40, 4), number(fadt, 140, 8));
    }

    #[test]
    fn the_timer_and_the_reset_register_are_where_they_are() {
        let memory = written(&[0]);
        let fadt = table(&memory, BASE + AT_FADT as u64);
        assert_eq!((number(fadt, 76, 4), fadt[91]), (0x608, 4));
        assert_eq!(fadt[208..220], [1, 32, 0, 3, 0x08, 0x06, 0, 0, 0, 0, 0, 0]);
        assert_eq!((fadt[116], number(fadt, 120, 8), fadt[128]), (1, 0xcf9, 6));
        assert_ne!(number(fadt, 112, 4) & 1 << 10, 0, "the reset register is said to work");
    }

    #[test]
    fn the_madt_names_each_cpu_once() {
        let all: Vec<u8> = (0..255).collect();
        for cpus in [&[0][..], &[0, 2, 5], &all] {
            let memory = written(cpus);
            let madt = table(&memory, BASE + AT_MADT as u64);
            let (mut at, mut found, mut entries) = (44, Vec::new(), 0);
            while at < madt.len() {
                if madt[at] == 0 {
                    assert_eq!(number(madt, at + 4, 4), 1);
                    found.push(madt[at + 3]);
                }
                entries += 1;
                at += usize::from(madt[at + 1]);
            }
            assert_eq!((at, entries), (madt.len(), cpus.len() + 7));
            assert_eq!(found, cpus);
        }
    }
}
