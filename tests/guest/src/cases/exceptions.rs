//! Exceptions and interrupts through the guest's own table: error codes, stacks, privilege levels.

use super::{Fault, GP, Named, Outcome, UD, check, comes};
use crate::traps::{self, COME_BACK, ON_OWN_STACK, Trip, arrived, last, provoke, selector, with_hook};
use crate::{Handover, apic, window};
use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::hypercall::{Call, Status};
use hv_defs::apic::{Register, icr};
use window::{RW, USER};
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::structures::DescriptorTablePointer;

pub const ONE: &[Named] = &[
    ("exception/vectors", vectors),
    ("exception/selectors", selectors),
    ("exception/table", table),
    ("exception/double-fault", double_fault),
    ("exception/own-stack", own_stack),
    ("exception/delivery-faults", delivery_faults),
    ("level3/int-and-iret", level_3),
    ("level3/system-call", system_call),
    ("level3/privileged", privileged),
    ("level3/interrupted", interrupted),
    ("level3/device", device),
    ("compatibility/device", compatibility),
];

const BACK: Fault = Some((COME_BACK, 0));

fn vectors(_: &Handover) -> Outcome {
    check(provoke!("xor ecx, ecx\nxor edx, edx\ndiv ecx", 0, 1).1 == Some((0, 0)), "division by 0")?;
    check(provoke!("ud2", 0, 0).1 == UD, "UD2")?;
    check(provoke!("int3", 0, 0).1 == Some((3, 0)), "INT3")?;
    check(provoke!(".byte 0xce", 0, 0).1 == UD, "INTO, which 64-bit code has not")?;
    let before = arrived(0x91);
    check(provoke!("int 0x91", 0, 0).1.is_none() && arrived(0x91) == before + 1, "INT n does not come")?;
    check(__cpuid(0x4000_0000).eax != 0 && arrived(0x91) == before + 1, "INT n comes twice")
}

/// Error codes name the selector.
fn selectors(_: &Handover) -> Outcome {
    let (beyond, absent) = (u32::from(selector::BEYOND), u32::from(selector::NOT_PRESENT));
    check(provoke!("mov ds, ecx", beyond, 0).1 == Some((13, beyond)), "DS beyond the table")?;
    check(provoke!("lldt cx", 0, 0).1.is_none(), "LLDT null")?;
    check(
        provoke!("mov fs, ecx", beyond | 7, 0).1 == Some((13, beyond | 4)),
        "FS in a table that is not there",
    )?;
    check(provoke!("mov es, ecx", absent, 0).1 == Some((11, absent)), "ES not present")?;
    check(provoke!("mov ss, ecx", absent, 0).1 == Some((12, absent)), "SS not present")?;
    check(provoke!("mov ss, ecx", 0, 0).1.is_none(), "SS null in 64-bit code")?;
    check(provoke!("mov ss, ecx", selector::DATA, 0).1.is_none(), "SS can't be put back")?;
    check(provoke!("ltr cx", selector::TASK, 0).1 == Some((13, u32::from(selector::TASK))), "a busy task")?;
    check(provoke!("lldt cx", selector::DATA, 0).1 == Some((13, u32::from(selector::DATA))), "LLDT of data")
}

/// A gate of the interrupt table, changed while `act` runs.
fn with_gate<T>(vector: u8, change: impl Fn([u64; 2]) -> [u64; 2], act: impl FnOnce() -> T) -> T {
    let gate = traps::entries().wrapping_add(usize::from(vector));
    // SAFETY: the table is in a static, and only this CPU runs.
    unsafe {
        let before = gate.read_volatile();
        gate.write_volatile(change(before));
        let result = act();
        gate.write_volatile(before);
        result
    }
}

/// `exception` of the table's entry for `vector`: the error code says IDT. QEMU's counts entries of 8
/// bytes in a table of 16.
fn gate_fault(provoked: Fault, exception: u8, vector: u32, what: &'static str) -> Outcome {
    let [silicon, qemu] = [8, 16].map(|bytes| Some((exception, vector * bytes + 2)));
    check(provoked == silicon || provoked == qemu, what)
}

/// Has the CPU use the first `entries` of a table at `base`, which has all exceptions.
fn use_table(base: u64, entries: u16) {
    let pointer = DescriptorTablePointer { limit: entries * 16 - 1, base: VirtAddr::new(base) };
    // SAFETY: a copy of the table that was in use.
    unsafe { lidt(&pointer) };
}

const PRESENT: u64 = 1 << 47;

fn not_present(gate: [u64; 2]) -> [u64; 2] {
    [gate[0] & !PRESENT, gate[1]]
}

fn table(_: &Handover) -> Outcome {
    let fault = with_gate(0x92, not_present, || provoke!("int 0x92", 0, 0).1);
    gate_fault(fault, 11, 0x92, "a gate that is not present")?;
    let nobody = |gate: [u64; 2]| [gate[0] & !(0x1f << 40), gate[1]];
    let fault = with_gate(0x92, nobody, || provoke!("int 0x92", 0, 0).1);
    gate_fault(fault, 13, 0x92, "a gate of no type")?;
    let null = |gate: [u64; 2]| [gate[0] & !0xffff_0000, gate[1]];
    let fault = with_gate(0x92, null, || provoke!("int 0x92", 0, 0).1);
    check(fault == GP, "a gate to the null segment")?;
    use_table(traps::entries().addr() as u64, 128);
    let fault = provoke!("int 0x92", 0, 0).1;
    traps::load();
    gate_fault(fault, 13, 0x92, "a vector beyond the table")
}

fn double_fault(_: &Handover) -> Outcome {
    // #GP can't be delivered: that is #NP, and the two are a double fault.
    let fault = with_gate(13, not_present, || provoke!("wrmsr", 0xdead, 0).1);
    // QEMU forgets what was injected, and delivers the second alone.
    let alone = fault.is_some_and(|(vector, _)| vector == 11);
    check(fault == Some((8, 0)) || alone, "a fault while #GP from hv is delivered")?;
    let fault = with_gate(13, not_present, || provoke!("mov ds, ecx", selector::BEYOND, 0).1);
    check(fault == Some((8, 0)), "a fault while #GP is delivered")?;
    // #UD is benign: the fault of its delivery comes alone.
    let fault = with_gate(6, not_present, || provoke!("ud2", 0, 0).1);
    gate_fault(fault, 11, 6, "a fault while #UD is delivered")
}

fn own_stack(_: &Handover) -> Outcome {
    let fault = provoke!("int 0x8f", 0, 0).1;
    let (from, on) = (last().rsp, last().delivered_on);
    check(fault == Some((ON_OWN_STACK, 0)), "a vector with a stack of its own does not come")?;
    check(from.abs_diff(on) > 0x1000 || from >> 32 != on >> 32, "it comes on the stack that was there")
}

/// The interrupt table's second half is not there when an interrupt is delivered: the page fault
/// comes; the interrupt is in service by then, as on a CPU, and nothing is lost but it.
fn delivery_faults(handover: &Handover) -> Outcome {
    static MISSING: AtomicU64 = AtomicU64::new(0);
    static FAULTS: AtomicU64 = AtomicU64::new(0);
    let frames = [window::frame(handover, 22), window::frame(handover, 24)];
    let half = 128 * 16;
    // SAFETY: the table is in a static.
    let table: [u8; 4096] = unsafe { traps::entries().cast::<[u8; 4096]>().read_volatile() };
    window::put(frames[0] + 4096 - half, &table[..half as usize]);
    window::put(frames[1], &table[half as usize..]);
    let base = window::map(handover, 40, frames[0] | RW) + 4096 - half;
    MISSING.store(window::entry(handover, 41), Ordering::SeqCst);
    let hook: traps::Hook = |vector| {
        if vector == 14 {
            let entry = MISSING.load(Ordering::SeqCst);
            window::put(entry, &[window::get::<1>(entry)[0] | 1]);
            FAULTS.fetch_add(1, Ordering::SeqCst);
        }
        vector == 14
    };
    let (before, next) = (arrived(0xa1), arrived(0xb1));
    window::map(handover, 41, frames[1]);
    use_table(base, 256);
    apic::send(0, icr::ASSERT | 0xa1);
    with_hook(hook, super::take_what_waits);
    let in_service = apic::read(Register(Register::IN_SERVICE.0 + 5 * 16)) >> 1 & 1 == 1;
    let delivered = arrived(0xa1) > before;
    if in_service {
        apic::end_of_interrupt();
    }
    apic::send(0, icr::ASSERT | 0xb1);
    let goes_on = comes(0xb1, next);
    traps::load();
    check(FAULTS.load(Ordering::SeqCst) == 1, "a fault while an interrupt is delivered does not come, once")?;
    check(in_service || delivered, "an interrupt whose delivery faults was never taken")?;
    check(goes_on, "no interrupt comes after one whose delivery faulted")
}

/// Code and stack for level 3.
pub(super) fn place(handover: &Handover, code: &[u8]) -> Trip {
    let at = window::map(handover, 44, window::frame(handover, 26) | USER);
    let stack = window::map(handover, 45, window::frame(handover, 27) | USER);
    window::put(at, code);
    Trip::to_user(at, stack + 0x1000)
}

fn level_3(handover: &Handover) -> Outcome {
    // mov eax, cs; int 0x90
    let trip = place(handover, &[0x8c, 0xc8, 0xcd, 0x90]);
    check(trip.go() == BACK, "INT does not come back from level 3")?;
    let last = last();
    check(last.rax as u16 == selector::USER_CODE && last.cs == trip.cs, "level 3 is not level 3")?;
    check(last.rsp == trip.rsp && last.rip == trip.rip + 4, "the frame of level 3 is another")?;
    // INT to a gate of level 0
    let fault = place(handover, &[0xcd, 0x91]).go();
    gate_fault(fault, 13, 0x91, "level 3 may use a gate of level 0")
}

fn system_call(handover: &Handover) -> Outcome {
    use super::msr::{read, write};
    const STAR: u32 = 0xc000_0081;
    const LSTAR: u32 = 0xc000_0082;
    const SFMASK: u32 = 0xc000_0084;
    let before = read(hv_defs::msr::EFER).ok_or("reading EFER faults")?;
    let entry = traps::guest_system_call as *const () as u64;
    let star = u64::from(selector::USER | 3) << 48 | u64::from(selector::CODE) << 32;
    let set = write(STAR, star) && write(LSTAR, entry) && write(SFMASK, 0x700);
    check(set && write(hv_defs::msr::EFER, before | 1), "system calls can't be set up")?;
    // mov eax, 41; syscall; syscall; int 0x90
    let code = [0xb8, 41, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x05, 0xcd, 0x90];
    let trip = place(handover, &code);
    check(trip.go() == BACK, "a system call does not come back")?;
    check(last().rax == 43 && last().cs == trip.cs, "a system call does something else")?;
    check(write(hv_defs::msr::EFER, before & !1), "EFER can't be put back")?;
    check(place(handover, &code).go() == UD, "SYSCALL is there without EFER.SCE")?;
    check(write(hv_defs::msr::EFER, before | 1), "EFER can't be put back")
}

/// What level 3 may not do: bytes, the fault, what.
const FORBIDDEN: &[(&[u8], Fault, &str)] = &[
    (&[0xf4], GP, "level 3 can halt"),
    (&[0x0f, 0x32], GP, "level 3 can read MSRs"),
    (&[0x0f, 0x30], GP, "level 3 can write MSRs"),
    (&[0x0f, 0x22, 0xc0], GP, "level 3 can write CR0"),
    (&[0x0f, 0x22, 0xe0], GP, "level 3 can write CR4"),
    (&[0x0f, 0x09], GP, "level 3 can write caches back"),
    (&[0x0f, 0x21, 0xf8], GP, "level 3 can read debug registers"),
    (&[0x0f, 0x01, 0xd8], UD, "level 3 has VMRUN"),
    (&[0xe4, 0x60], GP, "level 3 can read ports"),
    (&[0xfa], GP, "level 3 can switch interrupts off"),
];

fn privileged(handover: &Handover) -> Outcome {
    for &(code, fault, what) in FORBIDDEN {
        let provoked = place(handover, code).go();
        // A CPU without SVM's bit answers #UD to VMRUN, one with it and at level 3 may say #GP first.
        check(provoked == fault || fault == UD && provoked == GP, what)?;
    }
    // vmmcall; int 0x90
    let trip = Trip { rax: Call::HELLO.0, ..place(handover, &[0x0f, 0x01, 0xd9, 0xcd, 0x90]) };
    check(trip.go() == BACK && last().rax == Status::DENIED.0.cast_unsigned(), "level 3 may call hv")?;
    // cpuid; int 0x90
    let trip = Trip { rax: 0x4000_0000, ..place(handover, &[0x0f, 0xa2, 0xcd, 0x90]) };
    check(trip.go() == BACK && last().rax == 0x4000_0010, "level 3 has no CPUID")
}

/// An interrupt at level 3 switches to the kernel's stack, and comes back.
fn interrupted(handover: &Handover) -> Outcome {
    let before = arrived(0xa2);
    apic::send(0, icr::ASSERT | 0xa2);
    // nop; cpuid; mov eax, 7; int 0x90, with interrupts on from the start
    let place = place(handover, &[0x90, 0x0f, 0xa2, 0xb8, 7, 0, 0, 0, 0xcd, 0x90]);
    let back = Trip { flags: 0x202, ..place }.go();
    check(back == BACK && last().rax == 7, "level 3 does not go on after an interrupt")?;
    check(arrived(0xa2) == before + 1, "an interrupt does not come at level 3")
}

/// A process on device memory: what hv knows is done, what it does not is the process's fault.
fn device(handover: &Handover) -> Outcome {
    let device = window::map(handover, 46, 0xfee0_0000 | USER) + 0x30;
    // mov eax, [rcx]; int 0x90
    let trip = Trip { rcx: device, ..place(handover, &[0x8b, 0x01, 0xcd, 0x90]) };
    let version = u64::from(apic::read(Register::VERSION));
    check(trip.go() == BACK && last().rax == version, "level 3 can't read a device that it is given")?;
    // fld dword ptr [rcx]
    let trip = Trip { rcx: device, ..place(handover, &[0xd9, 0x01, 0xcd, 0x90]) };
    check(trip.go() == UD && last().rip == trip.rip, "an unknown instruction of level 3 is not #UD")?;
    window::map(handover, 46, 0xfee0_0000 | RW);
    let fault = Trip { rcx: device, ..place(handover, &[0x8b, 0x01, 0xcd, 0x90]) }.go();
    check(fault == Some((14, 5)) && last().address == device, "level 3 can read the kernel's device")
}

/// Device memory by 32-bit code in long mode.
fn compatibility(handover: &Handover) -> Outcome {
    let (code, data) = (window::frame(handover, 28), window::frame(handover, 29));
    let version = u64::from(apic::read(Register::VERSION));
    let trip =
        Trip { rcx: 0xfee0_0030, rdi: data, rsi: 0xfee0_0030, ..Trip::to_32_bits(code, data + 0x1000) };
    // Each ends with int 0x90 and answers in EAX.
    let cases: [(&[u8], u64, &str); 9] = [
        (&[0x8b, 0x01], version, "MOV EAX, [ECX]"),
        (&[0xa1, 0x30, 0, 0xe0, 0xfe], version, "MOV EAX, moffs"),
        (&[0x31, 0xc0, 0xa0, 0x32, 0, 0xe0, 0xfe], version >> 16 & 0xff, "MOV AL, moffs"),
        (&[0x3e, 0x0f, 0xb7, 0x41, 2], version >> 16, "MOVZX with a prefix"),
        (&[0x41, 0x8b, 0x41, 0xff], version, "INC ECX, where 64-bit code has REX"),
        (&[0xa5, 0x8b, 0x47, 0xfc], version, "MOVSD"),
        (&[0xff, 0x31, 0x58], version, "PUSH [ECX]"),
        (&[0x31, 0xc0, 0x81, 0x39, 0x14, 0, 5, 0, 0x0f, 0x94, 0xc0], u64::from(version == 0x5_0014), "CMP"),
        (&[0x66, 0x31, 0xc0, 0x66, 0x8b, 0x01, 0x0f, 0xb7, 0xc0], version & 0xffff, "MOV AX, [ECX]"),
    ];
    for (bytes, answer, what) in cases {
        window::put(code, bytes);
        window::put(code + bytes.len() as u64, &[0xcd, 0x90]);
        check(trip.go() == BACK && last().rax == answer, what)?;
    }
    // mov eax, [ecx - 0x80000000], which goes around
    window::put(code, &[0x8b, 0x81, 0, 0, 0, 0x80, 0xcd, 0x90]);
    let wrapped = Trip { rcx: 0x7ee0_0030, ..trip };
    check(wrapped.go() == BACK && last().rax == version, "32-bit addresses are not 32 bits")?;
    // cpuid, rdmsr and a hypercall
    window::put(code, &[0xb8, 0, 0, 0, 0x40, 0x0f, 0xa2, 0xcd, 0x90]);
    check(Trip::to_32_bits(code, data + 0x1000).go() == BACK, "CPUID in 32-bit code")?;
    check(last().rax == 0x4000_0010, "CPUID answers something else in 32-bit code")?;
    window::put(
        code,
        &[0xb9, 0x1b, 0, 0, 0, 0x0f, 0x32, 0xb8, 0, 0, 0x45, 0x48, 0x0f, 0x01, 0xd9, 0xcd, 0x90],
    );
    check(Trip::to_32_bits(code, data + 0x1000).go() == BACK, "RDMSR or VMMCALL in 32-bit code")?;
    check(last().rax == 1, "a hypercall answers something else in 32-bit code")
}
