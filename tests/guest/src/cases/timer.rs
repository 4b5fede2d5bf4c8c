//! The local APIC's timer, in xAPIC mode.

use super::{Named, Outcome, check, comes, take_what_waits};
use crate::traps::{arrived, provoke};
use crate::{Handover, apic, smp};
use core::arch::x86_64::_rdtsc;
use hv_defs::apic::{DIVIDE_BY_1, Register, lvt_timer};
use hv_defs::msr;
use x86_64::instructions::interrupts;

pub const ONE: &[Named] = &[
    ("timer/one-shot", one_shot),
    ("timer/periodic", periodic),
    ("timer/masked", masked),
    ("timer/divide", divide),
    ("timer/tsc-deadline", tsc_deadline),
    ("timer/deadline-past", deadline_past),
    ("timer/deadline-at-hlt", deadline_at_halt),
    ("timer/modes", modes),
];

fn count() -> u32 {
    apic::read(Register::TIMER_CURRENT)
}

fn one_shot(_: &Handover) -> Outcome {
    let before = arrived(0x50);
    apic::write(Register::TIMER_DIVIDE, DIVIDE_BY_1);
    apic::write(Register::LVT_TIMER, 0x50);
    // Four seconds, so that it is still counting however busy the machine below is.
    apic::write(Register::TIMER_INITIAL, u32::MAX);
    let first = count();
    check(first > 0 && smp::wait(|| count() < first), "the timer does not count")?;
    apic::write(Register::TIMER_INITIAL, 1_000_000);
    // Asleep: only the timer ends it.
    interrupts::enable_and_hlt();
    interrupts::disable();
    check(arrived(0x50) == before + 1, "the timer does not end HLT")?;
    check(count() == 0, "a one-shot timer counts on")?;
    check(apic::read(Register::TIMER_INITIAL) == 1_000_000, "the initial count does not stay")
}

fn stop() {
    apic::write(Register::TIMER_INITIAL, 0);
    take_what_waits();
}

fn periodic(_: &Handover) -> Outcome {
    let before = arrived(0x52);
    apic::write(Register::LVT_TIMER, lvt_timer::PERIODIC | 0x52);
    apic::write(Register::TIMER_INITIAL, 500_000);
    for round in 1..=5 {
        while arrived(0x52) < before + round {
            interrupts::enable_and_hlt();
            interrupts::disable();
        }
        let left = count();
        check(left > 0 && left <= 500_000, "a periodic timer's count is out of its range")?;
    }
    stop();
    let after = arrived(0x52);
    check(count() == 0, "a timer without an initial count counts")?;
    take_what_waits();
    check(arrived(0x52) == after, "a timer that is stopped interrupts")
}

/// A masked timer counts, and begins anew, but does not interrupt.
fn masked(_: &Handover) -> Outcome {
    let before = arrived(0x53);
    apic::write(Register::LVT_TIMER, lvt_timer::PERIODIC | lvt_timer::MASKED | 0x53);
    apic::write(Register::TIMER_INITIAL, 1_000_000);
    interrupts::enable();
    let begins_anew = || {
        let mut last = count();
        (0..100_000_000).any(|_| core::mem::replace(&mut last, count()) < last)
    };
    let turns = begins_anew() && begins_anew();
    interrupts::disable();
    check(turns, "a masked timer does not begin anew")?;
    check(arrived(0x53) == before, "a masked timer interrupts")?;
    apic::write(Register::LVT_TIMER, lvt_timer::PERIODIC | 0x53);
    let came = comes(0x53, before);
    stop();
    check(came, "a timer that is unmasked does not interrupt")
}

fn divide(_: &Handover) -> Outcome {
    apic::write(Register::LVT_TIMER, lvt_timer::MASKED | 0x50);
    for (code, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        apic::write(Register::TIMER_DIVIDE, code);
        check(apic::read(Register::TIMER_DIVIDE) == code, "the divisor is not kept")?;
        let nanos = || crate::hypercall::call(hv_abi::hypercall::Call::TIME_NOW, [0; 4]).cast_unsigned();
        let first = nanos();
        apic::write(Register::TIMER_INITIAL, u32::MAX);
        let second = nanos();
        smp::wait(|| nanos() > second + 100_000);
        let third = nanos();
        let gone = u64::from(u32::MAX - count());
        let fourth = nanos();
        let (least, most) = (((third - second) / by).min(u32::MAX.into()), (fourth - first) / by + 1);
        check((least..=most).contains(&gone), "the timer counts at another rate than its divisor says")?;
    }
    stop();
    Ok(())
}

fn now() -> u64 {
    // SAFETY: reading the counter has no effect on memory.
    unsafe { _rdtsc() }
}

fn tsc_deadline(_: &Handover) -> Outcome {
    let before = arrived(0x51);
    apic::write(Register::LVT_TIMER, lvt_timer::TSC_DEADLINE | 0x51);
    let due = now() + 1_000_000;
    check(provoke!("wrmsr", msr::TSC_DEADLINE, due).1.is_none(), "the deadline can't be written")?;
    interrupts::enable_and_hlt();
    interrupts::disable();
    check(arrived(0x51) == before + 1 && now() >= due, "the deadline is missed, or early")?;
    check(provoke!("rdmsr", msr::TSC_DEADLINE, 0).0 == 0, "the deadline stays armed")
}

/// A deadline at any moment around `STI` and `HLT` ends the `HLT`, whatever comes to the host between the
/// two. A case that fails does not end: nothing else would wake this CPU.
fn deadline_at_halt(_: &Handover) -> Outcome {
    apic::write(Register::LVT_TIMER, lvt_timer::TSC_DEADLINE | 0x51);
    for ahead in 0..4000 {
        let before = arrived(0x51);
        check(super::msr::write(msr::TSC_DEADLINE, now() + ahead), "the deadline can't be written")?;
        interrupts::enable_and_hlt();
        interrupts::disable();
        check(arrived(0x51) == before + 1, "HLT ends without its interrupt, or has it twice")?;
    }
    Ok(())
}

fn deadline_past(_: &Handover) -> Outcome {
    let before = arrived(0x51);
    check(super::msr::write(msr::TSC_DEADLINE, 1), "a deadline in the past can't be written")?;
    check(comes(0x51, before), "a deadline in the past does not interrupt")?;
    let before = arrived(0x51);
    check(super::msr::write(msr::TSC_DEADLINE, u64::MAX), "the last deadline can't be written")?;
    check(super::msr::read(msr::TSC_DEADLINE) == Some(u64::MAX), "a deadline does not read as written")?;
    check(super::msr::write(msr::TSC_DEADLINE, 0), "the deadline can't be disarmed")?;
    take_what_waits();
    check(arrived(0x51) == before, "a deadline that is disarmed interrupts")
}

/// Into TSC-deadline mode and out of it the timer is disarmed; between the others it counts on.
fn modes(_: &Handover) -> Outcome {
    apic::write(Register::TIMER_INITIAL, 1000);
    check(count() == 0, "a count starts in TSC-deadline mode")?;
    check(super::msr::write(msr::TSC_DEADLINE, u64::MAX), "the deadline can't be written")?;
    apic::write(Register::LVT_TIMER, 0x50);
    check(super::msr::read(msr::TSC_DEADLINE) == Some(0), "a deadline outlasts its mode")?;
    check(super::msr::write(msr::TSC_DEADLINE, 5), "the deadline faults outside its mode")?;
    check(super::msr::read(msr::TSC_DEADLINE) == Some(0), "a deadline can be set outside its mode")?;
    apic::write(Register::TIMER_INITIAL, u32::MAX);
    apic::write(Register::LVT_TIMER, lvt_timer::PERIODIC | 0x50);
    check(count() > 0, "a change from one-shot to periodic stops the count")?;
    apic::write(Register::LVT_TIMER, lvt_timer::TSC_DEADLINE | 0x50);
    check(count() == 0, "a count outlasts its mode")?;
    apic::write(Register::LVT_TIMER, lvt_timer::MASKED | 0x50);
    Ok(())
}
