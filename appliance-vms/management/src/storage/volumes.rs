//! The data partition: one volume for each disk that an appliance may write.
//!
//! The partition begins with two copies of a [`table`] of its volumes; the volumes follow. A change is
//! written to one copy and made durable, then to the other one: whenever the power is cut, one copy is
//! whole and says what is there, before the change or after it. The blocks of a volume become zero
//! before the table names it, so that nobody reads what somebody else left there.

mod table;
#[cfg(test)]
mod tests;

use super::bytes::{DiskBytes, DiskError};
use super::part::Part;
use super::system::is_name;
use crate::block::{BlockError, Operation, SECTOR};
use alloc::string::String;
use alloc::vec;
use core::fmt;
use hv_abi::appliance::BLOCK;
use table::{COPIES, FIRST, TABLE, Table};
pub use table::{MAX_VOLUMES, UNIT, Volume};

/// Bytes that are made zero by one request: few enough for any disk (NVMe, Write Zeroes: 16 bits
/// of blocks).
const ZEROES: u64 = 16 << 20;
/// Bytes that are written at once where the disk can't make zeroes by itself.
const PIECE: usize = 1 << 20;
const MIB: u64 = 1 << 20;

/// Why there is no volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeError {
    /// The disk failed.
    Disk(DiskError),
    /// Both copies of the table are damaged: what volumes there are is not known.
    Damaged,
    /// The partition is too small for any volume.
    TooSmall,
    /// There is no place for it.
    NoRoom {
        /// The volume.
        name: String,
        /// Bytes that are wanted.
        wanted: u64,
        /// Bytes of the largest place, or for a volume that is to grow, of the place where it is.
        largest: u64,
    },
    /// There are [`MAX_VOLUMES`] volumes.
    TooMany,
    /// A name that is none, or a size that is not in blocks.
    Nonsense,
}

impl fmt::Display for VolumeError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(to, "the data partition failed: {error}"),
            Self::Damaged => to.write_str("the list of volumes on the data partition is damaged"),
            Self::TooSmall => to.write_str("the data partition is too small for any volume"),
            Self::NoRoom { name, wanted, largest } => write!(
                to,
                "the disk is too small: the volume {name:?} needs {} MiB, and there is room for {} MiB",
                wanted.div_ceil(MIB),
                largest / MIB
            ),
            Self::TooMany => write!(to, "there are {MAX_VOLUMES} volumes already"),
            Self::Nonsense => to.write_str("a volume has a name or a size that can't be"),
        }
    }
}

impl From<DiskError> for VolumeError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<BlockError> for VolumeError {
    fn from(error: BlockError) -> Self {
        Self::Disk(error.into())
    }
}

/// What a copy of the table is.
enum Found {
    /// Never written: there is no sign of a table.
    Blank,
    /// Written in part, or damaged later.
    Bad,
    Whole(Table),
}

/// The volumes of a data partition.
pub struct Volumes {
    partition: DiskBytes,
    table: Table,
    /// The copy that the next change is written to first: not the only whole one.
    next: usize,
}

impl Volumes {
    /// Reads which volumes there are. A partition that never had any gets an empty table.
    ///
    /// # Errors
    /// [`VolumeError`]; nothing was written then, unless the disk failed.
    pub async fn open(partition: DiskBytes) -> Result<Self, VolumeError> {
        if partition.len() < FIRST + UNIT {
            return Err(VolumeError::TooSmall);
        }
        let first = read_copy(&partition, 0).await?;
        let second = read_copy(&partition, 1).await?;
        let (table, next, agree) = match (first, second) {
            (Found::Whole(first), Found::Whole(second)) if second.sequence > first.sequence => {
                (second, 0, false)
            }
            (Found::Whole(first), Found::Whole(second)) => {
                let agree = first == second;
                (first, 1, agree)
            }
            (Found::Whole(first), _) => (first, 1, false),
            (_, Found::Whole(second)) => (second, 0, false),
            // An empty table is written to the first copy first: the power was cut then.
            (Found::Blank | Found::Bad, Found::Blank) => (Table::default(), 0, false),
            (_, Found::Bad) => return Err(VolumeError::Damaged),
        };
        let mut volumes = Self { partition, table, next };
        if !agree {
            volumes.commit(volumes.table.clone()).await?;
        }
        Ok(volumes)
    }

    /// All volumes, in the order of their places.
    pub fn all(&self) -> &[Volume] {
        &self.table.volumes
    }

    /// Bytes that no volume has, not all of them in one piece.
    pub fn free(&self) -> u64 {
        self.table.gaps(self.partition.len()).map(|gap| gap.end - gap.start).sum()
    }

    /// The volume `name` of an appliance, as a disk of at least `size` bytes. It is made, of zeroes, if
    /// the appliance does not have it; it grows, by zeroes, if it is smaller. It never shrinks.
    ///
    /// # Errors
    /// [`VolumeError`]; there is no volume then, or the old one.
    pub async fn get(&mut self, appliance: &str, name: &str, size: u64) -> Result<Part, VolumeError> {
        if !is_name(appliance) || !is_name(name) || size == 0 || !size.is_multiple_of(BLOCK) {
            return Err(VolumeError::Nonsense);
        }
        let end = self.partition.len();
        let mut table = self.table.clone();
        let no_room = |largest| VolumeError::NoRoom { name: String::from(name), wanted: size, largest };
        let (volume, new) = match table.find(appliance, name) {
            Some(volume) if volume.size >= size => return self.disk(&volume.clone()),
            Some(volume) => {
                let old = volume.end();
                let volume = table.grow(appliance, name, size, end).map_err(no_room)?;
                (volume, old)
            }
            None if table.volumes.len() >= MAX_VOLUMES => return Err(VolumeError::TooMany),
            None => {
                let volume = table.make(appliance, name, size, end).map_err(no_room)?;
                let start = volume.offset;
                (volume, start)
            }
        };
        self.clear(new, volume.end()).await?;
        self.commit(table).await?;
        self.disk(&volume)
    }

    /// Forgets a volume and all that is on it; whether there was one. Nobody uses it any more.
    ///
    /// # Errors
    /// [`VolumeError`]; the volume is still there then.
    pub async fn remove(&mut self, appliance: &str, name: &str) -> Result<bool, VolumeError> {
        let mut table = self.table.clone();
        let found = table.remove(appliance, name);
        if found {
            self.commit(table).await?;
        }
        Ok(found)
    }

    fn disk(&self, volume: &Volume) -> Result<Part, VolumeError> {
        let disk = self.partition.disk().clone();
        Ok(Part::new(disk, volume.offset / SECTOR, volume.size / SECTOR, false)?)
    }

    /// Makes bytes of the partition zero and that durable.
    async fn clear(&self, start: u64, end: u64) -> Result<(), VolumeError> {
        let mut at = start;
        while at < end {
            let len = (end - at).min(ZEROES);
            let operation = Operation::WriteZeroes { sectors: len / SECTOR };
            match self.partition.disk().request(operation, at / SECTOR, &[]).await {
                Err(BlockError::Unsupported) => self.write_zeroes(at, len).await?,
                done => done?,
            }
            at += len;
        }
        Ok(self.partition.flush().await?)
    }

    async fn write_zeroes(&self, start: u64, len: u64) -> Result<(), DiskError> {
        let zeroes = vec![0; PIECE];
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(PIECE as u64);
            self.partition.write_at(start + done, &zeroes[..piece as usize]).await?;
            done += piece;
        }
        Ok(())
    }

    /// Makes a table the one that counts.
    async fn commit(&mut self, mut table: Table) -> Result<(), VolumeError> {
        table.sequence = self.table.sequence.saturating_add(1);
        let bytes = table.encode();
        let second = (self.next + 1) % COPIES;
        self.partition.write_at(self.next as u64 * TABLE, &bytes).await?;
        self.partition.flush().await?;
        // It counts from here on, whatever becomes of the other copy.
        (self.table, self.next) = (table, second);
        self.partition.write_at(second as u64 * TABLE, &bytes).await?;
        Ok(self.partition.flush().await?)
    }
}

async fn read_copy(partition: &DiskBytes, copy: usize) -> Result<Found, DiskError> {
    let mut bytes = vec![0; TABLE as usize];
    partition.read_at(copy as u64 * TABLE, &mut bytes).await?;
    if !Table::is_one(&bytes) {
        return Ok(Found::Blank);
    }
    Ok(Table::decode(&bytes, partition.len()).map_or(Found::Bad, Found::Whole))
}
