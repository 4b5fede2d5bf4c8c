//! Trouble: what happened, what the box did, what you can do.

use super::super::focus::Id;
use super::super::lettering::Weight;
use super::super::scene::{Scene, Style, rect};
use super::super::state::{State, Trouble};
use super::super::widgets::filled;
use super::{content, name};
use crate::theme::{GAP, SPACE};
use embedded_graphics::prelude::*;

/// Draws the trouble that was last.
pub fn trouble(scene: &mut Scene<'_>, state: &State) {
    let words = state.words();
    let theme = scene.theme;
    let (texts, about, help) = match state.house.troubles.first() {
        Some(Trouble::Stopped(vm)) => (
            [words.stopped_title, words.stopped_happened, words.stopped_did, words.stopped_do],
            name(state, *vm),
            words.start_appliance,
        ),
        Some(Trouble::KeepsFailing(vm)) => (
            [words.failing_title, words.failing_happened, words.failing_did, words.failing_do],
            name(state, *vm),
            words.start_appliance,
        ),
        Some(Trouble::DiskFull) => {
            ([words.full_title, words.full_happened, words.full_did, words.full_do], "", words.storage)
        }
        Some(Trouble::Offline) => (
            [words.offline_title, words.offline_happened, words.offline_did, words.offline_do],
            "",
            words.network,
        ),
        Some(Trouble::UpdateFailed) => (
            [
                words.update_failed_title,
                words.update_failed_happened,
                words.update_failed_did,
                words.update_failed_do,
            ],
            "",
            "",
        ),
        None => return scene.buttons(state, content().top_left, &[(Id::Done, words.understood)]),
    };
    let [title, happened, did, can_do] = texts.map(|text| filled(text, about));
    let area = content();
    let (x, width) = (area.top_left.x, area.size.width);
    let line = theme.title * 3 / 2;
    scene.panel(rect(x, area.top_left.y + 8, 6, line - 16), 3, theme.alarm);
    let style = scene.title();
    scene.line(rect(x + 24, area.top_left.y, width - 24, line), &title, style);
    let bottom = area.top_left.y + (area.size.height - theme.row).cast_signed();
    let mut y = area.top_left.y + (line + SPACE).cast_signed();
    let parts =
        [(words.what_happened, happened), (words.what_the_box_did, did), (words.what_you_can_do, can_do)];
    for (heading, text) in parts {
        let line = theme.small * 7 / 4;
        let style = Style { weight: Weight::SemiBold, colour: theme.accent, ..scene.dim() };
        scene.line(rect(x + 24, y, width - 24, line), heading, style);
        y += line.cast_signed();
        let style = scene.body();
        let room = (bottom - y).max(0).cast_unsigned();
        let used = scene.paragraph(rect(x + 24, y, width - 24, room), &text, style);
        y += (used + SPACE + GAP / 2).cast_signed();
    }
    let both = [(Id::Help, help), (Id::Done, words.understood)];
    let buttons = if help.is_empty() { &both[1..] } else { &both[..] };
    scene.buttons(state, Point::new(x + GAP.cast_signed() * 2, bottom), buttons);
}
