//! Tells this CPU which addresses it may cache; the decisions are in [`rom::mtrr`].

use core::arch::asm;
use core::arch::x86_64::__cpuid;
use hv_defs::msr::MTRR_DEFAULT_TYPE;
use rom::mtrr::{self, default_type, memory_type};
use x86_64::registers::control::{Cr0, Cr0Flags};
use x86_64::registers::model_specific::Msr;

/// CPUID leaf 1, EDX: there are memory type ranges. SDM 2, table 3-11.
const HAS_MTRR: u32 = 1 << 12;

/// How many bits a physical address has.
pub fn address_bits() -> u32 {
    const SIZES: u32 = 0x8000_0008;
    if __cpuid(0x8000_0000).eax >= SIZES { __cpuid(SIZES).eax & 0xff } else { 36 }
}

/// Everything is cached but the places below 1 MiB that are not RAM, and the hole for devices from
/// `hole` to 4 GiB. The other CPUs need the same; whoever starts them copies it.
pub fn set(hole: u64) {
    if __cpuid(1).edx & HAS_MTRR == 0 {
        return;
    }
    // The order of SDM 3, 12.11.7.2: nothing may be cached by the old rules while they change.
    let before = Cr0::read();
    // SAFETY: with caches off all works, only slower.
    unsafe { Cr0::write((before | Cr0Flags::CACHE_DISABLE) - Cr0Flags::NOT_WRITE_THROUGH) };
    write_back_caches();
    x86_64::instructions::tlb::flush_all();
    write(MTRR_DEFAULT_TYPE, 0);

    let capability = read(mtrr::CAPABILITY);
    let fixed = capability & mtrr::HAS_FIXED != 0;
    if fixed {
        for (register, types) in mtrr::FIXED {
            write(register, types);
        }
    }
    let mask = (1 << address_bits()) - 1;
    let mut pieces = mtrr::hole(hole);
    for number in 0..(capability & mtrr::VARIABLE_COUNT) as u32 {
        let register = mtrr::VARIABLE_BASE + 2 * number;
        let piece = pieces.next();
        write(register, piece.map_or(0, |range| range.base | memory_type::UNCACHED));
        write(register + 1, piece.map_or(0, |range| !(range.len - 1) & mask | mtrr::VALID));
    }

    write_back_caches();
    x86_64::instructions::tlb::flush_all();
    let fixed = if fixed { default_type::FIXED_ENABLE } else { 0 };
    write(MTRR_DEFAULT_TYPE, default_type::ENABLE | fixed | memory_type::WRITE_BACK);
    // SAFETY: as it was.
    unsafe { Cr0::write(before) };
}

fn write_back_caches() {
    // SAFETY: writing caches back changes no memory that a program can see.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}

fn read(register: u32) -> u64 {
    // SAFETY: CPUID has said that these registers exist.
    unsafe { Msr::new(register).read() }
}

fn write(register: u32, value: u64) {
    // SAFETY: as above; which addresses are cached changes no memory that a program can see, and
    // device memory is not cached before or after.
    unsafe { Msr::new(register).write(value) };
}
