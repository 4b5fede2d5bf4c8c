//! A pair of queues (section 4.1).

use super::layout::{COMMAND, COMPLETION, register};
use crate::drivers::dma::{Dma, DmaMemory};
use crate::drivers::registers::DeviceRegisters;
use alloc::boxed::Box;
use alloc::vec;

/// A command as the disk reads it.
pub(super) type Dwords = [u32; COMMAND / 4];

/// What became of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    /// The command's own number.
    pub(super) id: u16,
    /// 0 is success.
    pub(super) status: u16,
}

/// A submission queue and its completion queue, of the same depth. Whoever pushes has fewer commands
/// on their way than it is deep: so neither queue overflows.
pub(super) struct Queue {
    commands: Box<dyn DmaMemory>,
    completions: Box<dyn DmaMemory>,
    depth: u16,
    tail: u16,
    head: u16,
    /// What the phase bit of a new completion is.
    phase: bool,
}

impl Queue {
    pub(super) fn new(dma: &dyn Dma, depth: u16) -> Option<Self> {
        let commands = dma.allocate(usize::from(depth) * COMMAND)?;
        let completions = dma.allocate(usize::from(depth) * COMPLETION)?;
        Some(Self { commands, completions, depth, tail: 0, head: 0, phase: true })
    }

    /// As when new: the disk forgets its queues at a reset.
    pub(super) fn reset(&mut self) {
        self.completions.write(0, &vec![0; usize::from(self.depth) * COMPLETION]);
        (self.tail, self.head, self.phase) = (0, 0, true);
    }

    /// Where the disk finds commands and completions.
    pub(super) fn addresses(&self) -> (u64, u64) {
        (self.commands.host().address, self.completions.host().address)
    }

    /// Puts a command in; the disk looks after [`Self::ring`].
    pub(super) fn push(&mut self, command: &Dwords) {
        let start = usize::from(self.tail) * COMMAND;
        for (at, dword) in command.iter().enumerate() {
            self.commands.store(start + at * 4, *dword);
        }
        self.tail = (self.tail + 1) % self.depth;
    }

    /// Tells the disk of all that was put in. `stride` is bytes between doorbells.
    pub(super) fn ring(&self, registers: &dyn DeviceRegisters, number: u64, stride: u64) {
        registers.write(register::DOORBELLS + 2 * number * stride, u32::from(self.tail));
    }

    /// The next completion.
    pub(super) fn pop(&mut self) -> Option<Completion> {
        // The last dword has the phase, which the disk writes last.
        let last = self.completions.load(usize::from(self.head) * COMPLETION + 12);
        if (last >> 16 & 1 == 1) != self.phase {
            return None;
        }
        self.head = (self.head + 1) % self.depth;
        if self.head == 0 {
            self.phase = !self.phase;
        }
        // Bits 14–13 say whether to retry and where to read more.
        Some(Completion { id: last as u16, status: (last >> 17) as u16 & 0x7ff })
    }

    /// Tells the disk which completions were seen.
    pub(super) fn acknowledge(&self, registers: &dyn DeviceRegisters, number: u64, stride: u64) {
        registers.write(register::DOORBELLS + (2 * number + 1) * stride, u32::from(self.head));
    }
}
