//! Disks that are not there.

use super::bytes::DiskBytes;
use crate::block::{BlockDevice, BlockError, Geometry, Operation, Pending, SECTOR};
use crate::drivers::fake::Ram;
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{pending, ready};

/// What a disk was told: bytes written from here on, or nothing for a flush.
pub(crate) type Logged = Option<(usize, Vec<u8>)>;

/// A disk that does everything at once, and writes down what was written.
pub(crate) struct FakeDisk {
    pub(crate) ram: Ram,
    content: RefCell<Vec<u8>>,
    block: u32,
    pub(crate) fail: Cell<bool>,
    pub(crate) log: RefCell<Vec<Logged>>,
}

impl FakeDisk {
    pub(crate) fn new(bytes: usize, block: u32) -> Rc<Self> {
        Self::with(vec![0; bytes], block)
    }

    pub(crate) fn with(content: Vec<u8>, block: u32) -> Rc<Self> {
        Rc::new(Self {
            ram: Ram::new(256 << 10),
            content: RefCell::new(content),
            block,
            fail: Cell::default(),
            log: RefCell::default(),
        })
    }

    pub(crate) fn bytes(self: &Rc<Self>) -> DiskBytes {
        DiskBytes::new(self.clone(), Rc::new(self.ram.clone()))
    }

    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) {
        self.content.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn get(&self, offset: usize, len: usize) -> Vec<u8> {
        self.content.borrow()[offset..offset + len].to_vec()
    }

    fn carry_out(&self, operation: Operation, sector: u64, memory: &[HostRange]) -> Result<(), BlockError> {
        if self.fail.get() {
            return Err(BlockError::Device);
        }
        let mut at = (sector * SECTOR) as usize;
        match operation {
            Operation::Read => {
                for range in memory {
                    self.ram.put(range.address, &self.get(at, range.len as usize));
                    at += range.len as usize;
                }
            }
            Operation::Write => {
                for range in memory {
                    let bytes = self.ram.get(range.address, range.len as usize);
                    self.put(at, &bytes);
                    at += bytes.len();
                    self.log.borrow_mut().push(Some((at - bytes.len(), bytes)));
                }
            }
            Operation::Flush => self.log.borrow_mut().push(None),
            Operation::WriteZeroes { sectors } => {
                let zeroes = vec![0; (sectors * SECTOR) as usize];
                self.put(at, &zeroes);
                self.log.borrow_mut().push(Some((at, zeroes)));
            }
            Operation::Discard { .. } => {}
        }
        Ok(())
    }
}

impl BlockDevice for FakeDisk {
    fn geometry(&self) -> Geometry {
        let sectors = self.content.borrow().len() as u64 / SECTOR;
        Geometry { sectors, block: self.block, read_only: false, discards: true }
    }

    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        Box::pin(ready(self.carry_out(operation, sector, memory)))
    }
}

/// A disk that never answers.
pub(crate) struct Silent;

impl BlockDevice for Silent {
    fn geometry(&self) -> Geometry {
        Geometry { sectors: 1 << 20, block: 512, read_only: false, discards: false }
    }

    fn request<'a>(&'a self, _: Operation, _: u64, _: &'a [HostRange]) -> Pending<'a> {
        Box::pin(pending())
    }
}
