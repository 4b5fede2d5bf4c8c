//! Devices of the machine that the management VM owns.

use crate::memory::PhysRange;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// BARs of a device, and its expansion ROM's is not one.
pub const BARS: usize = 6;

/// In place of a PCI function's address in `dev.bind`: the machine's own interrupts.
pub const BOARD: u32 = 1 << 16;
/// The one of them that can be bound: the keyboard's (ISA interrupt 1).
pub const KEYBOARD: u32 = 1;

/// A PCI function. Its number (`dev.read` and so on) is [`DeviceInfo::address`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DeviceInfo {
    /// Bus in bits 15–8, device in 7–3, function in 2–0.
    pub address: u32,
    /// Vendor ID, then device ID.
    pub ids: [u16; 2],
    /// Class in bits 31–24, subclass in 23–16, interface in 15–8, revision in 7–0.
    pub class: u32,
    /// Messages that `dev.bind` can bind: MSI-X table size, or 1 with MSI alone; 0 = none.
    pub messages: u32,
    /// Memory BARs, where they are; I/O and absent ones are empty. A 64-bit BAR takes the place of two.
    pub bars: [PhysRange; BARS],
}

const _: () = assert!(size_of::<DeviceInfo>() == 112);
