//! Disks: the physical ones, and the parts of them that are handed out.

use crate::memory::HostRange;
use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::pin::Pin;

/// Bytes of a sector, the unit of all addresses here whatever the disk's own blocks are.
pub const SECTOR: u64 = 512;

/// What a disk is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Its size in sectors of [`SECTOR`] bytes.
    pub sectors: u64,
    /// Bytes of its own blocks: requests are multiples of it.
    pub block: u32,
    /// Writes fail.
    pub read_only: bool,
    /// [`Operation::Discard`] does something.
    pub discards: bool,
}

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Disk to memory.
    Read,
    /// Memory to disk; durable after the next flush.
    Write,
    /// What was written before is durable when this is done. Sector and memory mean nothing.
    Flush,
    /// The sectors' contents are no longer needed.
    Discard {
        /// How many.
        sectors: u64,
    },
    /// The sectors become zero.
    WriteZeroes {
        /// How many.
        sectors: u64,
    },
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// Sectors beyond the end, or a length that is not in whole blocks.
    OutOfRange,
    /// It can't be written to.
    ReadOnly,
    /// The disk can't do that.
    Unsupported,
    /// The disk said that it failed.
    Device,
    /// The disk does not answer, not after a reset either: it is dead.
    Dead,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "it is not within the disk, or not in whole blocks",
            Self::ReadOnly => "the disk can't be written to",
            Self::Unsupported => "the disk can't do that",
            Self::Device => "the disk says that it failed",
            Self::Dead => "the disk does not answer any more",
        })
    }
}

/// A request on its way; it is carried out even if nobody waits for it any more.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Result<(), BlockError>> + 'a>>;

/// A disk. Requests may be on their way side by side and be done in any order.
pub trait BlockDevice {
    /// What it is like.
    fn geometry(&self) -> Geometry;
    /// Begins a request at `sector`, with memory in one or more pieces whose bytes add up to whole
    /// blocks; the memory is the disk's until the request is done.
    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a>;
}
