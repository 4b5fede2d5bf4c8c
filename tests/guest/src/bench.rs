//! What an exit costs, in ticks of the time stamp counter: instructions, where the machine below
//! counts those (QEMU's `-icount shift=0`). The last cases have left the local APIC in x2APIC mode.

use crate::apic;
use crate::hypercall::{call, log};
use crate::traps::arrived;
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::hint::black_box;
use hv_abi::hypercall::Call;
use hv_defs::apic::{Register, icr, lvt_timer};
use hv_defs::msr;
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

const ROUNDS: u64 = 1000;

/// Ticks of one `act`, less those of the loop around it.
fn cost(mut act: impl FnMut()) -> u64 {
    // SAFETY: reading the counter has no effect on memory.
    let now = || unsafe { _rdtsc() };
    let empty = now();
    for round in 0..ROUNDS {
        black_box(round);
    }
    let start = now();
    for round in 0..ROUNDS {
        black_box(round);
        act();
    }
    let end = now();
    (end - start).saturating_sub(start - empty) / ROUNDS
}

/// Has a value computed that nobody needs.
fn keep<T>(value: T) {
    let _ = black_box(value);
}

/// Measures everything and says `bench NAME TICKS`.
pub fn run() {
    let mut timer = Port::<u32>::new(0x608);
    let adjust = Msr::new(0x3b);
    let mut deadline = Msr::new(msr::TSC_DEADLINE);
    let results = [
        ("cpuid", cost(|| keep(__cpuid(black_box(1))))),
        ("hypercall", cost(|| keep(call(Call::HELLO, [0; 4])))),
        // SAFETY: TSC_ADJUST is there.
        ("rdmsr", cost(|| keep(unsafe { adjust.read() }))),
        // SAFETY: reading the PM timer changes nothing.
        ("port", cost(|| keep(unsafe { timer.read() }))),
        ("eoi", cost(apic::end_of_interrupt)),
        ("self-ipi", {
            interrupts::enable();
            let cost = cost(|| {
                let before = arrived(0x81);
                apic::send(0, icr::ASSERT | 0x81);
                while arrived(0x81) == before {}
            });
            interrupts::disable();
            cost
        }),
        ("tsc-deadline", {
            apic::write(Register::LVT_TIMER, lvt_timer::TSC_DEADLINE | 0x82);
            interrupts::enable();
            let cost = cost(|| {
                let before = arrived(0x82);
                // SAFETY: the deadline is over at once.
                unsafe { deadline.write(1) };
                while arrived(0x82) == before {}
            });
            interrupts::disable();
            cost
        }),
    ];
    for (name, ticks) in results {
        log(format_args!("bench {name} {ticks}"));
    }
}
