//! Kernels of the kind that outside suites are (`tests/kernels`), as appliances: loaded as Multiboot and by
//! their PVH note, in 32 bits and in 64; how appliances end, and what becomes of them then; and one that
//! means harm, beside one that minds its own business. A cell's name is `kernels/what`.

use anyhow::{Context, Result, ensure};
use hearth_tests::PATIENCE;
use hearth_tests::event::Event;
use hearth_tests::guests::{self, Guest, NEIGHBOUR, is_of};
use hearth_tests::log::BoxLog;
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use image_builder::qemu::Machine;
use std::process::ExitCode;
use std::time::Duration;

/// What outside suites read of their first module.
const SETTINGS: Option<&str> = Some("NR_CPUS=2\nMEMSIZE=64\n");
/// Signs of life of the neighbour's that are enough.
const ENOUGH: usize = 5;
/// Malformed chains when nobody says how many.
const CHAINS: u64 = 10_000;
/// Faults of its devices that the log tells of a guest: each kind of them, of each device, once.
const MOST_TOLD: usize = 12 * 8;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    tests.add("kernels/flat", flat);
    tests.add("kernels/ends", ends);
    tests.add("kernels/hostile", hostile);
    tests.run()
}

/// All that PLATFORM's outside kernels expect, each way in at once.
fn flat() -> Result<()> {
    let flat = Guest { cpus: 2, cmdline: "cpus=2 last=word", module: SETTINGS, ..Guest::default() };
    let long = Guest { kernel: Ok("long"), cpus: 2, ..Guest::default() };
    let (_folder, artifacts) = guests::with(&[
        Guest { name: "multiboot", format: "multiboot", ..flat },
        Guest { name: "pvh", ..flat },
        Guest { name: "long-multiboot", format: "multiboot", ..long },
        Guest { name: "long-pvh", ..long },
    ])?;
    Qemu::start_with(&guests::machine(), &artifacts)?.check(|qemu| {
        for vm in ["multiboot", "pvh", "long-multiboot", "long-pvh"] {
            guests::passes(&mut qemu.log, vm)?;
        }
        Ok(())
    })
}

/// However appliances end, the log says it in words, they are started again or not as the supervisor
/// should have it, and a neighbour lives on.
fn ends() -> Result<()> {
    let ending = |name, cmdline| Guest { name, kernel: Ok("long"), cpus: 2, cmdline, ..Guest::default() };
    let (_folder, artifacts) = guests::with(&[
        NEIGHBOUR,
        ending("off", "end=power-off"),
        ending("resets", "end=reset"),
        ending("faults", "end=triple-fault"),
        Guest { memory: "16G", ..ending("greedy", "") },
        Guest { kernel: Err(b"no kernel at all"), ..ending("damaged", "") },
    ])?;
    Qemu::start_with(&guests::machine(), &artifacts)?.check(|qemu| {
        let log = &mut qemu.log;
        for vm in ["resets", "faults", "greedy", "damaged"] {
            given_up(log, vm)?;
        }
        ticks_on(log)?;
        let ends = |vm| log.events().into_iter().filter(move |event: &Event| is_of(event, "vm.exit", vm));
        for (vm, reason, count) in [
            ("off", "it switched itself off", 1),
            ("resets", "it restarted itself", 5),
            ("faults", "triple fault", 5),
            ("greedy", "", 0),
            ("damaged", "", 0),
        ] {
            let reasons: Vec<_> =
                ends(vm).map(|event| event.field("reason").unwrap_or_default().to_owned()).collect();
            let as_it_should = reasons.len() == count && reasons.iter().all(|one| one == reason);
            ensure!(as_it_should, "{vm}: {reasons:?}\n{}", history(log, vm));
        }
        for (vm, words) in [("greedy", "16"), ("damaged", "not an ELF file")] {
            let refused = log.events().into_iter().find(|event| is_of(event, "vm.refused", vm));
            let refused = refused.map(|event| event.to_string()).unwrap_or_default();
            ensure!(refused.contains(words), "{vm}: {refused:?}");
        }
        backs_off(log, "resets")?;
        backs_off(log, "faults")
    })
}

/// All that the log says of an appliance.
fn history(log: &BoxLog, vm: &str) -> String {
    let events = log.events().into_iter().filter(|event| event.field("vm").is_ok_and(|of| of == vm));
    events.map(|event| event.to_string()).collect::<Vec<_>>().join("\n")
}

/// Waits until an appliance has been given up.
fn given_up(log: &mut BoxLog, vm: &str) -> Result<Event> {
    let is_it = |event: &Event| is_of(event, "vm.failed", vm);
    let earlier = log.events().into_iter().find(is_it);
    earlier.map_or_else(|| log.wait_until(&format!("{vm} is given up"), PATIENCE, is_it), Ok)
}

/// Each time it waits twice as long as the time before, beginning with a second.
fn backs_off(log: &BoxLog, vm: &str) -> Result<()> {
    let times = |name: &str| -> Vec<u64> {
        log.events().iter().filter(|event| is_of(event, name, vm)).map(|event| event.micros).collect()
    };
    let (starts, ends) = (times("vm.start"), times("vm.exit"));
    let waits: Vec<u64> =
        starts.iter().skip(1).zip(&ends).map(|(start, end)| start.saturating_sub(*end)).collect();
    let long_enough = waits.iter().zip(0..).all(|(wait, times)| *wait >= 1_000_000 << times);
    ensure!(waits.len() == 4 && long_enough, "{vm} waits {waits:?} microseconds");
    Ok(())
}

/// The neighbour says that all is well, some times from now on, and never said anything else.
fn ticks_on(log: &mut BoxLog) -> Result<()> {
    for _ in 0..ENOUGH {
        log.wait_until("a sign of life of the neighbour's", PATIENCE, |event| {
            is_of(event, "vm.console", "neighbour")
                && event.field("text").is_ok_and(|text| text.starts_with("tick"))
        })?;
    }
    let said = guests::console(log, "neighbour");
    let other = said.iter().find(|line| !line.starts_with("tick") && !line.starts_with("kernel.start"));
    ensure!(other.is_none(), "the neighbour says {other:?}");
    let of_it = |event: &&Event| event.field("vm").is_ok_and(|vm| vm == "neighbour");
    let events = log.events();
    let bad = events
        .iter()
        .filter(of_it)
        .find(|event| event.name == "vm.exit" || matches!(event.level.name(), "ERROR" | "WARN"));
    ensure!(bad.is_none(), "the neighbour suffers: {}", bad.map(Event::to_string).unwrap_or_default());
    Ok(())
}

/// Malformed chains, over all kinds of devices; how many, and from which seed, the environment may say
/// (`HEARTH_HOSTILE_CHAINS`, `HEARTH_HOSTILE_SEED`).
fn hostile() -> Result<()> {
    let number = |name: &str, otherwise: u64| -> Result<u64> {
        std::env::var(name)
            .map_or(Ok(otherwise), |text| text.parse().with_context(|| format!("{name}={text}")))
    };
    let seed = number("HEARTH_HOSTILE_SEED", 1)?;
    let chains = number("HEARTH_HOSTILE_CHAINS", CHAINS)?;
    let cmdline = format!("seed={seed} chains={chains}");
    let hostile = Guest {
        name: "hostile",
        kernel: Ok("hostile"),
        cmdline: &cmdline,
        network: true,
        devices: "display = true\ninput = true\nsound = true\n",
        volumes: &["2M", "2M"],
        ..Guest::default()
    };
    let (_folder, artifacts) = guests::with(&[NEIGHBOUR, hostile])?;
    // A box of one CPU runs on one of the computer's, which makes the slice quick. The long run has two.
    let cpus = if chains > CHAINS { 2 } else { 1 };
    let machine = Machine { cpus, ..guests::machine() };
    Qemu::start_with(&machine, &artifacts)?.check(|qemu| {
        ticks_on(&mut qemu.log)?;
        let patience = PATIENCE + Duration::from_millis(chains * 20);
        guests::passes_within(&mut qemu.log, "hostile", patience)?;
        ticks_on(&mut qemu.log)?;
        let told = qemu.log.events().iter().filter(|event| is_of(event, "vm.device", "hostile")).count();
        ensure!((1..=MOST_TOLD).contains(&told), "{told} faults of its devices are told");
        let mut troubles = qemu.log.events().into_iter().filter(|event| event.name.starts_with("mgmt."));
        let trouble = troubles.find(|event| matches!(event.level.name(), "ERROR" | "WARN"));
        ensure!(trouble.is_none(), "{}", trouble.map(|event| event.to_string()).unwrap_or_default());
        let said = guests::console(&qemu.log, "hostile");
        let done = said.iter().find_map(|line| line.strip_prefix("hostile done ")).unwrap_or_default();
        println!("hostile seed={seed} {done} faults_told={told}");
        Ok(())
    })
}
