//! The few ACPI tables hv needs: which CPUs there are, where the PM timer is, how to reset and to
//! switch off.
//! ACPI specification 6.5, chapter 5.2.
//!
//! Everything read here was written by firmware: lengths are bounded, checksums checked, and a
//! table that breaks the rules is refused by name.

mod power;

pub use power::PowerOff;

use core::fmt;
use derive_more::Display;
use heapless::Vec;

/// Most CPUs hv looks at.
pub const MAX_CPUS: usize = 256;
/// Most tables of a root table that are looked at.
const MAX_TABLES: usize = 128;
/// Bytes of a table header (5.2.6).
const HEADER: u64 = 36;
/// Longest table that is believed.
const MAX_TABLE: u64 = 1 << 20;

/// Physical memory that can be read.
pub trait PhysicalMemory {
    /// Fills `buffer` from `address`, or answers `false` where there is nothing to read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool;
}

/// What is wrong with the tables.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq)]
pub enum Fault {
    /// The door found no root pointer.
    #[display("the firmware gives no ACPI root pointer")]
    NoRoot,
    /// The table is not where it is said to be, or its length is impossible.
    #[display("the ACPI table {_0} can't be read")]
    Unreadable(Name),
    /// The bytes do not add up to zero.
    #[display("the ACPI table {_0} has a wrong checksum")]
    Checksum(Name),
    /// The machine needs this table to tell us something we can't do without.
    #[display("the firmware has no ACPI table {_0}")]
    Missing(Name),
}

/// A table's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub [u8; 4]);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.0).unwrap_or("????"))
    }
}

/// A register in I/O or memory space: Generic Address Structure, 5.2.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Memory (false) or I/O port (true).
    pub is_port: bool,
    /// Its address.
    pub address: u64,
}

/// How the machine is reset: 4.8.3.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Where to write.
    pub register: Register,
    /// What to write; 8 bits.
    pub value: u8,
}

/// What hv takes from the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Local APIC IDs of the CPUs that may be started, in the firmware's order.
    pub cpus: Vec<u32, MAX_CPUS>,
    /// CPUs that did not fit.
    pub cpus_left_out: usize,
    /// Physical address of the xAPIC page.
    pub local_apic: u64,
    /// The PM timer's I/O port and width in bits (4.8.3.3), if it has one.
    pub pm_timer: Option<(u16, u32)>,
    /// The reset register, if it has one.
    pub reset: Option<Reset>,
    /// How it is switched off, if the tables say so.
    pub power_off: Option<PowerOff>,
}

/// Reads the tables under the root pointer at `rsdp`.
///
/// # Errors
/// [`Fault`], when there is no root pointer, no MADT, or a table on the way is broken. A broken
/// FADT costs only what it would have told.
pub fn read(memory: &impl PhysicalMemory, rsdp: u64) -> Result<Platform, Fault> {
    let mut platform = Platform {
        cpus: Vec::new(),
        cpus_left_out: 0,
        local_apic: 0,
        pm_timer: None,
        reset: None,
        power_off: None,
    };
    let mut madt = Err(Fault::Missing(Name(*b"APIC")));
    for address in tables(memory, rsdp)? {
        let mut name = [0; 4];
        if !memory.read(address, &mut name) {
            continue;
        }
        match &name {
            b"APIC" if madt.is_err() => madt = read_madt(memory, address, &mut platform),
            b"FACP" => {
                // A machine without its comforts is better than no machine.
                let _ = read_fadt(memory, address, &mut platform);
            }
            _ => {}
        }
    }
    madt.map(|()| platform)
}

/// The addresses in the root table: XSDT if there is one, else RSDT (5.2.5.3, 5.2.7, 5.2.8).
fn tables(memory: &impl PhysicalMemory, rsdp: u64) -> Result<Vec<u64, MAX_TABLES>, Fault> {
    const ROOT: Name = Name(*b"RSD ");
    if rsdp == 0 {
        return Err(Fault::NoRoot);
    }
    let mut pointer = [0; 36];
    if !memory.read(rsdp, &mut pointer[..20]) || &pointer[..8] != b"RSD PTR " {
        return Err(Fault::Unreadable(ROOT));
    }
    if sum(&pointer[..20]) != 0 {
        return Err(Fault::Checksum(ROOT));
    }
    let revision = pointer[15];
    let xsdt = if revision >= 2 && memory.read(rsdp, &mut pointer) {
        if sum(&pointer) != 0 {
            return Err(Fault::Checksum(ROOT));
        }
        u64_at(&pointer, 24)
    } else {
        0
    };
    let (root, name, width) =
        if xsdt == 0 { (u64::from(u32_at(&pointer, 16)), *b"RSDT", 4) } else { (xsdt, *b"XSDT", 8) };
    let len = checked(memory, root, Name(name))?;
    let mut found = Vec::new();
    for at in (HEADER..len.saturating_sub(width - 1)).step_by(width as usize) {
        let mut entry = [0; 8];
        if memory.read(root + at, &mut entry[..width as usize])
            && found.push(u64::from_le_bytes(entry)).is_err()
        {
            break;
        }
    }
    Ok(found)
}

/// The length of the table at `address`, once its signature, length and checksum are right.
fn checked(memory: &impl PhysicalMemory, address: u64, name: Name) -> Result<u64, Fault> {
    let mut header = [0; HEADER as usize];
    if !memory.read(address, &mut header) || header[..4] != name.0 {
        return Err(Fault::Unreadable(name));
    }
    let len = u64::from(u32_at(&header, 4));
    if !(HEADER..=MAX_TABLE).contains(&len) {
        return Err(Fault::Unreadable(name));
    }
    let mut total = 0_u8;
    let mut at = 0;
    while at < len {
        let mut bytes = [0; 64];
        let part = (len - at).min(64) as usize;
        if !memory.read(address + at, &mut bytes[..part]) {
            return Err(Fault::Unreadable(name));
        }
        total = total.wrapping_add(sum(&bytes[..part]));
        at += part as u64;
    }
    if total == 0 { Ok(len) } else { Err(Fault::Checksum(name)) }
}

/// Multiple APIC Description Table, 5.2.12.
fn read_madt(memory: &impl PhysicalMemory, address: u64, platform: &mut Platform) -> Result<(), Fault> {
    const NAME: Name = Name(*b"APIC");
    let len = checked(memory, address, NAME)?;
    let mut fixed = [0; 44];
    if len < 44 || !memory.read(address, &mut fixed) {
        return Err(Fault::Unreadable(NAME));
    }
    platform.local_apic = u64::from(u32_at(&fixed, 36));
    let mut at = 44;
    while at + 2 <= len {
        let mut entry = [0; 16];
        let rest = (len - at).min(16) as usize;
        if !memory.read(address + at, &mut entry[..rest]) {
            return Err(Fault::Unreadable(NAME));
        }
        let size = usize::from(entry[1]);
        if size < 2 || at + size as u64 > len {
            return Err(Fault::Unreadable(NAME));
        }
        match (entry[0], size) {
            // Processor Local APIC, 5.2.12.2: ID at 3, flags at 4
            (0, 8) => add_cpu(platform, u32::from(entry[3]), u32_at(&entry, 4)),
            // Local APIC Address Override, 5.2.12.8
            (5, 12) => platform.local_apic = u64_at(&entry, 4),
            // Processor Local x2APIC, 5.2.12.12: ID at 4, flags at 8
            (9, 16) => add_cpu(platform, u32_at(&entry, 4), u32_at(&entry, 8)),
            _ => {}
        }
        at += size as u64;
    }
    Ok(())
}

/// Adds a CPU that is enabled (flag bit 0). One that could only be plugged in later (bit 1) is not there.
fn add_cpu(platform: &mut Platform, id: u32, flags: u32) {
    if flags & 1 != 0 && !platform.cpus.contains(&id) && platform.cpus.push(id).is_err() {
        platform.cpus_left_out += 1;
    }
}

/// Fixed ACPI Description Table, 5.2.9.
fn read_fadt(memory: &impl PhysicalMemory, address: u64, platform: &mut Platform) -> Result<(), Fault> {
    const NAME: Name = Name(*b"FACP");
    const FLAG_TIMER_32_BITS: u32 = 1 << 8;
    const FLAG_RESET: u32 = 1 << 10;
    let len = checked(memory, address, NAME)?.min(FADT as u64);
    let mut table = [0; FADT];
    if !memory.read(address, &mut table[..len as usize]) {
        return Err(Fault::Unreadable(NAME));
    }
    let flags = u32_at(&table, 112);
    let width = if flags & FLAG_TIMER_32_BITS == 0 { 24 } else { 32 };
    platform.pm_timer = port(&table, 76, 208).map(|port| (port, width));
    let reset = Reset { register: register(&table, 116), value: table[128] };
    platform.reset = (flags & FLAG_RESET != 0 && reset.register.address != 0).then_some(reset);
    platform.power_off = power::read(memory, &table);
    Ok(())
}

/// Bytes of the FADT that are read: to the sleep control register's end.
const FADT: usize = 256;

/// The I/O port of a register block: its 32-bit field, or the later one that has an address space.
fn port(fadt: &[u8], at: usize, extended: usize) -> Option<u16> {
    let address = match u32_at(fadt, at) {
        0 => Some(register(fadt, extended)).filter(|block| block.is_port)?.address,
        port => u64::from(port),
    };
    u16::try_from(address).ok().filter(|&port| port != 0)
}

fn register(table: &[u8], at: usize) -> Register {
    Register { is_port: table[at] == 1, address: u64_at(table, at + 4) }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |total, byte| total.wrapping_add(*byte))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests;
