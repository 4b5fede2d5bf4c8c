//! Every decision of the hypervisor, as plain functions and state machines.
//!
//! Nothing here touches the machine: what must be read is read through small traits, what must be
//! done is answered as a value. So all of it is tested on the host.

#![no_std]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod clock;
pub mod cpu;
pub mod doorbell;
pub mod emulate;
pub mod exit;
pub mod features;
pub mod kvmclock;
pub mod lifecycle;
pub mod mailbox;
pub mod manifest;
pub mod memory;
pub mod msi;
pub mod mtrr;
pub mod options;
pub mod pci;
pub mod pm_timer;
pub mod policy;
#[cfg(test)]
#[path = "../../../tests/fuzz/random.rs"]
mod random;
pub mod sched;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod vcpu;
pub mod vectors;
pub mod vioapic;
pub mod virtualization;
pub mod vlapic;
