//! One core for several virtual machines: fair shares, urgency, and neighbours that behave badly.
//!
//! What depends on how busy the machine below is, is said as `measure NAME VALUE`; whoever runs this
//! where every instruction is a tick can hold it against the promise.

use super::vm::counts;
use super::{Named, Outcome, check};
use crate::child::{Child, Job, Plan, jobs};
use crate::hypercall::{call, log};
use crate::{Handover, manager};
use hv_abi::hypercall::{Call, Status};

pub const MANY: &[Named] = &[
    ("share/equal", equal),
    ("share/urgent-comes-first", urgent),
    ("share/resumed-with-mail", resumed_with_mail),
    ("share/registers", registers),
    ("share/memory", memory),
    ("share/bad-neighbours", bad_neighbours),
];

/// Two that want the core all the time have half of it each.
fn equal(handover: &Handover) -> Outcome {
    let plan = Plan::new(handover, "half");
    let pair = [Child::new(handover, 0, &plan)?, Child::new(handover, 1, &plan)?];
    for child in &pair {
        child.start(jobs::count, 1, &[])?;
    }
    manager::sleep(400_000);
    for child in &pair {
        check(child.step(Call::VM_PAUSE) == 0, "a VM can't be paused")?;
    }
    let [first, second] = [0, 1].map(|at| pair[at].status().cpu_nanos);
    let counted = [0, 1].map(|at| pair[at].room().get(jobs::COUNT));
    for child in pair {
        child.destroy()?;
    }
    let permille = |one: u64, other: u64| one * 1000 / (one + other).max(1);
    log(format_args!("measure share-permille {}", permille(counted[0], counted[1])));
    check((300..=700).contains(&permille(first, second)), "two that want the same do not get the same")
}

/// What came for a VM while it was paused is there as soon as it goes on, whoever else spins on its core.
fn resumed_with_mail(handover: &Handover) -> Outcome {
    let spinning = Child::new(handover, 0, &Plan::new(handover, "spinning"))?;
    spinning.start(jobs::count, 1, &[])?;
    let paused = Child::new(handover, 1, &Plan { class: 1, ..Plan::new(handover, "paused") })?;
    paused.start(jobs::listen, 1, &[])?;
    check(manager::sleep_until(|| paused.room().get(jobs::COUNT) == 1), "a VM does not start")?;
    check(paused.step(Call::VM_PAUSE) == 0, "a VM can't be paused")?;
    check(call(Call::IO_MSI, [paused.vm, 0xfee0_0000, 0x43, 0]) == 0, "a message is refused")?;
    check(paused.step(Call::VM_RESUME) == 0, "a VM can't be resumed")?;
    // Nothing of ours wakes the core meanwhile.
    manager::nap(50_000);
    let heard = paused.room().get(jobs::HEARD + 3);
    spinning.destroy()?;
    paused.destroy()?;
    check(heard == 1, "what came for a VM that was paused comes late")
}

/// A VM of a higher class that wakes has the core at once, though another one spins.
fn urgent(handover: &Handover) -> Outcome {
    let spinning = Child::new(handover, 0, &Plan::new(handover, "spinning"))?;
    spinning.start(jobs::count, 1, &[])?;
    let plan = Plan { class: 1, ..Plan::new(handover, "waking") };
    let waking = Child::new(handover, 1, &plan)?;
    waking.start(jobs::ticks, 1, &[0, 0, 2300, 50])?;
    waking.finish()?;
    check(waking.room().get(jobs::WRONG) == 0, "an alarm comes early, or HLT ends without it")?;
    log(format_args!("measure wake-nanos {}", waking.room().get(jobs::LATEST)));
    // Class by call: the one that spins becomes the urgent one, and keeps most of the core.
    check(call(Call::VM_CLASS, [spinning.vm, 3, 0, 0]) == Status::BAD_ARGUMENT.0, "there is a fourth class")?;
    waking.step(Call::VM_STOP);
    check(call(Call::VM_CLASS, [spinning.vm, 1, 0, 0]) == 0, "a class can't be changed")?;
    check(call(Call::VM_CLASS, [waking.vm, 2, 0, 0]) == 0, "a class can't be changed")?;
    waking.start(jobs::count, 1, &[])?;
    let before = [spinning.status().cpu_nanos, waking.status().cpu_nanos];
    manager::sleep(300_000);
    let after = [spinning.status().cpu_nanos, waking.status().cpu_nanos];
    let [front, back] = [0, 1].map(|at| after[at] - before[at]);
    spinning.destroy()?;
    waking.destroy()?;
    log(format_args!("measure front-permille {}", front * 1000 / (front + back).max(1)));
    check(back > 0, "one that is not urgent gets nothing at all")?;
    check(front > back, "the urgent one does not come first")
}

/// Vector registers while others have the core.
fn registers(handover: &Handover) -> Outcome {
    undisturbed(handover, jobs::registers, "vector registers are not kept while others have the core")
}

/// What lies at the same addresses, while others have the core: one VM's translations are not another's.
/// (QEMU forgets all of them at every entry; a CPU keeps them by ASID, APM 2, 15.16.)
fn memory(handover: &Handover) -> Outcome {
    undisturbed(handover, jobs::memory, "a VM reads what another one wrote at the same address")
}

/// Three VMs on one core, each of which looks at what is its own, run, and find it as it was.
fn undisturbed(handover: &Handover, job: Job, otherwise: &'static str) -> Outcome {
    let plan = Plan::new(handover, "undisturbed");
    let trio =
        [Child::new(handover, 0, &plan)?, Child::new(handover, 1, &plan)?, Child::new(handover, 2, &plan)?];
    for (seed, child) in (1_u64..).zip(&trio) {
        child.start(job, 1, &[0, 0, seed << 20])?;
    }
    manager::sleep(60_000);
    let run = trio.iter().all(counts);
    let wrong = trio.iter().any(|child| child.room().get(jobs::WRONG) != 0);
    for child in trio {
        child.destroy()?;
    }
    check(run, "one of three VMs does not run")?;
    check(!wrong, otherwise)
}

/// Spinning with interrupts off, exits without end, triple faults over and over: a neighbour's clock
/// ticks on.
fn bad_neighbours(handover: &Handover) -> Outcome {
    let good = Child::new(handover, 0, &Plan::new(handover, "good"))?;
    good.start(jobs::ticks, 1, &[0, 0, 5000, 0])?;
    let names: [(&'static str, Job); 3] =
        [("spins", jobs::count), ("floods", jobs::flood), ("faults", jobs::triple_fault)];
    for (name, job) in names {
        let bad = Child::new(handover, 1, &Plan::new(handover, name))?;
        good.room().set(jobs::LATEST, 0);
        let until = manager::tsc() + 100 * manager::tsc_khz();
        while manager::tsc() < until {
            if bad.status().state != hv_abi::status::VmState::RUNNING {
                bad.start(job, 1, &[])?;
            }
            manager::sleep(2000);
        }
        bad.destroy()?;
        check(counts(&good), "a bad neighbour stops the clock")?;
        log(format_args!("measure late-beside-{name} {}", good.room().get(jobs::LATEST)));
    }
    check(good.room().get(jobs::WRONG) == 0, "an alarm comes early, or HLT ends without it")?;
    good.destroy()
}
