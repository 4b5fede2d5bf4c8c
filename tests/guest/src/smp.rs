//! Starts the guest's other CPUs, as kernels do, and has them do something.

use crate::{Handover, apic, traps};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use hv_defs::apic::icr;
use x86_64::instructions::interrupts;

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

/// Most CPUs that the low memory has stacks for.
pub const MOST: usize = 15;
/// Wakes a CPU that has something to do.
const WAKE: u32 = 0x70;

/// What a CPU does, by its number.
pub type Job = fn(u32);

static RUNNING: AtomicU32 = AtomicU32::new(1);
/// What each CPU shall do next; 0 = nothing.
static JOBS: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];

/// CPUs that have come up, counting each time.
pub fn running() -> u32 {
    RUNNING.load(Ordering::SeqCst)
}

/// Starts CPU `id`, by INIT and STARTUP, and waits for it. Its stack is in low memory above the start
/// page.
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
    JOBS[id as usize].store(0, Ordering::SeqCst);
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

/// Has CPU `id` do something, with interrupts off.
pub fn ask(id: u32, job: Job) {
    JOBS[id as usize].store(job as usize, Ordering::SeqCst);
    apic::send(id, icr::ASSERT | WAKE);
}

/// Waits until CPU `id` has done it.
pub fn finished(id: u32) -> bool {
    wait(|| JOBS[id as usize].load(Ordering::SeqCst) == 0)
}

/// Has all CPUs do something: `together`, or one after the other.
pub fn everybody(handover: &Handover, together: bool, job: Job) -> Result<(), &'static str> {
    let others = 1..handover.cpus as u32;
    for id in others.clone() {
        ask(id, job);
        if !together && !finished(id) {
            return Err("a CPU does not do what it shall");
        }
    }
    job(0);
    if others.clone().all(finished) { Ok(()) } else { Err("a CPU does not do what it shall") }
}

/// Where a started CPU comes in.
#[unsafe(no_mangle)]
extern "C" fn smp_entry() -> ! {
    traps::load();
    if apic::is_x2() {
        apic::switch_to_x2();
    }
    apic::enable();
    let own = &JOBS[apic::id() as usize];
    RUNNING.fetch_add(1, Ordering::SeqCst);
    loop {
        interrupts::disable();
        match own.load(Ordering::SeqCst) {
            0 => interrupts::enable_and_hlt(),
            job => {
                // SAFETY: only `ask` stores something, and it stores such a function.
                let job = unsafe { core::mem::transmute::<usize, Job>(job) };
                job(apic::id());
                own.store(0, Ordering::SeqCst);
            }
        }
    }
}
