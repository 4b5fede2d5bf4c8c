//! Every colour and size, in one place.

use embedded_graphics::pixelcolor::Rgb888;

/// Behind everything.
pub const BACKGROUND: Rgb888 = Rgb888::new(0x12, 0x14, 0x1a);
/// Text that must be read.
pub const TEXT: Rgb888 = Rgb888::new(0xf2, 0xee, 0xe6);
/// Text that may be read.
pub const TEXT_DIM: Rgb888 = Rgb888::new(0x9a, 0x9c, 0xa6);
/// Hearth's own colour: a fire in the dark.
pub const EMBER: Rgb888 = Rgb888::new(0xf0, 0x8a, 0x3c);
/// Something is wrong.
pub const ALARM: Rgb888 = Rgb888::new(0xe0, 0x4a, 0x4a);

/// Televisions may cut off this share of each edge (overscan): one part in so many.
pub const SAFE_AREA_PART: u32 = 20;

/// One step of text size is worth this many lines of screen, so that text read from three metres
/// is as large on every screen.
pub const LINES_PER_SCALE: u32 = 360;
