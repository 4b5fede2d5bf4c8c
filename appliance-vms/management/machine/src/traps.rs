//! What ends the program: exceptions and panics, each with an epitaph in the box log. Then the VM
//! ends by itself, and hv starts it anew.

use crate::apic;
use crate::log::event;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt::{self, Display};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::Cr2;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

global_asm!(include_str!("traps.S"), options(att_syntax));

unsafe extern "C" {
    static exception_stubs: [u8; 32 * 16];
    static interrupt_stub: u8;
    static spurious_stub: u8;
    fn management_end() -> !;
    // From `management.ld`; only the addresses mean anything.
    static image_start: u8;
    static image_end: u8;
}

/// Bytes of the stack that exceptions come on: the epitaph is written there.
const STACK: usize = 32 << 10;
/// Most return addresses that are told.
const CALLS: usize = 16;
/// A page fault's vector.
const PAGE_FAULT: u64 = 14;
/// A double fault's vector.
const DOUBLE_FAULT: u64 = 8;

#[repr(C, align(16))]
struct Tables {
    stack: [u8; STACK],
    tss: TaskStateSegment,
    gdt: GlobalDescriptorTable,
    idt: InterruptDescriptorTable,
}

struct Shared(UnsafeCell<Tables>);

// SAFETY: filled once by the only CPU, before anything else; then read by the processor.
unsafe impl Sync for Shared {}

static TABLES: Shared = Shared(UnsafeCell::new(Tables {
    stack: [0; STACK],
    tss: TaskStateSegment::new(),
    gdt: GlobalDescriptorTable::new(),
    idt: InterruptDescriptorTable::new(),
}));

/// What an exception's stub pushes, lowest first.
#[repr(C)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Fills the tables and has the processor use them.
pub fn install() {
    // SAFETY: the only CPU, before anything else uses them; they stay as they are from here on.
    let tables: &'static mut Tables = unsafe { &mut *TABLES.0.get() };
    let Tables { stack, tss, gdt, idt } = tables;
    tss.interrupt_stack_table[0] = VirtAddr::from_ptr(stack.as_ptr_range().end);
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    let task = gdt.append(Descriptor::tss_segment(tss));
    fill(idt);
    gdt.load();
    // SAFETY: the selectors are of the table just loaded; flat segments, as before.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(SegmentSelector::NULL);
        ES::set_reg(SegmentSelector::NULL);
        load_tss(task);
    }
    idt.load();
}

fn fill(idt: &mut InterruptDescriptorTable) {
    let stub = |vector: usize| {
        VirtAddr::from_ptr((&raw const exception_stubs).cast::<u8>().wrapping_add(vector * 16))
    };
    macro_rules! exceptions {
        ($($field:ident = $vector:literal),*) => { $(
            // SAFETY: the stub never comes back; stack 0 of the TSS is for these alone.
            unsafe { idt.$field.set_handler_addr(stub($vector)).set_stack_index(0) };
        )* };
    }
    exceptions! {
        divide_error = 0, debug = 1, non_maskable_interrupt = 2, breakpoint = 3, overflow = 4,
        bound_range_exceeded = 5, invalid_opcode = 6, device_not_available = 7, double_fault = 8,
        invalid_tss = 10, segment_not_present = 11, stack_segment_fault = 12,
        general_protection_fault = 13, page_fault = 14, x87_floating_point = 16, alignment_check = 17,
        machine_check = 18, simd_floating_point = 19, virtualization = 20, cp_protection_exception = 21
    }
    for (vector, handler) in [
        (apic::TIMER, &raw const interrupt_stub),
        (apic::EVENTS, &raw const interrupt_stub),
        (apic::SPURIOUS, &raw const spurious_stub),
    ] {
        // SAFETY: the stub keeps all registers and comes back with `iretq`.
        unsafe { idt[vector].set_handler_addr(VirtAddr::from_ptr(handler)) };
    }
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    let rbp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack)) };
    begin(&info.message(), &|f| match info.location() {
        Some(place) => place.fmt(f),
        None => f.write_str("unknown"),
    });
    end(rbp)
}

/// Called by every exception's stub.
#[unsafe(no_mangle)]
extern "C" fn management_trap(frame: &Frame) -> ! {
    let cause = fmt::from_fn(|f| {
        let (name, error) = (name(frame.vector), frame.error);
        write!(f, "{name} (vector {}, error code {error:#x})", frame.vector)?;
        if [PAGE_FAULT, DOUBLE_FAULT].contains(&frame.vector) {
            let address = Cr2::read_raw();
            let below = (&raw const image_start).addr() as u64 - address;
            let what = if below < 1 << 20 { "the stack ran over" } else { "address" };
            write!(f, ", {what} {address:#x}")?;
        }
        Ok(())
    });
    begin(&cause, &|f| write!(f, "{:#x}", frame.rip));
    macro_rules! tell {
        ($($($register:ident),*;)*) => { $(
            event!(Error, "mgmt.registers" $(, $register = Hex(frame.$register))*);
        )* };
    }
    tell! {
        rip, cs, rflags, rsp, ss;
        rax, rbx, rcx, rdx, rsi, rdi, rbp;
        r8, r9, r10, r11, r12, r13, r14, r15;
    }
    end(frame.rbp)
}

/// The epitaph's first line; a fault in the epitaph itself ends it.
fn begin(what: &dyn Display, place: &dyn Fn(&mut fmt::Formatter<'_>) -> fmt::Result) {
    static DYING: AtomicBool = AtomicBool::new(false);
    if DYING.swap(true, Ordering::Relaxed) {
        // SAFETY: nothing is owed.
        unsafe { management_end() };
    }
    event!(Error, "mgmt.panic", r#where = fmt::from_fn(place), what = what);
}

/// The epitaph's last lines, who called whom, and the end.
fn end(rbp: u64) -> ! {
    let image = (&raw const image_start).addr() as u64..(&raw const image_end).addr() as u64;
    let mut frame = rbp;
    for _ in 0..CALLS {
        if !frame.is_multiple_of(8) || !image.contains(&frame) || !image.contains(&(frame + 15)) {
            break;
        }
        let at: *const u64 = core::ptr::with_exposed_provenance(frame as usize);
        // SAFETY: aligned, and in the program, all of which can be read.
        let (next, address) = unsafe { (at.read_volatile(), at.add(1).read_volatile()) };
        if address == 0 {
            break;
        }
        event!(Error, "mgmt.call", address = Hex(address));
        frame = if next > frame { next } else { 0 };
    }
    // SAFETY: nothing is owed.
    unsafe { management_end() }
}

/// A register's value.
struct Hex(u64);

impl Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// An exception's name. APM 2, table 8-1.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "division by zero",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid opcode",
        7 => "device not available",
        DOUBLE_FAULT => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection fault",
        PAGE_FAULT => "page fault",
        16 | 19 => "floating-point error",
        17 => "alignment check",
        18 => "machine check",
        _ => "exception",
    }
}
