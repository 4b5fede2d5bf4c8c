//! The ends of RAM and of pages, and code that changes.

use super::{Named, Outcome, check};
use crate::{Handover, window};
use core::arch::asm;
use window::{LAST, RW};

pub const ONE: &[Named] = &[
    ("memory/last-bytes", last_bytes),
    ("memory/astride-the-end", astride_the_end),
    ("memory/string-over-the-end", string_over_the_end),
    ("memory/not-ours", not_ours),
    ("code/changes", code_changes),
    ("code/at-the-end-of-a-page", code_at_the_end),
];

/// The last frame of the RAM in the window's page 20, where nobody is in page 21.
fn end_of_ram(handover: &Handover) -> u64 {
    window::map(handover, 21, handover.ram_end | RW);
    window::map(handover, 20, window::frame(handover, LAST) | RW) + 0x1000
}

fn last_bytes(handover: &Handover) -> Outcome {
    let end = end_of_ram(handover);
    for bytes in 1..=8 {
        let pattern = [0xa0 + bytes as u8; 8];
        window::put(end - bytes, &pattern[..bytes as usize]);
        let read: [u8; 8] = window::get(handover.ram_end - 8);
        check(read[8 - bytes as usize..] == pattern[..bytes as usize], "the last bytes of RAM are not kept")?;
    }
    Ok(())
}

/// Of an access over the end, what is in RAM is RAM's.
fn astride_the_end(handover: &Handover) -> Outcome {
    let end = end_of_ram(handover);
    for inside in 1..8_u64 {
        window::put(end - 8, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let (before, read, after): (u64, u64, u64);
        let at = end - inside;
        // SAFETY: the case's own memory, and where nobody is.
        unsafe {
            asm!("mov {}, [{}]", out(reg) before, in(reg) at);
            asm!("mov qword ptr [{0}], 0", in(reg) at);
            asm!("mov {}, [{}]", out(reg) read, in(reg) at);
            asm!("mov {}, [{}]", out(reg) after, in(reg) end - 8);
        }
        let (ram, inside) = (0x0807_0605_0403_0201_u64, 8 * inside);
        let ones = u64::MAX << inside;
        check(before == ram >> (64 - inside) | ones, "a read over the end of RAM differs")?;
        check(read == ones, "a write over the end of RAM does not reach RAM")?;
        check(after == ram << inside >> inside, "a write over the end of RAM goes too far")?;
        // Narrow ones, also read, changed and written.
        let mut sum = 0x0101_u32;
        // SAFETY: as above.
        unsafe { asm!("xadd [{}], {:x}", in(reg) end - 1, inout(reg) sum) };
        let low = window::get::<1>(end - 1)[0];
        check(
            sum >> 8 & 0xff == 0xff && low == (sum as u8).wrapping_add(1),
            "XADD over the end of RAM differs",
        )?;
    }
    Ok(())
}

fn string_over_the_end(handover: &Handover) -> Outcome {
    let end = end_of_ram(handover);
    let (mut count, mut to) = (300_u64, end - 150);
    // SAFETY: the case's own memory, and where nobody is.
    unsafe { asm!("rep stosb", inout("rcx") count, inout("rdi") to, in("al") 0x77_u8) };
    check(count == 0 && to == end + 150, "a string over the end of RAM does not end where it should")?;
    check(window::get::<150>(handover.ram_end - 150) == [0x77; 150], "a string does not fill the RAM")?;
    check(window::get::<8>(end) == [0xff; 8], "where nobody is keeps something")
}

/// What is not this VM's reads all ones: the frames around its RAM, and hv's own.
fn not_ours(handover: &Handover) -> Outcome {
    for address in
        [0, 0x10_0000, handover.ram_end, handover.ram_end + (64 << 20), 0x1_0000_0000, 0xff_ffff_f000]
    {
        let page = window::map(handover, 22, address | RW);
        let inside = address + 0x1000 > handover.ram_end - (64 << 20) && address < handover.ram_end;
        let low = (handover.low..handover.low + 0x1_0000).contains(&address);
        if inside || low {
            continue;
        }
        check(window::get::<16>(page + 8) == [0xff; 16], "memory that is not ours can be read")?;
        window::put(page + 8, &[0x66; 16]);
        check(window::get::<16>(page + 8) == [0xff; 16], "memory that is not ours can be written")?;
    }
    Ok(())
}

/// Calls code that answers in EAX.
pub fn run(code: u64) -> u32 {
    let answer: u32;
    // SAFETY: the caller has put such code there.
    unsafe { asm!("call {}", in(reg) code, out("eax") answer, out("rcx") _, out("rdx") _) };
    answer
}

/// `MOV EAX, value; RET`.
pub fn answering(value: u32) -> [u8; 6] {
    let [a, b, c, d] = value.to_le_bytes();
    [0xb8, a, b, c, d, 0xc3]
}

fn code_changes(handover: &Handover) -> Outcome {
    let code = window::frame(handover, 14);
    let page = window::map(handover, 24, code | RW);
    for round in 0..200 {
        // By the address it runs at, and by another one.
        window::put(if round % 2 == 0 { code } else { page }, &answering(round));
        check(run(code) == round, "changed code runs as it was")?;
    }
    // Into what exits: CPUID's instruction is written over a NOP, right before it runs.
    // push rbx; mov eax, 0x40000000; mov word [rip+0], 0xa20f; nop; nop; pop rbx; ret
    window::put(
        code,
        &[0x53, 0xb8, 0, 0, 0, 0x40, 0x66, 0xc7, 0x05, 0, 0, 0, 0, 0x0f, 0xa2, 0x90, 0x90, 0x5b, 0xc3],
    );
    check(run(code) == 0x4000_0010, "an instruction written over the next one does not run")
}

/// Instructions that exit at the end of a page, and over it: the pages are not neighbours in RAM.
fn code_at_the_end(handover: &Handover) -> Outcome {
    let page = window::map(handover, 25, window::frame(handover, 15) | RW);
    window::map(handover, 26, window::frame(handover, 17) | RW);
    let end = page + 0x1000;
    // mov edx, 0xfee00030; mov eax, [rdx + 0]; ret: the read is 7 bytes from the 6th on
    let read = [0xba, 0x30, 0, 0xe0, 0xfe, 0x3e, 0x67, 0x8b, 0x82, 0, 0, 0, 0, 0xc3];
    // push rbx; mov eax, 0x40000000; cpuid; pop rbx; ret
    let cpuid = [0x53, 0xb8, 0, 0, 0, 0x40, 0x0f, 0xa2, 0x5b, 0xc3];
    // mov ecx, 0x1b; rdmsr; ret
    let rdmsr = [0xb9, 0x1b, 0, 0, 0, 0x0f, 0x32, 0xc3];
    // mov eax, 0x48450000; vmmcall; ret
    let hello = [0xb8, 0, 0, 0x45, 0x48, 0x0f, 0x01, 0xd9, 0xc3];
    // wbinvd; mov eax, 5; ret: its length is read from memory
    let flush = [0x0f, 0x09, 0xb8, 5, 0, 0, 0, 0xc3];
    let version = crate::apic::read(hv_defs::apic::Register::VERSION);
    let codes: [(&[u8], u32); 5] =
        [(&read, version), (&cpuid, 0x4000_0010), (&rdmsr, 0xfee0_0900), (&hello, 1), (&flush, 5)];
    for (code, answer) in codes {
        for inside in 0..=code.len() as u64 {
            window::put(end - inside, code);
            check(run(end - inside) == answer, "an instruction at the end of a page goes wrong")?;
        }
    }
    Ok(())
}
