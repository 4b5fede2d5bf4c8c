//! The machine, as hv knows it once it is its own.

use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::memory::PhysRange;
use hv_arch::address_space::AddressSpace;
use hv_arch::apic::LocalApic;
use hv_arch::memory_types::MemoryTypes;
use hv_arch::xstate::Kept;
use hv_core::acpi::Platform;
use hv_core::clock::Tsc;
use hv_core::features::Features;
use hv_core::memory::{Frames, OwnershipMap};
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
    /// What hv exchanges of a guest's registers.
    pub kept: Kept,
    /// Nanoseconds since 1970 when the machine was switched on, as its battery clock says.
    pub booted_at: u64,
    /// Ticks a millisecond of the local APIC's timer; 0 until it is measured.
    pub apic_khz: AtomicU64,
    /// What is left of hv's own memory.
    pub frames: Mutex<Frames>,
    /// The management VM's program; empty = none.
    pub module: PhysRange,
    /// Who has which memory.
    pub memory: Mutex<OwnershipMap>,
}

impl Machine {
    /// Ticks of the local APIC's timer in so many of the TSC, rounded up, as far as it can count.
    pub fn apic_ticks(&self, tsc_ticks: u64) -> u32 {
        let khz = self.apic_khz.load(Ordering::Relaxed);
        let ticks = (u128::from(tsc_ticks) * u128::from(khz)).div_ceil(u128::from(self.clock.khz()));
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }
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
