//! Control registers: CR0, CR3, CR4, CR8, XCR0, and the short ways to them.

use super::cpuid::has;
use super::{Fault, GP, Named, Outcome, UD, check};
use crate::traps::{arrived, provoke};
use crate::{Handover, apic, smp};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use hv_defs::apic::{Register, icr};
use hv_defs::control::{cr0, cr4, xcr0};
use x86_64::instructions::interrupts;

pub const ONE: &[Named] = &[
    ("control/cr0", cr0_bits),
    ("control/lmsw-clts", lmsw_clts),
    ("control/cr3", cr3),
    ("control/cr4", cr4_bits),
    ("control/cr8-tpr", cr8_and_tpr),
    ("control/cr8-holds-off", cr8_holds_off),
    ("control/xcr0", extended),
];

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reads a register.
        unsafe { asm!(concat!("mov {}, ", $register), out(reg) value) };
        value
    }};
}

/// `MOV` to CR0 or another; whether it faulted.
macro_rules! write {
    ($register:literal, $value:expr) => {
        provoke!(concat!("mov ", $register, ", rcx"), $value, 0).1
    };
}

/// QEMU does not check what is written to CR0, and its VMRUN then refuses the state: so what a CPU
/// refuses (PG without PE, NW without CD) is not tried.
fn cr0_bits(_: &Handover) -> Outcome {
    let now = read!("cr0");
    check(now & (cr0::PG | cr0::PE) == cr0::PG | cr0::PE, "CR0 does not show paging")?;
    for bit in [cr0::MP, cr0::EM, cr0::TS, cr0::NE, cr0::WP, cr0::AM] {
        check(write!("cr0", now ^ bit).is_none(), "a bit of CR0 can't be written")?;
        check(read!("cr0") == now ^ bit, "a bit of CR0 is not kept")?;
        check(__cpuid(0x4000_0000).eax == 0x4000_0010, "CPUID goes wrong with a bit of CR0")?;
        check(read!("cr0") == now ^ bit, "a bit of CR0 does not outlast an exit")?;
    }
    check(write!("cr0", now ^ cr0::CD).is_none() && write!("cr0", now).is_none(), "CR0.CD can't be written")?;
    check(read!("cr0") == now, "CR0 can't be put back")
}

fn lmsw_clts(_: &Handover) -> Outcome {
    let now = read!("cr0");
    check(provoke!("smsw eax", 0, 0).0 as u16 == now as u16, "SMSW and CR0 differ")?;
    check(provoke!("lmsw cx", now | cr0::TS, 0).1.is_none(), "LMSW faults")?;
    check(read!("cr0") == now | cr0::TS, "LMSW does not set TS")?;
    check(provoke!("fnop", 0, 0).1 == Some((7, 0)), "the FPU works with CR0.TS")?;
    check(provoke!("clts", 0, 0).1.is_none() && read!("cr0") == now & !cr0::TS, "CLTS does not clear TS")?;
    check(provoke!("fnop", 0, 0).1.is_none(), "the FPU does not work without CR0.TS")?;
    // PE can be set by LMSW, and never be cleared.
    check(provoke!("lmsw cx", now & !cr0::PE, 0).1.is_none() && read!("cr0") == now, "LMSW clears PE")
}

/// Reserved bits are not tried: see `cr0_bits`.
fn cr3(handover: &Handover) -> Outcome {
    let now = read!("cr3");
    check(now & !0xfff == handover.root, "CR3 is another than hv said")?;
    check(write!("cr3", now).is_none() && read!("cr3") == now, "CR3 can't be written")?;
    let read = core::array::from_fn::<_, 3, _>(|_| {
        let _ = __cpuid(0);
        read!("cr3")
    });
    check(read == [now; 3], "CR3 does not outlast an exit")
}

/// What CPUID does not show can't be switched on, whatever the host has.
fn cr4_bits(_: &Handover) -> Outcome {
    let now = read!("cr4");
    check(write!("cr4", now).is_none(), "CR4 can't be written")?;
    for bit in [12, 13, 14, 15, 19, 22, 23, 24, 25, 26, 27, 28, 29, 31, 32, 63] {
        check(write!("cr4", now | 1 << bit) == GP, "a bit of CR4 that nobody has can be set")?;
    }
    check(write!("cr4", now & !cr4::PAE) == GP, "PAE can be switched off in long mode")?;
    // Leaf, register, bit of CPUID; bit of CR4.
    for (leaf, register, shown, bit) in [
        (1, 3, 2, cr4::DE),
        (1, 3, 3, cr4::PSE),
        (1, 3, 4, cr4::TSD),
        (1, 3, 13, cr4::PGE),
        (1, 3, 7, cr4::MCE),
        (1, 3, 24, cr4::OSFXSR),
        (1, 3, 25, cr4::OSXMMEXCPT),
        (1, 2, 17, cr4::PCIDE),
        (1, 2, 26, cr4::OSXSAVE),
        (7, 1, 0, cr4::FSGSBASE),
        (7, 1, 7, cr4::SMEP),
        (7, 1, 20, cr4::SMAP),
        (7, 2, 2, cr4::UMIP),
    ] {
        let fault = write!("cr4", now | bit);
        if has(leaf, 0, register, shown) {
            check(fault.is_none() && read!("cr4") == now | bit, "a bit of CR4 that is shown can't be set")?;
            if bit == cr4::OSXSAVE {
                check(__cpuid(1).ecx >> 27 & 1 == 1, "OSXSAVE does not follow CR4")?;
            }
        } else {
            check(fault == GP && read!("cr4") == now, "a bit of CR4 that is not shown can be set")?;
        }
        check(write!("cr4", now).is_none(), "CR4 can't be put back")?;
    }
    check(__cpuid(1).ecx >> 27 & 1 == 0, "OSXSAVE stays")
}

/// QEMU drops bits above the fourth, a CPU refuses them: not tried.
fn cr8_and_tpr(_: &Handover) -> Outcome {
    for class in [0, 5, 15, 3] {
        check(write!("cr8", class).is_none() && read!("cr8") == class, "CR8 is not kept")?;
        let shown = apic::read(Register::TASK_PRIORITY);
        check(u64::from(shown) == class << 4, "the task priority does not follow CR8")?;
    }
    for priority in [0xf7, 0x3c, 0x20, 0] {
        apic::write(Register::TASK_PRIORITY, priority);
        check(read!("cr8") == u64::from(priority >> 4), "CR8 does not follow the task priority")?;
        check(apic::read(Register::TASK_PRIORITY) == priority, "the task priority's low half is lost")?;
        check(apic::read(Register::PROCESSOR_PRIORITY) == priority, "the processor priority is another")?;
    }
    Ok(())
}

/// Interrupts wait for CR8, which the guest moves without an exit. It is lowered by the APIC's page:
/// QEMU 7.2 aborts (`tcg_handle_interrupt: qemu_mutex_iothread_locked`) when a guest's write to CR8 lets
/// a virtual interrupt through.
fn cr8_holds_off(_: &Handover) -> Outcome {
    let before = arrived(0x46);
    check(write!("cr8", 4).is_none(), "CR8 can't be written")?;
    apic::send(0, icr::ASSERT | 0x46);
    super::take_what_waits();
    check(__cpuid(0x4000_0000).eax != 0 && arrived(0x46) == before, "an interrupt comes in spite of CR8")?;
    check(read!("cr8") == 4, "CR8 does not outlast an exit")?;
    interrupts::enable();
    apic::write(Register::TASK_PRIORITY, 0x3f);
    let came = smp::wait(|| arrived(0x46) > before);
    interrupts::disable();
    apic::write(Register::TASK_PRIORITY, 0);
    check(came, "an interrupt does not come when CR8 is lowered")
}

/// `XSETBV`; whether it faulted.
fn set(register: u32, value: u64) -> Fault {
    provoke!("xsetbv", register, value).1
}

fn get() -> u64 {
    provoke!("xgetbv", 0, 0).0
}

/// QEMU 7.2 never intercepts XSETBV, and lets AVX without SSE pass; what it answers then, CPUID
/// must answer too.
fn extended(_: &Handover) -> Outcome {
    check(set(0, 1) == UD, "XSETBV is there before CR4.OSXSAVE")?;
    if !has(1, 0, 2, 26) {
        return Ok(());
    }
    let before = read!("cr4");
    check(write!("cr4", before | cr4::OSXSAVE).is_none(), "OSXSAVE can't be set")?;
    let shown = u64::from(__cpuid_count(0xd, 0).eax);
    check(get() == 1, "XCR0 is not as after reset")?;
    for bad in [0, xcr0::SSE, 1 << 62 | 1, 1 << 63 | 1, 1 << 20 | 1] {
        check(set(0, bad) == GP && get() == 1, "XCR0 takes a value that is not lawful")?;
    }
    check(set(1, 1) == GP, "there is another extended control register")?;
    for lawful in [1, 3, 7, 0xe7] {
        let fault = set(0, lawful);
        if lawful & !shown != 0 {
            check(fault == GP, "XCR0 takes a state that is not shown")?;
            continue;
        }
        check(fault.is_none() && get() == lawful, "XCR0 does not take a state that is shown")?;
        let size = __cpuid_count(0xd, 0).ebx;
        let states = (2..8).filter(|state| lawful >> state & 1 == 1).map(|state| __cpuid_count(0xd, state));
        let expected = states.map(|state| state.ebx + state.eax).fold(576, u32::max);
        check(size == expected, "the XSAVE area's size does not follow XCR0")?;
    }
    let taken = set(0, xcr0::X87 | xcr0::AVX).is_none();
    let _ = __cpuid_count(0xd, 0);
    check(taken == (get() == 5), "XCR0 is not what XSETBV said")?;
    check(set(0, 1).is_none(), "XCR0 can't be put back")?;
    check(write!("cr4", before).is_none(), "CR4 can't be put back")
}
