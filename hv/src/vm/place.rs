//! The places for virtual machines: what of a VM can be reached at any time, by any core.
//!
//! A place is always there, a VM only while it lives. Cores name vCPUs by numbers and look here; a
//! VM is taken away only when no core has a turn in it (the write lock).

use super::Vm;
use super::pool::Pooled;
use crate::inbox;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use hv_abi::hypercall::Status;
use hv_abi::manifest::MAX_VCPUS;
use hv_abi::status::VmState;
use hv_arch::percpu;
use hv_core::lifecycle::{self, Step};
use hv_core::mailbox::{Mailbox, Wish};
use hv_core::sched::Class;
use hv_core::vcpu::StopReason;
use spin::{Mutex, RwLock, RwLockReadGuard};

/// Most virtual machines.
pub const MAX_VMS: usize = 8;
/// The management VM's place.
pub const MANAGEMENT: usize = 0;

/// What others know of a vCPU.
pub struct Front {
    /// What they want of it.
    pub mailbox: Mailbox,
    /// The core that is its home.
    pub core: AtomicU32,
    /// TSC ticks that it has had a core.
    pub ticks: AtomicU64,
    /// The last change of its VM's memory that it has forgotten the translations of.
    pub flushed: AtomicU32,
}

/// A place for a VM.
pub struct Place {
    state: AtomicU32,
    /// Counts the VMs that lived here: who belongs to another than the present one leaves.
    pub life: AtomicU32,
    class: AtomicU8,
    /// Counts changes of its memory after which translations must be forgotten.
    pub flush: AtomicU32,
    /// The VM.
    pub vm: RwLock<Option<Pooled<Vm>>>,
    /// Its vCPUs.
    pub fronts: [Front; MAX_VCPUS],
    /// Why it ended.
    pub end: Mutex<Option<StopReason>>,
}

/// Counts who comes and goes, and who is made more or less urgent: every core sees to its own then.
static MOVES: AtomicU32 = AtomicU32::new(0);

static PLACES: [Place; MAX_VMS] = [const { Place::new() }; MAX_VMS];

/// How often somebody came, left, or was made more or less urgent.
pub fn moves() -> u32 {
    MOVES.load(Ordering::Acquire)
}

/// Has every core see to who lives there, when it next looks around.
pub fn moved() {
    MOVES.fetch_add(1, Ordering::Release);
}

/// A place by its number.
pub fn get(vm: usize) -> Option<&'static Place> {
    PLACES.get(vm)
}

/// A vCPU's front by numbers.
pub fn front(vm: usize, index: usize) -> Option<&'static Front> {
    PLACES.get(vm)?.fronts.get(index)
}

/// The first place where no VM lives, with its number.
pub fn vacant() -> Option<(usize, &'static Place)> {
    PLACES.iter().enumerate().find(|(_, place)| place.state() == VmState(0))
}

/// The management VM; `None`: it does not live.
pub fn management() -> Option<RwLockReadGuard<'static, Option<Pooled<Vm>>>> {
    PLACES[MANAGEMENT].vm.try_read().filter(|vm| vm.is_some())
}

impl Front {
    const fn new() -> Self {
        Self {
            mailbox: Mailbox::new(),
            core: AtomicU32::new(0),
            ticks: AtomicU64::new(0),
            flushed: AtomicU32::new(0),
        }
    }

    /// Leaves a wish, and has the home core look.
    pub fn post(&self, wish: Wish) {
        if self.mailbox.post(wish) {
            self.kick();
        }
    }

    /// Has the home core look.
    pub fn kick(&self) {
        inbox::kick(self.core.load(Ordering::Relaxed));
    }
}

impl Place {
    const fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            life: AtomicU32::new(0),
            class: AtomicU8::new(Class::Back as u8),
            flush: AtomicU32::new(0),
            vm: RwLock::new(None),
            fronts: [const { Front::new() }; MAX_VCPUS],
            end: Mutex::new(None),
        }
    }

    /// What its VM does; 0 = there is none.
    pub fn state(&self) -> VmState {
        VmState(self.state.load(Ordering::Acquire))
    }

    /// Whether its vCPUs may run.
    pub fn runs(&self) -> bool {
        self.state() == VmState::RUNNING
    }

    /// Sets the state, when a VM comes or goes.
    pub fn set_state(&self, state: VmState) {
        self.state.store(state.0, Ordering::Release);
    }

    /// Takes a step, and answers the state before.
    ///
    /// # Errors
    /// [`lifecycle::after`]'s.
    pub fn step(&self, step: Step) -> Result<VmState, Status> {
        let mut before = self.state();
        loop {
            let after = lifecycle::after(before, step)?;
            match self.state.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(before),
                Err(other) => before = VmState(other),
            }
        }
    }

    /// How urgent its VM is.
    pub fn class(&self) -> Class {
        match self.class.load(Ordering::Relaxed) {
            0 => Class::Urgent,
            1 => Class::Front,
            _ => Class::Back,
        }
    }

    /// Makes it as urgent as that.
    pub fn set_class(&self, class: Class) {
        self.class.store(class as u8, Ordering::Relaxed);
        moved();
    }

    /// Another life begins, or none: who belongs to the last one leaves. Answers its number.
    pub fn next_life(&self) -> u32 {
        let life = self.life.fetch_add(1, Ordering::Relaxed) + 1;
        moved();
        life
    }

    /// Has all its vCPUs look at the VM's state. One that was paused may have mail, and be called again all
    /// the same.
    pub fn call_all(&self) {
        self.fronts.iter().for_each(|front| _ = front.mailbox.post(Wish::VM));
        (0..percpu::online() as u32).for_each(inbox::kick);
    }
}
