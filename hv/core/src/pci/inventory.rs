//! All functions of the machine that can be handed out.

use super::{Address, Bus, Device, Messages};
use heapless::Vec;
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use hv_defs::pci::{MULTI_FUNCTION, register};

/// Most functions that are handed out.
pub const MAX_DEVICES: usize = 48;

/// What there is.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The functions, as they were found.
    pub devices: Vec<Device, MAX_DEVICES>,
    /// Pages of MSI-X tables, none twice: hv's alone.
    pub tables: Vec<PhysRange, MAX_DEVICES>,
    /// Functions that did not fit.
    pub left_out: usize,
}

impl Inventory {
    /// A list of nothing.
    pub const fn new() -> Self {
        Self { devices: Vec::new(), tables: Vec::new(), left_out: 0 }
    }

    /// Finds the functions on bus 0 and on the buses behind its bridges, as firmware has numbered
    /// them. A memory range that `lawful` denies is no device's; an MSI-X table in `screen` is none.
    pub fn take_stock(&mut self, bus: &mut impl Bus, screen: PhysRange, lawful: impl Fn(PhysRange) -> bool) {
        // A bus is numbered above the one it hangs from (PCI-to-PCI bridge 1.2, 3.2.5.3): one pass
        // meets each once, and no circle leads back.
        let mut reached = [false; 256];
        reached[0] = true;
        for number in 0..=u8::MAX {
            if !reached[usize::from(number)] {
                continue;
            }
            for slot in 0..32 {
                let first = u16::from(number) << 8 | slot << 3;
                for function in first..first + 8 {
                    let address = Address(function);
                    if bus.read(address, register::ID, 2) == 0xffff {
                        if function == first {
                            break;
                        }
                        continue;
                    }
                    let header = bus.read(address, register::HEADER_TYPE, 1);
                    match header & !MULTI_FUNCTION {
                        0 => self.add(bus, address, screen, &lawful),
                        1 => {
                            let behind = bus.read(address, register::SECONDARY_BUS, 1) as u8;
                            reached[usize::from(behind)] |= behind > number;
                        }
                        _ => {}
                    }
                    if function == first && header & MULTI_FUNCTION == 0 {
                        break;
                    }
                }
            }
        }
    }

    fn add(
        &mut self,
        bus: &mut impl Bus,
        address: Address,
        screen: PhysRange,
        lawful: &impl Fn(PhysRange) -> bool,
    ) {
        if is_hypervisors(bus.read(address, register::CLASS, 4)) {
            return;
        }
        let mut device = Device::examine(bus, address, lawful);
        if let Messages::MsiX { table, .. } = device.messages
            && !self.add_table(pages(table), screen)
        {
            device.silence();
        }
        self.left_out += usize::from(self.devices.push(device).is_err());
    }

    /// Answers whether hv can have the pages. Small devices may have their tables in the same one.
    fn add_table(&mut self, table: PhysRange, screen: PhysRange) -> bool {
        if self.tables.contains(&table) {
            return true;
        }
        let taken = self.tables.iter().chain([&screen]).any(|other| other.overlaps(table));
        !taken && self.tables.push(table).is_ok()
    }

    /// The function at that address, which may be any number.
    pub fn get(&self, address: u64) -> Option<&Device> {
        self.devices.iter().find(|device| u64::from(device.info.address) == address)
    }

    /// What of a base address' range its owner may have: its pages, but for those with MSI-X tables.
    pub fn pieces(&self, range: PhysRange) -> impl Iterator<Item = PhysRange> {
        let all = pages(range);
        let mut from = all.base;
        core::iter::from_fn(move || {
            while from < all.end() {
                let ahead = self.tables.iter().filter(|table| table.end() > from && table.base < all.end());
                let next = ahead.min_by_key(|table| table.base).copied();
                let next = next.unwrap_or(PhysRange::new(all.end(), 0));
                let piece = PhysRange::new(from, next.base.saturating_sub(from));
                from = next.end();
                if !piece.is_empty() {
                    return Some(piece);
                }
            }
            None
        })
    }
}

/// Whether functions of that class are for hv alone: bridges (the one to ISA has the power and timer
/// registers), I/O APICs and IOMMUs. PCI Code and ID Assignment Specification 1.11, 1.7 and 1.9.
fn is_hypervisors(class: u32) -> bool {
    class >> 24 == 0x06 || matches!(class >> 16, 0x0800 | 0x0806)
}

/// The whole pages that hold `range`.
fn pages(range: PhysRange) -> PhysRange {
    let base = range.base / PAGE_SIZE * PAGE_SIZE;
    PhysRange::new(base, range.end().div_ceil(PAGE_SIZE) * PAGE_SIZE - base)
}
