//! How the television keeps up: the tests' own figures, which count instructions (`tests/tests/television.rs`).

use crate::appliances;
use crate::image;
use crate::process;
use crate::progress::{self, Step};
use crate::setup::{self, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};

/// What is measured: names of cells, and with what their lines of figures begin.
const CELLS: [(&str, &str); 3] =
    [("tv/pace/hd", "tv hd "), ("tv/pace/full-hd", "tv full-hd "), ("tv/flood", "tv flood ")];

/// Runs them all.
///
/// # Errors
/// When something is missing or does not build, or the interface does not keep up.
pub(super) fn measure(workspace: &Workspace, yes: bool) -> Result<()> {
    let toolbox = setup::ensure(&Need::FOR_RUN, yes)?;
    image::build(workspace, &toolbox, &appliances::without_roots(workspace)?)?;
    image::kernels(workspace, &toolbox)?;
    for (cell, begins) in CELLS {
        let step = Step::start(format!("{cell}, at 125 million instructions a second"));
        match run(workspace, cell, begins) {
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

/// Runs one; its line of figures.
fn run(workspace: &Workspace, cell: &str, begins: &str) -> Result<String> {
    let mut command = process::cargo(workspace.root());
    command.args(["test", "--quiet", "--package", "hearth-tests", "--test", "television"]);
    command.args(["--", "--exact", cell, "--nocapture"]);
    let done = command.output().context("starting cargo")?;
    let said = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        bail!("{said}{}\nnext: mend what it says above", String::from_utf8_lossy(&done.stderr));
    }
    let line = said.lines().find_map(|line| line.find(begins).map(|at| line[at..].to_owned()));
    line.with_context(|| format!("{cell} says nothing of its run; next: see tests/tests/television.rs"))
}
