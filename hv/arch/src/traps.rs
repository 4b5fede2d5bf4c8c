//! The interrupt descriptor table, and the one way every exception takes.

use crate::percpu::FaultStack;
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use x86_64::VirtAddr;
use x86_64::structures::idt::InterruptDescriptorTable;

global_asm!(include_str!("traps.S"), options(att_syntax));

/// What was interrupted: pushed by `traps.S` and the CPU, lowest address first.
#[repr(C)]
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the registers are their own names
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    /// Which exception or interrupt.
    pub vector: u64,
    /// The CPU's error code; 0 where the vector has none.
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<TrapFrame>() == 22 * 8);

/// Non-maskable interrupt.
pub const NMI: u64 = 2;
/// Page fault: the address is in CR2.
pub const PAGE_FAULT: u64 = 14;
/// Double fault.
pub const DOUBLE_FAULT: u64 = 8;

/// Vectors below are exceptions (APM 2, 8.2).
pub const FIRST_INTERRUPT: u8 = 32;

/// The exceptions' names (APM 2, table 8-1), by vector.
const NAMES: [&str; 22] = [
    "divide error",
    "debug",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection",
    "page fault",
    "reserved",
    "x87 floating point",
    "alignment check",
    "machine check",
    "SIMD floating point",
    "virtualization",
    "control protection",
];

/// The exception's name.
pub fn name(vector: u64) -> &'static str {
    usize::try_from(vector).ok().and_then(|at| NAMES.get(at).copied()).unwrap_or("unexpected interrupt")
}

unsafe extern "C" {
    /// A stub for each vector, [`STUB_SIZE`] bytes apart.
    static trap_stubs: [u8; 256 * STUB_SIZE];
}

/// Bytes of a stub; `.balign 16` in `traps.S` keeps them apart.
const STUB_SIZE: usize = 16;

struct Table(UnsafeCell<InterruptDescriptorTable>);

// SAFETY: written by the first CPU only, before any other runs; read by the CPUs themselves.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(InterruptDescriptorTable::new()));
static HANDLER: AtomicUsize = AtomicUsize::new(0);

/// What handles everything that arrives. It returns only if the interrupted code may go on.
pub type Handler = fn(&TrapFrame);

/// Fills the table and makes `handler` the one that is called. Until `own_stacks` is true all
/// exceptions stay on the stack in use, because there are no others yet.
///
/// # Safety
/// Called on the first CPU while no other runs, after [`crate::percpu::install`]; with
/// `own_stacks`, that was given fault stacks. Interrupts are off.
pub unsafe fn install(handler: Handler, own_stacks: bool) {
    HANDLER.store(handler as usize, Ordering::Release);
    // SAFETY: only this CPU runs, by the caller's promise.
    let table = unsafe { &mut *TABLE.0.get() };
    let stubs = (&raw const trap_stubs).cast::<u8>();
    let stub = |vector: usize| VirtAddr::from_ptr(stubs.wrapping_add(vector * STUB_SIZE));
    macro_rules! exceptions {
        ($($field:ident = $vector:literal),*) => { $(
            // SAFETY: the stub saves everything and comes back with `iretq`.
            unsafe { table.$field.set_handler_addr(stub($vector)) };
        )* };
    }
    exceptions! {
        divide_error = 0, debug = 1, non_maskable_interrupt = 2, breakpoint = 3, overflow = 4,
        bound_range_exceeded = 5, invalid_opcode = 6, device_not_available = 7, double_fault = 8,
        invalid_tss = 10, segment_not_present = 11, stack_segment_fault = 12,
        general_protection_fault = 13, page_fault = 14, x87_floating_point = 16,
        alignment_check = 17, machine_check = 18, simd_floating_point = 19, virtualization = 20,
        cp_protection_exception = 21
    }
    for vector in FIRST_INTERRUPT..=u8::MAX {
        // SAFETY: as above.
        unsafe { table[vector].set_handler_addr(stub(usize::from(vector))) };
    }
    if own_stacks {
        // SAFETY: the caller gave this CPU fault stacks, and every other gets its own.
        unsafe {
            table.double_fault.set_handler_addr(stub(8)).set_stack_index(FaultStack::DoubleFault as u16);
            table.non_maskable_interrupt.set_handler_addr(stub(2)).set_stack_index(FaultStack::Nmi as u16);
            table.machine_check.set_handler_addr(stub(18)).set_stack_index(FaultStack::MachineCheck as u16);
        }
    }
    load();
}

/// Makes this CPU use the table that [`install`] filled.
pub fn load() {
    // SAFETY: the table is in a static, and is not written while a second CPU runs.
    unsafe { (*TABLE.0.get()).load_unsafe() };
}

/// Called by every stub.
#[unsafe(no_mangle)]
extern "C" fn trap_entry(frame: &TrapFrame) {
    let handler = HANDLER.load(Ordering::Acquire);
    // SAFETY: `install` stored a `Handler` before it loaded the table that leads here.
    let handler: Handler = unsafe { core::mem::transmute(handler) };
    handler(frame);
}
