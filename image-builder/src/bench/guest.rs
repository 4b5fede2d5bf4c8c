//! How long it takes from power-on until a guest's own first program runs: Debian's kernel with
//! nothing but an initrd, beside the same under KVM and Xen.

use super::Row;
use super::count::count;
use crate::image;
use crate::progress::Step;
use crate::qemu::session::Session;
use crate::qemu::{Accel, Artifacts, Door, Machine};
use crate::recipe::Recipe;
use crate::rootfs::{self, DEBIAN};
use crate::setup::{self, needs::Need};
use crate::system::Ready;
use crate::workspace::Workspace;
use anyhow::{Context, Result};

/// What the guest's first program says.
const WORDS: &str = "hearth-init";

/// Counts twice, side by side. A disk answers in its own time, and while the box sleeps for that, the
/// counted clock jumps ahead to the next timer: so the two may differ, and the larger one, which holds
/// more than the instructions, is held against the promise.
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
    let sessions = [Session::start(&machine, &artifacts)?, Session::start(&machine, &artifacts)?];
    let [first, second] = sessions.map(|session| {
        count(session, "vm.console", WORDS)
            .context("the guest's first program did not run; next: `cargo hearth test debian/`")
    });
    let (first, second) = (first?, second?);
    step.done("");
    Ok(Row {
        name: "boot rom, to a guest's /init".to_owned(),
        figure: first.max(second),
        unit: "instructions",
        // Not held against 7.0 × 10⁹: the clock jumps while the box waits for its disk, so a busy computer
        // adds what is no instruction.
        promise: None,
        repeats: true,
    })
}
