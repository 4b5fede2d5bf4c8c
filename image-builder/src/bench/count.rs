//! Instructions until a line is in the log, where time is counted in them.

use super::PATIENCE;
use crate::qemu::session::{Ending, Session, number};
use anyhow::{Context, Result, bail};

/// Microseconds in a second, ticks of a kilohertz clock in a second.
const MICROS: u64 = 1_000_000;
const TICKS_PER_KHZ: u64 = 1000;

/// Instructions from power-on until the first line of `event` with `words` in it, to a microsecond's worth
/// of them.
///
/// # Errors
/// It does not come.
pub(super) fn count(mut session: Session, event: &str, words: &str) -> Result<u64> {
    let mut khz = None;
    loop {
        let clock = |line: &str| {
            khz = khz.or_else(|| line.contains(" hv.timer ").then(|| number(line, "tsc_khz"))?);
        };
        match session.wait_for(event, Some(PATIENCE), clock) {
            Ending::Bad(why) => bail!("{why}, and there was no {event} with {words:?}"),
            Ending::Event(line) if line.contains(words) => {
                let micros = micros(&line).with_context(|| format!("this line has no time: {line}"))?;
                let khz = khz.context("the log never said how fast its clock runs")?;
                return Ok(micros * khz / (MICROS / TICKS_PER_KHZ));
            }
            Ending::Event(_) => {}
        }
    }
}

/// The time of a log line, in microseconds.
fn micros(line: &str) -> Option<u64> {
    let (seconds, micros) = line.split_whitespace().next()?.split_once('.')?;
    seconds.parse::<u64>().ok()?.checked_mul(MICROS)?.checked_add(micros.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::micros;

    #[test]
    fn a_lines_time_is_read() {
        assert_eq!(micros("5.000042 INFO vm.console vm=debian"), Some(5_000_042));
        assert_eq!(micros("SeaBIOS (version 1.16.2)"), None);
    }
}
