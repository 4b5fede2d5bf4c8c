//! The virtual local APIC: a state machine that only the core running its vCPU touches.
//!
//! What others want of it reaches the owner through a mailbox and then [`Vlapic::accept`]; what it
//! wants of others goes through [`Client`]. Others find it by its [`Address`], a copy that the
//! owner publishes. The reference is SDM 3, chapter 11; APM 2, chapter 16 where the two agree.
//!
//! Six LVT entries, no EOI-broadcast suppression; LINT pins, thermal and performance entries are
//! stored and never raised.

mod icr;
mod irq;
mod message;
mod registers;
#[cfg(test)]
mod tests;
mod timer;

pub use icr::send_ipi;
pub use message::{Address, DeliveryMode, Destination, Message, Trigger, pick_lowest};
pub(crate) use registers::part;
pub use timer::{BUS_HZ, Deadline, Now};

use crate::policy::GeneralProtection;
use hv_defs::apic::{SOFTWARE_ENABLE, lvt_timer::MASKED};
use hv_defs::msr::apic_base;
use irq::Vectors;
use timer::Timer;

/// What a local APIC needs from the world.
pub trait Client {
    /// The time; asked for only by accesses to the timer.
    fn now(&self) -> Now;
    /// Sends a message. Fixed interrupts to the sender alone don't come here.
    fn send(&mut self, message: Message);
    /// A level-triggered interrupt has ended: the I/O APIC wants to know.
    fn end_of_level_interrupt(&mut self, vector: u8);
}

/// Places of the local vector table, in the registers' order.
const LVT_TIMER: usize = 0;
const LVT_ERROR: usize = 5;
const LVT_ENTRIES: usize = 6;

/// Where the xAPIC page is after a reset.
const DEFAULT_PAGE: u64 = 0xfee0_0000;

/// One virtual CPU's local APIC.
#[derive(Clone, Debug)]
pub struct Vlapic {
    id: u32,
    base: u64,
    base_reserved: u64,
    request: Vectors,
    service: Vectors,
    level: Vectors,
    task_priority: u8,
    /// Bits 31–24 of the xAPIC register.
    logical: u8,
    format: u32,
    spurious: u32,
    command: u64,
    errors: u32,
    new_errors: u32,
    lvt: [u32; LVT_ENTRIES],
    timer: Timer,
    moved: bool,
    timer_moved: bool,
}

impl Vlapic {
    /// As after power-on, in xAPIC mode. `physical_bits` is the guest's address width.
    pub fn new(id: u32, boot_cpu: bool, physical_bits: u8) -> Self {
        let boot_cpu = if boot_cpu { apic_base::BOOT_CPU } else { 0 };
        let beyond = u64::MAX.checked_shl(physical_bits.into()).unwrap_or(0);
        let known = apic_base::ADDRESS | apic_base::BOOT_CPU | apic_base::X2APIC | apic_base::ENABLED;
        Self::reset(id, DEFAULT_PAGE | apic_base::ENABLED | boot_cpu, !known | beyond)
    }

    /// INIT: every register as after power-on, but ID and mode stay. SDM 3, 11.4.7.3.
    pub fn init(&mut self) {
        *self = Self::reset(self.id, self.base, self.base_reserved);
    }

    /// SDM 3, 11.4.7.1.
    fn reset(id: u32, base: u64, base_reserved: u64) -> Self {
        Self {
            id,
            base,
            base_reserved,
            request: Vectors::default(),
            service: Vectors::default(),
            level: Vectors::default(),
            task_priority: 0,
            logical: 0,
            format: u32::MAX,
            spurious: 0xff,
            command: 0,
            errors: 0,
            new_errors: 0,
            lvt: [MASKED; LVT_ENTRIES],
            timer: Timer::default(),
            moved: true,
            timer_moved: true,
        }
    }

    /// Where the guest's xAPIC page is; `None` while there is none. Guest RAM at the same place
    /// hides it.
    pub fn page(&self) -> Option<u64> {
        (self.enabled() && !self.x2apic()).then_some(self.base & apic_base::ADDRESS)
    }

    /// Switched on. If not, CPUID leaf 1 must not show an APIC. SDM 3, 11.4.3.
    pub fn enabled(&self) -> bool {
        self.base & apic_base::ENABLED != 0
    }

    /// In x2APIC mode.
    pub fn x2apic(&self) -> bool {
        self.base & apic_base::X2APIC != 0
    }

    /// Enabled by software; never so while it is switched off, because that resets it.
    fn accepts(&self) -> bool {
        self.spurious & SOFTWARE_ENABLE != 0
    }

    /// Under which addresses it answers.
    pub fn address(&self) -> Address {
        if !self.enabled() {
            return Address::default();
        }
        Address::new(self.id, self.logical, self.format >> 28 == 0, self.x2apic(), self.accepts())
    }

    /// Nothing is requested, neither deliverable nor not.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.request.is_empty()
    }

    /// The address, if it may have changed since this was last asked: publish it.
    #[inline]
    pub fn changed_address(&mut self) -> Option<Address> {
        if !self.moved {
            return None;
        }
        self.moved = false;
        Some(self.address())
    }

    /// When [`Vlapic::expire`] must be called next. A masked timer needs no call: it counts anyway.
    pub fn deadline(&self) -> Option<Deadline> {
        self.timer.next().filter(|_| self.lvt[LVT_TIMER] & MASKED == 0)
    }

    /// The counter that deadlines are meant on has moved.
    pub fn tsc_moved(&mut self) {
        self.timer_moved = true;
    }

    /// Whether [`Vlapic::deadline`] may have changed since this was last asked.
    #[inline]
    pub fn timer_moved(&mut self) -> bool {
        let moved = self.timer_moved;
        if moved {
            self.timer_moved = false;
        }
        moved
    }

    /// Raises the timer's interrupt if it is due.
    pub fn expire(&mut self, now: Now) {
        if self.timer.expire(now) {
            self.timer_moved = true;
            self.raise(LVT_TIMER);
        }
    }
}
