//! Interrupts between CPUs that are the same in both modes of the local APIC.

use super::{Named, Outcome, check, take_what_waits};
use crate::hypercall::log;
use crate::traps::{arrived, with_hook};
use crate::{Handover, apic, smp};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use hv_abi::hypercall::KVM_SEND_IPI;
use hv_defs::apic::icr;
use x86_64::instructions::interrupts;

pub const MANY: &[Named] = &[
    ("ipi/each", each),
    ("ipi/shorthands", shorthands),
    ("ipi/nmi", nmi),
    ("ipi/by-hypercall", by_hypercall),
    ("ipi/wakes", wakes),
    ("ipi/storm", storm),
];
/// In x2APIC mode.
pub const AGAIN: &[Named] = &[
    ("x2apic/each", each),
    ("x2apic/shorthands", shorthands),
    ("x2apic/nmi", nmi),
    ("x2apic/by-hypercall", by_hypercall),
    ("x2apic/wakes", wakes),
    ("x2apic/storm", storm),
];

/// How often each CPU got the vector that is looked at.
static GOT: [AtomicU32; smp::MOST] = [const { AtomicU32::new(0) }; smp::MOST];
/// The vectors that are looked at.
const LOOKED_AT: core::ops::RangeInclusive<u8> = 0xc0..=0xcf;

/// Sends something with `send`, and answers who got an interrupt of [`LOOKED_AT`], one bit a CPU,
/// once `count` came. None may get two.
pub fn receivers(vector: u8, count: u32, send: impl FnOnce()) -> Result<u32, &'static str> {
    for got in &GOT {
        got.store(0, Ordering::SeqCst);
    }
    let before = arrived(vector);
    let hook: crate::traps::Hook = |vector| {
        if LOOKED_AT.contains(&vector) {
            GOT[apic::id() as usize].fetch_add(1, Ordering::SeqCst);
        }
        false
    };
    let came = with_hook(hook, || {
        send();
        interrupts::enable();
        let came = smp::wait(|| GOT.iter().map(|got| got.load(Ordering::SeqCst)).sum::<u32>() >= count);
        interrupts::disable();
        came
    });
    check(came, "an interrupt does not reach everybody")?;
    check(arrived(vector) == before + count, "an interrupt comes too often")?;
    let got = GOT.iter().enumerate().map(|(id, got)| (id, got.load(Ordering::SeqCst)));
    got.filter(|got| got.1 > 0).try_fold(0, |bits, (id, got)| {
        check(got == 1, "an interrupt comes twice to a CPU").map(|()| bits | 1 << id)
    })
}

/// All CPUs, one bit each.
pub fn all(handover: &Handover) -> u32 {
    (1 << handover.cpus) - 1
}

fn each(handover: &Handover) -> Outcome {
    for id in 0..handover.cpus as u32 {
        let got = receivers(0xc0, 1, || apic::send(id, icr::ASSERT | 0xc0))?;
        check(got == 1 << id, "an interrupt comes to another CPU")?;
    }
    let before = arrived(0xc1);
    apic::send(handover.cpus as u32, icr::ASSERT | 0xc1);
    smp::everybody(handover, false, |_| take_what_waits())?;
    check(arrived(0xc1) == before, "an interrupt for nobody comes")
}

fn shorthands(handover: &Handover) -> Outcome {
    let (cpus, all) = (handover.cpus as u32, all(handover));
    let send = |shorthand: u32| apic::send(0, icr::ASSERT | shorthand << icr::SHORTHAND_SHIFT | 0xc2);
    check(receivers(0xc2, 1, || send(1))? == 1, "the shorthand for oneself is another's")?;
    check(receivers(0xc2, cpus, || send(2))? == all, "the shorthand for all does not reach all")?;
    if cpus > 1 {
        check(
            receivers(0xc2, cpus - 1, || send(3))? == all & !1,
            "the shorthand for others reaches another",
        )?;
    }
    let broadcast = if apic::is_x2() { u32::MAX } else { 0xff };
    let got = receivers(0xc3, cpus, || apic::send(broadcast, icr::ASSERT | 0xc3))?;
    check(got == all, "the ID of all does not reach all")
}

fn nmi(handover: &Handover) -> Outcome {
    let (others, before) = (handover.cpus as u32 - 1, arrived(2));
    for round in 1..=3 {
        apic::send(0, icr::NMI | icr::ASSERT | icr::ALL_BUT_SELF);
        check(smp::wait(|| arrived(2) == before + round * others), "an NMI is lost")?;
    }
    log(format_args!("guest.nmi others={others}"));
    Ok(())
}

/// KVM's call for an IPI to many, as stock kernels make it.
fn by_hypercall(handover: &Handover) -> Outcome {
    let call = |low: u64, high: u64, first: u64, command: u64| {
        let result: i64;
        // SAFETY: RBX is put back; the call touches no memory.
        unsafe {
            asm!("xchg rbx, {low}", "vmmcall", "xchg rbx, {low}", low = inout(reg) low => _,
                 inlateout("rax") KVM_SEND_IPI => result, in("rcx") high, in("rdx") first, in("rsi") command);
        }
        result
    };
    let (cpus, all) = (handover.cpus as u32, all(handover));
    let got = receivers(0xc4, cpus, || {
        let _ = call(all.into(), 0, 0, 0xc4);
    })?;
    check(got == all, "KVM's call does not reach all")?;
    if cpus > 1 {
        let got = receivers(0xc4, cpus - 1, || {
            let _ = call((all >> 1).into(), 0, 1, 0xc4);
        })?;
        check(got == all & !1, "KVM's call does not count from its first ID")?;
    }
    check(call(u64::MAX, u64::MAX, u64::from(u32::MAX - 3), 0xc4) >= 0, "KVM's call refuses nobody's IDs")?;
    check(call(1, 0, 0, (icr::LOGICAL | 0xc4).into()) < 0, "KVM's call takes a logical destination")
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// From `HLT` to `HLT`: each CPU wakes the next.
fn wakes(handover: &Handover) -> Outcome {
    for _ in 0..50 {
        for id in 1..handover.cpus as u32 {
            let before = arrived(0xc5);
            smp::ask(id, |_| apic::send(0, icr::ASSERT | 0xc5));
            while arrived(0xc5) == before {
                interrupts::enable_and_hlt();
                interrupts::disable();
            }
            check(smp::finished(id), "a CPU does not finish")?;
        }
    }
    Ok(())
}

/// Everybody interrupts everybody, one hundred times: whoever was interrupted has seen it in the end.
fn storm(handover: &Handover) -> Outcome {
    COUNT.store(0, Ordering::SeqCst);
    smp::everybody(handover, true, |_| {
        interrupts::enable();
        for _ in 0..100 {
            apic::send(0, icr::ASSERT | icr::ALL_BUT_SELF | 0xc6);
        }
        interrupts::disable();
        COUNT.fetch_add(1, Ordering::SeqCst);
    })?;
    check(u64::from(COUNT.load(Ordering::SeqCst)) == handover.cpus, "a CPU does not come through a storm")?;
    let before = arrived(0xc7);
    let others = handover.cpus as u32 - 1;
    apic::send(0, icr::ASSERT | icr::ALL_BUT_SELF | 0xc7);
    check(smp::wait(|| arrived(0xc7) == before + others), "an interrupt is lost after a storm")?;
    take_what_waits();
    check(others == 0 || arrived(0xc6) >= others, "no interrupt of a storm comes")
}
