//! What an index must keep to, so that nobody has to ask again.

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::fmt;
use core::ops::Range;
use hv_abi::appliance::{Appliance, BLOCK, Blob, Disk, System};

/// Most vCPUs of an appliance.
const MAX_CPUS: u8 = 16;
/// RAM comes in pieces of this many bytes.
const MEMORY_UNIT: u64 = 2 << 20;

/// What an index says that can't be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nonsense {
    /// A name that is none, or the names are not in order.
    Name(String),
    /// Two volumes of an appliance share a name.
    VolumeName(String),
    /// The appliance's vCPUs or RAM.
    Size(String),
    /// A file of the appliance lies outside the bundle.
    File(String),
}

impl fmt::Display for Nonsense {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(to, "the appliance name {name:?} is none, or not in its place"),
            Self::VolumeName(name) => write!(to, "a volume of {name:?} has a name that can't be, or twice"),
            Self::Size(name) => write!(to, "{name:?} asks for processors or memory that can't be"),
            Self::File(name) => write!(to, "a file of {name:?} lies outside the system"),
        }
    }
}

/// Checks the whole index; `files` is where files may lie in the bundle.
pub(super) fn system(system: &System, files: Range<u64>) -> Result<(), Nonsense> {
    let mut previous = "";
    for one in &system.appliances {
        if !is_name(&one.name) || one.name.as_str() <= previous {
            return Err(Nonsense::Name(one.name.clone()));
        }
        previous = &one.name;
        appliance(one, &files)?;
    }
    Ok(())
}

fn appliance(one: &Appliance, files: &Range<u64>) -> Result<(), Nonsense> {
    let name = || one.name.clone();
    let cpus = (1..=MAX_CPUS).contains(&one.cpus);
    if !cpus || one.memory == 0 || !one.memory.is_multiple_of(MEMORY_UNIT) {
        return Err(Nonsense::Size(name()));
    }
    let images = one.disks.iter().filter_map(|disk| match disk {
        Disk::Image(blob) => Some(blob),
        Disk::Volume { .. } => None,
    });
    let mut blobs = images.chain([&one.kernel.image]).chain(&one.kernel.initrd);
    if !blobs.all(|blob| lies_in(blob, files)) {
        return Err(Nonsense::File(name()));
    }
    let mut volumes = BTreeSet::new();
    for disk in &one.disks {
        let Disk::Volume { name: volume, size } = disk else { continue };
        if !is_name(volume) || !volumes.insert(volume) {
            return Err(Nonsense::VolumeName(name()));
        }
        if *size == 0 || !size.is_multiple_of(BLOCK) {
            return Err(Nonsense::Size(name()));
        }
    }
    Ok(())
}

fn lies_in(blob: &Blob, files: &Range<u64>) -> bool {
    let end = blob.offset.checked_add(blob.len);
    blob.offset.is_multiple_of(BLOCK) && blob.offset >= files.start && end.is_some_and(|end| end <= files.end)
}

/// `[a-z][a-z0-9-]{0,14}`: what appliances, and volumes too, are called.
pub(crate) fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 15
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && name.bytes().all(letters)
}
