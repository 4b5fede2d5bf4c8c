//! The micro-guest: runs in place of the management VM and tests, from inside, that the CPU it is
//! given keeps the contract. Each case says its name and its outcome by `log.write`.
//!
//! Lines in the box log (`vm.log … text=`): `guest.start cpus=N`, then `case.pass NAME` or
//! `case.fail NAME: WHAT` for each case, `bench NAME TICKS` for each kind of exit, then `guest.end passed=N failed=N`.
//! With the option `mgmt.only=START` only the cases run whose names start so; `mgmt.fuzz=SEED,STEPS` is for
//! those that do anything at all; `mgmt.power=off` or `=restart` is asked for when the cases have run, in
//! place of the benches.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

mod apic;
mod bench;
mod cases;
mod child;
mod hypercall;
mod manager;
#[path = "../../fuzz/random.rs"]
mod random;
mod smp;
mod traps;
mod window;

use core::slice;
use hv_abi::hypercall::Call;
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
    /// The command line.
    pub options: &'static str,
}

/// Where hv starts the guest: long mode, interrupts off, its RAM mapped where it is.
///
/// # Safety
/// Called once, by hv, with the address of the handover.
#[unsafe(no_mangle)]
unsafe extern "C" fn guest_entry(handover: *const [u64; 10]) -> ! {
    // SAFETY: hv's promise.
    let [cpus, ram, ram_bytes, low, _, root, _, _, text, len] = unsafe { handover.read() };
    // SAFETY: as above; the text stays, and nobody writes it.
    let text =
        unsafe { slice::from_raw_parts(core::ptr::with_exposed_provenance(text as usize), len as usize) };
    let options = str::from_utf8(text).unwrap_or("");
    let handover = Handover { cpus, low, root, ram_end: ram + ram_bytes, options };
    traps::install();
    log(format_args!("guest.start cpus={cpus}"));
    let (mut passed, mut failed) = (0, 0);
    let only = option(options, "mgmt.only=").unwrap_or("");
    for (name, case) in cases::ALL.iter().copied().flatten().filter(|(name, _)| name.starts_with(only)) {
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
    let power = match option(options, "mgmt.power=") {
        Some("off") => Some(Call::POWER_OFF),
        Some("restart") => Some(Call::POWER_RESTART),
        _ => None,
    };
    if let Some(call) = power {
        let answer = hypercall::call(call, [0; 4]);
        log(format_args!("guest.power answer={answer}"));
        halt()
    }
    bench::run(&handover);
    log(format_args!("guest.end passed={passed} failed={failed}"));
    halt()
}

/// The value of an option on the command line; `key` ends with `=`.
pub fn option(line: &'static str, key: &str) -> Option<&'static str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key))
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
