//! Whether a disk may be overwritten. Pure: it knows what [`super::disks`] found, nothing else.

use std::fmt;

use super::disks::{Disk, Kind};
use super::show::size;
use super::uses::{How, Use};

/// A reason not to write to a disk. Each says what the user can do about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// The computer runs from it.
    System(Use),
    /// Somebody uses it.
    InUse(Use),
    /// It is not a whole disk behind a controller; the words follow "is".
    NotADisk(&'static str),
    /// A card reader without a card.
    NoMedium,
    ReadOnly,
    /// Its sectors have another size than the image's.
    Sectors(u64),
    TooSmall {
        disk: u64,
        image: u64,
    },
}

/// All reasons against writing an image of this size to the disk; the gravest first.
pub(super) fn refusals(disk: &Disk, image: u64) -> Vec<Refusal> {
    let (system, other): (Vec<_>, Vec<_>) = disk.uses.iter().cloned().partition(Use::is_system);
    let mut found: Vec<Refusal> = system.into_iter().map(Refusal::System).collect();
    found.extend(other.into_iter().map(Refusal::InUse));
    if let Kind::Other(what) = disk.kind {
        // Its size and sectors are not what speaks against it.
        found.push(Refusal::NotADisk(what));
        return found;
    }
    if disk.bytes == 0 {
        found.push(Refusal::NoMedium);
    } else if disk.bytes < image {
        found.push(Refusal::TooSmall { disk: disk.bytes, image });
    }
    if disk.read_only {
        found.push(Refusal::ReadOnly);
    }
    if disk.sector != crate::disk::SECTOR {
        found.push(Refusal::Sectors(disk.sector));
    }
    found
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(usage) => write!(f, "this computer runs from it: {usage}"),
            Self::InUse(usage) => write!(f, "{usage}; next: {}", remedy(usage)),
            Self::NotADisk(what) => write!(f, "it is {what}"),
            Self::NoMedium => write!(f, "there is no medium in it; next: put one in"),
            Self::ReadOnly => write!(f, "it is read-only; next: is there a switch on its side?"),
            Self::Sectors(bytes) => {
                write!(
                    f,
                    "its sectors have {bytes} bytes and the image is made for 512; next: take another disk"
                )
            }
            Self::TooSmall { disk, image } => {
                let missing = image.saturating_sub(*disk);
                write!(f, "it has {disk} bytes, the image {image}: {} too small", size(missing))
            }
        }
    }
}

fn remedy(usage: &Use) -> String {
    let device = usage.device.rsplit(" > ").next().unwrap_or_default();
    match &usage.how {
        How::Mounted(place) => format!("umount '{place}'"),
        How::Swap => format!("swapoff /dev/{device}"),
        How::Held(by) => format!("take {by} apart first (lsblk /dev/{device} shows what it is)"),
    }
}
