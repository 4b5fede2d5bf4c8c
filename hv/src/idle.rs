//! What a CPU does when there is nothing to do.

use crate::machine::Machine;
use crate::refusal::sentence;
use crate::screen;
use hv_arch::{cpu, percpu};
use hv_core::memory::Owner;
use ui::notice::{Notice, Tone};

/// Sleeps until there is something to do, for good.
pub fn run() -> ! {
    crate::drill::run_elsewhere();
    loop {
        cpu::wait_for_interrupt();
    }
}

/// Says on the screen that hv runs, until a management VM has better things to show.
pub fn greet(machine: &Machine) {
    let free = machine.memory.lock().total(Owner::Free) >> 20;
    let (cpus, plural) = (percpu::online(), if percpu::online() == 1 { "" } else { "s" });
    let text = sentence(format_args!(
        "The hypervisor is running on {cpus} processor{plural}, with {free} MiB of memory to give to virtual machines."
    ));
    screen::show(&Notice {
        tone: Tone::Calm,
        title: concat!("Hearth ", env!("CARGO_PKG_VERSION")),
        text: &text,
        detail: "There are no virtual machines in this version yet.",
    });
}
