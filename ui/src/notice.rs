//! One thing, said in plain words on an otherwise empty screen.

use crate::canvas::Enlarged;
use crate::theme;
use embedded_graphics::mono_font::ascii::FONT_10X20;
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};

const FONT: MonoFont<'static> = FONT_10X20;

/// How the notice is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Calm,
    /// Something is wrong.
    Trouble,
}

/// What is said: what it is, what that means, what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// How it is meant.
    pub tone: Tone,
    /// One line.
    pub title: &'a str,
    /// A sentence or two; wrapped at spaces, `\n` starts a new line.
    pub text: &'a str,
    /// For whoever wants to know more; small and dim.
    pub detail: &'a str,
}

/// Clears the screen and draws the notice, inside the part that no television cuts off. Text that
/// does not fit ends at the lower edge.
///
/// # Errors
/// What `target` answers.
pub fn draw<D>(target: &mut D, notice: &Notice<'_>) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888> + OriginDimensions,
{
    let size = target.size();
    target.fill_solid(&Rectangle::new(Point::zero(), size), theme::BACKGROUND)?;
    let scale = (size.height / theme::LINES_PER_SCALE).max(1);
    let left = size.width / theme::SAFE_AREA_PART;
    let accent = match notice.tone {
        Tone::Calm => theme::EMBER,
        Tone::Trouble => theme::ALARM,
    };

    let mut page = Page { y: size.height / 4, left, target };
    page.bar(accent, scale)?;
    page.paragraph(notice.title, theme::TEXT, scale * 2)?;
    page.gap(scale);
    page.paragraph(notice.text, theme::TEXT, scale)?;
    page.gap(scale);
    page.paragraph(notice.detail, theme::TEXT_DIM, scale)
}

/// The part of the screen that is left: everything below `y`.
struct Page<'a, D> {
    y: u32,
    left: u32,
    target: &'a mut D,
}

impl<D> Page<'_, D>
where
    D: DrawTarget<Color = Rgb888> + OriginDimensions,
{
    /// A short bar above the title.
    fn bar(&mut self, colour: Rgb888, scale: u32) -> Result<(), D::Error> {
        let size = Size::new(60 * scale, 4 * scale);
        let at = Point::new(self.left.cast_signed(), self.y.cast_signed());
        self.y += size.height + 12 * scale;
        self.target.fill_solid(&Rectangle::new(at, size), colour)
    }

    fn gap(&mut self, scale: u32) {
        self.y += FONT.character_size.height * scale / 2;
    }

    fn paragraph(&mut self, text: &str, colour: Rgb888, scale: u32) -> Result<(), D::Error> {
        let size = self.target.size();
        let cell = FONT.character_size * scale;
        let columns = ((size.width - 2 * self.left) / cell.width).max(1) as usize;
        let bottom = size.height - size.height / theme::SAFE_AREA_PART;
        for line in wrap(text, columns) {
            if self.y + cell.height > bottom {
                break;
            }
            let at = Point::new((self.left / scale).cast_signed(), (self.y / scale).cast_signed());
            let style = MonoTextStyle::new(&FONT, colour);
            let mut page = Enlarged { target: &mut *self.target, scale };
            Text::with_baseline(line, at, style, Baseline::Top).draw(&mut page)?;
            self.y += cell.height + cell.height / 5;
        }
        Ok(())
    }
}

/// Cuts text into lines of at most `columns` characters: at spaces where there are any, and in
/// the middle of a word that is longer than a line.
fn wrap(text: &str, columns: usize) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_end();
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let limit = rest.char_indices().nth(columns).map_or(rest.len(), |(at, _)| at);
        let end = match rest[..limit].find('\n') {
            Some(newline) => newline,
            None if limit == rest.len() || rest[limit..].starts_with([' ', '\n']) => limit,
            None => rest[..limit].rfind(' ').filter(|&at| at > 0).unwrap_or(limit),
        };
        let (line, after) = rest.split_at(end);
        rest = after.strip_prefix(['\n', ' ']).unwrap_or(after);
        Some(line.trim_end_matches(' '))
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::canvas::{Canvas, Pixels};
    use std::vec::Vec;

    struct Memory {
        width: u32,
        height: u32,
        pixels: Vec<Rgb888>,
    }

    impl Pixels for Memory {
        fn size(&self) -> Size {
            Size::new(self.width, self.height)
        }
        fn fill(&mut self, x: u32, y: u32, len: u32, colour: Rgb888) {
            assert!(x + len <= self.width && y < self.height, "drew outside the screen");
            let start = (y * self.width + x) as usize;
            self.pixels[start..start + len as usize].fill(colour);
        }
    }

    fn screen(width: u32, height: u32) -> Canvas<Memory> {
        let pixels = std::vec![Rgb888::new(1, 2, 3); (width * height) as usize];
        Canvas(Memory { width, height, pixels })
    }

    fn count(screen: &Canvas<Memory>, colour: Rgb888) -> usize {
        screen.0.pixels.iter().filter(|&&pixel| pixel == colour).count()
    }

    const NOTICE: Notice<'static> = Notice {
        tone: Tone::Trouble,
        title: "Hearth can't start",
        text: "This computer's processor can't run virtual machines.",
        detail: "no svm, no vmx",
    };

    #[test]
    fn a_notice_covers_the_screen_and_shows_all_its_parts() {
        for (width, height) in [(640, 480), (1280, 720), (1920, 1080), (3840, 2160)] {
            let mut screen = screen(width, height);
            draw(&mut screen, &NOTICE).unwrap();
            assert_eq!(count(&screen, Rgb888::new(1, 2, 3)), 0, "{width}x{height} has old pixels");
            for colour in [theme::ALARM, theme::TEXT, theme::TEXT_DIM] {
                assert!(count(&screen, colour) > 200, "{width}x{height} lacks {colour:?}");
            }
        }
    }

    #[test]
    fn nothing_is_drawn_where_a_television_may_cut() {
        let mut screen = screen(1280, 720);
        let long = "word ".repeat(2000);
        draw(&mut screen, &Notice { text: &long, ..NOTICE }).unwrap();
        for (at, pixel) in screen.0.pixels.iter().enumerate() {
            let (x, y) = (at as u32 % 1280, at as u32 / 1280);
            let outside = !(64..1280 - 64).contains(&x) || !(36..720 - 36).contains(&y);
            assert!(!outside || *pixel == theme::BACKGROUND, "pixel at {x},{y}");
        }
    }

    #[test]
    fn a_screen_smaller_than_a_letter_is_survived() {
        for (width, height) in [(1, 1), (8, 8), (40, 30)] {
            draw(&mut screen(width, height), &NOTICE).unwrap();
        }
    }

    #[test]
    fn lines_break_at_spaces_or_else_anywhere() {
        let lines = |text| wrap(text, 8).collect::<Vec<_>>();
        assert_eq!(lines("one two three"), ["one two", "three"]);
        assert_eq!(lines("exactly8 more"), ["exactly8", "more"]);
        assert_eq!(lines("extraordinary"), ["extraord", "inary"]);
        assert_eq!(lines("a\n\nb"), ["a", "", "b"]);
        assert_eq!(lines("für über öl"), ["für über", "öl"]);
        assert!(lines("").is_empty());
    }
}
