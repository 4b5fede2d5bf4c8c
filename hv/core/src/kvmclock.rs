//! kvmclock: a clock that guests read without leaving. Linux, Documentation/virt/kvm/x86/msr.rst.
//!
//! A VM's time *is* what this arithmetic makes of its TSC: hv itself uses [`Scale`], so that it and
//! every guest agree to the nanosecond. The TSC's rate is constant, so what a CPU is told at first
//! stays right for ever; all CPUs of a VM are told the same, and the clock cannot run backwards from
//! one to the other. It is stable until a guest moves one CPU's TSC away from the others'.

use crate::policy::GeneralProtection;
use hv_defs::kvm::{ENABLED, clock_flag};

/// Nanoseconds as `ticks * 2^shift * multiplier / 2^32`, as the guest computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// At least 2³¹, so that the rate is right to 1 in 2³².
    pub multiplier: u32,
    /// Applied before multiplying; negative for clocks faster than 2 GHz.
    pub shift: i8,
}

impl Scale {
    /// For a counter of `khz`; at least 1.
    pub const fn new(khz: u32) -> Self {
        let khz = if khz == 0 { 1 } else { khz } as u128;
        // Nanoseconds a tick, times 2⁶⁴; then the 32 highest bits of it, rounded.
        let fine = (1_000_000u128 << 64) / khz;
        let extra = fine.ilog2() - 31;
        let rounded = (fine + (1 << (extra - 1))) >> extra;
        let (multiplier, extra) =
            if rounded >> 32 == 0 { (rounded, extra) } else { (rounded >> 1, extra + 1) };
        Self { multiplier: multiplier as u32, shift: extra as i8 - 32 }
    }

    /// Nanoseconds in `ticks`.
    pub const fn nanos(self, ticks: u64) -> u64 {
        let shifted = if self.shift < 0 { ticks >> self.shift.unsigned_abs() } else { ticks << self.shift };
        ((shifted as u128 * self.multiplier as u128) >> 32) as u64
    }
}

/// What one CPU is told of the time.
///
/// Told the moment of the VM's start (`tsc`: the CPU's [`crate::policy::tsc::GuestTsc::adjust`];
/// `nanos`: 0) all CPUs agree to the nanosecond, whatever the guest did to their TSCs, and need not be
/// told again. A later moment costs a rounding, so it must be told to all of them or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeInfo {
    /// A value of the CPU's own TSC, as the guest reads it,
    pub tsc: u64,
    /// and the VM's age in nanoseconds then.
    pub nanos: u64,
    /// The TSC's rate.
    pub scale: Scale,
    /// All CPUs of the VM have the same TSC offset.
    pub stable: bool,
    /// The VM was paused since it was told last.
    pub paused: bool,
}

impl TimeInfo {
    /// Bytes in the guest's memory.
    pub const SIZE: usize = 32;

    /// As it stands in the guest's memory, with its version.
    ///
    /// The guest reads again while the version is odd or has changed. So whoever writes puts
    /// [`begin`] of the old version there first, then everything but the version, then [`end`].
    pub fn bytes(&self, version: u32) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..4].copy_from_slice(&version.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.tsc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.nanos.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.scale.multiplier.to_le_bytes());
        bytes[28] = self.scale.shift.to_le_bytes()[0];
        bytes[29] = if self.stable { clock_flag::STABLE } else { 0 };
        bytes[29] |= if self.paused { clock_flag::PAUSED } else { 0 };
        bytes
    }
}

/// The version while something is being written: odd, and another than before.
pub const fn begin(version: u32) -> u32 {
    version.wrapping_add(1) | 1
}

/// The version when it has been written: even.
pub const fn end(begun: u32) -> u32 {
    begun.wrapping_add(1) & !1
}

/// The wall clock when the VM's age was 0, as it stands in the guest's memory; `nanos` since 1970.
pub fn wall_clock(version: u32, nanos: u64) -> [u8; 12] {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let mut bytes = [0; 12];
    bytes[0..4].copy_from_slice(&version.to_le_bytes());
    // The seconds have 32 bits in the interface, until the year 2106.
    bytes[4..8].copy_from_slice(&(seconds as u32).to_le_bytes());
    bytes[8..12].copy_from_slice(&(rest as u32).to_le_bytes());
    bytes
}

/// Where a guest wants something of KVM's, by its MSR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// What the guest wrote, and reads back.
    pub value: u64,
}

impl Place {
    /// A write.
    ///
    /// # Errors
    /// Bit 1, which is reserved and makes the address one that is not a multiple of 4.
    pub const fn new(value: u64) -> Result<Self, GeneralProtection> {
        if value & 2 == 0 { Ok(Self { value }) } else { Err(GeneralProtection) }
    }

    /// The guest-physical address it names, if it is in use. Nothing is known of it yet.
    pub const fn address(self) -> Option<u64> {
        if self.value & ENABLED == 0 { None } else { Some(self.value & !3) }
    }
}

#[cfg(test)]
mod tests;
