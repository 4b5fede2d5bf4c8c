//! The map of owners: every byte of RAM has exactly one.

use derive_more::Display;
use heapless::Vec;
use hv_abi::memory::{MAX_REGIONS, MemoryKind, MemoryMap, PhysRange};

/// Most ranges the map can hold: what the firmware reports, and what is cut from it.
const MAX_RANGES: usize = MAX_REGIONS + 64;

/// Who has a range.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq)]
pub enum Owner {
    /// Nobody: it may be claimed.
    #[display("free")]
    Free,
    /// The hypervisor.
    #[display("hv")]
    Hypervisor,
    /// The firmware: tables, run-time services, or memory it keeps for itself.
    #[display("firmware")]
    Firmware,
    /// A virtual machine, by its number.
    #[display("vm-{_0}")]
    Vm(u8),
}

/// Why a claim was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq)]
pub enum OwnershipError {
    /// Part of the range has another owner than the one it was said to come from, or is not RAM.
    #[display("{_0} is not all one owner's memory")]
    NotTheirs(PhysRange),
    /// No range of the owner is large enough.
    #[display("{} KiB are needed in one piece, the largest free piece has {} KiB", wanted >> 10, largest >> 10)]
    NoRoom {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes of the largest range there is.
        largest: u64,
    },
    /// The map can't hold another range.
    #[display("memory is cut into more than {MAX_RANGES} pieces")]
    Full,
}

/// Every range of RAM with its owner: sorted, without overlaps, neighbours of one owner merged.
#[derive(Clone, Debug)]
pub struct OwnershipMap {
    ranges: Vec<(PhysRange, Owner), MAX_RANGES>,
}

impl OwnershipMap {
    /// The owners when hv takes over: it has its landing, the firmware has what it reported as its
    /// own, the rest of RAM is free.
    ///
    /// # Errors
    /// [`OwnershipError::Full`]; can't happen with a lawful map, which has fewer regions.
    pub fn new(memory: &MemoryMap) -> Result<Self, OwnershipError> {
        let mut map = Self { ranges: Vec::new() };
        for region in memory.regions() {
            let owner = match region.kind {
                MemoryKind::USABLE => Owner::Free,
                MemoryKind::LANDING => Owner::Hypervisor,
                _ => Owner::Firmware,
            };
            map.ranges.push((region.range, owner)).map_err(|_| OwnershipError::Full)?;
        }
        map.merge();
        Ok(map)
    }

    /// The ranges, lowest first.
    pub fn ranges(&self) -> &[(PhysRange, Owner)] {
        &self.ranges
    }

    /// Bytes that `owner` has.
    pub fn total(&self, owner: Owner) -> u64 {
        self.of(owner).map(|range| range.len).sum()
    }

    /// Gives `range` from one owner to another.
    ///
    /// # Errors
    /// [`OwnershipError::NotTheirs`] when it is not wholly `from`'s, [`OwnershipError::Full`].
    pub fn give(&mut self, range: PhysRange, from: Owner, to: Owner) -> Result<(), OwnershipError> {
        let held = |(held, owner): &(PhysRange, Owner)| *owner == from && held.contains(range);
        let at = self.ranges.iter().position(held).ok_or(OwnershipError::NotTheirs(range))?;
        if self.ranges.len() + 2 > MAX_RANGES {
            return Err(OwnershipError::Full);
        }
        let whole = self.ranges[at].0;
        let before = PhysRange::new(whole.base, range.base - whole.base);
        let after = PhysRange::new(range.end(), whole.end() - range.end());
        self.ranges[at] = (range, to);
        // The room for both was checked above.
        if !after.is_empty() {
            let _ = self.ranges.insert(at + 1, (after, from));
        }
        if !before.is_empty() {
            let _ = self.ranges.insert(at, (before, from));
        }
        self.merge();
        Ok(())
    }

    /// Takes `len` free bytes at the lowest multiple of `align` within `window`, for `to`.
    ///
    /// # Errors
    /// [`OwnershipError::NoRoom`], [`OwnershipError::Full`].
    pub fn claim(
        &mut self,
        len: u64,
        align: u64,
        window: PhysRange,
        to: Owner,
    ) -> Result<PhysRange, OwnershipError> {
        let mut largest = 0;
        let mut found = None;
        for free in self.of(Owner::Free) {
            let end = free.end().min(window.end());
            let base = free.base.max(window.base).checked_next_multiple_of(align).unwrap_or(end);
            let room = end.saturating_sub(base);
            largest = largest.max(room);
            if room >= len && found.is_none() {
                found = Some(PhysRange::new(base, len));
            }
        }
        let range = found.ok_or(OwnershipError::NoRoom { wanted: len, largest })?;
        self.give(range, Owner::Free, to)?;
        Ok(range)
    }

    fn of(&self, owner: Owner) -> impl Iterator<Item = PhysRange> + '_ {
        self.ranges.iter().filter(move |(_, held_by)| *held_by == owner).map(|(range, _)| *range)
    }

    fn merge(&mut self) {
        let mut at = 1;
        while at < self.ranges.len() {
            let ((low, low_owner), (high, high_owner)) = (self.ranges[at - 1], self.ranges[at]);
            if low_owner == high_owner && low.end() == high.base {
                self.ranges[at - 1].0.len += high.len;
                self.ranges.remove(at);
            } else {
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYWHERE: PhysRange = PhysRange::new(0, u64::MAX);

    fn map() -> OwnershipMap {
        let mut memory = MemoryMap::new();
        for (base, end, kind) in [
            (0, 0x9_f000, MemoryKind::USABLE),
            (0x10_0000, 0x20_0000, MemoryKind::USABLE),
            (0x20_0000, 0x40_0000, MemoryKind::LANDING),
            (0x40_0000, 0x100_0000, MemoryKind::USABLE),
            (0x100_0000, 0x110_0000, MemoryKind::ACPI_TABLES),
        ] {
            memory.push(PhysRange::new(base, end - base), kind).expect("room");
        }
        OwnershipMap::new(&memory).expect("room")
    }

    #[test]
    fn what_is_claimed_is_cut_out_and_nothing_is_lost() {
        let mut map = map();
        let all: u64 = map.ranges().iter().map(|(range, _)| range.len).sum();
        let low = map.claim(0x1000, 0x1000, PhysRange::new(0x1000, 0xf_f000), Owner::Hypervisor);
        assert_eq!(low, Ok(PhysRange::new(0x1000, 0x1000)));
        let high = map.claim(0x40_0000, 0x20_0000, ANYWHERE, Owner::Hypervisor);
        assert_eq!(high, Ok(PhysRange::new(0x40_0000, 0x40_0000)));
        assert_eq!(map.total(Owner::Hypervisor), 0x20_0000 + 0x1000 + 0x40_0000);
        assert_eq!(map.ranges().iter().map(|(range, _)| range.len).sum::<u64>(), all);
    }

    #[test]
    fn what_is_given_back_is_whole_again() {
        let mut map = map();
        let before = map.ranges().len();
        let taken = map.claim(0x1000, 0x1000, ANYWHERE, Owner::Hypervisor).expect("room");
        map.give(taken, Owner::Hypervisor, Owner::Free).expect("it is hv's");
        assert_eq!(map.ranges().len(), before);
    }

    #[test]
    fn nobody_gives_what_is_not_theirs() {
        let mut map = map();
        let firmware = PhysRange::new(0x100_0000, 0x1000);
        let refused = map.give(firmware, Owner::Free, Owner::Hypervisor);
        assert_eq!(refused, Err(OwnershipError::NotTheirs(firmware)));
        let across = PhysRange::new(0x1f_f000, 0x2000);
        assert_eq!(map.give(across, Owner::Free, Owner::Hypervisor), Err(OwnershipError::NotTheirs(across)));
    }

    #[test]
    fn a_claim_too_large_says_how_much_there_is() {
        let refused = map().claim(1 << 30, 0x1000, ANYWHERE, Owner::Hypervisor);
        assert_eq!(refused, Err(OwnershipError::NoRoom { wanted: 1 << 30, largest: 0xc0_0000 }));
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        extern crate std;
        use std::string::ToString;
        let mut map = map();
        let refused = map.claim(1 << 30, 0x1000, ANYWHERE, Owner::Vm(1)).expect_err("too much");
        let arithmetic = "1048576 KiB are needed in one piece, the largest free piece has 12288 KiB";
        assert_eq!(refused.to_string(), arithmetic);
        let across = PhysRange::new(0x1f_f000, 0x2000);
        let refused = map.give(across, Owner::Free, Owner::Hypervisor).expect_err("of two owners");
        assert!(refused.to_string().ends_with(" is not all one owner's memory"));
        let owners = [Owner::Free, Owner::Hypervisor, Owner::Firmware, Owner::Vm(3)];
        assert_eq!(owners.map(|owner| owner.to_string()), ["free", "hv", "firmware", "vm-3"]);
    }

    #[test]
    fn a_map_that_is_full_refuses_and_changes_nothing() {
        extern crate std;
        use std::string::ToString;
        let mut map = map();
        let all: u64 = map.ranges().iter().map(|(range, _)| range.len).sum();
        let pages = (0x40_0000..0x100_0000).step_by(0x2000).map(|base| PhysRange::new(base, 0x1000));
        let refused = pages.map(|page| map.give(page, Owner::Free, Owner::Hypervisor)).find_map(Result::err);
        assert_eq!(refused, Some(OwnershipError::Full));
        assert!(OwnershipError::Full.to_string().contains(&MAX_RANGES.to_string()));
        assert_eq!(map.ranges().iter().map(|(range, _)| range.len).sum::<u64>(), all);
    }
}
