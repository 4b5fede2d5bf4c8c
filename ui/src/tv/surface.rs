//! The back buffer: pixels that can be read back, and so blended.

use super::lettering::{Lettering, Weight};
use alloc::vec;
use alloc::vec::Vec;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// A corner pixel is looked at in this many places each way.
const SAMPLES: u32 = 4;
/// A picture is stretched by so many pixels rather than leave them black.
const HAIR: u32 = 4;

/// A picture in memory, `0x00RRGGBB` a pixel; the upper byte means nothing.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Pixels a line.
    pub width: u32,
    /// Pixels from one line's start to the next one's, at least `width`.
    pub stride: u32,
    /// Line by line; whole lines count.
    pub pixels: &'a [u32],
}

impl<'a> Picture<'a> {
    /// A picture whose lines follow each other.
    pub const fn new(width: u32, pixels: &'a [u32]) -> Self {
        Self { width, stride: width, pixels }
    }

    /// Whole lines that are there.
    pub fn height(&self) -> u32 {
        if self.width == 0 || self.stride < self.width {
            return 0;
        }
        // The last line may end where the picture does.
        let stride = self.stride as usize;
        u32::try_from((self.pixels.len() + stride - self.width as usize) / stride).unwrap_or(u32::MAX)
    }

    /// Where it is seen in `area`: as large as there is room, with its proportions, in the middle.
    pub fn placed(&self, area: Rectangle) -> Rectangle {
        let (width, height) = (u64::from(self.width), u64::from(self.height()));
        if width == 0 || height == 0 {
            return Rectangle::new(area.top_left, Size::zero());
        }
        let room = area.size;
        let size = if u64::from(room.width) * height <= u64::from(room.height) * width {
            Size::new(room.width, (u64::from(room.width) * height / width) as u32)
        } else {
            Size::new((u64::from(room.height) * width / height) as u32, room.height)
        };
        // A hair's breadth of black at two edges would look like a fault.
        let nearly = room.saturating_sub(size);
        let size = if nearly.width + nearly.height <= HAIR { room } else { size };
        let offset = (room - size) / 2;
        let offset = Point::new(offset.width.cast_signed(), offset.height.cast_signed());
        Rectangle::new(area.top_left + offset, size)
    }
}

/// Pixels to draw on; only what lies within `clip` is coloured.
pub struct Surface {
    size: Size,
    pixels: Vec<u32>,
    /// What may be coloured; always within the surface.
    clip: Rectangle,
}

impl Surface {
    /// A black surface.
    pub fn new(size: Size) -> Self {
        let pixels = vec![0; size.width as usize * size.height as usize];
        Self { size, pixels, clip: Rectangle::new(Point::zero(), size) }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// All pixels, line by line, `0x00RRGGBB`.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// From here on only `area` is drawn on.
    pub fn clip_to(&mut self, area: Rectangle) {
        self.clip = area.intersection(&Rectangle::new(Point::zero(), self.size));
    }

    /// Puts `area` on a screen.
    ///
    /// # Errors
    /// What `target` answers.
    pub fn show<D: DrawTarget<Color = Rgb888>>(
        &self,
        target: &mut D,
        area: Rectangle,
    ) -> Result<(), D::Error> {
        let area = area.intersection(&Rectangle::new(Point::zero(), self.size));
        let pixels = area.rows().flat_map(|y| self.line(y, area.columns()));
        target.fill_contiguous(&area, pixels.map(|&pixel| colour_of(pixel)))
    }

    /// A rectangle with corners of `radius`, from `top` to `bottom`, blended by `opacity`.
    pub fn panel(&mut self, area: Rectangle, radius: u32, (top, bottom): (Rgb888, Rgb888), opacity: u8) {
        let seen = area.intersection(&self.clip);
        let height = area.size.height.max(2) - 1;
        for y in seen.rows() {
            let down = (y - area.top_left.y).unsigned_abs();
            let colour = mix(pixel_of(top), pixel_of(bottom), (down * 255 / height) as u8);
            let corners = edge_distance(area, y) < radius;
            let columns = seen.columns();
            if !corners && opacity == 255 {
                self.line_mut(y, columns).fill(colour);
                continue;
            }
            for (x, pixel) in columns.clone().zip(self.line_mut(y, columns)) {
                let covered = if corners { corner(area, radius, Point::new(x, y)) } else { 255 };
                blend(pixel, colour, scale(covered, opacity));
            }
        }
    }

    /// A frame of `width` inside the rounded `area`.
    pub fn frame(&mut self, area: Rectangle, radius: u32, width: u32, colour: Rgb888) {
        let inset = width.cast_signed();
        let inner_size = area.size.saturating_sub(Size::new_equal(2 * width));
        let inner = Rectangle::new(area.top_left + Point::new_equal(inset), inner_size);
        let inner_radius = radius.saturating_sub(width);
        let seen = area.intersection(&self.clip);
        // Between the corners there are only the two sides.
        let side = Size::new(width.min(area.size.width), area.size.height);
        let far = (area.size.width - side.width).cast_signed();
        let sides = [area.top_left, area.top_left + Point::new(far, 0)];
        let sides = sides.map(|at| Rectangle::new(at, side).intersection(&self.clip));
        for y in seen.rows() {
            if edge_distance(area, y) >= radius.max(width) {
                for side in sides.iter().filter(|side| !side.is_zero_sized()) {
                    self.line_mut(y, side.columns()).fill(pixel_of(colour));
                }
                continue;
            }
            let columns = seen.columns();
            for (x, pixel) in columns.clone().zip(self.line_mut(y, columns)) {
                let at = Point::new(x, y);
                let hole = if inner.contains(at) { corner(inner, inner_radius, at) } else { 0 };
                blend(pixel, pixel_of(colour), corner(area, radius, at).saturating_sub(hole));
            }
        }
    }

    /// A line of text whose baseline starts at `at`; its size is in `lettering::FINE`ths of a pixel.
    pub fn text(
        &mut self,
        at: Point,
        lettering: &mut Lettering,
        (text, weight, size): (&str, Weight, u32),
        colour: Rgb888,
    ) {
        let mut pen = 0.0_f32;
        for letter in text.chars() {
            let glyph = lettering.glyph(letter, weight, size);
            // The pen stands between pixels; the letter goes to the nearest.
            let left = at.x + (pen + 0.5) as i32 + glyph.left;
            let top = at.y - glyph.bottom - glyph.height.cast_signed();
            let area = Rectangle::new(Point::new(left, top), Size::new(glyph.width, glyph.height));
            let seen = area.intersection(&self.clip);
            for y in seen.rows() {
                let row = (y - top).unsigned_abs() as usize * glyph.width as usize;
                let skip = (seen.top_left.x - left).unsigned_abs() as usize;
                let coverage = &glyph.coverage[row + skip..];
                for (pixel, &covered) in self.line_mut(y, seen.columns()).iter_mut().zip(coverage) {
                    blend(pixel, pixel_of(colour), covered);
                }
            }
            pen += glyph.advance;
        }
    }

    /// A picture, scaled into `area` with its proportions kept and its corners rounded.
    pub fn picture(&mut self, area: Rectangle, radius: u32, picture: Picture<'_>, smooth: bool) {
        let (width, height) = (picture.width, picture.height());
        if width == 0 || height == 0 || area.is_zero_sized() {
            return;
        }
        let shown = picture.placed(area);
        let size = shown.size;
        let seen = shown.intersection(&self.clip);
        for y in seen.rows() {
            let (row, below) = sample((y - shown.top_left.y).unsigned_abs(), size.height, height);
            let lines = (picture.line(row), picture.line(row + 1));
            let corners = edge_distance(area, y) < radius;
            let columns = seen.columns();
            for (x, pixel) in columns.clone().zip(self.line_mut(y, columns)) {
                let (column, beside) = sample((x - shown.top_left.x).unsigned_abs(), size.width, width);
                let colour = if smooth {
                    mixed(lines, (column, beside), below)
                } else {
                    pick(lines, (column, beside), below)
                };
                let covered = if corners { corner(area, radius, Point::new(x, y)) } else { 255 };
                blend(pixel, colour, covered);
            }
        }
    }

    fn line(&self, y: i32, columns: core::ops::Range<i32>) -> &[u32] {
        let start = y.unsigned_abs() as usize * self.size.width as usize;
        &self.pixels
            [start + columns.start.unsigned_abs() as usize..start + columns.end.unsigned_abs() as usize]
    }

    fn line_mut(&mut self, y: i32, columns: core::ops::Range<i32>) -> &mut [u32] {
        let start = y.unsigned_abs() as usize * self.size.width as usize;
        &mut self.pixels
            [start + columns.start.unsigned_abs() as usize..start + columns.end.unsigned_abs() as usize]
    }
}

impl Picture<'_> {
    /// A line, or the last one.
    fn line(&self, y: u32) -> &[u32] {
        let start = y.min(self.height().saturating_sub(1)) as usize * self.stride as usize;
        self.pixels.get(start..start + self.width as usize).unwrap_or_default()
    }
}

/// The pixel of a line, or its last one.
fn at(line: &[u32], x: u32) -> u32 {
    line.get(x as usize).or(line.last()).copied().unwrap_or(0)
}

/// Four neighbouring pixels, mixed.
fn mixed((upper, lower): (&[u32], &[u32]), (column, beside): (u32, u8), below: u8) -> u32 {
    // A picture in its own size needs no mixing.
    if beside == 0 && below == 0 {
        return at(upper, column);
    }
    let across = |line| mix(at(line, column), at(line, column + 1), beside);
    mix(across(upper), across(lower), below)
}

/// The nearest of four neighbouring pixels.
fn pick((upper, lower): (&[u32], &[u32]), (column, beside): (u32, u8), below: u8) -> u32 {
    at(if below < 128 { upper } else { lower }, column + u32::from(beside >= 128))
}

/// Where pixel `at` of `shown` lies among `source` pixels: the pixel before, and how far behind it
/// of 255.
fn sample(at: u32, shown: u32, source: u32) -> (u32, u8) {
    let fixed = (u64::from(at) * 2 + 1) * u64::from(source) * 128 / u64::from(shown.max(1));
    let fixed = fixed.saturating_sub(128);
    ((fixed >> 8) as u32, (fixed & 0xff) as u8)
}

/// Lines from line `y` to the nearer horizontal edge of `area`.
fn edge_distance(area: Rectangle, y: i32) -> u32 {
    let from_top = (y - area.top_left.y).unsigned_abs();
    from_top.min(area.size.height.saturating_sub(1).saturating_sub(from_top))
}

/// How much of the pixel at `at`, which lies in `area`, a rounded `area` covers, of 255.
fn corner(area: Rectangle, radius: u32, at: Point) -> u8 {
    let radius = radius.min(area.size.width / 2).min(area.size.height / 2);
    let from_left = (at.x - area.top_left.x).unsigned_abs();
    let x = from_left.min(area.size.width.saturating_sub(1).saturating_sub(from_left));
    let y = edge_distance(area, at.y);
    if x >= radius || y >= radius {
        return 255;
    }
    // Half sample steps: the centre of a sample is at an odd number of them.
    let steps = 2 * SAMPLES;
    let centre = radius * steps;
    let inside = |sx: u32, sy: u32| {
        let (dx, dy) = (centre - (x * steps + 2 * sx + 1), centre - (y * steps + 2 * sy + 1));
        dx * dx + dy * dy <= centre * centre
    };
    let all = (0..SAMPLES).flat_map(|sy| (0..SAMPLES).map(move |sx| (sx, sy)));
    let count = all.filter(|&(sx, sy)| inside(sx, sy)).count() as u32;
    (count * 255 / (SAMPLES * SAMPLES)) as u8
}

fn scale(value: u8, by: u8) -> u8 {
    (u32::from(value) * u32::from(by) / 255) as u8
}

fn blend(pixel: &mut u32, colour: u32, opacity: u8) {
    match opacity {
        0 => {}
        255 => *pixel = colour,
        _ => *pixel = mix(*pixel, colour, opacity),
    }
}

/// From `a` (0) to `b` (255), red and blue in one multiplication.
fn mix(a: u32, b: u32, part: u8) -> u32 {
    let part = u32::from(part) + u32::from(part >> 7);
    let red_blue = ((a & 0xff_00ff) * (256 - part) + (b & 0xff_00ff) * part) >> 8 & 0xff_00ff;
    let green = ((a & 0xff00) * (256 - part) + (b & 0xff00) * part) >> 8 & 0xff00;
    red_blue | green
}

fn pixel_of(colour: Rgb888) -> u32 {
    colour.into_storage()
}

fn colour_of(pixel: u32) -> Rgb888 {
    Rgb888::new((pixel >> 16) as u8, (pixel >> 8) as u8, pixel as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tv::lettering::FINE;

    #[test]
    fn mixing_reaches_both_ends_and_meets_in_the_middle() {
        assert_eq!(mix(0x12_3456, 0xfe_dcba, 0), 0x12_3456);
        assert_eq!(mix(0x12_3456, 0xfe_dcba, 255), 0xfe_dcba);
        assert_eq!(mix(0, 0xff_ffff, 128), 0x80_8080);
    }

    #[test]
    fn corners_are_cut_and_the_rest_is_full() {
        let area = Rectangle::new(Point::new(5, 5), Size::new(40, 30));
        assert_eq!(corner(area, 10, Point::new(5, 5)), 0);
        assert_eq!(corner(area, 10, Point::new(44, 34)), 0);
        assert_eq!(corner(area, 10, Point::new(25, 5)), 255);
        assert_eq!(corner(area, 0, Point::new(5, 5)), 255);
    }

    #[test]
    fn nothing_is_drawn_outside_the_clip_or_the_surface() {
        let mut surface = Surface::new(Size::new(40, 40));
        surface.clip_to(Rectangle::new(Point::new(10, 10), Size::new(10, 100)));
        let white = Rgb888::new(255, 255, 255);
        let everywhere = Rectangle::new(Point::new(-20, -20), Size::new(90, 90));
        surface.panel(everywhere, 3, (white, white), 255);
        surface.frame(everywhere, 9, 30, white);
        surface.text(
            Point::new(-3, 20),
            &mut Lettering::new().unwrap(),
            ("Wide", Weight::Medium, 30 * FINE),
            white,
        );
        surface.picture(everywhere, 4, Picture::new(2, &[0xff_ffff; 4]), true);
        let drawn = surface.pixels().iter().filter(|&&pixel| pixel != 0).count();
        assert_eq!(drawn, 10 * 30);
    }

    #[test]
    fn a_picture_keeps_its_proportions_and_may_be_empty() {
        let mut surface = Surface::new(Size::new(40, 40));
        let all = Rectangle::new(Point::zero(), Size::new(40, 40));
        surface.picture(all, 0, Picture::new(4, &[0xff; 8]), true);
        assert_eq!(surface.pixels().iter().filter(|&&pixel| pixel == 0xff).count(), 40 * 20);
        surface.picture(all, 0, Picture::new(0, &[]), true);
        surface.picture(all, 0, Picture::new(9, &[1]), false);
    }

    #[test]
    fn a_picture_in_its_own_size_is_copied_and_a_sharp_one_not_mixed() {
        let pixels: Vec<u32> = (0..64).map(|at| at * 0x01_0203).collect();
        let picture = Picture::new(8, &pixels);
        for smooth in [true, false] {
            let mut surface = Surface::new(Size::new(8, 8));
            surface.picture(Rectangle::new(Point::zero(), Size::new(8, 8)), 0, picture, smooth);
            assert_eq!(surface.pixels(), pixels);
        }
        let mut surface = Surface::new(Size::new(24, 24));
        surface.picture(Rectangle::new(Point::zero(), Size::new(24, 24)), 0, picture, false);
        assert!(surface.pixels().iter().all(|pixel| pixels.contains(pixel)));
    }

    #[test]
    fn a_surface_shows_on_any_draw_target() {
        let mut surface = Surface::new(Size::new(4, 4));
        let red = Rgb888::new(200, 0, 0);
        surface.panel(Rectangle::new(Point::zero(), Size::new(4, 4)), 0, (red, red), 255);
        let mut display = embedded_graphics::mock_display::MockDisplay::<Rgb888>::new();
        surface.show(&mut display, Rectangle::new(Point::new(2, 2), Size::new(9, 9))).unwrap();
        assert_eq!(display.get_pixel(Point::new(3, 3)), Some(red));
        assert_eq!(display.get_pixel(Point::new(1, 1)), None);
        assert_eq!(display.get_pixel(Point::new(4, 4)), None);
    }
}
