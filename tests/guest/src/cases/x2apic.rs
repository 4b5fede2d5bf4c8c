//! x2APIC mode: the switch, its registers, what is reserved, logical destinations.

use super::ipi::{all, receivers};
use super::msr::{read, write};
use super::{Named, Outcome, check, comes};
use crate::traps::arrived;
use crate::{Handover, apic, smp};
use core::sync::atomic::{AtomicU64, Ordering};
use hv_defs::apic::{Register, icr};
use hv_defs::msr::APIC_BASE;

pub const MANY: &[Named] = &[
    ("x2apic/switch", switch),
    ("x2apic/registers", registers),
    ("x2apic/reserved", reserved),
    ("x2apic/modes", modes),
    ("x2apic/self-ipi", self_ipi),
    ("x2apic/logical", logical),
    ("x2apic/timer", timer),
];

static SWITCHED: AtomicU64 = AtomicU64::new(0);

/// All CPUs at once: nobody sends an interrupt before all are there.
fn switch(handover: &Handover) -> Outcome {
    check(read(Register::ID.msr()).is_none(), "x2APIC registers are there too early")?;
    for id in 1..handover.cpus as u32 {
        smp::ask(id, |_| {
            apic::switch_to_x2();
            SWITCHED.fetch_add(1, Ordering::SeqCst);
            smp::wait(apic::is_x2);
        });
        let there = || SWITCHED.load(Ordering::SeqCst) == u64::from(id);
        check(smp::wait(there), "a CPU does not switch to x2APIC mode")?;
    }
    apic::switch_to_x2();
    apic::all_are_x2();
    check((1..handover.cpus as u32).all(smp::finished), "a CPU does not go on in x2APIC mode")?;
    check(crate::window::get::<4>(0xfee0_0030) == [0xff; 4], "the page of the xAPIC still answers")?;
    check(apic::read(Register::ID) == 0, "the x2APIC's ID is not 0")
}

static DERIVED: AtomicU64 = AtomicU64::new(0);

fn registers(handover: &Handover) -> Outcome {
    DERIVED.store(0, Ordering::SeqCst);
    smp::everybody(handover, false, |id| {
        let logical = u64::from((id & !0xf) << 12 | 1 << (id & 0xf));
        let [own, derived] =
            [Register::ID, Register::LOGICAL_DESTINATION].map(|register| read(register.msr()));
        if own == Some(id.into()) && derived == Some(logical) {
            DERIVED.fetch_add(1, Ordering::SeqCst);
        }
    })?;
    check(
        DERIVED.load(Ordering::SeqCst) == handover.cpus,
        "a CPU's logical address is not derived from its ID",
    )?;
    // What is there, and what only the page has.
    let there =
        [2, 3, 8, 0xa, 0xd, 0xf, 0x10, 0x17, 0x18, 0x1f, 0x20, 0x27, 0x28, 0x30, 0x32, 0x35, 0x37, 0x38];
    check(there.iter().all(|index| read(0x800 + index).is_some()), "an x2APIC register can't be read")?;
    let gone = [0, 1, 4, 9, 0xb, 0xc, 0xe, 0x29, 0x2f, 0x31, 0x3a, 0x3f, 0x40, 0x80, 0xff];
    check(
        gone.iter().all(|index| read(0x800 + index).is_none()),
        "an x2APIC register that is not there reads",
    )
}

fn reserved(_: &Handover) -> Outcome {
    let refused = [
        (Register::ID, 0),
        (Register::VERSION, 0),
        (Register::PROCESSOR_PRIORITY, 0),
        (Register::LOGICAL_DESTINATION, 1),
        (Register::DESTINATION_FORMAT, u64::MAX),
        (Register::IN_SERVICE, 0),
        (Register::REQUEST, 0),
        (Register::TIMER_CURRENT, 0),
        (Register::ICR_HIGH, 0),
        (Register::TASK_PRIORITY, 0x100),
        (Register::EOI, 1),
        (Register::ERROR_STATUS, 1),
        (Register::SPURIOUS, 0x11ff | 1 << 13),
        (Register::SPURIOUS, 1 << 32 | 0x1ff),
        (Register::LVT_TIMER, 1 << 19),
        (Register::LVT_ERROR, 1 << 18),
        (Register::TIMER_DIVIDE, 0x10),
        (Register::TIMER_INITIAL, 1 << 32),
        (Register::ICR, 1 << 20),
        (Register::ICR, 1 << 13),
        (Register::SELF_IPI, 0x100),
    ];
    for (register, value) in refused {
        if write(register.msr(), value) {
            crate::log(format_args!("guest.x2apic {:#x} takes {value:#x}", register.0));
            return Err("an x2APIC register takes a reserved value");
        }
    }
    check(write(Register::EOI.msr(), 0) && write(Register::ERROR_STATUS.msr(), 0), "a 0 is refused")?;
    // All 64 bits of a command at once; nobody has this ID.
    let command = 0x1234_5678 << 32 | u64::from(icr::ASSERT | 0x40);
    check(write(Register::ICR.msr(), command), "a command of 64 bits is refused")?;
    check(read(Register::ICR.msr()) == Some(command), "a command does not read as written")
}

/// From x2APIC mode the only way is off; that is not taken here.
fn modes(_: &Handover) -> Outcome {
    let base = read(APIC_BASE).ok_or("reading APIC_BASE faults")?;
    check(base & 0xc00 == 0xc00, "APIC_BASE does not show the mode")?;
    check(!write(APIC_BASE, base & !0x400), "x2APIC mode can be left for xAPIC mode")?;
    check(!write(APIC_BASE, base & !0x800), "x2APIC mode can be on with the APIC off")?;
    check(write(APIC_BASE, base) && read(APIC_BASE) == Some(base), "APIC_BASE can't be written as it is")
}

fn self_ipi(_: &Handover) -> Outcome {
    let before = arrived(0x61);
    check(write(Register::SELF_IPI.msr(), 0x61) && comes(0x61, before), "SELF_IPI does not come")?;
    let before = arrived(0x62);
    apic::write(Register::TASK_PRIORITY, 0x60);
    check(write(Register::SELF_IPI.msr(), 0x62), "SELF_IPI faults")?;
    super::take_what_waits();
    check(arrived(0x62) == before, "SELF_IPI comes in spite of the task priority")?;
    apic::write(Register::TASK_PRIORITY, 0);
    check(comes(0x62, before), "SELF_IPI does not come when the task priority is lowered")
}

fn logical(handover: &Handover) -> Outcome {
    for bits in 1..=all(handover) {
        let got = receivers(0xcb, bits.count_ones(), || apic::send_logical(bits, icr::ASSERT | 0xcb))?;
        check(got == bits, "a logical address reaches another CPU")?;
    }
    // Another cluster is nobody's.
    let before = arrived(0xcb);
    apic::send_logical(1 << 16 | 1, icr::ASSERT | 0xcb);
    super::take_what_waits();
    check(arrived(0xcb) == before, "another cluster's address reaches a CPU")
}

/// The timer by MSRs.
fn timer(_: &Handover) -> Outcome {
    let before = arrived(0x54);
    let set = write(Register::TIMER_DIVIDE.msr(), 0b1011)
        && write(Register::LVT_TIMER.msr(), 0x54)
        && write(Register::TIMER_INITIAL.msr(), 100_000);
    check(set, "the timer can't be set by MSRs")?;
    check(comes(0x54, before), "the timer does not interrupt")?;
    check(read(Register::TIMER_CURRENT.msr()) == Some(0), "a one-shot timer counts on")
}
