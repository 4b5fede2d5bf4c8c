//! What no guest can do to its neighbours: the long run of the hostile kernel (`tests/kernels`) in the real
//! system, against every virtio device, beside a guest that minds its own business. The tests run a slice of
//! it.

use crate::appliances;
use crate::image;
use crate::process;
use crate::progress::{self, Step};
use crate::setup::{self, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};

/// Where the runs start from; the same seed is the same guest.
const SEEDS: [u64; 2] = [1, 2];
/// Malformed chains of each run.
const CHAINS: u64 = 100_000;

/// Runs them all.
///
/// # Errors
/// When something is missing or does not build, or somebody came to harm: who, and how to see it again.
pub(super) fn measure(workspace: &Workspace, yes: bool) -> Result<()> {
    let toolbox = setup::ensure(&Need::FOR_RUN, yes)?;
    image::build(workspace, &toolbox, &appliances::without_roots(workspace)?)?;
    image::kernels(workspace, &toolbox)?;
    for seed in SEEDS {
        let step = Step::start(format!("{CHAINS} malformed chains, seed {seed}"));
        match attack(workspace, seed) {
            Ok(line) => {
                step.done("");
                progress::result(&line);
            }
            Err(error) => {
                step.failed();
                return Err(error);
            }
        }
    }
    Ok(())
}

/// One run; its line of figures.
fn attack(workspace: &Workspace, seed: u64) -> Result<String> {
    let mut command = process::cargo(workspace.root());
    command.args(["test", "--quiet", "--package", "hearth-tests", "--test", "kernels"]);
    command.args(["--", "kernels/hostile", "--nocapture"]);
    command.env("HEARTH_HOSTILE_SEED", seed.to_string()).env("HEARTH_HOSTILE_CHAINS", CHAINS.to_string());
    let done = command.output().context("starting cargo")?;
    let said = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        bail!("{said}{}\nnext: mend what it says above", String::from_utf8_lossy(&done.stderr));
    }
    let line = said.lines().find_map(|line| line.split_once("hostile seed=")).map(|(_, rest)| rest);
    line.map(|rest| format!("hostile seed={rest}"))
        .context("the test says nothing of its run; next: see tests/tests/kernels.rs")
}
