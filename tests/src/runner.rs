//! Runs named tests, as many at a time as the computer has CPUs.

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// A list of named tests that grows.
#[derive(Default)]
pub struct Tests(Vec<Trial>);

impl Tests {
    /// Adds a test.
    pub fn add(&mut self, name: impl Into<String>, test: impl FnOnce() -> Result<()> + Send + 'static) {
        self.0.push(Trial::test(name, || test().map_err(|error| failed(&error))));
    }

    /// Adds a test that needs what not every computer has. `missing` says why it cannot run here;
    /// it is then skipped, visibly, except where everything must be there (`CI=true`).
    pub fn add_if_possible(
        &mut self,
        name: impl Into<String>,
        missing: Option<String>,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        let strict = std::env::var_os("CI").is_some_and(|value| value == "true");
        match missing {
            Some(reason) if strict => self.0.push(Trial::test(name, || Err(reason.into()))),
            missing => self.add_if_wanted(name, missing, test),
        }
    }

    /// Adds a test of something that is built only when somebody asks for it. `missing` says what to
    /// do for it; the test is then skipped, visibly, everywhere.
    pub fn add_if_wanted(
        &mut self,
        name: impl Into<String>,
        missing: Option<String>,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        self.0.push(Trial::ignorable_test(name, move || match missing {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => test().map(|()| Completion::Completed).map_err(|error| failed(&error)),
        }));
    }

    /// Runs those that the command line asks for.
    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.0).exit_code()
    }
}

/// The whole chain of causes, the first cause last.
fn failed(error: &anyhow::Error) -> Failed {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join("\n").into()
}
