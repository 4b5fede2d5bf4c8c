//! Four-level page tables: the format, and the one routine that fills them.
//! SDM volume 3, chapter 4.5; APM volume 2, chapter 5.3.
//!
//! The doors and hv build their tables through [`map`], each over its own [`TableMemory`]; tests
//! build over a plain array.

/// Entries of one table.
pub const ENTRIES: usize = 512;
/// Bytes of one table.
pub const TABLE_SIZE: u64 = 4096;

/// Bits of an entry. SDM 3, tables 4-14 to 4-20.
pub mod bits {
    /// The entry is in use.
    pub const PRESENT: u64 = 1 << 0;
    /// Writing is allowed.
    pub const WRITE: u64 = 1 << 1;
    /// User programs may use it; a guest's every access counts as a user's (APM 2, 15.25.5).
    pub const USER: u64 = 1 << 2;
    /// With `UNCACHED`'s other bit: index into the PAT (write-through).
    pub const WRITE_THROUGH: u64 = 1 << 3;
    /// Uncached, with `WRITE_THROUGH`: PAT entry 3, "UC" after reset.
    pub const CACHE_DISABLE: u64 = 1 << 4;
    /// In a page directory (pointer table): the entry maps a page, not a table.
    pub const LARGE: u64 = 1 << 7;
    /// Executing is forbidden; needs EFER.NXE.
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// Where the table or page is.
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// What may be done through a mapping; reading always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
    /// Read and write device registers: not cached, not executed.
    Device,
    /// A guest's memory: all that the guest itself allows.
    Guest,
    /// All. Only for the few instructions around a change of page tables.
    Transition,
}

impl Rights {
    const fn bits(self) -> u64 {
        match self {
            Self::Read => bits::NO_EXECUTE,
            Self::ReadWrite => bits::WRITE | bits::NO_EXECUTE,
            Self::ReadExecute => 0,
            Self::Device => bits::WRITE | bits::NO_EXECUTE | bits::CACHE_DISABLE | bits::WRITE_THROUGH,
            Self::Guest => bits::WRITE | bits::USER,
            Self::Transition => bits::WRITE,
        }
    }
}

/// Sizes of page, smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageSize {
    /// 4096 bytes, entry in a page table.
    FourKib,
    /// 2 MiB, entry in a page directory.
    TwoMib,
    /// 1 GiB, entry in a page directory pointer table; not on every CPU.
    OneGib,
}

impl PageSize {
    /// Bytes of a page.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    const fn shift(self) -> u32 {
        match self {
            Self::FourKib => 12,
            Self::TwoMib => 21,
            Self::OneGib => 30,
        }
    }
}

/// What shall be mapped; addresses and length in whole 4 KiB pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First virtual address; canonical.
    pub virt: u64,
    /// First physical address.
    pub phys: u64,
    /// Bytes.
    pub len: u64,
    /// What may be done.
    pub rights: Rights,
    /// The largest page to use.
    pub largest: PageSize,
}

/// Why [`map`] stopped. What it had mapped until then stays mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No memory for another table.
    NoTable,
    /// An address or the length is not of whole pages.
    NotAligned,
    /// Something is mapped there.
    Occupied,
}

/// Memory that tables live in, addressed by physical address.
pub trait TableMemory {
    /// A zeroed table, page-aligned.
    fn allocate(&mut self) -> Option<u64>;
    /// Entry `index` of the table at `table`.
    fn read(&self, table: u64, index: usize) -> u64;
    /// Sets entry `index` of the table at `table`.
    fn write(&mut self, table: u64, index: usize, entry: u64);
}

/// The index into the table of level `level` (4 = root … 1) that `virt` selects.
pub const fn index(virt: u64, level: u32) -> usize {
    (virt >> (12 + 9 * (level - 1))) as usize % ENTRIES
}

/// Adds a mapping to the tables under `root`, with the largest pages that fit.
///
/// # Errors
/// [`MapError`].
pub fn map(memory: &mut impl TableMemory, root: u64, mapping: Mapping) -> Result<(), MapError> {
    let Mapping { virt, phys, len, rights, largest } = mapping;
    if (virt | phys | len) % PageSize::FourKib.bytes() != 0 {
        return Err(MapError::NotAligned);
    }
    let mut done = 0;
    while done < len {
        let (virt, phys) = (virt + done, phys + done);
        let size = largest_fit(virt | phys, len - done, largest);
        let (level, large) = match size {
            PageSize::FourKib => (1, 0),
            PageSize::TwoMib => (2, bits::LARGE),
            PageSize::OneGib => (3, bits::LARGE),
        };
        let table = descend(memory, root, virt, level)?;
        let at = index(virt, level);
        if memory.read(table, at) & bits::PRESENT != 0 {
            return Err(MapError::Occupied);
        }
        memory.write(table, at, phys | bits::PRESENT | large | rights.bits());
        done += size.bytes();
    }
    Ok(())
}

/// The largest page that both addresses (ORed) are aligned to and that `len` fills.
fn largest_fit(addresses: u64, len: u64, largest: PageSize) -> PageSize {
    [PageSize::OneGib, PageSize::TwoMib]
        .into_iter()
        .find(|size| *size <= largest && addresses.is_multiple_of(size.bytes()) && len >= size.bytes())
        .unwrap_or(PageSize::FourKib)
}

/// The table of `level` on the way to `virt`; makes the ones that are missing.
fn descend(memory: &mut impl TableMemory, root: u64, virt: u64, level: u32) -> Result<u64, MapError> {
    let mut table = root;
    for above in (level + 1..=4).rev() {
        let at = index(virt, above);
        let entry = memory.read(table, at);
        table = if entry & bits::PRESENT == 0 {
            let fresh = memory.allocate().ok_or(MapError::NoTable)?;
            // Rights are decided by the last entry alone, so the ones above allow everything.
            memory.write(table, at, fresh | bits::PRESENT | bits::WRITE | bits::USER);
            fresh
        } else if entry & bits::LARGE != 0 && above < 4 {
            return Err(MapError::Occupied);
        } else {
            entry & bits::ADDRESS
        };
    }
    Ok(table)
}

/// Takes away the pages that lie wholly in `len` bytes from `virt`; tables stay. Whoever may have
/// the translations cached must forget them.
pub fn unmap(memory: &mut impl TableMemory, root: u64, virt: u64, len: u64) {
    let end = virt.saturating_add(len);
    let mut at = virt;
    while at < end {
        let (mut table, mut step) = (root, 0);
        for level in (1..=4).rev() {
            step = 1 << (12 + 9 * (level - 1));
            let entry = memory.read(table, index(at, level));
            let is_page = level == 1 || (entry & bits::LARGE != 0 && level < 4);
            if entry & bits::PRESENT == 0 {
                break;
            }
            if is_page {
                if at.is_multiple_of(step) && end - at >= step {
                    memory.write(table, index(at, level), 0);
                }
                break;
            }
            table = entry & bits::ADDRESS;
        }
        at = (at / step + 1).saturating_mul(step);
    }
}

/// The physical address and the combined entry bits that `virt` leads to, if it is mapped.
pub fn translate(memory: &impl TableMemory, root: u64, virt: u64) -> Option<(u64, u64)> {
    let mut table = root;
    for level in (1..=4).rev() {
        let entry = memory.read(table, index(virt, level));
        if entry & bits::PRESENT == 0 {
            return None;
        }
        let last = level == 1 || (entry & bits::LARGE != 0 && level < 4);
        if last {
            let offset = virt & ((1 << (12 + 9 * (level - 1))) - 1);
            let base = entry & bits::ADDRESS & !((1 << (12 + 9 * (level - 1))) - 1);
            return Some((base + offset, entry & !bits::ADDRESS));
        }
        table = entry & bits::ADDRESS;
    }
    None
}

/// An upper bound of the tables [`map`] makes for one mapping, the root not counted.
pub const fn tables_needed(len: u64, largest: PageSize) -> u64 {
    // One more than fills, per level, for a start that is not aligned to the level's span.
    let per_pdpt = (len >> 39) + 2;
    let per_directory = (len >> 30) + 2;
    let per_table = (len >> 21) + 2;
    match largest {
        // A ragged start and a ragged end each take one table of each smaller level.
        PageSize::OneGib => per_pdpt + 2 + 2,
        PageSize::TwoMib => per_pdpt + per_directory + 2,
        PageSize::FourKib => per_pdpt + per_directory + per_table,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// Tables in an array; the table at physical address `n << 12` is element `n`.
    struct Array {
        tables: Vec<[u64; ENTRIES]>,
        limit: usize,
    }

    impl Array {
        fn new(limit: usize) -> Self {
            Self { tables: std::vec![[0; ENTRIES]], limit }
        }
    }

    impl TableMemory for Array {
        fn allocate(&mut self) -> Option<u64> {
            (self.tables.len() < self.limit).then(|| {
                self.tables.push([0; ENTRIES]);
                (self.tables.len() as u64 - 1) << 12
            })
        }
        fn read(&self, table: u64, index: usize) -> u64 {
            self.tables[(table >> 12) as usize][index]
        }
        fn write(&mut self, table: u64, index: usize, entry: u64) {
            self.tables[(table >> 12) as usize][index] = entry;
        }
    }

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;
    const HIGH: u64 = 0xffff_8000_0000_0000;

    fn mapping(virt: u64, phys: u64, len: u64, largest: PageSize) -> Mapping {
        Mapping { virt, phys, len, rights: Rights::ReadWrite, largest }
    }

    #[test]
    fn the_largest_page_that_fits_is_used() {
        let mut memory = Array::new(64);
        map(&mut memory, 0, mapping(HIGH, 0, 2 * GIB + 3 * MIB + 0x1000, PageSize::OneGib)).unwrap();
        // root, one PDPT, one directory for the 3 MiB and the page, one table for its last part
        assert_eq!(memory.tables.len(), 4);
        for phys in [0, GIB, 2 * GIB + 5, 2 * GIB + 2 * MIB, 2 * GIB + 3 * MIB] {
            let (found, bits) = translate(&memory, 0, HIGH + phys).expect("mapped");
            assert_eq!(found, phys);
            assert_eq!(bits & bits::NO_EXECUTE, bits::NO_EXECUTE);
        }
        assert_eq!(translate(&memory, 0, HIGH + 2 * GIB + 3 * MIB + 0x1000), None);
    }

    #[test]
    fn what_is_mapped_is_not_mapped_over() {
        let mut memory = Array::new(64);
        map(&mut memory, 0, mapping(HIGH, 0, 4 * MIB, PageSize::TwoMib)).unwrap();
        let again = mapping(HIGH + 2 * MIB, 8 * MIB, 0x1000, PageSize::FourKib);
        assert_eq!(map(&mut memory, 0, again), Err(MapError::Occupied));
        assert_eq!(translate(&memory, 0, HIGH + 2 * MIB).unwrap().0, 2 * MIB);
    }

    #[test]
    fn what_is_unmapped_can_be_mapped_again() {
        let mut memory = Array::new(64);
        map(&mut memory, 0, mapping(HIGH, 0, 4 * MIB + 0x3000, PageSize::TwoMib)).unwrap();
        map(&mut memory, 0, mapping(HIGH + GIB, GIB, GIB, PageSize::OneGib)).unwrap();
        unmap(&mut memory, 0, HIGH + 2 * MIB, 2 * MIB + 0x1000);
        let there = |memory: &Array, at: u64| translate(memory, 0, HIGH + at).is_some();
        let rows = [(0, true), (2 * MIB, false), (4 * MIB, false), (4 * MIB + 0x1000, true), (GIB, true)];
        for (at, expected) in rows {
            assert_eq!(there(&memory, at), expected, "{at:#x}");
        }
        // Part of a page stays; what is not mapped is stepped over.
        unmap(&mut memory, 0, HIGH + 0x1000, MIB);
        unmap(&mut memory, 0, HIGH - 8 * GIB, 9 * GIB);
        assert!(!there(&memory, 0) && there(&memory, GIB));
        map(&mut memory, 0, mapping(HIGH, 0, 4 * MIB, PageSize::TwoMib)).unwrap();
    }

    #[test]
    fn odd_addresses_and_a_lack_of_tables_are_said() {
        let mut memory = Array::new(2);
        assert_eq!(
            map(&mut memory, 0, mapping(HIGH + 1, 0, MIB, PageSize::OneGib)),
            Err(MapError::NotAligned)
        );
        assert_eq!(map(&mut memory, 0, mapping(HIGH, 0, MIB, PageSize::OneGib)), Err(MapError::NoTable));
    }

    #[test]
    fn rights_become_bits() {
        let mut memory = Array::new(8);
        let kinds = [
            (Rights::Read, bits::NO_EXECUTE),
            (Rights::ReadWrite, bits::NO_EXECUTE | bits::WRITE),
            (Rights::ReadExecute, 0),
        ];
        for (page, (rights, expected)) in kinds.into_iter().enumerate() {
            let virt = HIGH + page as u64 * 0x1000;
            let mapping = Mapping { rights, ..mapping(virt, 0x1000, 0x1000, PageSize::FourKib) };
            map(&mut memory, 0, mapping).unwrap();
            assert_eq!(translate(&memory, 0, virt).unwrap().1, expected | bits::PRESENT);
        }
    }

    #[test]
    fn the_count_of_tables_is_an_upper_bound() {
        for largest in [PageSize::FourKib, PageSize::TwoMib, PageSize::OneGib] {
            for (base, len) in [(0, 5 * GIB), (MIB, 3 * MIB), (GIB - 0x1000, 0x2000), (0x1000, GIB + MIB)] {
                let mut memory = Array::new(8192);
                map(&mut memory, 0, mapping(HIGH + base, base, len, largest)).unwrap();
                let made = memory.tables.len() as u64 - 1;
                assert!(made <= tables_needed(len, largest), "{largest:?} {base:#x} {len:#x}: {made}");
            }
        }
    }
}
