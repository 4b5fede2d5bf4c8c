//! Follows the box log while the box runs, and waits for what is to happen.
//!
//! One thread reads what the serial port sends; whoever waits sleeps on a condition variable that
//! the thread rings for every line and at the end. Nothing here polls.

use crate::event::{Event, Line};
use anyhow::{Result, anyhow, bail};
use std::fmt::Write as _;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines an error shows.
const TAIL: usize = 40;
/// How long the last words of a dying box may take, once the first of them is there.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Events after which a box that is to come up does not come up any more.
const FATAL: [&str; 2] = ["panic", "boot.refused"];

/// The box log, as far as it came.
pub struct BoxLog {
    shared: Arc<Shared>,
    /// Lines that earlier waits have passed.
    passed: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<(String, Line)>,
    /// Bytes of a line that has no end yet.
    rest: Vec<u8>,
    ended: bool,
}

impl BoxLog {
    /// Follows `source` until it ends.
    pub fn follow(source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        std::thread::spawn(move || reader.read(source));
        Self { shared, passed: 0 }
    }

    /// Waits for the next event called `name`.
    ///
    /// # Errors
    /// As [`BoxLog::wait_until`].
    pub fn wait_for(&mut self, name: &str, patience: Duration) -> Result<Event> {
        self.wait_until(name, patience, |event| event.name == name)
    }

    /// Waits for the next event that `wanted` accepts; `what` names it in errors.
    ///
    /// # Errors
    /// The box ended, refused or panicked instead, or `patience` ran out; with the log's tail.
    pub fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<Event> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            while let Some((_, line)) = state.lines.get(self.passed) {
                self.passed += 1;
                match line.event() {
                    Some(event) if wanted(event) => return Ok(event.clone()),
                    Some(event) if FATAL.contains(&event.name.as_str()) => {
                        let event = event.clone();
                        let state = self.shared.last_words(state, self.passed);
                        bail!("waiting for {what}, got `{event}`\n{}", state.tail());
                    }
                    _ => {}
                }
            }
            if state.ended {
                bail!("waiting for {what}, the serial line ended\n{}", state.tail());
            }
            state = match self.shared.wait(state, deadline) {
                Ok(state) => state,
                Err(state) => bail!("{what} did not come in {patience:?}\n{}", state.tail()),
            };
        }
    }

    /// Waits until the serial line ends: the box is gone.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub fn wait_for_end(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while !state.ended {
            state = self
                .shared
                .wait(state, deadline)
                .map_err(|state| anyhow!("the serial line did not end in {patience:?}\n{}", state.tail()))?;
        }
        Ok(())
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<Event> {
        self.shared.lock().lines.iter().filter_map(|(_, line)| line.event().cloned()).collect()
    }

    /// The last event called `name` so far.
    ///
    /// # Errors
    /// There was none; with the log's tail.
    pub fn last(&self, name: &str) -> Result<Event> {
        let found = self.events().into_iter().rev().find(|event| event.name == name);
        found.ok_or_else(|| anyhow!("there is no event {name}\n{}", self.tail()))
    }

    /// Whether the log keeps its rules: every line that starts as one ends as one, and time never
    /// runs backwards after the last `boot.door`.
    ///
    /// # Errors
    /// The first line that does not.
    pub fn check(&self) -> Result<()> {
        let state = self.shared.lock();
        let mut before = 0;
        for (text, line) in &state.lines {
            match line {
                Line::Broken => bail!("a line of the log breaks the log's rules: {text}\n{}", state.tail()),
                Line::Event(event) if event.name == "boot.door" => before = event.micros,
                Line::Event(event) if event.micros < before => {
                    bail!("time ran backwards: {text}\n{}", state.tail())
                }
                Line::Event(event) => before = event.micros,
                Line::Foreign => {}
            }
        }
        Ok(())
    }

    /// The last lines, for an error.
    pub fn tail(&self) -> String {
        self.shared.lock().tail()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A reader that panicked leaves whole lines behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut source: impl Read) {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = source.read(&mut chunk) {
            self.lock().push(&chunk[..count]);
            self.grown.notify_all();
        }
        self.lock().ended = true;
        self.grown.notify_all();
    }

    /// Waits for more; `Err` when `deadline` has passed.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Result<MutexGuard<'a, State>, MutexGuard<'a, State>> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(state);
        }
        Ok(self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Lets a dying box, whose first last word is the line before `passed`, finish: until it says what it does next, ends, or takes too long.
    fn last_words<'a>(&self, mut state: MutexGuard<'a, State>, passed: usize) -> MutexGuard<'a, State> {
        let deadline = Instant::now() + LAST_WORDS;
        while !state.ended && !state.has_said_goodbye(passed) {
            state = match self.wait(state, deadline) {
                Ok(state) => state,
                Err(state) => return state,
            };
        }
        state
    }
}

impl State {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.lines.push((printable(&line), Line::read(&line[..end])));
        }
    }

    /// A refusal is one line; a panic's epitaph ends with what happens next.
    fn has_said_goodbye(&self, passed: usize) -> bool {
        let mut events = self.lines[passed - 1..].iter().filter_map(|(_, line)| line.event());
        events.any(|event| matches!(event.name.as_str(), "boot.refused" | "panic.end"))
    }

    fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(TAIL);
        let mut text =
            format!("--- serial line, last {} of {} lines:\n", self.lines.len() - from, self.lines.len());
        for (line, _) in &self.lines[from..] {
            let _ = writeln!(text, "{line}");
        }
        if !self.rest.is_empty() {
            let _ = writeln!(text, "{} (no line end)", printable(&self.rest));
        }
        text + "---"
    }
}

/// `bytes` without what would upset a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(30);

    fn log(text: &str) -> BoxLog {
        BoxLog::follow(std::io::Cursor::new(text.to_owned().into_bytes()))
    }

    #[test]
    fn a_wait_ends_with_the_event_and_the_next_goes_on_behind_it() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let mut log = BoxLog::follow(reader);
        writer.write_all(b"SeaBIOS\r\n\x1b[0m0.000001 INFO boot.door door=r").expect("room");
        assert!(log.wait_for("boot.door", SHORT).unwrap_err().to_string().contains("door=r (no line end)"));
        let waiter = std::thread::spawn(move || (log.wait_for("boot.door", LONG), log));
        writer.write_all(b"om\n0.000002 INFO vm.start vm=a\n0.000003 INFO vm.start vm=b\n").expect("room");
        let (door, mut log) = waiter.join().expect("no panic");
        assert_eq!(door.expect("it came").field("door").expect("printed"), "rom");
        assert_eq!(log.wait_for("vm.start", LONG).expect("it came").field("vm").expect("printed"), "a");
        assert_eq!(log.wait_for("vm.start", LONG).expect("it came").field("vm").expect("printed"), "b");
        drop(writer);
        assert!(log.wait_for("vm.start", LONG).unwrap_err().to_string().contains("ended"));
        log.wait_for_end(LONG).expect("ended");
        log.check().expect("lawful");
        assert_eq!(log.events().len(), 3);
    }

    #[test]
    fn a_panic_or_refusal_ends_a_wait_for_something_else_with_its_last_words() {
        let mut panicked = log(
            "0.1 x\n1.000000 ERROR panic where=a.rs:1 what=oops\n1.000001 ERROR panic.registers rip=0x1\n",
        );
        let error = panicked.wait_for("hv.ready", LONG).unwrap_err().to_string();
        assert!(error.contains("oops") && error.contains("rip=0x1"), "{error}");
        let mut refused =
            log("1.000000 ERROR boot.refused what=\"no SVM\" remedy=buy\n2.000000 INFO hv.ready\n");
        assert!(refused.wait_for("hv.ready", LONG).unwrap_err().to_string().contains("no SVM"));
        let mut wanted = log("1.000000 ERROR panic where=a.rs:1 what=oops\n");
        assert_eq!(wanted.wait_for("panic", LONG).expect("wanted").field("what").expect("printed"), "oops");
    }

    #[test]
    fn a_log_that_runs_backwards_or_breaks_its_rules_is_found() {
        let backwards = "2.000000 INFO boot.door door=rom\n1.000000 INFO hv.ready tsc=1\n";
        let restarted =
            "2.000000 INFO boot.door door=rom\n1.000000 INFO boot.door door=rom\n1.000001 INFO hv.ready\n";
        let broken = "2.000000 INFO boot.door door\n";
        for (text, word) in [(backwards, "backwards"), (restarted, ""), (broken, "rules")] {
            let mut log = log(text);
            log.wait_for_end(LONG).expect("ended");
            let found = log.check().err().map(|error| error.to_string());
            assert_eq!(found.is_some(), !word.is_empty(), "{text}");
            assert!(found.unwrap_or_default().contains(word));
        }
    }

    #[test]
    fn an_error_shows_the_last_forty_lines() {
        let text = (0..100).fold(String::new(), |text, line| text + &format!("line {line}\n"));
        let error = log(&text).wait_for("hv.ready", LONG).unwrap_err().to_string();
        assert!(
            error.contains("line 60\n") && error.contains("line 99\n") && !error.contains("line 59\n"),
            "{error}"
        );
    }
}
