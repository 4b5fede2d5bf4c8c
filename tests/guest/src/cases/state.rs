//! Vector registers: kept through every kind of exit, and by XSAVE.

use super::cpuid::has;
use super::{Named, Outcome, check, comes};
use crate::hypercall::call;
use crate::traps::{arrived, provoke};
use crate::{Handover, apic, window};
use core::arch::x86_64::__cpuid;
use core::arch::{asm, global_asm};
use hv_abi::hypercall::Call;
use hv_defs::apic::{Register, icr};
use hv_defs::control::cr4;
use x86_64::instructions::interrupts;

pub const ONE: &[Named] =
    &[("state/general", general), ("state/sse", sse), ("state/avx", avx), ("state/xsave", xsave)];

global_asm!(
    ".macro all_registers operation, bytes, kind, turned",
    ".irp number,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    ".if \\turned",
    "\\operation [rdi + \\bytes * \\number], \\kind\\number",
    ".else",
    "\\operation \\kind\\number, [rdi + \\bytes * \\number]",
    ".endif",
    ".endr",
    "ret",
    ".endm",
    "load_sse: all_registers movups, 16, xmm, 0",
    "store_sse: all_registers movups, 16, xmm, 1",
    "load_avx: all_registers vmovups, 32, ymm, 0",
    "store_avx: all_registers vmovups, 32, ymm, 1",
);

unsafe extern "C" {
    pub fn load_sse(from: *const u8);
    pub fn store_sse(to: *mut u8);
    pub fn load_avx(from: *const u8);
    pub fn store_avx(to: *mut u8);
}

/// Bytes that differ from each other.
pub fn pattern(seed: u32) -> [u8; 512] {
    let mut value = seed;
    core::array::from_fn(|_| {
        value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (value >> 24) as u8
    })
}

/// Exits of every kind, with `round` a little different each time.
fn exits(round: u32) -> Outcome {
    check(__cpuid(0x4000_0000).eax == 0x4000_0010, "CPUID goes wrong")?;
    check(apic::read(Register::VERSION) & 0xf0 == 0x10, "device memory goes wrong")?;
    check(call(Call::HELLO, [round.into(), 0, 0, 0]) == 1, "a hypercall goes wrong")?;
    check(super::msr::read(0x3b) == Some(0) && super::msr::read(0xdead).is_none(), "RDMSR goes wrong")?;
    let before = arrived(0xa3);
    apic::send(0, icr::ASSERT | 0xa3);
    if round.is_multiple_of(2) {
        interrupts::enable_and_hlt();
        interrupts::disable();
        return check(arrived(0xa3) == before + 1, "HLT goes wrong");
    }
    check(comes(0xa3, before), "an interrupt goes wrong")
}

/// All general-purpose registers but RSP, through instructions that exit and leave them alone.
fn general(_: &Handover) -> Outcome {
    let values: [u64; 15] = core::array::from_fn(|at| 0x0123_4567_89ab_cdef_u64.rotate_left(at as u32 * 4));
    let mut after = [0_u64; 15];
    // SAFETY: all registers are saved and loaded again; a read of a device without side effects, a
    // write-back of caches and a `PAUSE`.
    unsafe {
        asm!(
            "push rbx", "push rbp", "push rdi",
            "mov rax, [rsi]", "mov rbx, [rsi + 8]", "mov rcx, [rsi + 16]",
            "mov rdx, [rsi + 24]", "mov rbp, [rsi + 32]", "mov r8, [rsi + 40]",
            "mov r9, [rsi + 48]", "mov r10, [rsi + 56]", "mov r11, [rsi + 64]",
            "mov r12, [rsi + 72]", "mov r13, [rsi + 80]", "mov r14, [rsi + 88]",
            "mov r15, [rsi + 96]", "mov rdi, [rsi + 104]", "mov rsi, [rsi + 112]",
            "wbinvd", "pause", ".byte 0x67, 0xf7, 0x04, 0x25, 0x30, 0, 0xe0, 0xfe, 0, 0, 0, 0", // test [0xfee00030], 0
             "wbinvd",
            "xchg rsi, [rsp]",
            "mov [rsi], rax", "mov [rsi + 8], rbx", "mov [rsi + 16], rcx", "mov [rsi + 24], rdx",
            "mov [rsi + 32], rbp", "mov [rsi + 40], r8", "mov [rsi + 48], r9", "mov [rsi + 56], r10",
            "mov [rsi + 64], r11", "mov [rsi + 72], r12", "mov [rsi + 80], r13", "mov [rsi + 88], r14",
            "mov [rsi + 96], r15", "mov [rsi + 104], rdi", "pop [rsi + 112]",
            "pop rbp", "pop rbx",
            inout("rsi") values.as_ptr() => _, inout("rdi") after.as_mut_ptr() => _,
            out("rax") _, out("rcx") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _,
            out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    check(after == values, "a general-purpose register is lost in an exit")
}

/// Sets a bit of CR4.
pub fn control(bit: u64) -> Outcome {
    let now: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) now) };
    check(provoke!("mov cr4, rcx", now | bit, 0).1.is_none(), "CR4 can't be written")
}

fn sse(_: &Handover) -> Outcome {
    control(cr4::OSFXSR | cr4::OSXMMEXCPT)?;
    for round in 0..20 {
        let (before, mut after) = (pattern(round), [0_u8; 512]);
        // SAFETY: the buffers hold sixteen registers; nothing else uses them.
        unsafe { load_sse(before.as_ptr()) };
        exits(round)?;
        // SAFETY: as above.
        unsafe { store_sse(after.as_mut_ptr()) };
        check(after[..256] == before[..256], "an XMM register is lost in an exit")?;
    }
    Ok(())
}

/// Whether there is AVX, with XCR0 set for it.
pub fn with_avx() -> Result<bool, &'static str> {
    if !has(1, 0, 2, 26) || !has(1, 0, 2, 28) || !has(0xd, 0, 0, 2) {
        return Ok(false);
    }
    control(cr4::OSXSAVE)?;
    check(provoke!("xsetbv", 0, 7).1.is_none(), "XCR0 can't be set for AVX")?;
    Ok(true)
}

fn avx(_: &Handover) -> Outcome {
    if !with_avx()? {
        return Ok(());
    }
    for round in 0..20 {
        let (before, mut after) = (pattern(100 + round), [0_u8; 512]);
        // SAFETY: as for `sse`; AVX is on.
        unsafe { load_avx(before.as_ptr()) };
        exits(round)?;
        // SAFETY: as above.
        unsafe { store_avx(after.as_mut_ptr()) };
        check(after == before, "a YMM register is lost in an exit")?;
    }
    Ok(())
}

fn xsave(handover: &Handover) -> Outcome {
    if !with_avx()? {
        return Ok(());
    }
    let area = window::frame(handover, 30);
    window::put(area, &[0; 4096]);
    let (before, mut after) = (pattern(7), [0_u8; 512]);
    // SAFETY: as for `avx`.
    unsafe { load_avx(before.as_ptr()) };
    check(provoke!("xsave [rcx]", area, 7).1.is_none(), "XSAVE faults")?;
    check(window::word(area + 512) == 7, "XSAVE does not say that it saved all")?;
    // SAFETY: as above.
    unsafe { load_avx(pattern(8).as_ptr()) };
    exits(1)?;
    check(provoke!("xrstor [rcx]", area, 7).1.is_none(), "XRSTOR faults")?;
    // SAFETY: as above.
    unsafe { store_avx(after.as_mut_ptr()) };
    check(after == before, "XRSTOR does not restore what XSAVE saved")?;
    window::put(area + 512, &[0x80]);
    check(provoke!("xrstor [rcx]", area, 7).1 == super::GP, "XRSTOR takes a state that is off")?;
    // A state that is not in the area is as after reset.
    window::put(area + 512, &[1]);
    check(provoke!("xrstor [rcx]", area, 7).1.is_none(), "XRSTOR of a part faults")?;
    // SAFETY: as above.
    unsafe { store_avx(after.as_mut_ptr()) };
    check(after == [0; 512], "XRSTOR does not reset what is not in the area")?;
    check(provoke!("xsave [rcx]", area + 8, 7).1 == super::GP, "XSAVE takes any alignment")?;
    check(provoke!("xsetbv", 0, 1).1.is_none(), "XCR0 can't be put back")
}
