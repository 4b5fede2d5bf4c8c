//! The host bridge and its one bus: who answers at an address.

use super::bytes;
use super::config::{ConfigSpace, Identity};
use super::{Bell, Doorbell, Function, Shared};
use crate::bus::nobody;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::ops::Range;

/// Devices on a bus.
const SLOTS: usize = 32;
/// BARs of a function.
const BARS: usize = 6;
/// Where the address of a configuration access goes, and where its data (PCI 3.0, 3.2.2.3.2).
const ADDRESS_PORT: u16 = 0xcf8;
const DATA_PORTS: Range<u16> = 0xcfc..0xd00;
/// Bits of the address port that can be written, and the one that says that it is in use.
const ADDRESS_BITS: u32 = 0x80ff_fffc;
const ADDRESS_ENABLE: u32 = 1 << 31;

/// Where a guest finds its bus; its ACPI tables say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    /// Guest-physical address of its configuration space, a multiple of 1 MiB.
    pub ecam: u64,
    /// Guest-physical addresses that BARs are given at first, below 4 GiB.
    pub window: Range<u64>,
}

impl Bus {
    /// Bytes of configuration space: bus 0 only.
    pub const ECAM_BYTES: u64 = 1 << 20;
}

/// Why a function can't be plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlugError {
    /// There is no such slot, or something is in it.
    NoSuchSlot(u8),
    /// The window has no room for its BARs.
    NoRoom,
}

impl fmt::Display for PlugError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSlot(slot) => write!(f, "there is no PCI slot {slot}, or something is in it"),
            Self::NoRoom => write!(f, "the window for PCI devices is full"),
        }
    }
}

/// A function in its slot, and where its BARs are at first.
struct Slot {
    function: Shared<dyn Function>,
    first: [u64; BARS],
}

/// A BAR where the guest has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    first: u64,
    last: u64,
    slot: u8,
    bar: u8,
}

/// A guest's PCI bus. The bridge itself is device 0.
pub struct Bridge {
    bus: Bus,
    slots: [Option<Slot>; SLOTS],
    /// First address of the window that is still free.
    free: u64,
    /// The address port.
    selected: u32,
    /// The BARs that answer, by slot.
    placed: Vec<Placed>,
    moved: bool,
}

/// The bridge's own function: a class, and nothing to do.
struct HostBridge(ConfigSpace);

impl Function for HostBridge {
    fn config(&self) -> &ConfigSpace {
        &self.0
    }
    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.0
    }
    fn config_read(&mut self, offset: u64, size: u8) -> u64 {
        self.0.read(offset, size)
    }
    fn config_write(&mut self, offset: u64, size: u8, value: u64) {
        self.0.write(offset, size, value);
    }
    fn bar_read(&mut self, _: usize, _: u64, size: u8) -> u64 {
        nobody(size)
    }
    fn bar_write(&mut self, _: usize, _: u64, _: u8, _: u64) {}
    fn reset(&mut self) {
        self.0.reset();
    }
}

impl Bridge {
    /// A bus with nothing but the bridge on it.
    pub fn new(bus: Bus) -> Self {
        // The PCI Express host bridge of virtual machines by QEMU's list of PCI ids: guests know that
        // it needs no driver.
        let identity = Identity {
            vendor: 0x1b36,
            device: 8,
            revision: 0,
            class: 0x06_00_00,
            subsystem: (0x1af4, 0x1100),
        };
        let function = Rc::new(RefCell::new(HostBridge(ConfigSpace::new(&identity))));
        let mut slots = [const { None }; SLOTS];
        slots[0] = Some(Slot { function, first: [0; BARS] });
        Self { free: bus.window.start, bus, slots, selected: 0, placed: Vec::new(), moved: false }
    }

    /// Puts a function into slot 1 to 31, and its BARs into the window.
    ///
    /// # Errors
    /// [`PlugError`]; nothing has changed.
    pub fn plug(&mut self, slot: u8, function: Shared<dyn Function>) -> Result<(), PlugError> {
        let place = self.slots.get_mut(usize::from(slot)).filter(|place| place.is_none());
        let place = place.ok_or(PlugError::NoSuchSlot(slot))?;
        let mut first = [0; BARS];
        let mut free = self.free;
        for (index, address) in first.iter_mut().enumerate() {
            let Some(bar) = function.borrow().config().bar(index) else { continue };
            *address = free.checked_next_multiple_of(bar.size).ok_or(PlugError::NoRoom)?;
            let end = address.checked_add(bar.size).filter(|&end| end <= self.bus.window.end);
            free = end.ok_or(PlugError::NoRoom)?;
        }
        self.free = free;
        let slot = place.insert(Slot { function, first });
        slot.place_bars();
        self.place();
        Ok(())
    }

    /// As after power-on: BARs are where they were at first, and devices know nothing of a driver. What
    /// devices have begun with disks still goes on: see [`Bridge::is_quiet`].
    pub fn reset(&mut self) {
        self.selected = 0;
        for slot in self.slots.iter().flatten() {
            slot.function.borrow_mut().reset();
            slot.place_bars();
        }
        self.place();
    }

    /// Whether no device still has something to do with the guest's memory: after [`Bridge::reset`], and
    /// before that memory is given away or a new life begins in it, wait for this while the devices are
    /// polled.
    pub fn is_quiet(&self) -> bool {
        self.slots.iter().flatten().all(|slot| slot.function.borrow().is_quiet())
    }

    /// Reads guest-physical memory; `None`: nobody on this bus is there.
    pub fn mmio_read(&mut self, address: u64, size: u8) -> Option<u64> {
        if let Some(offset) = self.ecam_offset(address) {
            return Some(self.config_read(offset, size));
        }
        let (placed, function) = self.route(address)?;
        let value = function.borrow_mut().bar_read(usize::from(placed.bar), address - placed.first, size);
        Some(value)
    }

    /// Writes guest-physical memory; `false`: nobody on this bus is there.
    pub fn mmio_write(&mut self, address: u64, size: u8, value: u64) -> bool {
        if let Some(offset) = self.ecam_offset(address) {
            self.config_write(offset, size, value);
            return true;
        }
        let Some((placed, function)) = self.route(address) else { return false };
        function.borrow_mut().bar_write(usize::from(placed.bar), address - placed.first, size, value);
        true
    }

    /// Reads a port; `None`: it is none of the bridge's.
    pub fn port_read(&mut self, port: u16, size: u8) -> Option<u64> {
        if port == ADDRESS_PORT && size == 4 {
            return Some(u64::from(self.selected));
        }
        let offset = self.data_port_offset(port)?;
        Some(self.config_read(offset, size))
    }

    /// Writes a port; `false`: it is none of the bridge's.
    pub fn port_write(&mut self, port: u16, size: u8, value: u64) -> bool {
        if port == ADDRESS_PORT && size == 4 {
            self.selected = value as u32 & ADDRESS_BITS;
            return true;
        }
        let Some(offset) = self.data_port_offset(port) else { return false };
        self.config_write(offset, size, value);
        true
    }

    /// Whether doorbells may have changed since this was last asked.
    pub fn take_moved(&mut self) -> bool {
        core::mem::take(&mut self.moved)
    }

    /// Where a write only says that a queue has work, by slot and queue; no two overlap.
    pub fn doorbells(&self) -> Vec<Doorbell> {
        let mut all = Vec::new();
        for placed in &self.placed {
            let Some(slot) = self.slots.get(usize::from(placed.slot)).and_then(Option::as_ref) else {
                continue;
            };
            let bells = slot.function.borrow().bells();
            let here = bells.into_iter().filter(|bell| bell.bar == usize::from(placed.bar));
            all.extend(here.filter_map(|bell| self.doorbell(placed, &bell)));
        }
        all
    }

    /// A bell of a BAR, unless another function or configuration space answers there.
    fn doorbell(&self, placed: &Placed, bell: &Bell) -> Option<Doorbell> {
        let address = placed.first.checked_add(bell.offset)?;
        let last = address.checked_add(bell.len.checked_sub(1)?)?;
        let ours = |address| {
            self.ecam_offset(address).is_none()
                && self.route(address).is_some_and(|(found, _)| found == *placed)
        };
        (ours(address) && ours(last)).then_some(Doorbell {
            address,
            len: bell.len,
            slot: placed.slot,
            queue: bell.queue,
        })
    }

    fn ecam_offset(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.bus.ecam).filter(|&offset| offset < Bus::ECAM_BYTES)
    }

    /// The offset into configuration space that a data port stands for, if it is one: nobody's where the
    /// address port names nothing.
    fn data_port_offset(&self, port: u16) -> Option<u64> {
        if !DATA_PORTS.contains(&port) {
            return None;
        }
        if self.selected & ADDRESS_ENABLE == 0 {
            return Some(u64::MAX);
        }
        let function = u64::from(self.selected >> 8 & 0xffff) << 12;
        Some(function + u64::from(self.selected & 0xfc) + u64::from(port - DATA_PORTS.start))
    }

    /// The function at an offset into configuration space: there is one bus, of functions 0.
    fn function_at(&self, offset: u64) -> Option<&Shared<dyn Function>> {
        let number = offset >> 12;
        let slot = self.slots.get(usize::try_from(number / 8).ok()?)?.as_ref()?;
        number.is_multiple_of(8).then_some(&slot.function)
    }

    fn config_read(&mut self, offset: u64, size: u8) -> u64 {
        let function = self.function_at(offset);
        function.map_or(nobody(size), |function| function.borrow_mut().config_read(offset & 0xfff, size))
    }

    fn config_write(&mut self, offset: u64, size: u8, value: u64) {
        if let Some(function) = self.function_at(offset) {
            function.borrow_mut().config_write(offset & 0xfff, size, value);
            // COMMAND and BARs; nothing else moves memory.
            if bytes::touches(offset & 0xfff, size, 4, 0x24) {
                self.place();
            }
        }
    }

    /// Who answers at an address: the lowest slot, if a guest has put BARs over each other.
    fn route(&self, address: u64) -> Option<(Placed, &Shared<dyn Function>)> {
        let placed = self.placed.iter().find(|placed| (placed.first..=placed.last).contains(&address))?;
        let slot = self.slots.get(usize::from(placed.slot))?.as_ref()?;
        Some((*placed, &slot.function))
    }

    /// Finds out where BARs are now.
    fn place(&mut self) {
        let mut placed = Vec::new();
        for (number, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let function = slot.function.borrow();
            let config = function.config();
            for bar in 0..BARS {
                if let (Some(size), Some(first)) = (config.bar(bar), config.bar_address(bar)) {
                    let last = first.saturating_add(size.size - 1);
                    placed.push(Placed { first, last, slot: number as u8, bar: bar as u8 });
                }
            }
        }
        self.moved |= placed != self.placed;
        self.placed = placed;
    }
}

impl Slot {
    fn place_bars(&self) {
        let mut function = self.function.borrow_mut();
        for (index, &address) in self.first.iter().enumerate() {
            function.config_mut().place_bar(index, address);
        }
    }
}
