//! What an exit costs, in ticks of the time stamp counter: instructions, where the machine below
//! counts those (QEMU's `-icount shift=0`). The last cases have left the local APIC in x2APIC mode.
//!
//! What goes between VMs is read in a child on the same core, which does the thing and counts; with
//! `doorbell-woken`, `io-request` and `hlt-wake` each round has the turns of those whom it wakes in it.

use crate::cases::{Outcome, serve};
use crate::child::{Child, Plan, io_event, jobs};
use crate::hypercall::{call, log};
use crate::traps::arrived;
use crate::{Handover, apic, manager};
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::hint::black_box;
use core::sync::atomic::AtomicU32;
use hv_abi::hypercall::Call;
use hv_abi::ioreq::PORT;
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
pub fn run(handover: &Handover) {
    own();
    if let Err(what) = between(handover) {
        log(format_args!("bench.failed {what}"));
    }
}

/// What one VM does by itself.
fn own() {
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

/// What two do together. The management VM ends its interrupts as ours does: by KVM's word.
fn between(handover: &Handover) -> Outcome {
    let word = AtomicU32::new(0);
    // SAFETY: the stack is mapped where it is.
    unsafe { apic::end_by_word(Some(&word)) };
    let outcome = pairs(handover);
    // SAFETY: there is none any more.
    unsafe { apic::end_by_word(None) };
    outcome
}

fn pairs(handover: &Handover) -> Outcome {
    const BELL_EVENT: u32 = 100;
    let plan = Plan { devices: true, ..Plan::new(handover, "measured") };
    let child = Child::new(handover, 0, &plan)?;
    call(Call::IO_DOORBELL, [child.vm, jobs::BELL, 2, BELL_EVENT.into()]);
    call(Call::IO_DOORBELL, [child.vm, u64::from(jobs::BELL_PORT) | PORT, 2, BELL_EVENT.into()]);
    let rounds = |port: u64| [0, 0, port, ROUNDS];
    // Nobody takes the event: every ring but the first finds it set.
    for (name, port) in [("doorbell", 0), ("doorbell-port", 1)] {
        child.start(jobs::ring, 1, &rounds(port))?;
        told(name, &child, || {})?;
    }
    manager::take(handover, BELL_EVENT);
    child.start(jobs::ring, 1, &rounds(0))?;
    told("doorbell-woken", &child, || {
        manager::take(handover, BELL_EVENT);
    })?;
    child.start(jobs::ask, 1, &rounds(0))?;
    told("io-request", &child, || {
        if manager::take(handover, io_event(0)) {
            serve(&child, 0, &mut |request| jobs::answer(request.address));
        }
    })?;
    child.destroy()?;
    let pair = Child::new(handover, 0, &Plan { vcpus: 2, ..plan })?;
    pair.start(jobs::wake_another, 2, &rounds(0))?;
    told("hlt-wake", &pair, || {})?;
    pair.destroy()
}

/// Sleeps, and does `at_once` whenever it is woken, until the child is done; says what it counted.
fn told(name: &str, child: &Child, mut at_once: impl FnMut()) -> Outcome {
    let mut alarm = 0;
    interrupts::disable();
    while !child.room().is_done() {
        // The alarm is for the end, which wakes nobody.
        if manager::tsc() >= alarm {
            alarm = manager::tsc() + manager::tsc_khz();
            manager::alarm(alarm);
        }
        interrupts::enable_and_hlt();
        interrupts::disable();
        at_once();
    }
    child.step(Call::VM_STOP);
    if child.room().get(jobs::WRONG) != 0 {
        return Err("a child does not measure what it should");
    }
    log(format_args!("bench {name} {}", child.room().get(jobs::LATEST)));
    Ok(())
}
