//! Appliances: what is on the disks, and a task for each that looks after it.

mod clock;
mod entropy;
mod lifecycle;
mod network;
mod pc;
mod storage;
mod vm;

use crate::drivers::Found;
use crate::log::event;
use alloc::boxed::Box;
use alloc::rc::Rc;
use hv_abi::appliance::Start;
use management::executor::Handle;
use network::Network;
use storage::Storage;

/// What all appliances share.
pub struct House {
    /// Tasks and time.
    pub handle: Handle,
    /// What is on the disks.
    pub storage: Storage,
    /// The switch.
    pub network: Rc<Network>,
    /// vCPUs that a VM can have.
    pub cpus: u64,
}

/// Looks for appliances on the disks, and starts those that start with the box. The disks and network
/// ports are theirs from now on.
pub async fn begin(handle: &Handle, found: Found, cpus: u64) {
    let network = Network::new(handle, found.nics);
    let Some(storage) = Storage::open(&found.disks).await else { return };
    let house = Rc::new(House { handle: handle.clone(), storage, network, cpus });
    for appliance in house.storage.appliances().iter().filter(|appliance| appliance.start == Start::Boot) {
        let task = lifecycle::look_after(Rc::clone(&house), appliance.clone());
        if house.handle.spawn("appliance", Box::pin(task)).is_err() {
            event!(Error, "vm.refused", vm = appliance.name, what = "there are too many tasks");
        }
    }
}
