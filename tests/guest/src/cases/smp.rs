//! Starting CPUs, and starting them again.

use super::{Named, Outcome, check};
use crate::cases::edges::{answering, run};
use crate::traps::arrived;
use crate::{Handover, apic, smp, window};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hv_defs::apic::icr;

pub const MANY: &[Named] = &[
    ("smp/start", start),
    ("smp/code-by-another", code_by_another),
    ("smp/restart", restart),
    ("smp/init-holds", init_holds),
];
pub const AGAIN: &[Named] = &[("x2apic/restart", restart), ("x2apic/init-holds", init_holds)];

fn start(handover: &Handover) -> Outcome {
    for id in 1..handover.cpus as u32 {
        smp::start(handover, id)?;
    }
    check(u64::from(smp::running()) == handover.cpus, "not all CPUs run")
}

static CODE: AtomicU64 = AtomicU64::new(0);
static VALUE: AtomicU32 = AtomicU32::new(0);

/// Code that another CPU has written runs as written, once this one has been told.
fn code_by_another(handover: &Handover) -> Outcome {
    let code = window::frame(handover, 32);
    CODE.store(code, Ordering::SeqCst);
    for round in 1..=50 {
        VALUE.store(round, Ordering::SeqCst);
        let writer = round % handover.cpus as u32;
        let job: smp::Job = |_| {
            window::put(CODE.load(Ordering::SeqCst), &answering(VALUE.load(Ordering::SeqCst)));
        };
        if writer == 0 {
            job(0);
        } else {
            smp::ask(writer, job);
            check(smp::finished(writer), "a CPU does not do what it shall")?;
        }
        // A serialising instruction, as is owed (APM 2, 7.6.1).
        let _ = core::arch::x86_64::__cpuid(0);
        check(run(code) == round, "code that another CPU has written runs as it was")?;
    }
    Ok(())
}

static TURNS: AtomicU64 = AtomicU64::new(0);

fn for_ever(_: u32) {
    loop {
        TURNS.fetch_add(1, Ordering::SeqCst);
    }
}

/// INIT takes a CPU out of anything: a loop with interrupts off, and sleep.
fn restart(handover: &Handover) -> Outcome {
    for id in 1..handover.cpus as u32 {
        let before = TURNS.load(Ordering::SeqCst);
        smp::ask(id, for_ever);
        check(smp::wait(|| TURNS.load(Ordering::SeqCst) > before + 10), "a CPU does not run")?;
        smp::start(handover, id)?;
        let stands = TURNS.load(Ordering::SeqCst);
        smp::start(handover, id)?;
        smp::ask(id, |id| VALUE.store(1000 + id, Ordering::SeqCst));
        check(smp::finished(id) && VALUE.load(Ordering::SeqCst) == 1000 + id, "a CPU does not work again")?;
        check(TURNS.load(Ordering::SeqCst) == stands, "a CPU goes on with what it did before INIT")?;
    }
    Ok(())
}

/// After INIT a CPU takes nothing but STARTUP.
fn init_holds(handover: &Handover) -> Outcome {
    let others = handover.cpus as u32 - 1;
    for id in 1..=others {
        apic::send(id, icr::INIT | icr::ASSERT);
    }
    let (nmis, interrupts) = (arrived(2), arrived(0xa8));
    apic::send(0, icr::NMI | icr::ASSERT | icr::ALL_BUT_SELF);
    apic::send(0, icr::ASSERT | icr::ALL_BUT_SELF | 0xa8);
    // One after the other: the later ones have waited longer.
    for id in 1..=others {
        smp::start(handover, id)?;
    }
    smp::everybody(handover, false, |_| {})?;
    check(arrived(2) == nmis, "a CPU that waits for STARTUP takes an NMI")?;
    check(arrived(0xa8) == interrupts, "a CPU that waits for STARTUP takes an interrupt")
}
