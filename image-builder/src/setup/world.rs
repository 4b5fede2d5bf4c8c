//! The computer as the set-up sees it: a few questions, so that a test can answer them.

use crate::process;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// What may be asked about a computer.
pub trait World {
    /// The operating system, in `std::env::consts::OS`'s word.
    fn system(&self) -> String;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// Where a program of this name is in `PATH`.
    fn program(&self, name: &str) -> Option<PathBuf>;
    /// Whether this path leads to something.
    fn exists(&self, path: &Path) -> bool;
    /// A file's text.
    fn text(&self, path: &Path) -> Option<String>;
    /// What a program prints; none when it is missing or fails.
    fn output(&self, program: &Path, arguments: &[&str]) -> Option<String>;
}

/// The computer we run on.
pub struct ThisComputer;

impl World for ThisComputer {
    fn system(&self) -> String {
        env::consts::OS.to_owned()
    }

    fn variable(&self, name: &str) -> Option<String> {
        env::var(name).ok()
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        process::find_in_path(name)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn text(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn output(&self, program: &Path, arguments: &[&str]) -> Option<String> {
        process::output(process::host(program).args(arguments))
    }
}

#[cfg(test)]
pub(super) use fake::Fake;

#[cfg(test)]
mod fake;
