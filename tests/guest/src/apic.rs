//! The local APIC, from the guest's side: the xAPIC page first, x2APIC MSRs once switched over.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use hv_defs::apic::{Register, icr};
use hv_defs::kvm;
use hv_defs::msr::{APIC_BASE, apic_base};
use x86_64::registers::model_specific::Msr;

const PAGE: usize = 0xfee0_0000;

/// All CPUs are in the same mode.
static X2: AtomicBool = AtomicBool::new(false);

/// Reads a register.
pub fn read(register: Register) -> u32 {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: the register exists in x2APIC mode.
        return unsafe { Msr::new(register.msr()).read() as u32 };
    }
    let at = core::ptr::with_exposed_provenance::<u32>(PAGE + register.0 as usize);
    // SAFETY: hv maps the page, and has a local APIC there.
    unsafe { at.read_volatile() }
}

/// Writes a register.
pub fn write(register: Register, value: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: as for `read`.
        return unsafe { Msr::new(register.msr()).write(u64::from(value)) };
    }
    let at = core::ptr::with_exposed_provenance_mut::<u32>(PAGE + register.0 as usize);
    // SAFETY: as for `read`.
    unsafe { at.write_volatile(value) };
}

/// Sends a command to a CPU.
pub fn send(to: u32, command: u32) {
    if X2.load(Ordering::Relaxed) {
        // SAFETY: as for `read`.
        return unsafe { Msr::new(Register::ICR.msr()).write(u64::from(to) << 32 | u64::from(command)) };
    }
    write(Register::ICR_HIGH, to << 24);
    write(Register::ICR, command);
}

/// Has the APIC deliver interrupts.
pub fn enable() {
    write(Register::SPURIOUS, 0x1ff);
}

/// This CPU's ID.
pub fn id() -> u32 {
    let id = read(Register::ID);
    if X2.load(Ordering::Relaxed) { id } else { id >> 24 }
}

/// Sends a command with a destination of 8 bits, in xAPIC mode, or all 32 in x2APIC mode; that is a
/// logical one.
pub fn send_logical(to: u32, command: u32) {
    send(to, command | icr::LOGICAL);
}

/// Where KVM's word of the first CPU is, if it is in use: while bit 0 is set, clearing it ends an interrupt.
pub static EOI_WORD: AtomicPtr<u32> = AtomicPtr::new(core::ptr::null_mut());
/// Interrupts that were ended by the word.
pub static ENDED_BY_WORD: AtomicU32 = AtomicU32::new(0);

/// Has this CPU, the first, end interrupts by `word` from now on, or by the register alone again.
///
/// # Safety
/// The word stays where it is, is mapped there, and is nobody else's while it is in use.
pub unsafe fn end_by_word(word: Option<&AtomicU32>) {
    let at = word.map_or(core::ptr::null_mut(), AtomicU32::as_ptr);
    EOI_WORD.store(at, Ordering::SeqCst);
    let in_use = if word.is_some() { kvm::ENABLED } else { 0 };
    // SAFETY: CPUID shows KVM's word.
    unsafe { Msr::new(kvm::PV_EOI).write(at.addr() as u64 | in_use) };
}

/// Says that an interrupt is done with: as kernels do that know KVM.
pub fn end_of_interrupt() {
    let word = EOI_WORD.load(Ordering::Relaxed);
    if !word.is_null() {
        let granted: u8;
        // SAFETY: a word that only this CPU and hv write, and one instruction, as the interface asks.
        unsafe { asm!("btr dword ptr [{}], 0", "setc {}", in(reg) word, out(reg_byte) granted) };
        if granted == 1 {
            ENDED_BY_WORD.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    write(Register::EOI, 0);
}

/// Switches this CPU over to x2APIC mode, for good.
pub fn switch_to_x2() {
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: CPUID shows x2APIC.
    unsafe { base.write(base.read() | apic_base::X2APIC) };
}

/// All CPUs have been switched over.
pub fn all_are_x2() {
    X2.store(true, Ordering::SeqCst);
}

/// This copy of the program is on a CPU whose APIC is in xAPIC mode.
pub fn is_as_after_reset() {
    X2.store(false, Ordering::SeqCst);
    EOI_WORD.store(core::ptr::null_mut(), Ordering::SeqCst);
}

/// Whether they have.
pub fn is_x2() -> bool {
    X2.load(Ordering::SeqCst)
}
