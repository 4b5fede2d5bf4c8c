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

/// A BAR whose registers are of 8, 16 and 32 bits, each to be accessed in its own size.
pub trait PackedRegisters: DeviceRegisters {
    /// Reads 8 bits.
    fn read_byte(&self, offset: u64) -> u8;
    /// Writes 8 bits.
    fn write_byte(&self, offset: u64, value: u8);
    /// Reads 16 bits.
    fn read_half(&self, offset: u64) -> u16;
    /// Writes 16 bits.
    fn write_half(&self, offset: u64, value: u16);
}
