//! How a core is told that something waits for it.

use crate::vm::place;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use heapless::Vec;
use hv_arch::apic::LocalApic;
use hv_arch::percpu::{self, MAX_CPUS};
use hv_core::sched::MAX_RUNNERS;
use spin::{Mutex, Once};

/// A vCPU that comes to live on a core.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// The number of its VM's place.
    pub vm: usize,
    /// Its number in the VM.
    pub index: usize,
    /// Which VM of that place it belongs to.
    pub life: u32,
}

/// What others leave for a core.
pub struct Inbox {
    apic_id: AtomicU32,
    look: AtomicBool,
    /// vCPUs that were given to it and have not left.
    housed: AtomicU32,
    newcomers: Mutex<Vec<Newcomer, MAX_RUNNERS>>,
}

static INBOXES: [Inbox; MAX_CPUS] = [const {
    Inbox {
        apic_id: AtomicU32::new(0),
        look: AtomicBool::new(false),
        housed: AtomicU32::new(0),
        newcomers: Mutex::new(Vec::new()),
    }
}; MAX_CPUS];
static APIC: Once<LocalApic> = Once::new();

/// The inbox of the core that calls; from now on it can be told.
pub fn open(apic: LocalApic) -> &'static Inbox {
    APIC.call_once(|| apic);
    let inbox = &INBOXES[percpu::this().index() as usize];
    inbox.apic_id.store(percpu::this().apic_id(), Ordering::Relaxed);
    inbox
}

/// Has a core look at its mail: another by an interrupt, the caller's own before the guest goes on.
pub fn kick(core: u32) {
    let Some(inbox) = INBOXES.get(core as usize) else { return };
    if core == percpu::this().index() {
        inbox.look.store(true, Ordering::Relaxed);
    } else if let Some(apic) = APIC.get() {
        apic.send_kick(inbox.apic_id.load(Ordering::Relaxed));
    }
}

/// Reserves a place on `pinned`, or on the core with the fewest; `None`: no room.
pub fn reserve(pinned: Option<u32>) -> Option<u32> {
    let cores = 0..percpu::online() as u32;
    let housed = |core: &u32| INBOXES[*core as usize].housed.load(Ordering::Relaxed);
    let core = pinned.or_else(|| cores.min_by_key(housed))?;
    let inbox = INBOXES.get(core as usize)?;
    let room = |count: u32| (count < MAX_RUNNERS as u32).then_some(count + 1);
    inbox.housed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
    Some(core)
}

/// Gives back what [`reserve`] gave.
pub fn release(core: u32) {
    if let Some(inbox) = INBOXES.get(core as usize) {
        inbox.housed.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives a core, on which a place was reserved, its vCPU.
pub fn house(core: u32, newcomer: Newcomer) {
    if let Some(inbox) = INBOXES.get(core as usize) {
        let mut newcomers = inbox.newcomers.lock();
        if newcomers.is_full() {
            // Those of VMs that are gone were never taken in.
            newcomers.retain(|other| other.vm != newcomer.vm || other.life == newcomer.life);
        }
        // A place was reserved.
        let _ = newcomers.push(newcomer);
    }
    place::moved();
    kick(core);
}

impl Inbox {
    /// Whether there is anything to look at; asked once.
    pub fn looks(&self) -> bool {
        let looks = self.look.load(Ordering::Relaxed);
        if looks {
            self.look.store(false, Ordering::Relaxed);
        }
        looks
    }

    /// One that has come.
    pub fn newcomer(&self) -> Option<Newcomer> {
        self.newcomers.lock().pop()
    }

    /// Whether nobody has come.
    pub fn is_empty(&self) -> bool {
        self.newcomers.lock().is_empty()
    }
}
