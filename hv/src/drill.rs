//! Faults on purpose (`test=…`), to see that they are told well.

use crate::machine;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use hv_arch::percpu;
use hv_core::options::{Drill, Options};

/// The other CPUs wait for this while a drill is set for one of them.
static GO: AtomicBool = AtomicBool::new(false);

/// Makes the fault that was asked for, on the first CPU.
pub fn run(options: Options) {
    match options.drill {
        None => {}
        Some(Drill::Panic) => panic!("a panic was asked for (test=panic)"),
        Some(Drill::PageFault) => page_fault(),
        Some(Drill::StackOverflow) => drop(black_box(overflow(1))),
        Some(Drill::OtherCpu) => GO.store(true, Ordering::Release),
    }
}

/// Makes the fault that was asked for on another CPU: the second one, as it comes to idle.
pub fn run_elsewhere() {
    let wanted = machine::get().is_some_and(|machine| machine.options.drill == Some(Drill::OtherCpu));
    if wanted && percpu::this().index() == 1 {
        while !GO.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
        panic!("a panic on another CPU was asked for (test=other-cpu)");
    }
}

fn page_fault() {
    // Nothing is mapped in the low half.
    let nowhere = core::ptr::without_provenance::<u8>(0xdead_0000);
    // SAFETY: it is not safe: it faults, and that is what was asked for.
    black_box(unsafe { nowhere.read_volatile() });
}

#[allow(unconditional_recursion)]
fn overflow(depth: u64) -> u64 {
    black_box(black_box(depth) + overflow(black_box(depth) + 1))
}
