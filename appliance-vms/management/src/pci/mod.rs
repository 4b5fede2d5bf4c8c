//! A guest's PCI bus: one host bridge, up to 31 functions beside it, messages as their interrupts.
//!
//! [`Bridge`] answers a guest's accesses to configuration space (by memory, PCI Express's way, and by
//! the ports 0xcf8 and 0xcfc) and hands those to device memory on to the [`Function`] whose BAR is
//! there. [`ConfigSpace`] is a function's configuration space, [`Msix`] its messages. Manuals: PCI 3.0
//! for configuration, PCI Express 3.0, 7.2.2 for the memory that it is reached by.

mod bridge;
pub(crate) mod bytes;
mod config;
mod msix;
#[cfg(test)]
mod tests;

pub use bridge::{Bridge, Bus, PlugError};
pub use config::{Bar, COMMAND_MASTER, COMMAND_MEMORY, ConfigSpace, Identity};
pub use msix::Msix;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

/// A function that the bus and the task that works for it share.
pub type Shared<F> = Rc<RefCell<F>>;

/// A PCI function, as the bus sees it. Offsets and sizes are the guest's: every access is answered.
pub trait Function {
    /// Its configuration space as it stands; the bus reads its BARs.
    fn config(&self) -> &ConfigSpace;
    /// The same, for the bus to set BARs to their first addresses.
    fn config_mut(&mut self) -> &mut ConfigSpace;
    /// Reads configuration space.
    fn config_read(&mut self, offset: u64, size: u8) -> u64;
    /// Writes it.
    fn config_write(&mut self, offset: u64, size: u8, value: u64);
    /// Reads device memory, at an offset into a BAR.
    fn bar_read(&mut self, bar: usize, offset: u64, size: u8) -> u64;
    /// Writes it.
    fn bar_write(&mut self, bar: usize, offset: u64, size: u8, value: u64);
    /// The parts of its BARs where a write only says that a queue has work.
    fn bells(&self) -> Vec<Bell> {
        Vec::new()
    }
    /// As after power-on, but for its BARs' addresses.
    fn reset(&mut self);
    /// Whether nothing that it began still reads or writes the guest's memory.
    fn is_quiet(&self) -> bool {
        true
    }
}

/// A part of a BAR where a write only says that a queue has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bell {
    /// Which BAR.
    pub bar: usize,
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// The queue.
    pub queue: u16,
}

/// A [`Bell`], where the guest has it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doorbell {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub len: u64,
    /// The function's device number.
    pub slot: u8,
    /// The queue.
    pub queue: u16,
}
