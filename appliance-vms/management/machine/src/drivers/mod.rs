//! Drivers of the physical machine's devices, each behind its class' trait.

mod blk;
mod net;
mod ring;
mod transport;

use crate::devices::Device;
use crate::dma::Dma;
use crate::log::event;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use management::block::{BlockDevice, Operation};
use management::executor::Handle;
use management::nic::Nic;
use transport::{Pci, Unusable};
use virtio_drivers::transport::DeviceType;

/// What was found.
#[derive(Default)]
pub struct Found {
    /// Disks.
    pub disks: Vec<Rc<dyn BlockDevice>>,
    /// Network ports.
    pub nics: Vec<Box<dyn Nic>>,
}

/// Finds the driver for a device, if there is one, and has it begin. The log says what came of it.
pub async fn take(handle: &Handle, device: &Device, found: &mut Found) {
    let outcome = match transport::device_type(device) {
        Some(DeviceType::Block) => virtio_blk(handle, device, found).await,
        Some(DeviceType::Network) => virtio_net(handle, device, found),
        _ => Ok(()),
    };
    if let Err(unusable) = outcome {
        event!(Error, "device.unusable", address = device, what = unusable);
    }
}

async fn virtio_blk(handle: &Handle, device: &Device, found: &mut Found) -> Result<(), Unusable> {
    let name = format!("disk{}", found.disks.len());
    let transport = Pci::new(device, DeviceType::Block)?;
    let disk = blk::Disk::new(handle, device, transport, name.clone())?;
    let geometry = disk.geometry();
    // One that can't be read is of no use, however well it answers about itself.
    let block = Dma::new(geometry.block as usize).ok_or(Unusable::Lacks("memory for a block"))?;
    let first = [block.range(0, geometry.block as usize)];
    disk.request(Operation::Read, 0, &first).await.map_err(Unusable::Unreadable)?;
    event!(
        Info,
        "disk.found",
        name = name,
        driver = "virtio-blk",
        address = device,
        sectors = geometry.sectors,
        block = geometry.block,
        read_only = geometry.read_only
    );
    found.disks.push(disk);
    Ok(())
}

fn virtio_net(handle: &Handle, device: &Device, found: &mut Found) -> Result<(), Unusable> {
    let name = format!("net{}", found.nics.len());
    let transport = Pci::new(device, DeviceType::Network)?;
    let port = net::Port::new(handle, device, transport, name.clone())?;
    event!(
        Info,
        "net.found",
        name = name,
        driver = "virtio-net",
        address = device,
        mac = port.mac(),
        link = net::up_or_down(port.link())
    );
    found.nics.push(Box::new(port));
    Ok(())
}
