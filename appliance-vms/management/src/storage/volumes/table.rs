//! The table of volumes: its form on disk, and where there is room.
//!
//! A copy has [`TABLE`] bytes: a [`Header`], entries, zeroes. Numbers are little-endian.

use super::super::system::is_name;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use crc::{CRC_32_ISO_HDLC, Crc};
use hv_abi::appliance::BLOCK;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Volumes begin at multiples of this many bytes.
pub const UNIT: u64 = 1 << 20;
/// Most volumes.
pub const MAX_VOLUMES: usize = 256;
/// Bytes of a copy.
pub(super) const TABLE: u64 = 4 * BLOCK;
/// How many copies there are, one after the other.
pub(super) const COPIES: usize = 2;
/// Where the first volume may begin.
pub(super) const FIRST: u64 = UNIT;

const MAGIC: [u8; 8] = *b"HEARTHVO";
const VERSION: u32 = 1;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// Bytes of a name, filled with zeroes.
const NAME: usize = 16;

#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Header {
    magic: [u8; 8],
    version: u32,
    /// CRC-32 of the copy, with zeroes here.
    sum: u32,
    sequence: u64,
    count: u64,
}

#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Entry {
    appliance: [u8; NAME],
    name: [u8; NAME],
    offset: u64,
    size: u64,
}

const _: () = assert!(size_of::<Header>() == 32);
const _: () = assert!(size_of::<Entry>() == 48);
const _: () = assert!(size_of::<Header>() + MAX_VOLUMES * size_of::<Entry>() <= TABLE as usize);
const _: () = assert!(COPIES as u64 * TABLE <= FIRST);

/// A volume. Offsets are bytes from the partition's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Whose it is.
    pub appliance: String,
    /// Its name, unique in its appliance.
    pub name: String,
    /// Where it begins, a multiple of [`UNIT`].
    pub offset: u64,
    /// Bytes, a multiple of [`BLOCK`].
    pub size: u64,
}

impl Volume {
    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.offset + self.size
    }

    /// Where the next one may begin.
    fn taken(&self) -> u64 {
        self.end().next_multiple_of(UNIT)
    }
}

/// All volumes, lowest first, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Which change of the table it is.
    pub(super) sequence: u64,
    pub(super) volumes: Vec<Volume>,
}

impl Table {
    /// Whether bytes look like a copy, damaged or not.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// A copy of a partition of `len` bytes, if it is whole and says what can be.
    pub(super) fn decode(bytes: &[u8], len: u64) -> Option<Self> {
        let (header, rest) = Header::read_from_prefix(bytes).ok()?;
        let known = header.magic == MAGIC && header.version == VERSION && header.sum == sum(bytes);
        let count = usize::try_from(header.count).ok().filter(|&count| known && count <= MAX_VOLUMES)?;
        let mut table = Self { sequence: header.sequence, volumes: Vec::with_capacity(count) };
        for bytes in rest.chunks_exact(size_of::<Entry>()).take(count) {
            let volume = volume(&Entry::read_from_bytes(bytes).ok()?)?;
            let free = table.volumes.last().map_or(FIRST, Volume::taken);
            if volume.offset < free || table.find(&volume.appliance, &volume.name).is_some() {
                return None;
            }
            volume.offset.checked_add(volume.size).filter(|&end| end <= len)?;
            table.volumes.push(volume);
        }
        (table.volumes.len() == count).then_some(table)
    }

    /// Its form on disk.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; TABLE as usize];
        let count = self.volumes.len() as u64;
        let mut header = Header { magic: MAGIC, version: VERSION, sum: 0, sequence: self.sequence, count };
        let (start, rest) = bytes.split_at_mut(size_of::<Header>());
        start.copy_from_slice(header.as_bytes());
        for (volume, place) in self.volumes.iter().zip(rest.chunks_exact_mut(size_of::<Entry>())) {
            let entry = Entry {
                appliance: padded(&volume.appliance),
                name: padded(&volume.name),
                offset: volume.offset,
                size: volume.size,
            };
            place.copy_from_slice(entry.as_bytes());
        }
        header.sum = sum(&bytes);
        bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        bytes
    }

    pub(super) fn find(&self, appliance: &str, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.appliance == appliance && volume.name == name)
    }

    /// The places between volumes of a partition of `len` bytes, lowest first.
    pub(super) fn gaps(&self, len: u64) -> impl Iterator<Item = Range<u64>> {
        let starts = self.volumes.iter().map(Volume::taken);
        let ends = self.volumes.iter().map(|volume| volume.offset);
        let gaps = [FIRST].into_iter().chain(starts).zip(ends.chain([len / BLOCK * BLOCK]));
        gaps.map(|(start, end)| start..end.max(start))
    }

    /// Makes a volume in the first place that is large enough.
    ///
    /// # Errors
    /// Bytes of the largest place.
    pub(super) fn make(&mut self, appliance: &str, name: &str, size: u64, len: u64) -> Result<Volume, u64> {
        let room = |gap: &Range<u64>| gap.end - gap.start;
        let Some((at, gap)) = self.gaps(len).enumerate().find(|(_, gap)| room(gap) >= size) else {
            return Err(self.gaps(len).map(|gap| room(&gap)).max().unwrap_or(0));
        };
        let volume = Volume { appliance: appliance.into(), name: name.into(), offset: gap.start, size };
        self.volumes.insert(at, volume.clone());
        Ok(volume)
    }

    /// Makes a volume larger where it is.
    ///
    /// # Errors
    /// How many bytes it could have at most.
    pub(super) fn grow(&mut self, appliance: &str, name: &str, size: u64, len: u64) -> Result<Volume, u64> {
        let found = self.volumes.iter().position(|it| it.appliance == appliance && it.name == name);
        let at = found.ok_or(0_u64)?;
        let end = self.volumes.get(at + 1).map_or(len / BLOCK * BLOCK, |next| next.offset);
        let volume = self.volumes.get_mut(at).ok_or(0_u64)?;
        let most = end - volume.offset;
        if size > most {
            return Err(most);
        }
        volume.size = size;
        Ok(volume.clone())
    }

    /// Whether there was one.
    pub(super) fn remove(&mut self, appliance: &str, name: &str) -> bool {
        let before = self.volumes.len();
        self.volumes.retain(|volume| !(volume.appliance == appliance && volume.name == name));
        self.volumes.len() != before
    }
}

pub(super) fn sum(bytes: &[u8]) -> u32 {
    let mut sum = CRC.digest();
    sum.update(bytes.get(..12).unwrap_or_default());
    sum.update(&[0; 4]);
    sum.update(bytes.get(16..).unwrap_or_default());
    sum.finalize()
}

/// An entry, if all it says can be, but for its place among others.
fn volume(entry: &Entry) -> Option<Volume> {
    let places = entry.offset.is_multiple_of(UNIT) && entry.size.is_multiple_of(BLOCK) && entry.size > 0;
    // So that no sum of these overflows.
    let small = entry.offset < 1 << 62 && entry.size < 1 << 62;
    if !places || !small {
        return None;
    }
    let (appliance, name) = (unpadded(&entry.appliance)?, unpadded(&entry.name)?);
    Some(Volume { appliance, name, offset: entry.offset, size: entry.size })
}

/// A name, which has at most 15 bytes, filled up.
fn padded(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

fn unpadded(bytes: &[u8; NAME]) -> Option<String> {
    let name = core::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    is_name(name).then(|| name.into())
}
