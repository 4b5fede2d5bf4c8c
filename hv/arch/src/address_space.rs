//! hv's own page tables.

use hv_abi::boot::DIRECT_MAP;
use hv_core::memory::Frames;
use hv_defs::paging::{self, ENTRIES, MapError, Mapping, TABLE_SIZE, TableMemory};
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::{PhysFrame, Size4KiB};

/// A set of page tables.
#[derive(Clone, Copy, Debug)]
pub struct AddressSpace {
    root: u64,
}

/// Tables in hv's own frames, reached through the direct map.
struct Tables<'a>(&'a mut Frames);

impl TableMemory for Tables<'_> {
    fn allocate(&mut self) -> Option<u64> {
        let table = self.0.take(1)?.base;
        for index in 0..ENTRIES {
            self.write(table, index, 0);
        }
        Some(table)
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        // SAFETY: tables come from `allocate`: hv's own frames, in the direct map.
        unsafe { entry(table, index).read_volatile() }
    }

    fn write(&mut self, table: u64, index: usize, value: u64) {
        // SAFETY: as above. Volatile, because the CPU's page walk reads it.
        unsafe { entry(table, index).write_volatile(value) }
    }
}

fn entry(table: u64, index: usize) -> *mut u64 {
    debug_assert!(index < ENTRIES && table.is_multiple_of(TABLE_SIZE));
    core::ptr::with_exposed_provenance_mut((DIRECT_MAP + table) as usize + index * 8)
}

impl AddressSpace {
    /// Page tables with these mappings, made of `frames`.
    ///
    /// # Errors
    /// [`MapError`]: out of frames, or mappings that overlap.
    ///
    /// # Safety
    /// `frames` are hv's alone, and mapped at [`DIRECT_MAP`] now and in these mappings.
    pub unsafe fn build(
        frames: &mut Frames,
        mappings: impl IntoIterator<Item = Mapping>,
    ) -> Result<Self, MapError> {
        let mut tables = Tables(frames);
        let root = tables.allocate().ok_or(MapError::NoTable)?;
        for mapping in mappings {
            paging::map(&mut tables, root, mapping)?;
        }
        Ok(Self { root })
    }

    /// Tables that map the same, and `mapping` besides. The upper tables are shared, so `mapping`
    /// must lie where nothing of this space is within 512 GiB.
    ///
    /// # Errors
    /// [`MapError`].
    ///
    /// # Safety
    /// As for [`AddressSpace::build`].
    pub unsafe fn with(&self, frames: &mut Frames, mapping: Mapping) -> Result<Self, MapError> {
        let mut tables = Tables(frames);
        if tables.read(self.root, paging::index(mapping.virt, 4)) != 0 {
            return Err(MapError::Occupied);
        }
        let root = tables.allocate().ok_or(MapError::NoTable)?;
        for index in 0..ENTRIES {
            let shared = tables.read(self.root, index);
            tables.write(root, index, shared);
        }
        paging::map(&mut tables, root, mapping)?;
        Ok(Self { root })
    }

    /// Maps more, with tables made of `frames`.
    ///
    /// # Errors
    /// [`MapError`]; what was mapped until then stays mapped.
    ///
    /// # Safety
    /// As for [`AddressSpace::build`]; nobody else changes these tables meanwhile.
    pub unsafe fn map(&self, frames: &mut Frames, mapping: Mapping) -> Result<(), MapError> {
        paging::map(&mut Tables(frames), self.root, mapping)
    }

    /// Takes away the pages that lie wholly in `len` bytes from `virt`.
    ///
    /// # Safety
    /// Nobody needs them, and nobody else changes these tables meanwhile. CPUs may know them until
    /// they are told to forget.
    pub unsafe fn unmap(&self, virt: u64, len: u64) {
        paging::unmap(&mut Tables(&mut Frames::empty()), self.root, virt, len);
    }

    /// Physical address of the root table.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Where `virt` leads, if it is mapped.
    pub fn translate(&self, virt: u64) -> Option<u64> {
        paging::translate(&Tables(&mut Frames::empty()), self.root, virt).map(|(phys, _)| phys)
    }

    /// Makes this CPU use the tables.
    ///
    /// # Safety
    /// They map the code that runs, its stack, and all that is read or written from here on.
    pub unsafe fn activate(&self) {
        let frame = PhysFrame::<Size4KiB>::containing_address(PhysAddr::new(self.root));
        // SAFETY: the caller's promise.
        unsafe { Cr3::write(frame, Cr3Flags::empty()) }
    }
}
