//! Sending a function's messages to hv, and masking them.

use super::{Bus, Device, Messages};
use crate::msi::Write;
use hv_defs::pci::{command, msi, msix, register};

impl Device {
    /// Has message `index`, below [`hv_abi::device::DeviceInfo::messages`], be that write.
    pub fn send(&self, bus: &mut impl Bus, index: u32, message: Write) {
        let address = self.address();
        match self.messages {
            Messages::None => {}
            Messages::Msi { at } => {
                let control = bus.read(address, at + 2, 2) & !(msi::ENABLE | msi::COUNT);
                let is_wide = control & msi::WIDE != 0;
                let data_at = if is_wide { at + 12 } else { at + 8 };
                bus.write(address, at + 2, 2, control);
                bus.write(address, at + 4, 4, message.address);
                if is_wide {
                    bus.write(address, at + 8, 4, 0);
                }
                bus.write(address, data_at, 2, message.data);
                if control & msi::MASKS != 0 {
                    bus.write(address, data_at + 4, 4, 0);
                }
                bus.write(address, at + 2, 2, control | msi::ENABLE);
            }
            Messages::MsiX { at, table } => self.decoding(bus, |bus| {
                let control = bus.read(address, at + 2, 2);
                if control & msix::ENABLE == 0 {
                    // Entries that nobody has bound may hold anything.
                    bus.write(address, at + 2, 2, control | msix::ENABLE | msix::MASK_ALL);
                    for entry in (table.base..table.end()).step_by(msix::ENTRY as usize) {
                        bus.write_table(entry + 12, msix::MASKED);
                    }
                }
                // An entry may only be changed while it is masked (PCI 3.0, 6.8.3.5).
                let entry = table.base + u64::from(index) * msix::ENTRY;
                let words = [(12, msix::MASKED), (0, message.address), (4, 0), (8, message.data), (12, 0)];
                for (at, value) in words {
                    bus.write_table(entry + at, value);
                }
                bus.write(address, at + 2, 2, (control | msix::ENABLE) & !msix::MASK_ALL);
            }),
        }
    }

    /// Has message `index` be sent no more.
    pub fn mask(&self, bus: &mut impl Bus, index: u32) {
        let address = self.address();
        match self.messages {
            Messages::None => {}
            Messages::Msi { at } => {
                let control = bus.read(address, at + 2, 2);
                bus.write(address, at + 2, 2, control & !msi::ENABLE);
            }
            Messages::MsiX { table, .. } => self.decoding(bus, |bus| {
                bus.write_table(table.base + u64::from(index) * msix::ENTRY + 12, msix::MASKED);
            }),
        }
    }

    /// Has the function neither send messages nor reach memory, until its owner says so again.
    pub fn quiet(&self, bus: &mut impl Bus) {
        let address = self.address();
        let on = bus.read(address, register::COMMAND, 2);
        bus.write(address, register::COMMAND, 2, on & !command::MASTER);
        let (at, enable) = match self.messages {
            Messages::None => return,
            Messages::Msi { at } => (at, msi::ENABLE),
            Messages::MsiX { at, .. } => (at, msix::ENABLE),
        };
        let control = bus.read(address, at + 2, 2);
        bus.write(address, at + 2, 2, control & !enable);
    }

    /// Does `what` while the function answers in memory space, whatever its owner has made of that.
    fn decoding<B: Bus>(&self, bus: &mut B, what: impl FnOnce(&mut B)) {
        let was = bus.read(self.address(), register::COMMAND, 2);
        let change = was & command::MEMORY == 0;
        if change {
            bus.write(self.address(), register::COMMAND, 2, was | command::MEMORY);
        }
        what(bus);
        if change {
            bus.write(self.address(), register::COMMAND, 2, was);
        }
    }
}
