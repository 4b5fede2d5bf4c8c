//! How long it takes from power-on until the launcher is on the screen.

use super::{BOOT_MAX, Row, count};
use crate::progress::Step;
use crate::qemu::{Accel, Artifacts, Door, Machine};
use anyhow::{Context, Result};

/// Counts the instructions.
///
/// # Errors
/// When there is no picture.
pub(super) fn boot(door: Door, artifacts: &Artifacts) -> Result<Row> {
    let machine = Machine { door, cpus: 1, accel: Accel::Icount, no_reboot: true, ..Machine::default() };
    let step = Step::start(format!("boot to the launcher through the {} door, twice", door.name()));
    let figure = count::until(&machine, artifacts, "ui.frame", "screen=launcher")
        .context("the launcher is not on the screen; next: `cargo hearth test tv/`")?;
    step.done("");
    Ok(Row {
        name: format!("boot {}, to the launcher", door.name()),
        figure,
        unit: "instructions",
        promise: Some(BOOT_MAX),
        repeats: true,
    })
}
