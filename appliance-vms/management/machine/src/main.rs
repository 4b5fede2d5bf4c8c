//! The management VM on its virtual machine.
//!
//! hv jumps to [`entry`]; [`start`] finds the devices and begins the tasks; from then on [`run`] turns
//! the executor and sleeps. What is decided is decided in the `management` library; here are the
//! library's traits on hv's calls ([`hypercall`]) and on physical devices ([`drivers`]).

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

extern crate alloc;

mod apic;
mod appliances;
mod devices;
mod dma;
mod drill;
mod drivers;
mod entry;
mod events;
mod guest;
mod heap;
#[allow(dead_code, reason = "the whole of hv's contract")]
mod hypercall;
mod log;
mod paging;
mod run;
mod start;
mod timer;
mod traps;
mod tv;
