//! The micro-guest as management VM: its events, and sleep until something is so.

use crate::hypercall::{call, status};
use crate::{Handover, apic, window};
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use hv_abi::hypercall::Call;
use hv_defs::apic::{Register, lvt_timer};
use hv_defs::msr;
use x86_64::instructions::interrupts;
use x86_64::registers::model_specific::Msr;

/// Interrupts: events, and the timer that ends a sleep.
pub const EVENT: u8 = 0xd0;
/// See [`EVENT`].
pub const ALARM: u8 = 0xd1;
/// Frames of the window that are pages shared with hv.
const EVENT_FRAME: u64 = 40;
/// I/O request pages begin here, one a child.
pub const IO_FRAMES: u64 = 41;

static OPEN: AtomicBool = AtomicBool::new(false);

/// Has hv set events from now on, and tell this CPU; once.
pub fn open(handover: &Handover) -> Result<(), &'static str> {
    if OPEN.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    apic::enable();
    let page = window::frame(handover, EVENT_FRAME);
    window::put(page, &[0; 4096]);
    status(call(Call::IO_EVENTS, [page, EVENT.into(), 0, 0]), "the event page is refused")
}

fn word(handover: &Handover, event: u32) -> &'static AtomicU64 {
    let at = window::frame(handover, EVENT_FRAME) + u64::from(event / 64) * 8;
    shared(at)
}

/// A word of RAM that somebody else writes too; it is mapped where it is.
pub fn shared(address: u64) -> &'static AtomicU64 {
    // SAFETY: the callers name RAM that stays mapped, at multiples of eight bytes.
    unsafe { &*core::ptr::with_exposed_provenance(address as usize) }
}

/// Whether an event is set; it is not any more.
pub fn take(handover: &Handover, event: u32) -> bool {
    let bit = 1 << (event % 64);
    word(handover, event).fetch_and(!bit, Ordering::SeqCst) & bit != 0
}

/// Whether an event is set.
pub fn is_set(handover: &Handover, event: u32) -> bool {
    word(handover, event).load(Ordering::SeqCst) & 1 << (event % 64) != 0
}

/// The time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: reading it has no effect on memory.
    unsafe { _rdtsc() }
}

/// Its ticks a millisecond, as KVM's leaf says.
pub fn tsc_khz() -> u64 {
    __cpuid(0x4000_0010).eax.into()
}

/// Has [`ALARM`] come when the counter is `due`.
pub fn alarm(due: u64) {
    apic::write(Register::LVT_TIMER, lvt_timer::TSC_DEADLINE | u32::from(ALARM));
    // SAFETY: CPUID shows the TSC deadline.
    unsafe { Msr::new(msr::TSC_DEADLINE).write(due) };
}

/// Sleeps until `done`, looking at every interrupt and after every millisecond; gives up after a
/// minute. The core is for others meanwhile.
pub fn sleep_until(mut done: impl FnMut() -> bool) -> bool {
    let give_up = tsc() + 60_000 * tsc_khz();
    interrupts::disable();
    loop {
        if done() {
            return true;
        }
        let now = tsc();
        if now > give_up {
            return false;
        }
        alarm(now + tsc_khz());
        interrupts::enable_and_hlt();
        interrupts::disable();
    }
}

/// Sleeps for so many microseconds, without a look in between.
pub fn nap(micros: u64) {
    let due = tsc() + micros * tsc_khz() / 1000;
    interrupts::disable();
    alarm(due);
    while tsc() < due {
        interrupts::enable_and_hlt();
        interrupts::disable();
    }
}

/// Sleeps for so many microseconds.
pub fn sleep(micros: u64) {
    let due = tsc() + micros * tsc_khz() / 1000;
    sleep_until(|| tsc() >= due);
}
