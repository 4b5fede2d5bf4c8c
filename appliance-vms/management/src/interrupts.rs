//! How a guest's devices interrupt it.

/// Interrupts of one guest; `machine` implements it by `io.msi` and `io.pin`.
pub trait Interrupts {
    /// Delivers a message-signalled interrupt (PCI 3.0, 6.8).
    fn message(&self, address: u64, data: u32);
    /// Drives a pin of the guest's I/O APIC, 0 to 23.
    fn pin(&self, pin: u8, level: bool);
}
