//! What is on the screen while no management VM draws on it.

use crate::machine::Machine;
use crate::refusal::sentence;
use crate::screen;
use hv_arch::percpu;
use hv_core::memory::Owner;
use ui::notice::{Notice, Tone};

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
        detail: "What it does is told on the first serial port.",
    });
}
