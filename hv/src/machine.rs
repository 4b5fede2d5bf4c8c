//! The machine, as hv knows it once it is its own.

use hv_arch::address_space::AddressSpace;
use hv_arch::apic::LocalApic;
use hv_arch::memory_types::MemoryTypes;
use hv_core::acpi::Platform;
use hv_core::clock::Tsc;
use hv_core::features::Features;
use hv_core::memory::OwnershipMap;
use hv_core::options::Options;
use hv_core::virtualization::Permission;
use spin::{Mutex, Once};

/// What does not change once hv runs on its own page tables.
pub struct Machine {
    /// What the first processor can do; the others are the same.
    pub features: Features,
    /// What ACPI tells.
    pub platform: Platform,
    /// The time stamp counter.
    pub clock: Tsc,
    /// How local APICs are reached.
    pub apic: LocalApic,
    /// hv's page tables.
    pub space: AddressSpace,
    /// How virtualization is switched on.
    pub permission: Permission,
    /// The first CPU's memory types, for the others.
    pub memory_types: Option<MemoryTypes>,
    /// hv's options.
    pub options: Options,
    /// CPUs that have stacks.
    pub cpus: usize,
    /// Time stamp counter at the door's first line.
    pub door_tsc: u64,
    /// Who has which memory.
    pub memory: Mutex<OwnershipMap>,
}

static MACHINE: Once<Machine> = Once::new();

/// Makes this the machine, once.
pub fn set(machine: Machine) -> &'static Machine {
    MACHINE.call_once(|| machine)
}

/// The machine, if hv has come that far.
pub fn get() -> Option<&'static Machine> {
    MACHINE.get()
}
