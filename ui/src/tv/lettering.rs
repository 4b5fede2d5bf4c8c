//! Anti-aliased type: two weights of Inter, measured and drawn.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use fontdue::{Font, FontSettings};

/// How heavy the type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// What is read.
    Medium,
    /// What is found.
    SemiBold,
}

/// What a shortened text ends with.
const ELLIPSIS: char = '…';
/// Glyphs kept ready. All texts of one screen size need about 300; a name may bring any letter.
const CACHE: usize = 1024;
/// A line of a television has room for fewer letters than this.
const LETTERS: usize = 512;
/// Sizes are told in this part of a pixel, so that a text takes the same part of every screen.
pub(super) const FINE: u32 = 64;

/// One letter as it goes to the screen.
pub(super) struct Glyph {
    /// Pixels from the pen to the left edge.
    pub left: i32,
    /// Pixels from the baseline up to the lower edge.
    pub bottom: i32,
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Of 255, how much of each pixel is covered; line by line from the top.
    pub coverage: Vec<u8>,
    /// How far the pen moves, in pixels.
    pub advance: f32,
}

/// The type of the interface.
pub struct Lettering {
    medium: Font,
    semi_bold: Font,
    glyphs: BTreeMap<(Weight, char, u32), Glyph>,
}

impl Lettering {
    /// Reads the fonts that are part of this crate.
    ///
    /// # Errors
    /// A font file is not a font.
    pub fn new() -> Result<Self, &'static str> {
        let read = |bytes: &[u8]| Font::from_bytes(bytes, FontSettings::default());
        Ok(Self {
            medium: read(include_bytes!("../../fonts/inter-medium.otf"))?,
            semi_bold: read(include_bytes!("../../fonts/inter-semibold.otf"))?,
            glyphs: BTreeMap::new(),
        })
    }

    /// Whether the fonts have this letter; what they lack shows as a box.
    pub fn has(&self, letter: char) -> bool {
        self.medium.has_glyph(letter) && self.semi_bold.has_glyph(letter)
    }

    /// The width of `text` in whole pixels, rounded up.
    pub fn width(&self, text: &str, weight: Weight, size: u32) -> u32 {
        let (font, size) = (self.font(weight), float(size));
        let width: f32 = text.chars().map(|letter| font.metrics(letter, size).advance_width).sum();
        #[expect(
            clippy::cast_sign_loss,
            reason = "a width is never negative, and a cast of floats saturates"
        )]
        let whole = width as u32;
        whole.saturating_add(1)
    }

    /// `text` if it is at most `room` wide, else its beginning and an ellipsis.
    pub fn fit(&self, text: &str, weight: Weight, size: u32, room: u32) -> String {
        if text.len() <= LETTERS && self.width(text, weight, size) <= room {
            return text.to_string();
        }
        let mut short: String = text.chars().take(LETTERS).collect();
        while short.pop().is_some() {
            let candidate = alloc::format!("{}{ELLIPSIS}", short.trim_end());
            if self.width(&candidate, weight, size) <= room {
                return candidate;
            }
        }
        String::new()
    }

    /// `text` in lines of at most `room`, broken at spaces; a single longer word is shortened.
    pub fn wrap(&self, text: &str, weight: Weight, size: u32, room: u32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let longer = if line.is_empty() { word.to_string() } else { alloc::format!("{line} {word}") };
            if self.width(&longer, weight, size) <= room {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(line);
            }
            line = self.fit(word, weight, size, room);
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// The letter in this weight and size (in [`FINE`]ths of a pixel), drawn once and then kept.
    pub(super) fn glyph(&mut self, letter: char, weight: Weight, size: u32) -> &Glyph {
        let key = (weight, letter, size);
        if self.glyphs.len() >= CACHE && !self.glyphs.contains_key(&key) {
            self.glyphs.clear();
        }
        let font = match weight {
            Weight::Medium => &self.medium,
            Weight::SemiBold => &self.semi_bold,
        };
        self.glyphs.entry(key).or_insert_with(|| {
            let (metrics, coverage) = font.rasterize(letter, float(size) / float(FINE));
            Glyph {
                left: metrics.xmin,
                bottom: metrics.ymin,
                width: metrics.width as u32,
                height: metrics.height as u32,
                coverage,
                advance: metrics.advance_width,
            }
        })
    }

    fn font(&self, weight: Weight) -> &Font {
        match weight {
            Weight::Medium => &self.medium,
            Weight::SemiBold => &self.semi_bold,
        }
    }
}

/// A size as fontdue wants it.
fn float(size: u32) -> f32 {
    u16::try_from(size).map_or(f32::from(u16::MAX), f32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_measured_wrapped_and_shortened() {
        let type_ = Lettering::new().unwrap();
        let width = type_.width("Hearth", Weight::Medium, 24);
        assert!((60..100).contains(&width), "{width}");
        assert!(type_.width("Hearth", Weight::Medium, 48) >= 2 * width - 2);
        let lines = type_.wrap("one two three four", Weight::Medium, 24, 100);
        assert!(lines.len() > 1 && lines.join(" ") == "one two three four", "{lines:?}");
        let short = type_.fit("an uncommonly long name", Weight::Medium, 24, 120);
        assert!(short.ends_with('…') && type_.width(&short, Weight::Medium, 24) <= 120, "{short}");
        assert_eq!(type_.fit("x", Weight::Medium, 24, 2), "");
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut type_ = Lettering::new().unwrap();
        for size in 1..40 {
            for letter in 'a'..='z' {
                type_.glyph(letter, Weight::Medium, size);
                type_.glyph(letter, Weight::SemiBold, size);
            }
        }
        assert!(type_.glyphs.len() <= CACHE);
    }
}
