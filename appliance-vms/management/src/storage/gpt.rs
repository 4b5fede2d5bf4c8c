//! Reading partition tables. UEFI specification 2.10, section 5.3.
//!
//! A disk has two copies, each with check sums. The first that is whole in itself counts; a copy with
//! one bad partition in it is a bad copy, because whoever wrote it meant something else.

#[cfg(test)]
mod tests;

use super::bytes::{DiskBytes, DiskError};
use super::part::Part;
use crate::block::{BlockDevice, BlockError, SECTOR};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use crc::{CRC_32_ISO_HDLC, Crc};
use gpt_disk_types::{GptHeader, GptHeaderRevision, GptPartitionEntry, GptPartitionEntrySize, Guid};

/// Most bytes of an entry array: 1024 entries of 128 bytes, eight times what everybody writes.
const MAX_ENTRIES: u64 = 128 << 10;
/// Least bytes that are kept free for entries at both ends of a disk (5.3.1).
const RESERVED: u64 = 16 << 10;
/// Bytes of a header; larger ones have their check sum over all of it (5.3.2, `HeaderSize`).
const HEADER: usize = size_of::<GptHeader>();
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A partition. Sectors are of [`SECTOR`] bytes, whatever the disk's blocks are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// What kind of partition it is.
    pub kind: Guid,
    /// Which one it is.
    pub id: Guid,
    /// Its first sector.
    pub first: u64,
    /// How many there are.
    pub sectors: u64,
}

impl Partition {
    /// The partition as a disk of its own.
    ///
    /// # Errors
    /// [`BlockError::OutOfRange`]: it is a partition of another disk.
    pub fn part(&self, disk: Rc<dyn BlockDevice>, read_only: bool) -> Result<Part, BlockError> {
        Part::new(disk, self.first, self.sectors, read_only)
    }
}

/// Which copy of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// The one at the start of the disk.
    First,
    /// The one at its end: the first one is damaged.
    Second,
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Which copy was read.
    pub copy: Copy,
    /// The disk's own name.
    pub disk: Guid,
    /// Its partitions, in the order of the table; none touches another.
    pub partitions: Vec<Partition>,
}

impl Table {
    /// The partition with this name, if there is exactly one.
    pub fn named(&self, name: &str) -> Option<&Partition> {
        let mut found = self.partitions.iter().filter(|partition| partition.name == name);
        found.next().filter(|_| found.next().is_none())
    }
}

/// What is wrong with a copy of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Absent,
    /// The header is not one that this program knows, or names another place.
    Header,
    /// The header's check sum is wrong.
    HeaderSum,
    /// The entries would not be on the disk, or there are absurdly many.
    Entries,
    /// The entries' check sum is wrong.
    EntriesSum,
    /// A partition ends before it begins, or lies outside the disk's usable part.
    Outside,
    /// Two partitions share sectors.
    Overlap,
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GptError {
    /// The disk failed.
    Disk(DiskError),
    /// Neither copy can be used.
    NoTable {
        /// What is wrong with the first one.
        first: Fault,
        /// What is wrong with the second one.
        second: Fault,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Absent => "not there",
            Self::Header => "of a form that is not known",
            Self::HeaderSum => "damaged (check sum of its header)",
            Self::Entries => "larger than can be",
            Self::EntriesSum => "damaged (check sum of its entries)",
            Self::Outside => "wrong: a partition lies outside the disk",
            Self::Overlap => "wrong: two partitions share a place",
        })
    }
}

impl fmt::Display for GptError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(to, "the partition table can't be read: {error}"),
            Self::NoTable { first: Fault::Absent, second: Fault::Absent } => {
                to.write_str("the disk has no partition table (GPT)")
            }
            Self::NoTable { first, second } => {
                write!(to, "the disk's partition table is {first}, and its copy is {second}")
            }
        }
    }
}

impl From<DiskError> for GptError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// Reads the partition table of a disk.
///
/// # Errors
/// [`GptError`]. A copy that can't be read because of the disk is as bad as a damaged one, unless
/// both can't be.
pub async fn read(disk: &DiskBytes) -> Result<Table, GptError> {
    let first = match read_copy(disk, Copy::First).await {
        Ok(table) => return Ok(table),
        Err(error) => error,
    };
    let second = match read_copy(disk, Copy::Second).await {
        Ok(table) => return Ok(table),
        Err(error) => error,
    };
    match (first, second) {
        (Bad::Table(first), Bad::Table(second)) => Err(GptError::NoTable { first, second }),
        (Bad::Disk(error), _) | (_, Bad::Disk(error)) => Err(GptError::Disk(error)),
    }
}

/// Why a copy is not used.
enum Bad {
    Disk(DiskError),
    Table(Fault),
}

impl From<DiskError> for Bad {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self::Table(fault)
    }
}

async fn read_copy(disk: &DiskBytes, copy: Copy) -> Result<Table, Bad> {
    let block = disk.block();
    let blocks = disk.len() / block;
    // Protective MBR, header, entries, and both of these again: fewer blocks hold no table (5.3.1).
    if blocks < 6 {
        return Err(Fault::Absent.into());
    }
    let place = match copy {
        Copy::First => 1,
        Copy::Second => blocks - 1,
    };
    let mut bytes = vec![0; block as usize];
    disk.read_at(place * block, &mut bytes).await?;
    let header = check_header(&bytes, place)?;
    let area = Area::of(&header, block, blocks)?;
    let mut entries = vec![0; area.entries_len as usize];
    disk.read_at(area.entries_start, &mut entries).await?;
    if CRC.checksum(&entries) != header.partition_entry_array_crc32.0.to_u32() {
        return Err(Fault::EntriesSum.into());
    }
    Ok(Table { copy, disk: header.disk_guid, partitions: area.partitions(&entries)? })
}

/// The header in the block at `place`.
fn check_header(block: &[u8], place: u64) -> Result<GptHeader, Fault> {
    let start = block.get(..HEADER).ok_or(Fault::Absent)?;
    let header: GptHeader = bytemuck::pod_read_unaligned(start);
    if !header.is_signature_valid() {
        return Err(Fault::Absent);
    }
    let len = header.header_size.to_u32() as usize;
    let whole = block.get(..len).filter(|_| len >= HEADER).ok_or(Fault::Header)?;
    // The sum is made with its own four bytes, 16 to 19, as zeroes.
    let mut sum = CRC.digest();
    sum.update(&whole[..16]);
    sum.update(&[0; 4]);
    sum.update(&whole[20..]);
    if sum.finalize() != header.header_crc32.0.to_u32() {
        return Err(Fault::HeaderSum);
    }
    let known = header.revision == GptHeaderRevision::VERSION_1_0 && header.my_lba.to_u64() == place;
    if known { Ok(header) } else { Err(Fault::Header) }
}

/// Where entries and partitions of a checked header lie.
struct Area {
    block: u64,
    entries_start: u64,
    entries_len: u64,
    entry: usize,
    first_usable: u64,
    last_usable: u64,
}

impl Area {
    fn of(header: &GptHeader, block: u64, blocks: u64) -> Result<Self, Fault> {
        let entry = header.size_of_partition_entry.to_u32();
        GptPartitionEntrySize::new(entry).map_err(|_| Fault::Entries)?;
        let count = u64::from(header.number_of_partition_entries.to_u32());
        let entries_len = Some(count * u64::from(entry)).filter(|&len| len <= MAX_ENTRIES);
        let entries_len = entries_len.ok_or(Fault::Entries)?;
        let first_usable = header.first_usable_lba.to_u64();
        let last_usable = header.last_usable_lba.to_u64();
        // Both copies have their places, whichever of them is read.
        let reserved = RESERVED.div_ceil(block);
        let clear = first_usable >= 2 + reserved && last_usable.saturating_add(2 + reserved) <= blocks;
        if !clear || first_usable > last_usable {
            return Err(Fault::Header);
        }
        let entries = header.partition_entry_lba.to_u64();
        let end = entries.checked_add(entries_len.div_ceil(block)).filter(|&end| end <= blocks);
        let end = end.ok_or(Fault::Entries)?;
        if entries < 2 || entries <= last_usable && end > first_usable {
            return Err(Fault::Entries);
        }
        let entries_start = entries * block;
        Ok(Self { block, entries_start, entries_len, entry: entry as usize, first_usable, last_usable })
    }

    fn partitions(&self, entries: &[u8]) -> Result<Vec<Partition>, Fault> {
        let mut partitions = Vec::new();
        for bytes in entries.chunks_exact(self.entry) {
            let entry: GptPartitionEntry =
                bytemuck::pod_read_unaligned(&bytes[..size_of::<GptPartitionEntry>()]);
            if entry.is_used() {
                partitions.push(self.partition(&entry)?);
            }
        }
        let mut ranges: Vec<_> = partitions.iter().map(|it| (it.first, it.first + it.sectors)).collect();
        ranges.sort_unstable();
        let apart = ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        if apart { Ok(partitions) } else { Err(Fault::Overlap) }
    }

    fn partition(&self, entry: &GptPartitionEntry) -> Result<Partition, Fault> {
        let (first, last) = (entry.starting_lba.to_u64(), entry.ending_lba.to_u64());
        if first < self.first_usable || last > self.last_usable || first > last {
            return Err(Fault::Outside);
        }
        let block = self.block / SECTOR;
        Ok(Partition {
            name: { entry.name }.chars().collect(),
            kind: { entry.partition_type_guid }.0,
            id: entry.unique_partition_guid,
            first: first * block,
            sectors: (last - first + 1) * block,
        })
    }
}
