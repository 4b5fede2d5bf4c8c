//! What is going on, how far it is, and how long it took: a line that moves on a terminal, plain
//! lines elsewhere. Always on standard error; standard output belongs to results.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::exit;
use std::time::{Duration, Instant};

/// Prints a line of results. Where nobody reads them any more (`| head`), there is no more to do.
pub fn result(line: &str) {
    if writeln!(stdout(), "{line}").is_err() {
        exit(1);
    }
}

/// Says something that is worth knowing and stops nothing.
pub fn remark(line: &str) {
    eprintln!("{line}");
}

/// One piece of long work.
pub struct Step {
    what: String,
    bar: ProgressBar,
    started: Instant,
}

impl Step {
    /// Starts it, and says so.
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = ProgressBar::new_spinner();
        if stderr().is_terminal() {
            bar.set_style(style("{spinner} {prefix} {wide_msg} {elapsed}"));
            bar.set_prefix(what.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { what, bar, started: Instant::now() }
    }

    /// Says how far it is: `done` of `all`, at `part`.
    pub fn at(&self, done: u64, all: u64, part: &str) {
        self.bar.set_style(style("{spinner} {prefix} {bar:24} {pos}/{len} {wide_msg} {elapsed}"));
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.bar.set_message(part.to_owned());
    }

    /// Shows text above the moving line.
    pub fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Ends it well; `result` says in a few words what came out.
    pub fn done(self, result: &str) {
        self.end("done", result);
    }

    /// Ends it badly. The error itself is told by whoever got it.
    pub fn failed(self) {
        self.end("FAILED", "");
    }

    fn end(&self, word: &str, result: &str) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f32();
        let result = if result.is_empty() { String::new() } else { format!(": {result}") };
        eprintln!("{word:>6} {seconds:6.1} s  {}{result}", self.what);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}
