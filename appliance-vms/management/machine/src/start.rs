//! What runs once the program does: the devices' drivers first, and then all that needs them.

use crate::entry::Handover;
use crate::hypercall;
use crate::log::event;
use crate::{appliances, devices, drill, drivers, heap, run, tv};
use alloc::rc::Rc;
use hv_abi::hypercall::Status;
use management::executor::Handle;

/// VMs have these numbers; the management VM has 0.
const GUESTS: core::ops::RangeInclusive<u64> = 1..=7;
/// When the load is first told, in nanoseconds after the start; then at twice the time, and so on.
const FIRST_LOAD: u64 = 5_000_000_000;
/// Longest time between two such lines.
const LOAD_AT_MOST: u64 = 3_600_000_000_000;

/// Begins the first tasks.
pub fn begin(handle: &Handle, handover: Handover) {
    let tasks = handle.clone();
    let started = handle.spawn("start", async move {
        clear_away(&tasks).await;
        bring_up(&tasks, handover).await;
    });
    // The first tasks of an executor find room.
    debug_assert!(started.is_ok());
}

/// Takes away what an earlier life of this program has left: hv has stopped its VMs.
async fn clear_away(handle: &Handle) {
    for vm in GUESTS {
        let cleared = loop {
            match hypercall::destroy(vm) {
                Ok(0) => break Ok(()),
                Ok(_) => handle.give_way().await,
                Err(refused) if refused.status == Status::NO_SUCH_THING => break Ok(()),
                Err(refused) => break Err(refused),
            }
        };
        if let Err(refused) = cleared {
            event!(Warn, "mgmt.trouble", what = format_args!("VM {vm} can't be taken away"), why = refused);
        }
    }
}

/// Finds devices, and says that the management VM is ready.
async fn bring_up(handle: &Handle, handover: Handover) {
    let (clock, desk) = (Rc::new(appliances::Clock::set(handle)), Rc::new(tv::Desk::default()));
    tv::begin(handle, &handover, &desk, &clock).await;
    handle.give_way().await;
    let mut found = drivers::Found::default();
    for device in devices::all() {
        drivers::take(handle, &device, &mut found).await;
        handle.give_way().await;
    }
    event!(
        Info,
        "mgmt.ready",
        lives = handover.lives,
        cpus = handover.cpus,
        memory_kib = handover.ram.len >> 10,
        heap_kib = heap::bytes() >> 10,
        disks = found.disks.len(),
        nets = found.nics.len()
    );
    drill::run(&handover);
    tv::listen(handle, found.speaker.take(), &desk);
    desk.add_keys(core::mem::take(&mut found.keys));
    appliances::begin(handle, found, handover.cpus, clock, desk).await;
    watch(handle).await;
}

/// Tells from time to time how much there is to do.
async fn watch(handle: &Handle) {
    let mut period = FIRST_LOAD;
    loop {
        let before = run::wake_ups();
        handle.sleep(period).await;
        event!(Debug, "mgmt.load", seconds = period / 1_000_000_000, wake_ups = run::wake_ups() - before);
        period = (period * 2).min(LOAD_AT_MOST);
    }
}
