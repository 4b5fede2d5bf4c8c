//! One running Bochs 2.7, unattended: `hearth.rom` on a CPU with Intel's virtualization, which
//! QEMU does not emulate.

use crate::log::BoxLog;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Debian's program; `bochs` is a wrapper around it.
pub const PROGRAM: &str = "bochs-bin";
/// What the program needs beside itself.
const VIDEO_BIOS: &str = "/usr/share/bochs/VGABIOS-lgpl-latest";

/// A box that runs until it is dropped.
pub struct Bochs {
    /// Its log.
    pub log: BoxLog,
    child: Child,
    scratch: TempDir,
}

/// Why Bochs cannot run here, if it cannot.
pub fn missing() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file());
    let bios = Path::new(VIDEO_BIOS).exists();
    let packages = "next: `apt-get install bochs bochsbios vgabios`";
    match (program, bios) {
        (false, _) => Some(format!("{PROGRAM} is not in PATH; {packages}")),
        (true, false) => Some(format!("{VIDEO_BIOS} is not there; {packages}")),
        (true, true) => None,
    }
}

impl Bochs {
    /// Starts `rom` as the BIOS of a box with `memory_mib` of RAM.
    ///
    /// # Errors
    /// Bochs does not start.
    pub fn start(rom: &Path, memory_mib: u64) -> Result<Self> {
        let scratch = tempfile::tempdir().context("making a folder for Bochs")?;
        let settings = settings(rom, memory_mib);
        fs::write(scratch.path().join("bochsrc"), settings).context("writing Bochs's settings")?;
        // Debian's build starts in its debugger: one command, continue.
        fs::write(scratch.path().join("rc"), "c\n").context("writing Bochs's first command")?;
        let talk = File::create(scratch.path().join("talk")).context("making a file for Bochs's talk")?;
        let mut child = Command::new(PROGRAM)
            .args(["-q", "-f", "bochsrc", "-rc", "rc"])
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::from(talk))
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {PROGRAM}; next: `cargo hearth doctor`"))?;
        let log = BoxLog::follow(child.stderr.take().context("Bochs's standard error")?);
        Ok(Self { log, child, scratch })
    }

    /// Runs `test` on the box; its error is told with the end of Bochs's own log.
    ///
    /// # Errors
    /// `test`'s, or that the log breaks its rules.
    pub fn check<T>(mut self, test: impl FnOnce(&mut BoxLog) -> Result<T>) -> Result<T> {
        let outcome = test(&mut self.log).and_then(|value| self.log.check().map(|()| value));
        outcome.map_err(|error| {
            let words = fs::read_to_string(self.scratch.path().join("bochs.log")).unwrap_or_default();
            let from = words.lines().count().saturating_sub(10);
            let last: Vec<&str> = words.lines().skip(from).collect();
            error.context(format!("Bochs said:\n{}", last.join("\n")))
        })
    }
}

impl Drop for Bochs {
    fn drop(&mut self) {
        // Both fail only if Bochs has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bochs 2.7 user manual, "bochsrc".
///
/// COM1 goes to standard error, because a "file" can be followed without polling only if it is a
/// pipe; Bochs's own words go to a file instead. Sound is off in every place: Debian's build
/// aborts on a computer without a sound card otherwise.
fn settings(rom: &Path, memory_mib: u64) -> String {
    format!(
        "display_library: rfb, options=\"timeout=0\"
plugin_ctrl: sb16=0, es1370=0
speaker: enabled=0
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
memory: guest={memory_mib}, host={memory_mib}
romimage: file={}
vgaromimage: file={VIDEO_BIOS}
cpu: model=corei7_haswell_4770, count=1, ips=50000000, reset_on_triple_fault=0
port_e9_hack: enabled=1
com1: enabled=1, mode=file, dev=/dev/stderr
log: bochs.log
panic: action=fatal
",
        rom.display()
    )
}
