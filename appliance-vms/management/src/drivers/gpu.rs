//! A screen on virtio-gpu: what its driver asks for, in two dimensions, and what it is answered. Virtio 1.2,
//! 5.7.6; the device's side of the same words is [`crate::virtio::gpu`].
//!
//! There is one picture, as large as the screen, and one piece of memory that it is drawn in. What is drawn is
//! seen once the device was asked to copy it and then to show it.

use crate::memory::HostRange;
use crate::virtio::gpu::{HEADER, Mode, kind};
use alloc::vec::Vec;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use ui::tv::scene::around;

/// Bytes of the longest request.
pub const REQUEST: usize = HEADER + 32;
/// Bytes of the longest answer: what is known of sixteen screens (5.7.6.8, `virtio_gpu_resp_display_info`).
pub const ANSWER: usize = HEADER + 16 * 24;
/// Bytes of a pixel.
pub const PIXEL: u64 = 4;
/// The numbers of the picture and of the screen.
const PICTURE: u32 = 1;
const SCREEN: u32 = 0;
/// `VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM`: a word of ours, lowest byte first.
const FORMAT: u32 = 2;
/// Areas that are shown one by one; more are shown as one.
pub const MOST_AREAS: usize = 8;

/// What the device is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Which screens there are.
    DisplayInfo,
    /// A picture of that size.
    Create(Size),
    /// The picture is drawn in that memory.
    Attach(HostRange),
    /// The picture is what the screen shows.
    Show(Size),
    /// A part of the picture was drawn; the whole one has so many pixels a line.
    Transfer(Rectangle, u32),
    /// A part of the picture is to be seen.
    Flush(Rectangle),
}

impl Request {
    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        let all = |size| Rectangle::new(Point::zero(), size);
        let (number, body): (u32, Vec<u32>) = match self {
            Self::DisplayInfo => (kind::GET_DISPLAY_INFO, Vec::new()),
            Self::Create(Size { width, height }) => {
                (kind::RESOURCE_CREATE_2D, [PICTURE, FORMAT, width, height].into())
            }
            Self::Attach(HostRange { address, len }) => (
                kind::RESOURCE_ATTACH_BACKING,
                [PICTURE, 1, address as u32, (address >> 32) as u32, len as u32, 0].into(),
            ),
            Self::Show(size) => (kind::SET_SCANOUT, [&rect(all(size))[..], &[SCREEN, PICTURE]].concat()),
            Self::Transfer(area, width) => {
                let [x, y, ..] = rect(area);
                let offset = (u64::from(y) * u64::from(width) + u64::from(x)) * PIXEL;
                let rest = [offset as u32, (offset >> 32) as u32, PICTURE, 0];
                (kind::TRANSFER_TO_HOST_2D, [rect(area), rest].concat())
            }
            Self::Flush(area) => (kind::RESOURCE_FLUSH, [&rect(area)[..], &[PICTURE, 0]].concat()),
        };
        let header = [number, 0, 0, 0, 0, 0];
        header.into_iter().chain(body).flat_map(u32::to_le_bytes).collect()
    }
}

fn rect(area: Rectangle) -> [u32; 4] {
    let Rectangle { top_left, size } = area;
    [top_left.x.unsigned_abs(), top_left.y.unsigned_abs(), size.width, size.height]
}

/// Whether the device has done what it was asked.
pub fn is_done(answer: &[u8]) -> bool {
    word(answer, 0) == Some(kind::OK_NODATA)
}

/// The size of the picture for the first screen, by the answer to [`Request::DisplayInfo`]: 1920×1080 or
/// 1280×720 where there is room for it, else what there is. `None`: that is no answer to it.
pub fn size(answer: &[u8]) -> Option<Size> {
    if word(answer, 0) != Some(kind::OK_DISPLAY_INFO) {
        return None;
    }
    let first = HEADER / 4;
    let (width, height) = (word(answer, first + 2)?, word(answer, first + 3)?);
    let is_on = word(answer, first + 4)? != 0 && width > 0 && height > 0;
    let size = |mode: Mode| Size::new(mode.size().0, mode.size().1);
    let fits = |mode: &Mode| mode.size().0 <= width && mode.size().1 <= height;
    let best = [Mode::FullHd, Mode::Hd].into_iter().find(fits).map(size);
    // One that is not plugged in may be later, and is drawn for meanwhile.
    Some(if is_on { best.unwrap_or(Size::new(width, height)) } else { size(Mode::Hd) })
}

fn word(answer: &[u8], at: usize) -> Option<u32> {
    answer.as_chunks::<4>().0.get(at).map(|&bytes| u32::from_le_bytes(bytes))
}

/// What was drawn and is not shown yet.
#[derive(Debug, Default)]
pub struct Drawn(heapless::Vec<Rectangle, MOST_AREAS>);

impl Drawn {
    /// That was drawn, too.
    pub fn add(&mut self, area: Rectangle) {
        // A larger area comes in pieces, one below the other.
        if let Some(last) = self.0.last_mut()
            && last.size.width == area.size.width
            && last.top_left + last.size.y_axis() == area.top_left
        {
            last.size += area.size.y_axis();
        } else if let Err(area) = self.0.push(area) {
            let all = self.0.iter().fold(area, |all, &part| around(all, part));
            self.0.clear();
            // There is room now.
            let _ = self.0.push(all);
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be asked for it to be seen on a picture of so many pixels a line: all copies first, so that
    /// nothing is seen by half.
    pub fn requests(&mut self, width: u32) -> Vec<Request> {
        let areas = core::mem::take(&mut self.0);
        let copies = areas.iter().map(|&area| Request::Transfer(area, width));
        copies.chain(areas.iter().map(|&area| Request::Flush(area))).collect()
    }
}

#[cfg(test)]
mod tests;
