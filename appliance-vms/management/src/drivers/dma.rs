//! Memory that physical devices reach.

use crate::memory::HostRange;
use alloc::boxed::Box;

/// Where such memory comes from.
pub trait Dma {
    /// A piece of zeroed memory of `bytes` bytes, contiguous for devices and page-aligned; `None` when
    /// there is none left.
    fn allocate(&self, bytes: usize) -> Option<Box<dyn DmaMemory>>;
}

/// A piece of memory that a device may write at any time. Dropping it gives it back: whoever has told
/// a device of it keeps it until the device is done with it, or for ever.
///
/// Offsets are bytes from its start. What lies beyond its end reads zero, and writes there are lost.
pub trait DmaMemory {
    /// Where devices find it.
    fn host(&self) -> HostRange;
    /// Copies out.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies in.
    fn write(&self, offset: usize, from: &[u8]);
    /// Loads four bytes at once, before whatever is read after (acquire); `offset` is a multiple of 4.
    fn load(&self, offset: usize) -> u32;
    /// Stores four bytes at once, after whatever was written before (release); `offset` is a multiple
    /// of 4.
    fn store(&self, offset: usize, value: u32);
    /// Copies in from other memory that devices reach, a guest's say; as much as there is room for.
    fn fill(&self, offset: usize, from: HostRange);
    /// Copies out to other memory that devices reach.
    fn drain(&self, offset: usize, to: HostRange);
}
