//! How a picture gets on the screen: in pieces, so that no task waits for a whole one.

use super::Television;
use super::gallery::{Gallery, in_own_size};
use crate::appliances::Screen;
use crate::log::event;
use core::future::poll_fn;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use ui::tv::{Pictures, Place, VmId};

/// Pixels that are drawn or shown before other tasks have a turn.
const PIECE: u32 = 32 << 10;
/// Nanoseconds of a microsecond.
const MICRO: u64 = 1000;

impl Television {
    /// Draws what is to be seen now.
    pub(super) async fn draw(&mut self, now: u64) {
        let damage = self.painter.plan(&self.state, now);
        let interface = !damage.is_empty();
        let screens = self.desk.screens();
        for piece in damage.iter().copied().flat_map(pieces) {
            self.painter.draw(piece, &Gallery::open(&screens));
            self.handle.give_way().await;
        }
        // The screen never shows what is drawn by half.
        for piece in damage.into_iter().flat_map(pieces) {
            let surface = self.painter.surface();
            let stride = surface.size().width as usize;
            let pixels = surface.pixels().get(start(piece, stride)..).unwrap_or_default();
            self.display.present(piece, pixels, stride);
            self.handle.give_way().await;
        }
        let fresh = core::mem::take(&mut self.fresh);
        let guest = !fresh.is_empty();
        if let Place::Watching(vm) = self.state.place
            && self.is_alone(vm)
        {
            for piece in fresh.into_iter().flat_map(pieces) {
                self.pass_on(vm, piece, &screens);
                self.handle.give_way().await;
            }
        }
        let display = &mut self.display;
        poll_fn(|context| display.poll_shown(context)).await;
        if self.painter.in_motion(now) {
            self.pace.stale();
        }
        self.tell(now, interface, guest);
    }

    /// Shows a part of a guest's picture as it is.
    fn pass_on(&mut self, vm: VmId, piece: Rectangle, screens: &[(VmId, Screen)]) {
        let gallery = Gallery::open(screens);
        if let Some(picture) = gallery.picture(vm)
            && let Some(at) = in_own_size(&picture, self.display.size())
        {
            let stride = picture.stride as usize;
            let pixels = picture.pixels.get(start(piece, stride)..).unwrap_or_default();
            self.display.present(Rectangle::new(at + piece.top_left, piece.size), pixels, stride);
        }
    }

    /// Tells the log what was drawn: of the interface, of a guest's picture.
    fn tell(&mut self, now: u64, interface: bool, guest: bool) {
        let name = self.state.place.name();
        if name != self.shown {
            self.shown = name;
            event!(Info, "ui.frame", screen = name);
        }
        let end = self.handle.now();
        if interface {
            self.record.drawn(end);
        }
        // The last picture of a movement may be the one before: its end is not always another one.
        if !self.painter.in_motion(now)
            && let Some(motion) = self.record.still()
        {
            event!(
                Debug,
                "ui.motion",
                frames = motion.frames,
                micros = motion.span / MICRO,
                longest_micros = motion.longest / MICRO,
                answer_micros = motion.answer / MICRO
            );
        }
        let vm = match self.state.place {
            Place::Watching(vm) => Some(vm),
            _ => None,
        };
        if (interface || guest)
            && let Some(watched) = self.record.watched(vm, end)
        {
            event!(
                Debug,
                "ui.watched",
                vm = self.desk.name(watched.vm),
                frames = watched.frames,
                micros = watched.span / MICRO
            );
        }
    }
}

/// The first pixel of an area, in pixels that have so many a line.
fn start(area: Rectangle, stride: usize) -> usize {
    area.top_left.y.unsigned_abs() as usize * stride + area.top_left.x.unsigned_abs() as usize
}

/// An area in pieces of about [`PIECE`] pixels: some lines each.
fn pieces(area: Rectangle) -> impl Iterator<Item = Rectangle> {
    let lines = (PIECE / area.size.width.max(1)).max(1);
    (0..area.size.height).step_by(lines as usize).map(move |y| {
        let height = lines.min(area.size.height - y);
        let at = area.top_left + Point::new(0, y.cast_signed());
        Rectangle::new(at, Size::new(area.size.width, height))
    })
}
