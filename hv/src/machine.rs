//! The machine, as hv knows it once it is its own.

use core::sync::atomic::AtomicU64;
use hv_abi::boot::{CommandLine, Framebuffer};
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
    /// The line that they are on, for the management VM.
    pub command_line: CommandLine,
    /// CPUs that have stacks.
    pub cpus: usize,
    /// Time stamp counter at the door's first line.
    pub door_tsc: u64,
    /// What hv exchanges of a guest's registers.
    pub kept: Kept,
    /// Nanoseconds since 1970 when the time stamp counter was zero, as the management VM says.
    pub wall: AtomicU64,
    /// The screen that the door found.
    pub screen: Framebuffer,
    /// Bytes of RAM that are anybody's.
    pub ram: u64,
    /// One past the last byte of RAM.
    pub top_of_ram: u64,
    /// Ticks a millisecond of the local APIC's timer; 0 until it is measured.
    pub apic_khz: AtomicU64,
    /// What is left of hv's own memory.
    pub frames: Mutex<Frames>,
    /// The management VM's program; empty = none.
    pub module: PhysRange,
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
