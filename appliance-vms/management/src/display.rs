//! The television, from the side of whoever draws.

use embedded_graphics::prelude::Size;
use embedded_graphics::primitives::Rectangle;

/// A screen.
pub trait Display {
    /// Its width and height in pixels.
    fn size(&self) -> Size;

    /// Shows part of a picture of that size: `pixels` are all of it, line by line, `0x00RRGGBB` each. An
    /// area that is not on the screen is not shown.
    fn present(&mut self, pixels: &[u32], area: Rectangle);
}
