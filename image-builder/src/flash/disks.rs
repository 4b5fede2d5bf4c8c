//! The disks of this computer, as the kernel tells them under `/sys/block`
//! (Linux: Documentation/ABI/stable/sysfs-block, testing/sysfs-block).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::uses::{Use, Uses};

/// Where the kernel's file systems are. Tests give folders of their own.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub sys: PathBuf,
    pub proc: PathBuf,
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into() }
    }
}

/// What a block device is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A disk behind a controller, or one that a virtual machine was given.
    Disk,
    /// A file that the kernel shows as a disk.
    Loop { file: String },
    /// Anything else, in words that follow "is".
    Other(&'static str),
}

/// A part of a disk that the kernel shows as a device of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub name: String,
    pub number: u32,
    pub start: u64,
    pub bytes: u64,
}

/// A block device with everything that decides whether it may be overwritten.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub name: String,
    /// Where to open it.
    pub path: PathBuf,
    /// Major and minor number, to see that what was opened is what was looked at.
    pub device: (u32, u32),
    pub kind: Kind,
    pub bytes: u64,
    /// Bytes in a logical sector.
    pub sector: u64,
    pub model: Option<String>,
    /// How it is connected, in one word.
    pub transport: Option<&'static str>,
    pub removable: bool,
    pub read_only: bool,
    pub parts: Vec<Part>,
    /// Everything that uses it now: itself, its partitions, or volumes that lie on them.
    pub uses: Vec<Use>,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Found {
    Whole(Box<Disk>),
    /// A partition, with the disk it is on.
    PartOf(String),
    Nothing,
}

/// Everything under `/sys/block`, in order of names.
pub(super) fn all(roots: &Roots) -> Result<Vec<Disk>> {
    let uses = Uses::read(&roots.proc)?;
    let names = folders(&block(roots)).context("cannot list the disks; next: is /sys mounted?")?;
    names.iter().map(|name| disk(roots, &uses, name)).collect()
}

/// Looks for a disk by the name it has under `/sys/block`.
pub(super) fn find(roots: &Roots, name: &str) -> Result<Found> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Ok(Found::Nothing);
    }
    if block(roots).join(name).is_dir() {
        let uses = Uses::read(&roots.proc)?;
        return Ok(Found::Whole(Box::new(disk(roots, &uses, name)?)));
    }
    let disks = folders(&block(roots)).context("cannot list the disks; next: is /sys mounted?")?;
    let parent = disks.into_iter().find(|disk| block(roots).join(disk).join(name).join("partition").exists());
    Ok(parent.map_or(Found::Nothing, Found::PartOf))
}

fn block(roots: &Roots) -> PathBuf {
    roots.sys.join("block")
}

fn disk(roots: &Roots, uses: &Uses, name: &str) -> Result<Disk> {
    let folder = block(roots).join(name);
    let device = text(&folder, "dev")
        .and_then(|number| numbers(&number))
        .with_context(|| format!("the kernel gives no device number for {name}"))?;
    let parts = parts(&folder)?;
    let mut seen = BTreeSet::new();
    Ok(Disk {
        name: name.to_owned(),
        path: roots.dev.join(name.replace('!', "/")),
        device,
        kind: kind(&folder, name),
        // Always counted in 512 bytes, whatever the disk's sectors are.
        bytes: number(&folder, "size") * 512,
        sector: match number(&folder, "queue/logical_block_size") {
            0 => 512,
            bytes => bytes,
        },
        model: model(&folder),
        transport: transport(&folder),
        removable: number(&folder, "removable") == 1,
        read_only: number(&folder, "ro") == 1,
        uses: stack(roots, uses, name, &parts, &[], &mut seen),
        parts,
    })
}

fn kind(folder: &Path, name: &str) -> Kind {
    let is = |prefix: &str| name.starts_with(prefix);
    if let Some(file) = text(folder, "loop/backing_file") {
        return Kind::Loop { file };
    }
    Kind::Other(match () {
        () if folder.join("dm").exists() => "a volume on other disks (device mapper)",
        () if folder.join("md").exists() => "a RAID array on other disks",
        () if is("zram") || is("ram") => "memory, not a disk",
        () if is("loop") => "a loop device with no file",
        () if is("sr") || text(folder, "device/type").as_deref() == Some("5") => "an optical drive",
        () if is("fd") => "a floppy drive",
        () if is("mtdblock") => "a flash chip, not a disk",
        () if is("mmcblk") && (name.contains("boot") || name.contains("rpmb")) => {
            "a boot area of an eMMC chip"
        }
        () if number(folder, "hidden") == 1 => "one path of a multipath disk",
        () if !folder.join("device").exists() => "a virtual device, not a disk",
        () => return Kind::Disk,
    })
}

fn parts(folder: &Path) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = folders(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .into_iter()
        .map(|name| (folder.join(&name), name))
        .filter(|(part, _)| part.join("partition").exists())
        .map(|(part, name)| Part {
            name,
            number: number(&part, "partition") as u32,
            start: number(&part, "start") * 512,
            bytes: number(&part, "size") * 512,
        })
        .collect();
    parts.sort_by_key(|part| part.number);
    Ok(parts)
}

/// What uses a device, its partitions, or anything that stands on them.
///
/// `below` names the devices it stands on, lowest first. A device that is part of another one
/// (LVM, LUKS, RAID, bcache) has that one's name in its folder `holders`.
fn stack(
    roots: &Roots,
    uses: &Uses,
    name: &str,
    parts: &[Part],
    below: &[String],
    seen: &mut BTreeSet<String>,
) -> Vec<Use> {
    let folder = block(roots).join(name);
    let mut found = Vec::new();
    let itself = std::iter::once((name.to_owned(), folder.clone()));
    let inside = parts.iter().map(|part| (part.name.clone(), folder.join(&part.name)));
    for (name, folder) in itself.chain(inside) {
        let mut path = below.to_vec();
        path.push(name.clone());
        let device = text(&folder, "dev").and_then(|number| numbers(&number));
        let alias = text(&folder, "dm/name").map(|alias| format!("mapper/{alias}"));
        found.extend(uses.of(&name, alias.as_deref(), device, &path));
        for holder in folders(&folder.join("holders")).unwrap_or_default() {
            if !seen.insert(holder.clone()) {
                continue;
            }
            let parts = self::parts(&block(roots).join(&holder)).unwrap_or_default();
            let above = stack(roots, uses, &holder, &parts, &path, seen);
            if above.is_empty() {
                found.push(Use::held(&path, &holder));
            }
            found.extend(above);
        }
    }
    found
}

/// Manufacturer and model, as far as the device tells them.
fn model(folder: &Path) -> Option<String> {
    // virtio's "vendor" is a PCI number, which says nothing to anybody.
    let vendor = text(folder, "device/vendor").filter(|vendor| !vendor.starts_with("0x") && vendor != "ATA");
    let model = text(folder, "device/model").or_else(|| text(folder, "device/name"));
    let words: Vec<String> = [vendor, model].into_iter().flatten().collect();
    (!words.is_empty()).then(|| super::show::printable(&words.join(" ")))
}

/// How the disk is connected: `device` is a link into the tree of buses.
fn transport(folder: &Path) -> Option<&'static str> {
    let path = fs::canonicalize(folder.join("device")).ok()?;
    let path = path.to_string_lossy().into_owned();
    // In order of what the user would say: a disk behind a USB bridge is "usb", whatever it is inside.
    [("/usb", "usb"), ("/mmc", "sd/mmc"), ("/nvme", "nvme"), ("/ata", "sata"), ("/virtio", "virtio")]
        .into_iter()
        .find_map(|(part, word)| path.contains(part).then_some(word))
}

/// Folders (and links to folders) in a folder, by name.
fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

fn text(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(folder: &Path, name: &str) -> u64 {
    text(folder, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// `8:16` as two numbers.
pub(super) fn numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
