//! ACPI tables, found as a PC's kernels find them. ACPI 6.5, 5.2.

use crate::memory::{bytes, load, load_64};

/// Where the root pointer is looked for, every 16 bytes. 5.2.5.1.
const SEARCHED: core::ops::Range<u64> = 0xe_0000..0x10_0000;
/// Bytes that a table begins with, and where its length is. 5.2.6.
const HEADER: u64 = 36;
const LEN: u64 = 4;
/// Entries of the MADT: a local APIC, and its bit that says that the CPU is there. 5.2.12.2.
const LOCAL_APIC: u8 = 0;
const ENABLED: u32 = 1;

fn sums_up(address: u64, len: usize) -> bool {
    bytes(address, len).iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// The root pointer.
pub fn root() -> Option<u64> {
    let mut places = SEARCHED.step_by(16);
    places.find(|&at| load::<[u8; 8]>(at) == *b"RSD PTR " && sums_up(at, 20))
}

/// A sound table, by its signature.
pub fn table(signature: [u8; 4]) -> Option<u64> {
    let xsdt = load_64(root()? + 24);
    let len = u64::from(load::<u32>(xsdt + LEN));
    let mut tables = (HEADER..len).step_by(8).map(|at| load_64(xsdt + at));
    tables.find(|&at| load::<[u8; 4]>(at) == signature && sums_up(at, load::<u32>(at + LEN) as usize))
}

/// How many CPUs the MADT names.
pub fn cpus() -> usize {
    let Some(madt) = table(*b"APIC") else { return 0 };
    let end = madt + u64::from(load::<u32>(madt + LEN));
    let mut at = madt + HEADER + 8;
    let mut count = 0;
    while at + 2 <= end {
        let [kind, len] = load::<[u8; 2]>(at);
        count += usize::from(kind == LOCAL_APIC && load::<u32>(at + 4) & ENABLED != 0);
        at += u64::from(len).max(2);
    }
    count
}
