//! Exceptions that a case provokes, and interrupts that it waits for.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hv_defs::apic::icr;
use x86_64::VirtAddr;
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::idt::InterruptDescriptorTable;

global_asm!(include_str!("traps.S"), options(att_syntax));

unsafe extern "C" {
    static guest_stubs: [u8; 256 * 16];
}

struct Table(UnsafeCell<InterruptDescriptorTable>);

// SAFETY: filled by the first CPU before another runs; then only read, by the CPUs.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new(InterruptDescriptorTable::new()));

/// Where a provoked exception goes on; 0 = none is expected.
static RESUME: AtomicU64 = AtomicU64::new(0);
/// The last provoked exception's vector and error code.
static PROVOKED: AtomicU64 = AtomicU64::new(NOTHING);
const NOTHING: u64 = u64::MAX;
/// How often each vector arrived, on any CPU.
static ARRIVED: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];

/// What the stubs push, lowest first.
#[repr(C)]
struct Frame {
    registers: [u64; 9],
    vector: u64,
    error: u64,
    rip: u64,
}

/// Flat segments, with the selectors that hv starts with: 0x08 code, 0x10 data.
static SEGMENTS: GlobalDescriptorTable = {
    const CODE: u64 = 0x00af_9b00_0000_ffff;
    const DATA: u64 = 0x00cf_9300_0000_ffff;
    GlobalDescriptorTable::from_raw_entries(&[0, CODE, DATA])
};

/// Fills the table and loads it.
pub fn install() {
    SEGMENTS.load();
    // SAFETY: only the first CPU runs.
    let table = unsafe { &mut *TABLE.0.get() };
    let stub =
        |vector: usize| VirtAddr::from_ptr((&raw const guest_stubs).cast::<u8>().wrapping_add(vector * 16));
    macro_rules! exceptions {
        ($($field:ident = $vector:literal),*) => { $(
            // SAFETY: the stub saves what it uses and comes back with `iretq`.
            unsafe { table.$field.set_handler_addr(stub($vector)) };
        )* };
    }
    exceptions! {
        divide_error = 0, debug = 1, non_maskable_interrupt = 2, breakpoint = 3, invalid_opcode = 6,
        double_fault = 8, invalid_tss = 10, segment_not_present = 11, stack_segment_fault = 12,
        general_protection_fault = 13, page_fault = 14
    }
    for vector in 32..=255 {
        // SAFETY: as above.
        unsafe { table[vector].set_handler_addr(stub(usize::from(vector))) };
    }
    load();
}

/// Makes this CPU use the table.
pub fn load() {
    // SAFETY: the table is in a static and is filled.
    unsafe { (*TABLE.0.get()).load_unsafe() };
}

/// How often `vector` has arrived.
pub fn arrived(vector: u8) -> u32 {
    ARRIVED[usize::from(vector)].load(Ordering::SeqCst)
}

/// The exception that the last provocation made, and its error code.
pub fn provoked() -> Option<(u8, u32)> {
    match PROVOKED.swap(NOTHING, Ordering::SeqCst) {
        NOTHING => None,
        value => Some((value as u8, (value >> 32) as u32)),
    }
}

/// Runs one instruction (with RCX, and EDX:EAX in and out) that may fault, and goes on behind it.
macro_rules! provoke {
    ($instruction:literal, $rcx:expr, $value:expr) => {{
        let value: u64 = $value;
        let (mut low, mut high) = (value & 0xffff_ffff, value >> 32);
        // SAFETY: a fault goes on behind the instruction, which touches no memory of the program's.
        unsafe {
            core::arch::asm!(
                "lea {resume}, [rip + 2f]",
                "mov [{place}], {resume}",
                $instruction,
                "2:",
                "mov qword ptr [{place}], 0",
                resume = out(reg) _,
                place = in(reg) $crate::traps::resume_place(),
                inout("rcx") $rcx as u64 => _,
                inout("rax") low,
                inout("rdx") high,
            );
        }
        (high << 32 | low & 0xffff_ffff, $crate::traps::provoked())
    }};
}
pub(crate) use provoke;

/// For [`provoke!`].
pub fn resume_place() -> *mut u64 {
    RESUME.as_ptr()
}

/// How many NMIs the handler of one shall still send to its own CPU, the first.
pub static NMI_AGAIN: AtomicU32 = AtomicU32::new(0);
/// The highest place on the stack where an NMI arrived, and the deepest.
pub static NMI_HIGHEST: AtomicU64 = AtomicU64::new(0);
/// See [`NMI_HIGHEST`].
pub static NMI_DEEPEST: AtomicU64 = AtomicU64::new(u64::MAX);

fn nmi(frame: &Frame) {
    let at = core::ptr::from_ref(frame).addr() as u64;
    NMI_HIGHEST.fetch_max(at, Ordering::SeqCst);
    NMI_DEEPEST.fetch_min(at, Ordering::SeqCst);
    let more = NMI_AGAIN.load(Ordering::SeqCst);
    if more > 0 {
        NMI_AGAIN.store(more - 1, Ordering::SeqCst);
        crate::apic::send(0, icr::NMI | icr::ASSERT);
    }
}

/// Called by every stub.
#[unsafe(no_mangle)]
extern "C" fn guest_trap(frame: &mut Frame) {
    let vector = frame.vector as u8;
    ARRIVED[usize::from(vector)].fetch_add(1, Ordering::SeqCst);
    if vector >= 32 {
        crate::apic::end_of_interrupt();
        return;
    }
    if vector == 2 {
        return nmi(frame);
    }
    match RESUME.swap(0, Ordering::SeqCst) {
        0 => {
            let address: u64;
            // SAFETY: reads a register.
            unsafe { asm!("mov {}, cr2", out(reg) address) };
            let (error, rip) = (frame.error, frame.rip);
            crate::log(format_args!(
                "guest.panic exception {vector} error {error:#x} rip {rip:#x} cr2 {address:#x}"
            ));
            crate::halt();
        }
        resume => {
            PROVOKED.store(frame.vector | frame.error << 32, Ordering::SeqCst);
            frame.rip = resume;
        }
    }
}
