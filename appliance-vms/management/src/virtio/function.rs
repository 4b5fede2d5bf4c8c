//! A virtio device as a PCI function (virtio 1.2, 4.1).

use super::layout::{FIRST_DEVICE, NO_VECTOR, VENDOR, VENDOR_CAPABILITY, structure};
use super::queues::{Queues, TURN};
use super::ring::{Fault, QueueState};
use super::transport::{COMMON_BYTES, ISR_CONFIG, ISR_QUEUE, Transport};
use super::{Device, Features, Guest};
use crate::bus::nobody;
use crate::memory::GuestMemory;
use crate::pci::{Bar, Bell, COMMAND_MASTER, ConfigSpace, Function, Identity, Msix, Shared, bytes};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::task::{Context, Waker};

/// The board's number: not a transitional device's (4.1.2.1).
const BOARD: u16 = 0x1100;

/// The BAR with the structures below, and the one with the MSI-X table.
const REGISTERS: usize = 0;
const MESSAGES: usize = 2;

/// Where structures are in their BAR, a page for each.
const COMMON: u64 = 0x0000;
const ISR: u64 = 0x1000;
const CONFIGURATION: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
const REGISTERS_BYTES: u64 = 0x4000;
/// Bytes from one queue's place in the notify structure to the next one's.
const NOTIFY_MULTIPLIER: u32 = 4;

/// Where BAR, offset, length and data are in the window's capability (4.1.4.9).
const WINDOW_BAR: u64 = 4;
const WINDOW_OFFSET: u64 = 8;
const WINDOW_LENGTH: u64 = 12;
const WINDOW_DATA: u64 = 16;

/// A virtio device as a function on a guest's PCI bus.
pub struct VirtioFunction<D> {
    config: ConfigSpace,
    msix: Msix,
    transport: Transport,
    isr: u8,
    /// Where the capability is that reaches the registers through configuration space.
    window: u64,
    device: D,
    guest: Guest,
    waker: Option<Waker>,
}

/// Body of a vendor's capability: its length, its type, and where the structure is.
fn capability(kind: u8, len: u8, offset: u64, bytes: u64) -> [u8; 14] {
    let mut body = [0; 14];
    body[0] = len;
    body[1] = kind;
    body[2] = REGISTERS as u8;
    body[6..10].copy_from_slice(&(offset as u32).to_le_bytes());
    body[10..14].copy_from_slice(&(bytes as u32).to_le_bytes());
    body
}

impl<D: Device> VirtioFunction<D> {
    /// `device`, for `guest`. The bus holds it too.
    pub fn new(device: D, guest: Guest) -> Shared<Self> {
        let queues = device.queues();
        let vectors = queues.len() as u16 + 1;
        let identity = Identity {
            vendor: VENDOR,
            device: FIRST_DEVICE + D::KIND.number,
            revision: 1,
            class: D::KIND.class,
            subsystem: (VENDOR, BOARD),
        };
        let mut config = ConfigSpace::new(&identity)
            .with_bar(REGISTERS, Bar { size: REGISTERS_BYTES, wide: true })
            .with_bar(MESSAGES, Bar { size: Msix::BYTES, wide: false });
        let msix = Msix::new(vectors, MESSAGES as u8, &mut config);
        let configuration = device.configuration().len() as u64;
        let notify = u64::from(NOTIFY_MULTIPLIER) * queues.len() as u64;
        config.add_capability(
            VENDOR_CAPABILITY,
            &capability(structure::COMMON, 16, COMMON, COMMON_BYTES),
            &[],
        );
        let mut body = [0; 18];
        body[..14].copy_from_slice(&capability(structure::NOTIFY, 20, NOTIFY, notify));
        body[14..].copy_from_slice(&NOTIFY_MULTIPLIER.to_le_bytes());
        config.add_capability(VENDOR_CAPABILITY, &body, &[]);
        config.add_capability(VENDOR_CAPABILITY, &capability(structure::ISR, 16, ISR, 1), &[]);
        if configuration > 0 {
            let body = capability(structure::DEVICE, 16, CONFIGURATION, configuration);
            config.add_capability(VENDOR_CAPABILITY, &body, &[]);
        }
        let mut body = [0; 18];
        body[..14].copy_from_slice(&capability(structure::WINDOW, 20, 0, 0));
        let writable: [u8; 18] = core::array::from_fn(|at| if at == 2 || at >= 6 { 0xff } else { 0 });
        let window = config.add_capability(VENDOR_CAPABILITY, &body, &writable).unwrap_or(0);
        let features = device.features().0 | Features::TRANSPORT;
        Rc::new(RefCell::new(Self {
            config,
            msix,
            transport: Transport::new(features, &queues, vectors),
            isr: 0,
            window: window.into(),
            device,
            guest,
            waker: None,
        }))
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, to give it something to do: its task is woken.
    pub fn device_mut(&mut self) -> &mut D {
        self.notify();
        &mut self.device
    }

    /// The same, and with it the guest's memory while a driver uses the device: for devices whose requests
    /// are served by somebody else's time.
    pub fn device_with_memory(&mut self) -> (&mut D, Option<&dyn GuestMemory>) {
        self.notify();
        let live = self.is_live();
        (&mut self.device, live.then_some(&*self.guest.memory))
    }

    /// A queue has work, or may have: the task is woken.
    pub fn notify(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// What the driver did wrong since the last reset, if it did.
    pub fn fault(&self) -> Option<Fault> {
        self.transport.fault()
    }

    /// Whether a driver uses the device.
    pub fn is_live(&self) -> bool {
        self.transport.is_live() && self.config.allows(COMMAND_MASTER)
    }

    /// What is needed to go on with a queue.
    pub fn queue(&self, number: u16) -> Option<&QueueState> {
        self.transport.queue(number)
    }

    /// Does what there is to do, in bounded time. The task is woken when there is more.
    pub fn poll(&mut self, context: &mut Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
        let live = self.is_live();
        self.transport.begin_turn(TURN);
        let memory = &*self.guest.memory;
        let mut queues = Queues { transport: &mut self.transport, memory, live, more: false };
        let done = self.device.poll(context, &mut queues);
        if queues.more {
            context.waker().wake_by_ref();
        }
        self.finish_reset();
        if live {
            let shown = self.show_answers();
            if let Err(fault) = done.and(shown) {
                self.transport.fail(fault);
            }
        }
        self.interrupt_for_configuration();
    }

    fn finish_reset(&mut self) {
        if self.device.is_quiet() {
            self.transport.reset_done();
        }
    }

    /// Shows the driver what was answered, and interrupts it where it wants that.
    fn show_answers(&mut self) -> Result<(), Fault> {
        for number in 0..self.transport.queue_count() {
            let Some(mut ring) = self.transport.ring(number, &*self.guest.memory) else { continue };
            if ring.show()? {
                let vector = ring.queue.vector;
                self.interrupt(vector, ISR_QUEUE);
            }
        }
        Ok(())
    }

    fn interrupt_for_configuration(&mut self) {
        if let Some(vector) = self.transport.take_config_interrupt() {
            self.interrupt(vector, ISR_CONFIG);
        }
    }

    /// Sends a message, or without MSI-X says in the ISR status why it would: there is no pin (guests of
    /// the last twenty years know messages), so such a driver polls.
    fn interrupt(&mut self, vector: u16, isr: u8) {
        if !self.msix.is_enabled() {
            self.isr |= isr;
        } else if vector != NO_VECTOR && self.config.allows(COMMAND_MASTER) {
            self.msix.raise(vector, &*self.guest.interrupts);
        }
    }

    fn reset_device(&mut self) {
        self.isr = 0;
        self.transport.reset();
        self.device.reset();
        self.finish_reset();
    }

    /// The access that the window in configuration space stands for (4.1.4.9), if `offset` and `size`
    /// touch its data.
    fn window_access(&self, offset: u64, size: u8) -> Option<(usize, u64, u8)> {
        if !bytes::touches(offset, size, self.window + WINDOW_DATA, 4) {
            return None;
        }
        let field = |at, size| self.config.read(self.window + at, size);
        let len = field(WINDOW_LENGTH, 4);
        let bar = field(WINDOW_BAR, 1) as usize;
        matches!(len, 1 | 2 | 4).then_some((bar, field(WINDOW_OFFSET, 4), len as u8))
    }

    fn write_common(&mut self, offset: u64, size: u8, value: u64) {
        if self.transport.write(offset, size, value) {
            self.reset_device();
        }
        // A queue that can't be enabled is the driver's fault, of which it hears at once.
        self.interrupt_for_configuration();
    }
}

impl<D: Device> Function for VirtioFunction<D> {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_read(&mut self, offset: u64, size: u8) -> u64 {
        if let Some((bar, at, len)) = self.window_access(offset, size) {
            let value = self.bar_read(bar, at, len);
            self.config.set(self.window + WINDOW_DATA, len, value);
        }
        self.config.read(offset, size)
    }

    fn config_write(&mut self, offset: u64, size: u8, value: u64) {
        self.config.write(offset, size, value);
        if let Some((bar, at, len)) = self.window_access(offset, size) {
            let value = self.config.read(self.window + WINDOW_DATA, len);
            self.bar_write(bar, at, len, value);
        }
        self.msix.configured(&self.config, &*self.guest.interrupts);
        // It may be allowed to use memory now.
        self.notify();
    }

    fn bar_read(&mut self, bar: usize, offset: u64, size: u8) -> u64 {
        match (bar, offset & !0xfff) {
            (REGISTERS, COMMON) => {
                self.finish_reset();
                self.transport.read(offset, size)
            }
            (REGISTERS, ISR) if offset == ISR => u64::from(core::mem::take(&mut self.isr)),
            (REGISTERS, CONFIGURATION) => {
                bytes::read(&self.device.configuration(), offset - CONFIGURATION, size)
            }
            (MESSAGES, 0) => self.msix.read(offset, size),
            _ => nobody(size),
        }
    }

    fn bar_write(&mut self, bar: usize, offset: u64, size: u8, value: u64) {
        match (bar, offset & !0xfff) {
            (REGISTERS, COMMON) => self.write_common(offset, size, value),
            (REGISTERS, CONFIGURATION) => {
                let bytes = value.to_le_bytes();
                let written = bytes.get(..size.into()).unwrap_or(&bytes);
                self.device.configure(offset - CONFIGURATION, written);
            }
            (MESSAGES, 0) => self.msix.write(offset, size, value, &*self.guest.interrupts),
            // Whatever is written to the notify structure, the task looks at all queues.
            _ => {}
        }
        self.notify();
    }

    fn bells(&self) -> Vec<Bell> {
        let len = u64::from(NOTIFY_MULTIPLIER);
        let bell = |queue| Bell { bar: REGISTERS, offset: NOTIFY + len * u64::from(queue), len, queue };
        (0..self.transport.queue_count()).map(bell).collect()
    }

    fn reset(&mut self) {
        self.config.reset();
        self.msix.reset();
        self.reset_device();
    }

    fn is_quiet(&self) -> bool {
        self.device.is_quiet()
    }
}
