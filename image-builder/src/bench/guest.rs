//! How long it takes from power-on until a guest's own first program runs: Debian's kernel with
//! nothing but an initrd, beside the same under KVM and Xen.

use super::{Row, count};
use crate::image;
use crate::progress::Step;
use crate::qemu::{Accel, Artifacts, Door, Machine};
use crate::recipe::Recipe;
use crate::rootfs::{self, DEBIAN};
use crate::setup::{self, needs::Need};
use crate::system::Ready;
use crate::workspace::Workspace;
use anyhow::{Context, Result};

/// What the guest's first program says.
const WORDS: &str = "hearth-init";

/// Promised, in instructions. The same kernel and initrd, started by QEMU itself without Hearth, take 2.51 × 10⁹
/// to the same words by the same count.
const INIT_MAX: u64 = 7_000_000_000;

/// Counts the instructions.
///
/// # Errors
/// When Debian can't be built, or the guest does not come so far.
pub(super) fn boot(workspace: &Workspace, built: &Artifacts, yes: bool) -> Result<Row> {
    setup::provide(&Need::FOR_ROOTFS, yes)?;
    let products = rootfs::of_checkout(workspace, DEBIAN)?;
    let mut recipe = Recipe::read(&workspace.root().join(DEBIAN))?;
    recipe.cpus = 1;
    recipe.disks.clear();
    recipe.cmdline = format!("console=ttyS0 quiet rdinit=/bin/busybox -- echo {WORDS}");
    let folder = tempfile::tempdir_in(&built.dir).context("making a folder for a box")?;
    let appliances = [Ready { recipe, products: Some(products) }];
    let artifacts = image::with_appliances(built, folder.path(), &appliances)?;
    let machine =
        Machine { door: Door::Rom, cpus: 1, accel: Accel::Icount, no_reboot: true, ..Machine::default() };
    let step = Step::start("boot to the first program of a Debian guest, twice");
    let figure = count::until(&machine, &artifacts, "vm.console", WORDS)
        .context("the guest's first program did not run; next: `cargo hearth test debian/`")?;
    step.done("");
    Ok(Row {
        name: "boot rom, to a guest's /init".to_owned(),
        figure,
        unit: "instructions",
        promise: Some(INIT_MAX),
        repeats: true,
    })
}
