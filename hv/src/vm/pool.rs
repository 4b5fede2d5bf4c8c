//! What hv needs for one VM: a piece of memory that is hv's while the VM lives, and free again after.

use core::ops::Deref;
use core::ptr::NonNull;
use hv_abi::boot::DIRECT_MAP;
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use hv_core::memory::Frames;

/// Values in a VM's pool. They are dropped with this; their pages go back with the pool.
pub struct Pooled<T: ?Sized>(NonNull<T>);

// SAFETY: it owns what it points to.
unsafe impl<T: ?Sized + Send> Send for Pooled<T> {}
// SAFETY: as above; it gives out shared references only.
unsafe impl<T: ?Sized + Sync> Sync for Pooled<T> {}

impl<T: ?Sized> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: made from a value that was written, in pages that stay hv's until this is dropped.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Drop for Pooled<T> {
    fn drop(&mut self) {
        // SAFETY: it owns the value, which nobody can reach any more.
        unsafe { self.0.drop_in_place() };
    }
}

/// Pages that `count` values take.
pub const fn pages<T>(count: usize) -> u64 {
    ((size_of::<T>() * count) as u64).div_ceil(PAGE_SIZE)
}

impl<T> Pooled<T> {
    /// Puts a value into pages of the pool; `None`: it has none left.
    ///
    /// # Safety
    /// The pool's pages are hv's alone, in the direct map, until the result is dropped.
    pub unsafe fn new(frames: &mut Frames, value: T) -> Option<Self> {
        let at = NonNull::new(pointer::<T>(frames.take(pages::<T>(1))?))?;
        // SAFETY: the pages are large enough, aligned, and nobody else's.
        unsafe { at.write(value) };
        Some(Self(at))
    }
}

impl<T> Pooled<[T]> {
    /// Puts `count` values there, made one by one; `None` when a page, or a value, can't be had.
    ///
    /// # Safety
    /// As for [`Pooled::new`].
    pub unsafe fn slice(
        frames: &mut Frames,
        count: usize,
        mut make: impl FnMut(&mut Frames, usize) -> Option<T>,
    ) -> Option<Self> {
        let at = pointer::<T>(frames.take(pages::<T>(count))?);
        for index in 0..count {
            let value = make(frames, index)?;
            // SAFETY: as for `new`.
            unsafe { at.add(index).write(value) };
        }
        NonNull::new(core::ptr::slice_from_raw_parts_mut(at, count)).map(Self)
    }
}

/// Where pages are for hv.
pub fn pointer<T>(pages: PhysRange) -> *mut T {
    core::ptr::with_exposed_provenance_mut((DIRECT_MAP + pages.base) as usize)
}
