//! What keys and news lead to.

#[allow(dead_code, reason = "the pictures need more of it")]
#[path = "pictures/house.rs"]
mod house;

use ui::tv::state::{Running, Section, Step, Trouble, Update};
use ui::tv::{Command, Direction, Event, Id, Key, Place, Press, Settings, State, VmId, update};

const TV: VmId = VmId(1);
const DEBIAN: VmId = VmId(4);

fn at(place: Place, id: Option<Id>) -> State {
    let mut state = house::state(place);
    if let Some(id) = id {
        state.focus_on(id);
    }
    state
}

fn tap(state: State, key: Key) -> (State, Command) {
    update(state, Event::Key(key, Press::Tap))
}

#[test]
fn ok_on_a_tile_starts_what_is_off_and_shows_what_runs() {
    let (state, command) = tap(at(Place::Launcher, Some(Id::Tile(DEBIAN))), Key::Ok);
    assert_eq!((state.place, command), (Place::Watching(DEBIAN), Command::Start(DEBIAN)));
    let (state, command) = tap(at(Place::Launcher, Some(Id::Tile(TV))), Key::Ok);
    assert_eq!((state.place, command), (Place::Watching(TV), Command::Front(TV)));
}

#[test]
fn an_appliance_gets_all_keys_but_home_menu_and_volume() {
    for key in [Key::Ok, Key::Back, Key::Arrow(Direction::Up), Key::Other(164)] {
        let (state, command) = tap(at(Place::Watching(TV), None), key);
        assert_eq!((state.place, command), (Place::Watching(TV), Command::Pass(TV, key, Press::Tap)));
    }
    let (state, command) = tap(at(Place::Watching(TV), None), Key::Home);
    assert_eq!((state.place, state.focus(), command), (Place::Launcher, Some(Id::Tile(TV)), Command::None));
    let (state, _) = update(at(Place::Watching(TV), None), Event::Key(Key::Home, Press::Hold));
    assert_eq!((state.place, state.focus()), (Place::Overlay(TV), Some(Id::CarryOn(TV))));
    let (state, command) = tap(at(Place::Watching(TV), None), Key::VolumeUp);
    assert_eq!((state.settings.volume, command), (65, Command::Settings(state.settings)));
}

#[test]
fn closing_is_asked_and_no_is_the_answer_at_hand() {
    let (state, command) = tap(at(Place::Overlay(TV), Some(Id::Close(TV))), Key::Ok);
    assert_eq!((state.focus(), command), (Some(Id::No), Command::None));
    let (back, _) = tap(state.clone(), Key::Ok);
    assert_eq!((back.place, back.focus()), (Place::Overlay(TV), Some(Id::Close(TV))));
    let (state, _) = tap(state, Key::Arrow(Direction::Right));
    let (state, command) = tap(state, Key::Ok);
    assert_eq!((state.place, command), (Place::Launcher, Command::Close(TV)));
}

#[test]
fn the_picture_of_what_stopped_is_left() {
    let mut appliances = house::house().appliances;
    appliances[0].running = Running::Failed;
    for place in [Place::Watching(TV), Place::Overlay(TV)] {
        let (state, _) = update(at(place, None), Event::Appliances(appliances.clone()));
        assert_eq!(state.place, Place::Launcher);
    }
    let (state, _) = update(at(Place::Appliance(TV), None), Event::Appliances(Vec::new()));
    assert_eq!(state.place, Place::Launcher);
}

#[test]
fn volumes_stay_between_nothing_and_all() {
    let mut state = at(Place::Section(Section::Sound), Some(Id::Volume));
    for _ in 0..50 {
        state = tap(state, Key::Arrow(Direction::Right)).0;
    }
    assert_eq!(state.settings.volume, 100);
    for _ in 0..50 {
        state = tap(state, Key::VolumeDown).0;
    }
    assert_eq!(state.settings.volume, 0);
    let (state, command) = tap(at(Place::Overlay(TV), Some(Id::VolumeOf(TV))), Key::Arrow(Direction::Left));
    assert_eq!((state.focus(), command), (Some(Id::VolumeOf(TV)), Command::VolumeOf(TV, 75)));
}

#[test]
fn any_key_wakes_the_screen_and_does_nothing_else() {
    let (state, command) = tap(at(Place::Power, Some(Id::Sleep)), Key::Ok);
    assert_eq!((state.place, command), (Place::Dark, Command::ScreenOff));
    let (state, command) = tap(state, Key::Ok);
    assert_eq!((state.place, command), (Place::Launcher, Command::ScreenOn));
}

#[test]
fn idleness_darkens_the_launcher_but_no_picture_and_not_against_the_settings() {
    assert_eq!(update(at(Place::Launcher, None), Event::Idle).1, Command::ScreenOff);
    assert_eq!(update(at(Place::Watching(TV), None), Event::Idle).1, Command::None);
    let mut never = at(Place::Launcher, None);
    never.settings.screen_off_after = 0;
    assert_eq!(update(never, Event::Idle).1, Command::None);
}

#[test]
fn troubles_are_few_told_once_and_gone_when_understood() {
    let mut state = at(Place::Launcher, None);
    for vm in 0..100 {
        state = update(state, Event::Trouble(Trouble::Stopped(VmId(vm)))).0;
        state = update(state, Event::Trouble(Trouble::Stopped(VmId(vm)))).0;
    }
    assert!(state.house.troubles.len() <= 8);
    state.house.troubles.truncate(1);
    state.focus_on(Id::OpenTrouble);
    let (mut state, _) = tap(state, Key::Ok);
    state.focus_on(Id::Done);
    let (state, _) = tap(state, Key::Ok);
    assert_eq!((state.place, state.house.troubles.len()), (Place::Launcher, 0));
}

#[test]
fn an_update_is_looked_for_or_installed() {
    let (_, command) = tap(at(Place::Section(Section::About), Some(Id::Update)), Key::Ok);
    assert_eq!(command, Command::InstallUpdate);
    let (state, _) =
        update(at(Place::Section(Section::About), Some(Id::Update)), Event::Update(Update::None));
    assert_eq!(tap(state, Key::Ok).1, Command::LookForUpdate);
}

#[test]
fn the_first_run_is_offered_and_can_be_left_for_later() {
    let state = State::new(Settings::default());
    assert_eq!((state.place, state.focus()), (Place::Launcher, Some(Id::SetUp)));
    let (first_run, _) = tap(state, Key::Ok);
    assert_eq!(first_run.place, Place::Wizard(Step::Language));
    for leave in [Key::Home, Key::Back] {
        let (state, command) = tap(first_run.clone(), leave);
        assert_eq!((state.place, state.focus(), command), (Place::Launcher, Some(Id::SetUp), Command::None));
    }
    let mut state = first_run;
    for _ in Step::ALL {
        state.focus_on(Id::Next);
        state = tap(state, Key::Ok).0;
    }
    assert!(state.settings.set_up && state.place == Place::Launcher);
    assert!(!state.rows().iter().flatten().any(|&id| id == Id::SetUp));
}

#[test]
fn what_was_set_before_counts_again() {
    let set = Settings { set_up: true, volume: 20, ..Settings::default() };
    let (state, command) = update(State::new(Settings::default()), Event::Settings(set));
    assert_eq!((state.settings, command), (set, Command::None));
    let (state, _) = update(state, Event::Appliances(house::house().appliances));
    assert_eq!(state.focus(), Some(Id::Tile(TV)));
}

#[test]
fn the_first_tile_has_the_focus_once_it_is_known() {
    let appliances = house::house().appliances;
    let fresh = State::new(Settings { set_up: true, ..Settings::default() });
    assert_eq!(fresh.focus(), Some(Id::OpenSettings));
    let (state, _) = update(fresh.clone(), Event::Appliances(appliances.clone()));
    assert_eq!(state.focus(), Some(Id::Tile(TV)));
    let (moved, _) = tap(fresh, Key::Arrow(Direction::Right));
    let (state, _) = update(moved, Event::Appliances(appliances));
    assert_eq!(state.focus(), Some(Id::OpenPower));
}
