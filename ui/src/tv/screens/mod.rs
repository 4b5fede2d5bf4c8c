//! One file for each screen: state → shapes.

mod launcher;
mod overlay;
mod power;
mod settings;
mod trouble;
mod wizard;

use super::lettering::{Lettering, Weight};
use super::scene::{SAFE, SCREEN, Scene, Shape, Style, rect, shrunk};
use super::state::{Place, Question, State, VmId};
use super::widgets::filled;
use crate::theme::{GAP, RADIUS_SMALL, SPACE};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

/// What `state` looks like.
pub fn scene<'a>(state: &State, lettering: &'a Lettering, volume_shows: bool) -> Scene<'a> {
    let mut scene = Scene::new(state.theme(), lettering);
    match state.place {
        Place::Dark => {
            scene.panel(SCREEN, 0, Rgb888::new(0, 0, 0));
            scene.end_backdrop();
            return scene;
        }
        Place::Watching(vm) => overlay::watching(&mut scene, state, vm),
        Place::Overlay(vm) => overlay::overlay(&mut scene, state, vm),
        Place::Ask { question, vm, over_picture } => {
            if over_picture {
                backdrop_picture(&mut scene, state, vm, true);
            } else {
                backdrop(&mut scene);
            }
            let words = state.words();
            let asked = match question {
                Question::Close => words.ask_close,
                Question::Restart => words.ask_restart,
            };
            overlay::ask(&mut scene, state, &filled(asked, name(state, vm)));
        }
        place => {
            backdrop(&mut scene);
            match place {
                Place::Launcher => launcher::launcher(&mut scene, state),
                Place::Settings(section) => settings::settings(&mut scene, state, section, None),
                Place::Section(section) => settings::settings(&mut scene, state, section, Some(section)),
                Place::Appliance(vm) => settings::appliance(&mut scene, state, vm),
                Place::Power => power::power(&mut scene, state),
                Place::Trouble => trouble::trouble(&mut scene, state),
                Place::Wizard(step) => wizard::wizard(&mut scene, state, step),
                Place::Dark | Place::Watching(_) | Place::Overlay(_) | Place::Ask { .. } => {}
            }
        }
    }
    if volume_shows && !matches!(state.place, Place::Section(_) | Place::Wizard(_)) {
        volume(&mut scene, state);
    }
    scene
}

/// What an appliance is called.
fn name(state: &State, vm: VmId) -> &str {
    state.house.appliance(vm).map_or("", |appliance| &appliance.name)
}

fn backdrop(scene: &mut Scene<'_>) {
    scene.panel(SCREEN, 0, scene.theme.background);
    scene.end_backdrop();
}

/// The appliance's picture on the whole screen, under a veil if something lies over it.
fn backdrop_picture(scene: &mut Scene<'_>, state: &State, vm: VmId, veiled: bool) {
    scene.panel(SCREEN, 0, Rgb888::new(0, 0, 0));
    if let Some(frame) = state.house.appliance(vm).and_then(|appliance| appliance.frame) {
        let smooth = !state.settings.sharp_scaling;
        scene.shapes.push(Shape::Picture { area: SCREEN, radius: 0, of: vm, frame, smooth });
    }
    if veiled {
        let black = Rgb888::new(0, 0, 0);
        scene.shapes.push(Shape::Panel {
            area: SCREEN,
            radius: 0,
            top: black,
            bottom: black,
            opacity: scene.theme.veil,
        });
    }
    scene.end_backdrop();
}

/// A screen's name at the top; answers what is left below.
fn titled(scene: &mut Scene<'_>, text: &str) -> Rectangle {
    let inner = content();
    let height = scene.theme.title * 3 / 2;
    let style = scene.title();
    scene.line(rect(inner.top_left.x, inner.top_left.y, inner.size.width, height), text, style);
    let used = height + SPACE;
    rect(
        inner.top_left.x,
        inner.top_left.y + used.cast_signed(),
        inner.size.width,
        inner.size.height.saturating_sub(used),
    )
}

/// The safe area, less the room that the focus ring needs.
fn content() -> Rectangle {
    shrunk(SAFE, GAP, GAP)
}

/// The volume, shown for a moment after it was changed.
fn volume(scene: &mut Scene<'_>, state: &State) {
    let theme = scene.theme;
    let area = rect(
        SAFE.top_left.x + (SAFE.size.width / 2).cast_signed() - 230,
        content().top_left.y,
        460,
        theme.row,
    );
    scene.panel(area, RADIUS_SMALL, theme.panel_focus);
    scene.edge(area, RADIUS_SMALL);
    let words = state.words();
    let inner = shrunk(area, SPACE, 0);
    let (name, percent) =
        if state.settings.muted { (words.muted, 0) } else { (words.volume, state.settings.volume) };
    scene.line(inner, name, Style { weight: Weight::SemiBold, ..scene.body() });
    let left = scene.lettering.width(name, Weight::SemiBold, theme.body) + SPACE;
    let x = inner.top_left.x + left.cast_signed();
    let y = super::widgets::middle(area, 10);
    scene.bar(rect(x, y, inner.size.width - left, 10), percent, theme.accent);
}
