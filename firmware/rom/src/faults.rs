//! Exceptions: the door takes none on purpose, so each is a panic with its number and place,
//! rather than a machine that silently starts over.

use core::arch::global_asm;
use spin::Mutex;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::registers::control::Cr2;
use x86_64::registers::segmentation::{CS, Segment};
use x86_64::structures::DescriptorTablePointer;

const VECTORS: usize = 32;
/// Bytes from one stub to the next.
const STUB: usize = 16;
/// Exceptions that push an error code. APM 2, table 8-1.
const WITH_ERROR_CODE: u32 = 1 << 8 | 0b1_1111 << 10 | 1 << 17 | 1 << 21 | 0b11 << 29;
/// A gate's type and flags: interrupt gate, ring 0, present. APM 2, figure 4-24.
const INTERRUPT_GATE: u128 = 0x8e00 << 32;

global_asm!(include_str!("faults.S"), VECTORS = const VECTORS, STUB = const STUB, options(att_syntax));

unsafe extern "C" {
    static fault_stubs: u8;
}

static GATES: Mutex<[u128; VECTORS]> = Mutex::new([0; VECTORS]);

/// Catches exceptions from here on.
pub fn catch() {
    let mut gates = GATES.lock();
    let stubs = (&raw const fault_stubs).addr();
    for (vector, gate) in gates.iter_mut().enumerate() {
        let target = (stubs + vector * STUB) as u128;
        let selector = u128::from(CS::get_reg().0) << 16;
        *gate = target & 0xffff | selector | INTERRUPT_GATE | target >> 16 << 48;
    }
    let table = DescriptorTablePointer {
        limit: (size_of_val(&*gates) - 1) as u16,
        base: VirtAddr::from_ptr(gates.as_ptr()),
    };
    // SAFETY: the table is static, its gates lead to the stubs, and nobody changes it again.
    unsafe { lidt(&table) };
}

/// Called by the stubs.
///
/// # Safety
/// `frame` points to the vector and what the CPU has pushed.
#[unsafe(no_mangle)]
unsafe extern "C" fn rom_fault(frame: *const u64) -> ! {
    // SAFETY: the caller's promise.
    let vector = unsafe { frame.read() };
    let error_code = WITH_ERROR_CODE >> (vector % 32) & 1;
    // SAFETY: as above; RIP is the first word after the error code.
    let place = unsafe { frame.add(1 + error_code as usize).read() };
    panic!("exception {vector} at {place:#x}, CR2 = {:#x}", Cr2::read_raw());
}
