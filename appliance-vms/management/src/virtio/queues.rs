//! A device's view of its queues.

use super::Features;
use super::ring::{Chain, Fault};
use super::transport::Transport;
use crate::memory::GuestMemory;

/// The work of a turn for each queue, in descriptors, and what a request costs beside its own: a task must
/// come back soon, whatever its guest asks.
pub(super) const TURN: u16 = 2048;
const REQUEST: u16 = 16;

/// The queues of a device, with the guest's memory, for one turn. What is answered in a turn is shown to
/// the driver at its end, with one interrupt at most for each queue.
pub struct Queues<'a> {
    pub(super) transport: &'a mut Transport,
    pub(super) memory: &'a dyn GuestMemory,
    /// The driver has started the device, lets it use memory, and has done nothing wrong.
    pub(super) live: bool,
    /// There may be more to do than this turn had time for.
    pub(super) more: bool,
}

impl Queues<'_> {
    /// The guest's memory.
    pub fn memory(&self) -> &dyn GuestMemory {
        self.memory
    }

    /// What both sides can do.
    pub fn features(&self) -> Features {
        self.transport.features()
    }

    /// Whether there is a driver to work for.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether there is time to begin with another request from a queue; if not, there is another turn.
    pub fn may_begin(&mut self, queue: u16) -> bool {
        let may = self.transport.work(queue, 0) > 0;
        self.more |= !may;
        may
    }

    /// Takes the next request from a queue; none from one that is not enabled.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn pop(&mut self, queue: u16) -> Result<Option<Chain>, Fault> {
        let ring = self.transport.ring(queue, self.memory).filter(|_| self.live);
        let chain = ring.map_or(Ok(None), |mut ring| ring.pop())?;
        if let Some(chain) = &chain {
            self.transport.work(queue, REQUEST + chain.descriptors);
        }
        Ok(chain)
    }

    /// Puts the last `count` requests back that were taken and not answered.
    pub fn give_back(&mut self, queue: u16, count: u16) {
        if let Some(mut ring) = self.transport.ring(queue, self.memory) {
            ring.give_back(count);
        }
    }

    /// Answers the request of that name, with `written` bytes in its writable buffers.
    ///
    /// # Errors
    /// [`Fault::NotRam`].
    pub fn push(&mut self, queue: u16, head: u16, written: u64) -> Result<(), Fault> {
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        let ring = self.transport.ring(queue, self.memory).filter(|_| self.live);
        ring.map_or(Ok(()), |mut ring| ring.push(head, written))
    }

    /// The device's configuration has changed: the driver is told.
    pub fn configuration_changed(&mut self) {
        self.transport.configuration_changed();
    }
}
