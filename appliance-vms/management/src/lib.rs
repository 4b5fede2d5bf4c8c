//! The management VM's decisions: what its guests' devices do, who may speak to whom on the network,
//! whose blocks are whose, what is started and what becomes of it.
//!
//! Nothing here touches a machine: memory, time, interrupts and physical devices come through small
//! traits ([`memory::GuestMemory`], [`interrupts::Interrupts`], [`block::BlockDevice`], [`nic::Nic`]),
//! which `machine` implements on hv's calls and tests implement in a few lines.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod acpi;
pub mod block;
pub mod bus;
pub mod display;
pub mod drivers;
pub mod executor;
pub mod firmware;
pub mod interrupts;
pub mod loader;
pub mod log;
pub mod memory;
pub mod mixer;
pub mod models;
pub mod net;
pub mod nic;
pub mod pci;
pub mod platform;
pub mod remote;
pub mod speaker;
pub mod storage;
pub mod supervisor;
#[cfg(test)]
mod testkit;
pub mod tv;
pub mod virtio;
