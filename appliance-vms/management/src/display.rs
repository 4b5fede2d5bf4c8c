//! The television, from the side of whoever draws.

use embedded_graphics::prelude::Size;
use embedded_graphics::primitives::Rectangle;

/// A screen.
pub trait Display {
    /// Its width and height in pixels.
    fn size(&self) -> Size;

    /// Shows pixels, `0x00RRGGBB` each, in `area`: `pixels` begins with the area's first one, and its next line
    /// begins `stride` pixels later. What is not on the screen, or not in `pixels`, is not shown; the upper byte
    /// of a pixel means nothing.
    fn present(&mut self, area: Rectangle, pixels: &[u32], stride: usize);
}
