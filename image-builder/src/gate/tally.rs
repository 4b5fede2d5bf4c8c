//! Counting what passed and what failed.

use anyhow::{Result, ensure};
use std::time::Instant;

/// The steps so far.
#[derive(Default)]
pub struct Gate {
    passed: u64,
    failed: u64,
    bad: Vec<String>,
}

/// What test runners have reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Gate {
    /// One check. What it answers is a remark for the record.
    pub fn check(&mut self, name: &str, work: impl FnOnce() -> Result<String>) {
        let started = announce(name);
        let outcome = work();
        self.count(name, Counts { passed: outcome.is_ok().into(), failed: outcome.is_err().into() });
        self.tell(name, started, outcome);
    }

    /// A run of test programs, which hands over each line it prints.
    pub fn tests(&mut self, name: &str, run: impl FnOnce(&mut dyn FnMut(&str)) -> Result<()>) {
        let started = announce(name);
        let mut counts = Counts::default();
        let outcome = run(&mut |line| {
            if is_worth_showing(line) {
                println!("{line}");
            }
            let more = result_line(line).unwrap_or_default();
            counts = Counts { passed: counts.passed + more.passed, failed: counts.failed + more.failed };
        });
        let outcome = outcome.and_then(|()| {
            ensure!(counts.passed + counts.failed > 0, "no test ran; next: check the name that was given");
            Ok(format!("{} passed, {} failed", counts.passed, counts.failed))
        });
        // A test program that did not build or broke off reports nothing: that is a failure too.
        counts.failed = counts.failed.max(outcome.is_err().into());
        self.count(name, counts);
        self.tell(name, started, outcome);
    }

    fn count(&mut self, name: &str, counts: Counts) {
        self.passed += counts.passed;
        self.failed += counts.failed;
        if counts.failed > 0 {
            self.bad.push(name.to_owned());
        }
    }

    fn tell(&self, name: &str, started: Instant, outcome: Result<String>) {
        let seconds = started.elapsed().as_secs_f32();
        let word = if self.bad.last().is_some_and(|bad| bad == name) { "FAILED" } else { "passed" };
        match outcome {
            Ok(remark) if remark.is_empty() => println!("{word} {seconds:6.1} s  {name}\n"),
            Ok(remark) => println!("{word} {seconds:6.1} s  {name}: {remark}\n"),
            Err(error) => println!("{word} {seconds:6.1} s  {name}\n{error:#}\n"),
        }
    }

    /// Says what failed and, in the last line, how many of each. Answers whether all passed.
    pub fn sum_up(self) -> bool {
        for name in &self.bad {
            println!("FAILED: {name}; next: mend what it says above");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

fn announce(name: &str) -> Instant {
    println!("== {name}");
    Instant::now()
}

/// Test programs without tests say so in three lines each.
fn is_worth_showing(line: &str) -> bool {
    let count = line.strip_prefix("running ").is_some_and(|rest| rest.ends_with(" tests"));
    !line.trim().is_empty() && !count && result_line(line) != Some(Counts::default())
}

/// The counts in `test result: ok. 3 passed; 0 failed; …`, as Rust's test runners print it.
fn result_line(line: &str) -> Option<Counts> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let before = |word: &str| {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let at = words.iter().position(|found| found.trim_end_matches(';') == word)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    Some(Counts { passed: before("passed")?, failed: before("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn result_lines_are_counted() {
        let counts = |passed, failed| Some(Counts { passed, failed });
        assert_eq!(
            result_line("test result: ok. 3 passed; 0 failed; 0 ignored; finished in 1s"),
            counts(3, 0)
        );
        assert_eq!(result_line("test result: FAILED. 1 passed; 2 failed; 0 ignored"), counts(1, 2));
        assert_eq!(result_line("test a_thing ... ok"), None);
    }

    #[test]
    fn silence_is_a_failure() {
        let mut gate = Gate::default();
        gate.tests("silent", |_| Ok(()));
        gate.tests("broken off", |line| {
            line("test result: ok. 2 passed; 0 failed; 0 ignored");
            Err(anyhow!("killed"))
        });
        gate.check("fine", || Ok(String::new()));
        gate.check("bad", || Err(anyhow!("no")));
        assert_eq!((gate.passed, gate.failed), (3, 3));
        assert_eq!(gate.bad, ["silent", "broken off", "bad"]);
    }

    #[test]
    fn a_failed_test_counts_once_though_its_runner_fails_too() {
        let mut gate = Gate::default();
        gate.tests("tests", |line| {
            line("test result: FAILED. 4 passed; 1 failed; 0 ignored");
            Err(anyhow!("exit status 101"))
        });
        assert_eq!((gate.passed, gate.failed), (4, 1));
    }
}
