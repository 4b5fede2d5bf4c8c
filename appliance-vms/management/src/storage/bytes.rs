//! A disk's bytes, for the management VM itself: copied through memory that the disk reaches.

use crate::block::{BlockDevice, BlockError, Operation, SECTOR};
use crate::drivers::dma::{Dma, DmaMemory};
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt;

/// Most bytes of one request: large enough that a disk is busy with reading, small enough that hashing
/// them keeps nobody waiting.
pub const CHUNK: usize = 128 << 10;

/// Why bytes could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The disk refused, or failed.
    Disk(BlockError),
    /// There is no memory left that disks reach.
    NoMemory,
}

impl From<BlockError> for DiskError {
    fn from(error: BlockError) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Disk(BlockError::OutOfRange) => "it lies beyond the end of the disk",
            Self::Disk(BlockError::ReadOnly) => "the disk can't be written to",
            Self::Disk(BlockError::Unsupported) => "the disk can't do that",
            Self::Disk(BlockError::Device) => "the disk says that it failed",
            Self::Disk(BlockError::Dead) => "the disk does not answer",
            Self::NoMemory => "there is no memory left to read it into",
        })
    }
}

/// A disk, by bytes.
#[derive(Clone)]
pub struct DiskBytes {
    disk: Rc<dyn BlockDevice>,
    dma: Rc<dyn Dma>,
}

impl DiskBytes {
    /// The bytes of `disk`, with memory from `dma` for as long as a call takes.
    pub fn new(disk: Rc<dyn BlockDevice>, dma: Rc<dyn Dma>) -> Self {
        Self { disk, dma }
    }

    /// The disk.
    pub fn disk(&self) -> &Rc<dyn BlockDevice> {
        &self.disk
    }

    /// Bytes of the disk.
    pub fn len(&self) -> u64 {
        self.disk.geometry().sectors.saturating_mul(SECTOR)
    }

    /// Whether the disk has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the disk's blocks; at least a sector, whatever the disk says.
    pub fn block(&self) -> u64 {
        u64::from(self.disk.geometry().block).max(SECTOR)
    }

    /// Copies `into.len()` bytes out from byte `offset`, which need not be where a block begins.
    ///
    /// # Errors
    /// [`DiskError`]; `into` may have changed.
    pub async fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let end = self.end(offset, into.len())?;
        if into.is_empty() {
            return Ok(());
        }
        let block = self.block();
        let mut bounce = self.bounce(end.next_multiple_of(block) - offset / block * block)?;
        let mut rest = into;
        let mut at = offset;
        while !rest.is_empty() {
            let start = at / block * block;
            let ahead = (at - start) as usize;
            let len = (ahead + rest.len()).next_multiple_of(block as usize).min(bounce.len(block));
            let (part, later) = rest.split_at_mut(rest.len().min(len - ahead));
            bounce = bounce.transfer(&*self.disk, Operation::Read, start, len).await?;
            bounce.memory.read(ahead, part);
            at += part.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Writes whole blocks from byte `offset`; durable after [`Self::flush`].
    ///
    /// # Errors
    /// [`DiskError`]: [`BlockError::OutOfRange`] also where a block would be written in part. The
    /// blocks may have been written or not, each.
    pub async fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), DiskError> {
        let end = self.end(offset, from.len())?;
        let block = self.block();
        if !offset.is_multiple_of(block) || !end.is_multiple_of(block) {
            return Err(BlockError::OutOfRange.into());
        }
        if from.is_empty() {
            return Ok(());
        }
        let mut bounce = self.bounce(from.len() as u64)?;
        let mut at = offset;
        for part in from.chunks(bounce.len(block)) {
            bounce.memory.write(0, part);
            bounce = bounce.transfer(&*self.disk, Operation::Write, at, part.len()).await?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Makes durable what was written before.
    ///
    /// # Errors
    /// [`DiskError`]: it may not be durable.
    pub async fn flush(&self) -> Result<(), DiskError> {
        Ok(self.disk.request(Operation::Flush, 0, &[]).await?)
    }

    /// The end of a range, if it is on the disk.
    fn end(&self, offset: u64, len: usize) -> Result<u64, DiskError> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.len());
        end.ok_or(DiskError::Disk(BlockError::OutOfRange))
    }

    fn bounce(&self, bytes: u64) -> Result<Bounce, DiskError> {
        Bounce::new(&*self.dma, bytes, self.block()).ok_or(DiskError::NoMemory)
    }
}

/// Memory of the management VM's own that disks reach, and that is copied to and from.
pub(super) struct Bounce {
    pub(super) memory: Box<dyn DmaMemory>,
}

impl Bounce {
    /// As much as a transfer of so many bytes needs, a chunk at most; `None`: there is none left.
    pub(super) fn new(dma: &dyn Dma, bytes: u64, block: u64) -> Option<Self> {
        // A block larger than a chunk is odd, but still a block.
        let most = (CHUNK as u64).next_multiple_of(block);
        dma.allocate(bytes.min(most) as usize).map(|memory| Self { memory })
    }

    /// How many bytes it takes of whole blocks.
    pub(super) fn len(&self, block: u64) -> usize {
        (self.memory.host().len / block * block) as usize
    }

    /// One request, from or to the first `len` bytes.
    pub(super) async fn transfer(
        self,
        disk: &dyn BlockDevice,
        operation: Operation,
        offset: u64,
        len: usize,
    ) -> Result<Self, BlockError> {
        let range = [HostRange { address: self.memory.host().address, len: len as u64 }];
        let mut lent = Lent(Some(self));
        let done = disk.request(operation, offset / SECTOR, &range).await;
        let bounce = lent.0.take().ok_or(BlockError::Device)?;
        done.map(|()| bounce)
    }
}

/// Memory while it is the disk's. If nobody waits for the request any more the disk may still write to
/// it, so that it is lost rather than given to somebody else.
struct Lent(Option<Bounce>);

impl Drop for Lent {
    fn drop(&mut self) {
        core::mem::forget(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeDisk, Silent};
    use super::*;
    use crate::drivers::fake::now;
    use crate::testkit::Random;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::pin::pin;
    use core::task::{Context, Waker};

    #[test]
    fn any_range_reads_as_it_lies() {
        for block in [512, 4096] {
            let disk = FakeDisk::new(1 << 20, block);
            let content: Vec<u8> = (0..1_u32 << 20).map(|at| (at * 7 / 3) as u8).collect();
            disk.put(0, &content);
            let bytes = disk.bytes();
            let mut random = Random(u64::from(block));
            for _ in 0..50 {
                let start = random.index(content.len());
                let end = start + random.index(content.len() - start + 1);
                let mut into = vec![0; end - start];
                assert_eq!(now(bytes.read_at(start as u64, &mut into)), Ok(()));
                assert!(into == content[start..end], "{start}..{end}");
            }
            assert_eq!(disk.ram.lent.get(), 0);
        }
    }

    #[test]
    fn whole_blocks_are_written_and_parts_refused() {
        let disk = FakeDisk::new(1 << 20, 4096);
        let bytes = disk.bytes();
        let content = vec![7; 300 << 10];
        assert_eq!(now(bytes.write_at(8192, &content)), Ok(()));
        assert_eq!(disk.get(8191, 2), [0, 7]);
        assert_eq!(disk.get(8191 + (300 << 10), 2), [7, 0]);
        let out_of_range = Err(DiskError::Disk(BlockError::OutOfRange));
        for (offset, len) in [(512, 4096), (4096, 512), (1 << 20, 4096), (u64::MAX, 1), (0, (1 << 20) + 4096)]
        {
            assert_eq!(now(bytes.write_at(offset, &vec![0; len])), out_of_range);
        }
        assert_eq!(now(bytes.read_at(u64::MAX, &mut [0; 2])), out_of_range);
        assert_eq!(now(bytes.read_at(1 << 20, &mut [])), Ok(()));
    }

    #[test]
    fn failures_say_what_failed() {
        let disk = FakeDisk::new(1 << 20, 512);
        disk.fail.set(true);
        let failed = now(disk.bytes().read_at(0, &mut [0; 9]));
        assert_eq!(failed, Err(DiskError::Disk(BlockError::Device)));
        assert_eq!(disk.ram.lent.get(), 0);
        let poor = DiskBytes::new(disk.clone(), Rc::new(crate::drivers::fake::Ram::new(0)));
        assert_eq!(now(poor.read_at(0, &mut [0; 9])), Err(DiskError::NoMemory));
    }

    #[test]
    fn memory_is_never_given_back_while_the_disk_has_it() {
        let ram = crate::drivers::fake::Ram::new(1 << 20);
        let bytes = DiskBytes::new(Rc::new(Silent), Rc::new(ram.clone()));
        let mut into = [0; 512];
        {
            let read = pin!(bytes.read_at(0, &mut into));
            assert!(read.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(ram.lent.get(), 512);
    }
}
