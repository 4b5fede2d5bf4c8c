//! The micro-guest: runs in place of the management VM and tests, from inside, that the CPU it is
//! given keeps the contract. Each case says its name and outcome by `log.write`.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

mod hypercall;

/// Where hv starts the guest: long mode, interrupts off, its RAM mapped where it is.
///
/// # Safety
/// Called once, by hv.
#[unsafe(no_mangle)]
unsafe extern "C" fn guest_entry(_handover: u64) -> ! {
    hypercall::log(format_args!("guest.start"));
    let cpuid = core::arch::x86_64::__cpuid(0x4000_0000);
    hypercall::log(format_args!("cpuid {:x} {:x} {:x}", cpuid.ebx, cpuid.ecx, cpuid.edx));
    hypercall::log(format_args!("guest.end"));
    loop {
        x86_64::instructions::hlt();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    hypercall::log(format_args!("guest.panic {info}"));
    loop {
        x86_64::instructions::hlt();
    }
}
