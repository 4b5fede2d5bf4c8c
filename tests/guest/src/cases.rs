//! The cases: what a guest may rely on.

mod events;

use crate::hypercall::{self, call};
use crate::traps::{arrived, provoke};
use crate::{Handover, apic, smp};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, _rdtsc};
use hv_abi::hypercall::{Call, MAX_LOG, Status, VERSION};
use hv_defs::apic::{Register, icr, lvt_timer};
use hv_defs::msr;
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

type Outcome = Result<(), &'static str>;
/// One case.
pub type Case = fn(&Handover) -> Outcome;

/// In the order that they run: the later ones build on what the earlier ones switched on.
pub const ALL: &[(&str, Case)] = &[
    ("cpuid/signature", signature),
    ("cpuid/features", features),
    ("cpuid/beyond", beyond),
    ("msr/unknown-faults", unknown_msr),
    ("msr/efer", efer),
    ("msr/tsc-adjust", tsc_adjust),
    ("hypercall/hello", hello),
    ("hypercall/misuse", misuse),
    ("port/nobody", nobody_at_a_port),
    ("port/pm-timer", pm_timer),
    ("mmio/widths", widths),
    ("mmio/ioapic", ioapic),
    ("instruction/absent", absent),
    ("control/cr4", cr4),
    ("apic/version", version),
    ("apic/self-ipi", self_ipi),
    ("apic/pending-ends-hlt", pending_ends_hlt),
    ("apic/one-shot", one_shot),
    ("apic/tsc-deadline", tsc_deadline),
    ("apic/x2apic", x2apic),
    ("apic/eoi-by-word", events::eoi_by_word),
    ("apic/nmi-behind-nmi", events::nmi_behind_nmi),
    ("clock/kvmclock", kvmclock),
    ("smp/start", start_others),
    ("smp/ipi", ipi),
    ("smp/nmi", nmi),
    ("smp/nmi-storm", events::nmi_storm),
];

fn check(holds: bool, otherwise: &'static str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn signature(_: &Handover) -> Outcome {
    let leaf = __cpuid(0x4000_0000);
    let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat_12();
    check(&name == b"KVMKVMKVM\0\0\0" && leaf.eax >= 0x4000_0001, "the KVM signature is not there")
}

fn features(_: &Handover) -> Outcome {
    let (one, extended) = (__cpuid(1), __cpuid(0x8000_0001));
    check(one.ecx >> 31 & 1 == 1, "the hypervisor bit is not set")?;
    check(one.ecx >> 21 & 1 == 1, "x2APIC is not shown")?;
    check(one.ecx >> 24 & 1 == 1, "the TSC-deadline timer is not shown")?;
    check(one.ecx & (1 << 5 | 1 << 3) == 0, "VMX or MONITOR is shown")?;
    check(extended.ecx >> 2 & 1 == 0, "SVM is shown")?;
    check(__cpuid(0x8000_0007).edx >> 8 & 1 == 1, "the invariant TSC is not shown")
}

fn beyond(_: &Handover) -> Outcome {
    let leaf = __cpuid(0x4fff_ffff);
    let far = __cpuid(0x8fff_ffff);
    check(
        leaf.eax | leaf.ebx | far.eax | far.ebx == 0 || __cpuid(0).ebx != 0x6874_7541,
        "leaves beyond the last answer",
    )
}

const GP: Option<(u8, u32)> = Some((13, 0));

fn unknown_msr(_: &Handover) -> Outcome {
    for number in [0xdead_u32, 0x4000_0000, 0xc001_ffff, 0x8ff] {
        check(provoke!("rdmsr", number, 0).1 == GP, "reading an MSR that is not there does not fault")?;
        check(provoke!("wrmsr", number, 1).1 == GP, "writing an MSR that is not there does not fault")?;
    }
    check(provoke!("rdmsr", msr::APIC_BASE, 0).1.is_none(), "reading APIC_BASE faults")
}

fn efer(_: &Handover) -> Outcome {
    let (value, fault) = provoke!("rdmsr", msr::EFER, 0);
    check(fault.is_none() && value & msr::efer::SVM_ENABLE == 0, "EFER shows SVM, or faults")?;
    check(provoke!("wrmsr", msr::EFER, value | 1 << 20).1 == GP, "a reserved bit of EFER can be set")?;
    check(provoke!("wrmsr", msr::EFER, value | msr::efer::SVM_ENABLE).1 == GP, "SVM can be switched on")?;
    check(provoke!("wrmsr", msr::EFER, value).1.is_none(), "EFER can't be written")
}

fn tsc_adjust(_: &Handover) -> Outcome {
    const TSC_ADJUST: u32 = 0x3b;
    const FAR: u64 = 1 << 40;
    // SAFETY: reading the counter has no effect on memory.
    let now = || unsafe { _rdtsc() };
    let before = now();
    check(provoke!("wrmsr", TSC_ADJUST, FAR).1.is_none(), "TSC_ADJUST faults")?;
    let moved = now().wrapping_sub(before);
    check((FAR..FAR * 2).contains(&moved), "the TSC does not move with TSC_ADJUST")?;
    check(provoke!("rdmsr", TSC_ADJUST, 0).0 == FAR, "TSC_ADJUST reads something else")?;
    check(provoke!("wrmsr", TSC_ADJUST, 0).1.is_none() && now() < FAR, "the TSC does not move back")
}

fn hello(_: &Handover) -> Outcome {
    check(call(Call::HELLO, [0; 4]) == VERSION.cast_signed(), "hv speaks another version")?;
    let first = call(Call::TIME_NOW, [0; 4]);
    check(call(Call::TIME_NOW, [0; 4]) >= first && first > 0, "time does not go on")
}

fn misuse(_: &Handover) -> Outcome {
    check(call(Call(12_345), [0; 4]) == Status::NO_SUCH_CALL.0, "an unknown call is not refused")?;
    for address in [0, 0xfee0_0000, u64::MAX, 0xffff_8000_0000_0000] {
        let refused = call(Call::LOG_WRITE, [address, 8, 0, 0]) == Status::BAD_ADDRESS.0;
        check(refused, "memory that is not ours is read")?;
    }
    let long = call(Call::LOG_WRITE, [0x10_0000, MAX_LOG + 1, 0, 0]);
    check(long == Status::BAD_ARGUMENT.0, "a line that is too long is taken")
}

fn nobody_at_a_port(_: &Handover) -> Outcome {
    // SAFETY: nobody is at these ports of a virtual machine without devices.
    let (byte, word, double) = unsafe {
        Port::<u32>::new(0x5000).write(0);
        (Port::<u8>::new(0x5000).read(), Port::<u16>::new(0x5000).read(), Port::<u32>::new(0x5000).read())
    };
    check((byte, word, double) == (0xff, 0xffff, u32::MAX), "a port where nobody is does not read all ones")?;
    let (mut bytes, mut count) = ([0_u8; 300], 300_u64);
    // SAFETY: the buffer is as long as the count.
    unsafe {
        asm!("rep insb", inout("rcx") count, inout("rdi") bytes.as_mut_ptr() => _, in("dx") 0x5000_u16);
    }
    check(count == 0 && bytes.iter().all(|&byte| byte == 0xff), "a string from a port is not read whole")
}

fn pm_timer(_: &Handover) -> Outcome {
    let mut timer = Port::<u32>::new(0x608);
    // SAFETY: reading the PM timer changes nothing.
    let mut read = || unsafe { timer.read() };
    let first = read();
    check(smp::wait(|| call(Call::HELLO, [0; 4]) > 0) && read() != first, "the PM timer stands still")
}

/// The version register of the local APIC, by every width and some forms of instruction.
fn widths(_: &Handover) -> Outcome {
    let at = 0xfee0_0030_u64;
    let (byte, word, double, sign, zero): (u64, u64, u64, u64, u64);
    // SAFETY: reads of a device register that has no side effects.
    unsafe {
        asm!("mov {0:e}, [{1}]", out(reg) double, in(reg) at);
        asm!("xor {0:e}, {0:e}", "mov {0:x}, [{1}]", out(reg) word, in(reg) at);
        asm!("movzx {0:e}, byte ptr [{1}]", out(reg) byte, in(reg) at);
        asm!("movsx {0}, byte ptr [{1} + 2]", out(reg) sign, in(reg) at);
        asm!("movzx {0:e}, word ptr [{1} + 2]", out(reg) zero, in(reg) at);
    }
    let expected = u64::from(apic::read(Register(0x30)));
    check(double & 0xffff_ffff == expected, "32 bits differ")?;
    check(word == expected & 0xffff && byte == expected & 0xff, "8 or 16 bits differ")?;
    check(sign == expected >> 16 & 0xff && zero == expected >> 16 & 0xffff, "MOVSX or MOVZX differ")?;
    let mut equal: u8;
    // SAFETY: as above; compares only.
    unsafe { asm!("cmp dword ptr [{}], {:e}", "sete {}", in(reg) at, in(reg) expected, out(reg_byte) equal) };
    check(equal == 1, "CMP with memory differs")?;
    // SAFETY: as above; 32 bits are loaded once.
    unsafe { asm!("test dword ptr [{}], 0x14", "setnz {}", in(reg) at, out(reg_byte) equal) };
    check(equal == 1, "TEST with memory differs")
}

fn ioapic(_: &Handover) -> Outcome {
    const INDEX: usize = 0xfec0_0000;
    let (index, window) = (
        core::ptr::with_exposed_provenance_mut::<u32>(INDEX),
        core::ptr::with_exposed_provenance_mut::<u32>(INDEX + 0x10),
    );
    // SAFETY: hv has an I/O APIC there, and nothing is connected to it.
    unsafe {
        index.write_volatile(1);
        check(window.read_volatile() >> 16 & 0xff == 23, "the I/O APIC has not 24 pins")?;
        index.write_volatile(0x10);
        window.write_volatile(0x1_0042);
        check(window.read_volatile() == 0x1_0042, "a redirection entry is not kept")
    }
}

fn absent(_: &Handover) -> Outcome {
    const UD: Option<(u8, u32)> = Some((6, 0));
    check(provoke!("vmrun", 0, 0).1 == UD, "VMRUN is there")?;
    check(provoke!("monitor", 0, 0).1 == UD, "MONITOR is there")?;
    check(provoke!("rdpmc", 0, 0).1 == GP, "RDPMC does not fault")?;
    check(provoke!("wbinvd", 0, 0).1.is_none(), "WBINVD faults")
}

/// What CPUID does not show can't be switched on, whatever the host has.
fn cr4(_: &Handover) -> Outcome {
    // SAFETY: reads a register.
    let now: u64 = unsafe {
        let value;
        asm!("mov {}, cr4", out(reg) value);
        value
    };
    check(provoke!("mov cr4, rcx", now, 0).1.is_none(), "CR4 can't be written")?;
    for (bit, what) in [(13, "VMXE can be set"), (22, "PKE can be set"), (12, "LA57 can be set")] {
        check(provoke!("mov cr4, rcx", now | 1 << bit, 0).1 == GP, what)?;
    }
    Ok(())
}

fn version(_: &Handover) -> Outcome {
    apic::enable();
    check(apic::read(Register(0x30)) & 0xf0 == 0x10, "the local APIC is not an integrated one")?;
    check(apic::read(Register::ID) == 0, "the first CPU's APIC ID is not 0")
}

/// Waits with interrupts on until `vector` has come once more than `before`.
fn comes(vector: u8, before: u32) -> bool {
    interrupts::enable();
    let came = smp::wait(|| arrived(vector) > before);
    interrupts::disable();
    came
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
    let before = arrived(0x43);
    apic::send(0, icr::ASSERT | 0x43);
    interrupts::enable_and_hlt();
    interrupts::disable();
    check(arrived(0x43) == before + 1, "the interrupt that ended HLT did not come")
}

fn one_shot(_: &Handover) -> Outcome {
    let before = arrived(0x50);
    apic::write(Register::TIMER_DIVIDE, 0b1011);
    apic::write(Register::LVT_TIMER, 0x50);
    // Four seconds, so that it is still counting however busy the machine below is.
    apic::write(Register::TIMER_INITIAL, u32::MAX);
    let counts = || apic::read(Register::TIMER_CURRENT);
    let first = counts();
    check(first > 0 && smp::wait(|| counts() < first), "the timer does not count")?;
    apic::write(Register::TIMER_INITIAL, 1_000_000);
    // Asleep: only the timer ends it.
    interrupts::enable_and_hlt();
    interrupts::disable();
    check(arrived(0x50) == before + 1, "the timer does not end HLT")?;
    check(apic::read(Register::TIMER_CURRENT) == 0, "a one-shot timer counts on")
}

fn tsc_deadline(_: &Handover) -> Outcome {
    let before = arrived(0x51);
    apic::write(Register::LVT_TIMER, lvt_timer::TSC_DEADLINE | 0x51);
    // SAFETY: reading the counter has no effect on memory.
    let due = unsafe { _rdtsc() } + 1_000_000;
    check(provoke!("wrmsr", msr::TSC_DEADLINE, due).1.is_none(), "the deadline can't be written")?;
    interrupts::enable_and_hlt();
    interrupts::disable();
    // SAFETY: as above.
    check(arrived(0x51) == before + 1 && unsafe { _rdtsc() } >= due, "the deadline is missed, or early")?;
    check(provoke!("rdmsr", msr::TSC_DEADLINE, 0).0 == 0, "the deadline stays armed")
}

fn x2apic(_: &Handover) -> Outcome {
    const SELF_IPI: u32 = 0x83f;
    check(provoke!("rdmsr", Register::ID.msr(), 0).1 == GP, "x2APIC registers are there too early")?;
    apic::switch_to_x2();
    check(apic::read(Register::ID) == 0, "the x2APIC's ID is not 0")?;
    let before = arrived(0x61);
    check(provoke!("wrmsr", SELF_IPI, 0x61).1.is_none() && comes(0x61, before), "SELF_IPI does not come")?;
    check(provoke!("wrmsr", Register::ID.msr(), 1).1 == GP, "the ID can be written")
}

/// The clock page, in the interface's words; 32-byte aligned.
#[repr(C, align(32))]
struct Clock {
    version: u32,
    pad: u32,
    tsc: u64,
    nanos: u64,
    multiplier: u32,
    shift: i8,
    flags: u8,
}

fn kvmclock(_: &Handover) -> Outcome {
    const SYSTEM_TIME: u32 = 0x4b56_4d01;
    let clock = Clock { version: 0, pad: 0, tsc: 0, nanos: 0, multiplier: 0, shift: 0, flags: 0 };
    // The stack is mapped where it is.
    let at = core::ptr::from_ref(&clock);
    check(provoke!("wrmsr", SYSTEM_TIME, at.addr() as u64 | 1).1.is_none(), "kvmclock can't be asked for")?;
    // SAFETY: hv writes it behind the compiler's back.
    let clock = unsafe { at.read_volatile() };
    check(clock.version % 2 == 0 && clock.version != 0 && clock.flags & 1 == 1, "the clock is not stable")?;
    let now = || {
        // SAFETY: reading the counter has no effect on memory.
        let ticks = unsafe { _rdtsc() }.wrapping_sub(clock.tsc);
        let ticks = if clock.shift < 0 { ticks >> -clock.shift } else { ticks << clock.shift };
        clock.nanos + ((u128::from(ticks) * u128::from(clock.multiplier)) >> 32) as u64
    };
    for _ in 0..100 {
        let (before, hv, after) = (now(), call(Call::TIME_NOW, [0; 4]).cast_unsigned(), now());
        check(before <= hv && hv <= after, "kvmclock and hv's time differ")?;
    }
    check(provoke!("wrmsr", SYSTEM_TIME, 0).1.is_none(), "kvmclock can't be stopped")
}

fn start_others(handover: &Handover) -> Outcome {
    for id in 1..handover.cpus as u32 {
        smp::start(handover, id)?;
    }
    check(u64::from(smp::running()) == handover.cpus, "not all CPUs run")
}

fn ipi(handover: &Handover) -> Outcome {
    let others = handover.cpus as u32 - 1;
    for id in 1..=others {
        let before = arrived(0x71);
        apic::send(id, icr::ASSERT | 0x71);
        check(smp::wait(|| arrived(0x71) > before), "an interrupt to another CPU does not come")?;
    }
    let before = arrived(0x72);
    apic::send(0, icr::ASSERT | icr::ALL_BUT_SELF | 0x72);
    check(smp::wait(|| arrived(0x72) == before + others), "a broadcast does not reach everybody")
}

fn nmi(handover: &Handover) -> Outcome {
    let (others, before) = (handover.cpus as u32 - 1, arrived(2));
    for round in 1..=3 {
        apic::send(0, icr::NMI | icr::ASSERT | icr::ALL_BUT_SELF);
        check(smp::wait(|| arrived(2) == before + round * others), "an NMI is lost")?;
    }
    hypercall::log(format_args!("guest.nmi others={others}"));
    Ok(())
}

/// Twelve bytes of three words.
trait Twelve {
    fn concat_12(self) -> [u8; 12];
}

impl Twelve for [[u8; 4]; 3] {
    fn concat_12(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (to, from) in bytes.chunks_mut(4).zip(self) {
            to.copy_from_slice(&from);
        }
        bytes
    }
}
