//! The hypervisor's mechanism: what touches the CPU, its tables and its timers.
//!
//! Decisions are in `hv-core`; here is only how they are carried out. Everything above calls this
//! crate through safe functions wherever the caller has nothing to promise.

#![no_std]
// This crate is where the machine is touched.
#![allow(unsafe_code)]
#![cfg(target_arch = "x86_64")]

pub mod address_space;
pub mod apic;
pub mod cpu;
pub mod guest_ram;
pub mod io_apic;
pub mod memory_types;
pub mod pci;
pub mod percpu;
pub mod power;
pub mod smp;
pub mod svm;
pub mod timer;
pub mod traps;
pub mod xstate;
