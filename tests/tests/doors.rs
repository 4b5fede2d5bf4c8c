//! Every door, on every board, with every count of CPUs and amount of memory, comes up and tells
//! the same story. A cell's name is `door/board/cpus/memory`.

use anyhow::{Result, ensure};
use hearth_tests::PATIENCE;
use hearth_tests::boot::{clocks as rates, comes_up, fits};
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use image_builder::qemu::{Accel, DiskBus, Door, Machine, OvmfSize};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    matrix(&mut tests);
    disks(&mut tests);
    let many = Machine { door: Door::Rom, cpus: 16, ..base() };
    tests.add("rom/q35/16cpu/512M", move || boot(&many));
    tests.add("uefi/ovmf-2m", || boot(&Machine { door: Door::Uefi, ovmf: OvmfSize::TwoMiB, ..base() }));
    for door in Door::ALL {
        tests.add(format!("{}/options", door.name()), move || options(door));
        tests.add(format!("{}/restarts", door.name()), move || restarts(door));
    }
    tests.add("pvh/append", append);
    tests.add("rom/clocks", clocks);
    tests.add("pvh/another-story", another_story);
    tests.run()
}

/// The machine that the cells vary.
fn base() -> Machine {
    Machine { memory_mib: 512, accel: Accel::Tcg, ..Machine::default() }
}

fn boot(machine: &Machine) -> Result<()> {
    Qemu::start(machine)?.check(|qemu| comes_up(&mut qemu.log, machine))
}

fn matrix(tests: &mut Tests) {
    for door in Door::ALL {
        for board in ["q35", "pc"] {
            for cpus in [1, 2, 4] {
                for (memory_mib, size) in [(512, "512M"), (5120, "5G")] {
                    let machine = Machine { door, board: board.to_owned(), cpus, memory_mib, ..base() };
                    tests.add(format!("{}/{board}/{cpus}cpu/{size}", door.name()), move || boot(&machine));
                }
            }
        }
    }
}

fn disks(tests: &mut Tests) {
    for (disk, name) in [(DiskBus::Nvme, "nvme"), (DiskBus::Ahci, "ahci"), (DiskBus::Usb, "usb")] {
        tests.add(format!("uefi/{name}"), move || boot(&Machine { door: Door::Uefi, disk, ..base() }));
    }
}

/// hv's options arrive through every door; one it does not know is a warning and no more.
fn options(door: Door) -> Result<()> {
    let machine = Machine { door, options: "panic=halt colour=blue".to_owned(), ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        comes_up(&mut qemu.log, &machine)?;
        let events = qemu.log.events();
        let mut warnings =
            events.iter().filter(|event| event.level.name() == "WARN").map(ToString::to_string);
        ensure!(
            warnings.any(|text| text.contains("colour")),
            "no warning names the option\n{}",
            qemu.log.tail()
        );
        Ok(())
    })
}

/// The pvh door takes options from its boot loader's command line too.
fn append() -> Result<()> {
    let extra = ["-append", "panic=halt"].map(str::to_owned).to_vec();
    let machine = Machine { door: Door::Pvh, extra, ..base() };
    let told = Machine { options: "panic=halt".to_owned(), ..machine.clone() };
    Qemu::start(&machine)?.check(|qemu| comes_up(&mut qemu.log, &told))
}

/// The reset button, three times: nothing of the run before is left that hurts.
fn restarts(door: Door) -> Result<()> {
    let machine = Machine { door, ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        comes_up(&mut qemu.log, &machine)?;
        for _ in 0..3 {
            qemu.qmp.reset()?;
            qemu.qmp.wait_for("RESET", PATIENCE)?;
            comes_up(&mut qemu.log, &machine)?;
        }
        Ok(())
    })
}

/// With time counted in instructions, a nanosecond each, the TSC and QEMU's local APIC both run at
/// exactly 1 GHz; hv must find that, however busy this computer is.
fn clocks() -> Result<()> {
    let machine = Machine { door: Door::Rom, cpus: 1, accel: Accel::Icount, ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        comes_up(&mut qemu.log, &machine)?;
        for khz in rates(&qemu.log)? {
            let off = khz.abs_diff(1_000_000);
            ensure!(off <= 1_000, "{khz} kHz is off by more than 0.1 %\n{}", qemu.log.tail());
        }
        Ok(())
    })
}

/// The checks of every cell above do check: the same log does not fit any other machine.
fn another_story() -> Result<()> {
    let machine = Machine { door: Door::Pvh, ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        comes_up(&mut qemu.log, &machine)?;
        let others = [
            Machine { door: Door::Rom, ..machine.clone() },
            Machine { cpus: 1, ..machine.clone() },
            Machine { cpus: 3, ..machine.clone() },
            Machine { memory_mib: 506, ..machine.clone() },
            Machine { memory_mib: 518, ..machine.clone() },
            Machine { memory_mib: 5120, ..machine.clone() },
            Machine { options: "panic=halt".to_owned(), ..machine.clone() },
        ];
        for other in others {
            ensure!(fits(&qemu.log, &other).is_err(), "it also fits {other:?}\n{}", qemu.log.tail());
        }
        Ok(())
    })
}
