//! MSI-X: a function's interrupts as messages, each with its own address and mask (PCI 3.0, 6.8.2).
//!
//! Table and pending bits share a page of device memory: the table at its start, the bits in its
//! second half.

use super::bytes;
use super::config::ConfigSpace;
use crate::interrupts::Interrupts;
use alloc::vec;
use alloc::vec::Vec;

/// Number of the capability.
const CAPABILITY: u8 = 0x11;
/// Bytes of a vector's entry: address, data, control.
const ENTRY: usize = 16;
/// Control of a vector: masked.
const MASKED: u8 = 1;
/// Where the control of an entry is.
const CONTROL: usize = 12;
/// Message control: all vectors are masked; MSI-X is on.
const FUNCTION_MASK: u16 = 1 << 14;
const ENABLE: u16 = 1 << 15;

/// The messages of one function.
#[derive(Clone, Debug)]
pub struct Msix {
    table: Vec<u8>,
    pending: [u8; Msix::MAX / 8],
    control: u16,
    /// Where the capability is in configuration space.
    capability: u8,
}

impl Msix {
    /// Most vectors of a function.
    pub const MAX: usize = 128;
    /// Bytes of device memory that table and pending bits take up.
    pub const BYTES: u64 = 0x1000;
    /// Where the pending bits are in it.
    const PENDING: u64 = 0x800;

    /// With `vectors` vectors (1 to [`Msix::MAX`]), all masked, in BAR `bar`; adds the capability to
    /// `config`.
    pub fn new(vectors: u16, bar: u8, config: &mut ConfigSpace) -> Self {
        let vectors = vectors.clamp(1, Self::MAX as u16);
        let mut body = [0; 10];
        body[..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&u32::from(bar).to_le_bytes());
        body[6..].copy_from_slice(&(Self::PENDING as u32 | u32::from(bar)).to_le_bytes());
        let writable = (ENABLE | FUNCTION_MASK).to_le_bytes();
        let capability = config.add_capability(CAPABILITY, &body, &writable).unwrap_or(0);
        let mut msix = Self {
            table: vec![0; usize::from(vectors) * ENTRY],
            pending: [0; Self::MAX / 8],
            control: 0,
            capability,
        };
        msix.reset();
        msix
    }

    /// As after power-on.
    pub fn reset(&mut self) {
        self.control = 0;
        self.pending.fill(0);
        for entry in self.table.chunks_exact_mut(ENTRY) {
            entry.fill(0);
            entry[CONTROL] = MASKED;
        }
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u16 {
        (self.table.len() / ENTRY) as u16
    }

    /// Whether messages are how the function interrupts.
    pub fn is_enabled(&self) -> bool {
        self.control & ENABLE != 0
    }

    /// Takes over what the guest wrote to configuration space.
    pub fn configured(&mut self, config: &ConfigSpace, interrupts: &dyn Interrupts) {
        let control = config.read(u64::from(self.capability) + 2, 2) as u16;
        if control != self.control {
            self.control = control;
            self.deliver_pending(0..self.vectors(), interrupts);
        }
    }

    /// Sends a vector's message, or remembers that it is to be sent; nothing if MSI-X is off or there is
    /// no such vector.
    pub fn raise(&mut self, vector: u16, interrupts: &dyn Interrupts) {
        if !self.is_enabled() || vector >= self.vectors() {
            return;
        }
        self.set_pending(vector, true);
        self.deliver_pending(vector..vector + 1, interrupts);
    }

    /// Reads table or pending bits.
    pub fn read(&self, offset: u64, size: u8) -> u64 {
        match offset.checked_sub(Self::PENDING) {
            Some(offset) => bytes::read(&self.pending, offset, size),
            None => bytes::read(&self.table, offset, size),
        }
    }

    /// Writes the table; a vector that is no longer masked sends what it owes.
    pub fn write(&mut self, offset: u64, size: u8, value: u64, interrupts: &dyn Interrupts) {
        // Of a vector's control only the mask can be written.
        let writable = |index: usize| match index % ENTRY {
            CONTROL => MASKED,
            13..16 => 0,
            _ => 0xff,
        };
        bytes::write(&mut self.table, writable, offset, size, value);
        let first = offset / ENTRY as u64;
        if first < u64::from(self.vectors()) {
            let first = first as u16;
            // An odd access reaches into the next entry.
            self.deliver_pending(first..(first + 2).min(self.vectors()), interrupts);
        }
    }

    fn set_pending(&mut self, vector: u16, pending: bool) {
        if let Some(byte) = self.pending.get_mut(usize::from(vector / 8)) {
            let bit = 1 << (vector % 8);
            *byte = if pending { *byte | bit } else { *byte & !bit };
        }
    }

    fn deliver_pending(&mut self, vectors: core::ops::Range<u16>, interrupts: &dyn Interrupts) {
        if self.control & (ENABLE | FUNCTION_MASK) != ENABLE {
            return;
        }
        for vector in vectors {
            let pending =
                self.pending.get(usize::from(vector / 8)).is_some_and(|b| b >> (vector % 8) & 1 == 1);
            let at = u64::from(vector) * ENTRY as u64;
            let control = bytes::read(&self.table, at + CONTROL as u64, 1) as u8;
            if pending && control & MASKED == 0 {
                self.set_pending(vector, false);
                interrupts
                    .message(bytes::read(&self.table, at, 8), bytes::read(&self.table, at + 8, 4) as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Identity;
    use crate::virtio::testkit::FakeInterrupts;

    fn msix(vectors: u16) -> (ConfigSpace, Msix) {
        let identity = Identity { vendor: 1, device: 2, revision: 0, class: 0, subsystem: (0, 0) };
        let mut config = ConfigSpace::new(&identity);
        let msix = Msix::new(vectors, 2, &mut config);
        (config, msix)
    }

    fn control(config: &mut ConfigSpace, msix: &mut Msix, bits: u16, interrupts: &FakeInterrupts) {
        config.write(0x42, 2, u64::from(bits));
        msix.configured(config, interrupts);
    }

    #[test]
    fn the_capability_says_where_the_table_is() {
        let (config, _) = msix(3);
        assert_eq!([config.read(0x42, 2), config.read(0x44, 4), config.read(0x48, 4)], [2, 2, 0x802]);
    }

    #[test]
    fn masked_vectors_wait() {
        let (mut config, mut msix) = msix(2);
        let interrupts = FakeInterrupts::default();
        msix.write(0x10, 8, 0xfee0_1000, &interrupts);
        msix.write(0x18, 4, 0x41, &interrupts);
        msix.raise(1, &interrupts);
        assert_eq!(msix.read(0x800, 8) & 3, 0, "not while MSI-X is off");
        control(&mut config, &mut msix, ENABLE, &interrupts);
        msix.raise(1, &interrupts);
        msix.raise(1, &interrupts);
        msix.raise(2, &interrupts);
        assert_eq!(msix.read(0x800, 1), 2);
        assert_eq!(interrupts.take(), []);
        msix.write(0x1c, 4, 0, &interrupts);
        assert_eq!(interrupts.take(), [(0xfee0_1000, 0x41)]);
        assert_eq!(msix.read(0x800, 1), 0);
        control(&mut config, &mut msix, ENABLE | FUNCTION_MASK, &interrupts);
        msix.raise(1, &interrupts);
        assert_eq!(interrupts.take(), []);
        control(&mut config, &mut msix, ENABLE, &interrupts);
        assert_eq!(interrupts.take(), [(0xfee0_1000, 0x41)]);
    }

    #[test]
    fn odd_accesses_of_the_table_are_answered() {
        let (_, mut msix) = msix(2);
        let interrupts = FakeInterrupts::default();
        msix.write(0x1e, 8, u64::MAX, &interrupts);
        msix.write(0xd, 8, u64::MAX, &interrupts);
        msix.write(u64::MAX, 8, u64::MAX, &interrupts);
        assert_eq!(msix.read(0xc, 8), 0xffff_ffff_0000_0001);
        assert_eq!(msix.read(0x1c, 8), 0xffff_ffff_0000_0001);
        assert_eq!(msix.read(0xfff, 8), u64::MAX);
    }
}
