//! The hypervisor.
//!
//! A door hands over in [`hv_entry`]; [`boot`] turns what it found into a machine that hv owns;
//! from then on every CPU is in [`idle`]. [`log`] is the box log, [`refusal`] says why hv does not
//! start, [`panic`] writes the epitaph when hv itself is at fault, [`memory`] is hv's own memory.

#![no_std]
#![no_main]
// The program puts the mechanisms of `hv-arch` together, and vouches for their order.
#![allow(unsafe_code)]

mod arena;
mod boot;
mod core_loop;
mod devices;
mod drill;
mod idle;
mod inbox;
mod log;
mod machine;
mod memory;
mod panic;
mod refusal;
mod screen;
mod smp;
mod vm;

use hv_abi::boot::BootInfo;

/// Where a door jumps to.
///
/// True on entry (`handoff`): long mode, interrupts off, all RAM mapped at the direct map, this
/// image mapped with its rights, the stack in the landing, RDI = the `BootInfo`. Owed: nothing;
/// the door is gone.
///
/// # Safety
/// Called once, by a door, on the machine's first CPU.
#[unsafe(no_mangle)]
unsafe extern "C" fn hv_entry(boot: *const BootInfo) -> ! {
    // SAFETY: the door's promise; the copy is checked before anything in it is believed.
    let boot = unsafe { boot.read() };
    boot::take_over(&boot)
}
