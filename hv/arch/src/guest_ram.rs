//! A guest's RAM, as hv reaches it: by guest-physical address, through the direct map.
//!
//! The guest writes it at any time, so it is never a reference: bytes are copied in and out, one
//! volatile access each, and nothing is read twice that must stay the same.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hv_abi::boot::DIRECT_MAP;
use hv_abi::manifest::MAX_PIECES;
use hv_abi::memory::{PAGE_SIZE, PhysRange};

/// One piece of RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where the guest sees it.
    pub guest: u64,
    /// Where it is.
    pub host: PhysRange,
}

/// A guest's RAM: a few pieces, below and above the hole for devices.
#[derive(Clone, Copy, Debug)]
pub struct GuestRam {
    pieces: [Piece; MAX_PIECES],
    len: usize,
}

impl GuestRam {
    /// These pieces.
    ///
    /// # Safety
    /// They are RAM that hv has given to this guest, and lie in the direct map for as long as the
    /// value or a copy of it lives.
    pub unsafe fn new(given: impl IntoIterator<Item = Piece>) -> Self {
        let mut ram = Self { pieces: [Piece::default(); MAX_PIECES], len: 0 };
        for (place, piece) in ram.pieces.iter_mut().zip(given) {
            *place = piece;
            ram.len += 1;
        }
        ram
    }

    /// The pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.pieces[..self.len].iter().copied()
    }

    /// Bytes of all pieces.
    pub fn bytes(&self) -> u64 {
        self.pieces().map(|piece| piece.host.len).sum()
    }

    /// The page at `address`, for sharing words with the guest; `None` if it is not a page of RAM.
    pub fn page(&self, address: u64) -> Option<SharedPage> {
        let at = self.pointer(address, PAGE_SIZE as usize).filter(|_| address.is_multiple_of(PAGE_SIZE))?;
        Some(SharedPage { words: at.cast() })
    }

    /// Host-physical address of `len` bytes at `address`, if all of them are in one piece of RAM.
    #[inline]
    pub fn host(&self, address: u64, len: u64) -> Option<u64> {
        // Places without a piece have no length.
        self.pieces.iter().find_map(|piece| {
            let offset = address.wrapping_sub(piece.guest);
            let fits = offset < piece.host.len && piece.host.len - offset >= len;
            fits.then_some(piece.host.base.wrapping_add(offset))
        })
    }

    #[inline]
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

    /// Eight bytes, aligned or not; `None` where they are not RAM.
    #[inline]
    pub fn read_u64(&self, address: u64) -> Option<u64> {
        let at = self.pointer(address, 8)?;
        // SAFETY: inside the guest's RAM, as for `read`.
        Some(unsafe { load(at) })
    }

    /// Sixteen bytes, in two loads.
    #[inline]
    pub fn read_u128(&self, address: u64) -> Option<u128> {
        let at = self.pointer(address, 16)?;
        // SAFETY: as above.
        let (low, high) = unsafe { (load(at), load(at.add(8))) };
        Some(u128::from(high) << 64 | u128::from(low))
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

/// One load of the CPU's, aligned or not: a volatile read has to be aligned.
///
/// # Safety
/// Eight bytes of a guest's RAM, in the direct map.
#[inline]
unsafe fn load(at: *const u8) -> u64 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) at, options(nostack, readonly, preserves_flags)) };
    value
}

/// A page of a guest's RAM that hv and the guest both read and write, word by word. It is good for as
/// long as the [`GuestRam`] it came from.
#[derive(Clone, Copy, Debug)]
pub struct SharedPage {
    words: *mut u64,
}

// SAFETY: every access is atomic.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// Words of a page.
    pub const WORDS: usize = PAGE_SIZE as usize / 8;

    /// The word at `index`, modulo the page.
    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: inside the page, which is RAM in the direct map by `GuestRam::new`'s promise.
        unsafe { AtomicU64::from_ptr(self.words.add(index % Self::WORDS)) }
    }

    /// Reads a word; what the guest wrote before it is seen after.
    pub fn load(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }

    /// Writes a word; who sees it sees what was written before it.
    pub fn store(&self, index: usize, value: u64) {
        self.word(index).store(value, Ordering::Release);
    }

    /// Sets a bit, counted from the first word's lowest. Answers whether it was clear.
    pub fn set_bit(&self, bit: u32) -> bool {
        let mask = 1 << (bit % 64);
        self.word(bit as usize / 64).fetch_or(mask, Ordering::AcqRel) & mask == 0
    }
}
