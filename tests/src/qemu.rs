//! One running QEMU: the box log on its standard output, QMP on a socket, a folder of its own.

use crate::log::BoxLog;
use crate::screen::Screen;
use crate::{PATIENCE, artifacts, emulator};
use anyhow::{Context, Error, Result, bail, ensure};
use image_builder::qemu::qmp::{self, Qmp};
use image_builder::qemu::{Artifacts, Machine, shell_quoted};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often the CPUs are looked at while they are to halt: QEMU reports no event for it.
const LOOK: Duration = Duration::from_millis(20);

/// A box that runs until it is dropped.
pub struct Qemu {
    /// Its log.
    pub log: BoxLog,
    /// Its machine monitor.
    pub qmp: Qmp,
    child: Child,
    command_line: Vec<String>,
    scratch: TempDir,
}

impl Qemu {
    /// Starts a box with the artifacts of the last build.
    ///
    /// # Errors
    /// They are not there, or QEMU does not start.
    pub fn start(machine: &Machine) -> Result<Self> {
        Self::start_with(machine, &artifacts()?)
    }

    /// Starts a box with other artifacts.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn start_with(machine: &Machine, artifacts: &Artifacts) -> Result<Self> {
        let scratch = tempfile::tempdir().context("making a folder for QEMU")?;
        let mut command_line = machine.command_line(artifacts)?;
        let (ours, theirs) = UnixStream::pair().context("making a pair of sockets")?;
        command_line.extend(qmp::ON_STDIN.map(str::to_owned));
        let log = ["-chardev", "file,id=log,path=/dev/stdout", "-serial", "chardev:log"];
        command_line.extend(log.map(str::to_owned));
        let words = File::create(scratch.path().join("words")).context("making a file for QEMU's words")?;
        let mut child = Command::new(&command_line[0])
            .args(&command_line[1..])
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(words))
            .spawn()
            .with_context(|| format!("starting {}; next: `cargo hearth doctor`", command_line[0]))?;
        let log = BoxLog::follow(child.stdout.take().context("QEMU's standard output")?);
        match Qmp::connect(ours) {
            Ok(qmp) => Ok(Self { log, qmp, child, command_line, scratch }),
            Err(error) => {
                stop(&mut child);
                Err(explain(error, &command_line, &scratch))
            }
        }
    }

    /// Runs `test` on the box; its error is told with the command line and QEMU's own words.
    ///
    /// # Errors
    /// `test`'s, or that the log breaks its rules; with [`emulator::Broken`] if it is QEMU's own doing.
    pub fn check<T>(mut self, test: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let outcome = test(&mut self).and_then(|value| self.log.check().map(|()| value));
        outcome.map_err(|error| {
            let error = explain(error, &self.command_line, &self.scratch);
            if emulator::broke(&self.log.events()) { error.context(emulator::Broken) } else { error }
        })
    }

    /// The picture on the box's screen.
    ///
    /// # Errors
    /// QEMU does not give it.
    pub fn screen(&mut self) -> Result<Screen> {
        let file = self.scratch.path().join("screen.ppm");
        self.qmp.screendump(&file)?;
        Screen::from_ppm(&fs::read(&file).with_context(|| format!("reading {}", file.display()))?)
    }

    /// Waits until every CPU halts for good: HLT with interrupts off, or where the firmware parked it.
    ///
    /// # Errors
    /// One still runs, or could go on.
    pub fn wait_until_halted(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let registers = self.qmp.monitor("info registers -a")?;
            let halted = halted_for_good(&registers);
            let awake = halted.iter().filter(|&&halted| !halted).count();
            if awake == 0 {
                ensure!(!halted.is_empty(), "QEMU shows no CPU:\n{registers}");
                return Ok(());
            }
            if Instant::now() > deadline {
                let states: Vec<&str> = registers.lines().filter(|line| line.contains(" HLT=")).collect();
                bail!("{awake} CPUs do not halt\n{}\n{}", states.join("\n"), self.log.tail());
            }
            if let Some(event) = self.qmp.next_event(&["RESET", "SHUTDOWN"], LOOK)? {
                bail!("instead of halting, the box left: {event}\n{}", self.log.tail());
            }
        }
    }

    /// Waits until QEMU itself has ended.
    ///
    /// # Errors
    /// It still runs after a while.
    pub fn wait_for_end(&mut self) -> Result<()> {
        self.log.wait_for_end(PATIENCE)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// For each CPU in the monitor's `info registers -a`: whether it halts with interrupts off, so that
/// only an NMI or a reset wakes it.
///
/// A CPU that is not in long mode, interrupts off, was never ours: OVMF parks those with MWAIT, which
/// TCG runs as a pause, so they show as running (QEMU 7.2, target/i386/tcg/misc_helper.c).
fn halted_for_good(registers: &str) -> Vec<bool> {
    const INTERRUPT_FLAG: u32 = 1 << 9;
    let is_off = |line: &str| {
        let flags = line.split(' ').find_map(|word| word.strip_prefix("RFL=").or(word.strip_prefix("EFL=")));
        let flags = flags.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        flags.is_some_and(|flags| flags & INTERRUPT_FLAG == 0)
    };
    let lines = registers.lines().filter(|line| line.contains(" HLT=")).enumerate();
    lines
        .map(|(cpu, line)| {
            let parked = cpu > 0 && line.starts_with("EIP=");
            is_off(line) && (line.contains(" HLT=1") || parked)
        })
        .collect()
}

fn stop(child: &mut Child) {
    // Both fail only if QEMU has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn explain(error: Error, command_line: &[String], scratch: &TempDir) -> Error {
    let words = fs::read_to_string(scratch.path().join("words")).unwrap_or_default();
    // TCG lists what it lacks of the CPU model at every start.
    let words: Vec<&str> = words.lines().filter(|line| !line.contains("TCG doesn't support")).collect();
    error.context(format!("{}\nQEMU said: {}", shell_quoted(command_line), words.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_halts_for_good_is_told_from_an_idle_one() {
        let registers = "CPU#0\r\nRIP=ffffffff80001234 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
            CPU#1\r\nRIP=ffffffff80001234 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
            CPU#2\r\nRIP=ffffffff80001234 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n\
            CPU#3\r\nEIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
            CPU#4\r\nEIP=1f76b0e9 EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n";
        assert_eq!(halted_for_good(registers), [true, false, false, true, true]);
        let door = "EIP=1f76b0e9 EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n";
        assert_eq!(halted_for_good(door), [false]);
    }
}
