//! Memory of the cases' own: the last frames of the RAM, and a window of pages whose entries a case
//! sets as it likes.

use crate::Handover;
use hv_defs::paging::bits;

/// Where the window is; nothing else is in its 512 GiB.
const BASE: u64 = 0x7000_0000_0000;
const ROOT_ENTRY: usize = (BASE >> 39 & 511) as usize;
/// Frames that are the cases'.
const FRAMES: u64 = 64;
/// The first of them: tables of the window.
const TABLES: u64 = 3;

/// Rights for the window.
pub const RW: u64 = bits::PRESENT | bits::WRITE;
/// Level 3 too.
pub const USER: u64 = bits::PRESENT | bits::WRITE | bits::USER;
/// The last frame of the RAM: the next address is nobody's.
pub const LAST: u64 = FRAMES - 1;

/// Address of the `number`th frame, from [`TABLES`] to [`LAST`].
pub fn frame(handover: &Handover, number: u64) -> u64 {
    assert!((TABLES..FRAMES).contains(&number));
    handover.ram_end - (FRAMES - number) * 4096
}

/// Address of the window's `number`th page.
pub fn page(number: u64) -> u64 {
    BASE + number * 4096
}

/// Address of the entry of the window's `number`th page.
pub fn entry(handover: &Handover, number: u64) -> u64 {
    table(handover, 2) + (number & 511) * 8
}

/// Address of one of the window's tables.
fn table(handover: &Handover, level: u64) -> u64 {
    handover.ram_end - (FRAMES - level) * 4096
}

fn pointer(address: u64) -> *mut u64 {
    core::ptr::with_exposed_provenance_mut(address as usize)
}

/// Sets the entry of the window's `number`th page; the page's address.
pub fn map(handover: &Handover, number: u64, entry: u64) -> u64 {
    let table = |level| table(handover, level);
    // SAFETY: the frames are the cases' own, and RAM is mapped where it is; nobody else uses the
    // root's entry.
    unsafe {
        let root = pointer(handover.root).add(ROOT_ENTRY);
        if root.read_volatile() == 0 {
            pointer(table(0)).write_bytes(0, 3 * 512);
            pointer(table(0)).write_volatile(table(1) | USER);
            pointer(table(1)).write_volatile(table(2) | USER);
            root.write_volatile(table(0) | USER);
        }
        pointer(self::entry(handover, number)).write_volatile(entry);
    }
    let page = page(number);
    x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(page));
    page
}

/// Writes bytes.
pub fn put(address: u64, bytes: &[u8]) {
    let at = core::ptr::with_exposed_provenance_mut::<u8>(address as usize);
    for (offset, byte) in bytes.iter().enumerate() {
        // SAFETY: a case's own memory.
        unsafe { at.add(offset).write_volatile(*byte) };
    }
}

/// Reads bytes.
pub fn get<const N: usize>(address: u64) -> [u8; N] {
    let at = core::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: as for `put`.
    core::array::from_fn(|offset| unsafe { at.add(offset).read_volatile() })
}

/// A word of RAM.
pub fn word(address: u64) -> u64 {
    u64::from_le_bytes(get(address))
}
