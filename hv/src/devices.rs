//! The machine's devices: found once, then what their owner does with them, and their interrupts.

use crate::event;
use core::fmt;
use heapless::Vec;
use hv_abi::boot::{BootInfo, DIRECT_MAP};
use hv_abi::device::{BOARD, DeviceInfo, KEYBOARD};
use hv_abi::hypercall::Status;
use hv_abi::ioreq::{EVENTS, NO_EVENT};
use hv_abi::memory::{MemoryKind, PhysRange};
use hv_arch::io_apic::IoApic;
use hv_arch::pci::Pci;
use hv_core::memory::layout;
use hv_core::msi;
use hv_core::pci::{Device, Inventory, MAX_DEVICES};
use hv_core::vectors::{Route, Vectors};
use spin::{Mutex, Once};

/// Where the APICs are, and messages go (APM 2, 16.3.1); no device is there.
const APICS: PhysRange = PhysRange::new(0xfee0_0000, 1 << 20);
/// What the direct map has room for.
const REACH: u64 = layout::STACKS - DIRECT_MAP;

/// Most ranges that a base address falls into around MSI-X tables.
pub const MAX_PIECES: usize = 8;

struct Devices {
    bus: Pci,
    all: Inventory,
    vectors: Vectors,
    /// Where the keyboard's interrupt arrives.
    board: IoApic,
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
    // SAFETY: the only one, and used once `memory::take` has mapped it.
    board: unsafe { IoApic::new() },
    target: 0,
});

static ON_EVENT: Once<fn(u32)> = Once::new();

/// Finds the devices; answers the pages that hv needs mapped for their messages.
pub fn find(boot: &BootInfo) -> Vec<PhysRange, MAX_DEVICES> {
    let screen = boot.framebuffer.usable().map_or(PhysRange::new(0, 0), |screen| screen.range);
    let ram = |range| {
        let regions = boot.memory.regions().iter();
        regions
            .filter(|region| region.kind != MemoryKind::RESERVED)
            .any(|region| region.range.overlaps(range))
    };
    let Devices { bus, all, .. } = &mut *DEVICES.lock();
    all.take_stock(bus, screen, |range| range.end() <= REACH && !range.overlaps(APICS) && !ram(range));
    all.tables.clone()
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
    with(address, |device, bus| device.read(bus, offset, size).ok_or(Status::BAD_ARGUMENT))
}

/// Writes configuration space of the device at `address`; what hv keeps stays as it is.
///
/// # Errors
/// There is no such device, or no such register.
pub fn write(address: u64, offset: u64, size: u64, value: u32) -> Result<(), Status> {
    with(address, |device, bus| device.write(bus, offset, size, value).ok_or(Status::BAD_ARGUMENT))
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

/// Has the message set the event from now on; with [`NO_EVENT`]: has it masked. The [`KEYBOARD`]'s
/// interrupt is a message of the [`BOARD`].
///
/// # Errors
/// There is no such device, message or event; hv has no vector left; the first CPU's APIC ID is too
/// large for a message.
pub fn bind(address: u64, message: u64, event: u64) -> Result<(), Status> {
    let Devices { bus, all, vectors, board, target } = &mut *DEVICES.lock();
    // `None`: the board.
    let device = match u32::try_from(address) {
        Ok(BOARD) => None,
        _ => Some(all.get(address).ok_or(Status::NO_SUCH_THING)?),
    };
    let messages = device.map_or(KEYBOARD..KEYBOARD + 1, |device| 0..device.info.messages);
    let message = u32::try_from(message).ok().filter(|message| messages.contains(message));
    let event = u32::try_from(event).ok().filter(|&event| event < EVENTS || event == NO_EVENT);
    let (message, event) = message.zip(event).ok_or(Status::BAD_ARGUMENT)?;
    let route = Route { device: address as u32, message, event };
    if event == NO_EVENT {
        device.map_or_else(|| board.mask(message), |device| device.mask(bus, message));
        vectors.free(route.device, message);
        return Ok(());
    }
    let vector = vectors.bind(route).ok_or(Status::NO_ROOM)?;
    let write = msi::encode(*target, vector).ok_or(Status::UNSUPPORTED)?;
    match device {
        Some(device) => device.send(bus, message, write),
        None => board.send(message, *target, vector),
    }
    Ok(())
}

/// Has no device send messages or reach memory, until its owner says so again.
pub fn quiet() {
    let Devices { bus, all, vectors, board, .. } = &mut *DEVICES.lock();
    all.devices.iter().for_each(|device| device.quiet(bus));
    board.mask(KEYBOARD);
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

fn with<T>(address: u64, what: impl FnOnce(&Device, &mut Pci) -> Result<T, Status>) -> Result<T, Status> {
    let Devices { bus, all, .. } = &mut *DEVICES.lock();
    what(all.get(address).ok_or(Status::NO_SUCH_THING)?, bus)
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
