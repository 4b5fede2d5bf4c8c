//! What the library's drivers have of this machine: memory that devices reach, and their registers.

use crate::devices::Registers;
use crate::dma::{self, copy};
use alloc::boxed::Box;
use management::drivers::dma::{Dma, DmaMemory};
use management::drivers::registers::{DeviceRegisters, PackedRegisters};
use management::memory::HostRange;

/// Memory that devices reach, from the heap.
pub struct Heap;

impl Dma for Heap {
    fn allocate(&self, bytes: usize) -> Option<Box<dyn DmaMemory>> {
        Some(Box::new(Piece(dma::Dma::new(bytes)?)))
    }
}

struct Piece(dma::Dma);

impl Piece {
    /// How many of `len` bytes from `offset` on are in it.
    fn known(&self, offset: usize, len: usize) -> usize {
        len.min(self.0.len().saturating_sub(offset))
    }

    /// Where they are, and how many, if there are any.
    fn place(&self, offset: usize, len: u64) -> Option<(u64, usize)> {
        let len = self.known(offset, usize::try_from(len).unwrap_or(usize::MAX));
        let at = (len > 0).then(|| self.0.bytes(offset, len))?;
        Some((at.cast::<u8>().expose_provenance() as u64, len))
    }
}

impl DmaMemory for Piece {
    fn host(&self) -> HostRange {
        self.0.range(0, self.0.len())
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        let (known, beyond) = into.split_at_mut(self.known(offset, into.len()));
        if !known.is_empty() {
            self.0.copy_out(offset, known);
        }
        beyond.fill(0);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let known = &from[..self.known(offset, from.len())];
        if !known.is_empty() {
            self.0.copy_in(offset, known);
        }
    }

    fn load(&self, offset: usize) -> u32 {
        if self.known(offset, size_of::<u32>()) < size_of::<u32>() {
            return 0;
        }
        let value = self.0.read(offset);
        dma::barrier();
        value
    }

    fn store(&self, offset: usize, value: u32) {
        if self.known(offset, size_of::<u32>()) == size_of::<u32>() {
            dma::barrier();
            self.0.write(offset, value);
        }
    }

    fn fill(&self, offset: usize, from: HostRange) {
        if let Some((at, len)) = self.place(offset, from.len) {
            // SAFETY: the piece is this program's; the other is memory that a device is to read, a
            // guest's by its `GuestMemory::host`, and mapped where it is.
            unsafe { copy(from.address, at, len) };
        }
    }

    fn drain(&self, offset: usize, to: HostRange) {
        if let Some((at, len)) = self.place(offset, to.len) {
            // SAFETY: as for `fill`, memory that a device is to write.
            unsafe { copy(at, to.address, len) };
        }
    }
}

impl DeviceRegisters for Registers {
    fn read(&self, offset: u64) -> u32 {
        Self::read(self, offset)
    }

    fn write(&self, offset: u64, value: u32) {
        dma::barrier();
        Self::write(self, offset, value);
    }

    fn read_wide(&self, offset: u64) -> u64 {
        Self::read(self, offset)
    }

    fn write_wide(&self, offset: u64, value: u64) {
        dma::barrier();
        Self::write(self, offset, value);
    }
}

impl PackedRegisters for Registers {
    fn read_byte(&self, offset: u64) -> u8 {
        Self::read(self, offset)
    }

    fn write_byte(&self, offset: u64, value: u8) {
        dma::barrier();
        Self::write(self, offset, value);
    }

    fn read_half(&self, offset: u64) -> u16 {
        Self::read(self, offset)
    }

    fn write_half(&self, offset: u64, value: u16) {
        dma::barrier();
        Self::write(self, offset, value);
    }
}
