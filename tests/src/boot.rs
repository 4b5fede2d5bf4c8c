//! What holds for every box that has come up, whichever door it came through.

use crate::log::BoxLog;
use crate::{PATIENCE, VERSION};
use anyhow::{Result, ensure};
use image_builder::qemu::{Door, Machine};

/// RAM that is not usable for hv's purposes, at most: what the door, hv itself, the first MiB and
/// the ACPI tables take, in MiB. OVMF keeps more for itself.
const fn taken_at_most(door: Door) -> u64 {
    match door {
        Door::Uefi => 24,
        Door::Rom | Door::Pvh => 4,
    }
}

/// Waits until the box is ready, then checks everything it said on the way.
///
/// # Errors
/// It is not ready, or said something that does not fit `machine`.
pub fn comes_up(log: &mut BoxLog, machine: &Machine) -> Result<()> {
    log.wait_for("boot.door", PATIENCE)?;
    log.wait_for("hv.ready", PATIENCE)?;
    fits(log, machine)
}

/// Checks what a box that is ready has said.
///
/// # Errors
/// Something of it does not fit `machine`.
pub fn fits(log: &BoxLog, machine: &Machine) -> Result<()> {
    let door = log.last("boot.door")?;
    ensure!(door.field("door")? == machine.door.name(), "the wrong door: {door}");
    ensure!(door.field("version")? == VERSION, "the wrong version, not {VERSION}: {door}");
    let ready = log.last("hv.ready")?;
    ensure!(ready.number("tsc")? > ready.number("door_tsc")?, "ready before the door: {ready}");
    check_boot_info(log, machine)?;
    check_memory(log, machine)?;
    let cpus = log.last("hv.cpus")?;
    ensure!(cpus.number("online")? == u64::from(machine.cpus), "{} CPUs were given: {cpus}", machine.cpus);
    ensure!(cpus.field("vendor")? == "amd", "the CPUs are AMD's: {cpus}");
    for khz in clocks(log)? {
        ensure!((50_000..20_000_000).contains(&khz), "{khz} kHz is no clock of a PC\n{}", log.tail());
    }
    Ok(())
}

/// The rates that hv found, in kHz: of the time stamp counter, of the local APIC's timer.
///
/// # Errors
/// One was not told.
pub fn clocks(log: &BoxLog) -> Result<[u64; 2]> {
    Ok([log.last("hv.timer")?.number("tsc_khz")?, log.last("hv.apic")?.number("khz")?])
}

fn check_boot_info(log: &BoxLog, machine: &Machine) -> Result<()> {
    let info = log.last("boot.info")?;
    ensure!(info.number("rsdp")? != 0, "no ACPI: {info}");
    ensure!(info.field("options")? == machine.options, "options were {:?}: {info}", machine.options);
    let framebuffer = info.field("framebuffer")?;
    let sides: Option<Vec<u32>> = framebuffer.split('x').map(|side| side.parse().ok()).collect();
    let sensible = matches!(sides.as_deref(), Some([640..=7680, 400..=4320]));
    ensure!(sensible, "{framebuffer} is no framebuffer: {info}");
    Ok(())
}

fn check_memory(log: &BoxLog, machine: &Machine) -> Result<()> {
    let memory = log.last("hv.memory")?;
    let (size, usable) = (machine.memory_mib << 10, memory.number("usable_kib")?);
    let least = size - (taken_at_most(machine.door) << 10);
    ensure!((least..=size).contains(&usable), "of {size} KiB, at least {least} must be usable: {memory}");
    let (top, end) = (memory.number("top")?, end_of_ram(machine));
    let floor = if end > 4 << 30 { end } else { end - (taken_at_most(machine.door) << 20) };
    ensure!((floor..=end).contains(&top), "RAM ends at {end:#x}: {memory}");
    ensure!(memory.number("regions")? > 1, "the first MiB alone has two regions: {memory}");
    Ok(())
}

/// One past the last byte of RAM: what does not fit below the PCI hole lies above 4 GiB
/// (QEMU 7.2: q35 has 2 GiB below it from 2.75 GiB on, pc 3 GiB from 3.5 GiB on).
fn end_of_ram(machine: &Machine) -> u64 {
    let size = machine.memory_mib << 20;
    let (most, below) = if machine.board == "q35" { (0xb000_0000, 2 << 30) } else { (0xe000_0000, 3 << 30) };
    if size < most { size } else { (4 << 30) + size - below }
}
