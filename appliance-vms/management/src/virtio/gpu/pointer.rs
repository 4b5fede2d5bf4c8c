//! The pointer, which guests have shown over their picture.

use super::layout::CursorCommand;
use super::resource::Resource;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Columns and rows of a pointer's picture (virtio 1.2, 5.7.6.10).
pub const POINTER: usize = 64;

/// A guest's pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer<'a> {
    /// Where its picture is on the screen, which may be partly outside.
    pub x: i32,
    /// See [`Pointer::x`].
    pub y: i32,
    /// Which pixel of the picture points.
    pub hot: (u32, u32),
    /// [`POINTER`] rows of as many pixels, as 0xAARRGGBB.
    pub pixels: &'a [u32],
}

#[derive(Debug, Default)]
pub(super) struct PointerState {
    x: i32,
    y: i32,
    hot: (u32, u32),
    /// Empty: it is not shown.
    pixels: Vec<u32>,
}

impl PointerState {
    /// Whether anything has changed.
    pub fn set(&mut self, command: CursorCommand, resources: &BTreeMap<u32, Resource>) -> bool {
        match command {
            CursorCommand::Update { scanout: 0, x, y, resource, hot } => {
                (self.x, self.y, self.hot) = (x, y, hot);
                self.pixels.clear();
                let side = POINTER as u32;
                let picture =
                    resources.get(&resource).filter(|known| (known.width, known.height) == (side, side));
                if let Some(picture) = picture {
                    self.pixels.extend_from_slice(picture.pixels());
                }
            }
            CursorCommand::Move { scanout: 0, x, y } => (self.x, self.y) = (x, y),
            _ => return false,
        }
        true
    }

    pub fn get(&self) -> Option<Pointer<'_>> {
        let Self { x, y, hot, ref pixels } = *self;
        (!pixels.is_empty()).then_some(Pointer { x, y, hot, pixels })
    }
}
