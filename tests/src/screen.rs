//! What is on the box's screen: pixels, and questions about them.

use anyhow::{Context, Result, bail, ensure};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::Size;
use std::collections::HashMap;
use std::path::Path;
use ui::canvas::{Canvas, Pixels};

/// Red, green, blue.
pub type Colour = [u8; 3];

/// A picture of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Pixels a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    pixels: Vec<Colour>,
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x: usize,
    /// First line.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

/// A line of text is at least this high, in pixels; thinner marks are rules and cursors.
const TEXT_MIN_HEIGHT: usize = 5;
/// Strokes that one line of pixels through a line of text crosses at least, at its densest: four
/// letters' worth.
const TEXT_MIN_STROKES: usize = 8;

/// A part of a colour that is not brighter than this is as good as dark.
const PAPER: u8 = 80;

impl Screen {
    /// Reads a binary PPM (`P6`, at most 255), as QEMU's `screendump` writes it.
    ///
    /// # Errors
    /// It is something else, or cut short.
    pub fn from_ppm(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        ensure!(word(&mut rest) == b"P6", "not a binary PPM picture");
        let mut number = || -> Result<usize> {
            std::str::from_utf8(word(&mut rest))?.parse().context("a PPM header has three numbers")
        };
        let (width, height, most) = (number()?, number()?, number()?);
        ensure!(most == 255, "a PPM picture of {most} steps a colour, not 255");
        let (pixels, _) = rest.as_chunks::<3>();
        let count = width.checked_mul(height).filter(|&count| count > 0 && count <= pixels.len());
        let count =
            count.with_context(|| format!("a PPM picture of {width}×{height} in {} bytes", bytes.len()))?;
        Ok(Self { width, height, pixels: pixels[..count].to_vec() })
    }

    /// Writes it as PPM.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let mut bytes = format!("P6\n{} {}\n255\n", self.width, self.height).into_bytes();
        bytes.extend(self.pixels.as_flattened());
        std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
    }

    /// What `draw` draws on a black screen.
    pub fn drawn(width: usize, height: usize, draw: impl FnOnce(&mut Canvas<&mut Self>)) -> Self {
        let mut screen = Self { width, height, pixels: vec![[0; 3]; width * height] };
        draw(&mut Canvas(&mut screen));
        screen
    }

    /// The bright and colourless of it, which is the interface's text, in black on white: what has one
    /// colour that is dark becomes paper.
    #[must_use]
    pub fn print(&self) -> Self {
        let dark = |colour: &Colour| {
            let least = colour.iter().copied().min().unwrap_or_default();
            !(u16::from(least.saturating_sub(PAPER)) * 2).min(255).to_le_bytes()[0]
        };
        let pixels = self.pixels.iter().map(|colour| [dark(colour); 3]).collect();
        Self { pixels, ..*self }
    }

    /// A part of it.
    #[must_use]
    pub fn crop(&self, region: Region) -> Self {
        let pixels = self.lines(region).flatten().copied().collect();
        Self { width: region.width, height: region.height, pixels }
    }

    /// All of it.
    pub const fn all(&self) -> Region {
        Region { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// One pixel.
    pub fn pixel(&self, x: usize, y: usize) -> Colour {
        self.pixels[y * self.width + x]
    }

    /// How many pixels each colour in `region` has.
    pub fn colours(&self, region: Region) -> HashMap<Colour, usize> {
        let mut counts = HashMap::new();
        for colour in self.lines(region).flatten() {
            *counts.entry(*colour).or_insert(0) += 1;
        }
        counts
    }

    /// The commonest colour in `region`.
    pub fn background(&self, region: Region) -> Colour {
        let counts = self.colours(region);
        counts.into_iter().max_by_key(|&(colour, count)| (count, colour)).map_or([0; 3], |(colour, _)| colour)
    }

    /// How many pixels of `region` are not its background.
    pub fn ink(&self, region: Region) -> usize {
        let background = self.background(region);
        self.lines(region).flatten().filter(|&&colour| colour != background).count()
    }

    /// The lines of text in `region`: bands of ink with nothing above and below, high enough and
    /// with enough strokes side by side to be read. A frame, a bar or a cursor is none.
    pub fn text_lines(&self, region: Region) -> Vec<Region> {
        let background = self.background(region);
        let mut found = Vec::new();
        let mut band: Option<(usize, usize)> = None;
        let blank = vec![background; region.width];
        let lines = self.lines(region).chain(std::iter::once(blank.as_slice()));
        for (y, line) in lines.enumerate() {
            let strokes = line.chunk_by(|a, b| (*a == background) == (*b == background));
            let strokes = strokes.filter(|run| run[0] != background).count();
            band = match (band, strokes) {
                (None, 0) => None,
                (None, strokes) => Some((y, strokes)),
                (Some((top, most)), strokes @ 1..) => Some((top, most.max(strokes))),
                (Some((top, most)), 0) => {
                    if y - top >= TEXT_MIN_HEIGHT && most >= TEXT_MIN_STROKES {
                        found.push(Region { y: region.y + top, height: y - top, ..region });
                    }
                    None
                }
            };
        }
        found
    }

    /// Whether it shows the same picture as `other`: no colour of any pixel is further away than
    /// `tolerance`, but for `stray` pixels.
    ///
    /// # Errors
    /// How far off it is.
    pub fn same_as(&self, other: &Self, tolerance: u8, stray: usize) -> Result<()> {
        let (ours, theirs) = ((self.width, self.height), (other.width, other.height));
        ensure!(ours == theirs, "the screen is {ours:?}, the picture {theirs:?}");
        let off = |(a, b): (&Colour, &Colour)| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > tolerance);
        let differs: Vec<usize> =
            (0..self.pixels.len()).filter(|&at| off((&self.pixels[at], &other.pixels[at]))).collect();
        match differs.first() {
            Some(first) if differs.len() > stray => bail!(
                "{} pixels are off by more than {tolerance}, the first at {},{}",
                differs.len(),
                first % self.width,
                first / self.width
            ),
            _ => Ok(()),
        }
    }

    fn lines(&self, region: Region) -> impl Iterator<Item = &[Colour]> {
        let lines = self.pixels.chunks(self.width).skip(region.y).take(region.height);
        lines.map(move |line| &line[region.x..region.x + region.width])
    }
}

impl Pixels for &mut Screen {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }

    fn fill(&mut self, x: u32, y: u32, len: u32, colour: Rgb888) {
        let start = y as usize * self.width + x as usize;
        self.pixels[start..start + len as usize].fill([colour.r(), colour.g(), colour.b()]);
    }
}

/// The next word of a PPM header; takes one white space behind it, steps over comments.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    loop {
        *rest = rest.trim_ascii_start();
        if !rest.starts_with(b"#") {
            break;
        }
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        *rest = &rest[end..];
    }
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after.get(1..).unwrap_or_default();
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLUE: Colour = [0, 0, 40];
    const WHITE: Colour = [255; 3];

    fn blank() -> Screen {
        Screen { width: 64, height: 40, pixels: vec![BLUE; 64 * 40] }
    }

    /// Draws `strokes` upright strokes of `height` pixels.
    fn with_strokes(mut screen: Screen, y: usize, height: usize, strokes: usize) -> Screen {
        for (line, stroke) in (y..y + height).flat_map(|line| (0..strokes).map(move |stroke| (line, stroke)))
        {
            screen.pixels[line * 64 + 4 + stroke * 3] = WHITE;
        }
        screen
    }

    #[test]
    fn a_picture_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("screen.ppm");
        let screen = with_strokes(blank(), 3, 4, 5);
        screen.save(&file).expect("written");
        let bytes = std::fs::read(&file).expect("readable");
        assert_eq!(Screen::from_ppm(&bytes).expect("a picture"), screen);
        assert!(Screen::from_ppm(&bytes[..bytes.len() - 1]).is_err());
        assert!(Screen::from_ppm(b"P6 1 1 65535 aabbcc").is_err());
        assert!(Screen::from_ppm(b"P6 0 0 255 ").is_err());
        let commented = Screen::from_ppm(b"P6 # by hand\n1 1\n#\n255\n\x0a\x20\x0d").expect("a picture");
        assert_eq!(commented.pixel(0, 0), [10, 32, 13]);
    }

    #[test]
    fn text_is_printed_and_frames_are_not() {
        let print =
            Screen { width: 3, height: 1, pixels: vec![[240; 3], [250, 140, 60], [40, 45, 60]] }.print();
        assert_eq!(print.pixels, [[0; 3], [255; 3], [255; 3]]);
    }

    #[test]
    fn text_is_told_from_blank_rules_and_blocks() {
        assert_eq!(blank().text_lines(blank().all()), []);
        assert_eq!(blank().ink(blank().all()), 0);
        let mut marks = with_strokes(blank(), 2, 3, 20);
        marks = with_strokes(marks, 10, 12, 2);
        assert!(marks.ink(marks.all()) > 0);
        assert_eq!(marks.text_lines(marks.all()), []);
        let text = with_strokes(with_strokes(blank(), 4, 8, 9), 32, 8, 12);
        let bands: Vec<_> = text.text_lines(text.all()).iter().map(|band| (band.y, band.height)).collect();
        assert_eq!(bands, [(4, 8), (32, 8)]);
        let below = Region { x: 0, y: 20, width: 64, height: 20 };
        assert_eq!(text.text_lines(below).len(), 1);
        assert_eq!(text.background(below), BLUE);
        assert_eq!(text.colours(text.all())[&WHITE], 8 * 21);
    }

    #[test]
    fn pictures_are_compared_within_a_tolerance() {
        let mut near = blank();
        near.pixels.iter_mut().for_each(|colour| colour[2] += 3);
        near.same_as(&blank(), 3, 0).expect("near enough");
        assert!(near.same_as(&blank(), 2, 0).unwrap_err().to_string().contains("at 0,0"));
        let strokes = with_strokes(blank(), 0, 1, 2);
        strokes.same_as(&blank(), 0, 2).expect("two strays are allowed");
        assert!(strokes.same_as(&blank(), 0, 1).is_err());
        assert!(blank().same_as(&Screen { width: 40, height: 64, ..blank() }, 255, 9999).is_err());
    }
}
