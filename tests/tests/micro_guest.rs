//! The CPU contract, from inside a guest: the micro-guest runs in place of the management VM and says
//! of each of its cases whether it holds. A cell's name is `guest/CPU model/cores`; in `guest/icount`
//! every instruction is a tick of the clock, so what is promised in time is held against that; and so in
//! `guest/fuzz`, with the seed of each run.

use anyhow::{Context, Result, ensure};
use hearth_tests::PATIENCE;
use hearth_tests::event::Event;
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use image_builder::qemu::{Accel, Artifacts, Door, Machine};
use std::ops::RangeInclusive;
use std::process::ExitCode;

/// Fewer cases than this are not the whole list.
const CASES: usize = 150;

/// What is promised of shares and waiting, in the micro-guest's words.
const TIMES: &[(&str, RangeInclusive<u64>)] = &[
    ("share-permille", 470..=530),
    ("front-permille", 850..=950),
    ("wake-nanos", 0..=1_000_000),
    ("late-beside-spins", 0..=10_000_000),
    ("late-beside-floods", 0..=10_000_000),
    ("late-beside-faults", 0..=10_000_000),
];

/// Devices that the cases look for, and how often each of them interrupts.
const DEVICES: [&str; 4] = ["-device", "edu", "-device", "e1000e"];
const MESSAGES: &[(&str, RangeInclusive<u64>)] = &[("edu-messages", 3..=3), ("e1000e-messages", 3..=3)];

/// And beside somebody who does anything at all.
const BESIDE_ANYTHING: &[(&str, RangeInclusive<u64>)] = &[
    ("late-beside-anything", 0..=10_000_000),
    ("late-beside-calls", 0..=10_000_000),
    ("fuzz-steps", FUZZ_STEPS..=FUZZ_STEPS),
];
/// Steps of each short run of the fuzzer; `cargo hearth bench robust` makes the long ones.
const FUZZ_STEPS: u64 = 3000;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    for (model, name) in [("EPYC,+svm,+npt", "epyc"), ("qemu64,+svm,+npt", "qemu64"), ("max", "max")] {
        for cpus in [1, 2, 4] {
            let extra = DEVICES.map(str::to_owned).to_vec();
            let machine = Machine { cpu: model.to_owned(), cpus, extra, ..machine(Accel::Tcg) };
            tests.add(format!("guest/{name}/{cpus}cpu"), move || whole(&machine));
        }
    }
    tests.add("guest/icount/1cpu", || {
        let options = "mgmt.only=share/".to_owned();
        keeps(&passes(&Machine { options, cpus: 1, ..machine(Accel::Icount) })?, TIMES)
    });
    for seed in 1..=3 {
        tests.add(format!("guest/fuzz/{seed}"), move || {
            let options = format!("mgmt.only=fuzz/ mgmt.fuzz={seed},{FUZZ_STEPS}");
            keeps(&passes(&Machine { options, cpus: 1, ..machine(Accel::Icount) })?, BESIDE_ANYTHING)
        });
    }
    tests.add("guest/power/off", power_off);
    tests.add("guest/power/restart", power_restart);
    tests.run()
}

fn machine(accel: Accel) -> Machine {
    Machine { door: Door::Rom, accel, memory_mib: 512, ..Machine::default() }
}

/// A machine whose management VM asks for something in the end.
fn asks_for(power: &str) -> Machine {
    let options = format!("mgmt.only=hypercall/hello mgmt.power={power}");
    Machine { options, cpus: 2, ..machine(Accel::Tcg) }
}

/// `power.off` switches the machine off.
fn power_off() -> Result<()> {
    Qemu::start_with(&asks_for("off"), &micro_guest()?)?.check(|qemu| {
        let event = qemu.qmp.wait_for("SHUTDOWN", PATIENCE)?;
        ensure!(event["data"]["reason"] == "guest-shutdown", "it ended otherwise: {event}");
        qemu.wait_for_end()?;
        not_refused(qemu)
    })
}

/// `power.restart` restarts it, as often as it is asked for, and all is as after power-on.
fn power_restart() -> Result<()> {
    Qemu::start_with(&asks_for("restart"), &micro_guest()?)?.check(|qemu| {
        for _ in 0..3 {
            let event = qemu.qmp.wait_for("RESET", PATIENCE)?;
            ensure!(event["data"]["reason"] == "guest-reset", "it restarts otherwise: {event}");
            qemu.log.wait_for("boot.door", PATIENCE)?;
            let passed = |line: String| line.starts_with("case.pass");
            qemu.log.wait_until("a case", PATIENCE, |event| said(event).is_some_and(passed))?;
        }
        not_refused(qemu)
    })
}

/// The call is not refused: it does not come back, or as the machine goes off.
fn not_refused(qemu: &Qemu) -> Result<()> {
    let lines: Vec<_> = qemu.log.events().iter().filter_map(said).collect();
    let ran = lines.iter().any(|line| line.starts_with("case.pass"));
    ensure!(ran, "the guest ended early\n{}", qemu.log.tail());
    let answer = lines.iter().find(|line| line.starts_with("guest.power"));
    ensure!(answer.is_none_or(|answer| answer == "guest.power answer=0"), "{answer:?}");
    Ok(())
}

fn micro_guest() -> Result<Artifacts> {
    Ok(Artifacts { dir: hearth_tests::artifacts()?.dir.join("micro-guest") })
}

/// Every case passes, with as many vCPUs as there are cores.
fn whole(machine: &Machine) -> Result<()> {
    let lines = passes(machine)?;
    let passed = lines.iter().filter(|line| line.starts_with("case.pass")).count();
    ensure!(passed >= CASES, "only {passed} cases ran");
    ensure!(lines[0] == format!("guest.start cpus={}", machine.cpus), "{}", lines[0]);
    keeps(&lines, MESSAGES)
}

/// Every case that runs passes. Answers what the micro-guest said.
fn passes(machine: &Machine) -> Result<Vec<String>> {
    Qemu::start_with(machine, &micro_guest()?)?.check(|qemu| {
        let over = |line: String| line.starts_with("guest.end") || line.starts_with("guest.panic");
        let last = qemu.log.wait_until("the guest's end", PATIENCE, |event| {
            of_management(event) && event.name == "vm.exit" || said(event).is_some_and(over)
        })?;
        let lines: Vec<_> = qemu.log.events().iter().filter_map(said).collect();
        let ended = said(&last).is_some_and(|line| line.starts_with("guest.end"));
        ensure!(ended, "the guest ended early\n{}", qemu.log.tail());
        let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("case.fail")).collect();
        ensure!(failed.is_empty(), "{failed:#?}");
        ensure!(lines.iter().any(|line| line.starts_with("case.pass")), "no case ran");
        Ok(lines)
    })
}

fn of_management(event: &Event) -> bool {
    event.field("vm").is_ok_and(|vm| vm == "management")
}

/// The micro-guest's words; what it cuts may say anything.
fn said(event: &Event) -> Option<String> {
    let its = event.name == "vm.log" && of_management(event);
    its.then(|| event.field("text").unwrap_or_default().to_owned())
}

/// Every measure is there and in its range.
fn keeps(lines: &[String], promises: &[(&str, RangeInclusive<u64>)]) -> Result<()> {
    for (name, range) in promises {
        let measure = |line: &String| line.strip_prefix("measure ")?.strip_prefix(name)?.trim().parse().ok();
        let value: u64 = lines.iter().find_map(measure).with_context(|| format!("nobody measured {name}"))?;
        ensure!(range.contains(&value), "{name} is {value}, promised is {range:?}");
    }
    Ok(())
}
