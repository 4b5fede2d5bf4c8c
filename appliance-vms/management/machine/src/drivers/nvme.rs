//! NVMe on this machine: who polls the library's driver, and what the log says of it.

use super::memory::Heap;
use super::unusable::Unusable;
use super::woken;
use crate::devices::Device;
use crate::log::event;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use core::time::Duration;
use management::block::{BlockDevice, Geometry, Operation, Pending};
use management::drivers::nvme::{Death, Nvme};
use management::executor::{Event, Handle};
use management::memory::HostRange;

/// Class, subclass and interface: a disk, non-volatile memory, NVM Express (PCI Code and ID 1.11, 1.2).
const CLASS: u32 = 0x01_08_02;
/// The BAR with its registers (NVMe 1.4, 2.1.10).
const BAR: usize = 0;
/// The one message that is used: for both queues.
const MESSAGE: u16 = 0;

/// Whether a device is one of these.
pub const fn is_one(device: &Device) -> bool {
    device.info.class >> 8 == CLASS
}

/// An NVMe disk.
pub struct Disk {
    name: String,
    handle: Handle,
    device: Device,
    nvme: Nvme,
}

impl Disk {
    /// Starts the device's driver, and waits until it is ready.
    ///
    /// # Errors
    /// [`Unusable`].
    pub async fn begin(handle: &Handle, device: &Device, name: String) -> Result<Rc<Self>, Unusable> {
        let interrupt = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        if device.info.messages == 0 {
            return Err(Unusable::Lacks("interrupts as messages (MSI)"));
        }
        let registers = device.map(BAR)?;
        device.switch_on()?;
        device.bind(MESSAGE, &interrupt)?;
        let nvme = Nvme::new(Box::new(registers), &Heap, MESSAGE)?;
        let disk = Rc::new(Self { name, handle: handle.clone(), device: *device, nvme });
        loop {
            disk.turn()?;
            if disk.nvme.is_ready() {
                break;
            }
            disk.rest(&interrupt).await;
        }
        let worker = Rc::clone(&disk);
        let task = handle.spawn("disk", async move { worker.work(interrupt).await });
        task.map_err(|_| Unusable::Lacks("room for its task"))?;
        Ok(disk)
    }

    /// Model and serial number.
    pub fn model(&self) -> String {
        self.nvme.model()
    }

    fn turn(&self) -> Result<(), Death> {
        self.nvme.poll(Duration::from_nanos(self.handle.now()));
        self.nvme.death().map_or(Ok(()), Err)
    }

    async fn rest(&self, interrupt: &Event) {
        woken(&self.handle, &[interrupt], self.nvme.deadline()).await;
    }

    /// Does the driver's work, for as long as the device lives.
    async fn work(&self, interrupt: Event) {
        let mut resets = self.nvme.resets();
        loop {
            self.rest(&interrupt).await;
            // A disk that dies ends its requests.
            let requests = self.nvme.requests();
            if let Err(death) = self.turn() {
                self.device.cut_off();
                self.device.unbind(MESSAGE);
                event!(Error, "disk.dead", name = self.name, what = death, requests = requests);
                return;
            }
            if resets != self.nvme.resets() {
                resets = self.nvme.resets();
                event!(
                    Warn,
                    "disk.reset",
                    name = self.name,
                    what = "it does not answer",
                    requests = requests
                );
            }
        }
    }
}

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.nvme.geometry()
    }

    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        self.nvme.request(operation, sector, memory)
    }
}
