//! The management VM comes up through every door, drives what the machine has, sleeps when there is
//! nothing to do, and is started again when it ends. A cell's name is `management/what`.

use anyhow::{Result, ensure};
use hearth_tests::PATIENCE;
use hearth_tests::boot::comes_up;
use hearth_tests::event::Event;
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use image_builder::qemu::{Accel, Door, Machine};
use std::process::ExitCode;

/// Wake-ups a second with nothing to do, at most.
const IDLE_WAKE_UPS: u64 = 20;
/// Lives of less than ten seconds after which hv gives it up.
const SHORT_LIVES: usize = 5;
/// Sectors of the boot disk: the whole image is there.
const LEAST_SECTORS: u64 = 64 << 11;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    for door in Door::ALL {
        for board in ["q35", "pc"] {
            let machine = Machine { door, board: board.to_owned(), ..base() };
            tests.add(format!("management/{}/{board}", door.name()), move || ready(&machine));
        }
    }
    let large = Machine { door: Door::Uefi, memory_mib: 5120, cpus: 4, ..base() };
    tests.add("management/uefi/5G", move || ready(&large));
    tests.add("management/bare", bare);
    tests.add("management/idle", idle);
    for (word, what) in [
        ("panic", "a panic was asked for"),
        ("page-fault", "page fault"),
        ("stack-overflow", "the stack ran over"),
    ] {
        tests.add(format!("management/dies/{word}"), move || dies(word, what));
    }
    tests.add("management/dies/again-and-again", gives_up);
    tests.run()
}

fn base() -> Machine {
    Machine { door: Door::Rom, memory_mib: 512, accel: Accel::Tcg, ..Machine::default() }
}

/// It finds the boot disk, reads from it, and finds the network port.
fn ready(machine: &Machine) -> Result<()> {
    Qemu::start(machine)?.check(|qemu| {
        comes_up(&mut qemu.log, machine)?;
        let disk = qemu.log.wait_for("disk.found", PATIENCE)?;
        ensure!(disk.field("name")? == "disk0" && disk.number("sectors")? >= LEAST_SECTORS, "{disk}");
        let net = qemu.log.wait_for("net.found", PATIENCE)?;
        ensure!(net.field("mac")? == "52:54:00:12:34:56" && net.field("link")? == "up", "{net}");
        let ready = qemu.log.wait_for("mgmt.ready", PATIENCE)?;
        ensure!(ready.number("cpus")? == u64::from(machine.cpus), "{ready}");
        ensure!(ready.number("disks")? == 1 && ready.number("nets")? == 1, "{ready}");
        let bad = qemu.log.events().into_iter().find(|event| event.level.name() == "ERROR");
        ensure!(bad.is_none(), "{}", bad.map(|event| event.to_string()).unwrap_or_default());
        Ok(())
    })
}

/// A device that can't interrupt by messages is named, and the rest works.
fn bare() -> Result<()> {
    let extra = ["-device", "virtio-blk-pci,drive=other,vectors=0", "-blockdev", "null-co,node-name=other"];
    let machine = Machine { extra: extra.map(str::to_owned).to_vec(), ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        let unusable = qemu.log.wait_for("device.unusable", PATIENCE)?;
        ensure!(unusable.field("what")?.contains("MSI-X"), "{unusable}");
        let ready = qemu.log.wait_for("mgmt.ready", PATIENCE)?;
        ensure!(ready.number("disks")? == 1 && ready.number("nets")? == 1, "{ready}");
        Ok(())
    })
}

/// With nothing to do it sleeps.
fn idle() -> Result<()> {
    Qemu::start(&base())?.check(|qemu| {
        let load = qemu.log.wait_for("mgmt.load", PATIENCE)?;
        let most = IDLE_WAKE_UPS * load.number("seconds")?;
        ensure!(load.number("wake_ups")? <= most, "more than {most} wake-ups: {load}");
        Ok(())
    })
}

/// Its last words are in the log, and it lives again, with its devices.
fn dies(word: &str, what: &str) -> Result<()> {
    let machine = Machine { options: format!("mgmt.test={word}"), ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        let first = qemu.log.wait_for("mgmt.ready", PATIENCE)?;
        ensure!(first.number("lives")? == 0, "{first}");
        let words = qemu.log.wait_for("mgmt.panic", PATIENCE)?;
        ensure!(words.field("what")?.contains(what), "{words}");
        qemu.log.wait_for("mgmt.call", PATIENCE)?;
        let exit = qemu.log.wait_for("vm.exit", PATIENCE)?;
        ensure!(exit.field("vm")? == "management", "{exit}");
        let again = qemu.log.wait_for("mgmt.ready", PATIENCE)?;
        let counts = ["lives", "disks", "nets"].map(|key| again.number(key).unwrap_or_default());
        ensure!(counts == [1, 1, 1], "{again}");
        let unknown = qemu.log.events().into_iter().find(|event| event.name == "hv.option");
        ensure!(unknown.is_none(), "hv does not know its option\n{}", qemu.log.tail());
        Ok(())
    })
}

/// One that never lives for long is not started for ever.
fn gives_up() -> Result<()> {
    let machine = Machine { options: "mgmt.test=panics".to_owned(), ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        let refused = qemu.log.wait_for("vm.refused", PATIENCE)?;
        ensure!(refused.field("vm")? == "management", "{refused}");
        let lives = |event: &Event| event.name == "mgmt.panic";
        let count = qemu.log.events().iter().filter(|event| lives(event)).count();
        ensure!(count == SHORT_LIVES, "it was started {count} times\n{}", qemu.log.tail());
        Ok(())
    })
}
