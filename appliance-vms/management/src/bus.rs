//! What answers a guest's accesses to ports and device memory.

use alloc::vec::Vec;
use core::fmt;
use hv_abi::memory::PhysRange;

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

/// A range that can't be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What was wanted.
    pub wanted: PhysRange,
    /// Who is there: the same range, or one that shares a part of it only.
    pub by: PhysRange,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a device wants {}, and another has {}", self.wanted, self.by)
    }
}

/// Who answers at which addresses: one for ports, one for memory. `D` names a device.
///
/// A range may lie inside another, as port 0xcf9 does in PCI's address register: an access goes to the
/// smallest range that has all of its bytes. Where there is none, as across a range's end, nobody
/// answers.
pub struct Decoder<D> {
    /// Smallest first.
    ranges: Vec<(PhysRange, D)>,
}

impl<D> Default for Decoder<D> {
    fn default() -> Self {
        Self { ranges: Vec::new() }
    }
}

impl<D: Copy + PartialEq> Decoder<D> {
    /// Nobody answers.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Gives a range to a device. A range without bytes is none.
    ///
    /// # Errors
    /// [`Taken`]; then nothing has changed.
    pub fn claim(&mut self, range: PhysRange, device: D) -> Result<(), Taken> {
        let nested = |other: PhysRange| other != range && (other.contains(range) || range.contains(other));
        let mut others = self.ranges.iter().map(|(other, _)| *other);
        if let Some(by) = others.find(|other| other.overlaps(range) && !nested(*other)) {
            return Err(Taken { wanted: range, by });
        }
        if !range.is_empty() {
            let at = self.ranges.partition_point(|(other, _)| other.len <= range.len);
            self.ranges.insert(at, (range, device));
        }
        Ok(())
    }

    /// Takes all of a device's ranges away.
    pub fn release(&mut self, device: D) {
        self.ranges.retain(|(_, other)| *other != device);
    }

    /// Who answers an access, and its offset in that range; `None`: nobody.
    pub fn find(&self, address: u64, size: u8) -> Option<(D, u64)> {
        let access = PhysRange::new(address, size.into());
        address.checked_add(size.into())?;
        let (range, device) = self.ranges.iter().find(|(range, _)| range.contains(access))?;
        Some((*device, address - range.base))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::platform::port;
    use std::string::ToString;

    const UART: u32 = 1;
    const PCI: u32 = 2;
    const RESET: u32 = 3;

    fn ports() -> Decoder<u32> {
        let mut ports = Decoder::new();
        for (range, device) in [(port::PCI_CONFIG, PCI), (port::COM1, UART), (port::RESET_CONTROL, RESET)] {
            ports.claim(range, device).expect("they are apart, or one in the other");
        }
        ports
    }

    #[test]
    fn an_access_goes_to_the_smallest_range_that_has_all_of_it() {
        let ports = ports();
        assert_eq!(ports.find(0x3f8, 1), Some((UART, 0)));
        assert_eq!(ports.find(0x3fd, 1), Some((UART, 5)));
        assert_eq!(ports.find(0x3fe, 2), Some((UART, 6)));
        assert_eq!(ports.find(0xcf8, 4), Some((PCI, 0)));
        assert_eq!(ports.find(0xcf9, 1), Some((RESET, 0)));
        assert_eq!(ports.find(0xcf9, 2), Some((PCI, 1)));
        assert_eq!(ports.find(0xcfc, 4), Some((PCI, 4)));
    }

    #[test]
    fn nobody_answers_elsewhere_or_across_an_end() {
        let ports = ports();
        for (address, size) in [(0x3f7, 1), (0x3f7, 2), (0x3ff, 2), (0x400, 1), (0x3fd, 4), (u64::MAX, 8)] {
            assert_eq!(ports.find(address, size), None, "{address:#x} {size}");
        }
        assert_eq!((nobody(1), nobody(2), nobody(4), nobody(8)), (0xff, 0xffff, 0xffff_ffff, u64::MAX));
    }

    #[test]
    fn ranges_share_nothing_but_as_a_whole() {
        let mut ports = ports();
        for range in [port::COM1, PhysRange::new(0x3f0, 9), PhysRange::new(0x3ff, 2)] {
            let refusal = ports.claim(range, 9).expect_err("it is taken");
            assert_eq!(refusal.by, port::COM1);
            assert!(refusal.to_string().contains("another has 0x3f8..0x400"));
        }
        assert_eq!(ports.claim(PhysRange::new(0x3fa, 0), 9), Ok(()));
        assert_eq!(ports.find(0x3fa, 1), Some((UART, 2)));
    }

    #[test]
    fn a_device_that_goes_leaves_all_its_ranges() {
        let mut ports = ports();
        ports.claim(PhysRange::new(0x2f8, 8), UART).expect("free");
        ports.release(UART);
        assert_eq!((ports.find(0x3f8, 1), ports.find(0x2f8, 1)), (None, None));
        assert_eq!(ports.find(0xcf9, 1), Some((RESET, 0)));
    }

    #[test]
    fn bytes_are_put_together_lowest_first() {
        assert_eq!(bytewise_read(0x10, 4, |offset| offset as u8), 0x1312_1110);
        assert_eq!(bytewise_read(u64::MAX, 2, |offset| offset as u8), 0x00ff);
        let mut written = Vec::new();
        bytewise_write(6, 2, 0xaabb, |offset, byte| written.push((offset, byte)));
        assert_eq!(written, [(6, 0xbb), (7, 0xaa)]);
    }
}
