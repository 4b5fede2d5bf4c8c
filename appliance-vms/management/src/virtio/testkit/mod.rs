//! The other side, for tests: a guest's memory, its interrupts, and a driver.

mod driver;
mod random;

pub use driver::{COMMAND, Driver, Machine};
pub use random::Random;

use super::ring::QueueState;
use crate::interrupts::Interrupts;
use crate::memory::{GuestMemory, HostRange, NotRam};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Host-physical address of [`FakeMemory`]'s first byte.
const HOST: u64 = 1 << 40;

/// RAM from address 0 on, in one piece.
pub struct FakeMemory {
    bytes: RefCell<Vec<u8>>,
    /// How often it was accessed, and how often written.
    pub accesses: Cell<u64>,
    pub writes: Cell<u64>,
}

impl FakeMemory {
    pub fn new(bytes: usize) -> Self {
        Self { bytes: RefCell::new(vec![0; bytes]), accesses: Cell::new(0), writes: Cell::new(0) }
    }

    fn range(&self, address: u64, len: u64) -> Result<core::ops::Range<usize>, NotRam> {
        self.accesses.set(self.accesses.get() + 1);
        let end = address.checked_add(len).filter(|&end| end <= self.bytes.borrow().len() as u64);
        let end = end.ok_or(NotRam { address, len })?;
        Ok(address as usize..end as usize)
    }

    pub fn bytes(&self, address: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.read(address, &mut bytes).unwrap();
        bytes
    }

    /// A physical device reads.
    pub fn host_read(&self, range: HostRange, into: &mut [u8]) {
        let first = (range.address - HOST) as usize;
        into.copy_from_slice(&self.bytes.borrow()[first..first + range.len as usize]);
    }

    /// A physical device writes.
    pub fn host_write(&self, range: HostRange, from: &[u8]) {
        let first = (range.address - HOST) as usize;
        self.bytes.borrow_mut()[first..first + range.len as usize].copy_from_slice(from);
    }

    pub fn u16(&self, address: u64) -> u16 {
        self.load_u16(address).unwrap()
    }
}

impl GuestMemory for FakeMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), NotRam> {
        let range = self.range(address, into.len() as u64)?;
        into.copy_from_slice(&self.bytes.borrow()[range]);
        Ok(())
    }
    fn write(&self, address: u64, from: &[u8]) -> Result<(), NotRam> {
        let range = self.range(address, from.len() as u64)?;
        self.bytes.borrow_mut()[range].copy_from_slice(from);
        self.writes.set(self.writes.get() + 1);
        Ok(())
    }
    fn load_u16(&self, address: u64) -> Result<u16, NotRam> {
        let mut bytes = [0; 2];
        if !address.is_multiple_of(2) {
            return Err(NotRam { address, len: 2 });
        }
        self.read(address, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }
    fn store_u16(&self, address: u64, value: u16) -> Result<(), NotRam> {
        if !address.is_multiple_of(2) {
            return Err(NotRam { address, len: 2 });
        }
        self.write(address, &value.to_le_bytes())
    }
    fn host(&self, address: u64, len: u64) -> Result<HostRange, NotRam> {
        self.range(address, len)?;
        Ok(HostRange { address: address + HOST, len })
    }
}

/// Interrupts that are counted and not delivered.
#[derive(Default)]
pub struct FakeInterrupts(RefCell<Vec<(u64, u32)>>);

impl FakeInterrupts {
    /// The messages since this was last asked.
    pub fn take(&self) -> Vec<(u64, u32)> {
        self.0.take()
    }
}

impl Interrupts for FakeInterrupts {
    fn message(&self, address: u64, data: u32) {
        self.0.borrow_mut().push((address, data));
    }
    fn pin(&self, _: u8, _: bool) {
        panic!("virtio devices have no pins");
    }
}

/// A waker that counts.
#[derive(Default)]
pub struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Woken {
    /// How often it was woken since this was last asked.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A descriptor's flags.
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// A piece of a request: address, bytes, and whether the device writes it.
pub type Piece = (u64, u32, bool);

/// The driver's side of a split virtqueue: everything in one block of memory.
pub struct DriverQueue {
    pub memory: Rc<FakeMemory>,
    pub size: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    next_descriptor: u16,
    pub next_available: u16,
    next_used: u16,
}

impl DriverQueue {
    /// In a block of [`DriverQueue::bytes`] bytes at `base`, which is a multiple of 16.
    pub fn new(memory: Rc<FakeMemory>, base: u64, size: u16) -> Self {
        let entries = u64::from(size);
        let available = base + 16 * entries;
        let used = (available + 6 + 2 * entries).next_multiple_of(4);
        memory.write(base, &vec![0; Self::bytes(size) as usize]).unwrap();
        Self {
            memory,
            size,
            descriptors: base,
            available,
            used,
            next_descriptor: 0,
            next_available: 0,
            next_used: 0,
        }
    }

    pub fn bytes(size: u16) -> u64 {
        16 * u64::from(size) + 6 + 2 * u64::from(size) + 4 + 6 + 8 * u64::from(size)
    }

    /// What the device is told of it.
    pub fn state(&self) -> QueueState {
        QueueState {
            size: self.size,
            enabled: true,
            descriptors: self.descriptors,
            available: self.available,
            used: self.used,
            ..QueueState::default()
        }
    }

    /// Writes one descriptor of a table.
    pub fn describe(&self, table: u64, at: u16, address: u64, len: u32, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.memory.write(table + 16 * u64::from(at), &bytes).unwrap();
    }

    fn table(&self, table: u64, entries: u16, first: u16, pieces: &[Piece]) {
        for (index, &(address, len, writes)) in pieces.iter().enumerate() {
            let at = (first + index as u16) % entries;
            let more = if index + 1 < pieces.len() { NEXT } else { 0 };
            let flags = more | if writes { WRITE } else { 0 };
            self.describe(table, at, address, len, flags, (at + 1) % entries);
        }
    }

    /// Makes a request available; its name.
    pub fn offer(&mut self, pieces: &[Piece]) -> u16 {
        let head = self.next_descriptor;
        self.table(self.descriptors, self.size, head, pieces);
        self.next_descriptor = (head + pieces.len() as u16) % self.size;
        self.make_available(head);
        head
    }

    /// The same with an indirect table.
    pub fn offer_indirect(&mut self, table: u64, pieces: &[Piece]) -> u16 {
        self.table(table, u16::MAX, 0, pieces);
        let head = self.next_descriptor;
        self.describe(self.descriptors, head, table, 16 * pieces.len() as u32, INDIRECT, 0);
        self.next_descriptor = (head + 1) % self.size;
        self.make_available(head);
        head
    }

    pub fn make_available(&mut self, head: u16) {
        let at = u64::from(self.next_available % self.size);
        self.memory.store_u16(self.available + 4 + 2 * at, head).unwrap();
        self.next_available = self.next_available.wrapping_add(1);
        self.memory.store_u16(self.available + 2, self.next_available).unwrap();
    }

    /// The answers since this was last asked, names and lengths; the next one shall interrupt.
    pub fn answers(&mut self) -> Vec<(u16, u32)> {
        let mut answers = Vec::new();
        while self.next_used != self.memory.u16(self.used + 2) {
            let at = u64::from(self.next_used % self.size);
            let bytes = self.memory.bytes(self.used + 4 + 8 * at, 8);
            let element = u64::from_le_bytes(bytes.try_into().unwrap());
            answers.push((element as u16, (element >> 32) as u32));
            self.next_used = self.next_used.wrapping_add(1);
        }
        self.set_used_event(self.next_used);
        answers
    }

    /// After which answer the driver wants an interrupt.
    pub fn set_used_event(&self, index: u16) {
        self.memory.store_u16(self.available + 4 + 2 * u64::from(self.size), index).unwrap();
    }

    /// After which request the device wants to be notified.
    pub fn available_event(&self) -> u16 {
        self.memory.u16(self.used + 4 + 8 * u64::from(self.size))
    }

    pub fn set_no_interrupt(&self, flag: bool) {
        self.memory.store_u16(self.available, flag.into()).unwrap();
    }
}
