//! 32-bit protected mode outside long mode: without paging, with 32-bit paging, with PAE paging.
//! hv carries out device accesses there, so it walks each kind of page table.

use super::{Named, Outcome, check};
use crate::traps::{SEGMENTS, selector};
use crate::{Handover, apic, window};
use core::arch::global_asm;
use hv_defs::apic::{Register, lvt_timer::MASKED};
use hv_defs::control::{cr0, cr4};

pub const ONE: &[Named] = &[
    ("modes/no-paging", no_paging),
    ("modes/32-bit-paging", paging_32),
    ("modes/small-pages", small_pages),
    ("modes/pae-paging", paging_pae),
];

global_asm!(include_str!("modes.S"), options(att_syntax));

unsafe extern "C" {
    static modes_start: u8;
    static modes_64: u8;
    static modes_interrupt: u8;
    static modes_end: u8;
}

/// Where in low memory: behind the start page of the other CPUs and their stacks.
const CODE: u64 = 0xf000;
/// The parameters, at the end of the code's page; then descriptor tables.
const PARAMETERS: u64 = 0x400;
const GDT: u64 = 0x500;
const IDT: u64 = 0x600;
const SEEN: u64 = 0x60;
/// The interrupt that the code sends itself.
const VECTOR: u64 = 0x44;

/// Copies the code and its parameters to low memory; the parameters' address.
fn prepare(handover: &Handover, cr3: u64, cr4: u64, paging: bool) -> u64 {
    let base = handover.low + CODE;
    let offset = |symbol: *const u8| (symbol.addr() - (&raw const modes_start).addr()) as u64;
    let code = base + offset(&raw const modes_start);
    for at in 0..offset(&raw const modes_end) {
        // SAFETY: the code is so long.
        let byte = unsafe { (&raw const modes_start).add(at as usize).read() };
        window::put(code + at, &[byte]);
    }
    let [parameters, gdt, idt] = [PARAMETERS, GDT, IDT].map(|at| base + at);
    for (at, segment) in SEGMENTS.get().into_iter().enumerate() {
        window::put(gdt + 8 * at as u64, &segment.to_le_bytes());
    }
    let handler = base + offset(&raw const modes_interrupt);
    let gate = handler & 0xffff | u64::from(selector::CODE_32) << 16 | 0x8e << 40 | (handler >> 16) << 48;
    window::put(idt + 8 * VECTOR, &gate.to_le_bytes());
    for (at, limit, table) in [(0, 79, gdt), (0x10, 8 * VECTOR + 7, idt)] {
        window::put(parameters + at, &(limit as u16).to_le_bytes());
        window::put(parameters + at + 2, &table.to_le_bytes());
    }
    let on = cr0::PE | cr0::ET | cr0::NE | if paging { cr0::PG | cr0::WP } else { 0 };
    let back = (base + offset(&raw const modes_64)) | u64::from(selector::CODE) << 32;
    for (at, word) in [(0x40, cr3), (0x48, cr4), (0x50, on), (0x58, back)] {
        window::put(parameters + at, &word.to_le_bytes());
    }
    window::put(parameters + SEEN, &[0; 64]);
    parameters
}

/// Goes there and back, and looks at what was seen.
fn visit(handover: &Handover, cr3: u64, cr4: u64, paging: bool) -> Outcome {
    let parameters = prepare(handover, cr3, cr4, paging);
    let start = core::ptr::with_exposed_provenance::<u8>((handover.low + CODE) as usize);
    // SAFETY: the code is there, in memory that is mapped where it is and may be executed.
    let start = unsafe { core::mem::transmute::<*const u8, extern "C" fn(u64)>(start) };
    apic::write(Register::LVT_LINT0, MASKED);
    start(parameters);
    let seen = |word: u64| u32::from_le_bytes(window::get(parameters + SEEN + 4 * word));
    let version = apic::read(Register::VERSION);
    let table = apic::read(Register::LVT_LINT0);
    apic::write(Register::LVT_LINT0, MASKED);
    for (word, expected, what) in [
        (0, 0x4b4d_564b, "CPUID answers something else there"),
        (1, 0xfee0_0900, "RDMSR answers something else there"),
        (2, version, "device memory reads something else there"),
        (3, version >> 16, "MOVZX from device memory reads something else there"),
        (4, 1, "a hypercall answers something else there"),
        (5, u32::MAX, "a port answers something else there"),
        (6, 0x1_0042, "OR to device memory does something else there"),
        (7, version, "MOVS from device memory does something else there"),
        (8, version, "PUSH and POP of device memory do something else there"),
        (9, 1, "an interrupt does not end HLT there"),
        (10, cr4 as u32, "CR4 is another there"),
    ] {
        check(seen(word) == expected, what)?;
    }
    check(seen(11) & 0x500 == 0, "EFER still shows long mode there")?;
    check(table == 0x1_0042, "a write to device memory is lost there")
}

fn no_paging(handover: &Handover) -> Outcome {
    visit(handover, 0, 0, false)
}

const LARGE: u32 = 1 << 7;

/// One table: pages of 4 MiB, each where it is.
fn paging_32(handover: &Handover) -> Outcome {
    let root = window::frame(handover, 40);
    for entry in 0..1024_u32 {
        window::put(root + 4 * u64::from(entry), &(entry << 22 | LARGE | 3).to_le_bytes());
    }
    visit(handover, root, cr4::PSE, true)
}

/// Two levels: the 4 MiB in use are in pages of 4 KiB.
fn small_pages(handover: &Handover) -> Outcome {
    let root = window::frame(handover, 40);
    window::put(root, &[0; 4096]);
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, rsp", out(reg) rsp) };
    // Low memory, the stack, the local APIC.
    let used = [handover.low as u32 >> 22, rsp as u32 >> 22, 0xfee0_0000 >> 22];
    for (number, region) in used.into_iter().enumerate() {
        let table = window::frame(handover, 41 + number as u64);
        for page in 0..1024_u32 {
            let entry = region << 22 | page << 12 | 3;
            window::put(table + 4 * u64::from(page), &entry.to_le_bytes());
        }
        window::put(root + 4 * u64::from(region), &(table as u32 | 3).to_le_bytes());
    }
    visit(handover, root, 0, true)
}

/// Three levels, entries of 64 bits: pages of 2 MiB, each where it is.
fn paging_pae(handover: &Handover) -> Outcome {
    let root = window::frame(handover, 45);
    for gib in 0..4_u64 {
        let table = window::frame(handover, 46 + gib);
        window::put(root + 8 * gib, &(table | 1).to_le_bytes());
        for entry in 0..512_u64 {
            let page = gib << 30 | entry << 21 | u64::from(LARGE) | 3;
            window::put(table + 8 * entry, &page.to_le_bytes());
        }
    }
    visit(handover, root, cr4::PAE, true)
}
