//! What no guest can do: the long runs of the fuzzers.
//!
//! On the host: hv's exit dispatcher against made-up guests (`hv/core/tests/fuzz`), optimised, but with
//! every check that a test has. In QEMU: a VM that does anything at all, and any calls of the management
//! VM (`tests/guest/src/cases/fuzz.rs`), beside a neighbour that must not notice.

use super::PATIENCE;
use crate::appliances;
use crate::image;
use crate::process;
use crate::progress::{self, Step};
use crate::qemu::session::{Ending, Session};
use crate::qemu::{Accel, Artifacts, Door, Machine};
use crate::setup::{self, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};

/// Where the runs start from; the same seed is the same run.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Exits of each run.
const EXITS: u64 = 1_000_000;
/// Steps of each run in QEMU: instructions, accesses or calls.
const STEPS: u64 = 200_000;
/// How late a neighbour's alarm may come meanwhile, in nanoseconds.
const LATE: u64 = 10_000_000;

/// Runs them all.
///
/// # Errors
/// When a guest broke something: what, and how to see it again.
pub(super) fn measure(workspace: &Workspace, yes: bool) -> Result<()> {
    for seed in SEEDS {
        run(format!("{EXITS} exits of made-up guests, seed {seed}"), || dispatcher(workspace, seed))?;
    }
    let toolbox = setup::ensure(&Need::FOR_RUN, yes)?;
    image::build(workspace, &toolbox, &appliances::without_roots(workspace)?)?;
    let artifacts = image::micro_guest(workspace, &toolbox)?;
    for seed in SEEDS {
        run(format!("{STEPS} steps of a VM that does anything, seed {seed}"), || anything(&artifacts, seed))?;
    }
    Ok(())
}

/// A run, and its line of figures.
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

/// One run on the host; its line of figures.
fn dispatcher(workspace: &Workspace, seed: u64) -> Result<String> {
    let mut command = process::cargo(workspace.root());
    command.args(["test", "--quiet", "--release", "--package", "hv-core", "--test", "fuzz"]);
    command.args(["--config", "profile.release.overflow-checks=true"]);
    command.args(["--config", "profile.release.debug-assertions=true"]);
    command.args(["--", "--nocapture"]);
    command.env("HEARTH_FUZZ_SEED", seed.to_string()).env("HEARTH_FUZZ_STEPS", EXITS.to_string());
    let done = command.output().context("starting cargo")?;
    let said = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        bail!("{said}{}\nnext: mend what it says above", String::from_utf8_lossy(&done.stderr));
    }
    let line = said.lines().find(|line| line.starts_with("fuzz seed="));
    line.map(str::to_owned)
        .context("the fuzzer says nothing of its run; next: see hv/core/tests/fuzz/main.rs")
}
