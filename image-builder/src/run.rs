//! `hearth run`: from a checkout to a box in a window, its log on standard output.

use crate::appliances::{self, Choice};
use crate::image;
use crate::progress;
use crate::qemu::session::{Ending, Session};
use crate::qemu::{Accel, Door, Machine, OvmfSize, shell_quoted};
use crate::setup::{self, firmware, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::env;
use std::path::{Path, PathBuf};

/// What `hearth run` is asked.
#[derive(Args)]
pub struct Arguments {
    /// Show no window
    #[arg(long)]
    headless: bool,
    /// The way into the machine
    #[arg(long, value_enum, default_value_t = Door::Uefi)]
    door: Door,
    /// The box's memory, such as 2G or 512M
    #[arg(long, value_name = "SIZE", value_parser = memory_mib, default_value = "2G")]
    memory: u64,
    /// The box's CPUs
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=255), default_value_t = 2)]
    cpus: u32,
    /// The box's board
    #[arg(long, value_enum, default_value_t = Board::Q35)]
    board: Board,
    /// What executes the box's instructions
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    accel: Accel,
    /// Options for hv, separated by spaces
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    options: String,
    /// End well when the log says this event, badly when QEMU ends before
    #[arg(long, value_name = "EVENT")]
    until: Option<String>,
    #[command(flatten)]
    appliances: Choice,
    /// Print QEMU's command line and do nothing else
    #[arg(long)]
    dry_run: bool,
    /// More arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    extra: Vec<String>,
}

/// A board that QEMU emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Board {
    /// PCI Express, AHCI: a PC of the last fifteen years.
    Q35,
    /// PCI, IDE: a PC of the nineties.
    Pc,
}

impl Arguments {
    fn machine(&self, window: bool) -> Machine {
        let sizes = firmware::sizes(Path::is_file);
        Machine {
            door: self.door,
            board: match self.board {
                Board::Q35 => "q35".to_owned(),
                Board::Pc => "pc".to_owned(),
            },
            cpus: self.cpus,
            memory_mib: self.memory,
            accel: self.accel,
            network: true,
            sound: Some(speaker(window).to_owned()),
            ovmf: sizes.first().copied().unwrap_or(OvmfSize::FourMiB),
            options: self.options.clone(),
            window,
            no_reboot: self.until.is_some(),
            extra: self.extra.clone(),
            ..Machine::default()
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When something needed is missing, does not build or start, or the awaited event does not come.
pub fn command(arguments: &Arguments, yes: bool) -> Result<()> {
    let workspace = Workspace::find()?;
    let window = !arguments.headless && screen_is_here();
    if !arguments.headless && !window {
        eprintln!(
            "There is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set), so the box runs without a window."
        );
    }
    if arguments.dry_run {
        let command_line = Session::command_line(&arguments.machine(window), &workspace.artifacts())?;
        progress::result(&shell_quoted(&command_line));
        return Ok(());
    }
    let mut needs = Need::FOR_RUN.to_vec();
    if window {
        needs.push(Need::Window);
    }
    let toolbox = setup::ensure(&needs, yes)?;
    let appliances = appliances::gather(&workspace, &arguments.appliances, yes)?;
    let built = image::build(&workspace, &toolbox, &appliances)?;
    // OVMF may have come only now.
    let machine = arguments.machine(window);
    let mut session = Session::start(&machine, &built.artifacts)?;
    eprintln!("The box's log follows; Ctrl-C ends it.");
    let Some(event) = &arguments.until else {
        return session.show_all();
    };
    match session.wait_for(event, None, progress::result) {
        Ending::Event(_) => Ok(()),
        Ending::Bad(why) => bail!("{why}, and {event} was not seen; next: read the log above"),
    }
}

/// Whether QEMU could open a window: macOS always has a screen, elsewhere a display server says so.
fn screen_is_here() -> bool {
    cfg!(target_os = "macos") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some())
}

/// Where the box's sound goes, as after `-audiodev`: with the window to this computer's loudspeaker, if there is a way
/// that QEMU knows. A box without a window is not heard.
fn speaker(window: bool) -> &'static str {
    let folder = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let server = folder.is_some_and(|folder| folder.join("pulse/native").exists());
    match window {
        true if cfg!(target_os = "macos") => "coreaudio",
        // PipeWire answers there as well.
        true if server || env::var_os("PULSE_SERVER").is_some() => "pa",
        _ => "none",
    }
}

/// Mebibytes from `2G`, `512M` or a plain number of mebibytes.
fn memory_mib(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'G' | 'g')) => (&text[..at], 1024),
        Some((at, 'M' | 'm')) => (&text[..at], 1),
        _ => (text, 1),
    };
    let number: Option<u64> = number.parse().ok();
    let mib = number.and_then(|number| number.checked_mul(unit)).filter(|&mib| mib > 0);
    mib.ok_or_else(|| "a size reads like 2G or 512M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(memory_mib("2G"), Ok(2048));
        assert_eq!(memory_mib("512M"), Ok(512));
        assert_eq!(memory_mib("700"), Ok(700));
        for wrong in ["", "G", "0M", "-1G", "2T", "99999999999999999999G", "18446744073709551615G"] {
            assert!(memory_mib(wrong).is_err(), "{wrong}");
        }
    }
}
