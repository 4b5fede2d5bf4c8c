//! A linear framebuffer that can be drawn on.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use hv_abi::boot::{Framebuffer, PixelFormat};
use ui::canvas::{Canvas, Pixels};
use ui::notice::{self, Notice};

/// The screen, as the door found it. Or none: then nothing is drawn.
pub struct Screen {
    pixels: Option<Mapped>,
}

struct Mapped {
    at: *mut u32,
    layout: Framebuffer,
}

// SAFETY: the pointer is to device memory that `Screen::open`'s caller gave to this value alone.
unsafe impl Send for Mapped {}

impl Screen {
    /// No screen.
    pub const fn none() -> Self {
        Self { pixels: None }
    }

    /// Takes the screen. One that cannot be drawn on ([`Framebuffer::usable`]) is taken as none.
    ///
    /// # Safety
    /// `offset + layout.range` must be mapped, writable, and used by nobody else for as long as
    /// the result lives.
    pub unsafe fn open(layout: Framebuffer, offset: u64) -> Self {
        let mapped = |layout: Framebuffer| Mapped {
            at: core::ptr::with_exposed_provenance_mut((offset + layout.range.base) as usize),
            layout,
        };
        Self { pixels: layout.usable().map(mapped) }
    }

    /// Draws a notice over all that was on the screen.
    pub fn show(&mut self, notice: &Notice<'_>) {
        if let Some(pixels) = &mut self.pixels {
            let Ok(()) = notice::draw(&mut Canvas(pixels), notice);
        }
    }
}

impl Pixels for &mut Mapped {
    fn size(&self) -> Size {
        Size::new(self.layout.width, self.layout.height)
    }

    fn fill(&mut self, x: u32, y: u32, len: u32, colour: Rgb888) {
        let (red, green, blue) = (colour.r() as u32, colour.g() as u32, colour.b() as u32);
        let value = match self.layout.format {
            PixelFormat::RGBX => red | green << 8 | blue << 16,
            _ => blue | green << 8 | red << 16,
        };
        assert!(x + len <= self.layout.width && y < self.layout.height);
        let start = y as usize * (self.layout.stride / 4) as usize + x as usize;
        for at in start..start + len as usize {
            // SAFETY: the assertion and `Framebuffer::usable` (lines fit the stride, the stride
            // times the height fits the range) keep it inside the memory `open` was given.
            unsafe { self.at.add(at).write_volatile(value) };
        }
    }
}
