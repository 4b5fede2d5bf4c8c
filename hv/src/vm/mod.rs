//! Virtual machines: what each is made of.
//!
//! A [`Vm`] is shared by the cores that run its vCPUs; a [`Slot`]'s body belongs to the core that is
//! the vCPU's home. Both are made in hv's own pages and live as long as hv.

pub mod create;
mod world;

pub use world::VmWorld;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use heapless::String;
use hv_arch::guest_ram::GuestRam;
use hv_arch::{svm, xstate};
use hv_core::kvmclock::Scale;
use hv_core::mailbox::{Mailbox, Wish};
use hv_core::policy::Policy;
use hv_core::sched::Class;
use hv_core::vcpu::{StopReason, Vcpu};
use hv_core::vioapic::Vioapic;
use hv_core::vlapic::{DeliveryMode, Destination, Message, pick_lowest};
use spin::{Mutex, Once};

/// Most virtual machines.
pub const MAX_VMS: usize = 8;

/// Whether a VM's vCPUs may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// They may.
    Running = 0,
    /// They may not, for good.
    Stopped = 1,
}

/// A virtual machine.
pub struct Vm {
    /// Its number.
    pub id: usize,
    /// Its name.
    pub name: String<16>,
    /// How urgent it is.
    pub class: Class,
    /// Its rules.
    pub policy: Policy,
    /// Its RAM.
    pub ram: GuestRam,
    /// The host's counter when its own was zero.
    pub tsc_start: u64,
    /// How its counter becomes nanoseconds.
    pub scale: Scale,
    /// Its I/O APIC.
    pub ioapic: Mutex<Vioapic>,
    /// Its vCPUs.
    pub slots: &'static [Slot],
    state: AtomicU8,
    /// Who had the last lowest-priority interrupt.
    last_lowest: AtomicU32,
}

/// A vCPU's place.
pub struct Slot {
    /// What others want of it.
    pub mailbox: Mailbox,
    /// The core that is its home.
    pub core: AtomicU32,
    body: UnsafeCell<Option<Body>>,
}

/// What only the home core touches.
pub struct Body {
    /// Decisions.
    pub vcpu: Vcpu,
    /// Hardware.
    pub hardware: svm::Vcpu,
    /// Registers while another guest has the core.
    pub registers: xstate::State,
}

// SAFETY: the body is touched only through `Slot::body`, whose callers are the home core.
unsafe impl Sync for Slot {}

impl Slot {
    /// A place for a vCPU whose home is `core`.
    pub const fn new(core: u32) -> Self {
        Self { mailbox: Mailbox::new(), core: AtomicU32::new(core), body: UnsafeCell::new(None) }
    }

    /// Puts the vCPU there.
    ///
    /// # Safety
    /// Called before any core knows the slot.
    pub unsafe fn fill(&self, body: Body) {
        // SAFETY: nobody else has the slot yet.
        unsafe { *self.body.get() = Some(body) };
    }

    /// The vCPU.
    ///
    /// # Safety
    /// The caller runs on the home core, and lets go of the last result before it asks again.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn body(&self) -> &mut Body {
        // SAFETY: the caller's promise; `fill` came before the slot was given to a core.
        unsafe { (*self.body.get()).as_mut().unwrap_unchecked() }
    }
}

static VMS: [Once<&'static Vm>; MAX_VMS] = [const { Once::new() }; MAX_VMS];

impl Vm {
    /// Whether its vCPUs may run.
    pub fn state(&self) -> State {
        if self.state.load(Ordering::Acquire) == State::Running as u8 {
            State::Running
        } else {
            State::Stopped
        }
    }

    /// Ends it: no vCPU runs again. The first reason is the one that is told.
    pub fn stop(&self, reason: StopReason) {
        if self.state.swap(State::Stopped as u8, Ordering::AcqRel) == State::Running as u8 {
            let why = describe(reason);
            crate::event!(Error, "vm.exit", vm = self.name, reason = why);
            for (index, _) in self.slots.iter().enumerate() {
                self.post(index, Wish::VM);
            }
        }
    }

    /// Leaves a wish in a vCPU's mailbox, and has its core look.
    pub fn post(&self, index: usize, wish: Wish) {
        if let Some(slot) = self.slots.get(index)
            && slot.mailbox.post(wish)
        {
            crate::core_loop::kick(slot.core.load(Ordering::Relaxed));
        }
    }

    /// Delivers a message to the local APICs that it is for; `from` sent it, if a vCPU did.
    pub fn deliver(&self, from: Option<u32>, message: Message) {
        let sent_by = |index: usize| from == Some(index as u32);
        if message.mode == DeliveryMode::LowestPriority {
            let addresses = self.slots.iter().map(|slot| slot.mailbox.address());
            let last = self.last_lowest.load(Ordering::Relaxed) as usize;
            let sender = from.map(|index| index as usize);
            if let Some(index) = pick_lowest(addresses, message.destination, sender, last) {
                self.last_lowest.store(index as u32, Ordering::Relaxed);
                self.deliver_to(index, message);
            }
            return;
        }
        // The common case: an ID is a vCPU's number.
        if let Destination::Physical(id) = message.destination
            && let Some(slot) = self.slots.get(id as usize)
            && slot.mailbox.address().matches(message.destination, sent_by(id as usize))
        {
            return self.deliver_to(id as usize, message);
        }
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.mailbox.address().matches(message.destination, sent_by(index)) {
                self.deliver_to(index, message);
            }
        }
    }

    fn deliver_to(&self, index: usize, message: Message) {
        let wish = match message.mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                let slot = &self.slots[index];
                if slot.mailbox.post_interrupt(message.vector, message.trigger) {
                    crate::core_loop::kick(slot.core.load(Ordering::Relaxed));
                }
                return;
            }
            DeliveryMode::Nmi => Wish::NMI,
            DeliveryMode::Init => Wish::INIT,
            DeliveryMode::Startup => Wish::startup(message.vector),
        };
        self.post(index, wish);
    }
}

fn describe(reason: StopReason) -> crate::refusal::Sentence {
    use crate::refusal::sentence;
    match reason {
        StopReason::TripleFault => sentence(format_args!("triple fault")),
        StopReason::Unsupported(bytes) => {
            sentence(format_args!("an instruction on device memory that Hearth does not know: {bytes}"))
        }
        StopReason::InvalidState => sentence(format_args!("the processor refused its state")),
        StopReason::UnknownExit(code) => sentence(format_args!("exit {code:#x}, which nobody asked for")),
        StopReason::TaskSwitch => sentence(format_args!("a task switch")),
        StopReason::NoMemory(at) => sentence(format_args!("code or page tables at {at:#x}, where no RAM is")),
    }
}
