//! ACPI tables: [`script`] places the ones that QEMU hands out, [`tables`] writes a small set for a
//! board that has none.

pub mod script;
pub mod tables;

/// What must be added to `bytes` so that they add up to zero (ACPI 6.5, 5.2.6).
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, &byte| sum.wrapping_sub(byte))
}
