//! Instructions until a line is in the log.

use super::PATIENCE;
use crate::qemu::session::{Ending, Session};
use crate::qemu::{Artifacts, Machine};
use anyhow::{Context, Result, anyhow, bail};
use std::thread;

/// Instructions from power-on until the first line of `event` with `words` in it: the smaller count of two
/// boxes that run side by side. While a box sleeps it counts none, so it does not matter how long its disk
/// takes. The count is asked for when the line has been read, and by then may hold a few milliseconds too
/// much, never too little.
///
/// # Errors
/// It does not come.
pub(super) fn until(machine: &Machine, artifacts: &Artifacts, event: &str, words: &str) -> Result<u64> {
    let counts = thread::scope(|scope| {
        let boxes = [(); 2].map(|()| scope.spawn(|| one(machine, artifacts, event, words)));
        boxes.map(|counted| counted.join().map_err(|_| anyhow!("counting came to a sudden end"))?)
    });
    let [first, second] = counts;
    Ok(first?.min(second?))
}

fn one(machine: &Machine, artifacts: &Artifacts, event: &str, words: &str) -> Result<u64> {
    let (mut session, mut monitor) = Session::start_monitored(machine, artifacts)?;
    loop {
        match session.wait_for(event, Some(PATIENCE), |_| {}) {
            Ending::Bad(why) => bail!("{why}, and there was no {event} with {words:?}"),
            Ending::Event(line) if line.contains(words) => {
                return monitor.instructions().context("counting instructions");
            }
            Ending::Event(_) => {}
        }
    }
}
