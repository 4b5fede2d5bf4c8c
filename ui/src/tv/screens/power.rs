//! Sleep, restart, off.

use super::super::focus::Id;
use super::super::scene::{Scene, Style, rect, shrunk};
use super::super::state::State;
use super::titled;
use crate::theme::{GAP, SPACE};
use embedded_graphics::prelude::*;

/// Draws the power screen.
pub fn power(scene: &mut Scene<'_>, state: &State) {
    let words = state.words();
    let theme = scene.theme;
    let area = titled(scene, words.power_title);
    let cards = [
        (Id::Sleep, words.sleep, words.sleep_text),
        (Id::RestartBox, words.restart, words.restart_text),
        (Id::PowerOff, words.power_off, words.power_off_text),
    ];
    let width = (area.size.width - 2 * SPACE) / 3;
    let heading = theme.heading * 3 / 2;
    let height = heading + 4 * (theme.body * 7 / 5) + 2 * SPACE + GAP;
    let spare = area.size.height.saturating_sub(height + theme.row + SPACE) / 3;
    let y = area.top_left.y + spare.cast_signed();
    for (at, (id, name, text)) in (0_u32..).zip(cards) {
        let card = rect(area.top_left.x + (at * (width + SPACE)).cast_signed(), y, width, height);
        scene.plate(state, id, card);
        let inner = shrunk(card, SPACE, SPACE);
        let style = scene.heading();
        scene.line(rect(inner.top_left.x, inner.top_left.y, inner.size.width, heading), name, style);
        let below = heading + GAP;
        let style = Style { colour: theme.text_dim, ..scene.body() };
        let room = inner.size.height - below;
        scene.paragraph(
            rect(inner.top_left.x, inner.top_left.y + below.cast_signed(), inner.size.width, room),
            text,
            style,
        );
    }
    let y = area.top_left.y + (area.size.height - theme.row).cast_signed();
    scene.buttons(state, Point::new(area.top_left.x, y), &[(Id::Done, words.cancel)]);
}
