//! The uefi door: an EFI application that fetches the payload, lands it and leaves the firmware.
//!
//! True on entry (UEFI 2.10, 2.3.4): 64-bit mode, one CPU, memory mapped at its physical address,
//! at least 128 KiB of stack, interrupts on for the firmware's timer, boot services running.
//! Owed at the end: what `handoff::enter` asks for, with boot services exited exactly once.
//!
//! # Who checks what
//!
//! With Secure Boot on, the firmware runs this file only if it is signed by a key that it trusts
//! (`sbsign` signs it as it is built). This door runs a payload only if `Payload::check` accepts
//! it, and takes nothing else from the disk. Today that check is a digest: it finds damage, not
//! malice, so Secure Boot vouches for this program only. The payload's signature comes with updates,
//! in the same function; then one signed binary heads one chain.
//!
//! # What can go wrong
//!
//! Up to the exit, every failure is said on the firmware's console, on COM1 and on the screen. The
//! exit itself is the `uefi` crate's: if the firmware refuses it twice, the machine is reset, since
//! by then the specification leaves nothing else to do (UEFI 2.10, 7.4.6).

#![no_std]
#![no_main]
// The firmware's tables, physical memory, the time stamp counter: only this program can vouch
// for what it is given at entry.
#![allow(unsafe_code)]

extern crate alloc;

mod below;
mod machine;
mod screen;
mod source;
mod trouble;

use core::convert::Infallible;
use firmware_uefi::{memory, options, slots};
use handoff::{Landed, Payload, Result};
use hv_abi::boot::{BootInfo, CommandLine, Door, Framebuffer};
use hv_abi::memory::MemoryMap;
use uefi::boot::{self, MemoryType};
use uefi::mem::memory_map::MemoryMap as _;
use uefi::proto::loaded_image::LoadedImage;
use uefi::{Status, entry};

#[global_allocator]
static POOL: uefi::allocator::Allocator = uefi::allocator::Allocator;

#[entry]
fn main() -> Status {
    // SAFETY: reads a counter that every 64-bit CPU has.
    let entry_tsc = unsafe { core::arch::x86_64::_rdtsc() };
    match start(entry_tsc) {
        Ok(never) => match never {},
        Err(why) => trouble::refuse(&why),
    }
}

/// From entry to hv. Comes back only to say why not.
fn start(entry_tsc: u64) -> Result<Infallible> {
    let mut boot = BootInfo::new(Door::UEFI, entry_tsc);
    boot.framebuffer = screen::take();
    machine::check_paging()?;
    boot.rsdp = machine::acpi_root();
    boot.command_line = command_line();
    let landed = land(boot.framebuffer)?;
    boot.memory = exit()?;
    // SAFETY: the firmware maps this program at its physical address and is on the first CPU;
    // boot services, its timer and its drivers are over.
    unsafe { handoff::enter(&landed, boot) }
}

/// Fetches the payload and lands it. What it takes meanwhile is given back.
fn land(screen: Framebuffer) -> Result<Landed> {
    let bytes = source::read(&slots::A)?;
    let payload = Payload::check(&bytes)?;
    let reports = machine::memory_map()?;
    // RAM is where it is: what changes until the exit is only who has it. So a map that hv could
    // not keep is refused here, where the firmware can still say so.
    let top = handoff::landing::top(&memory::describe(reports.entries())?, screen);
    let len = handoff::landing_len(&payload, top)?;
    let block = handoff::landing::place(&memory::unclaimed(reports.entries())?, len)?;
    machine::claim(block)?;
    // SAFETY: the firmware has just given us the block; it is RAM, mapped where it is, and
    // `place` keeps it below 4 GiB and aligned.
    unsafe { handoff::land(&payload, block, top) }
}

/// Ends boot services; the memory map as they leave it.
fn exit() -> Result<MemoryMap> {
    trouble::firmware_is_mute();
    // SAFETY: nothing of the firmware is kept: the protocols and the payload's bytes were given
    // back when `land` returned, the command line when it was copied.
    let reports = unsafe { boot::exit_boot_services(Some(MemoryType::LOADER_DATA)) };
    memory::describe(reports.entries())
}

/// Options for hv: the image's load options, then those of QEMU's command line.
fn command_line() -> CommandLine {
    let given = machine::protocol::<LoadedImage>(boot::image_handle())
        .ok()
        .and_then(|image| image.load_options_as_bytes().map(options::from_load_options))
        .unwrap_or_default();
    below::command_line(&given)
}
