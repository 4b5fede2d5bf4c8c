//! Half an hour of three busy Debian guests, of which one is killed ten times: `debian/hearth/three` of
//! the QEMU tests, which otherwise run a slice of it.

use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};

/// How long, in minutes.
const MINUTES: u32 = 30;

/// Runs it.
///
/// # Errors
/// When a guest saw an error, or one ended that nobody killed.
pub(super) fn measure(workspace: &Workspace) -> Result<()> {
    let step = Step::start(format!("{MINUTES} minutes of three busy guests"));
    let mut command = process::cargo(workspace.root());
    command.args(["test", "--package", "hearth-tests", "--test", "debian", "--", "debian/hearth/three"]);
    command.env("HEARTH_SOAK_MINUTES", MINUTES.to_string()).env("CI", "true");
    let done = command.output().context("starting cargo")?;
    if !done.status.success() {
        step.failed();
        bail!(
            "{}{}\nnext: mend what it says above",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    step.done("no guest saw an error");
    Ok(())
}
