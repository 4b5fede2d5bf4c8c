//! What the test kernels have in common. They are of the kind that outside test suites are: flat kernels
//! that a boot loader enters in 32-bit protected mode (`header.S`), which go on in 32 bits (`flat.S`) or in
//! 64 (`long.S`), print on COM1 and end by a write to port 0xf4.
//!
//! A kernel is a list of checks, or of things to do, and a command line that chooses among them; it tells
//! each outcome in a line, and its status says whether all was well ([`end::PASSED`], [`end::FAILED`]).

#![no_std]
// They are programs for a bare (virtual) machine, alone in it.
#![allow(unsafe_code)]

pub mod acpi;
pub mod apic;
pub mod boot;
pub mod checks;
pub mod clock;
pub mod console;
pub mod cpu;
pub mod end;
#[cfg(feature = "bare-metal")]
mod entry;
#[cfg(feature = "bare-metal")]
pub mod gpu;
#[cfg(feature = "bare-metal")]
pub mod interrupts;
pub mod memory;
pub mod pci;
pub mod random;
#[cfg(feature = "bare-metal")]
pub mod smp;
pub mod virtio;
