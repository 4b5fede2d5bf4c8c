//! The two rings. A descriptor has 16 bytes: address, length and more, status and more.

use super::Model;
use super::layout::{receive, register, transmit};
use crate::drivers::dma::{Dma, DmaMemory};
use crate::drivers::registers::DeviceRegisters;
use crate::nic::MAX_FRAME;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Descriptors of a ring: a multiple of 8, as its length in bytes is one of 128.
pub(super) const RING: usize = 128;
/// Bytes of a buffer.
const BUFFER: usize = 2048;
const DESCRIPTOR: usize = 16;
/// So many buffers are given back to the card at once.
const BATCH: usize = 16;
/// Bytes of an Ethernet header: less is no frame.
const HEADER: usize = 14;

/// Descriptors and their buffers.
struct Ring {
    descriptors: Box<dyn DmaMemory>,
    buffers: Box<dyn DmaMemory>,
}

impl Ring {
    fn new(dma: &dyn Dma) -> Option<Self> {
        let descriptors = dma.allocate(RING * DESCRIPTOR)?;
        Some(Self { descriptors, buffers: dma.allocate(RING * BUFFER)? })
    }

    /// Sets every descriptor to its buffer, with nothing in it.
    fn clear(&self) {
        let start = self.buffers.host().address;
        for at in 0..RING {
            let address = start + (at * BUFFER) as u64;
            self.descriptors.write(at * DESCRIPTOR, &address.to_le_bytes());
            self.descriptors.write(at * DESCRIPTOR + 8, &[0; 8]);
        }
    }

    /// Dword 2 or 3 of a descriptor.
    fn load(&self, at: usize, dword: usize) -> u32 {
        self.descriptors.load(at * DESCRIPTOR + dword * 4)
    }

    fn store(&self, at: usize, dword: usize, value: u32) {
        self.descriptors.store(at * DESCRIPTOR + dword * 4, value);
    }

    /// Tells the card, by its registers for low base, high base and length.
    fn place(&self, registers: &dyn DeviceRegisters, [low, high, len]: [u64; 3]) {
        let address = self.descriptors.host().address;
        registers.write(low, address as u32);
        registers.write(high, (address >> 32) as u32);
        registers.write(len, (RING * DESCRIPTOR) as u32);
    }
}

/// Frames from the cable.
pub(super) struct Receive {
    ring: Ring,
    /// The next descriptor that the card fills.
    next: usize,
    /// How many were emptied and not given back.
    owed: usize,
    /// The rest of a frame that is too long comes.
    skipping: bool,
    pub(super) damaged: u64,
}

impl Receive {
    pub(super) fn new(dma: &dyn Dma) -> Option<Self> {
        Some(Self { ring: Ring::new(dma)?, next: 0, owed: 0, skipping: false, damaged: 0 })
    }

    /// After a reset, with the receiver off: all buffers but one are the card's.
    pub(super) fn start(&mut self, registers: &dyn DeviceRegisters) {
        (self.next, self.owed, self.skipping) = (0, 0, false);
        self.ring.clear();
        self.ring.place(registers, [register::RDBAL, register::RDBAH, register::RDLEN]);
        registers.write(register::RDH, 0);
        registers.write(register::RDT, RING as u32 - 1);
    }

    /// The next good frame; at most a ring of bad ones is passed over.
    pub(super) fn next(&mut self, registers: &dyn DeviceRegisters) -> Option<Vec<u8>> {
        for _ in 0..RING {
            let status = self.ring.load(self.next, 3);
            if status & receive::DONE == 0 {
                self.give_back(registers);
                return None;
            }
            let frame = self.take(status);
            self.ring.store(self.next, 3, 0);
            self.next = (self.next + 1) % RING;
            self.owed += 1;
            if self.owed >= BATCH {
                self.give_back(registers);
            }
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    fn take(&mut self, status: u32) -> Option<Vec<u8>> {
        let len = self.ring.load(self.next, 2) as u16;
        let is_end = status & receive::END != 0;
        let whole = is_end && !self.skipping && status & receive::DAMAGED == 0;
        self.skipping = !is_end;
        let len = Some(usize::from(len)).filter(|len| whole && (HEADER..=MAX_FRAME).contains(len));
        let Some(len) = len else {
            // A long frame is counted once, at its end.
            self.damaged = self.damaged.wrapping_add(u64::from(is_end));
            return None;
        };
        let mut frame = vec![0; len];
        self.ring.buffers.read(self.next * BUFFER, &mut frame);
        Some(frame)
    }

    /// The tail is the first descriptor that is not the card's: one stays empty, or a full ring would
    /// be one that is the driver's.
    fn give_back(&mut self, registers: &dyn DeviceRegisters) {
        if core::mem::take(&mut self.owed) > 0 {
            registers.write(register::RDT, ((self.next + RING - 1) % RING) as u32);
        }
    }
}

/// Frames to the cable.
pub(super) struct Transmit {
    ring: Ring,
    /// Where the next frame goes.
    tail: usize,
    /// The oldest frame that the card has.
    oldest: usize,
    /// Frames that were sent.
    pub(super) sent: u64,
}

impl Transmit {
    pub(super) fn new(dma: &dyn Dma) -> Option<Self> {
        Some(Self { ring: Ring::new(dma)?, tail: 0, oldest: 0, sent: 0 })
    }

    /// After a reset, with the transmitter off: frames that were not sent are lost.
    pub(super) fn start(&mut self, registers: &dyn DeviceRegisters, model: Model) {
        (self.tail, self.oldest) = (0, 0);
        self.ring.clear();
        self.ring.place(registers, [register::TDBAL, register::TDBAH, register::TDLEN]);
        registers.write(register::TDH, 0);
        registers.write(register::TDT, 0);
        registers.write(register::TIPG, transmit::GAP);
        if model == Model::I82574l {
            registers.write(register::TXDCTL, transmit::DESCRIPTORS_82574);
        }
    }

    /// Whether frames wait for the card.
    pub(super) fn is_busy(&self) -> bool {
        self.oldest != self.tail
    }

    /// Takes back what was sent.
    pub(super) fn reclaim(&mut self) {
        while self.is_busy() && self.ring.load(self.oldest, 3) & transmit::DONE != 0 {
            self.oldest = (self.oldest + 1) % RING;
            self.sent = self.sent.wrapping_add(1);
        }
    }

    pub(super) fn send(&mut self, registers: &dyn DeviceRegisters, frame: &[u8]) -> bool {
        self.reclaim();
        let next = (self.tail + 1) % RING;
        if next == self.oldest || !(HEADER..=MAX_FRAME).contains(&frame.len()) {
            return false;
        }
        self.ring.buffers.write(self.tail * BUFFER, frame);
        self.ring.store(self.tail, 3, 0);
        self.ring.store(self.tail, 2, frame.len() as u32 | transmit::SEND);
        self.tail = next;
        registers.write(register::TDT, self.tail as u32);
        true
    }
}
