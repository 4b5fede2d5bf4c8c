//! How interrupts end, and when NMIs are let through.

use super::{Named, Outcome, check, comes};
use crate::traps::{self, arrived, provoke};
use crate::{Handover, apic, hypercall, smp};
use core::sync::atomic::{AtomicU32, Ordering};
use hv_defs::apic::icr;

pub const ONE: &[Named] = &[("apic/eoi-by-word", eoi_by_word), ("apic/nmi-behind-nmi", nmi_behind_nmi)];
pub const MANY: &[Named] = &[("smp/nmi-storm", nmi_storm)];

/// KVM's end of interrupt without an exit: the last interrupt that waits is ended by the word, those
/// before it by the register.
fn eoi_by_word(_: &Handover) -> Outcome {
    const PV_EOI: u32 = 0x4b56_4d04;
    let by_word = || apic::ENDED_BY_WORD.load(Ordering::Relaxed);
    // The stack is mapped where it is.
    let word = AtomicU32::new(0);
    apic::EOI_WORD.store(word.as_ptr(), Ordering::Relaxed);
    let at = word.as_ptr().addr() as u64;
    check(provoke!("wrmsr", PV_EOI, at | 1).1.is_none(), "the word can't be told")?;
    for round in 1..=3 {
        let before = arrived(0x62);
        apic::send(0, icr::ASSERT | 0x62);
        check(comes(0x62, before) && by_word() == round, "an interrupt is not ended by the word")?;
    }
    let (low, high) = (arrived(0x63), arrived(0x93));
    apic::send(0, icr::ASSERT | 0x63);
    apic::send(0, icr::ASSERT | 0x93);
    check(comes(0x63, low) && arrived(0x93) == high + 1, "of two interrupts one is lost")?;
    check(by_word() == 4, "one that another waits for is ended by the word")?;
    check(provoke!("wrmsr", PV_EOI, 0).1.is_none(), "the word can't be taken back")?;
    let before = arrived(0x62);
    apic::send(0, icr::ASSERT | 0x62);
    check(comes(0x62, before) && by_word() == 4, "a word that is not in use is used")?;
    apic::EOI_WORD.store(core::ptr::null_mut(), Ordering::Relaxed);
    Ok(())
}

/// An NMI that comes while another is handled waits until that one's `IRET` has run, and not a moment
/// less: it finds the stack as the first one found it.
fn nmi_behind_nmi(_: &Handover) -> Outcome {
    let before = arrived(2);
    traps::NMI_AGAIN.store(3, Ordering::SeqCst);
    traps::NMI_HIGHEST.store(0, Ordering::SeqCst);
    traps::NMI_DEEPEST.store(u64::MAX, Ordering::SeqCst);
    apic::send(0, icr::NMI | icr::ASSERT);
    check(smp::wait(|| arrived(2) == before + 4), "an NMI that waits for another is lost")?;
    let (highest, deepest) = (&traps::NMI_HIGHEST, &traps::NMI_DEEPEST);
    let same = highest.load(Ordering::SeqCst) == deepest.load(Ordering::SeqCst);
    check(same, "an NMI comes before IRET has run")
}

/// NMIs faster than they are handled: each handler ends with the next one waiting, and no CPU may lose
/// its way over it.
fn nmi_storm(handover: &Handover) -> Outcome {
    let before = arrived(2);
    for id in 1..handover.cpus as u32 {
        for _ in 0..2_000 {
            apic::send(id, icr::NMI | icr::ASSERT);
        }
        let asked = arrived(0x73);
        apic::send(id, icr::ASSERT | 0x73);
        check(smp::wait(|| arrived(0x73) > asked), "a CPU is lost after many NMIs")?;
    }
    check(handover.cpus == 1 || arrived(2) > before, "of many NMIs none comes")?;
    hypercall::log(format_args!("guest.nmi-storm handled={}", arrived(2) - before));
    Ok(())
}
