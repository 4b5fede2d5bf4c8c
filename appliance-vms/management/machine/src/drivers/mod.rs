//! Drivers of the physical machine's devices, each behind its class' trait.

mod blk;
mod e1000;
pub mod framebuffer;
mod gpu;
mod hda;
mod input;
pub mod memory;
mod net;
mod nvme;
pub mod ps2;
mod ring;
mod transport;
mod unusable;

use crate::devices::{self, Device};
use crate::dma::Dma;
use crate::log::event;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use management::block::{BlockDevice, Operation};
use management::display::Display;
use management::drivers::e1000::Model;
use management::drivers::hda as card;
use management::executor::{Event, Handle, Signal};
use management::nic::Nic;
use management::remote::Keys;
use management::speaker::Speaker;
use management::storage::bounce::AnyMemory;
use memory::Heap;
use transport::Pci;
use unusable::Unusable;
use virtio_drivers::transport::DeviceType;

/// What was found.
#[derive(Default)]
pub struct Found {
    /// Disks.
    pub disks: Vec<Rc<dyn BlockDevice>>,
    /// Network ports.
    pub nics: Vec<Box<dyn Nic>>,
    /// Keyboards and remote controls.
    pub keys: Vec<Box<dyn Keys>>,
    /// The first sound card with a plug for loudspeakers, and its interrupt.
    pub speaker: Option<(Box<dyn Speaker>, Event)>,
}

/// Finds the driver for a device, if there is one, and has it begin. The log says what came of it.
pub async fn take(handle: &Handle, device: &Device, found: &mut Found) {
    let virtio = transport::device_type(device);
    let outcome = if virtio == Some(DeviceType::Block) {
        virtio_blk(handle, device, found).await
    } else if virtio == Some(DeviceType::Network) {
        virtio_net(handle, device, found)
    } else if virtio == Some(DeviceType::Input) {
        virtio_input(handle, device, found)
    } else if nvme::is_one(device) {
        nvme_disk(handle, device, found).await
    } else if let Some(model) = e1000::model(device) {
        e1000_port(handle, device, model, found).await
    } else if card::is_one(device.info.class) && found.speaker.is_none() {
        hda_card(handle, device, found).await
    } else {
        Ok(())
    };
    if let Err(unusable) = outcome {
        // The memory that it was told of has other owners from now on.
        device.cut_off();
        event!(Error, "device.unusable", address = device, what = unusable);
    }
}

/// The first screen on virtio-gpu that can be drawn on, if there is one.
pub async fn screen(handle: &Handle) -> Option<Box<dyn Display>> {
    let gpus = devices::all().filter(|device| transport::device_type(device) == Some(DeviceType::GPU));
    for device in gpus {
        match gpu::Gpu::begin(handle, &device).await {
            Ok(gpu) => return Some(Box::new(gpu)),
            Err(unusable) => {
                device.cut_off();
                event!(Error, "device.unusable", address = device, what = unusable);
            }
        }
    }
    None
}

async fn virtio_blk(handle: &Handle, device: &Device, found: &mut Found) -> Result<(), Unusable> {
    let name = found.disk_name();
    let transport = Pci::new(device, DeviceType::Block)?;
    let disk = blk::Disk::new(handle, device, transport, name)?;
    found.add_disk("virtio-blk", device, "", disk).await
}

async fn nvme_disk(handle: &Handle, device: &Device, found: &mut Found) -> Result<(), Unusable> {
    let disk = nvme::Disk::begin(handle, device, found.disk_name()).await?;
    let model = disk.model();
    found.add_disk("nvme", device, &model, disk).await
}

fn virtio_net(handle: &Handle, device: &Device, found: &mut Found) -> Result<(), Unusable> {
    let transport = Pci::new(device, DeviceType::Network)?;
    let port = net::Port::new(handle, device, transport, found.port_name())?;
    found.add_port("virtio-net", device, Box::new(port));
    Ok(())
}

fn virtio_input(handle: &Handle, device: &Device, found: &mut Found) -> Result<(), Unusable> {
    let transport = Pci::new(device, DeviceType::Input)?;
    let input = input::Input::new(handle, device, transport)?;
    event!(Info, "input.found", driver = "virtio-input", address = device);
    found.keys.push(Box::new(input));
    Ok(())
}

async fn e1000_port(
    handle: &Handle,
    device: &Device,
    model: Model,
    found: &mut Found,
) -> Result<(), Unusable> {
    let port = e1000::Port::begin(handle, device, model, found.port_name()).await?;
    let driver = match model {
        Model::I82540em => "e1000",
        Model::I82574l => "e1000e",
    };
    found.add_port(driver, device, Box::new(port));
    Ok(())
}

async fn hda_card(handle: &Handle, device: &Device, found: &mut Found) -> Result<(), Unusable> {
    found.speaker = Some(hda::begin(handle, device).await?);
    event!(Info, "sound.found", driver = "hda", address = device);
    Ok(())
}

impl Found {
    fn disk_name(&self) -> String {
        format!("disk{}", self.disks.len())
    }

    fn port_name(&self) -> String {
        format!("net{}", self.nics.len())
    }

    /// Adds a disk; `model` is empty if it has none.
    async fn add_disk(
        &mut self,
        driver: &str,
        device: &Device,
        model: &str,
        disk: Rc<dyn BlockDevice>,
    ) -> Result<(), Unusable> {
        let geometry = disk.geometry();
        // One that can't be read is of no use, however well it answers about itself.
        let block = Dma::new(geometry.block as usize).ok_or(Unusable::Lacks("memory for a block"))?;
        let first = [block.range(0, geometry.block as usize)];
        disk.request(Operation::Read, 0, &first).await.map_err(Unusable::Unreadable)?;
        event!(
            Info,
            "disk.found",
            name = self.disk_name(),
            driver = driver,
            address = device,
            model = model,
            sectors = geometry.sectors,
            block = geometry.block,
            read_only = geometry.read_only
        );
        self.disks.push(Rc::new(AnyMemory::new(disk, Rc::new(Heap))));
        Ok(())
    }

    fn add_port(&mut self, driver: &str, device: &Device, port: Box<dyn Nic>) {
        event!(
            Info,
            "net.found",
            name = self.port_name(),
            driver = driver,
            address = device,
            mac = port.mac(),
            link = net::up_or_down(port.link())
        );
        self.nics.push(port);
    }
}

/// Waits for any of these, but no longer than until `deadline`.
pub async fn woken(handle: &Handle, signals: &[&Signal], deadline: Option<Duration>) {
    let nanos = |deadline: Duration| u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    let mut alarm = deadline.map(|deadline| handle.sleep_until(nanos(deadline)));
    poll_fn(|context| {
        // Each is asked, so that each knows who waits.
        let raised = signals.iter().filter(|signal| signal.poll(context).is_ready()).count();
        let late = alarm.as_mut().is_some_and(|alarm| Pin::new(alarm).poll(context).is_ready());
        if raised > 0 || late { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
