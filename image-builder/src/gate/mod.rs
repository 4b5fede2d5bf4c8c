//! `hearth test`: the gate. What a developer runs is what CI runs.
//!
//! Every step runs, whatever failed before, so that one run shows everything; the very last line
//! of output is `N passed, N failed`.

pub(crate) mod sources;
mod steps;
mod tally;

use crate::rootfs;
use crate::setup::{self, needs::Need};
use crate::workspace::Workspace;
use anyhow::Result;
use clap::Args;
use steps::Steps;
use tally::Gate;

/// What `hearth test` is asked.
#[derive(Args)]
pub struct Arguments {
    /// Run only the QEMU tests whose name contains this
    name: Option<String>,
    /// Run everything but the QEMU tests
    #[arg(long, conflicts_with = "name")]
    quick: bool,
}

/// Runs the command. Answers whether all passed.
///
/// # Errors
/// When something needed is missing, so that nothing was run.
pub fn command(arguments: &Arguments, yes: bool) -> Result<bool> {
    let workspace = Workspace::find()?;
    let needs = if arguments.quick { &Need::FOR_IMAGE[..] } else { &Need::FOR_TEST };
    let toolbox = setup::ensure(needs, yes)?;
    let steps = Steps { workspace: &workspace, toolbox: &toolbox };
    let mut gate = Gate::default();
    if arguments.name.is_none() {
        gate.check("Cargo.lock is current", || steps.lock_file());
        gate.check("formatting", || steps.formatting());
        gate.check("file sizes", || sources::sizes(workspace.root()));
        gate.check("unsafe places", || sources::unsafe_places(workspace.root()));
        gate.check("lines of hv", || sources::hypervisor_lines(workspace.root()));
        gate.check("clippy, host", || steps.clippy_host());
        gate.tests("host tests", |line| steps.host_tests(line));
    }
    gate.check("images, with their promises", || steps.images());
    if arguments.name.is_none() {
        gate.check("clippy, bare metal", || steps.clippy_bare());
        gate.check("hard-float target builds ui", || steps.hard_float());
    }
    if !arguments.quick {
        gate.check("Debian for the tests", || steps.debian(rootfs::DEBIAN, yes));
        gate.check("Debian with fio and stress-ng", || steps.debian(rootfs::PROVING, yes));
        gate.tests("QEMU tests", |line| steps.qemu_tests(arguments.name.as_deref(), line));
    }
    Ok(gate.sum_up())
}
