//! The micro-guest: runs in place of the management VM and tests, from inside, that the CPU it is
//! given keeps the contract. Each case says its name and its outcome by `log.write`.
//!
//! Lines in the box log (`vm.log … text=`): `guest.start cpus=N`, then `case.pass NAME` or
//! `case.fail NAME: WHAT` for each case, `bench NAME TICKS` for each kind of exit, then `guest.end passed=N failed=N`.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

mod apic;
mod bench;
mod cases;
mod hypercall;
mod smp;
mod traps;
mod window;

use hypercall::log;

/// What hv hands over: a page of words in the guest's RAM.
pub struct Handover {
    /// Virtual CPUs.
    pub cpus: u64,
    /// Low memory, where the other CPUs start.
    pub low: u64,
    /// Root of the page tables in use.
    pub root: u64,
    /// One past the last byte of RAM.
    pub ram_end: u64,
}

/// Where hv starts the guest: long mode, interrupts off, its RAM mapped where it is.
///
/// # Safety
/// Called once, by hv, with the address of the handover.
#[unsafe(no_mangle)]
unsafe extern "C" fn guest_entry(handover: *const [u64; 8]) -> ! {
    // SAFETY: hv's promise.
    let [cpus, ram, ram_bytes, low, _, root, ..] = unsafe { handover.read() };
    let handover = Handover { cpus, low, root, ram_end: ram + ram_bytes };
    traps::install();
    log(format_args!("guest.start cpus={cpus}"));
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases::ALL.iter().copied().flatten() {
        match case(&handover) {
            Ok(()) => {
                passed += 1;
                log(format_args!("case.pass {name}"));
            }
            Err(what) => {
                failed += 1;
                log(format_args!("case.fail {name}: {what}"));
            }
        }
    }
    bench::run();
    log(format_args!("guest.end passed={passed} failed={failed}"));
    halt()
}

/// Sleeps for good.
pub fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log(format_args!("guest.panic {info}"));
    halt()
}
