//! Runs named tests, as many at a time as the computer has CPUs.

use crate::emulator;
use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// A list of named tests that grows.
#[derive(Default)]
pub struct Tests(Vec<Trial>);

impl Tests {
    /// Adds a test.
    pub fn add(&mut self, name: impl Into<String>, test: impl Fn() -> Result<()> + Send + 'static) {
        self.0.push(Trial::test(name, || passes(test).map_err(|error| failed(&error))));
    }

    /// Adds a test that needs what not every computer has. `missing` says why it cannot run here;
    /// it is then skipped, visibly, except where everything must be there (`CI=true`).
    pub fn add_if_possible(
        &mut self,
        name: impl Into<String>,
        missing: Option<String>,
        test: impl Fn() -> Result<()> + Send + 'static,
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
        test: impl Fn() -> Result<()> + Send + 'static,
    ) {
        self.0.push(Trial::ignorable_test(name, move || match missing {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => passes(test).map(|()| Completion::Completed).map_err(|error| failed(&error)),
        }));
    }

    /// Runs those that the command line asks for.
    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.0).exit_code()
    }
}

/// Runs a test; once more, and audibly, if what QEMU breaks by itself was in the way.
fn passes(test: impl Fn() -> Result<()>) -> Result<()> {
    test().or_else(|error| {
        let Some(broken) = error.downcast_ref::<emulator::Broken>() else { return Err(error) };
        eprintln!("{broken}: a test is run again");
        test()
    })
}

/// The whole chain of causes, the first cause last.
fn failed(error: &anyhow::Error) -> Failed {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join("\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;
    use std::cell::Cell;

    /// Runs a test that fails as `error` says, and answers how often it ran.
    fn tries(error: impl Fn() -> anyhow::Error) -> (bool, u32) {
        let ran = Cell::new(0);
        let passed = passes(|| {
            ran.set(ran.get() + 1);
            if ran.get() == 1 { Err(error()) } else { Ok(()) }
        });
        (passed.is_ok(), ran.get())
    }

    #[test]
    fn what_qemu_broke_is_tried_again_and_nothing_else() {
        assert_eq!(tries(|| anyhow!("late").context(emulator::Broken).context("guest/epyc")), (true, 2));
        assert_eq!(tries(|| anyhow!("late")), (false, 1));
    }

    #[test]
    fn it_is_tried_once_more_only() {
        let ran = Cell::new(0);
        let passed = passes(|| {
            ran.set(ran.get() + 1);
            Err(anyhow!("late").context(emulator::Broken))
        });
        assert!(passed.is_err() && ran.get() == 2);
    }
}
