//! A range of a disk as a disk of its own: partitions, volumes, and files of the system bundle.

use crate::block::{BlockDevice, BlockError, Geometry, Operation, Pending, SECTOR};
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::future::ready;

/// Sectors of a disk that follow each other; whoever has it reaches no other sector.
#[derive(Clone)]
pub struct Part {
    disk: Rc<dyn BlockDevice>,
    first: u64,
    geometry: Geometry,
}

impl Part {
    /// `sectors` sectors of `disk` from `first` on; a part of what is read-only is read-only too.
    ///
    /// # Errors
    /// [`BlockError::OutOfRange`]: not all on the disk, or not in whole blocks of it.
    pub fn new(
        disk: Rc<dyn BlockDevice>,
        first: u64,
        sectors: u64,
        read_only: bool,
    ) -> Result<Self, BlockError> {
        let whole = disk.geometry();
        let end = first.checked_add(sectors).filter(|&end| end <= whole.sectors);
        let end = end.ok_or(BlockError::OutOfRange)?;
        let block = (u64::from(whole.block) / SECTOR).max(1);
        if !first.is_multiple_of(block) || !end.is_multiple_of(block) {
            return Err(BlockError::OutOfRange);
        }
        let read_only = read_only || whole.read_only;
        let discards = whole.discards && !read_only;
        Ok(Self { disk, first, geometry: Geometry { sectors, read_only, discards, ..whole } })
    }

    /// The first sector of a request on the whole disk, if it is one for this part.
    fn place(&self, operation: Operation, sector: u64, memory: &[HostRange]) -> Result<u64, BlockError> {
        let sectors = match operation {
            Operation::Flush => return Ok(0),
            Operation::Read => whole_sectors(memory)?,
            _ if self.geometry.read_only => return Err(BlockError::ReadOnly),
            Operation::Write => whole_sectors(memory)?,
            Operation::Discard { sectors } | Operation::WriteZeroes { sectors } => sectors,
        };
        let end = sector.checked_add(sectors).filter(|&end| end <= self.geometry.sectors);
        // Both lie within the disk: `first` plus a sector of the part does not overflow.
        end.map(|_| self.first + sector).ok_or(BlockError::OutOfRange)
    }
}

/// How many sectors fill memory exactly.
fn whole_sectors(memory: &[HostRange]) -> Result<u64, BlockError> {
    let bytes = memory.iter().try_fold(0_u64, |bytes, range| bytes.checked_add(range.len));
    let whole = bytes.filter(|bytes| bytes.is_multiple_of(SECTOR));
    whole.map(|bytes| bytes / SECTOR).ok_or(BlockError::OutOfRange)
}

impl BlockDevice for Part {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        match self.place(operation, sector, memory) {
            Ok(place) => self.disk.request(operation, place, memory),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::DiskBytes;
    use super::super::fake::FakeDisk;
    use super::*;
    use crate::drivers::fake::{RAM, now};
    use crate::testkit::{Random, Run};

    fn memory(len: u64) -> [HostRange; 1] {
        [HostRange { address: RAM, len }]
    }

    #[test]
    fn a_part_begins_at_its_own_sector_0() {
        let disk = FakeDisk::new(1 << 20, 512);
        let part = Part::new(disk.clone(), 16, 8, false).unwrap();
        assert_eq!(part.geometry(), Geometry { sectors: 8, ..disk.geometry() });
        let bytes = DiskBytes::new(Rc::new(part), Rc::new(disk.ram.clone()));
        assert_eq!(now(bytes.write_at(512, &[3; 512])), Ok(()));
        assert_eq!((disk.get(17 * 512 - 1, 2), disk.get(18 * 512 - 1, 2)), ([0, 3].into(), [3, 0].into()));
        assert_eq!(now(bytes.flush()), Ok(()));
        assert_eq!(disk.log.borrow().len(), 2);
    }

    #[test]
    fn no_sector_outside_is_ever_reached() {
        let disk = FakeDisk::new(64 * 512, 512);
        let part = Part::new(disk.clone(), 16, 8, false).unwrap();
        let mut run = Run::new("part", 20_000);
        let mut random = Random(run.seed);
        let mut reached = 0;
        let around = |random: &mut Random| match random.index(4) {
            0 => u64::MAX - random.index(20) as u64,
            1 => u64::MAX / 512 - 10 + random.index(20) as u64,
            _ => random.index(40) as u64,
        };
        for _ in run.by_ref() {
            let (sector, sectors) = (around(&mut random), around(&mut random));
            let (operation, memory) = match random.index(4) {
                0 => (Operation::Discard { sectors }, memory(0)),
                1 => (Operation::WriteZeroes { sectors }, memory(0)),
                2 => (Operation::Write, memory(sectors.wrapping_mul(512))),
                _ => (Operation::Write, memory(sectors)),
            };
            // The fake disk panics beyond its end; what is within it is looked at below.
            let _ = now(part.request(operation, sector, &memory));
            for entry in disk.log.take().iter().flatten() {
                assert!(entry.0 >= 16 * 512 && entry.0 + entry.1.len() <= 24 * 512);
                reached += 1;
            }
        }
        assert!(reached > 100, "{reached}");
    }

    #[test]
    fn read_only_parts_are_not_written() {
        let disk = FakeDisk::new(1 << 20, 512);
        let part = Rc::new(Part::new(disk.clone(), 16, 8, true).unwrap());
        let inner = Part::new(part.clone(), 0, 8, false).unwrap();
        assert!(inner.geometry().read_only && !inner.geometry().discards);
        for operation in
            [Operation::Write, Operation::Discard { sectors: 1 }, Operation::WriteZeroes { sectors: 1 }]
        {
            assert_eq!(now(part.request(operation, 0, &memory(512))), Err(BlockError::ReadOnly));
        }
        assert_eq!(now(part.request(Operation::Read, 7, &memory(512))), Ok(()));
        assert!(disk.log.borrow().is_empty());
    }

    #[test]
    fn a_part_lies_on_the_disk_in_whole_blocks() {
        let disk = FakeDisk::new(1 << 20, 4096);
        for (first, sectors) in [(4, 8), (8, 4), (2048, 8), (0, 2056), (u64::MAX, 8)] {
            let part = Part::new(disk.clone(), first, sectors, true);
            assert_eq!(part.err(), Some(BlockError::OutOfRange));
        }
        assert!(Part::new(disk, 2040, 8, true).is_ok());
    }
}
