//! Appliances: what is on the disks, and a task for each that looks after it.

mod clock;
mod entropy;
mod lifecycle;
mod network;
mod pc;
mod storage;
mod vm;

pub use clock::Clock;
pub use lifecycle::Mail;
pub use network::Network;
pub use pc::{Remote, Screen, SoundCard};

use crate::drivers::Found;
use crate::heap;
use crate::log::event;
use crate::tv::Desk;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use hv_abi::appliance::Appliance;
use management::executor::Handle;
use management::supervisor::{Event, Wish};
use management::virtio::gpu::Mode;
use storage::Storage;

/// Nanoseconds between two writes of the settings at least: a held key changes them many times.
const SETTINGS_PAUSE: u64 = 1_000_000_000;

/// What all appliances share.
pub struct House {
    /// Tasks and time.
    pub handle: Handle,
    /// What is on the disks.
    pub storage: Storage,
    /// The switch.
    pub network: Rc<Network>,
    /// What time it is.
    pub clock: Rc<Clock>,
    /// What the television is told.
    pub desk: Rc<Desk>,
    /// What a guest's screen shows, and how many bytes its pictures may have.
    pub pictures: (Mode, usize),
    /// vCPUs that a VM can have.
    pub cpus: u64,
}

/// Looks for appliances on the disks, and starts those that start with the box. The disks and network
/// ports are theirs from now on.
pub async fn begin(handle: &Handle, found: Found, cpus: u64, clock: Rc<Clock>, desk: Rc<Desk>) {
    let network = Network::new(handle, found.nics, Rc::clone(&desk));
    desk.set_network(&network);
    let Some(storage) = Storage::open(&found.disks).await else { return desk.tell_appliances() };
    let pictures = (desk.mode(), budget(storage.appliances()));
    let house = Rc::new(House { handle: handle.clone(), storage, network, clock, desk, pictures, cpus });
    let appliances = house.storage.appliances().iter().map(|appliance| {
        let mail = Rc::new(Mail::default());
        (appliance, house.desk.add(appliance, &mail), mail)
    });
    let appliances: Vec<_> = appliances.collect();
    keep_settings(&house).await;
    for (appliance, id, mail) in appliances {
        if house.desk.starts(id) {
            mail.send(Event::Wish(Wish::Start));
        }
        let task = lifecycle::look_after(Rc::clone(&house), appliance.clone(), mail, id);
        if house.handle.spawn("appliance", Box::pin(task)).is_err() {
            event!(Error, "vm.refused", vm = appliance.name, what = "there are too many tasks");
        }
    }
    house.desk.tell_appliances();
    house.desk.tell(ui::tv::Event::Storage(house.storage.room().await));
}

/// Takes up what is set, and has a task keep what changes: once a second at most.
async fn keep_settings(house: &House) {
    let Some((mut volume, kept)) = house.storage.settings().await else { return };
    if let Some(kept) = &kept {
        house.desk.recall(kept);
    }
    let (desk, handle) = (Rc::clone(&house.desk), house.handle.clone());
    let keep = async move {
        loop {
            match volume.keep(desk.to_keep().await).await {
                Ok(()) => event!(Info, "settings.kept"),
                Err(error) => event!(Error, "settings.lost", what = error),
            }
            handle.sleep(SETTINGS_PAUSE).await;
        }
    };
    if house.handle.spawn("settings", keep).is_err() {
        event!(Error, "settings.lost", what = "there are too many tasks");
    }
}

/// Bytes that each guest's pictures may have: half of the heap is for them, so that however many they make,
/// what else there is to do finds memory.
fn budget(appliances: &[Appliance]) -> usize {
    let screens = appliances.iter().filter(|appliance| appliance.devices.display).count();
    (heap::bytes() / 2) as usize / screens.max(1)
}
