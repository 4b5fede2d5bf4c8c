//! A list of checks and how they came out.

use crate::say;

/// Counts what held and what did not.
#[derive(Default)]
pub struct Checks {
    passed: u32,
    failed: u32,
}

impl Checks {
    /// Something that must hold.
    pub fn holds(&mut self, name: &str, holds: bool) {
        if holds {
            self.passed += 1;
        } else {
            self.failed += 1;
            say!("fail {name}");
        }
    }

    /// Something that must have a value.
    pub fn is<T: Copy + PartialEq + core::fmt::Debug>(&mut self, name: &str, found: T, wanted: T) {
        self.holds(name, found == wanted);
        if found != wanted {
            say!("  found {found:x?}, wanted {wanted:x?}");
        }
    }

    /// Tells the sums; whether all held.
    pub fn tell(&self) -> bool {
        say!("checks passed={} failed={}", self.passed, self.failed);
        self.failed == 0
    }
}
