//! Disks and network cards other than virtio's: QEMU's NVMe disk, and Intel's cards. A cell's name is
//! `drivers/what`.

use anyhow::{Result, ensure};
use hearth_tests::PATIENCE;
use hearth_tests::boot::comes_up;
use hearth_tests::event::Event;
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use image_builder::qemu::{Accel, DiskBus, Door, Machine};
use serde_json::json;
use std::process::ExitCode;

/// Wake-ups a second with nothing to do, at most, also where frames have to be looked for.
const IDLE_WAKE_UPS: u64 = 20;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    for (door, board) in [(Door::Rom, "q35"), (Door::Uefi, "q35"), (Door::Rom, "pc")] {
        let machine = Machine { door, board: board.to_owned(), disk: DiskBus::Nvme, ..base() };
        tests.add(format!("drivers/nvme/{}/{board}", door.name()), move || system_on_nvme(&machine));
    }
    tests.add("drivers/nvme/damaged", damaged);
    tests.add("drivers/nvme/silent", silent);
    for driver in ["e1000e", "e1000"] {
        tests.add(format!("drivers/{driver}"), move || network(driver));
        tests.add(format!("drivers/{driver}/idle"), move || idle(driver));
    }
    tests.run()
}

fn base() -> Machine {
    Machine { door: Door::Rom, memory_mib: 512, accel: Accel::Tcg, ..Machine::default() }
}

fn with(machine: Machine, extra: &[&str]) -> Machine {
    Machine { extra: extra.iter().map(|&word| word.to_owned()).collect(), ..machine }
}

fn no_error(qemu: &Qemu) -> Result<()> {
    let bad = qemu.log.events().into_iter().find(|event| event.level.name() == "ERROR");
    ensure!(bad.is_none(), "{}", bad.map(|event| event.to_string()).unwrap_or_default());
    Ok(())
}

/// The box boots from an NVMe disk, and reads what is on it.
fn system_on_nvme(machine: &Machine) -> Result<()> {
    Qemu::start(machine)?.check(|qemu| {
        comes_up(&mut qemu.log, machine)?;
        let disk = qemu.log.wait_for("disk.found", PATIENCE)?;
        ensure!(disk.field("driver")? == "nvme" && disk.field("model")?.ends_with(" hearth"), "{disk}");
        let ready = qemu.log.wait_for("mgmt.ready", PATIENCE)?;
        ensure!(ready.number("disks")? == 1, "{ready}");
        qemu.log.wait_for("system.found", PATIENCE)?;
        no_error(qemu)
    })
}

/// An NVMe disk beside the box's own one that can't be read is named with the reason, and the rest works.
fn damaged() -> Result<()> {
    let other = "driver=raw,node-name=other,file.driver=blkdebug,file.image.driver=null-co,\
        file.image.size=1048576,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5";
    let machine = with(base(), &["-blockdev", other, "-device", "nvme,drive=other,serial=other"]);
    Qemu::start(&machine)?.check(|qemu| {
        let unusable = qemu.log.wait_for("device.unusable", PATIENCE)?;
        ensure!(unusable.field("what")?.contains("the disk says that it failed"), "{unusable}");
        let ready = qemu.log.wait_for("mgmt.ready", PATIENCE)?;
        ensure!(ready.number("disks")? == 1 && ready.number("nets")? == 1, "{ready}");
        qemu.log.wait_for("system.found", PATIENCE).map(drop)
    })
}

/// An NVMe disk that falls silent is reset, and the box goes on without what it asked of it.
fn silent() -> Result<()> {
    // One byte a second: the first read is let through, the next one would take minutes. A reset ends it.
    let words = [
        "-object",
        "throttle-group,id=slow,x-bps-total=1",
        "-blockdev",
        "driver=throttle,node-name=other,throttle-group=slow,file.driver=null-co,file.size=1048576",
        "-device",
        "nvme,drive=other,serial=other",
    ];
    // The box has no driver for the disk with its system, so that it looks for one on the other.
    let machine = with(Machine { disk: DiskBus::Ahci, ..base() }, &words);
    Qemu::start(&machine)?.check(|qemu| {
        let ready = qemu.log.wait_for("mgmt.ready", PATIENCE)?;
        ensure!(ready.number("disks")? == 1, "{ready}");
        let reset = qemu.log.wait_for("disk.reset", PATIENCE)?;
        ensure!(reset.field("what")?.contains("does not answer"), "{reset}");
        let foreign = qemu.log.wait_for("disk.foreign", PATIENCE)?;
        ensure!(foreign.field("what")?.contains("failed"), "{foreign}");
        Ok(())
    })
}

fn card(driver: &str) -> Machine {
    let device = format!("{driver},id=card,netdev=net,mac=52:54:00:12:34:99,romfile=");
    with(Machine { network: false, ..base() }, &["-netdev", "user,id=net", "-device", &device])
}

/// The box gets an address through the card, and sees its cable being pulled and put in again.
fn network(driver: &str) -> Result<()> {
    Qemu::start(&card(driver))?.check(|qemu| {
        let net = qemu.log.wait_for("net.found", PATIENCE)?;
        ensure!(net.field("driver")? == driver && net.field("link")? == "up", "{net}");
        ensure!(net.field("mac")? == "52:54:00:12:34:99", "{net}");
        let address = qemu.log.wait_for("net.address", PATIENCE)?;
        ensure!(address.field("ip")?.starts_with("10.0.2."), "{address}");
        for (up, word) in [(false, "down"), (true, "up")] {
            qemu.qmp.execute("set_link", &json!({ "name": "card", "up": up }))?;
            let link = qemu.log.wait_for("net.link", PATIENCE)?;
            ensure!(link.field("link")? == word, "{link}");
        }
        no_error(qemu)
    })
}

/// With nothing to do the box sleeps.
fn idle(driver: &str) -> Result<()> {
    Qemu::start(&card(driver))?.check(|qemu| {
        // The first one is about getting an address.
        qemu.log.wait_for("mgmt.load", PATIENCE)?;
        let load: Event = qemu.log.wait_for("mgmt.load", PATIENCE)?;
        let most = IDLE_WAKE_UPS * load.number("seconds")?;
        ensure!(load.number("wake_ups")? <= most, "more than {most} wake-ups: {load}");
        Ok(())
    })
}
