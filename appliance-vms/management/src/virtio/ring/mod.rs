//! The device's side of a split virtqueue (virtio 1.2, 2.7).
//!
//! The driver owns the memory and may write it at any time, so everything is read once, checked, and
//! never read back. What it does wrong is a [`Fault`]: the device does nothing more until it is reset.

mod chain;
#[cfg(test)]
mod tests;

pub use chain::{Buffer, Buffers, Chain};

use super::layout::descriptor::{INDIRECT, NEXT, WRITABLE};
use crate::memory::{GuestMemory, NotRam};
use core::fmt;
use core::sync::atomic::{Ordering, fence};

/// Most descriptors of one request, its indirect table's included. The specification says the queue's
/// size, but Linux makes indirect tables without asking for it; QEMU draws the line here too.
const LONGEST_CHAIN: u16 = 1024;
/// Largest queue (2.7).
pub const MAX_QUEUE: u16 = 1 << 15;
/// Bytes of a descriptor: address, length, flags, next (2.7.5).
const DESCRIPTOR: u64 = 16;
/// Bytes of an element of the used ring: head, length (2.7.8).
const USED_ELEMENT: u64 = 8;
/// Bytes of flags and index, at the start of both rings; the index is in the second half.
const HEADER: u64 = 4;
const INDEX: u64 = 2;

/// Flag of the available ring: no interrupts, please.
const NO_INTERRUPT: u16 = 1;

/// What a driver did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something that should be is not in RAM.
    NotRam(NotRam),
    /// A queue's size is not a power of two, or its parts lie where they can't.
    Queue,
    /// More requests are available than the queue can hold.
    Index,
    /// A descriptor's number is beyond its table.
    Descriptor,
    /// A chain is longer than it can be: it has a loop.
    Loop,
    /// An indirect table inside another, with a link, empty, in pieces, or that nobody had agreed on.
    Indirect,
    /// Something to read after something to write.
    Order,
    /// A request that the device can't even refuse: no place for an answer.
    Request,
}

impl From<NotRam> for Fault {
    fn from(not_ram: NotRam) -> Self {
        Self::NotRam(not_ram)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRam(NotRam { address, len }) => write!(f, "{len} bytes at {address:#x} are not RAM"),
            Self::Queue => write!(f, "a queue's size or place is wrong"),
            Self::Index => write!(f, "more requests are available than the queue holds"),
            Self::Descriptor => write!(f, "a descriptor's number is beyond its table"),
            Self::Loop => write!(f, "a chain of descriptors has a loop"),
            Self::Indirect => write!(f, "a table of indirect descriptors is wrong"),
            Self::Order => write!(f, "a descriptor to read comes after one to write"),
            Self::Request => write!(f, "a request has no place for its answer"),
        }
    }
}

/// A queue: where it is and how far both sides have come. This is all that the device needs to go on
/// with a queue after a restart, together with the features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Entries; a power of two once it is enabled.
    pub size: u16,
    /// The driver has set it up.
    pub enabled: bool,
    /// MSI-X vector of its interrupts.
    pub vector: u16,
    /// Guest-physical address of the descriptor table.
    pub descriptors: u64,
    /// Of the available ring, which the driver writes.
    pub available: u64,
    /// Of the used ring, which the device writes.
    pub used: u64,
    /// Index of the next request to be taken from the available ring.
    pub next_available: u16,
    /// Index of the next answer to be put into the used ring.
    pub next_used: u16,
    /// The used ring's index as the driver last was shown it.
    pub shown: u16,
}

impl QueueState {
    /// Checks size, alignment and that no part wraps around (2.7, table).
    ///
    /// # Errors
    /// [`Fault::Queue`].
    pub fn check(&self) -> Result<(), Fault> {
        let size = u64::from(self.size);
        let fits = |address: u64, bytes: u64, align: u64| {
            address.is_multiple_of(align) && address.checked_add(bytes).is_some()
        };
        let good = self.size.is_power_of_two()
            && self.size <= MAX_QUEUE
            && fits(self.descriptors, DESCRIPTOR * size, 16)
            && fits(self.available, HEADER + 2 * size + 2, 2)
            && fits(self.used, HEADER + USED_ELEMENT * size + 2, 4);
        good.then_some(()).ok_or(Fault::Queue)
    }

    /// Where the driver says after which answer it wants an interrupt.
    fn used_event(&self) -> u64 {
        self.available + HEADER + 2 * u64::from(self.size)
    }

    /// Where the device says after which request it wants to be notified.
    fn available_event(&self) -> u64 {
        self.used + HEADER + USED_ELEMENT * u64::from(self.size)
    }
}

/// An enabled, checked queue with the memory that it lies in.
pub struct Ring<'a> {
    /// The queue.
    pub queue: &'a mut QueueState,
    /// The guest's memory.
    pub memory: &'a dyn GuestMemory,
    /// Both sides say by index when they want to hear of the other (2.7.7, 2.7.10).
    pub event_index: bool,
    /// There may be indirect descriptors (2.7.5.3).
    pub indirect: bool,
}

impl Ring<'_> {
    /// Takes the next request. If there is none, the driver notifies when there is.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn pop(&mut self) -> Result<Option<Chain>, Fault> {
        if self.waiting()? == 0 {
            if self.event_index {
                self.memory.store_u16(self.queue.available_event(), self.queue.next_available)?;
                // The driver must see this before we look once more, or both would wait (2.7.10).
                fence(Ordering::SeqCst);
            }
            if !self.event_index || self.waiting()? == 0 {
                return Ok(None);
            }
        }
        let at = u64::from(self.queue.next_available & (self.queue.size - 1));
        let head = self.memory.load_u16(self.queue.available + HEADER + 2 * at)?;
        let chain = self.chain(head)?;
        self.queue.next_available = self.queue.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Puts the last `count` requests back that were taken and not answered.
    pub fn give_back(&mut self, count: u16) {
        self.queue.next_available = self.queue.next_available.wrapping_sub(count);
    }

    /// Answers a request, with `written` bytes in its writable buffers. The driver sees it after
    /// [`Ring::show`].
    ///
    /// # Errors
    /// [`Fault::NotRam`].
    pub fn push(&mut self, head: u16, written: u32) -> Result<(), Fault> {
        let at = u64::from(self.queue.next_used & (self.queue.size - 1));
        let element = u64::from(head) | u64::from(written) << 32;
        self.memory.write(self.queue.used + HEADER + USED_ELEMENT * at, &element.to_le_bytes())?;
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        Ok(())
    }

    /// Shows the driver all answers; whether it wants an interrupt for them.
    ///
    /// # Errors
    /// [`Fault::NotRam`].
    pub fn show(&mut self) -> Result<bool, Fault> {
        let (old, new) = (self.queue.shown, self.queue.next_used);
        if old == new {
            return Ok(false);
        }
        self.memory.store_u16(self.queue.used + INDEX, new)?;
        self.queue.shown = new;
        // The driver enables interrupts and then looks at the index; we the other way round.
        fence(Ordering::SeqCst);
        if self.event_index {
            let event = self.memory.load_u16(self.queue.used_event())?;
            return Ok(new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old));
        }
        Ok(self.memory.load_u16(self.queue.available)? & NO_INTERRUPT == 0)
    }

    /// How many requests wait. Those and the ones not yet answered fit the queue, whatever the driver's
    /// index says.
    fn waiting(&self) -> Result<u16, Fault> {
        let index = self.memory.load_u16(self.queue.available + INDEX)?;
        if index.wrapping_sub(self.queue.next_used) > self.queue.size {
            return Err(Fault::Index);
        }
        // An index that went back lies before what was taken.
        let taken = self.queue.next_available.wrapping_sub(self.queue.next_used);
        index.wrapping_sub(self.queue.next_used).checked_sub(taken).ok_or(Fault::Index)
    }

    /// Follows a chain. Normal descriptors may end in one that refers to an indirect table (2.7.5.3.2).
    fn chain(&self, head: u16) -> Result<Chain, Fault> {
        let (readable, writable) = (Buffers::default(), Buffers::default());
        let mut chain = Chain { head, readable, writable, descriptors: 0 };
        let (mut table, mut entries) = (self.queue.descriptors, u32::from(self.queue.size));
        let (mut number, mut in_table) = (u32::from(head), false);
        let mut writes = false;
        while chain.descriptors < LONGEST_CHAIN {
            chain.descriptors += 1;
            if number >= entries {
                return Err(Fault::Descriptor);
            }
            let Descriptor { address, len, flags, next } = self.descriptor(table, number)?;
            if flags & INDIRECT != 0 {
                if in_table || !self.indirect || flags & NEXT != 0 || len == 0 || len % DESCRIPTOR as u32 != 0
                {
                    return Err(Fault::Indirect);
                }
                (table, entries, number, in_table) = (address, len / DESCRIPTOR as u32, 0, true);
                continue;
            }
            let buffer = Buffer { address, len };
            if flags & WRITABLE != 0 {
                writes = true;
                chain.writable.push(buffer);
            } else if writes {
                return Err(Fault::Order);
            } else {
                chain.readable.push(buffer);
            }
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            number = u32::from(next);
        }
        Err(Fault::Loop)
    }

    fn descriptor(&self, table: u64, number: u32) -> Result<Descriptor, Fault> {
        let mut bytes = [0; DESCRIPTOR as usize];
        let wrong = NotRam { address: table, len: DESCRIPTOR };
        let address = table.checked_add(DESCRIPTOR * u64::from(number)).ok_or(wrong)?;
        self.memory.read(address, &mut bytes)?;
        let all = u128::from_le_bytes(bytes);
        Ok(Descriptor {
            address: all as u64,
            len: (all >> 64) as u32,
            flags: (all >> 96) as u16,
            next: (all >> 112) as u16,
        })
    }
}

/// An entry of a descriptor table.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}
