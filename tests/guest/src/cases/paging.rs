//! Page faults as the guest's own page tables make them.

use super::{Fault, Named, Outcome, check};
use crate::traps::{Trip, last, provoke};
use crate::{Handover, window};
use hv_defs::paging::bits::{NO_EXECUTE, PRESENT};
use window::{RW, USER};

pub const ONE: &[Named] = &[
    ("paging/error-codes", error_codes),
    ("paging/user", user),
    ("paging/reserved-bits", reserved_bits),
    ("paging/device", device),
    ("paging/not-canonical", not_canonical),
];

const WRITES: u32 = 2;
const BY_USER: u32 = 4;
const FETCH: u32 = 16;

/// A page fault of the window's page with this error code.
fn fault(provoked: Fault, address: u64, error: u32, what: &'static str) -> Outcome {
    check(provoked == Some((14, error)) && last().address == address, what)
}

fn error_codes(handover: &Handover) -> Outcome {
    let at = window::frame(handover, 18);
    let page = window::map(handover, 30, 0) + 0x123;
    fault(provoke!("mov al, [rcx]", page, 0).1, page, 0, "a read of a page that is not there")?;
    fault(provoke!("mov [rcx], al", page, 0).1, page, WRITES, "a write to a page that is not there")?;
    fault(provoke!("jmp rcx", page, 0).1, page, FETCH, "a fetch from a page that is not there")?;
    window::map(handover, 30, at | PRESENT);
    check(provoke!("mov al, [rcx]", page, 0).1.is_none(), "a page that is there faults")?;
    fault(provoke!("mov [rcx], al", page, 0).1, page, 1 | WRITES, "a write to a read-only page")?;
    fault(provoke!("lock add [rcx], al", page, 0).1, page, 1 | WRITES, "a change of a read-only page")?;
    window::map(handover, 30, at | RW | NO_EXECUTE);
    check(provoke!("mov [rcx], al", page, 0).1.is_none(), "a page that can be written faults")?;
    fault(provoke!("jmp rcx", page, 0).1, page, 1 | FETCH, "a fetch from a page without execution")?;
    // Over the end of a page: the second one faults, and the first is not written.
    window::map(handover, 31, 0);
    let end = window::page(31);
    window::put(end - 4, &[9; 4]);
    fault(provoke!("mov [rcx], rax", end - 4, 0).1, end, WRITES, "a write over the end of a page")?;
    check(window::get::<4>(end - 4) == [9; 4], "a write that faults is made in part")
}

fn user(handover: &Handover) -> Outcome {
    let code = window::map(handover, 32, window::frame(handover, 19) | USER);
    let stack = window::map(handover, 33, window::frame(handover, 20) | USER | NO_EXECUTE) + 0x1000;
    let data = window::map(handover, 34, 0) + 8;
    let at = window::frame(handover, 21);
    let trip = |bytes: &[u8]| {
        window::put(code, bytes);
        Trip { rcx: data, ..Trip::to_user(code, stack) }.go()
    };
    // mov al, [rcx] and mov [rcx], al; int 0x90
    let (read, write) = ([0x8a, 0x01, 0xcd, 0x90], [0x88, 0x01, 0xcd, 0x90]);
    let back = Some((crate::traps::COME_BACK, 0));
    fault(trip(&read), data, BY_USER, "a read by level 3 of a page that is not there")?;
    fault(trip(&write), data, BY_USER | WRITES, "a write by level 3 to a page that is not there")?;
    window::map(handover, 34, at | RW);
    fault(trip(&read), data, 1 | BY_USER, "a read by level 3 of the kernel's page")?;
    fault(trip(&write), data, 1 | BY_USER | WRITES, "a write by level 3 to the kernel's page")?;
    window::map(handover, 34, at | USER & !WRITES_BIT);
    check(trip(&read) == back && last().cs & 3 == 3, "level 3 can't read its page")?;
    fault(trip(&write), data, 1 | BY_USER | WRITES, "a write by level 3 to a read-only page")?;
    window::map(handover, 34, at | USER | NO_EXECUTE);
    check(trip(&write) == back, "level 3 can't write its page")?;
    // jmp rcx
    fault(trip(&[0xff, 0xe1]), data, 1 | BY_USER | FETCH, "a fetch by level 3 without execution")
}

const WRITES_BIT: u64 = hv_defs::paging::bits::WRITE;

/// QEMU leaves out the bit that says that the page was there: 8 and not 9.
fn reserved_bits(handover: &Handover) -> Outcome {
    const RESERVED: u32 = 8;
    let page = window::map(handover, 30, window::frame(handover, 18) | RW | 1 << 51);
    let bits = core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff;
    if bits > 51 {
        return Ok(());
    }
    let provoked = provoke!("mov [rcx], al", page, 0).1;
    let matches = |(vector, error): (u8, u32)| vector == 14 && error & !1 == RESERVED | WRITES;
    check(provoked.is_some_and(matches), "a reserved bit in a page table does not fault as such")?;
    check(last().address == page, "a reserved bit faults with another address")
}

/// What hv carries out on device memory faults as the CPU would.
fn device(handover: &Handover) -> Outcome {
    let hole = 0xd000_0000;
    let page = window::map(handover, 36, hole | PRESENT);
    check(provoke!("mov eax, [rcx]", page, 0).0 == 0xffff_ffff, "a device can't be read through a page")?;
    fault(provoke!("mov [rcx], al", page, 0).1, page, 1 | WRITES, "a write to a device's read-only page")?;
    fault(
        provoke!("inc dword ptr [rcx]", page, 0).1,
        page,
        1 | WRITES,
        "a change of a device's read-only page",
    )?;
    // A string from there into RAM that is read-only, or not there: movsd; int 0x90
    let code = window::frame(handover, 19);
    window::put(code, &[0xa5, 0xcd, 0x90]);
    let to = window::map(handover, 37, window::frame(handover, 18) | PRESENT);
    let string = Trip { rsi: page, rdi: to, ..Trip::to_kernel(code, code + 0x1000) };
    fault(string.go(), to, 1 | WRITES, "a string from a device to a read-only page")?;
    window::map(handover, 37, 0);
    fault(string.go(), to, WRITES, "a string from a device to a page that is not there")?;
    // The first four bytes are the device's, the next page is not there.
    let provoked = provoke!("mov rax, [rcx]", to - 4, 0).1;
    fault(provoked, to, 0, "a read over the end of a device's page")?;
    window::map(handover, 36, hole | RW);
    check(provoke!("mov [rcx], al", page, 0).1.is_none(), "a device's page can't be written")
}

fn not_canonical(handover: &Handover) -> Outcome {
    const FAR: u64 = 0x8000_0000_0000;
    check(provoke!("mov al, [rcx]", FAR, 0).1 == super::GP, "an address that is not canonical can be read")?;
    check(provoke!("mov [rcx], al", u64::MAX - FAR, 0).1 == super::GP, "one from above can be written")?;
    // Silicon answers #SS for the stack, QEMU 7.2 #GP. mov rbp, rcx; mov al, [rbp]; int 0x90
    let code = window::frame(handover, 19);
    window::put(code, &[0x48, 0x89, 0xcd, 0x8a, 0x45, 0, 0xcd, 0x90]);
    let fault = Trip { rcx: FAR, ..Trip::to_kernel(code, code + 0x1000) }.go();
    check(fault == super::GP || fault == Some((12, 0)), "a stack that is not canonical can be read")
}
