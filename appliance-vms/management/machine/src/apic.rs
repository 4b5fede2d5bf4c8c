//! The local APIC, in x2APIC mode, which hv gives every VM.

use crate::dma;
use core::sync::atomic::AtomicU32;
use hv_defs::apic::{Register, SOFTWARE_ENABLE, lvt_timer};
use hv_defs::kvm::{ENABLED, PV_EOI};
use hv_defs::msr::{APIC_BASE, apic_base};
use x86_64::registers::model_specific::Msr;

/// Interrupt of the timer.
pub const TIMER: u8 = 0x30;
/// Interrupt of hv's events.
pub const EVENTS: u8 = 0x31;
/// Interrupt that means nothing; it is not ended. SDM 3, 11.9.
pub const SPURIOUS: u8 = 0xff;

/// While bit 0 is set, `interrupt_stub` may clear it instead of writing the EOI register: an exit less for
/// most interrupts. Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN.
#[unsafe(no_mangle)]
static END_OF_INTERRUPT: AtomicU32 = AtomicU32::new(0);

/// Has it deliver interrupts, and its timer fire at the TSC's deadline.
pub fn switch_on() {
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: hv's contract: every VM has x2APIC mode, the deadline mode and the word, and
    // the IDT is loaded.
    unsafe {
        base.write(base.read() | apic_base::X2APIC);
        Msr::new(Register::SPURIOUS.msr()).write(u64::from(SOFTWARE_ENABLE | u32::from(SPURIOUS)));
        Msr::new(Register::LVT_TIMER.msr()).write(u64::from(lvt_timer::TSC_DEADLINE | u32::from(TIMER)));
        Msr::new(PV_EOI).write(dma::physical(&raw const END_OF_INTERRUPT) | ENABLED);
    }
}
