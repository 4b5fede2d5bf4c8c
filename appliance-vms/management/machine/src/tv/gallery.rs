//! Guests' pictures, as the interface shows them.

use crate::appliances::Screen;
use core::cell::Ref;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use management::virtio::VirtioFunction;
use management::virtio::gpu::{Gpu, Rect};
use ui::tv::{Picture, Pictures, VmId};

/// The pictures of all guests, while they are looked at: nobody else has the screens meanwhile.
pub struct Gallery<'a>(alloc::vec::Vec<(VmId, Ref<'a, VirtioFunction<Gpu>>)>);

impl<'a> Gallery<'a> {
    /// Opens it.
    pub fn open(screens: &'a [(VmId, Screen)]) -> Self {
        Self(screens.iter().map(|(id, screen)| (*id, screen.borrow())).collect())
    }
}

impl Pictures for Gallery<'_> {
    fn picture(&self, of: VmId) -> Option<Picture<'_>> {
        let (_, screen) = self.0.iter().find(|(id, _)| *id == of)?;
        let picture = screen.device().picture()?;
        let side = |pixels: usize| u32::try_from(pixels).ok();
        Some(Picture { width: side(picture.width)?, stride: side(picture.stride)?, pixels: picture.pixels })
    }
}

/// Where a picture is on a screen of that size, if it is shown there pixel for pixel.
pub fn in_own_size(picture: &Picture<'_>, screen: Size) -> Option<Point> {
    let placed = picture.placed(Rectangle::new(Point::zero(), screen));
    (placed.size == Size::new(picture.width, picture.height())).then_some(placed.top_left)
}

/// A part of a picture, by the interface's measure; none of them is larger than a screen.
pub fn area(rect: Rect) -> Rectangle {
    let at = Point::new(rect.x.cast_signed(), rect.y.cast_signed());
    Rectangle::new(at, Size::new(rect.width, rect.height))
}
