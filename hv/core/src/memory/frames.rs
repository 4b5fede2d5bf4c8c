//! hv's own memory, given out page by page and never taken back.

use hv_abi::memory::{PAGE_SIZE, PhysRange};

/// A pool of whole pages.
#[derive(Debug)]
pub struct Frames {
    left: PhysRange,
}

impl Frames {
    /// A pool that has nothing.
    pub const fn empty() -> Self {
        Self { left: PhysRange::new(0, 0) }
    }

    /// A pool of the whole pages in `range`.
    pub const fn new(range: PhysRange) -> Self {
        let base = range.base.next_multiple_of(PAGE_SIZE);
        let end = range.end() / PAGE_SIZE * PAGE_SIZE;
        Self { left: PhysRange::new(base, end.saturating_sub(base)) }
    }

    /// `pages` pages in a row.
    pub fn take(&mut self, pages: u64) -> Option<PhysRange> {
        let len = pages.checked_mul(PAGE_SIZE).filter(|&len| len <= self.left.len)?;
        let taken = PhysRange::new(self.left.base, len);
        self.left = PhysRange::new(taken.end(), self.left.len - len);
        Some(taken)
    }

    /// What is left.
    pub const fn left(&self) -> PhysRange {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_given_once_and_in_order() {
        let mut frames = Frames::new(PhysRange::new(0x1800, 0x4000));
        assert_eq!(frames.take(2), Some(PhysRange::new(0x2000, 0x2000)));
        assert_eq!(frames.take(2), None);
        assert_eq!(frames.take(1), Some(PhysRange::new(0x4000, 0x1000)));
        assert_eq!(frames.take(1), None);
        assert_eq!(frames.take(u64::MAX), None);
        assert!(frames.left().is_empty());
    }
}
