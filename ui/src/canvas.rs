//! Draw targets: a screen of raw pixels, and one that draws everything larger.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// Memory that shows on a screen. The one who owns the memory implements it.
pub trait Pixels {
    /// Width and height in pixels.
    fn size(&self) -> Size;
    /// Colours `len` pixels of line `y` from column `x`. Only called for pixels on the screen.
    fn fill(&mut self, x: u32, y: u32, len: u32, colour: Rgb888);
}

/// A [`Pixels`] to draw on. What lies outside the screen is left out.
pub struct Canvas<P>(pub P);

impl<P: Pixels> OriginDimensions for Canvas<P> {
    fn size(&self) -> Size {
        self.0.size()
    }
}

impl<P: Pixels> DrawTarget for Canvas<P> {
    type Color = Rgb888;
    type Error = core::convert::Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(at, colour) in pixels {
            self.fill_solid(&Rectangle::new(at, Size::new_equal(1)), colour)?;
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb888) -> Result<(), Self::Error> {
        let area = area.intersection(&self.bounding_box());
        let (x, top) = (area.top_left.x.unsigned_abs(), area.top_left.y.unsigned_abs());
        for y in top..top + area.size.height {
            self.0.fill(x, y, area.size.width, colour);
        }
        Ok(())
    }
}

/// Draws on `target` with every pixel `scale` times as wide and high.
pub struct Enlarged<'a, D> {
    /// What is drawn on.
    pub target: &'a mut D,
    /// How many times; at least 1.
    pub scale: u32,
}

impl<D: OriginDimensions> OriginDimensions for Enlarged<'_, D> {
    fn size(&self) -> Size {
        self.target.size() / self.scale
    }
}

impl<D: DrawTarget + OriginDimensions> DrawTarget for Enlarged<'_, D> {
    type Color = D::Color;
    type Error = D::Error;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = Pixel<Self::Color>>,
    {
        for Pixel(at, colour) in pixels {
            self.fill_solid(&Rectangle::new(at, Size::new_equal(1)), colour)?;
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Self::Color) -> Result<(), Self::Error> {
        let top_left = area.top_left * self.scale.cast_signed();
        self.target.fill_solid(&Rectangle::new(top_left, area.size * self.scale), colour)
    }
}
