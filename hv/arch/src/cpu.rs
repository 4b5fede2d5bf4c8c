//! Single instructions and control registers.

use core::arch::{asm, x86_64 as intrinsics};
use hv_core::features::Features;
use hv_defs::msr;
use raw_cpuid::CpuIdResult;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

/// The time stamp counter.
#[inline]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading the counter has no effect on memory; the fence keeps it from moving up.
    unsafe {
        asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// CPUID, as `hv-core` reads it.
pub fn cpuid(leaf: u32, sub_leaf: u32) -> CpuIdResult {
    let result = intrinsics::__cpuid_count(leaf, sub_leaf);
    CpuIdResult { eax: result.eax, ebx: result.ebx, ecx: result.ecx, edx: result.edx }
}

/// Reads a model-specific register.
///
/// # Safety
/// The register exists on this processor; else the processor faults.
pub unsafe fn read_msr(number: u32) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { Msr::new(number).read() }
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists, takes this value, and what it changes is the caller's to change.
pub unsafe fn write_msr(number: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { Msr::new(number).write(value) }
}

/// Sleeps until an interrupt or NMI, with interrupts on meanwhile.
pub fn wait_for_interrupt() {
    x86_64::instructions::interrupts::enable_and_hlt();
    x86_64::instructions::interrupts::disable();
}

/// Takes the interrupts that wait, and goes on.
pub fn take_interrupts() {
    x86_64::instructions::interrupts::enable();
    // One instruction runs before an interrupt is taken (APM 3, STI).
    x86_64::instructions::nop();
    x86_64::instructions::interrupts::disable();
}

/// Stops this CPU for good; only NMIs still wake it, for an instant.
pub fn halt_forever() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Sets the control registers of this CPU as hv wants them: write protection and no-execute for
/// hv itself, no user pages executed or touched by mistake.
pub fn set_control_registers(features: &Features) {
    let cr4 = [
        (true, Cr4Flags::PAGE_GLOBAL),
        (features.bits.xsave, Cr4Flags::OSXSAVE),
        (true, Cr4Flags::OSFXSR),
        (features.bits.smep, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (features.bits.smap, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (features.bits.umip, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
    ];
    let wanted = cr4.into_iter().filter(|row| row.0).fold(Cr4::read(), |flags, row| flags | row.1);
    // SAFETY: write protection and no-execute are what hv's page tables are made for, and there
    // are no user pages; each CR4 bit was looked up in CPUID.
    unsafe {
        let efer = read_msr(msr::EFER);
        write_msr(msr::EFER, efer | msr::efer::NO_EXECUTE_ENABLE);
        Cr0::update(|flags| {
            flags.insert(Cr0Flags::WRITE_PROTECT | Cr0Flags::NUMERIC_ERROR | Cr0Flags::MONITOR_COPROCESSOR);
            flags.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
            flags.remove(Cr0Flags::CACHE_DISABLE | Cr0Flags::NOT_WRITE_THROUGH);
        });
        Cr4::write(wanted);
    }
}

/// Goes on in `next` on another stack. What is on the old one is never returned to.
///
/// # Safety
/// `top` is the 16-byte aligned upper end of mapped, writable memory that nothing else uses.
pub unsafe fn continue_on(top: u64, next: extern "C" fn() -> !) -> ! {
    // SAFETY: the caller's promise; `call` leaves the stack as a function expects it at entry.
    unsafe {
        asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            top = in(reg) top,
            next = in(reg) next,
            options(noreturn)
        )
    }
}

/// Return addresses of the calls that led here, from the chain of frame pointers that starts at
/// `rbp`. Ends at a zero, at a step down, or where `mapped` says that memory is not to be read.
pub fn call_chain(rbp: u64, mapped: impl Fn(u64) -> bool) -> impl Iterator<Item = u64> {
    let mut frame = rbp;
    core::iter::from_fn(move || {
        if frame == 0 || !frame.is_multiple_of(8) || !mapped(frame) || !mapped(frame + 8) {
            return None;
        }
        let at: *const u64 = core::ptr::with_exposed_provenance(frame as usize);
        // SAFETY: aligned, and mapped by the caller's word.
        let (next, return_address) = unsafe { (at.read_volatile(), at.add(1).read_volatile()) };
        frame = if next > frame { next } else { 0 };
        (return_address != 0).then_some(return_address)
    })
}
