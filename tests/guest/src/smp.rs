//! Starts the guest's other CPUs, as kernels do.

use crate::{Handover, apic, traps};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};
use hv_defs::apic::icr;

global_asm!(include_str!("smp.S"), options(att_syntax));

unsafe extern "C" {
    static smp_start: u8;
    static smp_end: u8;
    static smp_root: u8;
    static smp_stack: u8;
    static smp_gdt_base: u8;
    static smp_far: u8;
    static smp_long: u8;
    static smp_gdt: u8;
}

static RUNNING: AtomicU32 = AtomicU32::new(1);

/// CPUs that run.
pub fn running() -> u32 {
    RUNNING.load(Ordering::SeqCst)
}

/// Starts CPU `id` and waits for it. Its stack is in low memory above the start page.
pub fn start(handover: &Handover, id: u32) -> Result<(), &'static str> {
    let offset = |symbol: *const u8| symbol.addr() - (&raw const smp_start).addr();
    let page = core::ptr::with_exposed_provenance_mut::<u8>(handover.low as usize);
    let address = |symbol: *const u8| (handover.low as usize + offset(symbol)) as u64;
    let stack = handover.low + 0x1000 * u64::from(id + 1);
    // SAFETY: low memory is the guest's, and nothing else is in its first page; each CPU has a page
    // of stack behind it.
    unsafe {
        page.copy_from_nonoverlapping(&raw const smp_start, offset(&raw const smp_end));
        let put = |symbol: *const u8, value: u64, bytes: usize| {
            page.add(offset(symbol)).copy_from_nonoverlapping(value.to_le_bytes().as_ptr(), bytes);
        };
        put(&raw const smp_root, handover.root, 8);
        put(&raw const smp_stack, stack, 8);
        put(&raw const smp_gdt_base, address(&raw const smp_gdt), 4);
        put(&raw const smp_far, address(&raw const smp_long), 4);
    }
    let before = running();
    apic::send(id, icr::INIT | icr::ASSERT);
    apic::send(id, icr::STARTUP | icr::ASSERT | (handover.low >> 12) as u32);
    wait(|| running() > before).then_some(()).ok_or("a CPU does not start")
}

/// Waits until something is so: long enough for a busy machine below, and not for ever.
pub fn wait(done: impl Fn() -> bool) -> bool {
    (0..200_000_000).any(|_| {
        core::hint::spin_loop();
        done()
    })
}

/// Where a started CPU comes in.
#[unsafe(no_mangle)]
extern "C" fn smp_entry() -> ! {
    traps::load();
    apic::follow();
    apic::enable();
    RUNNING.fetch_add(1, Ordering::SeqCst);
    loop {
        x86_64::instructions::interrupts::enable_and_hlt();
    }
}
