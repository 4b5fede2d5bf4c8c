//! Memory by its address: what loaders leave, device registers, and buffers that devices share.
//!
//! Nothing here is a Rust reference, and nothing here is where Rust keeps something: a kernel's own
//! variables are in its image, and the callers keep off it. So these are safe to call in a program that is
//! alone in its machine.

use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

/// Reads a value.
pub fn load<T: Copy>(address: u64) -> T {
    // SAFETY: see the module; every address below 4 GiB is mapped, or there is no paging.
    unsafe { with_exposed_provenance::<T>(address as usize).read_volatile() }
}

/// Reads eight bytes that begin at a multiple of four, as in some tables.
pub fn load_64(address: u64) -> u64 {
    let [low, high] = load::<[u32; 2]>(address).map(u64::from);
    high << 32 | low
}

/// Writes a value.
pub fn store<T: Copy>(address: u64, value: T) {
    // SAFETY: as for `load`.
    unsafe { with_exposed_provenance_mut::<T>(address as usize).write_volatile(value) }
}

/// Bytes that nobody writes any more, as text or as they are.
pub fn bytes(address: u64, len: usize) -> &'static [u8] {
    // SAFETY: see the module; a loader's leavings stay as they are.
    unsafe { core::slice::from_raw_parts(with_exposed_provenance(address as usize), len) }
}

/// Text up to its zero; of one that is too long, or not text, nothing.
pub fn text(address: u64) -> &'static str {
    let len = (0..0x1_0000).find(|&at| load::<u8>(address + at) == 0).unwrap_or(0);
    str::from_utf8(bytes(address, len as usize)).unwrap_or("")
}

/// Fills memory with a byte.
pub fn fill(address: u64, len: u64, byte: u8) {
    (address..address + len).for_each(|at| store(at, byte));
}
