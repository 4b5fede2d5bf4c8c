//! Turns what a board reports about its memory into a lawful [`MemoryMap`].
//!
//! Reports come in any order, overlap, touch, and end within pages. Where two overlap the stricter
//! kind wins ([`MemoryKind`]'s order); usable memory shrinks to whole pages, all other kinds grow.
#![forbid(unsafe_code)]

use crate::{Refusal, Result};
use hv_abi::memory::{MAX_REGIONS, MemoryKind, MemoryMap, PAGE_SIZE, PhysRange};

/// Most reports a builder takes; UEFI boards have been seen to make 200.
const MAX_REPORTS: usize = 512;

/// Collects reports.
pub struct Builder {
    len: usize,
    reports: [(PhysRange, MemoryKind); MAX_REPORTS],
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

const TOO_MANY: Refusal = Refusal {
    what: "This machine reports its memory in more pieces than Hearth can keep.",
    remedy: "Please report the machine's model to the Hearth project.",
};

impl Builder {
    /// A builder without reports.
    pub const fn new() -> Self {
        Self { len: 0, reports: [(PhysRange::new(0, 0), MemoryKind(0)); MAX_REPORTS] }
    }

    /// Adds a report. An empty range is ignored.
    ///
    /// # Errors
    /// A [`Refusal`] when there are more than a builder takes.
    pub fn add(&mut self, range: PhysRange, kind: MemoryKind) -> Result<()> {
        let range = round(range, kind);
        if range.is_empty() {
            return Ok(());
        }
        *self.reports.get_mut(self.len).ok_or(TOO_MANY)? = (range, kind);
        self.len += 1;
        Ok(())
    }

    /// The map: sorted, without overlaps, neighbours of one kind merged.
    ///
    /// # Errors
    /// A [`Refusal`] when the map has more than [`MAX_REGIONS`] regions.
    pub fn finish(&self) -> Result<MemoryMap> {
        let reports = &self.reports[..self.len];
        let mut map = MemoryMap::new();
        let mut open: Option<(PhysRange, MemoryKind)> = None;
        let mut at = 0;
        while let Some(next) = next_edge(reports, at) {
            let kind = strictest(reports, at);
            match (&mut open, kind) {
                (Some((range, open_kind)), Some(kind)) if *open_kind == kind => range.len = next - range.base,
                (_, kind) => {
                    close(&mut map, open.take())?;
                    open = kind.map(|kind| (PhysRange::new(at, next - at), kind));
                }
            }
            at = next;
        }
        close(&mut map, open)?;
        Ok(map)
    }
}

fn close(map: &mut MemoryMap, region: Option<(PhysRange, MemoryKind)>) -> Result<()> {
    region.map_or(Ok(()), |(range, kind)| map.push(range, kind).map_err(|_| TOO_MANY))
}

/// Usable memory shrinks to whole pages, other kinds grow to whole pages.
fn round(range: PhysRange, kind: MemoryKind) -> PhysRange {
    let up = |address: u64| address.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX - PAGE_SIZE + 1);
    let down = |address: u64| address - address % PAGE_SIZE;
    let (base, end) = match kind {
        MemoryKind::USABLE => (up(range.base), down(range.end())),
        _ => (down(range.base), if range.is_empty() { down(range.base) } else { up(range.end()) }),
    };
    PhysRange::new(base, end.saturating_sub(base))
}

/// The lowest start or end of a report above `at`.
fn next_edge(reports: &[(PhysRange, MemoryKind)], at: u64) -> Option<u64> {
    let edges = reports.iter().flat_map(|(range, _)| [range.base, range.end()]);
    edges.filter(|&edge| edge > at).min()
}

/// The strictest kind reported for the byte at `at`.
fn strictest(reports: &[(PhysRange, MemoryKind)], at: u64) -> Option<MemoryKind> {
    let here = reports.iter().filter(|(range, _)| range.base <= at && at < range.end());
    here.map(|&(_, kind)| kind).max()
}

const _: () = assert!(MAX_REPORTS >= MAX_REGIONS);

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn built(reports: &[(u64, u64, MemoryKind)]) -> Vec<(u64, u64, MemoryKind)> {
        let mut builder = Builder::new();
        for &(base, end, kind) in reports {
            builder.add(PhysRange::new(base, end - base), kind).expect("room");
        }
        let map = builder.finish().expect("a map");
        if !map.regions().is_empty() {
            assert_eq!(map.check(), Ok(()));
        }
        map.regions().iter().map(|region| (region.range.base, region.range.end(), region.kind)).collect()
    }

    const USABLE: MemoryKind = MemoryKind::USABLE;
    const RESERVED: MemoryKind = MemoryKind::RESERVED;
    const LANDING: MemoryKind = MemoryKind::LANDING;

    #[test]
    fn order_and_touching_neighbours_do_not_matter() {
        let reports = [(0x5000, 0x9000, USABLE), (0x1000, 0x3000, USABLE), (0x3000, 0x5000, USABLE)];
        assert_eq!(built(&reports), [(0x1000, 0x9000, USABLE)]);
    }

    #[test]
    fn the_stricter_of_two_wins_wherever_they_overlap() {
        let reports = [(0, 0x10_0000, USABLE), (0x4000, 0x6000, RESERVED), (0x5000, 0x7000, LANDING)];
        let expected = [
            (0, 0x4000, USABLE),
            (0x4000, 0x5000, RESERVED),
            (0x5000, 0x7000, LANDING),
            (0x7000, 0x10_0000, USABLE),
        ];
        assert_eq!(built(&reports), expected);
    }

    #[test]
    fn part_pages_are_never_usable() {
        let reports = [(0, 0x9_fc00, USABLE), (0x9_fc00, 0xa_0000, RESERVED)];
        assert_eq!(built(&reports), [(0, 0x9_f000, USABLE), (0x9_f000, 0xa_0000, RESERVED)]);
        assert_eq!(built(&[(0x1001, 0x1fff, USABLE)]), []);
    }

    #[test]
    fn the_top_of_the_address_space_does_not_wrap() {
        let reports = [(0xffff_ffff_ffff_0000, u64::MAX, RESERVED), (0, 0x1000, USABLE)];
        assert_eq!(built(&reports).last(), Some(&(0xffff_ffff_ffff_0000, u64::MAX - 0xfff, RESERVED)));
    }

    #[test]
    fn too_many_reports_and_too_many_regions_are_refused() {
        let mut builder = Builder::new();
        for page in 0..MAX_REPORTS as u64 {
            builder.add(PhysRange::new(page * 0x2000, 0x1000), USABLE).expect("room");
        }
        assert_eq!(builder.add(PhysRange::new(0, 0x1000), USABLE), Err(TOO_MANY));
        assert_eq!(builder.finish().err(), Some(TOO_MANY));
    }
}
