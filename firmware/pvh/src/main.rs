//! The pvh door: `hearth.elf`, for whoever boots an ELF with a PVH note (QEMU `-kernel`,
//! Firecracker, Cloud Hypervisor, Xen). Xen, docs/misc/pvh.pandoc.
//!
//! The board is set up already and described in the start info; the payload is in this file.

#![no_std]
#![no_main]
// Reads physical memory that the loader filled, and lands the payload.
#![allow(unsafe_code)]

use core::arch::{global_asm, x86_64::_rdtsc};
use handoff::{Payload, Refusal, display, fw_cfg, landing, memory_map};
use hv_abi::boot::{BootInfo, Door, Framebuffer};
use hv_abi::memory::{MemoryKind, MemoryMap, PhysRange};
use pvh::start_info::MemmapType;
use pvh::start_info::reader::{IdentityMap, StartInfoReader};

global_asm!(include_str!("start32.S"), options(att_syntax));

unsafe extern "C" {
    /// The 32-bit entry in `start32.S`; only its address means anything.
    fn pvh_entry() -> !;
    /// One past the door's last byte; from `pvh.ld`.
    static door_end: u8;
}

pvh::xen_elfnote_phys32_entry!(pvh_entry);

/// The payload, whole pages are not needed: it is read, not run, here.
static PAYLOAD: &[u8] = include_bytes!(env!("HEARTH_PAYLOAD"));

/// Where the door is linked; as in `pvh.ld`.
const DOOR_BASE: u64 = 0x10_0000;

const NO_START_INFO: Refusal = Refusal {
    what: "hearth.elf was started without a PVH start info.",
    remedy: "Start it with a loader that speaks PVH, for example QEMU's -kernel.",
};
const NO_MEMORY_MAP: Refusal = Refusal {
    what: "The loader of hearth.elf does not say what memory the machine has.",
    remedy: "Use a loader that gives a memory map (PVH start info version 1 or later).",
};

type StartInfo = StartInfoReader<'static, IdentityMap>;

/// Entered once, by `start32.S`, with the first 4 GiB mapped where they are.
#[unsafe(no_mangle)]
extern "C" fn pvh_main(start_info: u32) -> ! {
    // SAFETY: reading the time stamp counter has no effect on memory.
    let entry_tsc = unsafe { _rdtsc() };
    // SAFETY: this is the only CPU that runs, and nothing else drives the display.
    let screen = unsafe { display::find() };
    let why = match open(start_info, entry_tsc, screen) {
        Ok(never) => match never {},
        Err(why) => why,
    };
    // SAFETY: as above; the loader left no program behind that could use COM1.
    unsafe { handoff::refuse(Door::PVH, screen, &why) }
}

fn open(start_info: u32, entry_tsc: u64, screen: Framebuffer) -> handoff::Result<core::convert::Infallible> {
    // SAFETY: the loader's start info and what it points at lie below 4 GiB, mapped where they are.
    let start_info = unsafe { StartInfo::from_paddr_identity(start_info) }.ok_or(NO_START_INFO)?;
    // What was compiled in is known to the compiler, which would check the header while it builds;
    // it is the bytes in memory that must be sound.
    let payload = Payload::check(core::hint::black_box(PAYLOAD))?;

    let mut boot = BootInfo::new(Door::PVH, entry_tsc);
    boot.rsdp = start_info.raw().rsdp_paddr;
    boot.framebuffer = screen;
    boot.memory = memory(&start_info)?;
    let given = start_info.cmdline().map_or(&b""[..], core::ffi::CStr::to_bytes);
    // SAFETY: this is the only CPU that runs, and nothing else uses the device.
    boot.command_line = unsafe { fw_cfg::command_line(given) };

    let top = landing::top(&boot.memory, screen);
    // The door's own memory is hv's once it has taken over, but not yet.
    let door = PhysRange::new(DOOR_BASE, (&raw const door_end).addr() as u64 - DOOR_BASE);
    let without_door = landing::mark(&boot.memory, door)?;
    let block = landing::place(&without_door, handoff::landing_len(&payload, top)?)?;
    // SAFETY: usable memory below 4 GiB outside the door; `start32.S` mapped it where it is.
    let landed = unsafe { handoff::land(&payload, block, top)? };
    // SAFETY: the door runs where it is linked, on the first CPU; PVH loaders leave nothing running.
    unsafe { handoff::enter(&landed, boot) }
}

fn memory(start_info: &StartInfo) -> handoff::Result<MemoryMap> {
    let mut builder = memory_map::Builder::new();
    for entry in start_info.memmap() {
        let kind = match entry.ty() {
            MemmapType::Ram => MemoryKind::USABLE,
            MemmapType::Acpi => MemoryKind::ACPI_TABLES,
            MemmapType::Nvs => MemoryKind::ACPI_NVS,
            _ => MemoryKind::RESERVED,
        };
        builder.add(PhysRange::new(entry.addr, entry.size), kind)?;
    }
    let map = builder.finish()?;
    if map.regions().is_empty() { Err(NO_MEMORY_MAP) } else { Ok(map) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let why = Refusal {
        what: "The pvh door met a fault of its own.",
        remedy: "Please report this with the machine's model: it is a fault in Hearth.",
    };
    // SAFETY: the door is the only program that runs and gives up here.
    unsafe { handoff::refuse(Door::PVH, Framebuffer::NONE, &why) }
}
