//! What answers a guest's accesses to ports and device memory.

/// The registers of a device model. Offsets are from the start of its range; sizes 1, 2, 4 or 8 bytes.
/// Any access is answered, however odd: what is not there reads all ones, and ignores writes.
pub trait Registers {
    /// Reads; bytes above `size` are zero.
    fn read(&mut self, offset: u64, size: u8) -> u64;
    /// Writes; bytes of `value` above `size` mean nothing.
    fn write(&mut self, offset: u64, size: u8, value: u64);
}

/// All ones of an access: what a machine answers where nobody is.
pub const fn nobody(size: u8) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (size as u32 * 8)) - 1 }
}

/// Reads of a device whose registers have one byte each: byte by byte, lowest offset first.
pub fn bytewise_read(offset: u64, size: u8, mut byte: impl FnMut(u64) -> u8) -> u64 {
    (0..size.min(8))
        .fold(0, |value, at| value | u64::from(byte(offset.wrapping_add(at.into()))) << (u32::from(at) * 8))
}

/// Writes to such a device.
pub fn bytewise_write(offset: u64, size: u8, value: u64, mut byte: impl FnMut(u64, u8)) {
    for (at, part) in (0..size.min(8)).zip(value.to_le_bytes()) {
        byte(offset.wrapping_add(at.into()), part);
    }
}
