//! The rom door: `hearth.rom`, the machine's first program. QEMU `-bios`, Bochs `romimage`.
//!
//! `start.S` brings the first CPU from the reset vector to [`rom_main`]: long mode, the lowest
//! 4 GiB mapped where they are, this program in RAM below 2 MiB, a stack below 640 KiB. Nothing of
//! the board is set up yet. Owed: [`handoff::enter`], with the board in the state that hv and the
//! management VM find on any PC; or a [`handoff::refuse`].

#![no_std]
#![no_main]
// The first program of a machine: it has nothing but ports, registers and physical memory.
#![allow(unsafe_code)]

mod caches;
mod cmos;
mod cpus;
mod faults;
mod files;

use core::arch::{global_asm, x86_64::_rdtsc};
use core::convert::Infallible;
use core::fmt;
use core::mem::offset_of;
use core::panic::PanicInfo;
use files::Device;
use handoff::fw_cfg::{self, FwCfg};
use handoff::memory_map::Builder;
use handoff::{Payload, Refusal, Result, display, landing};
use hv_abi::boot::{BootInfo, Door, Framebuffer};
use hv_abi::flash::{DIRECTORY_ADDRESS, Directory, MAGIC};
use hv_abi::log::Level;
use hv_abi::memory::{MemoryKind, MemoryMap, PhysRange};
use hv_console::Serial;
use rom::acpi::{script, tables};
use rom::chipset::{self, Board};
use rom::pci::{self, Window, Windows};
use rom::{flash, memory};
use spin::Mutex;
use x86_64::instructions::port::Port;

/// Where the stack starts; it grows down. Conventional memory, with nothing below to run into.
const STACK_TOP: u64 = 0x8_0000;
/// All that the door itself uses lies below this (`rom.ld`).
const DOOR_END: u64 = 2 << 20;
/// I/O ports for devices: above all that boards have at fixed places.
const DEVICE_PORTS: PhysRange = PhysRange::new(0xc000, 0x4000);
/// Which of the interrupts 8 to 15 are levels.
const LEVELS: u16 = 0x4d1;
/// Bytes of the longest table loader script that is run, and of the longest memory map.
const MAX_SCRIPT: usize = 16 << 10;
const MAX_E820: usize = 128 * memory::E820_ENTRY;

const fn half(magic: [u8; 8], from: usize) -> u32 {
    u32::from_le_bytes([magic[from], magic[from + 1], magic[from + 2], magic[from + 3]])
}

global_asm!(
    include_str!("start.S"),
    STACK_TOP = const STACK_TOP,
    APIC_BASE = const hv_defs::msr::APIC_BASE,
    BOOT_CPU = const hv_defs::msr::apic_base::BOOT_CPU,
    EFER = const hv_defs::msr::EFER,
    LONG_MODE_ENABLE = const hv_defs::msr::efer::LONG_MODE_ENABLE,
    LONG_MODE = const hv_defs::cpuid::EXT1_EDX_LONG_MODE,
    DIRECTORY = const DIRECTORY_ADDRESS,
    MAGIC_LOW = const half(MAGIC, 0),
    MAGIC_HIGH = const half(MAGIC, 4),
    DOOR_BASE = const offset_of!(Directory, door_base),
    DOOR_LEN = const offset_of!(Directory, door_len),
    DOOR_RAM = const offset_of!(Directory, door_ram),
    DOOR_ENTRY = const offset_of!(Directory, door_entry),
    DOOR_CLEAR = const offset_of!(Directory, door_clear),
    options(att_syntax)
);

/// The screen, once it has been found: for the panic handler too.
static SCREEN: Mutex<Framebuffer> = Mutex::new(Framebuffer::NONE);

/// Entered once, by `start.S`.
#[unsafe(no_mangle)]
extern "C" fn rom_main() -> ! {
    // SAFETY: reading the time stamp counter has no effect on memory.
    let entry_tsc = unsafe { _rdtsc() };
    faults::catch();
    let why = match open(entry_tsc) {
        Ok(never) => match never {},
        Err(why) => why,
    };
    refuse(&why)
}

fn open(entry_tsc: u64) -> Result<Infallible> {
    // SAFETY: this is the only program on the only CPU that runs.
    let mut config = unsafe { handoff::pci::Ports::new() };
    let board = chipset::identify(&mut config)?;
    board.open(&mut config)?;
    // SAFETY: as above; on the boards that `identify` knows, nothing else is at these ports.
    let mut device = unsafe { FwCfg::probe() }.map(Device);

    let ram = find_memory(board, device.as_mut())?;
    caches::set(board.hole(memory::low_end(&ram)));
    place_devices(&mut config, board, &ram);
    // SAFETY: as above; base addresses are assigned now, and start.S has mapped the lowest 4 GiB.
    let screen = unsafe { display::find() };
    *SCREEN.lock() = screen;

    // SAFETY: flash holds the directory (start.S has seen its magic), and nobody writes to it.
    let directory: Directory = unsafe {
        core::ptr::with_exposed_provenance::<Directory>(DIRECTORY_ADDRESS as usize).read_volatile()
    };
    // SAFETY: the range was checked to be flash, which nobody writes to.
    let payload = Payload::check(unsafe { bytes(flash::payload(&directory)?) })?;

    let (root, memory) = describe(&ram, device)?;
    let mut boot = BootInfo::new(Door::ROM, entry_tsc);
    boot.rsdp = root;
    boot.framebuffer = screen;
    boot.memory = memory;
    // SAFETY: as for the device before.
    boot.command_line = unsafe { fw_cfg::command_line(b"") };

    let top = landing::top(&boot.memory, screen);
    // The door's own memory is hv's once it has taken over, but not yet.
    let without_door = landing::mark(&boot.memory, PhysRange::new(0, DOOR_END))?;
    let block = landing::place(&without_door, handoff::landing_len(&payload, top)?)?;
    // SAFETY: usable memory below 4 GiB outside the door; start.S has mapped it where it is.
    let landed = unsafe { handoff::land(&payload, block, top)? };
    // SAFETY: the program runs where it is linked, on the first CPU; devices have been quieted and
    // no bus master is on.
    unsafe { handoff::enter(&landed, boot) }
}

/// The memory map, without what the door will still take of it.
fn find_memory(board: Board, device: Option<&mut Device>) -> Result<MemoryMap> {
    let mut builder = Builder::new();
    let mut buffer = [0; MAX_E820];
    match device.and_then(|device| device.read_start("etc/e820", &mut buffer)) {
        Some(map) => memory::add_e820(&mut builder, map)?,
        None => memory::add_cmos(&mut builder, cmos::read)?,
    }
    memory::add_board(&mut builder, board.ecam())?;
    builder.finish()
}

/// Gives PCI devices their addresses and interrupts.
fn place_devices(config: &mut handoff::pci::Ports, board: Board, ram: &MemoryMap) {
    let high = ram.top_of_ram().max(1 << 32).next_multiple_of(1 << 30);
    let windows = Windows {
        io: Window::new(DEVICE_PORTS),
        low: Window::new(board.devices(memory::low_end(ram))),
        high: Window::new(PhysRange::new(high, (1_u64 << caches::address_bits()).saturating_sub(high))),
    };
    let levels = board.route_interrupts(config);
    // SAFETY: the register belongs to the bridge that `identify` has recognised.
    unsafe { Port::new(LEVELS).write(levels) };
    let outcome = pci::assign(config, board, windows);
    if outcome.left_out > 0 {
        let pci::Outcome { functions, left_out } = outcome;
        warn(|serial| {
            hv_abi::line!(serial, 0, Level::Warn, "boot.pci", functions = functions, left_out = left_out)
        });
    }
}

/// The ACPI root pointer, and the map with the tables marked in it. The device is done with then.
fn describe(ram: &MemoryMap, mut device: Option<Device>) -> Result<(u64, MemoryMap)> {
    let mut buffer = [0; MAX_SCRIPT];
    let script = device.as_mut().and_then(|device| {
        let script = device.read_start(script::SCRIPT, &mut buffer)?;
        Some((script, device))
    });
    let (root, block, kind) = if let Some((script, device)) = script {
        let block = memory::highest(ram, script::memory_needed(script, device)?)?;
        // SAFETY: the block is RAM that nobody else uses, and start.S has mapped it.
        let placed = script::run(script, device, unsafe { bytes_mut(block) }, block.base)?;
        let kind = if placed.device_writes { MemoryKind::ACPI_NVS } else { MemoryKind::ACPI_TABLES };
        (placed.root, block, kind)
    } else {
        let block = memory::highest(ram, tables::MEMORY as u64)?;
        (write_tables(block), block, MemoryKind::ACPI_TABLES)
    };
    let mut builder = Builder::new();
    for region in ram.regions() {
        builder.add(region.range, region.kind)?;
    }
    builder.add(block, kind)?;
    Ok((root, builder.finish()?))
}

/// Tables of our own, for a board that has none.
fn write_tables(block: PhysRange) -> u64 {
    const SCI_ENABLE: u16 = 1;
    // SAFETY: `Board::open` has put power management there. In ACPI mode from the start: the FADT
    // names no way to switch.
    unsafe { Port::new(chipset::PM_CONTROL).write(SCI_ENABLE) };
    let description = tables::Description {
        cpus: &cpus::find(),
        io_apic_id: cpus::io_apic_id(),
        pm_base: chipset::PM_BASE,
        pm_control: chipset::PM_CONTROL,
        pm_timer: chipset::PM_TIMER,
        sci: chipset::SCI,
    };
    // SAFETY: the block is RAM that nobody else uses, and start.S has mapped it.
    let memory = unsafe { bytes_mut(block) };
    let memory = memory.first_chunk_mut().expect("the block was asked for with this length");
    tables::write(&description, memory, block.base)
}

/// The bytes of a range.
///
/// # Safety
/// The range lies below 4 GiB and nobody writes to it.
unsafe fn bytes(range: PhysRange) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        core::slice::from_raw_parts(
            core::ptr::with_exposed_provenance(range.base as usize),
            range.len as usize,
        )
    }
}

/// The bytes of a range, to be written.
///
/// # Safety
/// The range is RAM below 4 GiB, and the caller's alone.
unsafe fn bytes_mut(range: PhysRange) -> &'static mut [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        core::slice::from_raw_parts_mut(
            core::ptr::with_exposed_provenance_mut(range.base as usize),
            range.len as usize,
        )
    }
}

/// Writes a line to the box log.
fn warn(line: impl FnOnce(&mut Serial) -> fmt::Result) {
    // SAFETY: this is the only program that runs, and it has no other `Serial` open.
    let mut serial = unsafe { Serial::open() };
    // The serial port answers no errors: what can't be sent is dropped.
    let _ = line(&mut serial);
}

fn refuse(why: &Refusal) -> ! {
    let screen = SCREEN.try_lock().map_or(Framebuffer::NONE, |screen| *screen);
    // SAFETY: this is the only program that runs, and the last that it does; the screen's memory
    // is mapped where it is.
    unsafe { handoff::refuse(Door::ROM, screen, why) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let unknown = &"unknown" as &dyn fmt::Display;
    let place = info.location().map_or(unknown, |place| place as &dyn fmt::Display);
    warn(|serial| hv_abi::line!(serial, 0, Level::Error, "panic", where = place, what = info.message()));
    refuse(&Refusal {
        what: "The program that starts Hearth has stopped over a fault of its own.",
        remedy: "Please report this, with the line that says panic on the machine's first serial port.",
    })
}
