//! What no guest can do: the long runs of the fuzzers.
//!
//! On the host: hv's exit dispatcher against made-up guests (`hv/core/tests/fuzz`), optimised, but with
//! every check that a test has.

use crate::process;
use crate::progress::{self, Step};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};

/// Where the runs start from; the same seed is the same run.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Exits of each run.
const EXITS: u64 = 1_000_000;

/// Runs them all.
///
/// # Errors
/// When a guest broke something: what, and how to see it again.
pub(super) fn measure(workspace: &Workspace) -> Result<()> {
    for seed in SEEDS {
        let step = Step::start(format!("{EXITS} exits of made-up guests, seed {seed}"));
        match dispatcher(workspace, seed) {
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
