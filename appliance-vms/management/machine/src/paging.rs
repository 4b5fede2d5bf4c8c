//! This VM's page tables: hv's, and what they lack: devices above the end of RAM.

use crate::dma::Dma;
use core::mem::ManuallyDrop;
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use hv_defs::paging::{self, MapError, Mapping, PageSize, Rights, TABLE_SIZE, TableMemory};
use spin::Mutex;

/// Physical address of the root table; 0 until it is known.
static ROOT: Mutex<u64> = Mutex::new(0);

/// Tables on the heap and hv's first ones: all mapped where they are.
struct Tables;

impl TableMemory for Tables {
    fn allocate(&mut self) -> Option<u64> {
        // Tables are never given back.
        let table = ManuallyDrop::new(Dma::new(TABLE_SIZE as usize)?);
        Some(table.range(0, TABLE_SIZE as usize).address)
    }

    fn read(&self, table: u64, index: usize) -> u64 {
        // SAFETY: a table of this VM's, by `adopt` and `allocate`.
        unsafe { entry(table, index).read_volatile() }
    }

    fn write(&mut self, table: u64, index: usize, value: u64) {
        // SAFETY: as above. Volatile, because the CPU's page walk reads it.
        unsafe { entry(table, index).write_volatile(value) };
    }
}

fn entry(table: u64, index: usize) -> *mut u64 {
    core::ptr::with_exposed_provenance_mut(table as usize + index * 8)
}

/// Takes the tables over that hv made.
///
/// # Safety
/// They are in use, in this VM's RAM, and mapped where they are; nobody else changes them.
pub unsafe fn adopt(root: u64) {
    *ROOT.lock() = root;
}

/// Has device memory mapped where it is: hv has done so below 4 GiB and up to the end of RAM.
///
/// # Errors
/// [`MapError`]: the heap is full.
pub fn map_device(range: PhysRange) -> Result<(), MapError> {
    let root = *ROOT.lock();
    let base = range.base / PAGE_SIZE * PAGE_SIZE;
    let end = range.end().next_multiple_of(PAGE_SIZE);
    for page in (base..end).step_by(PAGE_SIZE as usize) {
        if paging::translate(&Tables, root, page).is_none() {
            let mapping = Mapping {
                virt: page,
                phys: page,
                len: PAGE_SIZE,
                rights: Rights::Device,
                largest: PageSize::FourKib,
            };
            // A page that was not there needs no flush (APM 2, 5.5.2).
            paging::map(&mut Tables, root, mapping)?;
        }
    }
    Ok(())
}
