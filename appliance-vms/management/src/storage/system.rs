//! Reading the system bundle (`hv_abi::appliance`): which appliances there are, and their files.
//!
//! The index is checked once, completely, when the bundle is opened: what [`Bundle::system`] tells
//! keeps all that `hv_abi::appliance` promises, and each of its files lies in the bundle.

mod check;
#[cfg(test)]
mod tests;

use super::bytes::{CHUNK, DiskBytes, DiskError};
use super::part::Part;
use crate::block::{BlockError, SECTOR};
use crate::executor::give_way;
use alloc::vec;
use core::fmt;
use hv_abi::appliance::{BLOCK, Blob, Header, MAGIC, MAX_INDEX, System, VERSION};
use sha2::{Digest, Sha256};
use zerocopy::FromBytes;

pub use check::Nonsense;
pub(super) use check::is_name;

/// How many bytes are hashed before others have their turn. SHA-256 takes some 53 instructions a byte
/// where the processor has none of its own for it (measured, `-icount`), so a chunk of a disk's would
/// take three times as long as a task may hold the CPU.
const AT_ONCE: usize = 16 << 10;

/// Why a bundle can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// The disk failed.
    Disk(DiskError),
    /// There is none.
    Absent,
    /// It is of another version of Hearth.
    Version(u32),
    /// The header names more bytes than there are.
    CutShort,
    /// The index is not what the header says, or can't be read.
    Damaged,
    /// The index says what can't be.
    Nonsense(Nonsense),
}

impl fmt::Display for BundleError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => write!(to, "the system can't be read: {error}"),
            Self::Absent => to.write_str("there is no system on this partition"),
            Self::Version(version) => {
                write!(to, "the system on this partition is of form {version}; this program reads {VERSION}")
            }
            Self::CutShort => to.write_str("the system on this partition is cut short"),
            Self::Damaged => to.write_str("the system on this partition is damaged"),
            Self::Nonsense(what) => write!(to, "the system on this partition is wrong: {what}"),
        }
    }
}

impl From<DiskError> for BundleError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// A system bundle on a partition.
pub struct Bundle {
    bytes: DiskBytes,
    len: u64,
    system: System,
}

impl Bundle {
    /// Reads header and index of the bundle that fills, or begins, a partition.
    ///
    /// # Errors
    /// [`BundleError`].
    pub async fn open(partition: DiskBytes) -> Result<Self, BundleError> {
        if partition.len() < BLOCK {
            return Err(BundleError::Absent);
        }
        let mut first = [0; size_of::<Header>()];
        partition.read_at(0, &mut first).await?;
        let header = Header::read_from_bytes(&first).map_err(|_| BundleError::Absent)?;
        if header.magic != MAGIC {
            return Err(BundleError::Absent);
        }
        if header.version != VERSION {
            return Err(BundleError::Version(header.version));
        }
        let files = (BLOCK + u64::from(header.index_len)).next_multiple_of(BLOCK);
        if header.bundle_len > partition.len() || header.bundle_len < files {
            return Err(BundleError::CutShort);
        }
        if header.index_len > MAX_INDEX || !header.bundle_len.is_multiple_of(BLOCK) {
            return Err(BundleError::Damaged);
        }
        let mut index = vec![0; header.index_len as usize];
        partition.read_at(BLOCK, &mut index).await?;
        if Sha256::digest(&index)[..] != header.index_digest {
            return Err(BundleError::Damaged);
        }
        let system = postcard::from_bytes(&index).map_err(|_| BundleError::Damaged)?;
        check::system(&system, files..header.bundle_len).map_err(BundleError::Nonsense)?;
        Ok(Self { bytes: partition, len: header.bundle_len, system })
    }

    /// What is in it.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Bytes of the whole bundle.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Never: a bundle has a header.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A file of it, to be read.
    pub fn file(&self, blob: &Blob) -> File {
        File { bytes: self.bytes.clone(), blob: *blob }
    }

    /// A file of it as a disk that can only be read. It ends with the file's last block: what is left
    /// of that one is the bundle's filling.
    ///
    /// # Errors
    /// [`BlockError::OutOfRange`] if the file is not in the bundle.
    pub fn disk(&self, blob: &Blob) -> Result<Part, BlockError> {
        let end = blob.offset.checked_add(blob.len).filter(|&end| end <= self.len);
        let end = end.ok_or(BlockError::OutOfRange)?.next_multiple_of(BLOCK);
        let sectors = (end - blob.offset) / SECTOR;
        Part::new(self.bytes.disk().clone(), blob.offset / SECTOR, sectors, true)
    }
}

/// A file of a bundle.
#[derive(Clone)]
pub struct File {
    bytes: DiskBytes,
    blob: Blob,
}

impl File {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.blob.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.blob.len == 0
    }

    /// What the index says its SHA-256 is.
    pub fn digest(&self) -> &[u8; 32] {
        &self.blob.digest
    }

    /// Copies `into.len()` bytes out from byte `offset` of the file.
    ///
    /// # Errors
    /// [`DiskError`]: [`BlockError::OutOfRange`] also beyond the file's end.
    pub async fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(into.len() as u64).filter(|&end| end <= self.blob.len);
        let place = end.and_then(|_| self.blob.offset.checked_add(offset));
        self.bytes.read_at(place.ok_or(BlockError::OutOfRange)?, into).await
    }

    /// The SHA-256 of what is on the disk, read piece by piece.
    ///
    /// # Errors
    /// [`DiskError`].
    pub async fn measure(&self) -> Result<[u8; 32], DiskError> {
        let mut piece = vec![0; CHUNK.min(usize::try_from(self.blob.len).unwrap_or(CHUNK))];
        let mut sum = Sha256::new();
        let mut at = 0;
        while at < self.blob.len {
            let len = (self.blob.len - at).min(CHUNK as u64) as usize;
            self.read_at(at, &mut piece[..len]).await?;
            for part in piece[..len].chunks(AT_ONCE) {
                sum.update(part);
                give_way().await;
            }
            at += len as u64;
        }
        Ok(sum.finalize().into())
    }
}
