//! From hv's jump to tasks that run.

use crate::timer::Timer;
use crate::{apic, dma, events, heap, paging, run, start, traps};
use core::arch::global_asm;
use hv_abi::boot::{Framebuffer, PixelFormat};
use hv_abi::memory::PhysRange;
use management::executor::Executor;

global_asm!(include_str!("entry.S"), options(att_syntax));

/// Words that hv hands over. hv fills the page's rest with zeros: a word that it does not know is 0.
const WORDS: usize = 16;

/// What hv hands over.
#[derive(Clone, Copy)]
pub struct Handover {
    /// Virtual CPUs; all but the first wait for STARTUP, and stay so.
    pub cpus: u64,
    /// Its RAM: the program, what hv put behind it, and the heap.
    pub ram: PhysRange,
    /// What is said to it, in words with spaces between them.
    pub options: &'static str,
    /// How often it has lived before, since the box was switched on.
    pub lives: u64,
    /// The screen that the door found.
    pub screen: Framebuffer,
    /// Bytes of RAM that the machine has.
    pub machine_ram: u64,
}

/// Runs on the program's own stack, with SSE on.
///
/// # Safety
/// Called once, by `entry.S`, with the address of hv's handover.
#[unsafe(no_mangle)]
unsafe extern "C" fn management_main(handover: *const [u64; WORDS]) -> ! {
    // SAFETY: hv's promise: a page, mapped where it is.
    let words = unsafe { handover.read() };
    let [cpus, ram, ram_len, _, _, root, free, _, options, options_len, lives, screen @ .., machine_ram] =
        words;
    dma::set_ram(ram);
    traps::install();
    // SAFETY: from the first free byte on the RAM is nobody's; the handover is before it.
    unsafe { heap::open(PhysRange::new(free, ram + ram_len - free)) };
    // SAFETY: the tables are in use, and this is the only CPU.
    unsafe { paging::adopt(root) };
    apic::switch_on();
    let timer = Timer::new();
    events::open();
    // SAFETY: hv's promise: text in this VM's RAM that nobody writes, or an address of 0.
    let options = unsafe { text(options, options_len) };
    let ram = PhysRange::new(ram, ram_len);
    let handover = Handover { cpus, ram, options, lives, screen: framebuffer(screen), machine_ram };
    let executor = Executor::new(timer);
    start::begin(&executor.handle(), handover);
    run::for_good(&executor, timer)
}

/// The screen, as hv hands it over.
fn framebuffer([base, len, size, layout]: [u64; 4]) -> Framebuffer {
    Framebuffer {
        range: PhysRange::new(base, len),
        width: size as u32,
        height: (size >> 32) as u32,
        stride: layout as u32,
        format: PixelFormat((layout >> 32) as u32),
    }
}

/// Text that hv handed over; what is not UTF-8 is nothing.
///
/// # Safety
/// As many bytes are at the address, for good, or the address is 0.
unsafe fn text(address: u64, len: u64) -> &'static str {
    if address == 0 {
        return "";
    }
    let at = core::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(at, len as usize) };
    core::str::from_utf8(bytes).unwrap_or_default()
}
