//! A limit on how often something happens: a bucket of tokens that fills by time.

use core::time::Duration;

const SECOND: u64 = 1_000_000;

/// A bucket of tokens.
#[derive(Clone, Debug)]
pub struct Limit {
    rate: u32,
    burst: u32,
    /// Millionths of a token, at most `burst` tokens.
    level: u64,
    filled: Duration,
}

impl Limit {
    /// A full one, of `burst` tokens, which `rate` tokens a second fill.
    pub const fn new(rate: u32, burst: u32) -> Self {
        Self { rate, burst, level: burst as u64 * SECOND, filled: Duration::ZERO }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_micros() as u64;
        self.filled = self.filled.max(now);
        let grown = self.level.saturating_add(passed.saturating_mul(u64::from(self.rate)));
        self.level = grown.min(u64::from(self.burst) * SECOND);
        let taken = self.level.checked_sub(SECOND);
        self.level = taken.unwrap_or(self.level);
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut limit = Limit::new(10, 5);
        let mut taken = |at| (0..100).filter(|_| limit.take(Duration::from_millis(at))).count();
        assert_eq!([taken(0), taken(99), taken(100), taken(50), taken(400)], [5, 0, 1, 0, 3]);
        assert_eq!(taken(u64::MAX), 5);
    }
}
