//! Hardware layouts as tables to be proof-read: each with its offset, its meaning and the section
//! of the manual it comes from.
//!
//! "SDM" is Intel's *Software Developer's Manual* (order number 325462, 2024), "APM" is AMD's
//! *Architecture Programmer's Manual* (24593, revision 3.41).

#![no_std]
#![forbid(unsafe_code)]

pub mod apic;
pub mod control;
pub mod cpuid;
pub mod kvm;
pub mod msr;
pub mod paging;
pub mod pci;
pub mod svm;
