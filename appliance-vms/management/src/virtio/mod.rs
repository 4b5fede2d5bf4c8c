//! A guest's virtio devices (virtio 1.2), each a function on its PCI bus.
//!
//! A device is a [`Device`]: what it offers, and what it does with requests in its queues.
//! [`VirtioFunction`] makes a PCI function of it: registers, features, interrupts, and what becomes of a
//! driver that breaks the rules. A device that was driven wrongly needs a reset, and does nothing until it
//! is reset; [`VirtioFunction::fault`] says what was wrong.
//!
//! The bus answers the guest's accesses, and a task polls the device. A write to a doorbell comes in
//! either way, as an access or as an event that hv has set for it:
//!
//! ```no_run
//! # use core::task::{Context, Poll};
//! # use core::future::poll_fn;
//! # use std::rc::Rc;
//! # use management::block::BlockDevice;
//! # use management::pci::{Bridge, Bus, PlugError};
//! # use management::virtio::{blk::Blk, Guest, VirtioFunction};
//! # async fn example(disk: Rc<dyn BlockDevice>, guest: Guest) -> Result<(), PlugError> {
//! let mut bridge = Bridge::new(Bus { ecam: 0xb000_0000, window: 0xc000_0000..0xe000_0000 });
//! let blk = VirtioFunction::new(Blk::new(disk, "music-data", 2), guest);
//! bridge.plug(3, blk.clone())?;
//!
//! // An access of a vCPU: who answers?
//! let value = bridge.mmio_read(0xb001_8000, 4);
//! // After accesses: have doorbells moved? Then bind them anew.
//! if bridge.take_moved() {
//!     for bell in bridge.doorbells() {
//!         println!("a write at {:#x} is for queue {} of slot {}", bell.address, bell.queue, bell.slot);
//!     }
//! }
//! // A doorbell's event:
//! blk.borrow().notify();
//! // The device's task:
//! poll_fn(|context| { blk.borrow_mut().poll(context); Poll::<()>::Pending }).await;
//! # Ok(())
//! # }
//! ```
//!
//! Functions are shared by bus and task, and borrowed for the time of one call: wakers, interrupts and disks
//! that are called meanwhile must not call back at once.
//!
//! What a queue's owner must know to go on after a restart is in [`ring::QueueState`].

pub mod blk;
pub mod console;
mod function;
#[cfg(test)]
mod fuzz;
pub mod gpu;
pub mod input;
pub mod layout;
pub mod net;
mod queues;
pub mod ring;
pub mod rng;
pub mod sound;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
mod transport;

pub use function::VirtioFunction;
pub use queues::Queues;

use crate::interrupts::Interrupts;
use crate::memory::GuestMemory;
use alloc::rc::Rc;
use core::task::Context;
use ring::Fault;

/// The guest that a device belongs to.
#[derive(Clone)]
pub struct Guest {
    /// Its RAM.
    pub memory: Rc<dyn GuestMemory>,
    /// Its interrupts.
    pub interrupts: Rc<dyn Interrupts>,
}

/// A set of features, by their bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// Indirect descriptors (6, VIRTIO_F_INDIRECT_DESC).
    pub const INDIRECT: u32 = 28;
    /// Both sides say by index when they want to hear of the other (6, VIRTIO_F_EVENT_IDX).
    pub const EVENT_INDEX: u32 = 29;
    /// The device is of version 1 of the specification (6, VIRTIO_F_VERSION_1).
    pub const VERSION_1: u32 = 32;
    /// What the transport offers for every device.
    pub const TRANSPORT: u64 = 1 << Self::INDIRECT | 1 << Self::EVENT_INDEX | 1 << Self::VERSION_1;

    /// Whether feature number `bit` is among them.
    pub const fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Number (virtio 1.2, 5).
    pub number: u16,
    /// PCI class, subclass and programming interface.
    pub class: u32,
}

/// A virtio device.
pub trait Device {
    /// What it is.
    const KIND: Kind;
    /// The features it offers, without the transport's.
    fn features(&self) -> Features;
    /// The most entries of each of its queues, all powers of two.
    fn queues(&self) -> alloc::vec::Vec<u16>;
    /// Its configuration structure, little-endian.
    fn configuration(&self) -> alloc::vec::Vec<u8>;
    /// The driver writes `bytes` to its configuration structure, `offset` bytes from its start. Most have
    /// nothing there that can be written.
    fn configure(&mut self, _offset: u64, _bytes: &[u8]) {}
    /// Does what there is to do, as long as [`Queues::may_begin`]; `context` is woken when something of its
    /// own is done. Of new requests the transport is told.
    ///
    /// # Errors
    /// [`Fault`]: the device needs a reset.
    fn poll(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault>;
    /// Forgets the driver, its requests and what they were to be answered.
    fn reset(&mut self);
    /// Whether nothing that it began still reads or writes the guest's memory. A driver sees a reset end
    /// only then, because it uses that memory for something else from there on.
    fn is_quiet(&self) -> bool {
        true
    }
}
