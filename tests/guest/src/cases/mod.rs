//! The cases: what a guest may rely on.
//!
//! Where QEMU 7.2's SVM differs from silicon, a case says so; what holds must hold on both. Where each
//! difference that hv deals with is looked at:
//!
//! * XSETBV is not intercepted: `control/xcr0`
//! * RDTSCP looks like RDTSC: `msr/tsc`; no help with instruction lengths: `debug/step-over-exits`,
//!   `code/at-the-end-of-a-page`
//! * an interrupt whose delivery faults looks like an exception: `exception/delivery-faults`
//! * reserved-bit faults lack a bit: `paging/reserved-bits`
//! * V_IRQ comes in the shadow of STI: `apic/pending-ends-hlt`
//! * an injected NMI blocks no other: `apic/nmi-does-not-nest`
//! * addresses that are not canonical: `msr/not-canonical`, `paging/not-canonical`; PAE's root gets
//!   accessed bits: `modes/pae-paging`

mod apic;
mod apic_many;
mod clock;
mod control;
mod cpuid;
mod debug;
mod edges;
mod events;
mod exceptions;
mod fuzz;
mod hypercalls;
mod ipi;
mod mmio;
mod modes;
mod msr;
mod paging;
mod smp;
pub mod state;
mod timer;
mod vm;
mod vm_events;
mod vm_share;
mod x2apic;

pub use vm_events::serve;

use crate::traps::arrived;
use crate::{Handover, smp as cpus};
use x86_64::instructions::interrupts;

pub type Outcome = Result<(), &'static str>;
/// One case.
pub type Case = fn(&Handover) -> Outcome;
type Named = (&'static str, Case);

/// In the order that they run: the later ones build on what the earlier ones switched on. Up to
/// `smp/start` there is one CPU; from `x2apic/switch` on all are in x2APIC mode.
pub const ALL: &[&[Named]] = &[
    cpuid::ONE,
    msr::ONE,
    hypercalls::ONE,
    apic::ONE,
    events::ONE,
    timer::ONE,
    control::ONE,
    debug::ONE,
    mmio::ONE,
    edges::ONE,
    paging::ONE,
    exceptions::ONE,
    state::ONE,
    modes::ONE,
    clock::ONE,
    smp::MANY,
    ipi::MANY,
    events::MANY,
    apic_many::MANY,
    cpuid::MANY,
    clock::MANY,
    x2apic::MANY,
    ipi::AGAIN,
    smp::AGAIN,
    vm::MANY,
    vm_events::MANY,
    vm_share::MANY,
    fuzz::MANY,
];

/// An exception's vector and error code, or none.
type Fault = Option<(u8, u32)>;
const GP: Fault = Some((13, 0));
const UD: Fault = Some((6, 0));

fn check(holds: bool, otherwise: &'static str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Waits with interrupts on until `vector` has come once more than `before`.
fn comes(vector: u8, before: u32) -> bool {
    interrupts::enable();
    let came = cpus::wait(|| arrived(vector) > before);
    interrupts::disable();
    came
}

/// Takes what is waiting: an interrupt that comes with interrupts on comes before the next
/// instruction but one.
fn take_what_waits() {
    interrupts::enable();
    x86_64::instructions::nop();
    x86_64::instructions::nop();
    interrupts::disable();
}
