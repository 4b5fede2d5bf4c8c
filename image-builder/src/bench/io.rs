//! What disk and network give a Debian guest, beside the same under KVM (`tests/src/bin/io.rs`).

use crate::process;
use crate::progress::{self, Step};
use crate::rootfs::{self, KVM_HOST, PROVING};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::process::Stdio;

/// Measures and prints the table; on the way, every figure of every run.
///
/// # Errors
/// When a Debian can't be built, a guest does not come to its end, or the promise is broken.
pub(super) fn measure(workspace: &Workspace) -> Result<()> {
    for folder in [PROVING, KVM_HOST] {
        rootfs::of_checkout(workspace, folder)?;
    }
    let step = Step::start("disk and network of a Debian guest, on Hearth and under KVM, three times");
    let mut command = process::cargo(workspace.root());
    command.args(["run", "--quiet", "--package", "hearth-tests", "--bin", "io"]);
    let done = command.stderr(Stdio::inherit()).output().context("starting cargo")?;
    String::from_utf8_lossy(&done.stdout).lines().for_each(progress::result);
    if !done.status.success() {
        step.failed();
        bail!("not as it should be; next: read what it says above");
    }
    step.done("");
    Ok(())
}
