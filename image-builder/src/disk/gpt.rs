//! The partition table: protective MBR, primary GPT, partitions, backup GPT
//! (UEFI Specification 2.10, chapter 5).

use std::fs::File;

use anyhow::{Context, Result, ensure};
use gpt_disk_io::{BlockIoAdapter, Disk};
use gpt_disk_types::{
    BlockSize, GptHeader, GptPartitionEntry, GptPartitionEntryArray, GptPartitionEntryArrayLayout,
    GptPartitionEntrySize, GptPartitionType, Guid, Lba, LbaLe, LbaRangeInclusive, U32Le,
};

use super::{MIB, SECTOR, sparse};
use crate::system::Bundle;

/// Entries in a partition table, and the sectors they take: 128 × 128 bytes, the least the
/// specification allows (section 5.3.1).
const ENTRIES: u32 = 128;
const ENTRY_SECTORS: u64 = 32;

/// One row of the disk's table: a partition and everything in it.
pub(super) struct Partition<'a> {
    /// Name in the partition table, at most 35 letters.
    pub name: &'static str,
    /// What it is for.
    pub kind: GptPartitionType,
    /// Its own identifier.
    pub id: Guid,
    /// Bytes.
    pub size: u64,
    /// What it begins with; the rest is zero.
    pub content: Content<'a>,
}

/// What is written into a partition.
pub(super) enum Content<'a> {
    /// Nothing: it is all zero.
    Zero,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A system bundle.
    Bundle(&'a Bundle),
}

/// Where everything lies on a disk with the given partitions.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    /// One range of sectors for each partition, in order.
    pub partitions: Vec<LbaRangeInclusive>,
    /// Sectors of the whole disk.
    pub sectors: u64,
}

impl Layout {
    /// Puts partitions of these sizes one after the other, each on a whole mebibyte, with one
    /// mebibyte before the first and after the last for the two partition tables.
    pub(super) fn new(sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut end = MIB;
        let partitions = sizes
            .into_iter()
            .map(|size| {
                let (first, last) = (end / SECTOR, (end + size).div_ceil(SECTOR) - 1);
                end = (end + size).next_multiple_of(MIB);
                LbaRangeInclusive::new(Lba(first), Lba(last)).expect("a partition is not empty")
            })
            .collect();
        Self { partitions, sectors: (end + MIB) / SECTOR }
    }

    fn header(&self, disk: Guid) -> GptHeader {
        GptHeader {
            my_lba: LbaLe::from_u64(1),
            alternate_lba: LbaLe::from_u64(self.sectors - 1),
            first_usable_lba: LbaLe::from_u64(2 + ENTRY_SECTORS),
            last_usable_lba: LbaLe::from_u64(self.sectors - 2 - ENTRY_SECTORS),
            disk_guid: disk,
            partition_entry_lba: LbaLe::from_u64(2),
            number_of_partition_entries: U32Le::from_u32(ENTRIES),
            ..GptHeader::default()
        }
    }
}

/// Writes a whole disk into an empty file.
pub(super) fn write(file: &mut File, disk: Guid, partitions: &[Partition<'_>]) -> Result<()> {
    let layout = Layout::new(partitions.iter().map(|partition| partition.size));
    file.set_len(layout.sectors * SECTOR).context("cannot set the length of the image")?;
    for (partition, range) in partitions.iter().zip(&layout.partitions) {
        write_content(file, range.start().to_u64() * SECTOR, partition)
            .with_context(|| format!("cannot write partition {}", partition.name))?;
    }
    write_tables(file, &layout, layout.header(disk), partitions).context("cannot write the partition table")
}

fn write_content(file: &mut File, offset: u64, partition: &Partition<'_>) -> Result<()> {
    let len = match partition.content {
        Content::Zero => 0,
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Bundle(bundle) => bundle.len(),
    };
    ensure!(len <= partition.size, "it has {} bytes, and {len} would be written", partition.size);
    match partition.content {
        Content::Zero => Ok(()),
        Content::Bytes(bytes) => Ok(sparse::write(file, offset, bytes)?),
        Content::Bundle(bundle) => bundle.write(file, offset),
    }
}

/// Writes the protective MBR and both copies of the partition table.
fn write_tables(
    file: &mut File,
    layout: &Layout,
    mut header: GptHeader,
    partitions: &[Partition<'_>],
) -> Result<()> {
    let mut storage = vec![0; (ENTRY_SECTORS * SECTOR) as usize];
    let mut entries = GptPartitionEntryArray::new(
        GptPartitionEntryArrayLayout {
            start_lba: Lba(2),
            entry_size: GptPartitionEntrySize::default(),
            num_entries: ENTRIES,
        },
        BlockSize::BS_512,
        &mut storage,
    )?;
    for (index, (partition, range)) in (0..).zip(partitions.iter().zip(&layout.partitions)) {
        *entries.get_partition_entry_mut(index).context("more than 128 partitions")? = GptPartitionEntry {
            partition_type_guid: partition.kind,
            unique_partition_guid: partition.id,
            starting_lba: range.start().into(),
            ending_lba: range.end().into(),
            name: partition.name.parse()?,
            ..GptPartitionEntry::default()
        };
    }
    header.partition_entry_array_crc32 = entries.calculate_crc32();
    header.update_header_crc32();

    let mut disk = Disk::new(BlockIoAdapter::new(file, BlockSize::BS_512))?;
    let mut block = [0; SECTOR as usize];
    disk.write_protective_mbr(&mut block)?;
    disk.write_primary_gpt_header(&header, &mut block)?;
    disk.write_gpt_partition_entry_array(&entries)?;

    // The backup lies mirrored at the end: entries first, header in the last sector.
    let backup_entries = layout.sectors - 1 - ENTRY_SECTORS;
    (header.my_lba, header.alternate_lba) = (header.alternate_lba, header.my_lba);
    header.partition_entry_lba = LbaLe::from_u64(backup_entries);
    header.update_header_crc32();
    entries.set_start_lba(Lba(backup_entries));
    disk.write_gpt_partition_entry_array(&entries)?;
    disk.write_secondary_gpt_header(&header, &mut block)?;
    disk.flush()?;
    Ok(())
}
