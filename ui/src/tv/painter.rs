//! Brings scenes onto a surface, and says which parts of it changed.

use super::lettering::{FINE, Lettering};
use super::scene::{SCREEN, Scene, Shape, around, grown};
use super::screens;
use super::state::{Place, State, VmId};
use super::surface::{Picture, Surface};
use crate::theme::{FOCUS_TRAVEL, LAYOUT_HEIGHT, LAYOUT_WIDTH, RING_ROOM, VOLUME_SHOWN};
use alloc::vec::Vec;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// Lends the appliances' pictures.
pub trait Pictures {
    /// What the appliance shows, if anything.
    fn picture(&self, of: VmId) -> Option<Picture<'_>>;
}

/// No pictures at all.
impl Pictures for () {
    fn picture(&self, _of: VmId) -> Option<Picture<'_>> {
        None
    }
}

/// Damaged areas at most; more are joined.
const DAMAGES: usize = 12;

/// The focus ring on its way.
#[derive(Clone, Copy)]
struct Travel {
    place: Place,
    from: Rectangle,
    to: Rectangle,
    since: u64,
}

/// Draws states. Keeps the last picture and what it consisted of, so that only changes are drawn.
pub struct Painter {
    surface: Surface,
    lettering: Lettering,
    /// What the surface shows now.
    shown: Vec<Shape>,
    travel: Option<Travel>,
    /// The last change of the volume, and when it was seen.
    volume: (u32, Option<u64>),
}

impl Painter {
    /// For a screen of `size` pixels.
    ///
    /// # Errors
    /// The fonts can't be read.
    pub fn new(size: Size) -> Result<Self, &'static str> {
        let lettering = Lettering::new()?;
        Ok(Self {
            surface: Surface::new(size),
            lettering,
            shown: Vec::new(),
            travel: None,
            volume: (0, None),
        })
    }

    /// The picture.
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    /// Draws `state` as it is at `now` (milliseconds, never less than the last time). Answers the
    /// parts that may have changed, in pixels of the surface; they don't overlap much.
    pub fn paint(&mut self, state: &State, pictures: &dyn Pictures, now: u64) -> Vec<Rectangle> {
        let damage = self.plan(state, now);
        for &area in &damage {
            self.draw(area, pictures);
        }
        damage
    }

    /// The first half of [`Painter::paint`]: decides what is to be seen and answers which parts
    /// differ from what was. Nothing is drawn yet: [`Painter::draw`] does that, for all of each part,
    /// piece by piece if drawing it at once takes too long.
    pub fn plan(&mut self, state: &State, now: u64) -> Vec<Rectangle> {
        let volume_shows = self.volume_shows(state, now);
        let mut scene = screens::scene(state, &self.lettering, volume_shows);
        if let Some((area, radius)) = scene.focus {
            let area =
                travel(&mut self.travel, state.place, grown(area, RING_ROOM / 2 + scene.theme.ring / 2), now);
            let (width, colour) = (scene.theme.ring, scene.theme.accent);
            scene.shapes.push(Shape::Frame {
                area,
                radius: radius + RING_ROOM / 2 + width / 2,
                width,
                colour,
            });
        } else {
            self.travel = None;
        }
        let Scene { shapes, .. } = scene;
        let fit = Fit::of(self.surface.size());
        let damage: Vec<Rectangle> = if self.shown.is_empty() {
            [Rectangle::new(Point::zero(), self.surface.size())].into()
        } else {
            joined(changes(&self.shown, &shapes).into_iter().map(|area| fit.area(area)))
        };
        self.shown = shapes;
        damage
    }

    /// Draws what was planned last, as far as it is in `area`.
    pub fn draw(&mut self, area: Rectangle, pictures: &dyn Pictures) {
        let fit = Fit::of(self.surface.size());
        self.surface.clip_to(area);
        for shape in &self.shown {
            if !fit.area(shape.bounds()).intersection(&area).is_zero_sized() {
                draw(&mut self.surface, &mut self.lettering, shape, fit, pictures);
            }
        }
    }

    /// Whether the picture changes by itself, so that another frame is due.
    pub fn in_motion(&self, now: u64) -> bool {
        let travels =
            self.travel.is_some_and(|travel| travel.from != travel.to && now < travel.since + FOCUS_TRAVEL);
        travels || self.volume.1.is_some_and(|since| now < since + VOLUME_SHOWN)
    }

    fn volume_shows(&mut self, state: &State, now: u64) -> bool {
        let (changes, since) = self.volume;
        if state.volume_changes != changes {
            self.volume = (state.volume_changes, Some(now));
            return true;
        }
        let shows = since.is_some_and(|since| now < since + VOLUME_SHOWN);
        if !shows {
            self.volume.1 = None;
        }
        shows
    }
}

/// Where the ring is now, on its way to `to`.
fn travel(travel: &mut Option<Travel>, place: Place, to: Rectangle, now: u64) -> Rectangle {
    let on_the_way = travel.filter(|travel| same_screen(travel.place, place));
    let Some(mut way) = on_the_way else {
        *travel = Some(Travel { place, from: to, to, since: now });
        return to;
    };
    if way.to != to {
        way = Travel { place, from: way.at(now), to, since: now };
        *travel = Some(way);
    }
    way.at(now)
}

/// Whether the ring travels from one to the other, and does not appear anew.
fn same_screen(a: Place, b: Place) -> bool {
    let settings = |place| matches!(place, Place::Settings(_) | Place::Section(_));
    a == b || settings(a) && settings(b)
}

impl Travel {
    fn at(&self, now: u64) -> Rectangle {
        let left = FOCUS_TRAVEL.saturating_sub(now.saturating_sub(self.since)).cast_signed();
        let whole = FOCUS_TRAVEL.cast_signed();
        // Fast first, then ever slower: what is left shrinks with the cube of the time left.
        let ease = |from: i64, to: i64| to + (from - to) * left * left * left / (whole * whole * whole);
        let side = |from: i32, to: i32| ease(from.into(), to.into()) as i32;
        let length = |from: u32, to: u32| u32::try_from(ease(from.into(), to.into())).unwrap_or(to);
        let (from, to) = (self.from, self.to);
        Rectangle::new(
            Point::new(side(from.top_left.x, to.top_left.x), side(from.top_left.y, to.top_left.y)),
            Size::new(length(from.size.width, to.size.width), length(from.size.height, to.size.height)),
        )
    }
}

/// How layout units become pixels: as large as the screen allows, in its middle.
#[derive(Clone, Copy)]
struct Fit {
    /// Pixels that [`LAYOUT_HEIGHT`] units are.
    height: u32,
    origin: Point,
    screen: Size,
}

impl Fit {
    fn of(screen: Size) -> Self {
        let height = screen.height.min(screen.width * LAYOUT_HEIGHT / LAYOUT_WIDTH);
        let used = Size::new(height * LAYOUT_WIDTH / LAYOUT_HEIGHT, height);
        let spare = screen.saturating_sub(used) / 2;
        Self { height, origin: Point::new(spare.width.cast_signed(), spare.height.cast_signed()), screen }
    }

    fn length(self, units: u32) -> u32 {
        (units * self.height + LAYOUT_HEIGHT / 2) / LAYOUT_HEIGHT
    }

    fn point(self, at: Point) -> Point {
        let scaled = |units: i32| (units * self.height.cast_signed()).div_euclid(LAYOUT_HEIGHT.cast_signed());
        self.origin + Point::new(scaled(at.x), scaled(at.y))
    }

    fn area(self, area: Rectangle) -> Rectangle {
        // The whole layout is the whole screen, whatever its proportions.
        if area == SCREEN {
            return Rectangle::new(Point::zero(), self.screen);
        }
        let (start, end) = (self.point(area.top_left), self.point(area.top_left + area.size));
        let side = |from: i32, to: i32| (to - from).max(0).cast_unsigned();
        Rectangle::new(start, Size::new(side(start.x, end.x), side(start.y, end.y)))
    }
}

fn draw(surface: &mut Surface, lettering: &mut Lettering, shape: &Shape, fit: Fit, pictures: &dyn Pictures) {
    match shape {
        &Shape::Panel { area, radius, top, bottom, opacity } => {
            surface.panel(fit.area(area), fit.length(radius), (top, bottom), opacity);
        }
        &Shape::Frame { area, radius, width, colour } => {
            surface.frame(fit.area(area), fit.length(radius), fit.length(width), colour);
        }
        Shape::Text { at, size, weight, colour, text, .. } => {
            surface.text(fit.point(*at), lettering, (text, *weight, fit.length(*size * FINE)), *colour);
        }
        &Shape::Picture { area, radius, of, smooth, .. } => {
            let area = fit.area(area);
            let black = Rgb888::new(0, 0, 0);
            surface.panel(area, fit.length(radius), (black, black), 255);
            if let Some(picture) = pictures.picture(of) {
                surface.picture(area, fit.length(radius), picture, smooth);
            }
        }
    }
}

/// Where `new` looks different from `old`: the bounds of all shapes that are in one only, when
/// both are read in order.
fn changes(old: &[Shape], new: &[Shape]) -> Vec<Rectangle> {
    let mut areas = Vec::new();
    let mut rest = new;
    for shape in old {
        match rest.iter().position(|other| other == shape) {
            Some(at) => {
                areas.extend(rest[..at].iter().map(Shape::bounds));
                rest = &rest[at + 1..];
            }
            None => areas.push(shape.bounds()),
        }
    }
    areas.extend(rest.iter().map(Shape::bounds));
    areas
}

/// Areas that touch become one, and so do the last ones when there are too many.
fn joined(areas: impl Iterator<Item = Rectangle>) -> Vec<Rectangle> {
    let mut joined: Vec<Rectangle> = Vec::new();
    for mut area in areas.filter(|area| !area.is_zero_sized()) {
        // What the join overlaps is joined too; every round removes one, so this ends.
        while let Some(at) = joined.iter().position(|other| !other.intersection(&area).is_zero_sized()) {
            area = around(joined.swap_remove(at), area);
        }
        if joined.len() >= DAMAGES {
            area = joined.drain(..).fold(area, around);
        }
        joined.push(area);
    }
    joined
}
