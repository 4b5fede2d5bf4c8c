//! Memory-type range registers: kept for the guest, and of no effect.
//!
//! Guest memory is ordinary memory and is cached; what the guest's page tables and PAT say still
//! counts. SVM does the same: nested paging knows no guest MTRRs (APM 2, 15.25.8). So all that is
//! owed is that the registers read back as written and refuse what a CPU refuses. SDM 3, 12.11.
//!
//! There is no firmware in the guest to set them up, so they start as firmware would leave them on a
//! machine where everything is cached: enabled, default write-back, nothing in the ranges, the fixed
//! ranges off. Linux then has one type for all addresses and leaves them alone.

use crate::policy::GeneralProtection;
use hv_defs::msr;

/// MTRRCAP: eight variable ranges, fixed ranges, write-combining. SDM 3, figure 12-5.
const CAPABILITIES: u64 = 8 | 1 << 8 | 1 << 10;
/// MTRRdefType: the ranges count; so do the fixed ones; the default type.
const ENABLED: u64 = 1 << 11;
const FIXED_ENABLED: u64 = 1 << 10;
const WRITE_BACK: u64 = 6;
/// MTRRphysMask: the range counts.
const VALID: u64 = 1 << 11;

/// One virtual CPU's registers: default type, variable ranges, fixed ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mtrr([u64; 28]);

const fn place(number: u32) -> Result<usize, GeneralProtection> {
    Ok(match number {
        msr::MTRR_DEFAULT_TYPE => 0,
        0x200..=0x20f => (number - msr::MTRR_VARIABLE) as usize + 1,
        msr::MTRR_FIXED_64K => 17,
        0x258..=0x259 => (number - msr::MTRR_FIXED_16K) as usize + 18,
        0x268..=0x26f => (number - msr::MTRR_FIXED_4K) as usize + 20,
        _ => return Err(GeneralProtection),
    })
}

/// UC, WC, WT, WP, WB; 2, 3 and above 6 are reserved. SDM 3, table 12-8.
const fn is_type(byte: u8) -> bool {
    matches!(byte, 0 | 1 | 4 | 5 | 6)
}

impl Default for Mtrr {
    fn default() -> Self {
        let mut registers = [0; 28];
        registers[0] = ENABLED | WRITE_BACK;
        Self(registers)
    }
}

impl Mtrr {
    /// `RDMSR`.
    ///
    /// # Errors
    /// No such register.
    pub fn read(&self, number: u32) -> Result<u64, GeneralProtection> {
        if number == msr::MTRR_CAPABILITIES { Ok(CAPABILITIES) } else { Ok(self.0[place(number)?]) }
    }

    /// `WRMSR`, on a CPU whose physical addresses have `physical_bits`.
    ///
    /// # Errors
    /// No such register, a read-only one, a reserved type or bit.
    pub fn write(&mut self, number: u32, value: u64, physical_bits: u8) -> Result<(), GeneralProtection> {
        let at = place(number)?;
        let address = (1u64 << physical_bits.clamp(12, 52)) - 0x1000;
        let typed = |others: u64| value & !(others | 0xff) == 0 && is_type(value as u8);
        let valid = match at {
            0 => typed(ENABLED | FIXED_ENABLED),
            1..=16 if at % 2 == 1 => typed(address),
            1..=16 => value & !(address | VALID) == 0,
            _ => value.to_le_bytes().into_iter().all(is_type),
        };
        if !valid {
            return Err(GeneralProtection);
        }
        self.0[at] = value;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
