//! The machine's PCI bus: configuration space through ports, MSI-X tables in the direct map.
//! PCI Local Bus Specification 3.0, 3.2.2.3.2.

use hv_abi::boot::DIRECT_MAP;
use hv_core::pci::{Address, Bus};
use x86_64::instructions::port::Port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
/// In the address port: the data port reaches configuration space.
const ENABLE: u32 = 1 << 31;

/// The bus.
pub struct Pci(());

impl Pci {
    /// Takes the two ports.
    ///
    /// # Safety
    /// There is one. An address that is given to [`Bus::write_table`] is that of an MSI-X table, and is
    /// mapped as a device's in the direct map. What is written moves no device over memory.
    pub const unsafe fn new() -> Self {
        Self(())
    }

    /// The port to reach that register by.
    fn select(function: Address, offset: u8) -> u16 {
        let address = ENABLE | u32::from(function.0) << 8 | u32::from(offset & !3);
        // SAFETY: the address port only chooses what the data port reaches; it is ours.
        unsafe { Port::new(ADDRESS).write(address) };
        DATA + u16::from(offset & 3)
    }
}

impl Bus for Pci {
    fn read(&mut self, function: Address, offset: u8, size: u8) -> u32 {
        let port = Self::select(function, offset);
        // SAFETY: configuration registers have no read side effects (PCI 3.0, 6.1).
        unsafe {
            match size {
                1 => u32::from(Port::<u8>::new(port).read()),
                2 => u32::from(Port::<u16>::new(port).read()),
                _ => Port::<u32>::new(port).read(),
            }
        }
    }

    fn write(&mut self, function: Address, offset: u8, size: u8, value: u32) {
        let port = Self::select(function, offset);
        // SAFETY: by the promise of `new`.
        unsafe {
            match size {
                1 => Port::new(port).write(value as u8),
                2 => Port::new(port).write(value as u16),
                _ => Port::new(port).write(value),
            }
        }
    }

    fn write_table(&mut self, address: u64, value: u32) {
        let at = core::ptr::with_exposed_provenance_mut::<u32>((DIRECT_MAP + address) as usize);
        // SAFETY: by the promise of `new`; entries are aligned.
        unsafe { at.write_volatile(value) };
    }
}
