//! `hearth.img`: a GPT disk whose first partition is the FAT32 EFI system partition.
//!
//! Everything is written through ordinary files: no root, no loop device. The same files give the
//! same bytes, because nothing here asks the clock or a random source: identifiers are constants,
//! timestamps are the FAT epoch, and files are laid down in the order of their paths.
//!
//! [`fat`] makes the file system in memory, [`gpt`] puts partitions on a disk, this file knows
//! which partitions a Hearth disk has (DESIGN: disk and update).

mod fat;
mod gpt;
mod sparse;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result};
use gpt_disk_types::{Guid, guid};

use gpt::{Partition, PartitionKind};

/// Bytes in a logical sector. Disks with 4096-byte logical sectors need another image: both GPT
/// and FAT count in sectors.
pub(crate) const SECTOR: u64 = 512;

/// One mebibyte, the unit partitions are aligned to.
pub(crate) const MIB: u64 = 1024 * 1024;

/// Size of the EFI system partition: room for two payload slots and the door, many times over.
///
/// FAT32 needs 65 525 clusters (Microsoft FAT specification, "FAT type determination"); with
/// clusters of one sector 64 MiB holds twice that, so no firmware takes it for FAT16.
pub(crate) const ESP_SIZE: u64 = 64 * MIB;

/// Name of this kind of disk. Fixed, so that two builds of one source are the same bytes.
const DISK: Guid = guid!("16d3c1e2-05ff-5c4c-9bd1-0e6d7a3f5b48");

/// Name of the EFI system partition. Firmware keeps it in its boot entries: changing it makes a
/// box that was told to boot Hearth forget it.
const ESP: Guid = guid!("9a1f7c52-6be0-5d0f-8a64-27f1c95be0d3");

/// Writes a disk image with `files` on its EFI system partition.
///
/// A file is a path with `/` between folders (`EFI/BOOT/BOOTX64.EFI`) and its bytes. The image is
/// written beside `path` and renamed, so a build that fails leaves the last good image in place.
///
/// # Errors
/// When a path cannot stand on FAT, the files do not fit, or the file cannot be written.
pub fn write_image(path: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let partitions = [
        Partition {
            name: "hearth-esp",
            kind: PartitionKind::EFI_SYSTEM,
            id: ESP,
            content: fat::volume(ESP_SIZE, files).context("the EFI system partition cannot be made")?,
        },
        // 2 boot state, 3 and 4 system A and B, 5 data: rows of this table when they have content.
    ];
    replace(path, |file| gpt::write(file, DISK, &partitions))
        .with_context(|| format!("cannot write the disk image {}", path.display()))
}

/// Writes a file under a temporary name in the same folder, then moves it to `path`.
fn replace(path: &Path, write: impl FnOnce(&mut std::fs::File) -> Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".hearth-").suffix(".img");
    // Temporary files are private by default; an image is as readable as any build result. The
    // process's umask still applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder
        .tempfile_in(folder)
        .with_context(|| format!("cannot create a file in {}", folder.display()))?;
    write(temporary.as_file_mut())?;
    temporary.persist(path).context("cannot move the finished file into place")?;
    Ok(())
}
