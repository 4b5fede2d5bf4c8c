//! How long it takes from power-on until the launcher is on the screen.

use super::Row;
use super::count::count;
use crate::progress::Step;
use crate::qemu::session::Session;
use crate::qemu::{Accel, Artifacts, Door, Machine};
use anyhow::{Context, Result};

/// Counts twice, side by side, and takes the smaller. The launcher is drawn while disk and network answer, each
/// in its own time; while nobody has anything to do meanwhile, the clock jumps to the next timer. So a busy
/// computer adds to the figure, which therefore is told beside what is promised (10^9), and not held to it.
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
    let figure = first?.min(second?);
    step.done("");
    Ok(Row {
        name: format!("boot {}, to the launcher", door.name()),
        figure,
        unit: "instructions",
        promise: None,
        repeats: true,
    })
}
