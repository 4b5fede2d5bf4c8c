//! What disk and network give a Debian guest, beside the same without Hearth (`tests/src/bin/io.rs`).

use crate::process;
use crate::progress::{self, Step};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};

/// Measures and prints the table.
///
/// # Errors
/// When a guest does not come to its end.
pub(super) fn measure(workspace: &Workspace) -> Result<()> {
    let step = Step::start("disk and network of a Debian guest, on Hearth and without it");
    let mut command = process::cargo(workspace.root());
    let done = command.args(["run", "--quiet", "--package", "hearth-tests", "--bin", "io"]).output();
    let done = done.context("starting cargo")?;
    if !done.status.success() {
        step.failed();
        bail!("{}\nnext: `cargo hearth test debian/`", String::from_utf8_lossy(&done.stderr).trim());
    }
    step.done("");
    String::from_utf8_lossy(&done.stdout).lines().for_each(progress::result);
    Ok(())
}
