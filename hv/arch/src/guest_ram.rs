//! A guest's RAM, as hv reaches it: by guest-physical address, through the direct map.
//!
//! The guest writes it at any time, so it is never a reference: bytes are copied in and out, one
//! volatile access each, and nothing is read twice that must stay the same.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hv_abi::boot::DIRECT_MAP;
use hv_abi::memory::PhysRange;

/// One piece of RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where the guest sees it.
    pub guest: u64,
    /// Where it is.
    pub host: PhysRange,
}

/// A guest's RAM: at most two pieces, below and above the hole for devices.
#[derive(Clone, Copy, Debug)]
pub struct GuestRam {
    pieces: [Piece; 2],
}

impl GuestRam {
    /// These pieces.
    ///
    /// # Safety
    /// They are RAM that hv has given to this guest, and lie in the direct map for as long as the
    /// value or a copy of it lives.
    pub const unsafe fn new(pieces: [Piece; 2]) -> Self {
        Self { pieces }
    }

    /// The pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> {
        self.pieces.into_iter().filter(|piece| !piece.host.is_empty())
    }

    /// Host-physical address of `len` bytes at `address`, if all of them are in one piece of RAM.
    pub fn host(&self, address: u64, len: u64) -> Option<u64> {
        self.pieces().find_map(|piece| {
            let offset = address.checked_sub(piece.guest)?;
            let end = offset.checked_add(len)?;
            (end <= piece.host.len).then_some(piece.host.base + offset)
        })
    }

    fn pointer(&self, address: u64, len: usize) -> Option<*mut u8> {
        let host = self.host(address, len as u64)?;
        Some(core::ptr::with_exposed_provenance_mut((DIRECT_MAP + host) as usize))
    }

    /// Copies bytes out. Answers whether they are RAM.
    pub fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let Some(from) = self.pointer(address, into.len()) else { return false };
        for (at, byte) in into.iter_mut().enumerate() {
            // SAFETY: inside the guest's RAM by `host`, which is mapped by `new`'s promise.
            *byte = unsafe { from.add(at).read_volatile() };
        }
        true
    }

    /// Copies bytes in. Answers whether they are RAM.
    pub fn write(&self, address: u64, from: &[u8]) -> bool {
        let Some(to) = self.pointer(address, from.len()) else { return false };
        for (at, byte) in from.iter().enumerate() {
            // SAFETY: as for `read`.
            unsafe { to.add(at).write_volatile(*byte) };
        }
        true
    }

    /// Replaces `old` by `new` in one step; false also where that is not aligned RAM.
    pub fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> bool {
        let Some(at) = self.pointer(address, 4).filter(|_| address.is_multiple_of(4)) else { return false };
        // SAFETY: aligned, inside the guest's RAM; the guest's own accesses are atomic to hv.
        let word = unsafe { AtomicU32::from_ptr(at.cast()) };
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// As [`GuestRam::compare_exchange_u32`], for 64 bits.
    pub fn compare_exchange_u64(&self, address: u64, old: u64, new: u64) -> bool {
        let Some(at) = self.pointer(address, 8).filter(|_| address.is_multiple_of(8)) else { return false };
        // SAFETY: as above.
        let word = unsafe { AtomicU64::from_ptr(at.cast()) };
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
