//! How long it takes from power-on until the launcher is on the screen.

use super::count::count;
use super::{BOOT_MAX, Row};
use crate::progress::Step;
use crate::qemu::session::Session;
use crate::qemu::{Accel, Artifacts, Door, Machine};
use anyhow::{Context, Result};

/// Counts twice, side by side. The launcher is drawn while disk and network answer, each in its own time,
/// and so the two may differ by what else has its turn between the pieces of the picture; the larger one is
/// held against the promise.
///
/// # Errors
/// When there is no picture.
pub(super) fn boot(door: Door, artifacts: &Artifacts) -> Result<Row> {
    let machine = Machine { door, cpus: 1, accel: Accel::Icount, no_reboot: true, ..Machine::default() };
    let step = Step::start(format!("boot to the launcher through the {} door, twice", door.name()));
    let sessions = [Session::start(&machine, artifacts)?, Session::start(&machine, artifacts)?];
    let [first, second] = sessions.map(|session| {
        count(session, "ui.frame", "screen=launcher")
            .context("the launcher is not on the screen; next: `cargo hearth test tv/`")
    });
    let figure = first?.max(second?);
    step.done("");
    Ok(Row {
        name: format!("boot {}, to the launcher", door.name()),
        figure,
        unit: "instructions",
        promise: Some(BOOT_MAX),
        repeats: true,
    })
}
