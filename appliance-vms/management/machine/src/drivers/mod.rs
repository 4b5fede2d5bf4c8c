//! Drivers of the physical machine's devices, each behind its class' trait.

use crate::devices::Device;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use management::block::BlockDevice;
use management::executor::Handle;
use management::nic::Nic;

/// What was found.
#[derive(Default)]
pub struct Found {
    /// Disks.
    pub disks: Vec<Rc<dyn BlockDevice>>,
    /// Network ports.
    pub nics: Vec<Box<dyn Nic>>,
}

/// Finds the driver for a device, if there is one, and has it begin.
pub fn take(_handle: &Handle, _device: &Device, _found: &mut Found) {}
