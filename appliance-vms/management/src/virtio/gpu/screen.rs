//! What a screen can show, and which parts of it have changed.

use alloc::vec::Vec;

/// Most rectangles that changes are told in; beyond that there is one around them all.
const MAX_RECTANGLES: usize = 16;

/// A screen's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 1280×720.
    Hd,
    /// 1920×1080.
    FullHd,
}

impl Mode {
    /// Width and height in pixels.
    pub const fn size(self) -> (u32, u32) {
        match self {
            Self::Hd => (1280, 720),
            Self::FullHd => (1920, 1080),
        }
    }
}

/// A rectangle of pixels (virtio 1.2, 5.7.6.8, `struct virtio_gpu_rect`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Its left column.
    pub x: u32,
    /// Its upper row.
    pub y: u32,
    /// Its columns.
    pub width: u32,
    /// Its rows.
    pub height: u32,
}

impl Rect {
    /// Whether there is no pixel in it.
    pub const fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Whether it is inside a picture of that size.
    pub fn is_within(self, width: u32, height: u32) -> bool {
        let end = |first: u32, len: u32| first.checked_add(len);
        end(self.x, self.width).is_some_and(|right| right <= width)
            && end(self.y, self.height).is_some_and(|bottom| bottom <= height)
    }

    fn edges(self) -> (u32, u32, u32, u32) {
        (self.x, self.y, self.x.saturating_add(self.width), self.y.saturating_add(self.height))
    }

    fn between((left, top, right, bottom): (u32, u32, u32, u32)) -> Self {
        Self { x: left, y: top, width: right.saturating_sub(left), height: bottom.saturating_sub(top) }
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (a, b) = (self.edges(), other.edges());
        Self::between((a.0.max(b.0), a.1.max(b.1), a.2.min(b.2), a.3.min(b.3)))
    }

    /// The smallest that has both inside.
    #[must_use]
    pub fn around(self, other: Self) -> Self {
        let (a, b) = (self.edges(), other.edges());
        Self::between((a.0.min(b.0), a.1.min(b.1), a.2.max(b.2), a.3.max(b.3)))
    }
}

/// The parts of a picture that have changed.
#[derive(Debug, Default)]
pub(super) struct Damage(Vec<Rect>);

impl Damage {
    pub fn add(&mut self, rect: Rect) {
        if rect.is_empty() || self.0.iter().any(|&known| known.and(rect) == rect) {
            return;
        }
        self.0.retain(|&known| known.and(rect) != known);
        if self.0.len() < MAX_RECTANGLES {
            self.0.push(rect);
        } else {
            let all = self.0.drain(..).fold(rect, Rect::around);
            self.0.push(all);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self) -> Vec<Rect> {
        core::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn rectangles_know_where_they_are() {
        assert!(rect(1, 2, 3, 4).is_within(4, 6) && !rect(1, 2, 3, 4).is_within(3, 6));
        assert!(!rect(u32::MAX, 0, 2, 1).is_within(u32::MAX, 1));
        assert_eq!(rect(0, 0, 4, 4).and(rect(2, 3, 9, 9)), rect(2, 3, 2, 1));
        assert!(rect(0, 0, 4, 4).and(rect(4, 0, 4, 4)).is_empty());
        assert_eq!(rect(0, 0, 4, 4).around(rect(6, 1, 1, 1)), rect(0, 0, 7, 4));
    }

    #[test]
    fn changes_are_told_once_and_in_few_rectangles() {
        let mut damage = Damage::default();
        for part in [rect(2, 2, 2, 2), rect(3, 3, 1, 1), rect(9, 9, 0, 4), rect(0, 0, 8, 8)] {
            damage.add(part);
        }
        assert_eq!(damage.take(), [rect(0, 0, 8, 8)]);
        for at in 0..17 {
            damage.add(rect(2 * at, 3, 1, 1));
        }
        assert_eq!(damage.take(), [rect(0, 3, 33, 1)]);
        assert!(damage.is_empty());
    }
}
