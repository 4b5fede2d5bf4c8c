//! A running box whose log is read as it comes.

use super::qmp::{self, Qmp};
use super::{Artifacts, Machine};
use crate::{process, progress};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A box that runs until it ends by itself or this is dropped.
pub struct Session {
    child: Child,
    lines: Receiver<String>,
}

/// How waiting for an event ended.
#[derive(Debug)]
pub enum Ending {
    /// The event's line.
    Event(String),
    /// Why it did not come, as the beginning of a sentence.
    Bad(String),
}

impl Session {
    /// QEMU's whole command line, with the box's first serial port on standard output.
    ///
    /// # Errors
    /// As [`Machine::command_line`].
    pub fn command_line(machine: &Machine, artifacts: &Artifacts) -> Result<Vec<String>> {
        let mut command_line = machine.command_line(artifacts)?;
        command_line.extend(["-serial", "stdio"].map(str::to_owned));
        Ok(command_line)
    }

    /// Starts the box.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(machine: &Machine, artifacts: &Artifacts) -> Result<Self> {
        // The box reads nothing from its serial port. Left with the terminal, QEMU would change its
        // modes, and Ctrl-C would depend on them.
        Self::spawn(&Self::command_line(machine, artifacts)?, Stdio::null())
    }

    /// Starts the box, and a monitor beside it.
    ///
    /// # Errors
    /// When QEMU cannot be started, or does not answer.
    pub fn start_monitored(machine: &Machine, artifacts: &Artifacts) -> Result<(Self, Qmp)> {
        let (ours, theirs) = UnixStream::pair().context("making a pair of sockets")?;
        let mut command_line = machine.command_line(artifacts)?;
        // `-serial stdio` would read the serial port's input where the monitor's comes, and take some of it.
        let log = ["-chardev", "file,id=log,path=/dev/stdout", "-serial", "chardev:log"];
        command_line.extend(qmp::ON_STDIN.into_iter().chain(log).map(str::to_owned));
        let session = Self::spawn(&command_line, Stdio::from(OwnedFd::from(theirs)))?;
        Ok((session, Qmp::connect(ours)?))
    }

    fn spawn(command_line: &[String], input: Stdio) -> Result<Self> {
        let mut command = process::leashed(command_line)?;
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting QEMU; next: `cargo hearth doctor`")?;
        let output = child.stdout.take().context("QEMU's standard output")?;
        let complaints = child.stderr.take().context("QEMU's standard error")?;
        thread::spawn(move || {
            for line in log_lines(complaints).filter(|line| !is_expected(line)) {
                eprintln!("{line}");
            }
        });
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in log_lines(output) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Prints the log until QEMU ends.
    ///
    /// # Errors
    /// When QEMU says that it failed.
    pub fn show_all(mut self) -> Result<()> {
        for line in &self.lines {
            progress::result(&line);
        }
        let status = self.child.wait().context("waiting for QEMU")?;
        if !status.success() {
            bail!("QEMU ended with {status}; next: see what it says above");
        }
        Ok(())
    }

    /// Reads the log until `event` comes, QEMU ends, the box refuses to start, or `patience` is
    /// over. `each` is given every line.
    pub fn wait_for(
        &mut self,
        event: &str,
        patience: Option<Duration>,
        mut each: impl FnMut(&str),
    ) -> Ending {
        let deadline = patience.map(|patience| Instant::now() + patience);
        loop {
            let line = match deadline {
                None => self.lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match line {
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = patience.unwrap_or_default().as_secs();
                    return Ending::Bad(format!("{seconds} s have passed"));
                }
                Err(RecvTimeoutError::Disconnected) => return Ending::Bad(self.end()),
                Ok(line) => {
                    each(&line);
                    match event_of(&line) {
                        Some(found) if found == event => return Ending::Event(line),
                        Some("boot.refused") => {
                            return Ending::Bad(format!("the box refused to start ({line})"));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn end(&mut self) -> String {
        match self.child.wait() {
            Ok(status) => format!("QEMU ended ({status})"),
            Err(error) => format!("QEMU is lost ({error})"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Both fail only when the box has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether QEMU only says that its translator lacks a part of the CPU model, as it does of every
/// model worth asking for.
fn is_expected(line: &str) -> bool {
    line.contains("warning: TCG doesn't support requested feature")
}

/// The event of a log line `SECONDS.MICROS LEVEL event key=value …`.
pub fn event_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let (time, level, event) = (words.next()?, words.next()?, words.next()?);
    let (seconds, micros) = time.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let lawful = digits(seconds) && digits(micros) && level.bytes().all(|byte| byte.is_ascii_uppercase());
    lawful.then_some(event)
}

/// The value of a whole-number field of a log line.
pub fn number(line: &str, key: &str) -> Option<u64> {
    let value = |word: &str| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok();
    line.split_whitespace().find_map(value)
}

/// Lines of text as they come: firmware that shares the serial port draws on it with escape
/// sequences, which are left out, and so are lines that hold nothing else.
fn log_lines(stream: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(stream).split(b'\n').map_while(Result::ok).filter_map(|bytes| {
        let line = plain(&String::from_utf8_lossy(&bytes));
        (!line.trim().is_empty()).then(|| line.trim_end().to_owned())
    })
}

/// Text without control characters and escape sequences (ECMA-48, 5.4: `ESC [ … final byte`).
fn plain(text: &str) -> String {
    let mut kept = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            if characters.next() == Some('[') {
                let _ = characters.find(|character| ('@'..='~').contains(character));
            }
        } else if !character.is_control() || character == '\t' {
            kept.push(character);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_from_other_text() {
        assert_eq!(event_of("0.000042 INFO hv.ready tsc=5 door_tsc=3"), Some("hv.ready"));
        assert_eq!(event_of("BdsDxe: loading Boot0001"), None);
        assert_eq!(event_of("1.5 hv.ready"), None);
        assert_eq!(event_of("x.y INFO hv.ready"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let line = "0.000042 INFO hv.ready tsc=5 door_tsc=3";
        assert_eq!(
            (number(line, "tsc"), number(line, "door_tsc"), number(line, "door")),
            (Some(5), Some(3), None)
        );
    }

    #[test]
    fn firmwares_drawing_is_left_out() {
        let stream = b"\x1b[2J\x1b[01;01H\r\n\x1b[0m0.1 INFO a b=1\r\n\n\xffx";
        let lines: Vec<String> = log_lines(&stream[..]).collect();
        assert_eq!(lines, ["0.1 INFO a b=1", "\u{fffd}x"]);
    }
}
