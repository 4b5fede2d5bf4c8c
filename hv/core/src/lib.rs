//! Every decision of the hypervisor, as plain functions and state machines.
//!
//! Nothing here touches the machine: what must be read is read through small traits, what must be
//! done is answered as a value. So all of it is tested on the host.

#![no_std]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod clock;
pub mod cpu;
pub mod exit;
pub mod features;
pub mod memory;
pub mod options;
pub mod sched;
pub mod virtualization;
