//! The `hearth` command, run as a user types it.

use crate::root;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a run of the command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status; `None` = it was killed.
    pub status: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Outcome {
    /// Answers itself if the command succeeded.
    ///
    /// # Errors
    /// It did not; with what it said.
    pub fn succeeded(self) -> Result<Self> {
        ensure!(self.status == Some(0), "the command failed: {self:#?}");
        Ok(self)
    }

    /// Answers itself if the command failed and said why in words that contain `word`.
    ///
    /// # Errors
    /// It did not.
    pub fn failed_over(self, word: &str) -> Result<Self> {
        ensure!(self.status.is_some_and(|status| status != 0), "the command did not fail: {self:#?}");
        ensure!(self.errors.contains(word), "the error does not say {word:?}: {self:#?}");
        Ok(self)
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { status: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) }
    }
}

/// Runs `cargo hearth …` in the checkout, with nobody at the keyboard.
///
/// # Errors
/// cargo does not start.
pub fn hearth<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Outcome> {
    hearth_in(root(), &[], arguments)
}

/// Runs `cargo hearth …` in a folder of a checkout, with some environment variables.
///
/// # Errors
/// cargo does not start.
pub fn hearth_in<S: AsRef<OsStr>>(
    folder: &Path,
    environment: &[(&str, &OsStr)],
    arguments: impl IntoIterator<Item = S>,
) -> Result<Outcome> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("hearth").args(arguments).current_dir(folder);
    run(command.envs(environment.iter().copied()))
}

/// The program that `cargo hearth` builds and runs, once it has.
///
/// # Errors
/// It is not where it should be: beside the folder of this test's own program.
pub fn hearth_program() -> Result<Command> {
    let own = std::env::current_exe().context("asking for this test's program")?;
    let program = own.ancestors().nth(2).context("a test's program is in deps/")?.join("hearth");
    ensure!(program.is_file(), "{} is not there; next: `cargo hearth image`", program.display());
    Ok(Command::new(program))
}

/// Runs a command with nobody at the keyboard.
///
/// # Errors
/// It does not start.
pub fn run(command: &mut Command) -> Result<Outcome> {
    command.stdin(Stdio::null());
    // What cargo tells this test about itself must not confuse the next one.
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("CARGO_PKG_") || key == "CARGO_MANIFEST_DIR") {
            command.env_remove(key);
        }
    }
    let output = command.output();
    Ok(output.with_context(|| format!("starting {}", command.get_program().display()))?.into())
}
