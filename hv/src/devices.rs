//! The machine's devices: found once, then what their owner does with them, and their interrupts.

use crate::event;
use core::fmt;
use heapless::Vec;
use hv_abi::boot::{BootInfo, DIRECT_MAP};
use hv_abi::device::{BOARD, DeviceInfo, KEYBOARD};
use hv_abi::hypercall::Status;
use hv_abi::ioreq::{EVENTS, NO_EVENT};
use hv_abi::memory::{MemoryKind, PAGE_SIZE, PhysRange};
use hv_arch::io_apic::Pin;
use hv_arch::pci::Pci;
use hv_core::acpi::Line;
use hv_core::memory::layout;
use hv_core::msi;
use hv_core::pci::{Device, Inventory, MAX_DEVICES};
use hv_core::vectors::{Route, Vectors};
use spin::{Mutex, Once};

/// Where the APICs are, and messages go (APM 2, 16.3.1); no device is there.
const APICS: PhysRange = PhysRange::new(0xfee0_0000, 1 << 20);
/// What the direct map has room for.
const REACH: u64 = layout::STACKS - DIRECT_MAP;

/// Most pages that hv needs of devices.
pub const MAX_PAGES: usize = MAX_DEVICES + 1;

/// Most ranges that a base address falls into around MSI-X tables.
pub const MAX_PIECES: usize = 8;

struct Devices {
    bus: Pci,
    all: Inventory,
    vectors: Vectors,
    /// Where the keyboard's interrupt arrives.
    keyboard: Option<Pin>,
    /// APIC ID of the CPU that their messages go to: the first.
    target: u32,
}

// Interrupts are off but where a core holds no lock, so the handler never waits for its own core.
static DEVICES: Mutex<Devices> = Mutex::new(Devices {
    // SAFETY: the only one, `Inventory` names no table that `memory::take` does not map, and base
    // addresses stay where firmware put them.
    bus: unsafe { Pci::new() },
    all: Inventory::new(),
    vectors: Vectors::new(),
    keyboard: None,
    target: 0,
});

static ON_EVENT: Once<fn(u32)> = Once::new();

/// Finds the devices; answers the pages that hv needs mapped for their messages, and for the keyboard's
/// interrupt.
pub fn find(boot: &BootInfo, keyboard: Option<Line>) -> Vec<PhysRange, MAX_PAGES> {
    let screen = boot.framebuffer.usable().map_or(PhysRange::new(0, 0), |screen| screen.range);
    let ram = |range| {
        let regions = boot.memory.regions().iter();
        regions
            .filter(|region| region.kind != MemoryKind::RESERVED)
            .any(|region| region.range.overlaps(range))
    };
    let lawful = |range: PhysRange| range.end() <= REACH && !range.overlaps(APICS) && !ram(range);
    let devices = &mut *DEVICES.lock();
    devices.all.take_stock(&mut devices.bus, screen, lawful);
    let mut pages: Vec<PhysRange, MAX_PAGES> = devices.all.tables.iter().copied().collect();
    if let Some(line) = keyboard
        && line.io_apic.is_multiple_of(PAGE_SIZE)
        && lawful(PhysRange::new(line.io_apic, PAGE_SIZE))
    {
        // There is room for one more than tables.
        let _ = pages.push(PhysRange::new(line.io_apic, PAGE_SIZE));
        // SAFETY: the page is mapped once hv is on its own tables (`memory::take`), and used by nobody else.
        devices.keyboard = Some(unsafe { Pin::new(line) });
    }
    pages
}

/// Says what was found, and has messages sent to the CPU with that APIC ID.
pub fn adopt(apic_id: u32) {
    let devices = &mut *DEVICES.lock();
    devices.target = apic_id;
    for device in &devices.all.devices {
        let DeviceInfo { ids: [vendor, id], class, messages, ref bars, .. } = device.info;
        event!(
            Info,
            "hv.device",
            address = device.address(),
            ids = format_args!("{vendor:04x}:{id:04x}"),
            class = format_args!("{class:08x}"),
            bars = Bars(bars),
            messages = messages
        );
    }
    if devices.all.left_out > 0 {
        event!(Warn, "hv.device", left_out = devices.all.left_out, most = MAX_DEVICES);
    }
}

/// Has `handler` called with the events of devices, by the interrupt of each, on the core it comes to.
pub fn on_event(handler: fn(u32)) {
    ON_EVENT.call_once(|| handler);
}

/// The so-manieth device.
pub fn info(index: u64) -> Option<DeviceInfo> {
    let devices = DEVICES.lock();
    devices.all.devices.get(usize::try_from(index).ok()?).map(|device| device.info)
}

/// Reads configuration space of the device at `address`.
///
/// # Errors
/// There is no such device, or no such register.
pub fn read(address: u64, offset: u64, size: u64) -> Result<u32, Status> {
    with(address, |device, bus, _, _| device.read(bus, offset, size).ok_or(Status::BAD_ARGUMENT))
}

/// Writes configuration space of the device at `address`; what hv keeps stays as it is.
///
/// # Errors
/// There is no such device, or no such register.
pub fn write(address: u64, offset: u64, size: u64, value: u32) -> Result<(), Status> {
    with(address, |device, bus, _, _| device.write(bus, offset, size, value).ok_or(Status::BAD_ARGUMENT))
}

/// Where a memory BAR begins, and what of it its owner may have.
///
/// # Errors
/// There is no such device or BAR, or hv's tables cut it too often.
pub fn map(address: u64, bar: u64) -> Result<(u64, Vec<PhysRange, MAX_PIECES>), Status> {
    let devices = DEVICES.lock();
    let device = devices.all.get(address).ok_or(Status::NO_SUCH_THING)?;
    let bar = usize::try_from(bar).ok().and_then(|bar| device.info.bars.get(bar));
    let bar = bar.copied().filter(|bar| !bar.is_empty()).ok_or(Status::BAD_ARGUMENT)?;
    let mut pieces = Vec::new();
    for piece in devices.all.pieces(bar) {
        pieces.push(piece).map_err(|_| Status::NO_ROOM)?;
    }
    Ok((bar.base, pieces))
}

/// Has the message set the event from now on; with [`NO_EVENT`]: has it masked.
///
/// # Errors
/// There is no such device, message or event; hv has no vector left; the first CPU's APIC ID is too
/// large for a message.
pub fn bind(address: u64, message: u64, event: u64) -> Result<(), Status> {
    if (address, message) == (BOARD.into(), KEYBOARD.into()) {
        return bind_keyboard(event);
    }
    with(address, |device, bus, vectors, target| {
        let message = u32::try_from(message).ok().filter(|&message| message < device.info.messages);
        let (message, device_address) = (message.ok_or(Status::BAD_ARGUMENT)?, device.info.address);
        let event = u32::try_from(event).map_err(|_| Status::BAD_ARGUMENT)?;
        if event == NO_EVENT {
            device.mask(bus, message);
            vectors.free(device_address, message);
            return Ok(());
        }
        if event >= EVENTS {
            return Err(Status::BAD_ARGUMENT);
        }
        let route = Route { device: device_address, message, event };
        let vector = vectors.bind(route).ok_or(Status::NO_ROOM)?;
        let write = msi::encode(target, vector).ok_or(Status::UNSUPPORTED)?;
        device.send(bus, message, write);
        Ok(())
    })
}

/// The same for the keyboard.
fn bind_keyboard(event: u64) -> Result<(), Status> {
    let Devices { vectors, target, keyboard, .. } = &mut *DEVICES.lock();
    let pin = keyboard.as_ref().ok_or(Status::NO_SUCH_THING)?;
    let event = u32::try_from(event).map_err(|_| Status::BAD_ARGUMENT)?;
    if event == NO_EVENT {
        pin.mask();
        vectors.free(BOARD, KEYBOARD);
        return Ok(());
    }
    if event >= EVENTS {
        return Err(Status::BAD_ARGUMENT);
    }
    let vector = vectors.bind(Route { device: BOARD, message: KEYBOARD, event }).ok_or(Status::NO_ROOM)?;
    let id = u8::try_from(*target).map_err(|_| Status::UNSUPPORTED)?;
    pin.send(id, vector);
    Ok(())
}

/// Has no device send messages or reach memory, until its owner says so again.
pub fn quiet() {
    let Devices { bus, all, vectors, keyboard, .. } = &mut *DEVICES.lock();
    all.devices.iter().for_each(|device| device.quiet(bus));
    keyboard.iter().for_each(Pin::mask);
    *vectors = Vectors::new();
}

/// A host interrupt has come. Answers whether it is a device's that is bound.
pub fn interrupt(vector: u64) -> bool {
    let route = u8::try_from(vector).ok().and_then(|vector| DEVICES.lock().vectors.get(vector));
    if let (Some(route), Some(tell)) = (route, ON_EVENT.get()) {
        tell(route.event);
    }
    route.is_some()
}

fn with<T>(
    address: u64,
    what: impl FnOnce(&Device, &mut Pci, &mut Vectors, u32) -> Result<T, Status>,
) -> Result<T, Status> {
    let Devices { bus, all, vectors, target, .. } = &mut *DEVICES.lock();
    what(all.get(address).ok_or(Status::NO_SUCH_THING)?, bus, vectors, *target)
}

/// Memory BARs as the log has them: number and range of each that there is.
struct Bars<'a>(&'a [PhysRange]);

impl fmt::Display for Bars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.0.iter().enumerate().filter(|(_, range)| !range.is_empty());
        for (place, (index, range)) in there.enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(f, "{separator}{index}:{range}")?;
        }
        Ok(())
    }
}
