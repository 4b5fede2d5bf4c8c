//! The settings: the parts at the left, the chosen part at the right.

use super::super::focus::{Choice, Id};
use super::super::scene::{Scene, rect, shrunk};
use super::super::state::{Look, Reach, Section, State, Update, VmId};
use super::super::widgets::counted;
use super::{name, titled};
use crate::theme::{GAP, RADIUS_SMALL, SPACE};
use alloc::string::String;
use alloc::vec::Vec;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

/// Width of the table of contents.
const CONTENTS: u32 = 330;

/// A line of a part.
enum Line {
    /// A name and a value that can't be changed.
    Fact(&'static str, String),
    /// A percentage to change.
    Slider(Id, &'static str, u8),
    /// A value to change.
    Choice(Id, &'static str, &'static str),
    /// The same, with a number in it.
    Number(Id, &'static str, String),
    /// Leads somewhere or does something.
    Button(Id, String),
}

/// Draws the settings with `section` open; `entered` when the focus is in it.
pub fn settings(scene: &mut Scene<'_>, state: &State, section: Section, entered: Option<Section>) {
    let area = titled(scene, state.words().settings);
    let row = scene.theme.row;
    for (at, one) in (0_u32..).zip(Section::ALL) {
        let y = area.top_left.y + (at * (row + GAP)).cast_signed();
        let place = rect(area.top_left.x, y, CONTENTS, row);
        let text = section_name(state, one);
        if entered == Some(one) || (entered.is_none() && section == one) {
            scene.plate(state, Id::Section(one), place);
            let mark = rect(place.top_left.x, y + 12, 5, row - 24);
            scene.panel(mark, 2, scene.theme.accent);
        } else {
            scene.focusable(state, Id::Section(one), place, RADIUS_SMALL);
        }
        let style = scene.body();
        scene.line(shrunk(place, SPACE, 0), text, style);
    }
    let left = CONTENTS + 2 * SPACE;
    let right =
        rect(area.top_left.x + left.cast_signed(), area.top_left.y, area.size.width - left, area.size.height);
    lines(scene, state, right, &section_lines(state, section));
}

/// Draws an appliance's page.
pub fn appliance(scene: &mut Scene<'_>, state: &State, vm: VmId) {
    let area = titled(scene, name(state, vm));
    let words = state.words();
    let Some(appliance) = state.house.appliance(vm) else { return };
    let mut all = Vec::from([
        Line::Slider(Id::VolumeOf(vm), words.volume, appliance.volume),
        Line::Choice(Id::Autostart(vm), words.start_with_box, on_off(state, appliance.autostart)),
    ]);
    if appliance.is_alive() {
        all.push(Line::Button(Id::Restart(vm), words.restart_appliance.into()));
        all.push(Line::Button(Id::Close(vm), words.close_appliance.into()));
    } else {
        all.push(Line::Button(Id::Start(vm), words.start_appliance.into()));
    }
    all.push(Line::Button(Id::Done, words.done.into()));
    lines(scene, state, area, &all);
}

fn section_name(state: &State, section: Section) -> &'static str {
    let words = state.words();
    match section {
        Section::Sound => words.sound,
        Section::Picture => words.picture,
        Section::Network => words.network,
        Section::Storage => words.storage,
        Section::Appliances => words.appliances,
        Section::About => words.about,
    }
}

fn section_lines(state: &State, section: Section) -> Vec<Line> {
    let words = state.words();
    let mut all = match section {
        Section::Sound => sound(state),
        Section::Picture => picture(state),
        Section::Network => network(state),
        Section::Storage => storage(state),
        Section::Appliances => state
            .house
            .appliances
            .iter()
            .map(|one| Line::Button(Id::Page(one.id), one.name.clone()))
            .collect(),
        Section::About => about(state),
    };
    all.push(Line::Button(Id::Done, words.done.into()));
    all
}

fn sound(state: &State) -> Vec<Line> {
    let (words, settings) = (state.words(), &state.settings);
    Vec::from([
        Line::Slider(Id::Volume, words.volume, settings.volume),
        Line::Choice(Id::Choice(Choice::Mute), words.mute, on_off(state, settings.muted)),
        Line::Choice(Id::Choice(Choice::NightSound), words.night_sound, on_off(state, settings.night_sound)),
    ])
}

fn picture(state: &State) -> Vec<Line> {
    let (words, settings) = (state.words(), &state.settings);
    let scaling = if settings.sharp_scaling { words.scaling_sharp } else { words.scaling_smooth };
    let screen_off = match settings.screen_off_after {
        0 => words.never.into(),
        minutes => counted(words.minutes, minutes),
    };
    Vec::from([
        Line::Choice(Id::Choice(Choice::Language), words.language, settings.language.own_name()),
        Line::Choice(Id::Choice(Choice::Look), words.look, look_name(state, settings.look)),
        Line::Choice(Id::Choice(Choice::Scaling), words.scaling, scaling),
        Line::Number(Id::Choice(Choice::ScreenOff), words.screen_off, screen_off),
    ])
}

fn network(state: &State) -> Vec<Line> {
    let (words, network) = (state.words(), &state.house.network);
    let reach = match network.reach {
        Reach::Internet => words.online,
        Reach::House => words.no_internet,
        Reach::Nowhere => words.no_network,
    };
    Vec::from([
        Line::Fact(words.connection, reach.into()),
        Line::Fact(words.name, network.name.clone()),
        Line::Fact(words.address, network.address.clone()),
        Line::Button(Id::Reconnect, words.reconnect.into()),
    ])
}

fn storage(state: &State) -> Vec<Line> {
    let (words, storage) = (state.words(), state.house.storage);
    let free = storage.total.saturating_sub(storage.used);
    let health = storage.ailing.map(|ailing| if ailing { words.disk_ailing } else { words.disk_well });
    let mut all: Vec<Line> = health.map(|health| Line::Fact(words.disk, health.into())).into_iter().collect();
    all.extend([
        Line::Fact(words.in_use, counted(words.gigabytes, storage.used)),
        Line::Fact(words.free, counted(words.gigabytes, free)),
    ]);
    all
}

fn about(state: &State) -> Vec<Line> {
    let (words, machine) = (state.words(), &state.house.machine);
    let mut all = Vec::from([
        Line::Fact(words.version, machine.version.clone()),
        Line::Fact(words.processor, machine.processor.clone()),
        Line::Fact(words.memory, counted(words.gigabytes, machine.memory)),
        Line::Fact(words.isolation, machine.isolation.clone()),
    ]);
    all.extend(match state.house.update {
        Update::Unsupported => None,
        Update::None => Some(Line::Button(Id::Update, words.look_for_updates.into())),
        Update::Loading(percent) => Some(Line::Fact(words.update, alloc::format!("{percent} %"))),
        Update::Ready => Some(Line::Button(Id::Update, words.install_update.into())),
    });
    all
}

fn on_off(state: &State, on: bool) -> &'static str {
    if on { state.words().on } else { state.words().off }
}

/// What a look is called.
pub fn look_name(state: &State, look: Look) -> &'static str {
    let words = state.words();
    match look {
        Look::Normal => words.look_normal,
        Look::LargeType => words.look_large,
        Look::HighContrast => words.look_contrast,
    }
}

impl Line {
    fn id(&self) -> Option<Id> {
        match self {
            Self::Fact(..) => None,
            Self::Slider(id, ..) | Self::Choice(id, ..) | Self::Number(id, ..) | Self::Button(id, ..) => {
                Some(*id)
            }
        }
    }
}

/// Draws as many lines as fit, the focused one among them.
fn lines(scene: &mut Scene<'_>, state: &State, area: Rectangle, all: &[Line]) {
    let pitch = scene.theme.row + GAP;
    let fitting = ((area.size.height + GAP) / pitch).max(1) as usize;
    let focused = state.focus().and_then(|id| all.iter().position(|line| line.id() == Some(id))).unwrap_or(0);
    let first = (focused + 1).saturating_sub(fitting);
    for (at, line) in (0_u32..).zip(all.iter().skip(first).take(fitting)) {
        let y = area.top_left.y + (at * pitch).cast_signed();
        let place =
            Rectangle::new(Point::new(area.top_left.x, y), Size::new(area.size.width, scene.theme.row));
        match line {
            Line::Fact(name, value) => scene.pair(shrunk(place, SPACE, 0), name, value, scene.theme.text_dim),
            Line::Slider(id, name, percent) => scene.slider(state, *id, place, (name, *percent)),
            Line::Choice(id, name, value) => scene.choice(state, *id, place, (name, value)),
            Line::Number(id, name, value) => scene.choice(state, *id, place, (name, value)),
            Line::Button(id, text) => scene.row(state, *id, place, (text, "")),
        }
    }
}
