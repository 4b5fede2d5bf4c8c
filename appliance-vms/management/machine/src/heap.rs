//! The heap: all RAM that is left behind the program.

use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::memory::PhysRange;
use talc::TalcLock;
use talc::source::Manual;

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

static BYTES: AtomicU64 = AtomicU64::new(0);

/// Gives the heap its memory. Until then nothing may be allocated.
///
/// # Safety
/// The memory is mapped where it is and nobody else's, for good.
pub unsafe fn open(memory: PhysRange) {
    let base = core::ptr::with_exposed_provenance_mut(memory.base as usize);
    // SAFETY: the caller's promise.
    let claimed = unsafe { HEAP.lock().claim(base, memory.len as usize) };
    assert!(claimed.is_some(), "{} bytes are too few for a heap", memory.len);
    BYTES.store(memory.len, Ordering::Relaxed);
}

/// Its size in bytes.
pub fn bytes() -> u64 {
    BYTES.load(Ordering::Relaxed)
}
