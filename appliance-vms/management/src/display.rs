//! The television, from the side of whoever draws.

use core::task::{Context, Poll};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// A screen.
pub trait Display {
    /// Its width and height in pixels.
    fn size(&self) -> Size;

    /// Shows pixels, `0x00RRGGBB` each, in `area`: `pixels` begins with the area's first one, and its next line
    /// begins `stride` pixels later. What is not on the screen, or not in `pixels`, is not shown; the upper byte
    /// of a pixel means nothing. It may be seen only once [`Display::poll_shown`] was ready.
    fn present(&mut self, area: Rectangle, pixels: &[u32], stride: usize);

    /// Ready once all is seen that was presented, and nothing is on its way; until then nothing may be presented.
    /// One that can't be drawn on any more is ready, too.
    fn poll_shown(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// The lines of [`Display::present`] that a screen of that size shows: where each begins, and its pixels.
pub fn lines(
    size: Size,
    area: Rectangle,
    pixels: &[u32],
    stride: usize,
) -> impl Iterator<Item = (Point, &[u32])> {
    let seen = area.intersection(&Rectangle::new(Point::zero(), size));
    // An area that begins on the screen loses nothing at its left and above.
    let rows = if seen.top_left == area.top_left { seen.rows() } else { 0..0 };
    let (left, width) = (seen.top_left.x, seen.size.width as usize);
    rows.enumerate().map_while(move |(line, y)| {
        let start = line.checked_mul(stride)?;
        Some((Point::new(left, y), pixels.get(start..start.checked_add(width)?)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn only_what_is_on_the_screen_and_in_the_pixels_is_shown() {
        let pixels: Vec<u32> = (0..20).collect();
        let shown = |x, y, width, height, stride| -> Vec<(i32, i32, u32, usize)> {
            let area = Rectangle::new(Point::new(x, y), Size::new(width, height));
            let lines = lines(Size::new(8, 6), area, &pixels, stride);
            lines.map(|(at, line)| (at.x, at.y, line[0], line.len())).collect()
        };
        assert_eq!(shown(1, 2, 3, 2, 5), [(1, 2, 0, 3), (1, 3, 5, 3)]);
        assert_eq!(shown(6, 5, 3, 2, 5), [(6, 5, 0, 2)], "two columns and a line are on the screen");
        assert_eq!(shown(0, 0, 4, 6, 8), [(0, 0, 0, 4), (0, 1, 8, 4), (0, 2, 16, 4)], "then pixels end");
        assert_eq!(shown(-1, 0, 4, 2, 4), []);
        assert_eq!(shown(9, 0, 4, 2, 4), []);
        assert_eq!(shown(0, 0, 4, 2, usize::MAX).len(), 1);
    }
}
