//! The screen as the door has left it: pixels in memory, in the mode that the firmware or the door chose.

use crate::devices::{self, Registers};
use crate::hypercall::{Outcome, Refused};
use alloc::vec::Vec;
use core::task::{Context, Poll};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use hv_abi::boot::{Framebuffer as Mode, PixelFormat};
use hv_abi::hypercall::{Call, Status};
use hv_defs::pci::{command, register};
use management::display::{self, Display};

/// Bytes of a pixel.
const PIXEL: u64 = 4;

/// A linear framebuffer.
pub struct Framebuffer {
    pixels: Registers,
    mode: Mode,
    /// A line on its way to a screen whose pixels lie otherwise.
    line: Vec<u32>,
}

impl Framebuffer {
    /// Has the screen's pixels mapped, which are in a BAR of one of the machine's devices.
    ///
    /// # Errors
    /// They are in none, or hv does not map it.
    pub fn open(mode: Mode) -> Outcome<Self> {
        let nowhere = Refused { call: Call::DEV_MAP, status: Status::NO_SUCH_THING };
        let mode = mode.usable().ok_or(nowhere)?;
        for device in devices::all() {
            let Some(bar) = device.info.bars.iter().position(|bar| bar.contains(mode.range)) else {
                continue;
            };
            let registers = device.map(bar)?;
            device.write(register::COMMAND, 2, command::MEMORY | command::NO_LINE)?;
            let offset = mode.range.base - device.info.bars[bar].base;
            let pixels = registers.part(offset, mode.range.len).ok_or(nowhere)?;
            return Ok(Self { pixels, mode, line: Vec::new() });
        }
        Err(nowhere)
    }
}

impl Display for Framebuffer {
    fn size(&self) -> Size {
        Size::new(self.mode.width, self.mode.height)
    }

    fn present(&mut self, area: Rectangle, pixels: &[u32], stride: usize) {
        for (at, line) in display::lines(self.size(), area, pixels, stride) {
            let (x, y) = (u64::from(at.x.unsigned_abs()), u64::from(at.y.unsigned_abs()));
            let at = y * u64::from(self.mode.stride) + x * PIXEL;
            if self.mode.format == PixelFormat::RGBX {
                self.line.clear();
                self.line.extend(line.iter().map(|pixel| (pixel << 8).swap_bytes()));
                self.pixels.copy_in(at, &self.line);
            } else {
                self.pixels.copy_in(at, line);
            }
        }
    }

    fn poll_shown(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
