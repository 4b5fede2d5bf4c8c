//! `hearth.img`: a GPT disk with the EFI system partition, boot state, two systems, and data.
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
use gpt_disk_types::{GptPartitionType, Guid, guid};
use hv_abi::disk as abi;

use crate::system::Bundle;
use gpt::{Content, Partition};

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

/// Names of the partitions themselves; what they are for is in `hv_abi::disk`.
const BOOT_STATE: Guid = guid!("9083aed7-3b27-41cd-97c0-17ebf91ebe99");
const SYSTEM_A: Guid = guid!("47911366-353d-4dbc-96f0-147e8a5e37f0");
const SYSTEM_B: Guid = guid!("60ea93d8-0447-4c23-8d1c-8fd7a7b31a42");
const DATA: Guid = guid!("aab2a182-13d4-4e95-96c4-1bf5e3052094");

/// Bytes for the boot state: two copies of one sector, each on an erase block of its own.
const BOOT_STATE_SIZE: u64 = MIB;

/// Systems come in this unit, so that most updates fit where the last one lay.
const SYSTEM_UNIT: u64 = 64 * MIB;

/// Bytes for data on a disk image. What a box has beyond the image's end is for data too.
const DATA_SIZE: u64 = 64 * MIB;

/// Bytes of a system partition for a bundle: room for one half as large again.
fn system_size(bundle: u64) -> u64 {
    (bundle + bundle / 2).next_multiple_of(SYSTEM_UNIT)
}

/// Writes a disk image with `files` on its EFI system partition, and a system bundle.
///
/// A file is a path with `/` between folders (`EFI/BOOT/BOOTX64.EFI`) and its bytes. The image is
/// written beside `path` and renamed, so a build that fails leaves the last good image in place.
///
/// # Errors
/// When a path cannot stand on FAT, the files do not fit, or the file cannot be written.
pub fn write_image(path: &Path, files: &[(&str, &[u8])], bundle: &Bundle) -> Result<()> {
    let esp = fat::volume(ESP_SIZE, files).context("the EFI system partition cannot be made")?;
    let system = system_size(bundle.len());
    let data = DATA_SIZE + bundle.volumes().next_multiple_of(MIB);
    let row = |name, kind, id, size, content| Partition { name, kind, id, size, content };
    let kind = |guid| GptPartitionType(Guid::from_bytes(guid));
    let partitions = [
        row("hearth-esp", GptPartitionType::EFI_SYSTEM, ESP, ESP_SIZE, Content::Bytes(&esp)),
        row(abi::BOOT_STATE_NAME, kind(abi::BOOT_STATE), BOOT_STATE, BOOT_STATE_SIZE, Content::Zero),
        row(abi::SYSTEM_A_NAME, kind(abi::SYSTEM), SYSTEM_A, system, Content::Bundle(bundle)),
        row(abi::SYSTEM_B_NAME, kind(abi::SYSTEM), SYSTEM_B, system, Content::Zero),
        row(abi::DATA_NAME, kind(abi::DATA), DATA, data, Content::Zero),
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
