//! Memory that devices and hv reach by physical address.
//!
//! The VM is identity-mapped: a guest-physical address is a host-physical one, and all RAM is mapped
//! where it is. Only the program itself, its statics and its stack, is seen at its link address.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use management::memory::HostRange;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

unsafe extern "C" {
    // From `management.ld`; only the address means anything.
    static image_start: u8;
}

/// Where the VM's RAM begins, and with it the program.
static RAM: AtomicU64 = AtomicU64::new(0);

/// Says where the VM's RAM begins.
pub fn set_ram(base: u64) {
    RAM.store(base, Ordering::Relaxed);
}

/// The physical address of something of this program's: on the heap, on the stack, or a static.
pub fn physical<T: ?Sized>(at: *const T) -> u64 {
    let address = at.cast::<u8>().expose_provenance() as u64;
    let link = (&raw const image_start).addr() as u64;
    address.checked_sub(link).map_or(address, |offset| RAM.load(Ordering::Relaxed) + offset)
}

/// A piece of memory that a device reads and writes: never a reference, every access volatile.
pub struct Dma {
    at: NonNull<u8>,
    layout: Layout,
}

impl Dma {
    /// So many bytes, at least one, zeroed, at the start of a page; `None`: the heap is full.
    pub fn new(bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(bytes.max(1), PAGE_SIZE).ok()?;
        // SAFETY: the layout is not of size 0.
        let at = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        at.expose_provenance();
        Some(Self { at, layout })
    }

    /// Where part of it is for the device.
    pub fn range(&self, offset: usize, len: usize) -> HostRange {
        assert!(offset + len <= self.layout.size(), "beyond a piece of DMA memory");
        HostRange { address: physical(self.at.as_ptr()) + offset as u64, len: len as u64 }
    }

    /// How many bytes.
    pub const fn len(&self) -> usize {
        self.layout.size()
    }

    /// Copies out.
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
        let from = self.bytes(offset, into.len()).cast::<u8>().expose_provenance() as u64;
        let to = into.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: `bytes` saw that it is inside the allocation; the other is a slice.
        unsafe { copy(from, to, into.len()) };
    }

    /// Copies in.
    pub fn copy_in(&self, offset: usize, from: &[u8]) {
        let to = self.bytes(offset, from.len()).cast::<u8>().expose_provenance() as u64;
        let at = from.as_ptr().expose_provenance() as u64;
        // SAFETY: as for `copy_out`.
        unsafe { copy(at, to, from.len()) };
    }

    fn place<T>(&self, offset: usize) -> *mut T {
        let fits = offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.layout.size();
        assert!(fits, "beyond a piece of DMA memory");
        // SAFETY: just seen to be inside the allocation.
        unsafe { self.at.as_ptr().add(offset).cast() }
    }

    /// Part of it as bytes, for drivers that lend it to a device. Whoever makes a reference of it sees to
    /// it that nobody else has these bytes for as long, the device neither.
    pub fn bytes(&self, offset: usize, len: usize) -> *mut [u8] {
        assert!(offset + len <= self.layout.size(), "beyond a piece of DMA memory");
        // SAFETY: just seen to be inside the allocation.
        core::ptr::slice_from_raw_parts_mut(unsafe { self.at.as_ptr().add(offset) }, len)
    }

    /// Reads a value that may have any bits.
    pub fn read<T: zerocopy::FromBytes>(&self, offset: usize) -> T {
        // SAFETY: `place` is inside the allocation and aligned.
        unsafe { self.place::<T>(offset).read_volatile() }
    }

    /// Writes a value.
    pub fn write<T: zerocopy::IntoBytes>(&self, offset: usize, value: T) {
        // SAFETY: as for `read`.
        unsafe { self.place::<T>(offset).write_volatile(value) };
    }
}

/// Copies bytes, eight at a time as far as they go.
///
/// # Safety
/// Both places are mapped memory of that many bytes, and only one of them is this program's.
pub unsafe fn copy(from: u64, to: u64, len: usize) {
    // SAFETY: the caller's promise; the direction flag is clear, as everywhere in Rust.
    unsafe {
        asm!(
            "rep movsq",
            "mov {rest}, %rcx",
            "rep movsb",
            rest = in(reg) len % 8,
            inout("rcx") len / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(att_syntax, nostack, preserves_flags)
        );
    }
}

impl Drop for Dma {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody has a pointer to it but this.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// Orders accesses to memory that a device shares, also a store before a later load.
pub fn barrier() {
    fence(Ordering::SeqCst);
}

/// Memory for the drivers of `virtio-drivers`.
pub struct Memory;

// SAFETY: `dma_alloc` gives pages of the heap that are nobody else's; the addresses are physical ones.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Some(memory) = Dma::new(pages * PAGE_SIZE) else {
            // The crate's word for "there is none".
            return (0, NonNull::dangling());
        };
        let memory = core::mem::ManuallyDrop::new(memory);
        (physical(memory.at.as_ptr()), memory.at)
    }

    unsafe fn dma_dealloc(_: PhysAddr, at: NonNull<u8>, pages: usize) -> i32 {
        if let Ok(layout) = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE) {
            drop(Dma { at, layout });
        }
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        // Device memory is mapped where it is; nothing is at 0.
        NonNull::new(core::ptr::with_exposed_provenance_mut(address as usize)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        physical(buffer.as_ptr())
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
