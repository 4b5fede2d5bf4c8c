//! What two Hearth programs must agree on.
//!
//! Layouts here cross a border: from a door to the hypervisor, from the image builder to a door,
//! from the box to whoever reads its log. `ABI.md` beside this crate lists every number; a size
//! assert beside each layout keeps page and code honest.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "appliance")]
extern crate alloc;

#[cfg(feature = "appliance")]
pub mod appliance;
pub mod boot;
pub mod device;
pub mod disk;
pub mod flash;
pub mod hypercall;
pub mod ioreq;
pub mod log;
pub mod manifest;
pub mod memory;
pub mod payload;
pub mod status;
