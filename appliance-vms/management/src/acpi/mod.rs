//! The ACPI tables that tell a guest what its PC has. ACPI 6.5; PCI Firmware Specification 3.3, 4.1.
//!
//! Hardware-reduced: no PIC, no PIT, no SCI. Power off, reset and the power button go through
//! [`crate::models::power`]'s registers.

mod dsdt;
#[cfg(test)]
mod tests;

use crate::memory::{GuestMemory, NotRam};
use crate::platform::{ECAM, IO_APIC, LOCAL_APIC, Ram, TABLES, port};
use acpi_tables::Aml;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use alloc::vec::Vec;
use hv_abi::memory::PhysRange;

const OEM: [u8; 6] = *b"HEARTH";
const OEM_TABLE: [u8; 8] = *b"HEARTHPC";
const REVISION: u32 = 1;

/// Address of the root pointer: where a scan looks first.
pub const ROOT: u64 = TABLES.base;
/// Tables begin at multiples of this.
const ALIGN: usize = 64;
/// The RTC's register for the century.
const CENTURY: u8 = 0x32;
/// Boot flags: no VGA to probe for. No bit says that there is a keyboard controller. ACPI 6.5, table 5.11.
const NO_VGA: u16 = 1 << 2;

/// Puts the tables into a guest's RAM at [`TABLES`]; the root pointer is at [`ROOT`].
///
/// # Errors
/// [`NotRam`]: there is none at [`TABLES`].
pub fn install(memory: &dyn GuestMemory, ram: Ram, vcpus: u8) -> Result<(), NotRam> {
    memory.write(ROOT, &tables(ram, vcpus))
}

/// The tables as they lie from [`ROOT`] on, for a guest with `vcpus` vCPUs.
pub fn tables(ram: Ram, vcpus: u8) -> Vec<u8> {
    // The root pointer comes first, and is known last.
    let mut blob = Blob(alloc::vec![0; Rsdp::len()]);
    let dsdt = blob.add(&dsdt::Dsdt(ram));
    let entries = [blob.add(&fadt(dsdt)), blob.add(&madt(vcpus)), blob.add(&mcfg())];
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, REVISION);
    for entry in entries {
        xsdt.add_entry(entry);
    }
    let (xsdt, rsdt) = (blob.add(&xsdt), blob.add(&rsdt(entries)));
    blob.0.iter_mut().zip(root(xsdt, rsdt)).for_each(|(to, from)| *to = from);
    blob.0
}

/// The table of short addresses, which is all that small kernels read. ACPI 6.5, 5.2.7.
fn rsdt(entries: [u64; 3]) -> Sdt {
    const HEADER: u32 = 36;
    let mut rsdt = Sdt::new(*b"RSDT", HEADER, 1, OEM, OEM_TABLE, REVISION);
    // All tables are below 1 MiB.
    for entry in entries {
        rsdt.append(entry as u32);
    }
    rsdt
}

/// The root pointer. ACPI 6.5, 5.2.5.3.
fn root(xsdt: u64, rsdt: u64) -> Vec<u8> {
    let mut root = Vec::new();
    Rsdp::new(OEM, xsdt).to_aml_bytes(&mut root);
    // The crate knows nothing of the RSDT: its address is put in, and taken off both checksums, of which
    // the second is over the first, too, and so stays as it is.
    let address = (rsdt as u32).to_le_bytes();
    root.iter_mut().skip(16).zip(address).for_each(|(to, from)| *to = from);
    if let Some(checksum) = root.get_mut(8) {
        *checksum = address.iter().fold(*checksum, |sum, byte| sum.wrapping_sub(*byte));
    }
    root
}

/// Tables, one after the other.
struct Blob(Vec<u8>);

impl Blob {
    /// Adds a table, and answers where it is.
    fn add(&mut self, table: &dyn Aml) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        let address = ROOT + self.0.len() as u64;
        table.to_aml_bytes(&mut self.0);
        address
    }
}

/// A register of one byte at a port.
fn byte_at(port: u64) -> GAS {
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port)
}

/// Fixed hardware. ACPI 6.5, 5.2.9. The PM timer stands where kernels look for it even here: they
/// calibrate by it.
fn fadt(dsdt: u64) -> acpi_tables::fadt::FADT {
    use crate::models::power::register as power;
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, REVISION)
        .dsdt_64(dsdt)
        .preferred_pm_profile(PmProfile::AppliancePc)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup)
        .flag(Flags::HwReducedAcpi);
    fadt.century = CENTURY;
    fadt.iapc_boot_arch = NO_VGA.into();
    fadt.pm_tmr_blk = (port::PM_TIMER.base as u32).into();
    fadt.pm_tmr_len = port::PM_TIMER.len as u8;
    fadt.x_pm_tmr_blk = GAS::new(AddressSpace::SystemIo, 32, 0, AccessSize::DwordAccess, port::PM_TIMER.base);
    fadt.reset_reg = byte_at(power::port(power::RESET));
    fadt.reset_value = power::RESET_VALUE;
    fadt.sleep_control_reg = byte_at(power::port(power::SLEEP_CONTROL));
    fadt.sleep_status_reg = byte_at(power::port(power::SLEEP_STATUS));
    fadt.finalize()
}

/// Interrupt controllers: a local APIC for each vCPU, named by its index, and the I/O APIC. ACPI 6.5, 5.2.12.
fn madt(vcpus: u8) -> MADT {
    let mut madt = MADT::new(OEM, OEM_TABLE, REVISION, LocalInterruptController::Address(LOCAL_APIC));
    for id in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, IO_APIC, 0));
    madt
}

/// Where configuration space is. PCI Firmware Specification 3.3, 4.1.2.
fn mcfg() -> MCFG {
    let PhysRange { base, len } = ECAM;
    let mut mcfg = MCFG::new(OEM, OEM_TABLE, REVISION);
    mcfg.add_ecam(base, 0, 0, ((len >> 20) - 1) as u8);
    mcfg
}
