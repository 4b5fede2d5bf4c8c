//! QEMU tests of Debian guests that take half an hour. The gate runs a slice of them, or none.

use crate::process;
use crate::progress::Step;
use crate::rootfs::{self, DEBIAN, PROVING};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};

/// A test, and what makes it long.
pub(super) struct Long {
    what: &'static str,
    test: &'static str,
    /// An environment variable, and its value.
    variable: (&'static str, &'static str),
    /// The Debians that it starts.
    roots: &'static [&'static str],
}

/// Three guests at work, of which one is killed ten times.
pub(super) const SOAK: Long = Long {
    what: "30 minutes of three busy guests",
    test: "debian/hearth/three",
    variable: ("HEARTH_SOAK_MINUTES", "30"),
    roots: &[DEBIAN],
};
/// All that fio and stress-ng check.
pub(super) const FIO: Long = Long {
    what: "fio's and stress-ng's checks in a guest, all of them",
    test: "debian/hearth/fio",
    variable: ("HEARTH_FIO_WHOLE", "1"),
    roots: &[DEBIAN, PROVING],
};

impl Long {
    /// Runs it.
    ///
    /// # Errors
    /// When a Debian can't be built, or the test fails.
    pub(super) fn run(&self, workspace: &Workspace) -> Result<()> {
        for folder in self.roots {
            rootfs::of_checkout(workspace, folder)?;
        }
        let step = Step::start(self.what);
        let mut command = process::cargo(workspace.root());
        command.args(["test", "--package", "hearth-tests", "--test", "debian", "--", "--exact", self.test]);
        let (name, value) = self.variable;
        let done = command.env(name, value).env("CI", "true").output().context("starting cargo")?;
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
}
