//! Memory of a machine that is not there, and the smallest executor.

use super::dma::{Dma, DmaMemory};
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// Host-physical address of the first byte of [`Ram`].
pub(crate) const RAM: u64 = 0x1_0000_0000;

/// RAM that drivers and fake devices share. Pieces are used again only when all were given back.
#[derive(Clone)]
pub(crate) struct Ram {
    bytes: Rc<RefCell<Vec<u8>>>,
    next: Rc<Cell<usize>>,
    /// Bytes of pieces that are not given back.
    pub(crate) lent: Rc<Cell<usize>>,
}

impl Ram {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes: Rc::new(RefCell::new(vec![0; bytes])), next: Rc::default(), lent: Rc::default() }
    }

    /// What a device reads.
    pub(crate) fn get(&self, address: u64, len: usize) -> Vec<u8> {
        let start = (address - RAM) as usize;
        self.bytes.borrow()[start..start + len].to_vec()
    }

    /// What a device writes.
    pub(crate) fn put(&self, address: u64, from: &[u8]) {
        let start = (address - RAM) as usize;
        self.bytes.borrow_mut()[start..start + from.len()].copy_from_slice(from);
    }
}

impl Dma for Ram {
    fn allocate(&self, bytes: usize) -> Option<Box<dyn DmaMemory>> {
        let start = self.next.get();
        let end = (start + bytes).next_multiple_of(4096);
        (end <= self.bytes.borrow().len()).then_some(())?;
        self.next.set(end);
        self.lent.set(self.lent.get() + bytes);
        self.bytes.borrow_mut()[start..end].fill(0);
        Some(Box::new(Piece { ram: self.clone(), start, len: bytes }))
    }
}

struct Piece {
    ram: Ram,
    start: usize,
    len: usize,
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.ram.lent.set(self.ram.lent.get() - self.len);
        if self.ram.lent.get() == 0 {
            self.ram.next.set(0);
        }
    }
}

impl DmaMemory for Piece {
    fn host(&self) -> HostRange {
        HostRange { address: RAM + self.start as u64, len: self.len as u64 }
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= self.len, "a driver reads beyond its memory");
        into.copy_from_slice(&self.ram.get(self.host().address + offset as u64, into.len()));
    }

    fn write(&self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= self.len, "a driver writes beyond its memory");
        self.ram.put(self.host().address + offset as u64, from);
    }

    fn load(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn store(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }

    fn fill(&self, offset: usize, from: HostRange) {
        self.write(offset, &self.ram.get(from.address, from.len as usize));
    }

    fn drain(&self, offset: usize, to: HostRange) {
        let mut bytes = vec![0; to.len as usize];
        self.read(offset, &mut bytes);
        self.ram.put(to.address, &bytes);
    }
}

/// Runs what never has to wait.
pub(crate) fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// Runs what now and then gives way to others; answers also how often it did.
pub(crate) fn in_turns<T>(work: impl Future<Output = T>) -> (T, usize) {
    let mut work = pin!(work);
    (0..10_000)
        .find_map(|turns| match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some((done, turns)),
            Poll::Pending => None,
        })
        .expect("it never ends")
}
