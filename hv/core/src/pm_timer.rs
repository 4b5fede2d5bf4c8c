//! The guest's ACPI PM timer. ACPI 6.5, 4.8.3.3.
//!
//! It counts all 32 bits; a guest whose FADT says 24 looks at those only.

use crate::clock::PM_TIMER_HZ;

/// Its port: four bytes, read-only.
pub const PORT: u16 = 0x608;

/// As a port access has it: all of its bytes.
pub const PORTS: core::ops::Range<u64> = PORT as u64..PORT as u64 + 4;

/// The counter when the VM is `nanos` old.
pub const fn counter(nanos: u64) -> u32 {
    (nanos as u128 * PM_TIMER_HZ as u128 / 1_000_000_000) as u32
}

/// What `IN` of `size` bytes at `port` reads when the VM is `nanos` old; `None` if that is not
/// wholly in the timer. What is written to it is dropped.
pub const fn read(port: u16, size: u8, nanos: u64) -> Option<u32> {
    let at = port.wrapping_sub(PORT) as u32;
    if !matches!(size, 1 | 2 | 4) || at + size as u32 > 4 {
        return None;
    }
    Some(counter(nanos) >> (at * 8) & u32::MAX >> (32 - size as u32 * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_at_its_rate_and_wraps() {
        assert_eq!(counter(0), 0);
        assert_eq!(counter(279), 0);
        assert_eq!(counter(280), 1);
        assert_eq!(counter(1_000_000_000), 3_579_545);
        let hour = 3600 * 1_000_000_000;
        assert_eq!(counter(hour), (3600 * 3_579_545u64) as u32);
        assert_eq!(counter(u64::MAX), (u128::from(u64::MAX) * 3_579_545 / 1_000_000_000) as u32);
    }

    #[test]
    fn any_part_of_it_can_be_read() {
        let nanos = 12_345_678_901_234;
        let [a, b, c, d] = counter(nanos).to_le_bytes();
        assert_eq!(read(0x608, 4, nanos), Some(u32::from_le_bytes([a, b, c, d])));
        assert_eq!(read(0x608, 2, nanos), Some(u32::from_le_bytes([a, b, 0, 0])));
        assert_eq!(read(0x609, 1, nanos), Some(b.into()));
        assert_eq!(read(0x60a, 2, nanos), Some(u32::from_le_bytes([c, d, 0, 0])));
        assert_eq!(read(0x60b, 1, nanos), Some(d.into()));
        for (port, size) in [(0x607, 4), (0x609, 4), (0x60b, 2), (0x60c, 1), (0, 4), (0x608, 0), (0x608, 3)] {
            assert_eq!(read(port, size, nanos), None, "{port:#x} {size}");
        }
    }
}
