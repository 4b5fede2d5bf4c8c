//! Devices of the machine: what their owner may do with them, and what stays hv's. Two that QEMU has for
//! it: `edu`, which interrupts by MSI when it is told to (QEMU, docs/specs/edu.txt), and `e1000e`, by MSI-X
//! (Intel 82574 datasheet, 10.2.4). Where one is not there, its case looks at nothing, and says no `measure`.

use super::{Named, Outcome, check};
use crate::hypercall::{call, log};
use crate::{Handover, manager};
use hv_abi::device::DeviceInfo;
use hv_abi::hypercall::{Call, Status};
use hv_abi::ioreq::NO_EVENT;
use hv_defs::pci::{command, register};
use zerocopy::{FromZeros, IntoBytes};

pub const MANY: &[Named] = &[
    ("device/list", list),
    ("device/configuration", configuration),
    ("device/refused", refused),
    ("device/message", edu),
    ("device/messages", e1000e),
];

/// The event that devices here are bound to.
const EVENT: u32 = 200;
/// QEMU's device for teaching.
const EDU: [u16; 2] = [0x1234, 0x11e8];
/// Intel 82574L.
const E1000E: [u16; 2] = [0x8086, 0x10d3];

/// The so-manieth device.
fn info(index: u64) -> Option<DeviceInfo> {
    let mut info = DeviceInfo::new_zeroed();
    let at = info.as_mut_bytes().as_mut_ptr().addr() as u64;
    (call(Call::DEV_INFO, [index, at, 0, 0]) == 0).then_some(info)
}

fn find(ids: [u16; 2]) -> Option<DeviceInfo> {
    (0..64).map_while(info).find(|device| device.ids == ids)
}

/// What is there; all ones where reading is refused.
fn read(device: &DeviceInfo, offset: u8, bytes: u64) -> u32 {
    u32::try_from(call(Call::DEV_READ, [device.address.into(), offset.into(), bytes, 0])).unwrap_or(u32::MAX)
}

fn write(device: &DeviceInfo, offset: u8, bytes: u64, value: u32) -> i64 {
    call(Call::DEV_WRITE, [device.address.into(), offset.into(), bytes, value.into()])
}

fn bind(device: &DeviceInfo, message: u64, event: u32) -> i64 {
    call(Call::DEV_BIND, [device.address.into(), message, event.into(), 0])
}

fn map(device: &DeviceInfo, bar: u64) -> i64 {
    call(Call::DEV_MAP, [device.address.into(), bar, 0, 0])
}

/// A register of a device's memory.
fn at(address: u64) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut(address as usize)
}

fn get(address: u64) -> u32 {
    // SAFETY: a device's register, or nobody's; both are mapped where they are.
    unsafe { at(address).read_volatile() }
}

fn set(address: u64, value: u32) {
    // SAFETY: as for `get`.
    unsafe { at(address).write_volatile(value) }
}

fn list(handover: &Handover) -> Outcome {
    let mut count = 0;
    while let Some(device) = info(count) {
        let [vendor, id] = device.ids.map(u32::from);
        check(read(&device, register::ID, 4) == id << 16 | vendor, "a device is another")?;
        for (bar, range) in (0_u8..).zip(device.bars).filter(|(_, range)| !range.is_empty()) {
            let low = read(&device, register::BAR0 + 4 * bar, 4);
            check(low & !0xf == range.base as u32 & !0xf, "a BAR is somewhere else")?;
        }
        count += 1;
    }
    check(count > 0, "there is no device at all")?;
    for address in [0, handover.ram_end, u64::MAX - 7] {
        let refused = call(Call::DEV_INFO, [0, address, 0, 0]) == Status::BAD_ADDRESS.0;
        check(refused, "a device is told to memory that is not ours")?;
    }
    check(call(Call::DEV_INFO, [u64::MAX, 0x1000, 0, 0]) == Status::NO_SUCH_THING.0, "there are more devices")
}

/// The owner's bits change; base addresses and all that is about messages do not.
fn configuration(_: &Handover) -> Outcome {
    let owners = command::MASTER | command::NO_LINE;
    for device in (0..64).map_while(info) {
        let before = read(&device, register::COMMAND, 2);
        check(write(&device, register::COMMAND, 2, before ^ owners) == 0, "a command is refused")?;
        check((read(&device, register::COMMAND, 2) ^ before) & owners != 0, "a command has no effect")?;
        write(&device, register::COMMAND, 2, before);
        let kept = |from: u8, words: u8| {
            (from..from + 4 * words).step_by(4).all(|offset| {
                let before = read(&device, offset, 4);
                write(&device, offset, 4, !before);
                read(&device, offset, 4) == before
            })
        };
        check(kept(register::BAR0, 6), "a base address changes")?;
        let mut next = read(&device, register::CAPABILITIES, 1) as u8 & !3;
        for _ in 0..48 {
            let head = read(&device, next, 4);
            let words = match (next, head as u8) {
                (0, _) => break,
                (_, 0x05 | 0x11) => 3,
                _ => 0,
            };
            check(kept(next, words), "what is about messages changes")?;
            next = (head >> 8) as u8 & !3;
        }
    }
    Ok(())
}

fn refused(_: &Handover) -> Outcome {
    let (wrong, nobody) = (Status::BAD_ARGUMENT.0, Status::NO_SUCH_THING.0);
    let device = info(0).ok_or("there is no device at all")?;
    let address = u64::from(device.address);
    for (offset, bytes) in [(256, 1), (0, 3), (0, 8), (0, 0), (1, 2), (2, 4), (u64::MAX, 1)] {
        check(call(Call::DEV_READ, [address, offset, bytes, 0]) == wrong, "a register that is none is read")?;
        check(call(Call::DEV_WRITE, [address, offset, bytes, 0]) == wrong, "one is written")?;
    }
    // The bridge to the processor is hv's, and the rest is not there.
    for address in [0, 0xffff, 1 << 32 | address, u64::MAX] {
        for number in [Call::DEV_READ, Call::DEV_WRITE, Call::DEV_MAP, Call::DEV_BIND] {
            check(call(number, [address, 0, 4, 0]) == nobody, "a device that is nobody's can be had")?;
        }
    }
    for device in (0..64).map_while(info) {
        check(map(&device, 6) == wrong && map(&device, u64::MAX) == wrong, "there is a seventh BAR")?;
        for bar in (0..6).filter(|&bar| device.bars[bar as usize].is_empty()) {
            check(map(&device, bar) == wrong, "a BAR that is not there can be mapped")?;
        }
        check(bind(&device, device.messages.into(), EVENT) == wrong, "there is a message too many")?;
        check(
            device.messages == 0 || bind(&device, 0, 1024) == wrong,
            "an event that there is not is bound",
        )?;
    }
    Ok(())
}

/// Maps a BAR and has the device answer there, and send messages.
fn open(handover: &Handover, device: &DeviceInfo, bar: usize) -> Result<u64, &'static str> {
    manager::open(handover)?;
    manager::take(handover, EVENT);
    check(map(device, bar as u64) == device.bars[bar].base.cast_signed(), "a BAR can't be mapped")?;
    check(map(device, bar as u64) == device.bars[bar].base.cast_signed(), "it can't be mapped again")?;
    write(device, register::COMMAND, 2, command::MEMORY | command::MASTER);
    Ok(device.bars[bar].base)
}

/// Whether the event comes; an event that does not come has a millisecond for it.
fn comes(handover: &Handover, is_bound: bool) -> bool {
    if is_bound {
        return manager::sleep_until(|| manager::take(handover, EVENT));
    }
    manager::sleep(1000);
    manager::take(handover, EVENT)
}

fn edu(handover: &Handover) -> Outcome {
    let Some(device) = find(EDU) else { return Ok(()) };
    let registers = open(handover, &device, 0)?;
    check(get(registers) == 0x0100_00ed, "a device's memory is another's")?;
    set(registers + 4, 0x1234_5678);
    check(get(registers + 4) == !0x1234_5678, "a device's memory does not take what is written")?;
    let (raise, acknowledge) = (registers + 0x60, registers + 0x64);
    for round in 0..3 {
        check(device.messages == 1 && bind(&device, 0, EVENT) == 0, "a message can't be bound")?;
        set(raise, 1 << round);
        check(comes(handover, true), "a message sets no event")?;
        set(acknowledge, 1 << round);
        check(bind(&device, 0, NO_EVENT) == 0, "a message can't be taken back")?;
        write(&device, register::COMMAND, 2, command::MEMORY | command::MASTER | command::NO_LINE);
        set(raise, 8);
        check(!comes(handover, false), "a message that is nobody's sets an event")?;
        set(acknowledge, 8);
    }
    log(format_args!("measure edu-messages 3"));
    Ok(())
}

fn e1000e(handover: &Handover) -> Outcome {
    const CAUSES: u32 = 1 << 24;
    let Some(device) = find(E1000E) else { return Ok(()) };
    let registers = open(handover, &device, 0)?;
    // The table is in a BAR of its own: of that, nobody but hv has the pages.
    let table = open(handover, &device, 3)?;
    check(device.messages == 5 && bind(&device, 2, EVENT) == 0, "a message can't be bound")?;
    for word in 0..5 * 4 {
        set(table + word * 4, 0xdead_0000);
        check(get(table + word * 4) == u32::MAX, "a device's table of messages can be had")?;
    }
    let [cause, cause_set, mask, allocation] = [0xc0, 0xc8, 0xd0, 0xe4].map(|at| registers + at);
    // Other causes are message 2; each is sent once until it is cleared, by writing it.
    set(allocation, (8 | 2) << 16);
    set(mask, CAUSES);
    for _ in 0..3 {
        set(cause_set, CAUSES);
        check(comes(handover, true), "a message sets no event")?;
        set(cause, CAUSES);
    }
    check(bind(&device, 2, NO_EVENT) == 0, "a message can't be taken back")?;
    // The device may have held one back for a while (its interrupt throttle), and it may be on its way.
    comes(handover, false);
    set(cause_set, CAUSES);
    check(!comes(handover, false), "a message that is masked sets an event")?;
    log(format_args!("measure e1000e-messages 3"));
    Ok(())
}
