//! An appliance's picture, and what lies over it.

use super::super::focus::Id;
use super::super::scene::{Align, SAFE, Scene, Style, rect, shrunk};
use super::super::state::{Running, State, VmId};
use super::super::widgets::filled;
use super::{backdrop_picture, name};
use crate::theme::{GAP, RADIUS, SPACE};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// The picture alone; words where there is none.
pub fn watching(scene: &mut Scene<'_>, state: &State, vm: VmId) {
    backdrop_picture(scene, state, vm, false);
    let Some(appliance) = state.house.appliance(vm) else { return };
    let words = state.words();
    let text = match (appliance.running, appliance.frame) {
        (Running::Starting, _) => words.is_starting,
        (_, None) => words.no_picture,
        _ => return,
    };
    let style = Style { align: Align::Centre, ..scene.heading() };
    scene.line(shrunk(SAFE, SPACE, SPACE), &filled(text, &appliance.name), style);
}

/// The panel over the picture.
pub fn overlay(scene: &mut Scene<'_>, state: &State, vm: VmId) {
    backdrop_picture(scene, state, vm, true);
    let theme = scene.theme;
    let heading = theme.heading * 3 / 2;
    let height = heading + 2 * theme.row + 2 * SPACE + 2 * GAP + SPACE / 2;
    let y = SAFE.top_left.y + (SAFE.size.height - height).cast_signed();
    let inner = sheet(scene, rect(SAFE.top_left.x, y, SAFE.size.width, height));
    let (x, width) = (inner.top_left.x, inner.size.width);
    let mut y = inner.top_left.y;
    let style = scene.heading();
    scene.line(rect(x, y, width, heading), name(state, vm), style);
    y += (heading + GAP).cast_signed();
    let words = state.words();
    let volume = state.house.appliance(vm).map_or(0, |appliance| appliance.volume);
    scene.slider(state, Id::VolumeOf(vm), rect(x, y, width, theme.row), (words.volume, volume));
    y += (theme.row + SPACE / 2 + GAP).cast_signed();
    let buttons = [
        (Id::CarryOn(vm), words.carry_on),
        (Id::ToLauncher, words.to_launcher),
        (Id::Restart(vm), words.restart_appliance),
        (Id::Close(vm), words.close_appliance),
    ];
    side_by_side(scene, state, rect(x, y, width, theme.row), &buttons);
}

/// A question with two answers, in the middle of the screen.
pub fn ask(scene: &mut Scene<'_>, state: &State, question: &str) {
    let theme = scene.theme;
    let words = state.words();
    let heading = theme.heading * 3 / 2;
    let height = heading + theme.body * 7 / 5 + theme.row + 4 * SPACE;
    let y = SAFE.top_left.y + ((SAFE.size.height - height) / 2).cast_signed();
    let inner = sheet(scene, rect(SAFE.top_left.x + 156, y, SAFE.size.width - 312, height));
    let (x, width) = (inner.top_left.x, inner.size.width);
    let style = scene.heading();
    scene.line(rect(x, inner.top_left.y, width, heading), question, style);
    let y = inner.top_left.y + heading.cast_signed();
    let style = Style { colour: theme.text_dim, ..scene.body() };
    scene.paragraph(rect(x, y, width, theme.body * 7 / 5), words.ask_text, style);
    let y = inner.top_left.y + (inner.size.height - theme.row).cast_signed();
    side_by_side(scene, state, rect(x, y, width, theme.row), &[(Id::No, words.no), (Id::Yes, words.yes)]);
}

/// A raised panel; answers the room inside.
fn sheet(scene: &mut Scene<'_>, area: Rectangle) -> Rectangle {
    scene.panel(area, RADIUS, scene.theme.background);
    scene.edge(area, RADIUS);
    shrunk(area, SPACE, SPACE)
}

/// Buttons of the same width that fill `area`.
fn side_by_side(scene: &mut Scene<'_>, state: &State, area: Rectangle, buttons: &[(Id, &str)]) {
    let count = u32::try_from(buttons.len()).unwrap_or(1).max(1);
    let width = (area.size.width - (count - 1) * SPACE) / count;
    for (at, &(id, text)) in (0_u32..).zip(buttons) {
        let x = area.top_left.x + (at * (width + SPACE)).cast_signed();
        scene.button(
            state,
            id,
            Rectangle::new(Point::new(x, area.top_left.y), Size::new(width, area.size.height)),
            text,
        );
    }
}
