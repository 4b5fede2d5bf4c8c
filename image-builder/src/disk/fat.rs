//! The FAT32 file system of the EFI system partition, made in memory.

use std::collections::BTreeMap;
use std::io::Cursor;

use anyhow::{Context, Result, bail, ensure};
use hadris_fat::format::{FatFormatOptions, FatTypeSelection, FatVolumeFormatter, OemName};
use hadris_fat::time::{EpochTimeProvider, FatDateTime};
use hadris_fat::{FatDir, FatVolume, FatVolumeWriteExt};

use super::{MIB, SECTOR};

/// Serial number of the volume, `HEAR` in ASCII. Fixed: see the parent module.
const SERIAL: u32 = 0x4845_4152;
const LABEL: &[u8; 11] = b"HEARTH     ";

/// Clusters of one sector: the smallest FAT32 that is one without doubt, and payloads are large.
const CLUSTER: u64 = SECTOR;

type Memory = Cursor<Vec<u8>>;

/// One folder: files by name, and folders in it.
#[derive(Default)]
struct Folder<'a> {
    folders: BTreeMap<&'a str, Folder<'a>>,
    files: BTreeMap<&'a str, &'a [u8]>,
}

/// Makes a FAT32 volume of `size` bytes that holds `files`.
pub(super) fn volume(size: u64, files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut root = Folder::default();
    for (path, bytes) in files {
        root.insert(path, bytes).with_context(|| format!("file {path:?}"))?;
    }
    let mut options = FatFormatOptions::new(size)
        .fat_type(FatTypeSelection::Fat32)
        .sectors_per_cluster((CLUSTER / SECTOR) as u8)
        .volume_label(std::str::from_utf8(LABEL)?)
        .volume_id(SERIAL)
        .hidden_sectors((MIB / SECTOR) as u32); // sectors before the partition, which is the first
    options.oem_name = OemName::new("HEARTH");
    let parameters = FatVolumeFormatter::calculate_params(&options)?;
    check_room(&root, files, u64::from(parameters.cluster_count))?;

    let empty = FatVolumeFormatter::format(Cursor::new(vec![0; usize::try_from(size)?]), options)?;
    let mut formatted = empty.into_inner().into_inner();
    // The label is the first entry of the root folder, and that is the first cluster.
    let label = u64::from(parameters.data_start_sector) * SECTOR;
    stamp(&mut formatted[usize::try_from(label)?..])?;
    let volume = FatVolume::builder(Cursor::new(formatted)).time_provider(&EpochTimeProvider).open()?;
    root.write(&volume, &volume.root_dir())?;
    Ok(volume.into_inner().into_inner())
}

/// Sets the times of a directory entry to the FAT epoch.
///
/// The formatter asks the clock for the volume label's, with no way to tell it otherwise. Offsets
/// and values as in the Microsoft FAT specification, "directory structure" and "date and time".
fn stamp(entry: &mut [u8]) -> Result<()> {
    const VOLUME_LABEL: u8 = 0x08;
    ensure!(
        entry[..11] == LABEL[..] && entry[11] == VOLUME_LABEL,
        "the volume label is not where it belongs"
    );
    let (date, time) = (FatDateTime::EPOCH.date.to_le_bytes(), FatDateTime::EPOCH.time.to_le_bytes());
    entry[13] = FatDateTime::EPOCH.time_tenth;
    for (at, value) in [(14, time), (16, date), (18, date), (22, time), (24, date)] {
        entry[at..at + 2].copy_from_slice(&value);
    }
    Ok(())
}

/// Compares what the files need with what the volume has, so that the error can show its sums.
fn check_room(root: &Folder, files: &[(&str, &[u8])], available: u64) -> Result<()> {
    let needed = root.clusters();
    if needed <= available {
        return Ok(());
    }
    let list: Vec<String> = files
        .iter()
        .map(|(path, bytes)| format!("  {path}: {} bytes = {} clusters", bytes.len(), clusters(bytes.len())))
        .collect();
    bail!(
        "the files need {needed} clusters of {CLUSTER} bytes ({} bytes), the partition has {available} ({} bytes), \
         {} too few:\n{}\nMake the files smaller, or ESP_SIZE in image-builder/src/disk/mod.rs larger.",
        needed * CLUSTER,
        available * CLUSTER,
        needed - available,
        list.join("\n"),
    );
}

fn clusters(length: usize) -> u64 {
    (length as u64).div_ceil(CLUSTER)
}

impl<'a> Folder<'a> {
    fn insert(&mut self, path: &'a str, bytes: &'a [u8]) -> Result<()> {
        let mut folders: Vec<&str> = path.split('/').collect();
        let name = folders.pop().unwrap_or_default();
        let mut folder = self;
        for part in folders {
            check_name(part)?;
            ensure!(!has(&folder.files, part), "{part:?} is a file and a folder");
            let known = folder.folders.contains_key(part);
            ensure!(known || !has(&folder.folders, part), "folder {part:?} is spelled in two ways");
            folder = folder.folders.entry(part).or_default();
        }
        check_name(name)?;
        ensure!(!has(&folder.files, name) && !has(&folder.folders, name), "there are two of this name");
        folder.files.insert(name, bytes);
        Ok(())
    }

    /// Clusters this folder takes with everything in it.
    ///
    /// A directory entry is 32 bytes, and a long name takes one more for each 13 letters
    /// (Microsoft FAT specification, "directory entries"); "." and ".." are two more.
    fn clusters(&self) -> u64 {
        let names = self.files.keys().chain(self.folders.keys());
        let entries = 2 + names.map(|name| 1 + name.encode_utf16().count().div_ceil(13)).sum::<usize>();
        clusters(entries * 32)
            + self.files.values().map(|bytes| clusters(bytes.len())).sum::<u64>()
            + self.folders.values().map(Folder::clusters).sum::<u64>()
    }

    fn write(&self, volume: &FatVolume<Memory>, parent: &FatDir<Memory>) -> Result<()> {
        for (name, bytes) in &self.files {
            write_file(volume, parent, name, bytes).with_context(|| format!("cannot write {name:?}"))?;
        }
        for (name, folder) in &self.folders {
            let made = volume.create_dir(parent, name).with_context(|| format!("cannot create {name:?}"))?;
            folder.write(volume, &made)?;
        }
        Ok(())
    }
}

fn write_file(volume: &FatVolume<Memory>, parent: &FatDir<Memory>, name: &str, bytes: &[u8]) -> Result<()> {
    let entry = volume.create_file(parent, name)?;
    let mut writer = volume.write_file(&entry)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = writer.write(rest)?;
        ensure!(written > 0, "the volume takes no more bytes");
        rest = &rest[written..];
    }
    writer.finish()?;
    Ok(())
}

/// FAT ignores case, so `A` and `a` would be one file.
fn has<T>(names: &BTreeMap<&str, T>, name: &str) -> bool {
    names.keys().any(|other| other.eq_ignore_ascii_case(name))
}

/// Names that every firmware reads: ASCII, none of the characters FAT keeps for itself.
fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-~$%@+()!#&'".contains(c);
    ensure!(!name.is_empty(), "a name between two slashes is empty");
    ensure!(!name.starts_with('.') && !name.ends_with('.'), "{name:?} begins or ends with a dot");
    ensure!(name.len() <= 255, "{name:?} is longer than 255 letters");
    match name.chars().find(|c| !allowed(*c)) {
        Some(c) => bail!("{name:?} has {c:?}, which not every firmware reads on FAT"),
        None => Ok(()),
    }
}
