//! What the door asks the firmware and the CPU for, beside the payload and the screen.

use handoff::{Refusal, Result};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use uefi::Handle;
use uefi::boot::{
    self, AllocateType, MemoryType, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol,
};
use uefi::mem::memory_map::MemoryMapOwned;
use uefi::proto::ProtocolPointer;
use uefi::system::with_config_table;
use uefi::table::cfg::ConfigTableEntry;
use x86_64::registers::control::{Cr4, Cr4Flags};

/// Uses a protocol without taking it from the driver that may stand on it: opened exclusively, the
/// screen would lose the firmware's console.
pub fn protocol<P: ProtocolPointer + ?Sized>(handle: Handle) -> uefi::Result<ScopedProtocol<P>> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: handles vanish when devices do; those of the volume, the screen and the loader that
    // started us stay while we run, and no result is kept across a call that could disconnect them.
    unsafe { boot::open_protocol(params, OpenProtocolAttributes::GetProtocol) }
}

/// Whether hv's four-level page tables can be switched to.
///
/// # Errors
/// A refusal if the firmware runs on five levels: leaving them means leaving 64-bit mode
/// (SDM volume 3, 4.1.1), and no machine for a living room needs them.
pub fn check_paging() -> Result<()> {
    if Cr4::read().contains(Cr4Flags::L5_PAGING) {
        return Err(Refusal {
            what: "This computer's firmware has 5-level paging (LA57) switched on, which Hearth can't take over.",
            remedy: "Switch off \"5-level paging\" or \"LA57\" in the machine's setup.",
        });
    }
    Ok(())
}

/// The ACPI root pointer, the newer kind if there are both; 0 = none.
pub fn acpi_root() -> u64 {
    let kinds = [ConfigTableEntry::ACPI2_GUID, ConfigTableEntry::ACPI_GUID];
    with_config_table(|tables| {
        let found = kinds.iter().find_map(|kind| tables.iter().find(|table| table.guid == *kind));
        found.map_or(0, |table| table.address.addr() as u64)
    })
}

/// The memory map as it is now.
///
/// # Errors
/// A refusal if the firmware does not tell.
pub fn memory_map() -> Result<MemoryMapOwned> {
    boot::memory_map(MemoryType::LOADER_DATA).map_err(|_| Refusal {
        what: "This computer's firmware does not say what memory there is.",
        remedy: "Update the firmware of the machine.",
    })
}

/// Takes a block of free memory.
///
/// # Errors
/// A refusal if the firmware does not give it.
pub fn claim(block: PhysRange) -> Result<()> {
    let pages = block.len.div_ceil(PAGE_SIZE) as usize;
    let claimed = boot::allocate_pages(AllocateType::Address(block.base), MemoryType::LOADER_DATA, pages);
    claimed.map(drop).map_err(|_| Refusal {
        what: "This computer's firmware does not give Hearth the memory that it calls free.",
        remedy: "Start the machine again; if that does not help, update its firmware.",
    })
}
