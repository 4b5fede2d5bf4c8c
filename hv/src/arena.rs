//! The memory that the instruction decoder's tables are made in, once at boot.
//!
//! hv has no heap: nothing in it allocates but `hv_core::emulate::prepare`, whose decoder builds
//! its tables at first use. What it takes is never given back, so this is a pointer that moves up.
//! Anything else that allocates finds the arena too small and panics in the first test.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// The decoder's tables take 101 KiB, vectors that grew on the way included.
const SIZE: usize = 112 << 10;

#[repr(align(16))]
struct Arena {
    memory: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: `used` gives every byte to one allocation only.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };

// SAFETY: allocations lie in the arena, are aligned (the arena is, to 16) and don't overlap.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place =
            |used: usize| used.checked_next_multiple_of(layout.align()).filter(|_| layout.align() <= 16);
        let end = |used| place(used)?.checked_add(layout.size()).filter(|end| *end <= SIZE);
        let Ok(used) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, end) else {
            return ptr::null_mut();
        };
        // SAFETY: `end` has kept `place` within the arena.
        place(used).map_or(ptr::null_mut(), |at| unsafe { self.memory.get().cast::<u8>().add(at) })
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
