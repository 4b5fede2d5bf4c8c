//! What the screens are put together from.

use super::focus::Id;
use super::lettering::Weight;
use super::scene::{Align, Scene, Style, rect, shrunk};
use super::state::State;
use crate::theme::{GAP, RADIUS_SMALL, SPACE};
use alloc::string::String;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// Height of a slider's bar.
const BAR: u32 = 10;

/// A text with its `{}` filled in.
pub fn filled(text: &str, with: &str) -> String {
    text.replace("{}", with)
}

/// A text with its `{}` filled in by a number.
pub fn counted(text: &str, with: impl core::fmt::Display) -> String {
    filled(text, &alloc::format!("{with}"))
}

impl Scene<'_> {
    /// The colour of what may have the focus; remembers where the focus is.
    pub fn focusable(&mut self, state: &State, id: Id, area: Rectangle, radius: u32) -> bool {
        let focused = state.focus() == Some(id);
        if focused {
            self.focus = Some((area, radius));
        }
        focused
    }

    /// The background of something that can have the focus.
    pub fn plate(&mut self, state: &State, id: Id, area: Rectangle) -> bool {
        let focused = self.focusable(state, id, area, RADIUS_SMALL);
        let colour = if focused { self.theme.panel_focus } else { self.theme.panel };
        self.panel(area, RADIUS_SMALL, colour);
        self.edge(area, RADIUS_SMALL);
        focused
    }

    /// A button with its name in the middle.
    pub fn button(&mut self, state: &State, id: Id, area: Rectangle, text: &str) {
        self.plate(state, id, area);
        let style = Style { align: Align::Centre, weight: Weight::SemiBold, ..self.body() };
        self.line(shrunk(area, GAP, 0), text, style);
    }

    /// As wide as a button with this text wants to be.
    pub fn button_width(&self, text: &str) -> u32 {
        self.lettering.width(text, Weight::SemiBold, self.theme.body) + 2 * SPACE
    }

    /// Buttons from the left on, each as wide as its text.
    pub fn buttons(&mut self, state: &State, at: Point, buttons: &[(Id, &str)]) {
        let mut x = at.x;
        for &(id, text) in buttons {
            let width = self.button_width(text).max(160);
            self.button(state, id, rect(x, at.y, width, self.theme.row), text);
            x += (width + SPACE).cast_signed();
        }
    }

    /// A row: what it is at the left, how it is at the right.
    pub fn row(&mut self, state: &State, id: Id, area: Rectangle, (name, value): (&str, &str)) {
        self.plate(state, id, area);
        self.pair(shrunk(area, SPACE, 0), name, value, self.theme.text_dim);
    }

    /// A row whose value can be changed with the arrows.
    pub fn choice(&mut self, state: &State, id: Id, area: Rectangle, (name, value): (&str, &str)) {
        let focused = self.plate(state, id, area);
        if focused {
            let value = alloc::format!("←  {value}  →");
            self.pair(shrunk(area, SPACE, 0), name, &value, self.theme.accent);
        } else {
            self.pair(shrunk(area, SPACE, 0), name, value, self.theme.text_dim);
        }
    }

    /// A name at the left and a value at the right, which gets what the name leaves.
    pub fn pair(&mut self, area: Rectangle, name: &str, value: &str, colour: Rgb888) {
        let style = self.body();
        self.line(area, name, style);
        let taken = self.lettering.width(name, style.weight, style.size) + SPACE;
        let room = area.size.width.saturating_sub(taken);
        let rest = Rectangle::new(
            area.top_left + Point::new(taken.cast_signed(), 0),
            Size::new(room, area.size.height),
        );
        self.line(rest, value, Style { colour, align: Align::Right, ..style });
    }

    /// A row with a bar that shows a percentage.
    pub fn slider(&mut self, state: &State, id: Id, area: Rectangle, (name, percent): (&str, u8)) {
        let focused = self.plate(state, id, area);
        let inner = shrunk(area, SPACE, 0);
        self.line(inner, name, self.body());
        let number = alloc::format!("{percent} %");
        let number_width = self.lettering.width("100 %", Weight::Medium, self.theme.body);
        let colour = if focused { self.theme.accent } else { self.theme.text_dim };
        self.line(inner, &number, Style { align: Align::Right, colour, ..self.body() });
        let name_width = self.lettering.width(name, Weight::Medium, self.theme.body);
        let left = name_width.max(150) + SPACE;
        let width = inner.size.width.saturating_sub(left + number_width + SPACE);
        let x = inner.top_left.x + left.cast_signed();
        self.bar(
            rect(x, middle(area, BAR), width, BAR),
            percent,
            if focused { self.theme.accent } else { self.theme.text_dim },
        );
    }

    /// A bar filled to so many percent.
    pub fn bar(&mut self, area: Rectangle, percent: u8, colour: Rgb888) {
        let radius = area.size.height / 2;
        self.panel(area, radius, self.theme.background);
        self.edge(area, radius);
        let filled = area.size.width * u32::from(percent.min(100)) / 100;
        if filled > 0 {
            let size = Size::new(filled.max(area.size.height), area.size.height);
            self.panel(Rectangle::new(area.top_left, size), radius, colour);
        }
    }

    /// A dot whose middle is at `centre`.
    pub fn dot(&mut self, centre: Point, diameter: u32, colour: Rgb888) {
        let half = (diameter / 2).cast_signed();
        let area = Rectangle::new(centre - Point::new_equal(half), Size::new_equal(diameter));
        self.panel(area, diameter / 2, colour);
    }
}

/// The line at which something of `height` is in the middle of `area`.
pub fn middle(area: Rectangle, height: u32) -> i32 {
    area.top_left.y + (area.size.height.saturating_sub(height) / 2).cast_signed()
}
