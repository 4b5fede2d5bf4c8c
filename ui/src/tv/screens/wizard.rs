//! The first run: one question a screen.

use super::super::focus::Id;
use super::super::scene::{Scene, Style, rect};
use super::super::state::{Look, Reach, State, Step};
use super::super::words::Language;
use super::content;
use super::settings::look_name;
use crate::theme::SPACE;
use embedded_graphics::prelude::*;

/// Draws a step of the first run.
pub fn wizard(scene: &mut Scene<'_>, state: &State, step: Step) {
    let words = state.words();
    let theme = scene.theme;
    let connected = state.house.network.reach != Reach::Nowhere;
    let (title, text) = match step {
        Step::Language => (words.welcome, words.welcome_text),
        Step::Look => (words.wizard_look, words.wizard_look_text),
        Step::Sound => (words.wizard_sound, words.wizard_sound_text),
        Step::Network if connected => (words.wizard_network, words.wizard_network_well),
        Step::Network => (words.wizard_network, words.wizard_network_not),
        Step::End => (words.wizard_end, words.wizard_end_text),
    };
    let area = content();
    let (x, width) = (area.top_left.x, area.size.width);
    progress(scene, step, area.top_left + Point::new(0, 16));
    let mut y = area.top_left.y + (area.size.height / 5).cast_signed();
    let line = theme.title * 3 / 2;
    let style = scene.title();
    scene.line(rect(x, y, width, line), title, style);
    y += (line + SPACE / 2).cast_signed();
    let style = Style { colour: theme.text_dim, size: theme.heading, ..scene.body() };
    let used = scene.paragraph(rect(x, y, width, theme.heading * 7), text, style);
    y += (used + 2 * SPACE).cast_signed();
    let at = Point::new(x, y);
    match step {
        Step::Language => {
            scene.buttons(state, at, &Language::ALL.map(|one| (Id::Speak(one), one.own_name())));
        }
        Step::Look => scene.buttons(state, at, &Look::ALL.map(|one| (Id::Wear(one), look_name(state, one)))),
        Step::Sound => {
            scene.slider(
                state,
                Id::Volume,
                rect(x, y, width * 2 / 3, theme.row),
                (words.volume, state.settings.volume),
            );
            let below = at + Point::new(0, (theme.row + SPACE).cast_signed());
            scene.buttons(state, below, &[(Id::Next, words.next)]);
        }
        Step::Network => scene.buttons(state, at, &[(Id::Next, words.next)]),
        Step::End => scene.buttons(state, at, &[(Id::Next, words.begin)]),
    }
}

/// A dot for every step; those that are done, and this one, glow.
fn progress(scene: &mut Scene<'_>, step: Step, at: Point) {
    let mut reached = true;
    for (number, one) in (0_i32..).zip(Step::ALL) {
        let colour = if reached { scene.theme.accent } else { scene.theme.panel_focus };
        scene.dot(at + Point::new(8 + number * 30, 0), 14, colour);
        reached &= one != step;
    }
}
