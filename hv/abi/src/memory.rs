//! Physical memory as the doors report it: ranges, kinds, and a map of fixed size.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes in the smallest page; every region of a [`MemoryMap`] starts and ends on one.
pub const PAGE_SIZE: u64 = 4096;

/// A half-open range of physical memory, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PhysRange {
    /// First byte.
    pub base: u64,
    /// Bytes; 0 = no range.
    pub len: u64,
}

impl PhysRange {
    /// A range of `len` bytes from `base`.
    pub const fn new(base: u64, len: u64) -> Self {
        Self { base, len }
    }

    /// The first byte after the range; saturates at the top of the address space.
    pub const fn end(self) -> u64 {
        self.base.saturating_add(self.len)
    }

    /// Whether the range holds no byte.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether `other` lies wholly inside.
    pub const fn contains(self, other: Self) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.base < other.end() && other.base < self.end()
    }
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.base, self.end())
    }
}

/// What a region of memory is. Open: a number we do not know reads as reserved.
///
/// Where two reports overlap the larger number wins, so the order is part of the contract.
#[repr(transparent)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct MemoryKind(pub u32);

impl MemoryKind {
    /// RAM for hv to give out.
    pub const USABLE: Self = Self(1);
    /// RAM that holds ACPI tables.
    pub const ACPI_TABLES: Self = Self(2);
    /// RAM that the firmware keeps across sleep.
    pub const ACPI_NVS: Self = Self(3);
    /// Not RAM, or not ours to touch.
    pub const RESERVED: Self = Self(4);
    /// The landing: hv's image, its first page tables, its first stack.
    pub const LANDING: Self = Self(5);

    /// The field's own word for the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::USABLE => "usable",
            Self::ACPI_TABLES => "acpi-tables",
            Self::ACPI_NVS => "acpi-nvs",
            Self::LANDING => "landing",
            _ => "reserved",
        }
    }
}

/// One region of the map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MemoryRegion {
    /// Where it is.
    pub range: PhysRange,
    /// What it is.
    pub kind: MemoryKind,
    /// Zero.
    pub reserved: u32,
}

/// Most regions a map can hold. Boards report 10 to 60 once neighbours are merged.
pub const MAX_REGIONS: usize = 128;

/// The machine's memory: sorted, page-aligned, without overlaps ([`MemoryMap::check`]).
/// What no region names is not RAM.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MemoryMap {
    len: u64,
    regions: [MemoryRegion; MAX_REGIONS],
}

const _: () = assert!(size_of::<MemoryMap>() == 8 + 24 * MAX_REGIONS);

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

/// The map has no room for another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFull;

impl fmt::Display for MapFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the machine reports more than {MAX_REGIONS} memory regions")
    }
}

impl MemoryMap {
    /// A map that names nothing.
    pub const fn new() -> Self {
        const NONE: MemoryRegion =
            MemoryRegion { range: PhysRange::new(0, 0), kind: MemoryKind(0), reserved: 0 };
        Self { len: 0, regions: [NONE; MAX_REGIONS] }
    }

    /// The regions, in the order they were added.
    pub fn regions(&self) -> &[MemoryRegion] {
        let len = usize::try_from(self.len).unwrap_or(MAX_REGIONS).min(MAX_REGIONS);
        &self.regions[..len]
    }

    /// Appends a region as it is. The map stays lawful only if the caller adds in order.
    ///
    /// # Errors
    /// [`MapFull`] when the map has no room; the map is then unchanged.
    pub fn push(&mut self, range: PhysRange, kind: MemoryKind) -> Result<(), MapFull> {
        let at = self.regions().len();
        let slot = self.regions.get_mut(at).ok_or(MapFull)?;
        *slot = MemoryRegion { range, kind, reserved: 0 };
        self.len = at as u64 + 1;
        Ok(())
    }

    /// Bytes of all regions of one kind.
    pub fn total(&self, kind: MemoryKind) -> u64 {
        self.of_kind(kind).map(|range| range.len).sum()
    }

    /// The ranges of one kind, lowest first.
    pub fn of_kind(&self, kind: MemoryKind) -> impl Iterator<Item = PhysRange> + '_ {
        self.regions().iter().filter(move |region| region.kind == kind).map(|region| region.range)
    }

    /// One past the highest byte of RAM of any use.
    pub fn top_of_ram(&self) -> u64 {
        let ram = self.regions().iter().filter(|region| region.kind != MemoryKind::RESERVED);
        ram.map(|region| region.range.end()).max().unwrap_or(0)
    }

    /// Whether the map keeps its promises: at least one region, each of whole pages, sorted,
    /// without overlap.
    ///
    /// # Errors
    /// The first rule that is broken, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.len == 0 || self.len > MAX_REGIONS as u64 {
            return Err("the memory map has no regions, or more than it can hold");
        }
        let mut last_end = 0;
        for MemoryRegion { range, .. } in self.regions() {
            if range.is_empty() || range.base.checked_add(range.len).is_none() {
                return Err("the memory map has an empty or endless region");
            }
            if (range.base | range.len) % PAGE_SIZE != 0 {
                return Err("the memory map has a region that is not of whole pages");
            }
            if range.base < last_end {
                return Err("the memory map is not sorted, or has overlapping regions");
            }
            last_end = range.end();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(regions: &[(u64, u64, MemoryKind)]) -> MemoryMap {
        let mut map = MemoryMap::new();
        for &(base, len, kind) in regions {
            map.push(PhysRange::new(base, len), kind).expect("room");
        }
        map
    }

    #[test]
    fn a_lawful_map_passes_and_counts() {
        let map = map(&[
            (0, 0x9f000, MemoryKind::USABLE),
            (0x10_0000, 0x1000, MemoryKind::LANDING),
            (0xffe0_0000, 0x20_0000, MemoryKind::RESERVED),
        ]);
        assert_eq!(map.check(), Ok(()));
        assert_eq!(map.total(MemoryKind::USABLE), 0x9f000);
        assert_eq!(map.top_of_ram(), 0x10_1000);
    }

    #[test]
    fn each_broken_rule_is_named() {
        assert!(MemoryMap::new().check().is_err());
        let unsorted = [(0x2000, 0x1000, MemoryKind::USABLE), (0, 0x1000, MemoryKind::USABLE)];
        assert!(map(&unsorted).check().unwrap_err().contains("sorted"));
        assert!(map(&[(0x10, 0x1000, MemoryKind::USABLE)]).check().unwrap_err().contains("whole pages"));
        assert!(map(&[(0x1000, 0, MemoryKind::USABLE)]).check().unwrap_err().contains("empty"));
        let endless = [(u64::MAX - 0xfff, 0x1000, MemoryKind::USABLE)];
        assert!(map(&endless).check().unwrap_err().contains("endless"));
    }

    #[test]
    fn a_full_map_says_so_and_loses_nothing() {
        let mut map = MemoryMap::new();
        for page in 0..MAX_REGIONS as u64 {
            map.push(PhysRange::new(page * 0x2000, 0x1000), MemoryKind::USABLE).expect("room");
        }
        assert_eq!(map.push(PhysRange::new(1 << 40, 0x1000), MemoryKind::USABLE), Err(MapFull));
        assert_eq!(map.regions().len(), MAX_REGIONS);
    }
}
