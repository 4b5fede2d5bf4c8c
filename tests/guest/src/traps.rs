//! Exceptions that a case provokes, interrupts that it waits for, and trips to other privilege
//! levels and code sizes.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hv_defs::apic::icr;
use hv_defs::control::rflags::TF;
use x86_64::instructions::tables::{lgdt, load_tss};
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

global_asm!(include_str!("traps.S"), options(att_syntax));

unsafe extern "C" {
    static guest_stubs: [u8; 256 * 16];
    fn guest_excursion(trip: *const Trip, resume: *mut u64, stack: *mut u64);
    /// Where `SYSCALL` may lead: adds one to RAX.
    pub fn guest_system_call();
}

/// What the first CPU fills before another runs, or has for itself.
struct Own<T>(UnsafeCell<T>);

// SAFETY: filled by the first CPU before another runs; then only read, by the CPUs.
unsafe impl<T> Sync for Own<T> {}

static TABLE: Own<InterruptDescriptorTable> = Own(UnsafeCell::new(InterruptDescriptorTable::new()));
static TASK: Own<TaskStateSegment> = Own(UnsafeCell::new(TaskStateSegment::new()));

/// Stacks for interrupts that come at level 3, and for the vector [`ON_OWN_STACK`].
static STACKS: [Own<[u8; STACK]>; 2] = [const { Own(UnsafeCell::new([0; STACK])) }; 2];
const STACK: usize = 8192;

/// Ends a trip; level 3 may use it.
pub const COME_BACK: u8 = 0x90;
/// A vector with a stack of its own.
pub const ON_OWN_STACK: u8 = 0x8f;

/// Selectors. The first two are those that hv starts with, and `smp.S` uses.
pub mod selector {
    #![allow(missing_docs)]
    pub const CODE: u16 = 0x08;
    pub const DATA: u16 = 0x10;
    /// `SYSRET` counts from here: 32-bit code, data, 64-bit code.
    pub const USER: u16 = 0x18;
    pub const USER_DATA: u16 = 0x20 | 3;
    pub const USER_CODE: u16 = 0x28 | 3;
    pub const CODE_32: u16 = 0x30;
    pub const NOT_PRESENT: u16 = 0x38;
    pub const TASK: u16 = 0x40;
    pub const BEYOND: u16 = 0x50;
}

/// Flat segments; the task segment is filled in.
pub static SEGMENTS: Segments = Segments(UnsafeCell::new([
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0x00cf_9b00_0000_ffff,
    0x00cf_1300_0000_ffff,
    0,
    0,
]));

/// A table of segments.
#[repr(align(16))]
pub struct Segments(UnsafeCell<[u64; 10]>);

// SAFETY: only the first CPU uses it.
unsafe impl Sync for Segments {}

impl Segments {
    /// As it is now.
    pub fn get(&self) -> [u64; 10] {
        // SAFETY: only the first CPU uses it.
        unsafe { self.0.get().read_volatile() }
    }
}

/// Where a provoked exception goes on; 0 = none is expected. With which stack; 0 = the same.
static RESUME: AtomicU64 = AtomicU64::new(0);
static RESUME_STACK: AtomicU64 = AtomicU64::new(0);
/// The last provoked exception's vector and error code.
static PROVOKED: AtomicU64 = AtomicU64::new(NOTHING);
const NOTHING: u64 = u64::MAX;
/// How often each vector arrived, on any CPU.
static ARRIVED: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];
/// Who looks at a trap first; 0 = nobody.
static HOOK: AtomicUsize = AtomicUsize::new(0);
/// The last provoked exception, as [`Last`].
static LAST: [AtomicU64; 6] = [const { AtomicU64::new(0) }; 6];

/// What the stubs push, lowest first.
#[repr(C)]
pub struct Frame {
    registers: [u64; 9],
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    flags: u64,
    rsp: u64,
    ss: u64,
}

/// Looks at a trap before all else; true: it is dealt with, but for the end of interrupt.
pub type Hook = fn(u8) -> bool;

/// More of the last provoked exception.
pub struct Last {
    /// Where it came from.
    pub rip: u64,
    /// RAX there.
    pub rax: u64,
    /// Its code segment.
    pub cs: u64,
    /// Its stack pointer.
    pub rsp: u64,
    /// CR2.
    pub address: u64,
    /// The stack that it was delivered on.
    pub delivered_on: u64,
}

/// Fills the tables and loads them.
pub fn install() {
    // SAFETY: only the first CPU runs.
    let (table, task, segments) =
        unsafe { (&mut *TABLE.0.get(), &mut *TASK.0.get(), &mut *SEGMENTS.0.get()) };
    let top = |stack: usize| VirtAddr::from_ptr(STACKS[stack].0.get().cast::<u8>().wrapping_add(STACK));
    task.privilege_stack_table[0] = top(0);
    task.interrupt_stack_table[0] = top(1);
    let at = core::ptr::from_ref(task).addr() as u64;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    segments[8] = limit | (at & 0xff_ffff) << 16 | 0x89 << 40 | (at >> 24 & 0xff) << 56;
    segments[9] = at >> 32;
    let pointer = DescriptorTablePointer {
        limit: (size_of_val(segments) - 1) as u16,
        base: VirtAddr::from_ptr(SEGMENTS.0.get()),
    };
    // SAFETY: the segments in use are the same in both tables.
    unsafe {
        lgdt(&pointer);
        load_tss(SegmentSelector(selector::TASK));
    }
    let stub =
        |vector: usize| VirtAddr::from_ptr((&raw const guest_stubs).cast::<u8>().wrapping_add(vector * 16));
    macro_rules! exceptions {
        ($($field:ident = $vector:literal),*) => { $(
            // SAFETY: the stub saves what it uses and comes back with `iretq`.
            unsafe { table.$field.set_handler_addr(stub($vector)) };
        )* };
    }
    exceptions! {
        divide_error = 0, debug = 1, non_maskable_interrupt = 2, breakpoint = 3, overflow = 4,
        bound_range_exceeded = 5, invalid_opcode = 6, device_not_available = 7, double_fault = 8,
        invalid_tss = 10, segment_not_present = 11, stack_segment_fault = 12,
        general_protection_fault = 13, page_fault = 14, x87_floating_point = 16, alignment_check = 17,
        simd_floating_point = 19
    }
    for vector in 32..=255 {
        // SAFETY: as above; the stack is there.
        unsafe {
            let options = table[vector].set_handler_addr(stub(usize::from(vector)));
            match vector {
                COME_BACK => drop(options.set_privilege_level(PrivilegeLevel::Ring3)),
                ON_OWN_STACK => drop(options.set_stack_index(0)),
                _ => {}
            }
        }
    }
    load();
}

/// Makes this CPU use the table.
pub fn load() {
    // SAFETY: the table is in a static and is filled.
    unsafe { (*TABLE.0.get()).load_unsafe() };
}

/// The entries of the interrupt table.
pub fn entries() -> *mut [u64; 2] {
    TABLE.0.get().cast()
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

/// The last provoked exception.
pub fn last() -> Last {
    let [rip, rax, cs, rsp, address, delivered_on] =
        core::array::from_fn(|word| LAST[word].load(Ordering::SeqCst));
    Last { rip, rax, cs, rsp, address, delivered_on }
}

/// Runs `act` while `hook` looks at all traps.
pub fn with_hook<T>(hook: Hook, act: impl FnOnce() -> T) -> T {
    HOOK.store(hook as usize, Ordering::SeqCst);
    let result = act();
    HOOK.store(0, Ordering::SeqCst);
    result
}

/// Runs one instruction (with RCX, and EDX:EAX in and out) that may fault, and goes on behind it.
macro_rules! provoke {
    ($instruction:expr, $rcx:expr, $value:expr) => {{
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

/// Where an excursion goes, and with which registers.
#[repr(C)]
pub struct Trip {
    /// First instruction.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// RFLAGS.
    pub flags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
    /// RAX.
    pub rax: u64,
    /// RCX.
    pub rcx: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
}

impl Trip {
    /// To level 3.
    pub fn to_user(rip: u64, rsp: u64) -> Self {
        let (cs, ss) = (selector::USER_CODE.into(), selector::USER_DATA.into());
        Self { rip, cs, flags: 2, rsp, ss, rax: 0, rcx: 0, rsi: 0, rdi: 0 }
    }

    /// To 64-bit code at level 0.
    pub fn to_kernel(rip: u64, rsp: u64) -> Self {
        let (cs, ss) = (selector::CODE.into(), selector::DATA.into());
        Self { cs, ss, ..Self::to_user(rip, rsp) }
    }

    /// To 32-bit code at level 0.
    pub fn to_32_bits(rip: u64, rsp: u64) -> Self {
        let (cs, ss) = (selector::CODE_32.into(), selector::DATA.into());
        Self { cs, ss, ..Self::to_user(rip, rsp) }
    }

    /// Goes there, until `INT` [`COME_BACK`] or an exception: that one, and [`last`].
    pub fn go(&self) -> Option<(u8, u32)> {
        // SAFETY: wherever it leads, an exception leads back; what is between is the case's own code.
        unsafe { guest_excursion(self, RESUME.as_ptr(), RESUME_STACK.as_ptr()) };
        provoked()
    }
}

/// Called by every stub.
#[unsafe(no_mangle)]
extern "C" fn guest_trap(frame: &mut Frame) {
    let vector = frame.vector as u8;
    ARRIVED[usize::from(vector)].fetch_add(1, Ordering::SeqCst);
    let hook = HOOK.load(Ordering::SeqCst);
    // SAFETY: only `with_hook` stores something, and it stores such a function.
    let handled = hook != 0 && unsafe { core::mem::transmute::<usize, Hook>(hook) }(vector);
    let over = vector == COME_BACK && RESUME_STACK.load(Ordering::SeqCst) != 0;
    if vector >= 32 && !over {
        if vector != ON_OWN_STACK {
            crate::apic::end_of_interrupt();
            return;
        }
    } else if handled {
        return;
    } else if vector == 2 {
        return nmi(frame);
    }
    let address: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address) };
    let (error, rip) = (frame.error, frame.rip);
    let on = core::ptr::from_ref(frame).addr() as u64;
    let last = [rip, frame.registers[8], frame.cs, frame.rsp, address, on];
    LAST.iter().zip(last).for_each(|(word, value)| word.store(value, Ordering::SeqCst));
    match RESUME.swap(0, Ordering::SeqCst) {
        0 => {
            crate::log(format_args!(
                "guest.panic exception {vector} error {error:#x} rip {rip:#x} cr2 {address:#x}"
            ));
            crate::halt();
        }
        resume => {
            PROVOKED.store(frame.vector | error << 32, Ordering::SeqCst);
            frame.rip = resume;
            frame.flags &= !TF;
            let stack = RESUME_STACK.swap(0, Ordering::SeqCst);
            if stack != 0 {
                (frame.cs, frame.ss) = (selector::CODE.into(), selector::DATA.into());
                (frame.rsp, frame.flags) = (stack, 2);
            }
        }
    }
}
