//! Every screen in every look, as a picture: what it looks like, and what must hold whatever it
//! looks like.
//!
//! A picture that changed fails, and the new one and the difference are put under
//! `target/pictures/`. If the change is meant: `PICTURES=keep cargo test -p ui --features tv`.

#[path = "pictures/house.rs"]
mod house;
#[path = "pictures/png_file.rs"]
mod png_file;

use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use std::path::{Path, PathBuf};
use ui::theme::RING_ROOM;
use ui::tv::lettering::Lettering;
use ui::tv::scene::{SAFE, grown};
use ui::tv::state::{Look, Step, Trouble};
use ui::tv::words::Language;
use ui::tv::{Direction, Event, Id, Key, Painter, Place, Press, State, VmId, screens, update};

const SIZES: [Size; 2] = [Size::new(1280, 720), Size::new(1920, 1080)];
/// The kept pictures have 16 steps a colour, which keeps them small.
const STEP: u32 = 17;

fn painted(state: &State, size: Size) -> Vec<u32> {
    let mut painter = Painter::new(size).unwrap();
    painter.paint(state, &house::Film, 0);
    painter.surface().pixels().to_vec()
}

fn coarse(pixel: u32) -> u32 {
    let channel = |shift: u32| (((pixel >> shift & 0xff) + STEP / 2) / STEP * STEP) << shift;
    channel(16) | channel(8) | channel(0)
}

#[test]
fn every_screen_looks_as_it_did() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures/kept");
    let keep = std::env::var("PICTURES").is_ok_and(|value| value == "keep");
    let mut changed = Vec::new();
    for size in SIZES {
        for look in Look::ALL {
            for (name, mut state) in house::screens() {
                state.settings.look = look;
                let file = format!("{}/{look:?}/{name}.png", size.height).to_lowercase();
                let got: Vec<u32> = painted(&state, size).into_iter().map(coarse).collect();
                match png_file::read(&kept.join(&file)) {
                    Ok((_, known)) if known == got => {}
                    _ if keep => png_file::write(&kept.join(&file), size, &got).unwrap(),
                    known => {
                        let known = known.map(|(_, pixels)| pixels).unwrap_or_default();
                        changed.push(report(&file, size, &known, &got));
                    }
                }
            }
        }
    }
    assert!(changed.is_empty(), "these pictures changed:\n{}", changed.join("\n"));
}

/// The documentation's pictures are taken here, in all their colours: every screen, and the launcher in every look.
#[test]
fn the_documentation_shows_what_is_drawn() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    let keep = std::env::var("PICTURES").is_ok_and(|value| value == "keep");
    let looks = [Look::LargeType, Look::HighContrast].map(|look| {
        let mut state = house::state(Place::Launcher);
        state.settings.look = look;
        (format!("launcher-in-{look:?}").to_lowercase(), state)
    });
    let screens = house::screens().into_iter().map(|(name, state)| (name.to_owned(), state));
    let mut changed = Vec::new();
    for (name, state) in screens.chain(looks) {
        let file = format!("{name}.png");
        let got = painted(&state, SIZES[0]);
        match png_file::read(&folder.join(&file)) {
            Ok((_, known)) if known == got => {}
            _ if keep => png_file::write(&folder.join(&file), SIZES[0], &got).unwrap(),
            known => {
                let known = known.map(|(_, pixels)| pixels).unwrap_or_default();
                changed.push(report(&format!("docs/{file}"), SIZES[0], &known, &got));
            }
        }
    }
    assert!(changed.is_empty(), "these pictures in docs/pictures changed:\n{}", changed.join("\n"));
}

/// Writes the new picture, and where it differs from the known one: red on what was there, dimmed.
fn report(file: &str, size: Size, known: &[u32], got: &[u32]) -> String {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/pictures").join(file);
    let mut differing = 0;
    let difference: Vec<u32> = got
        .iter()
        .zip(known.iter().map(Some).chain(std::iter::repeat(None)))
        .map(|(got, known)| match known {
            Some(known) if known == got => got >> 2 & 0x3f_3f3f,
            _ => {
                differing += 1;
                0xff_0000
            }
        })
        .collect();
    png_file::write(&directory.join("got.png"), size, got).unwrap();
    png_file::write(&directory.join("difference.png"), size, &difference).unwrap();
    format!("{}: {differing} pixels", directory.display())
}

/// Every screen in every look and language, with everything focused that can be, and every trouble.
fn all_states() -> Vec<(String, State)> {
    let vm = VmId(5);
    let mut troubles = Vec::new();
    for trouble in [
        Trouble::Stopped(vm),
        Trouble::KeepsFailing(vm),
        Trouble::DiskFull,
        Trouble::Offline,
        Trouble::UpdateFailed,
    ] {
        let mut state = house::state(Place::Trouble);
        state.house.troubles = vec![trouble];
        troubles.push(("trouble", state));
    }
    let mut all = Vec::new();
    for (name, state) in house::screens().into_iter().chain(troubles) {
        let ids = state.rows().into_iter().flatten().map(Some).chain([None]);
        for id in ids {
            for look in Look::ALL {
                for language in Language::ALL {
                    let mut state = state.clone();
                    state.settings.look = look;
                    state.settings.language = language;
                    if let Some(id) = id {
                        state.focus_on(id);
                    }
                    all.push((format!("{name}, {look:?}, {language:?}, focus {id:?}"), state));
                }
            }
        }
    }
    all
}

fn within(inner: Rectangle, outer: Rectangle) -> bool {
    inner.intersection(&outer) == inner
}

#[test]
fn no_text_is_cut_in_any_language_and_look() {
    // Letters are drawn in exact parts of the screen's height, so this holds at every resolution.
    let lettering = Lettering::new().unwrap();
    for (name, state) in all_states() {
        let scene = screens::scene(&state, &lettering, true);
        assert!(scene.shortened.is_empty(), "{name}: {:?}", scene.shortened);
    }
}

#[test]
fn only_the_backdrop_leaves_the_safe_area() {
    let lettering = Lettering::new().unwrap();
    for (name, state) in all_states() {
        let scene = screens::scene(&state, &lettering, true);
        for shape in &scene.shapes[scene.backdrop..] {
            assert!(within(shape.bounds(), SAFE), "{name}: {shape:?}");
        }
        if let Some((focus, _)) = scene.focus {
            let ring = grown(focus, RING_ROOM / 2 + scene.theme.ring);
            assert!(within(ring, SAFE), "{name}: the ring at {ring:?}");
        }
    }
}

#[test]
fn what_has_the_focus_is_on_the_screen_and_ringed() {
    let lettering = Lettering::new().unwrap();
    for (name, state) in all_states() {
        let scene = screens::scene(&state, &lettering, false);
        assert_eq!(scene.focus.is_some(), state.focus().is_some(), "{name}");
    }
}

#[test]
fn the_focus_is_never_lost_whatever_disappears() {
    for (name, mut state) in all_states() {
        let empty = [Event::Appliances(Vec::new()), Event::Update(ui::tv::state::Update::Loading(1))];
        for event in empty {
            state = update(state, event).0;
        }
        let nothing_to_choose = matches!(state.place, Place::Watching(_) | Place::Dark);
        assert!(state.focus().is_some() || nothing_to_choose, "{name}");
    }
}

const KEYS: [Key; 7] = [
    Key::Arrow(Direction::Up),
    Key::Arrow(Direction::Down),
    Key::Arrow(Direction::Left),
    Key::Arrow(Direction::Right),
    Key::Ok,
    Key::Back,
    Key::Home,
];

/// All that can be reached from `start` with short presses and (`holds`) long ones of OK and Home.
fn reachable(start: State, holds: bool) -> Vec<State> {
    let mark = |state: &State| (state.place, state.focus(), state.settings.set_up);
    let mut found: Vec<(Place, Option<Id>, bool)> = vec![mark(&start)];
    let mut states = vec![start];
    let mut next = 0;
    while next < states.len() {
        for key in KEYS {
            for press in [Press::Tap, Press::Hold] {
                if press == Press::Hold && !(holds && matches!(key, Key::Ok | Key::Home)) {
                    continue;
                }
                let (state, _) = update(states[next].clone(), Event::Key(key, press));
                if !found.contains(&mark(&state)) {
                    found.push(mark(&state));
                    states.push(state);
                }
            }
        }
        next += 1;
    }
    states
}

#[test]
fn arrows_ok_back_and_home_reach_and_leave_every_screen() {
    let states = reachable(house::state(Place::Launcher), true);
    for (name, wanted) in
        house::screens().iter().filter(|(_, state)| !matches!(state.place, Place::Wizard(_)))
    {
        assert!(states.iter().any(|state| state.place == wanted.place), "{name} can't be reached");
    }
    assert!(states.iter().any(|state| state.place == Place::Dark));
    for state in states {
        let nothing_to_choose = matches!(state.place, Place::Watching(_) | Place::Dark);
        assert!(state.focus().is_some() || nothing_to_choose, "no focus at {:?}", state.place);
        let (home, _) = update(state.clone(), Event::Key(Key::Home, Press::Tap));
        assert_eq!(home.place, Place::Launcher, "Home at {:?}", state.place);
    }
}

#[test]
fn the_first_run_is_reached_and_ends_at_the_launcher_and_is_kept() {
    let mut state = State::new(ui::tv::Settings::default());
    state.house = house::house();
    let states = reachable(state, false);
    for step in Step::ALL {
        assert!(states.iter().any(|state| state.place == Place::Wizard(step)), "{step:?}");
    }
    assert!(states.iter().any(|state| state.place == Place::Launcher && state.settings.set_up));
    assert!(
        states
            .iter()
            .all(|state| state.focus().is_some() || matches!(state.place, Place::Watching(_) | Place::Dark))
    );
}

/// Numbers that look random and are the same every time.
fn dice(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

#[test]
fn drawing_only_what_changed_gives_the_same_picture() {
    let size = Size::new(640, 360);
    let mut state = house::state(Place::Launcher);
    let mut painter = Painter::new(size).unwrap();
    let (mut now, mut seed) = (0, 7);
    painter.paint(&state, &house::Film, now);
    for step in 0..300 {
        let before = painter.surface().pixels().to_vec();
        let event = match dice(&mut seed) % 12 {
            0 => Event::Key(Key::VolumeUp, Press::Tap),
            1 => Event::Key(Key::Home, Press::Hold),
            other => Event::Key(KEYS[other % KEYS.len()], Press::Tap),
        };
        state = update(state, event).0;
        now += 1 + (dice(&mut seed) % 200) as u64;
        let damage = painter.paint(&state, &house::Film, now);
        let after = painter.surface().pixels();
        for (at, (before, after)) in (0..).zip(before.iter().zip(after)) {
            let point = Point::new(at % 640, at / 640);
            let told = damage.iter().any(|area| area.contains(point));
            assert!(told || before == after, "step {step}: {point:?} changed silently at {:?}", state.place);
        }
        // Once nothing moves any more, it is what a new painter paints.
        now += 5000;
        painter.paint(&state, &house::Film, now);
        assert!(!painter.in_motion(now));
        state.volume_changes = 0;
        painter.paint(&state, &house::Film, now + 1);
        now += 5000;
        painter.paint(&state, &house::Film, now);
        assert!(painter.surface().pixels() == painted(&state, size), "step {step} at {:?}", state.place);
    }
}

#[test]
fn screens_of_all_sizes_and_proportions_are_filled() {
    for (width, height) in [(0, 0), (1, 1), (40, 30), (640, 480), (1024, 768), (720, 1280), (3840, 2160)] {
        let mut painter = Painter::new(Size::new(width, height)).unwrap();
        painter.paint(&house::state(Place::Launcher), &house::Film, 0);
        let background = 0x12_141a;
        let corners = [painter.surface().pixels().first(), painter.surface().pixels().last()];
        assert!(corners.into_iter().flatten().all(|&pixel| pixel == background), "{width}x{height}");
    }
}
