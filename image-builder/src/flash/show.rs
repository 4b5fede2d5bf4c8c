//! What the user sees: disks, what is on them, progress.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::contents::{Contents, System};
use super::disks::{Disk, Kind};

/// A size as it is printed on the box of a disk.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    // The first unit in which the rounded figure has at most three digits before the point.
    let tenths = |unit: u64| bytes.saturating_add(unit / 20) / (unit / 10);
    let (name, unit) = UNITS.into_iter().find(|(_, unit)| tenths(*unit) < 10_000).unwrap_or(UNITS[3]);
    format!("{}.{} {name}", tenths(unit) / 10, tenths(unit) % 10)
}

/// Text from a device, fit for a terminal: nothing in it can move the cursor or change colours.
pub(super) fn printable(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A disk in one line: name, size, model, how it is connected.
pub(super) fn disk(disk: &Disk) -> String {
    let mut line = format!("{:<8} {:>9}", disk.name, size(disk.bytes));
    let what = match (&disk.kind, &disk.model) {
        (Kind::Loop { file }, _) => format!("the file {}", printable(file)),
        (_, Some(model)) => model.clone(),
        (_, None) => "unknown model".to_owned(),
    };
    let _ = write!(line, "  {what}");
    let tags: Vec<&str> = disk.transport.into_iter().chain(disk.removable.then_some("removable")).collect();
    if !tags.is_empty() {
        let _ = write!(line, " ({})", tags.join(", "));
    }
    line
}

/// What is on a disk, one line each.
pub(super) fn contents(found: &Contents) -> Vec<String> {
    let Some(table) = found.table else {
        return vec![match &found.whole {
            Some(whole) => format!("{}, without partitions", system(whole)),
            None => "nothing that is known here".to_owned(),
        }];
    };
    let plural = if found.parts.len() == 1 { "" } else { "s" };
    let mut lines = vec![format!("{table} with {} partition{plural}", found.parts.len())];
    for part in &found.parts {
        let mut line = format!("  {:>2} {:>9}", part.number, size(part.bytes));
        let words = part.name.iter().cloned().chain(part.system.as_ref().map(system));
        let _ = write!(line, "  {}", words.collect::<Vec<_>>().join(", "));
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn system(system: &System) -> String {
    match &system.label {
        Some(label) => format!("{} \"{label}\"", system.kind),
        None => system.kind.to_owned(),
    }
}

/// How far the work is: a bar on a terminal, one line at the end elsewhere.
pub(super) struct Progress {
    what: &'static str,
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    pub(super) fn start(what: &'static str, bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(
                "{prefix} {bar:30} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_prefix(what);
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { what, bar, started: Instant::now() }
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    pub(super) fn done(self) {
        let bytes = self.bar.position();
        self.bar.finish_and_clear();
        eprintln!("  done {:6.1} s  {}: {}", self.started.elapsed().as_secs_f32(), self.what, size(bytes));
    }
}
