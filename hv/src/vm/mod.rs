//! Virtual machines: what each is made of.
//!
//! A [`Vm`] is shared by the cores that run its vCPUs and reached through its [`place`]; a vCPU's
//! body is held by the core that is its home for as long as a turn lasts.

mod calls;
mod create;
mod end;
mod events;
mod leave;
pub mod management;
pub mod place;
mod pool;
mod world;

pub use end::end;
pub use world::VmWorld;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hv_abi::memory::PhysRange;
use hv_arch::address_space::AddressSpace;
use hv_arch::guest_ram::{GuestRam, SharedPage};
use hv_arch::{svm, xstate};
use hv_core::doorbell::Doorbells;
use hv_core::kvmclock::Scale;
use hv_core::mailbox::Wish;
use hv_core::manifest::Name;
use hv_core::memory::Frames;
use hv_core::policy::Policy;
use hv_core::vcpu::Vcpu;
use hv_core::vioapic::Vioapic;
use hv_core::vlapic::{DeliveryMode, Destination, Message, pick_lowest};
use place::{Front, Place};
use pool::Pooled;
use spin::Mutex;

/// A virtual machine.
pub struct Vm {
    /// The number of its place.
    pub id: usize,
    /// Its place.
    pub place: &'static Place,
    /// Its name.
    pub name: Name,
    /// Its rules.
    pub policy: Policy,
    /// Its RAM.
    pub ram: GuestRam,
    /// The host's counter when its own was zero.
    pub tsc_start: AtomicU64,
    /// How its counter becomes nanoseconds.
    pub scale: Scale,
    /// Its I/O APIC.
    pub ioapic: Mutex<Vioapic>,
    /// Writes that nobody waits for.
    pub doorbells: Mutex<Doorbells>,
    /// Where it stands what its vCPUs wait for.
    pub io_page: Option<SharedPage>,
    /// The event that says so.
    pub io_event: u32,
    /// The event that says that it ended by itself.
    pub end_event: u32,
    /// Its vCPUs.
    pub bodies: Pooled<[Mutex<Body>]>,
    /// Guest-physical to host-physical memory, and what is left for more tables.
    nested: Mutex<(AddressSpace, Frames)>,
    /// hv's own memory for it.
    pool: PhysRange,
    /// Bytes of its RAM that are cleared, once it leaves; before, [`leave::NOTHING_CLEARED`].
    cleared: AtomicU64,
    /// Who had the last lowest-priority interrupt.
    last_lowest: AtomicU32,
}

/// What only the home core touches, or whoever starts a VM that does not run.
pub struct Body {
    /// Decisions.
    pub vcpu: Vcpu,
    /// Hardware.
    pub hardware: svm::Vcpu,
    /// Registers while another guest has the core.
    pub registers: xstate::State,
    /// Which start this is: registers that are left of an earlier one are nobody's.
    pub start: u64,
}

impl Vm {
    /// What others know of its vCPUs.
    pub fn fronts(&self) -> &'static [Front] {
        self.place.fronts.get(..self.bodies.len()).unwrap_or_default()
    }

    /// The nanoseconds of its time when the host's counter is `tsc`.
    pub fn nanos(&self, tsc: u64) -> u64 {
        self.scale.nanos(tsc.wrapping_sub(self.tsc_start.load(Ordering::Relaxed)))
    }

    /// Delivers a message to the local APICs that it is for; `from` sent it, if a vCPU did.
    pub fn deliver(&self, from: Option<u32>, message: Message) {
        let fronts = self.fronts();
        let sent_by = |index: usize| from == Some(index as u32);
        if message.mode == DeliveryMode::LowestPriority {
            let addresses = fronts.iter().map(|front| front.mailbox.address());
            let last = self.last_lowest.load(Ordering::Relaxed) as usize;
            let sender = from.map(|index| index as usize);
            if let Some(index) = pick_lowest(addresses, message.destination, sender, last) {
                self.last_lowest.store(index as u32, Ordering::Relaxed);
                deliver_to(&fronts[index], message);
            }
            return;
        }
        // The common case: an ID is a vCPU's number.
        if let Destination::Physical(id) = message.destination
            && let Some(front) = fronts.get(id as usize)
            && front.mailbox.address().matches(message.destination, sent_by(id as usize))
        {
            return deliver_to(front, message);
        }
        for (index, front) in fronts.iter().enumerate() {
            if front.mailbox.address().matches(message.destination, sent_by(index)) {
                deliver_to(front, message);
            }
        }
    }
}

fn deliver_to(front: &Front, message: Message) {
    front.post(match message.mode {
        DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
            if front.mailbox.post_interrupt(message.vector, message.trigger) {
                front.kick();
            }
            return;
        }
        DeliveryMode::Nmi => Wish::NMI,
        DeliveryMode::Init => Wish::INIT,
        DeliveryMode::Startup => Wish::startup(message.vector),
    });
}
