//! The machine's PCI devices, as hv hands them out.

use crate::hypercall::{self, Outcome, Refused};
use crate::{dma, paging};
use core::fmt;
use hv_abi::device::DeviceInfo;
use hv_abi::hypercall::{Call, Status};
use hv_abi::memory::PhysRange;
use hv_defs::pci::{CONFIG_SIZE, STATUS_CAPABILITIES, command, register};
use management::executor::Event;

/// Capabilities that fit behind the header: a longer list is a circle.
const MAX_CAPABILITIES: usize = (CONFIG_SIZE - register::FIRST_FREE as usize) / 4;

/// A PCI function.
#[derive(Clone, Copy)]
pub struct Device {
    /// What hv says of it.
    pub info: DeviceInfo,
}

/// Its address, as `00:03.0`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.info.address;
        write!(f, "{:02x}:{:02x}.{}", address >> 8, address >> 3 & 0x1f, address & 7)
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = Device> {
    (0..).map_while(|index| hypercall::device(index).ok().flatten()).map(|info| Device { info })
}

impl Device {
    /// Reads 1, 2 or 4 bytes of its configuration space.
    ///
    /// # Errors
    /// There is no such register.
    pub fn read(&self, offset: u8, size: u8) -> Outcome<u32> {
        hypercall::read_config(self.info.address, offset, size)
    }

    /// Writes them; what hv keeps for itself stays as it is.
    ///
    /// # Errors
    /// There is no such register.
    pub fn write(&self, offset: u8, size: u8, value: u32) -> Outcome {
        hypercall::write_config(self.info.address, offset, size, value)
    }

    /// Lets it answer on its BARs and reach memory; its interrupts come as messages.
    ///
    /// # Errors
    /// hv does not let this VM.
    pub fn switch_on(&self) -> Outcome {
        self.write(register::COMMAND, 2, command::MEMORY | command::MASTER | command::NO_LINE)
    }

    /// Lets it reach no memory any more, whatever it is at.
    pub fn cut_off(&self) {
        // Its own device: hv does not refuse.
        let _ = self.write(register::COMMAND, 2, command::NO_LINE);
    }

    /// Its capabilities: identifier and offset of each (PCI 6.7).
    pub fn capabilities(&self) -> impl Iterator<Item = (u8, u8)> {
        let status = self.read(register::STATUS, 2).unwrap_or_default();
        let first = if status & STATUS_CAPABILITIES == 0 { 0 } else { u32::from(register::CAPABILITIES) };
        let mut next = if first == 0 { 0 } else { self.read(first as u8, 1).unwrap_or_default() };
        let device = *self;
        core::iter::from_fn(move || {
            let at = next as u8 & !3;
            let head = (at >= register::FIRST_FREE).then(|| device.read(at, 4).ok()).flatten()?;
            next = head >> 8;
            Some((head as u8, at))
        })
        .take(MAX_CAPABILITIES)
    }

    /// Has a BAR mapped; hv keeps the pages of the MSI-X table.
    ///
    /// # Errors
    /// There is no such BAR, or no memory for page tables.
    pub fn map(&self, bar: usize) -> Outcome<Registers> {
        let refused = |status| Refused { call: Call::DEV_MAP, status };
        let range = self.info.bars.get(bar).copied().filter(|range| !range.is_empty());
        let range = range.ok_or(refused(Status::BAD_ARGUMENT))?;
        hypercall::map_bar(self.info.address, bar)?;
        paging::map_device(range).map_err(|_| refused(Status::NO_ROOM))?;
        Ok(Registers { range })
    }

    /// Has a message of it set an event.
    ///
    /// # Errors
    /// There is no such message, or hv has no interrupt left for it.
    pub fn bind(&self, message: u16, event: &Event) -> Outcome {
        hypercall::bind(self.info.address, message.into(), Some(event.number()))
    }

    /// Has a message of it set no event any more.
    pub fn unbind(&self, message: u16) {
        // A message that was bound can be masked.
        let _ = hypercall::bind(self.info.address, message.into(), None);
    }
}

/// Registers of a device in memory. What is not there reads all ones, and ignores writes.
#[derive(Clone, Copy)]
pub struct Registers {
    range: PhysRange,
}

/// What a register holds.
pub trait Word: Copy {
    /// All ones.
    const NOBODY: Self;
}

impl Word for u8 {
    const NOBODY: Self = Self::MAX;
}
impl Word for u16 {
    const NOBODY: Self = Self::MAX;
}
impl Word for u32 {
    const NOBODY: Self = Self::MAX;
}

impl Word for u64 {
    const NOBODY: Self = Self::MAX;
}

impl Registers {
    /// Part of them; `None`: it is not in the BAR.
    pub fn part(&self, offset: u64, len: u64) -> Option<Self> {
        let range = PhysRange::new(self.range.base.checked_add(offset)?, len);
        range.base.checked_add(len)?;
        self.range.contains(range).then_some(Self { range })
    }

    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.range.len
    }

    fn place<T: Word>(&self, offset: u64) -> Option<*mut T> {
        let size = size_of::<T>() as u64;
        let fits = offset.checked_add(size).is_some_and(|end| end <= self.range.len);
        let address = self.range.base + offset;
        let at = core::ptr::with_exposed_provenance_mut(address as usize);
        (fits && address.is_multiple_of(size)).then_some(at)
    }

    /// Copies words in, as far as they are all in them.
    pub fn copy_in(&self, offset: u64, words: &[u32]) {
        let len = size_of_val(words);
        let fits = offset.checked_add(len as u64).is_some_and(|end| end <= self.range.len);
        if fits {
            let from = words.as_ptr().expose_provenance() as u64;
            // SAFETY: device memory that `Device::map` has mapped; the other is a slice.
            unsafe { dma::copy(from, self.range.base + offset, len) };
        }
    }

    /// Reads a register.
    pub fn read<T: Word>(&self, offset: u64) -> T {
        // SAFETY: device memory that `Device::map` has mapped, aligned.
        self.place::<T>(offset).map_or(T::NOBODY, |at| unsafe { at.read_volatile() })
    }

    /// Writes a register.
    pub fn write<T: Word>(&self, offset: u64, value: T) {
        if let Some(at) = self.place::<T>(offset) {
            // SAFETY: as for `read`.
            unsafe { at.write_volatile(value) };
        }
    }
}
