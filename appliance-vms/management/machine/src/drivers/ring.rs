//! The driver's side of a split virtqueue, by physical address. Virtio 1.2, 2.7.
//!
//! `virtio-drivers` has one too, but wants Rust slices for what it hands to the device, and the memory
//! that disks read into is mostly a guest's, which is never a reference.

use crate::dma::{self, Dma};
use alloc::vec::Vec;
use management::memory::HostRange;
use management::virtio::layout::descriptor::{INDIRECT, NEXT, WRITABLE};
use virtio_drivers::transport::Transport;

/// Bytes of a descriptor: address, length, flags, next. 2.7.5.
const DESCRIPTOR: usize = 16;
/// Where each part is in its own page or pages: the available ring's index and entries (2.7.6), and
/// the used ring's (2.7.8).
const INDEX: usize = 2;
const ENTRIES: usize = 4;
const USED_ENTRY: usize = 8;

/// What the device shall do with a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it is.
    pub range: HostRange,
    /// The device writes it; else it reads it.
    pub written: bool,
}

/// Writes the descriptor of `piece` at `index` of a table; `next` is the one behind it.
fn describe(table: &Dma, offset: usize, index: u16, piece: Piece, next: Option<u16>) {
    let at = offset + usize::from(index) * DESCRIPTOR;
    let flags = if piece.written { WRITABLE } else { 0 } | next.map_or(0, |_| NEXT);
    table.write(at, piece.range.address);
    table.write(at + 8, piece.range.len as u32);
    table.write(at + 12, flags);
    table.write(at + 14, next.unwrap_or(0));
}

/// Writes descriptors for `pieces` one after the other at `offset` of `table`; answers how many.
pub fn fill_table(table: &Dma, offset: usize, pieces: impl ExactSizeIterator<Item = Piece>) -> u16 {
    let count = pieces.len() as u16;
    for (index, piece) in (0..count).zip(pieces) {
        describe(table, offset, index, piece, (index + 1 < count).then_some(index + 1));
    }
    count
}

/// A virtqueue whose requests each are one indirect table, or one chain.
pub struct Ring {
    size: u16,
    event_index: bool,
    descriptors: Dma,
    available: Dma,
    used: Dma,
    free: Vec<u16>,
    /// The descriptors of the request that begins at each.
    chains: Vec<Vec<u16>>,
    next_available: u16,
    published: u16,
    next_used: u16,
}

impl Ring {
    /// A ring for `queue`, as large as the device has it but at most `most`; `None`: the heap is full,
    /// or the device has no such queue.
    pub fn new(transport: &mut impl Transport, queue: u16, most: u16, event_index: bool) -> Option<Self> {
        let size = transport.max_queue_size(queue).min(u32::from(most)) as u16;
        if size == 0 {
            return None;
        }
        let bytes = usize::from(size);
        let ring = Self {
            size,
            event_index,
            descriptors: Dma::new(bytes * DESCRIPTOR)?,
            // Each ends with the index at which the other side wants to be told (2.7.6, 2.7.8).
            available: Dma::new(ENTRIES + bytes * 2 + 2)?,
            used: Dma::new(ENTRIES + bytes * USED_ENTRY + 2)?,
            free: (0..size).rev().collect(),
            chains: (0..size).map(|_| Vec::new()).collect(),
            next_available: 0,
            published: 0,
            next_used: 0,
        };
        let place = |part: &Dma| part.range(0, 1).address;
        let (descriptors, available, used) =
            (place(&ring.descriptors), place(&ring.available), place(&ring.used));
        transport.queue_set(queue, size.into(), descriptors, available, used);
        Some(ring)
    }

    /// Whether there is room for a request of so many descriptors.
    pub fn has_room(&self, descriptors: usize) -> bool {
        self.free.len() >= descriptors
    }

    /// How many descriptors it has.
    pub fn size(&self) -> usize {
        self.size.into()
    }

    /// Adds a request of one indirect table (2.7.5.3); answers its number. The device sees it once it is
    /// published. `None`: there is no room.
    pub fn add_table(&mut self, table: HostRange) -> Option<u16> {
        let head = self.free.pop()?;
        describe(&self.descriptors, 0, head, Piece { range: table, written: false }, None);
        self.descriptors.write(usize::from(head) * DESCRIPTOR + 12, INDIRECT);
        self.make_available(head, Vec::new());
        Some(head)
    }

    /// Adds a request of these pieces, a descriptor each, those that the device writes last.
    pub fn add_chain(&mut self, pieces: &[Piece]) -> Option<u16> {
        if pieces.is_empty() || !self.has_room(pieces.len()) {
            return None;
        }
        let mut chain = self.free.split_off(self.free.len() - pieces.len());
        for (at, piece) in pieces.iter().enumerate() {
            describe(&self.descriptors, 0, *chain.get(at)?, *piece, chain.get(at + 1).copied());
        }
        let head = chain.remove(0);
        self.make_available(head, chain);
        Some(head)
    }

    fn make_available(&mut self, head: u16, rest: Vec<u16>) {
        if let Some(place) = self.chains.get_mut(usize::from(head)) {
            *place = rest;
        }
        let slot = usize::from(self.next_available % self.size);
        self.available.write(ENTRIES + 2 * slot, head);
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Shows the device what was added. Answers whether it wants to be notified. 2.7.13.
    pub fn publish(&mut self) -> bool {
        let from = core::mem::replace(&mut self.published, self.next_available);
        dma::barrier();
        self.available.write(INDEX, self.next_available);
        dma::barrier();
        if !self.event_index {
            // 2.7.10: bit 0 of the used ring's flags: no notification is needed.
            return self.used.read::<u16>(0) & 1 == 0;
        }
        let wanted = self.used.read::<u16>(ENTRIES + self.size() * USED_ENTRY);
        // Whether the index that it waits for is among those just added.
        self.next_available.wrapping_sub(wanted).wrapping_sub(1) < self.next_available.wrapping_sub(from)
    }

    /// The next request that the device is done with: its number, and how many bytes it has written.
    /// After `None` the device interrupts for the next one.
    pub fn next_used(&mut self) -> Option<(u16, u32)> {
        if self.used.read::<u16>(INDEX) == self.next_used && !self.ask_for_interrupt() {
            return None;
        }
        dma::barrier();
        let at = ENTRIES + usize::from(self.next_used % self.size) * USED_ENTRY;
        let (head, written) = (self.used.read::<u32>(at) as u16, self.used.read::<u32>(at + 4));
        self.next_used = self.next_used.wrapping_add(1);
        // A number that is no request's shows when its owner looks for it.
        if let Some(rest) = self.chains.get_mut(usize::from(head)) {
            self.free.append(rest);
            self.free.push(head);
        }
        Some((head, written))
    }

    /// Has the device interrupt for the next request that it is done with. Answers whether it has been
    /// done with one meanwhile. 2.7.10.
    fn ask_for_interrupt(&self) -> bool {
        if self.event_index {
            self.available.write(ENTRIES + 2 * self.size(), self.next_used);
        }
        dma::barrier();
        self.used.read::<u16>(INDEX) != self.next_used
    }
}
