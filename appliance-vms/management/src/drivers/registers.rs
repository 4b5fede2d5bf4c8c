//! The registers of a physical device.

/// A BAR of a device. Offsets are bytes from its start, multiples of the access's size. Writes are
/// carried out in order, and after what was written to [`super::dma::DmaMemory`] before. A device that
/// is gone reads all ones.
pub trait DeviceRegisters {
    /// Reads 32 bits.
    fn read(&self, offset: u64) -> u32;
    /// Writes 32 bits.
    fn write(&self, offset: u64, value: u32);
    /// Reads 64 bits at once.
    fn read_wide(&self, offset: u64) -> u64;
    /// Writes 64 bits at once.
    fn write_wide(&self, offset: u64, value: u64);
}
