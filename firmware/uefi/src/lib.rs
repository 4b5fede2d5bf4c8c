//! The uefi door's pure part: what the firmware reports, turned into what hv is told.
//!
//! Nothing here calls the firmware, so all of it is tested on the host. The door itself is the
//! binary beside this library; its header tells its story.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod memory;
pub mod modes;
pub mod options;
pub mod slots;
