//! How a fuzz test runs, for the tests of several crates: it makes so many steps from a seed, and both say
//! how to see it again. By environment: `HEARTH_FUZZ_STEPS`, `HEARTH_FUZZ_SEED`.
//!
//! A run that ends well prints `fuzz NAME seed=N steps=N ms=N`, which `cargo hearth bench robust` looks for.

extern crate std;
use std::string::String;
use std::time::Instant;
use std::{env, println};

/// A number that the environment gives, if it does.
pub fn number(name: &str) -> Option<u64> {
    let text: String = env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    let number = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// A run; as an iterator, the numbers of its steps, for whoever does not count them.
pub struct Run {
    name: &'static str,
    /// What it starts from.
    pub seed: u64,
    /// How many steps it makes.
    pub steps: u64,
    /// How many it has made.
    pub made: u64,
    started: Instant,
}

impl Run {
    /// `usually`: how many steps when nobody says, some seconds without optimisation.
    pub fn new(name: &'static str, usually: u64) -> Self {
        let seed = number("HEARTH_FUZZ_SEED").unwrap_or(1);
        let steps = number("HEARTH_FUZZ_STEPS").unwrap_or(usually);
        Self { name, seed, steps, made: 0, started: Instant::now() }
    }
}

impl Iterator for Run {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let next = (self.made < self.steps).then_some(self.made);
        self.made += u64::from(next.is_some());
        next
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let Self { name, seed, made, .. } = self;
        if std::thread::panicking() {
            println!("fuzz {name}: step {made} failed; next: the same test with HEARTH_FUZZ_SEED={seed}");
        } else {
            println!("fuzz {name} seed={seed} steps={made} ms={}", self.started.elapsed().as_millis());
        }
    }
}
