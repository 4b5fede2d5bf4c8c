//! What a screen consists of: shapes, from back to front, in layout units.

use super::lettering::{Lettering, Weight};
use super::state::VmId;
use crate::theme::{LAYOUT_HEIGHT, LAYOUT_WIDTH, SAFE_AREA_PART, Theme};
use alloc::string::String;
use alloc::vec::Vec;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// One thing on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A rectangle that may be rounded, shaded from top to bottom, and let shine through.
    Panel {
        /// Where.
        area: Rectangle,
        /// Rounding of the corners.
        radius: u32,
        /// Colour of the upper edge.
        top: Rgb888,
        /// Colour of the lower edge.
        bottom: Rgb888,
        /// 255 hides what is behind, 0 is not seen.
        opacity: u8,
    },
    /// A rounded frame.
    Frame {
        /// Its outer edge.
        area: Rectangle,
        /// Rounding of the outer edge.
        radius: u32,
        /// Thickness, inwards.
        width: u32,
        /// Colour.
        colour: Rgb888,
    },
    /// A line of text.
    Text {
        /// Where the line starts, on its baseline.
        at: Point,
        /// Room that it takes.
        width: u32,
        /// Height of the type.
        size: u32,
        /// Its weight.
        weight: Weight,
        /// Its colour.
        colour: Rgb888,
        /// What it says.
        text: String,
    },
    /// What an appliance shows, scaled to `area` with its proportions kept.
    Picture {
        /// Where.
        area: Rectangle,
        /// Rounding of the corners.
        radius: u32,
        /// Whose picture.
        of: VmId,
        /// Which of its frames; another number means: draw it again.
        frame: u64,
        /// Whether neighbouring pixels are mixed.
        smooth: bool,
    },
}

impl Shape {
    /// All that the shape may colour lies within.
    pub fn bounds(&self) -> Rectangle {
        match self {
            Self::Panel { area, .. } | Self::Frame { area, .. } | Self::Picture { area, .. } => *area,
            // Letters may reach a little over their line at both ends, and below it.
            Self::Text { at, width, size, .. } => {
                let overhang = (size / 6 + 1).cast_signed();
                let top_left = Point::new(at.x - overhang, at.y - size.cast_signed());
                Rectangle::new(top_left, Size::new(width + 2 * overhang.cast_unsigned(), size + size / 3 + 1))
            }
        }
    }
}

/// How a line of text sits in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// At the left.
    Left,
    /// In the middle.
    Centre,
    /// At the right.
    Right,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Height of the type.
    pub size: u32,
    /// Its weight.
    pub weight: Weight,
    /// Its colour.
    pub colour: Rgb888,
    /// Where it sits.
    pub align: Align,
}

/// A screen, being put together.
pub struct Scene<'a> {
    /// The look.
    pub theme: &'a Theme,
    /// Measures.
    pub lettering: &'a Lettering,
    /// From back to front.
    pub shapes: Vec<Shape>,
    /// So many of the shapes are the backdrop; only they may leave the safe area.
    pub backdrop: usize,
    /// What has the focus, and the rounding of it.
    pub focus: Option<(Rectangle, u32)>,
    /// Texts that had to be shortened.
    pub shortened: Vec<String>,
}

impl<'a> Scene<'a> {
    /// An empty screen.
    pub fn new(theme: &'a Theme, lettering: &'a Lettering) -> Self {
        Self { theme, lettering, shapes: Vec::new(), backdrop: 0, focus: None, shortened: Vec::new() }
    }

    /// Says that all so far was the backdrop.
    pub fn end_backdrop(&mut self) {
        self.backdrop = self.shapes.len();
    }

    /// A plain panel.
    pub fn panel(&mut self, area: Rectangle, radius: u32, colour: Rgb888) {
        self.shaded(area, radius, colour, colour);
    }

    /// A panel shaded from `top` to `bottom`, with the edge that the theme asks for.
    pub fn shaded(&mut self, area: Rectangle, radius: u32, top: Rgb888, bottom: Rgb888) {
        self.shapes.push(Shape::Panel { area, radius, top, bottom, opacity: 255 });
    }

    /// The edge that the theme wants around panels.
    pub fn edge(&mut self, area: Rectangle, radius: u32) {
        if self.theme.edge > 0 {
            let (width, colour) = (self.theme.edge, self.theme.text_dim);
            self.shapes.push(Shape::Frame { area, radius, width, colour });
        }
    }

    /// A line of text whose capitals stand in the middle of `area`; shortened if it must be.
    pub fn line(&mut self, area: Rectangle, text: &str, style: Style) {
        let room = area.size.width;
        let fitting = self.lettering.fit(text, style.weight, style.size, room);
        if fitting != text {
            self.shortened.push(String::from(text));
        }
        let width = self.lettering.width(&fitting, style.weight, style.size);
        let spare = room.saturating_sub(width);
        let x = match style.align {
            Align::Left => 0,
            Align::Centre => spare / 2,
            Align::Right => spare,
        };
        // Inter's capitals are 0.727 of its size high.
        let capitals = style.size * 727 / 1000;
        let y = (area.size.height + capitals).div_ceil(2);
        let at = area.top_left + Point::new(x.cast_signed(), y.cast_signed());
        let Style { size, weight, colour, .. } = style;
        self.shapes.push(Shape::Text { at, width, size, weight, colour, text: fitting });
    }

    /// Several lines from the top of `area` on. What does not fit counts as shortened. Answers
    /// the height used.
    pub fn paragraph(&mut self, area: Rectangle, text: &str, style: Style) -> u32 {
        let pitch = style.size * 7 / 5;
        let mut y = 0;
        for line in self.lettering.wrap(text, style.weight, style.size, area.size.width) {
            if y + pitch > area.size.height {
                self.shortened.push(line);
                continue;
            }
            let row = rect(area.top_left.x, area.top_left.y + y.cast_signed(), area.size.width, pitch);
            self.line(row, &line, style);
            y += pitch;
        }
        y
    }

    /// Body text.
    pub fn body(&self) -> Style {
        let colour = self.theme.text;
        Style { size: self.theme.body, weight: Weight::Medium, colour, align: Align::Left }
    }

    /// Text that may be read.
    pub fn dim(&self) -> Style {
        Style { size: self.theme.small, colour: self.theme.text_dim, ..self.body() }
    }

    /// A heading.
    pub fn heading(&self) -> Style {
        Style { size: self.theme.heading, weight: Weight::SemiBold, ..self.body() }
    }

    /// A screen's name.
    pub fn title(&self) -> Style {
        Style { size: self.theme.title, weight: Weight::SemiBold, ..self.body() }
    }
}

/// A rectangle in layout units.
pub const fn rect(x: i32, y: i32, width: u32, height: u32) -> Rectangle {
    Rectangle::new(Point::new(x, y), Size::new(width, height))
}

/// `area` with `by` more on each side.
pub fn grown(area: Rectangle, by: u32) -> Rectangle {
    let step = by.cast_signed();
    Rectangle::new(area.top_left - Point::new_equal(step), area.size + Size::new_equal(2 * by))
}

/// The smallest area with both in it.
pub fn around(a: Rectangle, b: Rectangle) -> Rectangle {
    let (a_end, b_end) = (a.top_left + a.size, b.top_left + b.size);
    let start = a.top_left.component_min(b.top_left);
    let end = a_end.component_max(b_end);
    Rectangle::new(start, Size::new((end.x - start.x).unsigned_abs(), (end.y - start.y).unsigned_abs()))
}

/// `area` with `x` and `y` less on each side.
pub fn shrunk(area: Rectangle, x: u32, y: u32) -> Rectangle {
    let size = area.size.saturating_sub(Size::new(2 * x, 2 * y));
    Rectangle::new(area.top_left + Point::new(x.cast_signed(), y.cast_signed()), size)
}

/// The whole screen.
pub const SCREEN: Rectangle = rect(0, 0, LAYOUT_WIDTH, LAYOUT_HEIGHT);

/// The part that no television cuts off.
pub const SAFE: Rectangle = rect(
    (LAYOUT_WIDTH / SAFE_AREA_PART).cast_signed(),
    (LAYOUT_HEIGHT / SAFE_AREA_PART).cast_signed(),
    LAYOUT_WIDTH - 2 * (LAYOUT_WIDTH / SAFE_AREA_PART),
    LAYOUT_HEIGHT - 2 * (LAYOUT_HEIGHT / SAFE_AREA_PART),
);
