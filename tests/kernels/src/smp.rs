//! Starts another CPU by INIT and two start-ups, in a page below 1 MiB. SDM volume 3, 8.4.4.1.

use crate::{apic, clock, interrupts, memory};
use core::sync::atomic::{AtomicU32, Ordering};

/// The page.
const PAGE: u64 = 0x8000;

unsafe extern "C" {
    static smp_page: u8;
    static smp_page_end: u8;
}

/// What the other CPU has said: nothing, or its APIC ID and 1.
static STARTED: AtomicU32 = AtomicU32::new(0);
/// What it is to run.
static TASK: AtomicU32 = AtomicU32::new(0);

/// A task of the other CPU's: interrupt the CPU with this ID.
pub fn interrupt(cpu: u32) {
    TASK.store(cpu + 1, Ordering::Release);
}

/// Starts the CPU with this ID; whether it says that it has it. With [`apic::OTHERS`] all others are told to
/// start, as suites do it, and else that one.
pub fn start(cpu: u32, whom: u32) -> bool {
    let (first, end) = ((&raw const smp_page).addr() as u64, (&raw const smp_page_end).addr() as u64);
    (first..end).for_each(|at| memory::store(PAGE + at - first, memory::load::<u8>(at)));
    apic::send(cpu, whom | apic::INIT);
    clock::wait(2, || false);
    for _ in 0..2 {
        apic::send(cpu, whom | apic::STARTUP | (PAGE >> 12) as u32);
        if clock::wait(100, || STARTED.load(Ordering::Acquire) != 0) {
            break;
        }
    }
    clock::wait(10_000, || STARTED.load(Ordering::Acquire) == cpu + 1)
}

/// From the entry in assembly: the other CPU.
pub(crate) extern "C" fn start_other() -> ! {
    interrupts::load();
    if apic::mode_is_x2() {
        apic::switch_to_x2();
    }
    apic::enable();
    STARTED.store(apic::id() + 1, Ordering::Release);
    loop {
        if let Some(cpu) = TASK.swap(0, Ordering::AcqRel).checked_sub(1) {
            apic::send(cpu, apic::FIXED | interrupts::VECTOR);
        }
        core::hint::spin_loop();
    }
}
