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

/// How the television interface looks. All sizes are in 720ths of the screen's height, so a look
/// is the same on every screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Behind everything.
    pub background: Rgb888,
    /// Tiles and rows.
    pub panel: Rgb888,
    /// The upper end of a tile's shading; `panel` is the lower one.
    pub panel_light: Rgb888,
    /// What has the focus is filled with this, besides having the ring around it.
    pub panel_focus: Rgb888,
    /// Text that must be read.
    pub text: Rgb888,
    /// Text that may be read.
    pub text_dim: Rgb888,
    /// The one colour: focus, and what is alive.
    pub accent: Rgb888,
    /// Text on `accent`.
    pub on_accent: Rgb888,
    /// Something is wrong.
    pub alarm: Rgb888,
    /// How much of a picture the veil behind a panel takes away, of 255.
    pub veil: u8,
    /// The edge of every panel; 0 for none.
    pub edge: u32,
    /// The width of the ring around what has the focus.
    pub ring: u32,
    /// Size of a screen's name and of the clock.
    pub title: u32,
    /// Size of a tile's name and of a panel's heading.
    pub heading: u32,
    /// Size of what is read.
    pub body: u32,
    /// Size of what may be read.
    pub small: u32,
    /// Height of a row or button.
    pub row: u32,
}

/// Width of the area every layout is made for.
pub const LAYOUT_WIDTH: u32 = 1280;
/// Height of the area every layout is made for.
pub const LAYOUT_HEIGHT: u32 = 720;
/// Between things that belong together.
pub const GAP: u32 = 12;
/// Between things that don't.
pub const SPACE: u32 = 24;
/// Room that the focus ring needs around what it surrounds.
pub const RING_ROOM: u32 = 8;
/// Rounding of tiles and panels.
pub const RADIUS: u32 = 16;
/// Rounding of rows and buttons.
pub const RADIUS_SMALL: u32 = 12;
/// How long the focus travels, in milliseconds.
pub const FOCUS_TRAVEL: u64 = 160;
/// How long the volume stays on the screen after it was changed, in milliseconds.
pub const VOLUME_SHOWN: u64 = 2000;

/// Embers in the dark.
pub const NORMAL: Theme = Theme {
    background: BACKGROUND,
    panel: Rgb888::new(0x1d, 0x20, 0x29),
    panel_light: Rgb888::new(0x26, 0x2a, 0x35),
    panel_focus: Rgb888::new(0x2e, 0x32, 0x3f),
    text: TEXT,
    text_dim: Rgb888::new(0xa6, 0xa8, 0xb2),
    accent: EMBER,
    on_accent: Rgb888::new(0x1a, 0x10, 0x08),
    alarm: Rgb888::new(0xff, 0x6b, 0x62),
    veil: 120,
    edge: 0,
    ring: 4,
    title: 38,
    heading: 27,
    body: 23,
    small: 19,
    row: 58,
};

/// For eyes that want it larger.
pub const LARGE_TYPE: Theme =
    Theme { title: 46, heading: 34, body: 30, small: 25, row: 72, ring: 5, ..NORMAL };

/// For eyes that want it clearer.
pub const HIGH_CONTRAST: Theme = Theme {
    background: Rgb888::new(0, 0, 0),
    panel: Rgb888::new(0, 0, 0),
    panel_light: Rgb888::new(0, 0, 0),
    panel_focus: Rgb888::new(0x30, 0x28, 0),
    text: Rgb888::new(0xff, 0xff, 0xff),
    text_dim: Rgb888::new(0xe8, 0xe8, 0xe8),
    accent: Rgb888::new(0xff, 0xd8, 0),
    on_accent: Rgb888::new(0, 0, 0),
    alarm: Rgb888::new(0xff, 0x90, 0x88),
    veil: 200,
    edge: 2,
    ring: 6,
    ..NORMAL
};
