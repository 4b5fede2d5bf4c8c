//! The launcher: a tile for each appliance, and how the box is.

use super::super::focus::Id;
use super::super::lettering::Weight;
use super::super::scene::{Align, Scene, Shape, Style, rect};
use super::super::state::{Appliance, Reach, Running, State, Update};
use super::super::widgets::{counted, filled};
use super::content;
use crate::theme::{GAP, RADIUS, SPACE};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// Diameter of the dot that stands for a state.
const DOT: u32 = 12;
/// Between a tile's edge and its picture.
const PICTURE_INSET: u32 = 8;

/// Draws the launcher.
pub fn launcher(scene: &mut Scene<'_>, state: &State) {
    let area = content();
    let top = header(scene, state, area);
    let bottom = footer(scene, state, area);
    let height = (bottom - top).max(0).cast_unsigned();
    tiles(scene, state, rect(area.top_left.x, top, area.size.width, height));
}

/// Name and state at the left, the time at the right; answers where the rest begins.
fn header(scene: &mut Scene<'_>, state: &State, area: Rectangle) -> i32 {
    let theme = scene.theme;
    let (x, y, width) = (area.top_left.x, area.top_left.y, area.size.width);
    let (first, second) = (theme.title * 5 / 4, theme.small * 3 / 2);
    let words = state.words();
    let ember = theme.title * 3 / 4;
    scene.panel(rect(x, y + (first - ember).cast_signed() / 2, 6, ember), 3, theme.accent);
    let title = scene.title();
    scene.line(rect(x + 22, y, width / 2, first), words.hearth, title);
    let below = y + first.cast_signed() + 4;
    status(scene, state, rect(x, below, width / 2, second));
    if let Some(clock) = state.house.clock {
        let time = alloc::format!("{}:{:02}", clock.hour, clock.minute);
        let right = rect(x + (width / 2).cast_signed(), y, width / 2, first);
        scene.line(right, &time, Style { align: Align::Right, ..title });
        let day = filled(words.month(clock.month), &alloc::format!("{}", clock.day));
        let date = alloc::format!("{}, {day}", words.weekday(clock.weekday));
        let style = Style { align: Align::Right, ..scene.dim() };
        scene.line(rect(right.top_left.x, below, width / 2, second), &date, style);
    }
    below + (second + SPACE).cast_signed()
}

/// Network and update, each with a dot.
fn status(scene: &mut Scene<'_>, state: &State, area: Rectangle) {
    let words = state.words();
    let theme = scene.theme;
    let network = match state.house.network.reach {
        Reach::Internet => (words.online.into(), theme.text_dim),
        Reach::House => (words.no_internet.into(), theme.alarm),
        Reach::Nowhere => (words.no_network.into(), theme.alarm),
    };
    let update = match state.house.update {
        Update::None | Update::Unsupported => None,
        Update::Loading(percent) => Some((counted(words.update_loading, percent), theme.text_dim)),
        Update::Ready => Some((words.update_ready.into(), theme.accent)),
    };
    let mut x = area.top_left.x;
    for (text, colour) in [Some(network), update].into_iter().flatten() {
        let middle = area.top_left.y + (area.size.height / 2).cast_signed();
        scene.dot(Point::new(x + 6, middle), DOT, colour);
        let style = scene.dim();
        let width = scene.lettering.width(&text, style.weight, style.size);
        x += 22;
        scene.line(rect(x, area.top_left.y, width, area.size.height), &text, style);
        x += (width + SPACE + GAP).cast_signed();
    }
}

/// The buttons below the tiles; answers where they begin.
fn footer(scene: &mut Scene<'_>, state: &State, area: Rectangle) -> i32 {
    let words = state.words();
    let y = area.top_left.y + (area.size.height - scene.theme.row).cast_signed();
    let all = [
        (Id::SetUp, words.set_up),
        (Id::OpenSettings, words.settings),
        (Id::OpenPower, words.power),
        (Id::OpenTrouble, words.trouble),
    ];
    let first = usize::from(state.settings.set_up);
    let end = all.len() - usize::from(state.house.troubles.is_empty());
    let shown = &all[first..end];
    scene.buttons(state, Point::new(area.top_left.x, y), shown);
    if matches!(state.focus(), Some(Id::Tile(_))) {
        let used: u32 = shown.iter().map(|(_, text)| scene.button_width(text).max(160) + SPACE).sum();
        let room = area.size.width.saturating_sub(used);
        let style = Style { align: Align::Right, ..scene.dim() };
        let hint = rect(area.top_left.x + used.cast_signed(), y, room, scene.theme.row);
        if scene.lettering.width(words.hold_ok, style.weight, style.size) <= room {
            scene.line(hint, words.hold_ok, style);
        }
    }
    y - SPACE.cast_signed()
}

/// As many whole rows of tiles as there is room for, the focused one among them.
fn tiles(scene: &mut Scene<'_>, state: &State, area: Rectangle) {
    if !state.house.known {
        return;
    }
    if state.house.appliances.is_empty() {
        let style = Style { align: Align::Centre, colour: scene.theme.text_dim, ..scene.heading() };
        scene.line(area, state.words().nothing_here, style);
        return;
    }
    let columns = state.columns();
    let across = u32::try_from(columns).unwrap_or(1);
    let width = (area.size.width - (across - 1) * SPACE) / across;
    let label = label_height(scene);
    let picture = width * 9 / 16;
    let rows = state.house.appliances.len().div_ceil(columns);
    // Two rows are always seen when there are two, at the pictures' expense.
    let most = if rows > 1 { (area.size.height - SPACE) / 2 } else { area.size.height };
    let height = (picture + label).min(most);
    let fitting = ((area.size.height + SPACE) / (height + SPACE)).max(1) as usize;
    let focused = match state.focus() {
        Some(Id::Tile(vm)) => {
            state.house.appliances.iter().position(|one| one.id == vm).unwrap_or(0) / columns
        }
        _ => rows.saturating_sub(1),
    };
    let first = focused.saturating_sub(fitting - 1).min(rows.saturating_sub(fitting));
    let shown = u32::try_from(fitting.min(rows)).unwrap_or(1);
    let spare = area.size.height.saturating_sub(shown * height + (shown - 1) * SPACE);
    let top = area.top_left.y + (spare / 2).cast_signed();
    let visible = state.house.appliances.iter().skip(first * columns).take(fitting * columns);
    for (at, appliance) in (0_u32..).zip(visible) {
        let (row, column) = (at / across, at % across);
        let x = area.top_left.x + (column * (width + SPACE)).cast_signed();
        let y = top + (row * (height + SPACE)).cast_signed();
        tile(scene, state, appliance, rect(x, y, width, height));
    }
}

fn label_height(scene: &Scene<'_>) -> u32 {
    scene.theme.heading * 5 / 4 + scene.theme.small * 5 / 4 + 2 * GAP
}

/// A tile: its picture (or its initial), its name, its state.
fn tile(scene: &mut Scene<'_>, state: &State, appliance: &Appliance, area: Rectangle) {
    let theme = scene.theme;
    let focused = scene.focusable(state, Id::Tile(appliance.id), area, RADIUS);
    let lower = if focused { theme.panel_focus } else { theme.panel };
    scene.shaded(area, RADIUS, theme.panel_light, lower);
    let label = label_height(scene).min(area.size.height);
    let picture = rect(area.top_left.x, area.top_left.y, area.size.width, area.size.height - label);
    match appliance.frame.filter(|_| appliance.is_alive()) {
        Some(frame) => {
            let high =
                (picture.size.height - PICTURE_INSET).min((picture.size.width - 2 * PICTURE_INSET) * 9 / 16);
            let wide = high * 16 / 9;
            let left = picture.top_left.x + ((picture.size.width - wide) / 2).cast_signed();
            let inner = rect(left, picture.top_left.y + PICTURE_INSET.cast_signed(), wide, high);
            scene.shapes.push(Shape::Picture {
                area: inner,
                radius: RADIUS / 2,
                of: appliance.id,
                frame,
                smooth: true,
            });
        }
        None => initial(scene, appliance, picture),
    }
    scene.edge(area, RADIUS);
    let left = area.top_left.x + 20;
    let width = area.size.width - 40;
    let name = scene.heading();
    let line = theme.heading * 5 / 4;
    let y = picture.top_left.y + (picture.size.height + GAP).cast_signed();
    scene.line(rect(left, y, width, line), &appliance.name, name);
    let y = y + line.cast_signed();
    let (text, colour) = said(state, appliance, (theme.text_dim, theme.accent, theme.alarm));
    let line = theme.small * 5 / 4;
    scene.dot(Point::new(left + 6, y + (line / 2).cast_signed()), DOT, colour);
    let style = scene.dim();
    scene.line(rect(left + 22, y, width - 22, line), text, style);
}

/// A tile without a picture shows the first letter of its name.
fn initial(scene: &mut Scene<'_>, appliance: &Appliance, area: Rectangle) {
    let letter = appliance
        .name
        .chars()
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect::<alloc::string::String>();
    let size = area.size.height / 2;
    let colour = if appliance.is_alive() { scene.theme.accent } else { scene.theme.text_dim };
    scene.line(area, &letter, Style { size, weight: Weight::SemiBold, colour, align: Align::Centre });
}

/// A state in words and colour.
fn said(
    state: &State,
    appliance: &Appliance,
    (dim, accent, alarm): (Rgb888, Rgb888, Rgb888),
) -> (&'static str, Rgb888) {
    let words = state.words();
    match appliance.running {
        Running::Off => (words.state_off, dim),
        Running::Starting => (words.state_starting, accent),
        Running::On => (words.state_running, accent),
        Running::Paused => (words.state_paused, dim),
        Running::Failed => (words.state_failed, alarm),
    }
}
