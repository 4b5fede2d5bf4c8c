//! A machine with a bus, and a driver that does with a device what Linux's does.

use super::{DriverQueue, FakeInterrupts, FakeMemory, Piece, Woken};
use crate::pci::{Bridge, Bus, Shared};
use crate::virtio::{Device, Guest, VirtioFunction};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Waker};

const ECAM: u64 = 0xb000_0000;
const WINDOW: u64 = 0xc000_0000;
const RAM: usize = 0x20_0000;
/// The slot that devices are plugged into.
const SLOT: u8 = 3;
/// Where queues begin in RAM.
const QUEUES: u64 = 0x10_0000;
const QUEUE_BYTES: u64 = 0x4000;
/// Offsets into configuration space.
pub const COMMAND: u64 = 4;
const CAPABILITIES: u64 = 0x34;
/// The address of all messages; the data are the vector's number.
const MESSAGE: u64 = 0xfee0_0000;
/// Device status: ACKNOWLEDGE and DRIVER, FEATURES_OK, DRIVER_OK.
const FOUND: u64 = 3;
const FEATURES_OK: u64 = 8;
const DRIVER_OK: u64 = 4;

/// A guest's machine.
pub struct Machine {
    pub memory: Rc<FakeMemory>,
    pub interrupts: Rc<FakeInterrupts>,
    pub bridge: Bridge,
    pub woken: Arc<Woken>,
}

impl Machine {
    pub fn new() -> Self {
        Self {
            memory: Rc::new(FakeMemory::new(RAM)),
            interrupts: Rc::new(FakeInterrupts::default()),
            bridge: Bridge::new(Bus { ecam: ECAM, window: WINDOW..WINDOW + 0x1_8000 }),
            woken: Arc::default(),
        }
    }

    pub fn guest(&self) -> Guest {
        Guest { memory: self.memory.clone(), interrupts: self.interrupts.clone() }
    }

    pub fn config_address(slot: u8, offset: u64) -> u64 {
        ECAM + (u64::from(slot) << 15) + offset
    }

    pub fn config_read(&mut self, slot: u8, offset: u64, size: u8) -> u64 {
        self.bridge.mmio_read(Self::config_address(slot, offset), size).unwrap()
    }

    pub fn config_write(&mut self, slot: u8, offset: u64, size: u8, value: u64) {
        assert!(self.bridge.mmio_write(Self::config_address(slot, offset), size, value));
    }
}

/// A device and its driver.
pub struct Driver<D> {
    pub machine: Machine,
    pub function: Shared<VirtioFunction<D>>,
    /// Guest-physical addresses of the device's structures, and of its MSI-X table.
    pub common: u64,
    pub isr: u64,
    pub notify: u64,
    pub configuration: u64,
    pub table: u64,
    pub queues: Vec<DriverQueue>,
    pub features: u64,
}

impl<D: Device + 'static> Driver<D> {
    /// Plugs a device in, and finds its structures.
    pub fn probe(device: D) -> Self {
        Self::probe_in(Machine::new(), device)
    }

    /// The same in a machine that is there.
    pub fn probe_in(mut machine: Machine, device: D) -> Self {
        let function = VirtioFunction::new(device, machine.guest());
        machine.bridge.plug(SLOT, function.clone()).unwrap();
        let mut driver = Self {
            machine,
            function,
            common: 0,
            isr: 0,
            notify: 0,
            configuration: 0,
            table: 0,
            queues: Vec::new(),
            features: 0,
        };
        driver.config_write(COMMAND, 2, 6);
        driver.find_structures();
        driver
    }

    pub fn config_read(&mut self, offset: u64, size: u8) -> u64 {
        self.machine.config_read(SLOT, offset, size)
    }

    pub fn config_write(&mut self, offset: u64, size: u8, value: u64) {
        self.machine.config_write(SLOT, offset, size, value);
    }

    pub fn read(&mut self, address: u64, size: u8) -> u64 {
        self.machine.bridge.mmio_read(address, size).unwrap()
    }

    pub fn write(&mut self, address: u64, size: u8, value: u64) {
        assert!(self.machine.bridge.mmio_write(address, size, value), "{address:#x}");
    }

    fn bar(&mut self, index: u64) -> u64 {
        let low = self.config_read(0x10 + 4 * index, 4);
        let high = if low & 4 != 0 { self.config_read(0x14 + 4 * index, 4) } else { 0 };
        (low & !0xf) | high << 32
    }

    /// Walks the list of capabilities.
    pub fn find_structures(&mut self) {
        let mut at = self.config_read(CAPABILITIES, 1);
        while at != 0 {
            let id = self.config_read(at, 1);
            if id == 0x11 {
                let table = self.config_read(at + 4, 4);
                self.table = self.bar(table & 7) + (table & !7);
                self.config_write(at + 2, 2, 0x8000);
            } else {
                assert_eq!(id, 9);
                let bar = self.config_read(at + 4, 1);
                let address = self.bar(bar).wrapping_add(self.config_read(at + 8, 4));
                match self.config_read(at + 3, 1) {
                    1 => self.common = address,
                    2 => self.notify = address,
                    3 => self.isr = address,
                    4 => self.configuration = address,
                    kind => assert_eq!(kind, 5),
                }
            }
            at = self.config_read(at + 1, 1);
        }
    }

    pub fn status(&mut self) -> u64 {
        self.read(self.common + 20, 1)
    }

    pub fn set_status(&mut self, status: u64) {
        self.write(self.common + 20, 1, status);
    }

    /// The features that the device offers.
    pub fn offered(&mut self) -> u64 {
        self.write(self.common, 4, 0);
        let low = self.read(self.common + 4, 4);
        self.write(self.common, 4, 1);
        low | self.read(self.common + 4, 4) << 32
    }

    /// Resets the device, and agrees on those of `features` that it offers; whether it takes them.
    pub fn negotiate(&mut self, features: u64) -> bool {
        self.set_status(0);
        assert_eq!(self.status(), 0);
        self.set_status(FOUND);
        self.features = self.offered() & features;
        for (select, word) in [(0, self.features & 0xffff_ffff), (1, self.features >> 32)] {
            self.write(self.common + 8, 4, select);
            self.write(self.common + 12, 4, word);
        }
        self.set_status(FOUND | FEATURES_OK);
        self.status() == FOUND | FEATURES_OK
    }

    /// Sets all queues and vectors up: vector 0 for the configuration, one for each queue.
    pub fn set_up_queues(&mut self) {
        self.queues.clear();
        self.write(self.common + 16, 2, 0);
        for queue in 0..self.read(self.common + 18, 2) {
            self.write(self.common + 22, 2, queue);
            let size = self.read(self.common + 24, 2) as u16;
            let memory = self.machine.memory.clone();
            let driver = DriverQueue::new(memory, QUEUES + queue * QUEUE_BYTES, size);
            for (offset, address) in [(32, driver.descriptors), (40, driver.available), (48, driver.used)] {
                self.write(self.common + offset, 4, address & 0xffff_ffff);
                self.write(self.common + offset + 4, 4, address >> 32);
            }
            self.write(self.common + 26, 2, queue + 1);
            assert_eq!(self.read(self.common + 26, 2), queue + 1);
            self.write(self.common + 28, 2, 1);
            self.queues.push(driver);
        }
        for vector in 0..=self.queues.len() as u64 {
            self.write(self.table + 16 * vector, 8, MESSAGE);
            self.write(self.table + 16 * vector + 8, 4, vector);
            self.write(self.table + 16 * vector + 12, 4, 0);
        }
    }

    /// Does all that a driver does until the device works.
    pub fn start(device: D, features: u64) -> Self {
        let mut driver = Self::probe(device);
        driver.restart(features);
        driver
    }

    /// The same with a device that was used before.
    pub fn restart(&mut self, features: u64) {
        assert!(self.negotiate(features));
        self.set_up_queues();
        self.set_status(FOUND | FEATURES_OK | DRIVER_OK);
        self.poll();
    }

    /// Gives the device's task turns until it has nothing more to do.
    pub fn poll(&mut self) {
        let waker = Waker::from(self.machine.woken.clone());
        for _ in 0..1000 {
            self.machine.woken.take();
            self.function.borrow_mut().poll(&mut Context::from_waker(&waker));
            if self.machine.woken.take() == 0 {
                return;
            }
        }
        panic!("the device never rests");
    }

    /// Rings a queue's bell and polls.
    pub fn ring(&mut self, queue: usize) {
        self.write(self.notify + 4 * queue as u64, 2, queue as u64);
        assert!(self.machine.woken.take() > 0);
        self.poll();
    }

    /// Makes a request and rings.
    pub fn request(&mut self, queue: usize, pieces: &[Piece]) -> u16 {
        let head = self.queues[queue].offer(pieces);
        self.ring(queue);
        head
    }

    /// The vectors that were raised since this was last asked.
    pub fn vectors(&self) -> Vec<u32> {
        let vector = |(address, data)| {
            assert_eq!(address, MESSAGE);
            data
        };
        self.machine.interrupts.take().into_iter().map(vector).collect()
    }

    /// Copies bytes into the guest's memory.
    pub fn put(&self, address: u64, bytes: &[u8]) {
        crate::memory::GuestMemory::write(&*self.machine.memory, address, bytes).unwrap();
    }
}
