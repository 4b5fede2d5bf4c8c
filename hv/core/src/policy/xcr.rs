//! XCR0: which register states XSAVE keeps and instructions may use.

use super::GeneralProtection;
use hv_defs::control::xcr0::{AVX, AVX512, SSE, X87};

/// States that hv keeps for each virtual CPU. The others' features are not shown in CPUID.
pub const KEPT: u64 = X87 | SSE | AVX | AVX512;

/// Bytes that hv keeps them in, for each virtual CPU.
pub const AREA: u32 = 4096;

/// Of the states that the host has, those that a guest may use: what hv keeps and has room for, in
/// whole groups. `end` is where XSAVE's standard format ends a state: its offset and size, of CPUID
/// leaf 0xd. (The compacted format is never longer, and hv does not use it.)
pub fn supported(host: u64, end: impl Fn(u32) -> u32) -> u64 {
    let fits = (2..u64::BITS).filter(|&state| KEPT >> state & 1 == 1 && end(state) <= AREA);
    let mut all = host & fits.fold(X87 | SSE, |all, state| all | 1 << state);
    if all & AVX512 != AVX512 || all & AVX == 0 {
        all &= !AVX512;
    }
    if all & (X87 | SSE) == X87 | SSE { all } else { 0 }
}

/// `XSETBV` of register 0: SDM 1, 13.3; APM 2, 11.5.2. The caller has seen to CPL and ECX.
///
/// # Errors
/// A state that is not there, x87 left out, AVX without SSE, AVX-512 in part or without AVX.
pub const fn check(value: u64, supported: u64) -> Result<(), GeneralProtection> {
    let wide = value & AVX512;
    if value & !supported != 0
        || value & X87 == 0
        || value & AVX != 0 && value & SSE == 0
        || wide != 0 && (wide != AVX512 || value & AVX == 0)
    {
        return Err(GeneralProtection);
    }
    Ok(())
}
