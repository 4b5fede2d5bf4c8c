//! Cutting a request into commands.

use super::layout::{NAMESPACE, PAGE, nvm};
use super::queue::Dwords;
use crate::block::{BlockError, Geometry, Operation, SECTOR};
use crate::drivers::dma::DmaMemory;
use crate::memory::HostRange;
use alloc::vec::Vec;

/// Most bytes of a command: as many as one page of addresses names.
pub(super) const MAX_BYTES: u64 = PAGE / 8 * PAGE;
/// Most blocks of a command: 16 bits that count from 0.
const MAX_BLOCKS: u64 = 1 << 16;
/// Most blocks of a range of dataset management: 32 bits.
const MAX_RANGE: u64 = 0xffff_ffff;

/// What a command may be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of a block.
    pub(super) block: u64,
    /// Most bytes, a multiple of a page.
    pub(super) bytes: u64,
}

/// What is left to ask for a request.
#[derive(Debug)]
pub(super) struct Work {
    opcode: u8,
    /// Next block.
    block: u64,
    /// Blocks left; of a flush, that there is one to do.
    left: u64,
    memory: Vec<HostRange>,
    /// The piece of memory that is next, and how many of its bytes are done.
    piece: usize,
    done: u64,
}

/// A command, without its place in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) opcode: u8,
    pub(super) block: u64,
    pub(super) blocks: u64,
    /// Where the memory is: the first one anywhere, all others where pages begin.
    pub(super) pages: Vec<u64>,
}

impl Work {
    /// What a request asks of a disk.
    ///
    /// # Errors
    /// As [`crate::block::BlockDevice::request`].
    pub(super) fn new(
        operation: Operation,
        sector: u64,
        memory: &[HostRange],
        disk: &Geometry,
    ) -> Result<Self, BlockError> {
        let (opcode, sectors) = match operation {
            Operation::Flush => {
                let memory = Vec::new();
                return Ok(Self { opcode: nvm::FLUSH, block: 0, left: 1, memory, piece: 0, done: 0 });
            }
            Operation::Read => (nvm::READ, None),
            Operation::Write => (nvm::WRITE, None),
            Operation::Discard { sectors } => (nvm::DATASET_MANAGEMENT, Some(sectors)),
            Operation::WriteZeroes { sectors } => (nvm::WRITE_ZEROES, Some(sectors)),
        };
        if disk.read_only && opcode != nvm::READ {
            return Err(BlockError::ReadOnly);
        }
        let memory = if sectors.is_none() { memory } else { &[] };
        let bytes = memory.iter().try_fold(0_u64, |sum, range| sum.checked_add(range.len));
        let bytes = bytes.filter(|bytes| bytes.is_multiple_of(SECTOR)).ok_or(BlockError::OutOfRange)?;
        let sectors = sectors.unwrap_or(bytes / SECTOR);
        let end = sector.checked_add(sectors).filter(|&end| end <= disk.sectors);
        let end = end.ok_or(BlockError::OutOfRange)?;
        let block = (u64::from(disk.block) / SECTOR).max(1);
        if !sector.is_multiple_of(block) || !end.is_multiple_of(block) {
            return Err(BlockError::OutOfRange);
        }
        let (first, left) = (sector / block, sectors / block);
        Ok(Self { opcode, block: first, left, memory: memory.into(), piece: 0, done: 0 })
    }

    /// Whether all was asked.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// The next command, if there is one.
    ///
    /// # Errors
    /// [`BlockError::Unsupported`]: memory that a command can't name.
    pub(super) fn next(&mut self, limits: Limits) -> Result<Option<Command>, BlockError> {
        if self.left == 0 {
            return Ok(None);
        }
        let (blocks, pages) = match self.opcode {
            nvm::READ | nvm::WRITE => {
                let (bytes, pages) = self.pages(limits.bytes.min(MAX_BLOCKS * limits.block));
                if bytes == 0 || !bytes.is_multiple_of(limits.block) || pages.iter().any(|at| at % 4 != 0) {
                    return Err(BlockError::Unsupported);
                }
                (bytes / limits.block, pages)
            }
            nvm::DATASET_MANAGEMENT => (self.left.min(MAX_RANGE), Vec::new()),
            _ => (self.left.min(MAX_BLOCKS), Vec::new()),
        };
        let command = Command { opcode: self.opcode, block: self.block, blocks, pages };
        self.block += blocks;
        self.left = self.left.saturating_sub(blocks);
        Ok(Some(command))
    }

    /// As much memory as one command names, at most `most` bytes: how many, and its pages. A page ends
    /// the command if it is not filled and what follows is elsewhere (section 4.3).
    fn pages(&mut self, most: u64) -> (u64, Vec<u64>) {
        let (mut bytes, mut pages, mut end) = (0, Vec::new(), None);
        while bytes < most
            && let Some(range) = self.memory.get(self.piece)
        {
            let left = range.len.saturating_sub(self.done);
            if left == 0 {
                (self.piece, self.done) = (self.piece + 1, 0);
                continue;
            }
            let address = range.address.wrapping_add(self.done);
            let begins = address.is_multiple_of(PAGE);
            let fits = end.is_none_or(|end: u64| end == address || begins && end.is_multiple_of(PAGE));
            if !fits {
                break;
            }
            if begins || end.is_none() {
                pages.push(address);
            }
            let len = left.min(PAGE - address % PAGE).min(most - bytes);
            end = Some(address.wrapping_add(len));
            bytes += len;
            self.done += len;
        }
        (bytes, pages)
    }
}

impl Command {
    /// Its form for the disk under the number `id`; `list` is a page for what does not fit into it.
    pub(super) fn encode(&self, id: u16, list: &dyn DmaMemory, offset: usize) -> Dwords {
        let mut dwords = [0; 16];
        dwords[0] = u32::from(self.opcode) | u32::from(id) << 16;
        dwords[1] = NAMESPACE;
        let page = list.host().address + offset as u64;
        let (first, second) = match (self.opcode, &*self.pages) {
            (nvm::DATASET_MANAGEMENT, _) => {
                // One range: attributes, blocks, first block.
                list.store(offset, 0);
                list.store(offset + 4, self.blocks as u32);
                list.write(offset + 8, &self.block.to_le_bytes());
                dwords[11] = nvm::DEALLOCATE;
                (page, 0)
            }
            (_, []) => (0, 0),
            (_, [only]) => (*only, 0),
            (_, [first, second]) => (*first, *second),
            (_, [first, rest @ ..]) => {
                for (at, address) in rest.iter().enumerate() {
                    list.write(offset + at * 8, &address.to_le_bytes());
                }
                (*first, page)
            }
        };
        (dwords[6], dwords[7]) = (first as u32, (first >> 32) as u32);
        (dwords[8], dwords[9]) = (second as u32, (second >> 32) as u32);
        if matches!(self.opcode, nvm::READ | nvm::WRITE | nvm::WRITE_ZEROES) {
            (dwords[10], dwords[11]) = (self.block as u32, (self.block >> 32) as u32);
            dwords[12] = self.blocks.saturating_sub(1) as u32 & 0xffff;
        }
        dwords
    }
}
