//! virtio devices on PCI, by their registers and split queues; whether the driver is a good one is its
//! owner's affair. Virtual I/O Device 1.2, 2.7 and 4.1.

use crate::memory::{fill, load, store};
use crate::{clock, pci};
use core::sync::atomic::{Ordering, fence};

/// PCI IDs of devices: vendor, and the first device's number. 4.1.2.
const VENDOR: u32 = 0x1af4;
const FIRST: u32 = 0x1040;
/// Kinds of devices. 5.
pub const NET: u32 = 1;
/// See [`NET`].
pub const BLOCK: u32 = 2;
/// See [`NET`].
pub const CONSOLE: u32 = 3;
/// See [`NET`].
pub const ENTROPY: u32 = 4;
/// See [`NET`].
pub const GPU: u32 = 16;
/// See [`NET`].
pub const INPUT: u32 = 18;
/// See [`NET`].
pub const SOUND: u32 = 25;

/// The vendor's capability, and kinds of structures that it names. 4.1.4.
const VENDOR_CAPABILITY: u8 = 9;
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const CONFIGURATION: u8 = 4;

/// Fields of the common configuration. 4.1.4.3.
pub mod field {
    /// Which half of the device's features.
    pub const DEVICE_FEATURE_SELECT: u64 = 0;
    /// The features it offers.
    pub const DEVICE_FEATURE: u64 = 4;
    /// Which half of the driver's features.
    pub const DRIVER_FEATURE_SELECT: u64 = 8;
    /// The features it accepts.
    pub const DRIVER_FEATURE: u64 = 12;
    /// How many queues there are.
    pub const QUEUES: u64 = 18;
    /// The device's status.
    pub const STATUS: u64 = 20;
    /// Which queue the following fields are of.
    pub const QUEUE_SELECT: u64 = 22;
    /// Its entries.
    pub const QUEUE_SIZE: u64 = 24;
    /// Its vector.
    pub const QUEUE_VECTOR: u64 = 26;
    /// Whether it is in use.
    pub const QUEUE_ENABLE: u64 = 28;
    /// Its descriptors.
    pub const QUEUE_DESCRIPTORS: u64 = 32;
    /// Its available ring.
    pub const QUEUE_AVAILABLE: u64 = 40;
    /// Its used ring.
    pub const QUEUE_USED: u64 = 48;
    /// Bytes of all.
    pub const END: u64 = 56;
}

/// The device's status: acknowledged and has a driver, features agreed, driver ready. 2.1.
const DRIVER: u8 = 3;
const FEATURES_OK: u8 = 8;
const DRIVER_OK: u8 = 4;
/// The feature that both must have. 6.
pub const VERSION_1: u64 = 1 << 32;
/// Flags of descriptors. 2.7.5.
pub const NEXT: u16 = 1;
/// See [`NEXT`].
pub const WRITE: u16 = 2;
/// See [`NEXT`].
pub const INDIRECT: u16 = 4;

/// A device on the bus.
#[derive(Clone, Copy)]
pub struct Device {
    /// Its place.
    pub slot: u8,
    /// Its kind.
    pub kind: u32,
    /// Its BARs as they were found.
    pub bars: [u32; 6],
    /// Common configuration.
    pub common: u64,
    /// Where queues are notified.
    pub notify: u64,
    /// The device's own configuration.
    pub configuration: u64,
    step: u64,
}

impl Device {
    /// All that there are.
    pub fn all() -> impl Iterator<Item = Self> {
        pci::devices().filter_map(|(slot, ids)| {
            let kind = (ids >> 16).checked_sub(FIRST)?;
            (ids & 0xffff == VENDOR).then(|| Self::at(slot, kind))
        })
    }

    fn at(slot: u8, kind: u32) -> Self {
        let bars = pci::bars(slot);
        pci::enable(slot, &bars);
        let mut device = Self { slot, kind, bars, common: 0, notify: 0, configuration: 0, step: 0 };
        for (at, _) in pci::capabilities(slot).filter(|(_, number)| *number == VENDOR_CAPABILITY) {
            let structure = (pci::read_32(slot, at) >> 24) as u8;
            let bar = pci::read_32(slot, at + 4) as u8;
            let address = pci::bar(slot, bar) + u64::from(pci::read_32(slot, at + 8));
            match structure {
                COMMON => device.common = address,
                NOTIFY => {
                    device.notify = address;
                    device.step = u64::from(pci::read_32(slot, at + 16));
                }
                CONFIGURATION => device.configuration = address,
                _ => {}
            }
        }
        device
    }

    /// Resets it and agrees on `wanted` of what it offers; whether it has come back and agrees.
    pub fn begin(&self, wanted: u64) -> bool {
        self.set_status(0);
        if !clock::wait(10_000, || self.status() == 0) {
            return false;
        }
        self.set_status(DRIVER);
        let half = |number: u32| {
            store(self.common + field::DEVICE_FEATURE_SELECT, number);
            let offered = load::<u32>(self.common + field::DEVICE_FEATURE);
            store(self.common + field::DRIVER_FEATURE_SELECT, number);
            store(self.common + field::DRIVER_FEATURE, offered & (wanted >> (32 * number)) as u32);
        };
        half(0);
        half(1);
        self.set_status(DRIVER | FEATURES_OK);
        self.status() & FEATURES_OK != 0
    }

    /// The driver is ready.
    pub fn go(&self) {
        self.set_status(DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// Its status.
    pub fn status(&self) -> u8 {
        load(self.common + field::STATUS)
    }

    /// Writes it.
    pub fn set_status(&self, status: u8) {
        store(self.common + field::STATUS, status);
    }

    /// How many queues it has.
    pub fn queues(&self) -> u16 {
        load(self.common + field::QUEUES)
    }

    /// Puts a queue into 16 KiB at `base`.
    pub fn queue(&self, number: u16, base: u64) -> Queue {
        self.queue_after(number, base, || {})
    }

    /// The same, when something is done before it is enabled.
    pub fn queue_after(&self, number: u16, base: u64, before: impl FnOnce()) -> Queue {
        store(self.common + field::QUEUE_SELECT, number);
        let size = load::<u16>(self.common + field::QUEUE_SIZE).min(Queue::MOST);
        let notify = self.notify + self.step * u64::from(number);
        let queue = Queue { number, base, size, notify, free: 0, offered: 0, seen: 0 };
        fill(base, Queue::BYTES, 0);
        store(self.common + field::QUEUE_SIZE, size);
        store(self.common + field::QUEUE_DESCRIPTORS, queue.descriptors());
        store(self.common + field::QUEUE_AVAILABLE, queue.available());
        store(self.common + field::QUEUE_USED, queue.used());
        before();
        store(self.common + field::QUEUE_ENABLE, 1u16);
        queue
    }
}

/// A part of a request: address, bytes, and whether the device writes it.
pub type Piece = (u64, u32, bool);

/// A split queue.
#[derive(Clone, Copy)]
pub struct Queue {
    number: u16,
    base: u64,
    /// Its entries.
    pub size: u16,
    notify: u64,
    free: u16,
    offered: u16,
    seen: u16,
}

impl Queue {
    /// Most entries here.
    pub const MOST: u16 = 256;
    /// Bytes for one: 4 KiB of descriptors, available ring, used ring.
    pub const BYTES: u64 = 0x3000;

    /// Its descriptors.
    pub const fn descriptors(&self) -> u64 {
        self.base
    }

    /// Its available ring.
    pub const fn available(&self) -> u64 {
        self.base + 0x1000
    }

    /// Its used ring.
    pub const fn used(&self) -> u64 {
        self.base + 0x2000
    }

    /// Writes a descriptor of a table.
    pub fn describe(table: u64, at: u64, (address, len): (u64, u32), flags: u16, next: u16) {
        let entry = table + 16 * at;
        store(entry, address);
        store(entry + 8, len);
        store(entry + 12, flags);
        store(entry + 14, next);
    }

    /// Makes the chain at a descriptor available; the device is not told.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.offered % self.size.max(1));
        store(self.available() + 4 + 2 * slot, head);
        self.offered = self.offered.wrapping_add(1);
        fence(Ordering::SeqCst);
        self.set_offered(self.offered);
    }

    /// Says how many chains are available.
    pub fn set_offered(&mut self, count: u16) {
        self.offered = count;
        store(self.available() + 2, count);
        fence(Ordering::SeqCst);
    }

    /// Tells the device.
    pub fn notify(&self) {
        store(self.notify, self.number);
    }

    /// Offers a lawful request and tells the device.
    pub fn send(&mut self, pieces: &[Piece]) {
        let head = self.free;
        for (left, &(address, len, write)) in (0..pieces.len()).rev().zip(pieces) {
            let at = self.free;
            self.free = (self.free + 1) % self.size;
            let flags = if write { WRITE } else { 0 } | if left == 0 { 0 } else { NEXT };
            Self::describe(self.descriptors(), at.into(), (address, len), flags, self.free);
        }
        self.offer(head);
        self.notify();
    }

    /// How many answers were taken, modulo 2^16.
    pub const fn answers(&self) -> u16 {
        self.seen
    }

    /// The bytes of an answer, if one has come.
    pub fn answer(&mut self) -> Option<u32> {
        if load::<u16>(self.used() + 2) == self.seen {
            return None;
        }
        fence(Ordering::SeqCst);
        let slot = u64::from(self.seen % self.size);
        self.seen = self.seen.wrapping_add(1);
        Some(load(self.used() + 4 + 8 * slot + 4))
    }

    /// Waits for an answer, for some seconds.
    pub fn wait(&mut self) -> Option<u32> {
        let mut answer = None;
        clock::wait(10_000, || {
            answer = self.answer();
            answer.is_some()
        });
        answer
    }
}
