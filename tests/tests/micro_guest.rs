//! The CPU contract, from inside a guest: the micro-guest runs in place of the management VM and says
//! of each of its cases whether it holds. A cell's name is `guest/CPU model/cores`.

use anyhow::{Result, ensure};
use hearth_tests::PATIENCE;
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use image_builder::qemu::{Accel, Artifacts, Door, Machine};
use std::process::ExitCode;

/// Fewer cases than this are not the whole list.
const CASES: usize = 130;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    for (model, name) in [("EPYC,+svm,+npt", "epyc"), ("qemu64,+svm,+npt", "qemu64"), ("max", "max")] {
        for cpus in [1, 2, 4] {
            let machine = Machine {
                door: Door::Rom,
                accel: Accel::Tcg,
                memory_mib: 512,
                cpu: model.to_owned(),
                cpus,
                ..Machine::default()
            };
            tests.add(format!("guest/{name}/{cpus}cpu"), move || holds(&machine));
        }
    }
    tests.run()
}

/// Every case passes, with as many vCPUs as there are cores.
fn holds(machine: &Machine) -> Result<()> {
    let artifacts = Artifacts { dir: hearth_tests::artifacts()?.dir.join("micro-guest") };
    Qemu::start_with(machine, &artifacts)?.check(|qemu| {
        let text = |event: &hearth_tests::event::Event| event.field("text").unwrap_or_default().to_owned();
        let over = |line: &str| line.starts_with("guest.end") || line.starts_with("guest.panic");
        let last = qemu.log.wait_until("the guest's end", PATIENCE, |event| {
            let management = event.field("vm").is_ok_and(|vm| vm == "management");
            event.name == "vm.exit" && management || event.name == "vm.log" && over(&text(event))
        })?;
        let lines: Vec<_> =
            qemu.log.events().iter().filter(|event| event.name == "vm.log").map(text).collect();
        let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("case.fail")).collect();
        ensure!(text(&last).starts_with("guest.end"), "the guest ended early\n{}", qemu.log.tail());
        ensure!(failed.is_empty(), "{failed:#?}");
        ensure!(count("case.pass") >= CASES, "only {} cases ran", count("case.pass"));
        ensure!(lines[0] == format!("guest.start cpus={}", machine.cpus), "{}", lines[0]);
        Ok(())
    })
}
