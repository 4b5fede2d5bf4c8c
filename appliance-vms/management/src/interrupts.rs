//! How a guest's devices interrupt it.

use alloc::rc::Rc;

/// Interrupts of one guest; `machine` implements it by `io.msi` and `io.pin`.
pub trait Interrupts {
    /// Delivers a message-signalled interrupt (PCI 3.0, 6.8).
    fn message(&self, address: u64, data: u32);
    /// Drives a pin of the guest's I/O APIC, 0 to 23.
    fn pin(&self, pin: u8, level: bool);
}

/// A device's wire to a pin: only changes reach the I/O APIC, since each is a call.
pub struct Pin {
    interrupts: Rc<dyn Interrupts>,
    number: u8,
    level: bool,
}

impl Pin {
    /// A wire to pin `number`, not asserted.
    pub fn new(interrupts: Rc<dyn Interrupts>, number: u8) -> Self {
        Self { interrupts, number, level: false }
    }

    /// Asserts it, or does not.
    pub fn set(&mut self, level: bool) {
        if self.level != level {
            self.level = level;
            self.interrupts.pin(self.number, level);
        }
    }
}
