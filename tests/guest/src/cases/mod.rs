//! The cases: what a guest may rely on.
//!
//! Where QEMU 7.2's SVM differs from silicon, a case says so; what holds must hold on both. Each of the
//! eleven known differences, and where what hv does about it is looked at (cases by their names; unit tests
//! are in `hv/arch/src/svm/decode/tests.rs`, or where it says):
//!
//! 1. XSETBV is not intercepted: `control/xcr0`, `state/xsave`
//! 2. RDTSCP looks like RDTSC: `msr/tsc`, `rdtscp_may_say_that_it_is_rdtsc`
//! 3. exit codes have 32 bits: `a_refused_block_is_known_by_32_bits`
//! 4. no next RIP, decode assists and so on: `debug/step-over-exits`, `code/at-the-end-of-a-page`; with
//!    them, `only_what_cpuid_shows_is_used` in `hv/defs/src/svm.rs`
//! 5. an interrupt whose delivery faults looks like an exception: `exception/delivery-faults`,
//!    `an_exception_above_31_is_an_interrupt`
//! 6. ASIDs are ignored: nothing may depend on it; that no VM sees another's translations, `share/memory`;
//!    that flushes are made, `vm/over-and-over`, and of what, `only_what_cpuid_shows_is_used` (see 4)
//! 7. reserved-bit faults lack a bit: `paging/reserved-bits`; device memory is found without them,
//!    `paging/device`, `a_nested_fault_is_taken_as_it_is`
//! 8. V_IRQ comes in the shadow of STI: `apic/pending-ends-hlt`
//! 9. an injected NMI blocks no other: `apic/nmi-does-not-nest`, `apic/nmi-behind-nmi`
//! 10. MWAIT, switching the APIC off and on again, no x2APIC and TSC deadline: `instruction/absent`,
//!     `apic/switched-off`, `x2apic/switch`, `timer/…`, which are hv's own whatever the CPU has; port
//!     accesses of level 3: `port/level-3`; what a bitmap opens is the guest's affair
//! 11. addresses that are not canonical: `msr/not-canonical`, `paging/not-canonical`; faults of the stack
//!     segment: `exception/selectors`; a PAE root gets accessed bits: `modes/pae-paging`

mod apic;
mod apic_many;
mod clock;
mod control;
mod cpuid;
mod debug;
mod devices;
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
    devices::MANY,
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
