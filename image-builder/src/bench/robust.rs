//! What no guest can do: the long runs of the fuzzers.
//!
//! On the host: hv's exit dispatcher against made-up guests (`hv/core/tests/fuzz`), and all in the management
//! VM that takes what a guest, a disk or a network says (the tests of `appliance-vms/management`), optimised,
//! but with every check that a test has. In QEMU: a VM that does anything at all, and any calls of the
//! management VM (`tests/guest/src/cases/fuzz.rs`), beside a neighbour that must not notice; and a kernel that
//! is hostile to its devices (`hostile.rs`).

use super::{PATIENCE, hostile};
use crate::appliances;
use crate::image;
use crate::process;
use crate::progress::{self, Step};
use crate::qemu::session::{Ending, Session};
use crate::qemu::{Accel, Artifacts, Door, Machine};
use crate::setup::{self, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

/// Where the runs start from; the same seed is the same run.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Steps of each run on the host.
const HOST_STEPS: u64 = 1_000_000;
/// Steps of each run in QEMU: instructions, accesses or calls.
const STEPS: u64 = 200_000;
/// How late a neighbour's alarm may come meanwhile, in nanoseconds.
const LATE: u64 = 10_000_000;

/// A part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// On the host: hv's exit dispatcher.
    Dispatcher,
    /// On the host: the management VM's devices, models, loaders and tables.
    Management,
    /// In QEMU: a VM, and a management VM, that do anything at all.
    Anything,
    /// In QEMU: a kernel that is hostile to its virtio devices.
    Hostile,
}

/// Tests on the host that make as many steps as the environment says (`tests/fuzz/run.rs`).
struct Fuzzers {
    package: &'static str,
    /// Which of its tests: cargo's words for it.
    tests: &'static [&'static str],
    /// Those that must have run, by the names in their lines of figures.
    names: &'static [&'static str],
}

const DISPATCHER: Fuzzers =
    Fuzzers { package: "hv-core", tests: &["--test", "fuzz"], names: &["dispatcher"] };

const MANAGEMENT: Fuzzers = Fuzzers {
    package: "management",
    tests: &["--lib"],
    names: &[
        "virtio",
        "models",
        "decoder",
        "lines",
        "bzimage",
        "pvh",
        "multiboot",
        "multiboot-flat",
        "switch",
        "snoop",
        "stack",
        "gpt",
        "volumes",
        "bundle",
        "part",
        "supervisor",
    ],
};

/// Runs one part, or all.
///
/// # Errors
/// When a guest broke something: what, and how to see it again.
pub(super) fn measure(workspace: &Workspace, part: Option<Part>, yes: bool) -> Result<()> {
    let wanted = |which| part.is_none_or(|part| part == which);
    if wanted(Part::Dispatcher) {
        for seed in SEEDS {
            let what = format!("{HOST_STEPS} exits of made-up guests, seed {seed}");
            run(what, || DISPATCHER.run(workspace, seed))?;
        }
    }
    if wanted(Part::Management) {
        let what = format!("{HOST_STEPS} steps of each fuzzer of the management VM");
        run(what, || MANAGEMENT.run(workspace, SEEDS[0]))?;
    }
    if wanted(Part::Anything) {
        let toolbox = setup::ensure(&Need::FOR_RUN, yes)?;
        image::build(workspace, &toolbox, &appliances::without_roots(workspace)?)?;
        let artifacts = image::micro_guest(workspace, &toolbox)?;
        for seed in SEEDS {
            let what = format!("{STEPS} steps of a VM that does anything, seed {seed}");
            run(what, || anything(&artifacts, seed))?;
        }
    }
    if wanted(Part::Hostile) {
        hostile::measure(workspace, yes)?;
    }
    Ok(())
}

/// A run, and its lines of figures.
fn run(what: String, act: impl FnOnce() -> Result<String>) -> Result<()> {
    let step = Step::start(what);
    match act() {
        Ok(line) => {
            step.done("");
            progress::result(&line);
            Ok(())
        }
        Err(error) => {
            step.failed();
            Err(error)
        }
    }
}

/// One run in QEMU, where an instruction is a tick, so that it is the same again; its line of figures.
fn anything(artifacts: &Artifacts, seed: u64) -> Result<String> {
    let machine = Machine {
        door: Door::Rom,
        cpus: 1,
        accel: Accel::Icount,
        no_reboot: true,
        options: format!("panic=halt mgmt.only=fuzz/ mgmt.fuzz={seed},{STEPS}"),
        ..Machine::default()
    };
    let mut session = Session::start(&machine, artifacts)?;
    let mut figures = Vec::new();
    loop {
        let mut panicked = false;
        let ending = session.wait_for("vm.log", Some(PATIENCE), |line| panicked |= line.contains(" panic "));
        let line = match ending {
            Ending::Event(line) if !panicked => line,
            Ending::Event(line) => bail!("hv panicked before this: {line}"),
            Ending::Bad(why) => bail!("{why}; next: see where `cargo hearth test guest/fuzz` stops"),
        };
        // Only the management VM's words count: the other may say anything.
        let Some((_, text)) = line.split_once(" vm=management cpu=0 text=") else { continue };
        let text = text.trim_matches('"');
        ensure!(!text.starts_with("case.fail"), "{text}");
        if let Some(figure) = text.strip_prefix("measure ") {
            let (name, value) = figure.split_once(' ').context("a measure has a name and a value")?;
            let late = name.starts_with("late-") && value.parse::<u64>().is_ok_and(|value| value > LATE);
            ensure!(!late, "{figure}: {LATE} nanoseconds are promised");
            figures.push(format!("{name}={value}"));
        }
        if text.starts_with("guest.end") {
            return Ok(format!("fuzz seed={seed} {}", figures.join(" ")));
        }
    }
}

impl Fuzzers {
    /// One run; its lines of figures.
    fn run(&self, workspace: &Workspace, seed: u64) -> Result<String> {
        let mut command = process::cargo(workspace.root());
        command.args(["test", "--quiet", "--release", "--package", self.package]).args(self.tests);
        command.args(["--config", "profile.release.overflow-checks=true"]);
        command.args(["--config", "profile.release.debug-assertions=true"]);
        command.args(["--", "--nocapture"]);
        command.env("HEARTH_FUZZ_SEED", seed.to_string()).env("HEARTH_FUZZ_STEPS", HOST_STEPS.to_string());
        let done = command.output().context("starting cargo")?;
        let said = String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            bail!("{said}{}\nnext: mend what it says above", String::from_utf8_lossy(&done.stderr));
        }
        let lines = self.names.iter().map(|name| figures(&said, name));
        Ok(lines.collect::<Result<Vec<_>>>()?.join("\n"))
    }
}

/// The line of figures of the fuzzer of that name, which made all its steps. Marks of the test runner's
/// may stand before it.
fn figures<'a>(said: &'a str, name: &str) -> Result<&'a str> {
    let begins = format!("fuzz {name} seed=");
    let line = said.lines().find_map(|line| line.find(&begins).map(|at| &line[at..]));
    let line = line.with_context(|| format!("the fuzzer {name} says nothing of its run"))?;
    let steps = line.split(' ').find_map(|word| word.strip_prefix("steps="));
    let enough = steps.and_then(|steps| steps.parse().ok()).is_some_and(|steps: u64| steps >= HOST_STEPS);
    ensure!(enough, "{HOST_STEPS} steps were asked for: {line}");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fuzzer_says_what_it_did() {
        let said = "\nrunning 2 tests\n.fuzz gpt seed=1 steps=1000000 ms=7\n.fuzz part seed=1 steps=9 ms=1\n";
        assert_eq!(figures(said, "gpt").ok(), Some("fuzz gpt seed=1 steps=1000000 ms=7"));
        let problem = |name| figures(said, name).expect_err("a problem").to_string();
        assert_eq!(problem("part"), "1000000 steps were asked for: fuzz part seed=1 steps=9 ms=1");
        assert_eq!(problem("volumes"), "the fuzzer volumes says nothing of its run");
    }
}
