//! Registers as bytes: accesses of any width, at any offset, also beyond the end.

/// Reads `size` bytes at `offset`; what is beyond the end reads all ones.
pub(crate) fn read(bytes: &[u8], offset: u64, size: u8) -> u64 {
    (0..u64::from(size.min(8))).fold(0, |value, at| {
        let byte = index(offset, at).and_then(|index| bytes.get(index)).copied().unwrap_or(0xff);
        value | u64::from(byte) << (8 * at)
    })
}

/// Writes `size` bytes at `offset`, of each byte the bits that `writable` gives for its index; what is
/// beyond the end is ignored.
pub(crate) fn write(bytes: &mut [u8], writable: impl Fn(usize) -> u8, offset: u64, size: u8, value: u64) {
    for at in 0..u64::from(size.min(8)) {
        let Some(index) = index(offset, at) else { return };
        if let Some(byte) = bytes.get_mut(index) {
            let mask = writable(index);
            *byte = *byte & !mask | (value >> (8 * at)) as u8 & mask;
        }
    }
}

/// Whether an access touches any of `len` bytes from `first` on.
pub(crate) fn touches(offset: u64, size: u8, first: u64, len: u64) -> bool {
    offset < first.saturating_add(len) && first < offset.saturating_add(u64::from(size))
}

fn index(offset: u64, at: u64) -> Option<usize> {
    usize::try_from(offset.checked_add(at)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_of_any_width_are_answered() {
        let mut bytes = [1, 2, 3, 4];
        assert_eq!(read(&bytes, 0, 4), 0x0403_0201);
        assert_eq!(read(&bytes, 3, 2), 0xff04);
        assert_eq!(read(&bytes, u64::MAX, 8), u64::MAX);
        write(&mut bytes, |index| if index == 2 { 0x0f } else { 0xff }, 1, 8, 0xaaaa_aaaa_aaaa_aaaa);
        assert_eq!(bytes, [1, 0xaa, 0x0a, 0xaa]);
        write(&mut bytes, |_| 0xff, u64::MAX - 1, 8, 0);
        assert_eq!(bytes, [1, 0xaa, 0x0a, 0xaa]);
    }

    #[test]
    fn an_access_touches_what_it_overlaps() {
        assert!(touches(3, 2, 4, 4) && touches(7, 1, 4, 4));
        assert!(!touches(3, 1, 4, 4) && !touches(8, 8, 4, 4));
    }
}
