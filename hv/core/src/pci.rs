//! PCI functions: which there are, what their owner may do with them, and how their messages are sent
//! to hv.
//!
//! The owner of a function drives it; hv keeps for itself where it answers, and where its interrupts
//! go. So configuration space is read as it is, and written but for the bits that [`Device`] keeps.

mod device;
mod inventory;
mod message;
#[cfg(test)]
mod tests;

pub use device::{Device, Messages};
pub use inventory::{Inventory, MAX_DEVICES};

use core::fmt;

/// A function's place: bus in bits 15–8, device in 7–3, function in 2–0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub u16);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.0 >> 8, self.0 >> 3 & 0x1f, self.0 & 7)
    }
}

/// How functions are reached.
///
/// Accesses have the width that they are made with, down to the bus: registers whose written ones
/// clear something stand beside others in the same 32 bits.
pub trait Bus {
    /// Reads `size` (1, 2 or 4) bytes of configuration space at `offset`, a multiple of `size`. A
    /// function that is not there reads as all ones.
    fn read(&mut self, function: Address, offset: u8, size: u8) -> u32;
    /// Writes them.
    fn write(&mut self, function: Address, offset: u8, size: u8, value: u32);
    /// Writes 32 bits of an MSI-X table, at a physical address.
    fn write_table(&mut self, address: u64, value: u32);
}
