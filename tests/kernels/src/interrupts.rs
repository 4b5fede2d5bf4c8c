//! The interrupt table: exceptions end the kernel with their name, one vector counts.

use crate::{apic, end, memory, say};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

/// The vector that counts.
pub const VECTOR: u32 = 0x40;
/// Non-maskable interrupts count too.
const NMI: u32 = 2;
const GATES: usize = 256;
/// 64-bit gates are of two halves; the second holds the address's upper bits, which are zero here.
const WORDS: usize = if cfg!(target_arch = "x86_64") { 2 } else { 1 };
/// The code segment that handlers run in (`header.S`).
const CODE: u64 = if cfg!(target_arch = "x86_64") { 0x18 } else { 0x08 };
/// A present interrupt gate of ring 0. SDM volume 3, 6.11 and 6.14.1.
const INTERRUPT_GATE: u64 = 0x8e << 40;

static COUNT: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    static fault_entries: u8;
    static interrupt_entry: u8;
}

#[repr(C, align(16))]
struct Table([u64; GATES * WORDS]);

static mut TABLE: Table = Table([0; GATES * WORDS]);

#[repr(C, packed)]
struct Pointer(u16, usize);

/// Installs the table; each CPU loads it by itself.
pub fn install() {
    let base = (&raw mut TABLE).addr() as u64;
    let gate = |vector: usize, handler: u64| {
        let address = handler & 0xffff | (handler >> 16 & 0xffff) << 48;
        memory::store(base + (8 * WORDS * vector) as u64, address | CODE << 16 | INTERRUPT_GATE);
    };
    for vector in 0..32 {
        gate(vector, (&raw const fault_entries).addr() as u64 + 16 * vector as u64);
    }
    let interrupt = (&raw const interrupt_entry).addr() as u64;
    gate(VECTOR as usize, interrupt);
    gate(NMI as usize, interrupt);
    load();
}

/// Has this CPU use it.
pub fn load() {
    let pointer = Pointer((size_of::<Table>() - 1) as u16, (&raw const TABLE).addr());
    // SAFETY: the table is there for good, and its handlers keep what they interrupt as it was.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack)) }
}

/// How many interrupts have come, on all CPUs.
pub fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// From the entry in assembly.
pub(crate) extern "C" fn interrupt() {
    COUNT.fetch_add(1, Ordering::Release);
    apic::write(apic::EOI, 0);
}

/// From the entry in assembly: a vector, and perhaps an error code, above it the instruction.
pub(crate) extern "C" fn fault(stack: *const usize) -> ! {
    let word = |number: usize| memory::load::<usize>((stack.addr() + number * size_of::<usize>()) as u64);
    say!("fault vector={} stack={:#x},{:#x},{:#x}", word(0), word(1), word(2), word(3));
    end::exit(end::FAILED)
}
