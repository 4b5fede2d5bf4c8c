//! The local APIC in xAPIC mode, as one CPU sees it.

use super::{Named, Outcome, check, comes, take_what_waits};
use crate::traps::{arrived, with_hook};
use crate::{Handover, apic, smp};
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_defs::apic::{Register, error, icr, lvt_timer::MASKED};
use hv_defs::msr::APIC_BASE;
use x86_64::instructions::interrupts;

pub const ONE: &[Named] = &[
    ("apic/version", version),
    ("apic/self-ipi", self_ipi),
    ("apic/pending-ends-hlt", pending_ends_hlt),
    ("apic/request-and-service", request_and_service),
    ("apic/task-priority", task_priority),
    ("apic/nested", nested),
    ("apic/shorthand-self", shorthand_self),
    ("apic/nmi-to-self", nmi_to_self),
    ("apic/nmi-does-not-nest", nmi_does_not_nest),
    ("apic/errors", errors),
    ("apic/local-table", local_table),
    ("apic/software-disable", software_disable),
    ("apic/switched-off", switched_off),
];

fn version(_: &Handover) -> Outcome {
    let version = apic::read(Register::VERSION);
    check(version & 0xf0 == 0x10, "the local APIC is not an integrated one")?;
    check(version >> 16 & 0xff == 5, "the local APIC has not six entries in its table")?;
    check(apic::read(Register::ID) == 0, "the first CPU's APIC ID is not 0")?;
    check(apic::read(Register::SPURIOUS) == 0xff, "the local APIC is not as after reset")?;
    apic::enable();
    check(apic::read(Register::SPURIOUS) == 0x1ff, "the local APIC can't be enabled")
}

fn self_ipi(_: &Handover) -> Outcome {
    let before = arrived(0x41);
    apic::send(0, icr::ASSERT | 0x41);
    check(arrived(0x41) == before, "an interrupt comes through CLI")?;
    check(comes(0x41, before), "an interrupt to oneself does not come")?;
    // Both at once: the higher one first, and both come.
    let (low, high) = (arrived(0x42), arrived(0x93));
    apic::send(0, icr::ASSERT | 0x42);
    apic::send(0, icr::ASSERT | 0x93);
    check(comes(0x42, low) && arrived(0x93) == high + 1, "of two interrupts one is lost")
}

/// An interrupt that waits when `STI; HLT` is reached ends the `HLT`; nothing else would.
fn pending_ends_hlt(_: &Handover) -> Outcome {
    for _ in 0..100 {
        let before = arrived(0x43);
        apic::send(0, icr::ASSERT | 0x43);
        interrupts::enable_and_hlt();
        interrupts::disable();
        check(arrived(0x43) == before + 1, "the interrupt that ended HLT did not come")?;
    }
    Ok(())
}

/// A vector's bit in one of the sets of 256.
fn bit(first: Register, vector: u32) -> bool {
    apic::read(Register(first.0 + (vector >> 5) * 16)) >> (vector & 31) & 1 == 1
}

fn request_and_service(_: &Handover) -> Outcome {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let before = arrived(0x55);
    apic::send(0, icr::ASSERT | 0x55);
    check(bit(Register::REQUEST, 0x55) && !bit(Register::IN_SERVICE, 0x55), "a request is not seen")?;
    check(!bit(Register::TRIGGER_MODE, 0x55), "an IPI is said to be level triggered")?;
    let look: crate::traps::Hook = |vector| {
        if vector == 0x55 {
            let sets = [Register::REQUEST, Register::IN_SERVICE].map(|set| u64::from(bit(set, 0x55)));
            let priority = u64::from(apic::read(Register::PROCESSOR_PRIORITY));
            SEEN.store(sets[0] | sets[1] << 1 | priority << 8, Ordering::SeqCst);
        }
        false
    };
    check(with_hook(look, || comes(0x55, before)), "the interrupt does not come")?;
    check(SEEN.load(Ordering::SeqCst) == 0x5002, "an interrupt in service is not seen as such")?;
    let idle = !bit(Register::REQUEST, 0x55) && !bit(Register::IN_SERVICE, 0x55);
    check(idle && apic::read(Register::PROCESSOR_PRIORITY) == 0, "an interrupt does not end")
}

fn task_priority(_: &Handover) -> Outcome {
    let (low, high) = (arrived(0x4f), arrived(0x60));
    apic::write(Register::TASK_PRIORITY, 0x40);
    apic::send(0, icr::ASSERT | 0x4f);
    apic::send(0, icr::ASSERT | 0x60);
    check(comes(0x60, high), "an interrupt above the task priority does not come")?;
    take_what_waits();
    check(arrived(0x4f) == low && bit(Register::REQUEST, 0x4f), "an interrupt comes in spite of the TPR")?;
    interrupts::enable();
    apic::write(Register::TASK_PRIORITY, 0x3f);
    let came = smp::wait(|| arrived(0x4f) > low);
    interrupts::disable();
    apic::write(Register::TASK_PRIORITY, 0);
    check(came, "an interrupt does not come when the TPR is lowered")
}

/// The order of beginnings and ends, one byte each: what came last is lowest.
static ORDER: AtomicU64 = AtomicU64::new(0);

fn note(what: u64) {
    ORDER.store(ORDER.load(Ordering::SeqCst) << 8 | what, Ordering::SeqCst);
}

/// While 0x63 is in service, 0x64 of the same class waits and 0x93 does not; ends go from the top.
fn nested(_: &Handover) -> Outcome {
    let hook: crate::traps::Hook = |vector| {
        note(u64::from(vector));
        if vector == 0x63 {
            let high = arrived(0x93);
            apic::send(0, icr::ASSERT | 0x64);
            apic::send(0, icr::ASSERT | 0x93);
            interrupts::enable();
            smp::wait(|| arrived(0x93) > high);
            interrupts::disable();
            note(u64::from(bit(Register::IN_SERVICE, 0x63)));
            note(u64::from(bit(Register::REQUEST, 0x64)));
        } else if vector == 0x93 {
            note(u64::from(apic::read(Register::PROCESSOR_PRIORITY)));
        }
        false
    };
    ORDER.store(0, Ordering::SeqCst);
    let last = arrived(0x64);
    apic::send(0, icr::ASSERT | 0x63);
    check(with_hook(hook, || comes(0x64, last)), "interrupts that nest get lost")?;
    check(ORDER.load(Ordering::SeqCst) == 0x6393_9001_0164, "interrupts do not nest by their classes")
}

fn shorthand_self(_: &Handover) -> Outcome {
    let before = arrived(0x47);
    apic::send(5, icr::ASSERT | 1 << icr::SHORTHAND_SHIFT | 0x47);
    check(comes(0x47, before), "the shorthand for oneself does not work")?;
    // In xAPIC mode an ID that nobody has is nobody's.
    let before = arrived(0x48);
    apic::send(0x7f, icr::ASSERT | 0x48);
    take_what_waits();
    check(arrived(0x48) == before, "an interrupt for nobody comes")
}

fn nmi_to_self(_: &Handover) -> Outcome {
    for _ in 0..3 {
        let before = arrived(2);
        apic::send(0, icr::NMI | icr::ASSERT);
        check(smp::wait(|| arrived(2) > before), "an NMI to oneself does not come")?;
        check(arrived(2) == before + 1, "an NMI comes twice")?;
        check(__cpuid(0x4000_0000).eax != 0, "CPUID goes wrong after an NMI")?;
    }
    Ok(())
}

/// An NMI that is sent while one is dealt with comes when that one is over; of two such, one is kept.
fn nmi_does_not_nest(_: &Handover) -> Outcome {
    static DEPTH: AtomicU64 = AtomicU64::new(0);
    static DEEPEST: AtomicU64 = AtomicU64::new(0);
    static SENT: AtomicU64 = AtomicU64::new(0);
    let hook: crate::traps::Hook = |vector| {
        if vector != 2 {
            return false;
        }
        let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
        DEEPEST.fetch_max(depth, Ordering::SeqCst);
        if SENT.fetch_add(1, Ordering::SeqCst) == 0 {
            for _ in 0..2 {
                apic::send(0, icr::NMI | icr::ASSERT);
                let _ = __cpuid(0);
            }
        }
        DEPTH.fetch_sub(1, Ordering::SeqCst);
        true
    };
    let before = arrived(2);
    with_hook(hook, || {
        apic::send(0, icr::NMI | icr::ASSERT);
        smp::wait(|| arrived(2) >= before + 2)
    });
    check(arrived(2) == before + 2, "an NMI that waits is lost, or comes twice")?;
    check(DEEPEST.load(Ordering::SeqCst) == 1, "an NMI comes while another is dealt with")
}

fn error_status() -> u32 {
    apic::write(Register::ERROR_STATUS, 0);
    apic::read(Register::ERROR_STATUS)
}

fn errors(_: &Handover) -> Outcome {
    let (_, before) = (error_status(), arrived(0x49));
    check(error_status() == 0, "errors are there without a reason")?;
    apic::write(Register::LVT_ERROR, 0x49);
    apic::send(0, icr::ASSERT | 5);
    check(comes(0x49, before), "an error does not interrupt")?;
    check(error_status() == error::SEND_ILLEGAL_VECTOR, "an illegal vector is not noted")?;
    check(error_status() == 0, "an error stays")?;
    let before = arrived(0x49);
    apic::write(Register(0x40), 1);
    check(comes(0x49, before), "a second error does not interrupt")?;
    check(error_status() == error::ILLEGAL_REGISTER, "a reserved register is not noted")?;
    check(apic::read(Register(0x3f0)) == 0, "a reserved register reads something")?;
    apic::write(Register::LVT_ERROR, MASKED);
    check(error_status() == error::ILLEGAL_REGISTER, "reading a reserved register is not noted")
}

fn local_table(_: &Handover) -> Outcome {
    for (register, bits) in [
        (Register::LVT_THERMAL, 0x1_07ff),
        (Register::LVT_PERFORMANCE, 0x1_07ff),
        (Register::LVT_LINT0, 0x1_a7ff),
        (Register::LVT_LINT1, 0x1_a7ff),
        (Register::LVT_ERROR, 0x1_00ff),
        (Register::LVT_TIMER, 0x7_00ff),
    ] {
        apic::write(register, u32::MAX);
        let read = apic::read(register);
        apic::write(register, MASKED);
        check(read == bits, "an entry of the local table keeps other bits")?;
        check(apic::read(register) == MASKED, "an entry of the local table can't be masked")?;
    }
    // What can't be written stays.
    for register in [Register::VERSION, Register::PROCESSOR_PRIORITY, Register::IN_SERVICE, Register::REQUEST]
    {
        let before = apic::read(register);
        apic::write(register, !before);
        check(apic::read(register) == before, "a read-only register can be written")?;
    }
    Ok(())
}

fn software_disable(_: &Handover) -> Outcome {
    apic::write(Register::LVT_LINT0, 0x700);
    apic::write(Register::SPURIOUS, 0xff);
    check(apic::read(Register::LVT_LINT0) == MASKED | 0x700, "a disabled APIC's table is not masked")?;
    apic::write(Register::LVT_LINT0, 0x700);
    check(apic::read(Register::LVT_LINT0) == MASKED | 0x700, "a disabled APIC's table can be unmasked")?;
    let (before, nmis) = (arrived(0x4a), arrived(2));
    apic::send(0, icr::ASSERT | 0x4a);
    take_what_waits();
    check(arrived(0x4a) == before, "a disabled APIC takes interrupts")?;
    apic::send(0, icr::NMI | icr::ASSERT);
    check(smp::wait(|| arrived(2) > nmis), "a disabled APIC takes no NMI")?;
    apic::enable();
    take_what_waits();
    check(arrived(0x4a) == before, "an interrupt for a disabled APIC comes later")?;
    check(apic::read(Register::LVT_LINT0) == MASKED | 0x700, "enabling unmasks the table")?;
    apic::write(Register::LVT_LINT0, MASKED);
    apic::send(0, icr::ASSERT | 0x4a);
    check(comes(0x4a, before), "an APIC that is enabled again takes nothing")
}

fn switched_off(_: &Handover) -> Outcome {
    let base = super::msr::read(APIC_BASE).ok_or("reading APIC_BASE faults")?;
    check(super::msr::write(APIC_BASE, base & !0x800), "the APIC can't be switched off")?;
    check(__cpuid(1).edx >> 9 & 1 == 0, "CPUID shows an APIC that is off")?;
    check(apic::read(Register::VERSION) == u32::MAX, "an APIC that is off answers")?;
    check(super::msr::read(0x802).is_none(), "an APIC that is off has x2APIC registers")?;
    check(super::msr::write(APIC_BASE, base), "the APIC can't be switched on again")?;
    check(__cpuid(1).edx >> 9 & 1 == 1, "CPUID does not show the APIC again")?;
    check(apic::read(Register::SPURIOUS) == 0xff, "an APIC that was off is not as after reset")?;
    // Somewhere else, and back.
    check(super::msr::write(APIC_BASE, 0xfed0_0900), "the APIC can't be moved")?;
    check(apic::read(Register::VERSION) == u32::MAX, "an APIC that has moved answers where it was")?;
    let moved = crate::window::get::<4>(0xfed0_0030);
    check(super::msr::write(APIC_BASE, base), "the APIC can't be moved back")?;
    check(moved[0] >> 4 == 1, "an APIC that has moved does not answer")?;
    apic::enable();
    Ok(())
}
