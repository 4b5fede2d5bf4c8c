//! Frames, and checksums that are still to be made.

use alloc::vec::Vec;

/// A checksum that is still to be made: the sum of all from `start` on, in which the field's bytes count
/// as they are, goes to `start + offset` (virtio 1.2, 5.1.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Bytes from the frame's start.
    pub start: u16,
    /// Bytes from there.
    pub offset: u16,
}

/// An Ethernet frame, from the destination address on, without the check sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// A checksum of its contents that is still to be made: guests among each other don't need it.
    pub checksum: Option<Checksum>,
}

impl Frame {
    /// A frame with all its checksums.
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, checksum: None }
    }

    /// Whether a checksum that is to be made has its place in the frame.
    pub fn is_sound(&self) -> bool {
        let fits = |sum: Checksum| usize::from(sum.start) + usize::from(sum.offset) + 2 <= self.bytes.len();
        self.checksum.is_none_or(fits)
    }

    /// Its bytes with all checksums made.
    pub fn complete(mut self) -> Vec<u8> {
        let Some(Checksum { start, offset }) = self.checksum else { return self.bytes };
        let start = usize::from(start);
        let sum = self.bytes.get(start..).map_or(0, ones_complement_sum);
        // Zero would say that there is no checksum (RFC 768); it stands for the same number.
        let checksum = if sum == 0xffff { 0xffff } else { !sum };
        let at = start + usize::from(offset);
        if let Some(field) = self.bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        self.bytes
    }
}

/// The sum of RFC 1071, not yet inverted.
fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let mut pairs = bytes.chunks_exact(2);
    let mut sum: u64 = pairs.by_ref().map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    sum += pairs.remainder().first().map_or(0, |&last| u64::from(last) << 8);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn checksums_are_as_in_the_rfc() {
        // RFC 1071, 3: the example.
        assert_eq!(ones_complement_sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(ones_complement_sum(&[0x12]), 0x1200);
        assert_eq!(ones_complement_sum(&[0xff; 2048]), 0xffff);
    }

    #[test]
    fn a_checksum_is_made_where_it_belongs() {
        let checksum = Some(Checksum { start: 2, offset: 2 });
        let frame = Frame { bytes: vec![9, 9, 0x12, 0x34, 0x00, 0x01, 0x56], checksum };
        assert!(frame.is_sound());
        assert_eq!(frame.complete(), [9, 9, 0x12, 0x34, 0x97, 0xca, 0x56]);
        let zero = Frame { bytes: vec![9, 9, 0xff, 0xff, 0, 0], checksum };
        assert_eq!(zero.complete()[4..], [0xff, 0xff]);
        for (start, offset) in [(6, 0), (5, 1), (0xffff, 0xffff)] {
            let frame = Frame { bytes: vec![0; 7], checksum: Some(Checksum { start, offset }) };
            assert!(!frame.is_sound());
            assert_eq!(frame.complete(), [0; 7]);
        }
    }
}
