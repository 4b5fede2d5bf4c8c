//! Every CPU gets what is its own; the first starts the others.

use crate::machine::{self, Machine};
use crate::{core_loop, event};
use hv_abi::memory::PhysRange;
use hv_arch::address_space::AddressSpace;
use hv_arch::percpu::{self, MAX_CPUS};
use hv_arch::smp::Trampoline;
use hv_arch::svm::{self, HostArea};
use hv_arch::{cpu, traps};
use hv_core::features::Vendor;
use hv_core::memory::layout;
use hv_core::virtualization::Permission;
use hv_defs::msr;
use spin::Once;

static TRAMPOLINE: Once<Trampoline> = Once::new();

/// Puts the code that CPUs start in to its page.
pub fn prepare(space: AddressSpace, page: PhysRange) {
    // SAFETY: `memory::take` claimed the page below 1 MiB and the tables below 4 GiB for this.
    TRAMPOLINE.call_once(|| unsafe { Trampoline::install(page, &space) });
}

/// Gives the CPU that runs this its tables, stacks to fault on, and its APIC, as number `index`.
///
/// Answers what the CPU has set aside for running guests.
pub fn adopt(machine: &Machine, index: usize) -> Option<HostArea> {
    let [_, fault_stacks @ ..] = layout::stacks(index);
    // SAFETY: each CPU comes here once with an index of its own (the first one again, as it may),
    // with interrupts off; the APIC's page is in the page tables in use.
    unsafe {
        percpu::install(index, 0, fault_stacks.map(|stack| stack.top));
        traps::load();
        machine.apic.enable();
        percpu::install(index, machine.apic.id(), fault_stacks.map(|stack| stack.top));
    }
    let host = enable_virtualization(machine);
    percpu::count_online();
    host
}

/// Switches virtualization on. `None`: this processor's kind of it is not driven yet.
fn enable_virtualization(machine: &Machine) -> Option<HostArea> {
    if let Permission::SetFeatureControl(value) = machine.permission {
        // SAFETY: the register exists and is not locked (`virtualization::permission`).
        unsafe { cpu::write_msr(msr::FEATURE_CONTROL, value) };
    }
    if machine.features.vendor != Vendor::Amd {
        return None;
    }
    let pages = machine.frames.lock().take(svm::PAGES_PER_CPU)?;
    // SAFETY: SVM is there and not disabled; the pages are hv's own, taken for this CPU; its
    // descriptor tables and per-CPU data are in place.
    Some(unsafe { svm::enable(pages.base) })
}

/// Starts every CPU that ACPI names, one after the other. One that does not start is said and left.
pub fn start_others(machine: &Machine) {
    let Some(trampoline) = TRAMPOLINE.get() else { return };
    let left_out = machine.platform.cpus_left_out + machine.platform.cpus.len().saturating_sub(MAX_CPUS);
    if left_out > 0 {
        event!(Warn, "hv.cpu", left_out = left_out, most = MAX_CPUS);
    }
    let own = machine.apic.id();
    let others = machine.platform.cpus.iter().copied().filter(|&id| id != own);
    // A CPU that did not start may still wake up later: its stacks are never given to another.
    for (index, apic_id) in (1..machine.cpus).zip(others) {
        let before = percpu::online();
        let start = (layout::stacks(index)[0].top, index as u64, begin as hv_arch::smp::Entry);
        // SAFETY: the stack is that CPU's alone, and CPUs are started one at a time.
        let runs = unsafe {
            trampoline.start(machine.apic, machine.clock, apic_id, start, || percpu::online() > before)
        };
        if !runs {
            event!(Error, "hv.cpu", apic_id = apic_id, what = "the processor does not start");
        }
    }
}

/// Where a started CPU comes in, on its own stack.
extern "C" fn begin(index: u64) -> ! {
    let machine = machine::get().expect("the first CPU made it before it started others");
    cpu::set_control_registers(&machine.features);
    // SAFETY: hv's tables map this code, this stack and all else that hv uses.
    unsafe { machine.space.activate() };
    if let Some(memory_types) = &machine.memory_types {
        memory_types.write();
    }
    let host = adopt(machine, index as usize);
    crate::drill::run_elsewhere();
    core_loop::run(machine, host)
}
