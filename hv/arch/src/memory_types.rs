//! Memory types: every CPU must have the ones that the first CPU's firmware chose, or it runs
//! uncached, or worse, differently cached. SDM volume 3, 12.11.8.

use crate::cpu::{read_msr, write_msr};
use hv_defs::msr;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr0, Cr0Flags};

/// Most variable ranges that are kept; CPUs have 8 to 10.
const MAX_VARIABLE: usize = 16;
/// The fixed ranges: one register of 64 KiB parts, two of 16 KiB, eight of 4 KiB.
const FIXED: [u32; 11] = {
    let mut registers = [msr::MTRR_FIXED_64K; 11];
    let mut at = 0;
    while at < 10 {
        registers[at + 1] =
            if at < 2 { msr::MTRR_FIXED_16K + at as u32 } else { msr::MTRR_FIXED_4K + at as u32 - 2 };
        at += 1;
    }
    registers
};
/// Bit of [`msr::MTRR_DEFAULT_TYPE`]: the registers are in use.
const ENABLED: u64 = 1 << 11;

/// A CPU's memory type range registers and its page attribute table.
#[derive(Clone, Copy, Debug)]
pub struct MemoryTypes {
    default: u64,
    fixed: Option<[u64; FIXED.len()]>,
    variable: [(u64, u64); MAX_VARIABLE],
    variable_len: usize,
    pat: u64,
}

impl MemoryTypes {
    /// Those of the CPU that runs this; `None` where there are none to read.
    pub fn read() -> Option<Self> {
        let features = core::arch::x86_64::__cpuid(1).edx;
        let (mtrr, pat) = (features & 1 << 12 != 0, features & 1 << 16 != 0);
        if !mtrr || !pat {
            return None;
        }
        // SAFETY: CPUID says that the registers are there; the capability says how many.
        unsafe {
            let capability = read_msr(msr::MTRR_CAPABILITIES);
            let variable_len = usize::from(capability as u8).min(MAX_VARIABLE);
            let mut variable = [(0, 0); MAX_VARIABLE];
            for (at, pair) in variable[..variable_len].iter_mut().enumerate() {
                let number = msr::MTRR_VARIABLE + 2 * at as u32;
                *pair = (read_msr(number), read_msr(number + 1));
            }
            let fixed = (capability & 1 << 8 != 0).then(|| FIXED.map(|number| read_msr(number)));
            let default = read_msr(msr::MTRR_DEFAULT_TYPE);
            Some(Self { default, fixed, variable, variable_len, pat: read_msr(msr::PAT) })
        }
    }

    /// Gives them to the CPU that runs this, in the manual's order: caches off and empty, the
    /// registers off, written, on again, caches on.
    pub fn write(&self) {
        // SAFETY: the values are another CPU's of this machine, and caching is off meanwhile, so
        // no line is held under two types.
        unsafe {
            Cr0::update(|flags| flags.insert(Cr0Flags::CACHE_DISABLE));
            core::arch::asm!("wbinvd", options(nostack));
            tlb::flush_all();
            write_msr(msr::MTRR_DEFAULT_TYPE, self.default & !ENABLED);
            for (number, value) in FIXED.into_iter().zip(self.fixed.into_iter().flatten()) {
                write_msr(number, value);
            }
            for (at, (base, mask)) in self.variable[..self.variable_len].iter().enumerate() {
                let number = msr::MTRR_VARIABLE + 2 * at as u32;
                write_msr(number, *base);
                write_msr(number + 1, *mask);
            }
            write_msr(msr::PAT, self.pat);
            write_msr(msr::MTRR_DEFAULT_TYPE, self.default);
            core::arch::asm!("wbinvd", options(nostack));
            tlb::flush_all();
            Cr0::update(|flags| flags.remove(Cr0Flags::CACHE_DISABLE | Cr0Flags::NOT_WRITE_THROUGH));
        }
    }
}
