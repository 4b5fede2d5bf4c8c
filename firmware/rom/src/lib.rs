//! What the rom door decides, apart from how it touches the machine: which board this is, how much
//! memory it has, where its devices go, what its ACPI tables are. Pure, and tested on the host.
//!
//! ```text
//! start.S  → main.rs → chipset   which board; its power management, ECAM, interrupt routes
//!                      memory    RAM from QEMU's map or CMOS
//!                      mtrr      which addresses are cached
//!                      pci       buses numbered, base addresses assigned
//!                      acpi      QEMU's tables placed, or tables of our own
//!                      flash     where the payload is
//! ```
//!
//! Deliberately absent: SMM, option ROMs, the PIC, legacy BIOS services, tables below 1 MiB.

#![no_std]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod chipset;
pub mod flash;
pub mod memory;
pub mod mtrr;
pub mod pci;
