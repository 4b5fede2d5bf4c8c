//! What is on a disk, for people: partition names, file systems and their labels, read from the
//! first sectors. Only ever shown, never decided on.

use std::io::{self, Read, Seek, SeekFrom};

use gpt_disk_io::{BlockIoAdapter, Disk};
use gpt_disk_types::{BlockSize, GptHeader};

use super::disks::Part;
use super::show::printable;
use crate::disk::SECTOR;

/// As much as holds every mark in [`MARKS`] and a partition table.
const WINDOW: usize = 128 * 1024;

/// What is on a disk.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// The partition table, if there is one.
    pub table: Option<&'static str>,
    pub parts: Vec<Content>,
    /// What lies on the disk itself, without partitions.
    pub whole: Option<System>,
}

/// One partition.
#[derive(Debug, PartialEq)]
pub(super) struct Content {
    pub number: u32,
    pub bytes: u64,
    /// Its name in the partition table.
    pub name: Option<String>,
    pub system: Option<System>,
}

/// A file system or something like it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct System {
    pub kind: &'static str,
    pub label: Option<String>,
}

/// A kind of file system: where its mark is, and where its label (offset, length).
struct Mark {
    kind: &'static str,
    at: usize,
    bytes: &'static [u8],
    label: Option<(usize, usize)>,
}

const fn mark(kind: &'static str, at: usize, bytes: &'static [u8], label: Option<(usize, usize)>) -> Mark {
    Mark { kind, at, bytes, label }
}

/// Offsets from each system's on-disk description. An installation medium carries several; the one
/// that names it best comes first.
const MARKS: [Mark; 18] = [
    mark("ISO 9660", 0x8001, b"CD001", Some((0x8028, 32))),
    mark("btrfs", 0x10040, b"_BHRfS_M", Some((0x1012b, 256))),
    mark("ext2/3/4", 0x438, b"\x53\xef", Some((0x478, 16))),
    mark("XFS", 0, b"XFSB", Some((0x6c, 12))),
    mark("F2FS", 0x400, b"\x10\x20\xf5\xf2", None),
    mark("EROFS", 0x400, b"\xe2\xe1\xf5\xe0", None),
    mark("squashfs", 0, b"hsqs", None),
    mark("NTFS", 3, b"NTFS    ", None),
    mark("BitLocker", 3, b"-FVE-FS-", None),
    mark("exFAT", 3, b"EXFAT   ", None),
    mark("FAT32", 0x52, b"FAT32   ", Some((0x47, 11))),
    mark("FAT16", 0x36, b"FAT16   ", Some((0x2b, 11))),
    mark("FAT12", 0x36, b"FAT12   ", Some((0x2b, 11))),
    mark("LUKS encryption", 0, b"LUKS\xba\xbe", None),
    mark("LVM", 0x218, b"LVM2 001", None),
    mark("Linux RAID", 0x1000, b"\xfc\x4e\x2b\xa9", Some((0x1020, 32))),
    mark("Linux swap", 0xff6, b"SWAPSPACE2", Some((0x41c, 16))),
    mark("APFS", 0x20, b"NXSB", None),
];

/// Reads what is on a disk. `parts` is what the kernel sees on it, for tables other than GPT.
pub(super) fn read(disk: &mut (impl Read + Seek), parts: &[Part]) -> io::Result<Contents> {
    let first = window(disk, 0)?;
    let Some(mut found) = gpt(&first) else {
        let content = |part: &Part| {
            let system = identify(&window(disk, part.start)?);
            Ok(Content { number: part.number, bytes: part.bytes, name: None, system })
        };
        let parts = parts.iter().map(content).collect::<io::Result<Vec<_>>>()?;
        let table = (!parts.is_empty()).then_some("MBR");
        return Ok(Contents { whole: identify(&first), table, parts });
    };
    for (start, content) in &mut found {
        content.system = identify(&window(disk, *start)?);
    }
    let parts = found.into_iter().map(|(_, content)| content).collect();
    Ok(Contents { table: Some("GPT"), parts, whole: None })
}

/// The first bytes at an offset; zeros where the disk ends before.
fn window(disk: &mut (impl Read + Seek), offset: u64) -> io::Result<Vec<u8>> {
    disk.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(WINDOW);
    disk.take(WINDOW as u64).read_to_end(&mut bytes)?;
    bytes.resize(WINDOW, 0);
    Ok(bytes)
}

/// Partitions with the offsets they begin at; nothing when there is no GPT with a right checksum.
fn gpt(first: &[u8]) -> Option<Vec<(u64, Content)>> {
    let mut disk = Disk::new(BlockIoAdapter::new(first, BlockSize::BS_512)).ok()?;
    let mut block = [0; SECTOR as usize];
    let header: GptHeader = disk.read_primary_gpt_header(&mut block).ok()?;
    if !header.is_signature_valid() || { header.header_crc32 } != header.calculate_header_crc32() {
        return None;
    }
    let layout = header.get_partition_entry_array_layout().ok()?;
    let entries = disk.gpt_partition_entry_array_iter(layout, &mut block).ok()?;
    // An array that reaches out of the window ends with an error: then what was read is shown.
    let entries = entries.map_while(Result::ok).zip(1_u32..).filter(|(entry, _)| entry.is_used());
    let parts = entries.filter_map(|(entry, number)| {
        let range = entry.lba_range()?;
        let name = printable(&{ entry.name }.to_string());
        let name = (!name.is_empty()).then_some(name);
        let bytes = range.num_bytes(BlockSize::BS_512)?;
        let start = range.start().to_u64().checked_mul(SECTOR)?;
        Some((start, Content { number, bytes, name, system: None }))
    });
    Some(parts.collect())
}

/// The file system that a volume with these first bytes has.
fn identify(first: &[u8]) -> Option<System> {
    let mark = MARKS.iter().find(|mark| first.get(mark.at..).is_some_and(|at| at.starts_with(mark.bytes)))?;
    let label = mark.label.and_then(|(at, length)| first.get(at..at + length)).map(|label| {
        let end = label.iter().position(|byte| *byte == 0).unwrap_or(label.len());
        printable(&String::from_utf8_lossy(&label[..end]))
    });
    // What FAT writes where there is no label.
    let label = label.filter(|label| !label.is_empty() && label != "NO NAME");
    Some(System { kind: mark.kind, label })
}
