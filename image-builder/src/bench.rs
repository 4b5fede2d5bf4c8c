//! `hearth bench`: the figures that are promised, measured.
//!
//! Time is counted in instructions: with `-icount shift=0` every instruction takes one tick of the
//! virtual clock and of the time stamp counter (QEMU, "TCG Instruction Counting"), so a figure says
//! the same on every computer, however busy. Each is measured twice, and a difference is a failure.

mod count;
mod coverage;
mod exits;
mod guest;
mod hostile;
mod io;
mod long;
mod picture;
mod robust;
mod television;

use crate::appliances;
use crate::image::{self, Built, HV_MEMORY_MAX};
use crate::progress::{self, Step};
use crate::qemu::session::{Ending, Session, number};
use crate::qemu::{Accel, Artifacts, Door, Machine, OvmfSize};
use crate::setup::{self, firmware, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use hv_abi::flash::MAX_ROM;
use std::path::Path;
use std::time::Duration;

/// Longer than any boot takes, even on a busy computer.
const PATIENCE: Duration = Duration::from_mins(10);
/// Promised: power-on to the first picture of the launcher through the rom or pvh door, in instructions; `hv.ready` is a part of it.
const BOOT_MAX: u64 = 1_000_000_000;

/// What `hearth bench` is asked.
#[derive(Args)]
pub struct Arguments {
    /// What to measure; all when left out
    #[arg(value_enum)]
    what: Option<What>,
    /// Of robust, one part only
    #[arg(value_enum)]
    part: Option<robust::Part>,
}

/// Something that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// From power-on to `hv.ready`, to the launcher, and to a guest's first program.
    Boot,
    /// What it costs a guest to be interrupted by hv, beside KVM and Xen.
    Exits,
    /// How the television keeps up with keys, and with a guest that wants all of it.
    Tv,
    /// That guests which do anything at all break nothing.
    Robust,
    /// How many lines of hv/core its tests reach.
    Coverage,
    /// What disk and network give a Debian guest, beside KVM; only when it is asked for.
    Io,
    /// All that fio and stress-ng check in a guest; only when it is asked for.
    Fio,
    /// Half an hour of three busy guests; only when it is asked for.
    Soak,
}

/// One line of the table.
struct Row {
    name: String,
    figure: u64,
    unit: &'static str,
    promise: Option<u64>,
    repeats: bool,
}

impl Row {
    fn kept(&self) -> bool {
        self.repeats && self.promise.is_none_or(|promise| self.figure <= promise)
    }
}

/// Runs the command.
///
/// # Errors
/// When a box does not come up, a figure differs from run to run, or a promise is broken.
pub fn command(arguments: &Arguments, yes: bool) -> Result<()> {
    let workspace = Workspace::find()?;
    let wanted = |what| arguments.what.is_none_or(|asked| asked == what);
    if arguments.part.is_some() && arguments.what != Some(What::Robust) {
        bail!("only robust has parts; next: `cargo hearth bench --help`");
    }
    if wanted(What::Robust) {
        robust::measure(&workspace, arguments.part, yes)?;
    }
    if wanted(What::Coverage) {
        coverage::measure(&workspace, arguments.what.is_some())?;
    }
    if wanted(What::Tv) {
        television::measure(&workspace, yes)?;
    }
    if matches!(arguments.what, Some(What::Robust | What::Coverage | What::Tv)) {
        return Ok(());
    }
    let toolbox = setup::ensure(&Need::FOR_RUN, yes)?;
    let built = image::build(&workspace, &toolbox, &appliances::without_roots(&workspace)?)?;
    let mut rows = Vec::new();
    if wanted(What::Boot) {
        for door in Door::ALL {
            rows.push(boot(door, &built.artifacts)?);
        }
        for door in [Door::Rom, Door::Pvh] {
            rows.push(picture::boot(door, &built.artifacts)?);
        }
        rows.push(guest::boot(&workspace, &built.artifacts, yes)?);
    }
    rows.extend(sizes(&built));
    print(&rows);
    if matches!(arguments.what, Some(What::Io | What::Fio | What::Soak)) {
        setup::provide(&Need::FOR_ROOTFS, yes)?;
    }
    match arguments.what {
        Some(What::Io) => io::measure(&workspace)?,
        Some(What::Fio) => long::FIO.run(&workspace)?,
        Some(What::Soak) => long::SOAK.run(&workspace)?,
        _ => {}
    }
    if wanted(What::Exits) {
        exits::measure(&workspace, &toolbox)?;
    }
    let broken: Vec<&str> = rows.iter().filter(|row| !row.kept()).map(|row| row.name.as_str()).collect();
    if !broken.is_empty() {
        bail!("not as promised: {}; next: find what changed it", broken.join(", "));
    }
    Ok(())
}

fn sizes(built: &Built) -> [Row; 2] {
    let row = |name: &str, figure, promise| Row {
        name: name.to_owned(),
        figure,
        unit: "bytes",
        promise: Some(promise),
        repeats: true,
    };
    [row("hearth.rom", built.rom_len, MAX_ROM), row("hv loaded", built.hv_memory, HV_MEMORY_MAX)]
}

fn boot(door: Door, artifacts: &Artifacts) -> Result<Row> {
    let step = Step::start(format!("boot through the {} door, twice", door.name()));
    let (first, second) = match count_twice(door, artifacts) {
        Ok(counted) => counted,
        Err(error) => {
            step.failed();
            return Err(error);
        }
    };
    let repeats = first == second;
    step.done(&if repeats { String::new() } else { format!("{first}, then {second}") });
    let (name, promise) = match door {
        // What OVMF does before it starts us is not ours to promise.
        Door::Uefi => ("boot uefi, from our entry", None),
        // A part of what is promised to the first picture.
        Door::Rom => ("boot rom, to hv.ready", Some(BOOT_MAX)),
        Door::Pvh => ("boot pvh, to hv.ready", Some(BOOT_MAX)),
    };
    Ok(Row { name: name.to_owned(), figure: first, unit: "instructions", promise, repeats })
}

/// Instructions to `hv.ready`, of two boxes that run side by side: what else the computer does
/// makes no difference to them.
fn count_twice(door: Door, artifacts: &Artifacts) -> Result<(u64, u64)> {
    let sizes = firmware::sizes(Path::is_file);
    let machine = Machine {
        door,
        cpus: 1,
        accel: Accel::Icount,
        ovmf: sizes.first().copied().unwrap_or(OvmfSize::FourMiB),
        no_reboot: true,
        direct_efi: (door == Door::Uefi).then(|| (artifacts.application(), artifacts.payload())),
        ..Machine::default()
    };
    let first = Session::start(&machine, artifacts)?;
    let second = Session::start(&machine, artifacts)?;
    Ok((count(door, first)?, count(door, second)?))
}

fn count(door: Door, mut session: Session) -> Result<u64> {
    let mut log = Vec::new();
    match session.wait_for("hv.ready", Some(PATIENCE), |line| log.push(line.to_owned())) {
        Ending::Bad(why) => bail!(
            "{why}, and the box did not say hv.ready through the {} door; its log:\n{}\nnext: see why with \
             `cargo hearth run --headless --door {}`",
            door.name(),
            log.join("\n"),
            door.name()
        ),
        Ending::Event(line) => {
            let tsc = number(&line, "tsc");
            let start = if door == Door::Uefi { number(&line, "door_tsc") } else { Some(0) };
            let count = tsc.zip(start).and_then(|(tsc, start)| tsc.checked_sub(start));
            count.with_context(|| format!("this line has no sound time stamps: {line}"))
        }
    }
}

fn print(rows: &[Row]) {
    progress::result(&format!("{:28} {:>15} {:>15}  unit", "", "measured", "promised"));
    for row in rows {
        let promise = row.promise.map_or("-".to_owned(), digits);
        let word = match row {
            Row { repeats: false, .. } => "  DIFFERS from run to run",
            row if row.kept() => "",
            _ => "  BROKEN",
        };
        progress::result(&format!(
            "{:28} {:>15} {:>15}  {}{word}",
            row.name,
            digits(row.figure),
            promise,
            row.unit
        ));
    }
}

/// A number with its digits in groups of three.
fn digits(number: u64) -> String {
    let text = number.to_string();
    let groups: Vec<&str> =
        text.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or("")).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0, 999, 1000, 1_234_567].map(digits), ["0", "999", "1 000", "1 234 567"]);
    }

    #[test]
    fn a_promise_is_kept_or_broken() {
        let row = |figure, promise, repeats| Row { name: String::new(), figure, unit: "", promise, repeats };
        assert!(row(5, Some(5), true).kept() && row(5, None, true).kept());
        assert!(!row(6, Some(5), true).kept() && !row(1, Some(5), false).kept());
    }
}
