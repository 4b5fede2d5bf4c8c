//! What follows from what happens: (State, Event) → (State, Command).

use super::focus::{Choice, Direction, Id};
use super::state::{
    Appliance, Clock, House, Look, Machine, Network, Place, Question, Running, Section, Settings, State,
    Step, Storage, Trouble, Update, VmId,
};
use super::words::Language;
use alloc::vec::Vec;

/// A key of the remote control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// An arrow.
    Arrow(Direction),
    /// OK.
    Ok,
    /// Back.
    Back,
    /// Home.
    Home,
    /// Menu.
    Menu,
    /// Louder.
    VolumeUp,
    /// Softer.
    VolumeDown,
    /// Silence, and sound again.
    Mute,
    /// Any other, by its Linux input event code; only appliances know what it means.
    Other(u16),
}

/// How a key was pressed. OK and Home are reported when they are let go (`Tap`) or have been held
/// (`Hold`); all other keys are a `Tap` at once, and again while they are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// Shortly.
    Tap,
    /// For longer.
    Hold,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key.
    Key(Key, Press),
    /// No key for as long as the settings say.
    Idle,
    /// What is installed, and how it is.
    Appliances(Vec<Appliance>),
    /// The time.
    Clock(Clock),
    /// The network.
    Network(Network),
    /// Newer versions.
    Update(Update),
    /// The disk.
    Storage(Storage),
    /// The box.
    Machine(Machine),
    /// What was set before the box was switched on.
    Settings(Settings),
    /// Something went wrong.
    Trouble(Trouble),
}

/// What the machine is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing.
    None,
    /// Start it, and let it have the front.
    Start(VmId),
    /// Let it have the front; keys go to it.
    Front(VmId),
    /// Close it properly.
    Close(VmId),
    /// Close it properly and start it again.
    Restart(VmId),
    /// Give it this key.
    Pass(VmId, Key, Press),
    /// Its volume is now so many percent.
    VolumeOf(VmId, u8),
    /// Whether it starts with the box.
    Autostart(VmId, bool),
    /// Keep and follow these settings.
    Settings(Settings),
    /// Ask for a network address again.
    Reconnect,
    /// Look for a newer version.
    LookForUpdate,
    /// Install the newer version.
    InstallUpdate,
    /// Screen off.
    ScreenOff,
    /// Screen on.
    ScreenOn,
    /// Close everything and start again.
    RestartBox,
    /// Close everything and turn off.
    PowerOff,
}

/// A step of the volume, in percent.
const VOLUME_STEP: u8 = 5;
/// Choices for when the screen goes off, in minutes; 0 is never.
const SCREEN_OFF_AFTER: [u8; 4] = [10, 30, 60, 0];
/// Troubles remembered; the oldest goes first.
const TROUBLES: usize = 8;

/// What is after `event`, and what is to be done.
pub fn update(mut state: State, event: Event) -> (State, Command) {
    let command = match event {
        Event::Key(key, press) => state.key(key, press),
        Event::Idle => state.idle(),
        Event::Settings(settings) => state.recall(settings),
        fact => {
            let knew = state.house.known;
            state.house.learn(fact);
            if state.house.known != knew {
                state.greet();
            }
            state.leave_what_is_gone()
        }
    };
    (state, command)
}

impl House {
    /// Takes in what is news about the house.
    fn learn(&mut self, fact: Event) {
        match fact {
            Event::Appliances(appliances) => (self.appliances, self.known) = (appliances, true),
            Event::Clock(clock) => self.clock = Some(clock),
            Event::Network(network) => self.network = network,
            Event::Update(update) => self.update = update,
            Event::Storage(storage) => self.storage = storage,
            Event::Machine(machine) => self.machine = machine,
            Event::Trouble(trouble) if !self.troubles.contains(&trouble) => {
                self.troubles.insert(0, trouble);
                self.troubles.truncate(TROUBLES);
            }
            Event::Settings(_) | Event::Trouble(_) | Event::Key(..) | Event::Idle => {}
        }
    }
}

impl State {
    fn key(&mut self, key: Key, press: Press) -> Command {
        if self.place == Place::Dark {
            self.go(Place::Launcher);
            return Command::ScreenOn;
        }
        match (key, press) {
            (Key::VolumeUp, _) => return self.set_volume(self.settings.volume.saturating_add(VOLUME_STEP)),
            (Key::VolumeDown, _) => return self.set_volume(self.settings.volume.saturating_sub(VOLUME_STEP)),
            (Key::Mute, _) => {
                self.settings.muted = !self.settings.muted;
                self.volume_changes = self.volume_changes.wrapping_add(1);
                return Command::Settings(self.settings);
            }
            (Key::Home, press) => return self.home(press),
            _ => {}
        }
        match (self.place, key) {
            (Place::Watching(vm), Key::Menu) => self.go(Place::Overlay(vm)),
            (Place::Watching(vm), key) => Command::Pass(vm, key, press),
            (_, Key::Back) => self.back(),
            (_, Key::Arrow(direction)) => self.arrow(direction),
            (Place::Launcher, Key::Menu) => self.options(),
            (Place::Launcher, Key::Ok) if press == Press::Hold => self.options(),
            (_, Key::Ok) => self.focus().map_or(Command::None, |id| self.act(id)),
            _ => Command::None,
        }
    }

    /// Takes what was set before. Who need not set up the box is not asked to.
    fn recall(&mut self, settings: Settings) -> Command {
        self.settings = settings;
        if settings.set_up && self.launcher_focus == Id::SetUp {
            self.launcher_focus = Id::OpenSettings;
            if self.wanted == Id::SetUp {
                self.wanted = Id::OpenSettings;
            }
        }
        Command::None
    }

    /// The tiles are there now: the first one gets the focus, if the viewer has not moved it and need
    /// not set up the box first.
    fn greet(&mut self) {
        let first = self.house.appliances.first().map(|first| Id::Tile(first.id));
        if let (Id::OpenSettings, Some(first)) = (self.launcher_focus, first) {
            self.launcher_focus = first;
            if (self.place, self.wanted) == (Place::Launcher, Id::OpenSettings) {
                self.wanted = first;
            }
        }
    }

    /// Home always reaches the launcher; held while a picture shows, it opens the panel over it.
    fn home(&mut self, press: Press) -> Command {
        match (self.place, press) {
            (Place::Watching(vm), Press::Hold) => self.go(Place::Overlay(vm)),
            _ => self.go(Place::Launcher),
        }
    }

    fn idle(&mut self) -> Command {
        let may_sleep = !matches!(self.place, Place::Watching(_) | Place::Dark | Place::Wizard(_));
        if may_sleep && self.settings.screen_off_after > 0 { self.sleep() } else { Command::None }
    }

    fn sleep(&mut self) -> Command {
        self.go(Place::Dark);
        Command::ScreenOff
    }

    fn back(&mut self) -> Command {
        self.parent().map_or(Command::None, |place| self.go(place))
    }

    /// The page of the tile that has the focus.
    fn options(&mut self) -> Command {
        match self.focus() {
            Some(Id::Tile(vm)) if self.house.appliance(vm).is_some_and(Appliance::is_alive) => {
                self.go(Place::Overlay(vm))
            }
            Some(Id::Tile(vm)) => self.go(Place::Appliance(vm)),
            _ => Command::None,
        }
    }

    /// Goes to `place`.
    fn go(&mut self, place: Place) -> Command {
        if place == self.place {
            return Command::None;
        }
        if self.place == Place::Launcher {
            self.launcher_focus = self.focus().unwrap_or(self.launcher_focus);
        }
        self.wanted = place.first_focus(self.place, self);
        self.place = place;
        match place {
            Place::Watching(vm) => Command::Front(vm),
            _ => Command::None,
        }
    }

    fn arrow(&mut self, direction: Direction) -> Command {
        let Some(focus) = self.focus() else { return Command::None };
        let forward = match direction {
            Direction::Left => Some(false),
            Direction::Right => Some(true),
            Direction::Up | Direction::Down => None,
        };
        match (focus, forward) {
            (Id::Volume, Some(up)) => {
                let volume = stepped(self.settings.volume, up);
                self.set_volume(volume)
            }
            (Id::VolumeOf(vm), Some(up)) => self.set_volume_of(vm, up),
            (Id::Choice(choice), Some(forward)) => self.choose(choice, forward),
            (Id::Autostart(vm), Some(_)) => self.toggle_autostart(vm),
            (Id::Section(section), Some(true)) => self.go(Place::Section(section)),
            (_, Some(false)) if matches!(self.place, Place::Section(_) | Place::Appliance(_)) => self.back(),
            _ => {
                self.wanted = self.neighbour(direction).unwrap_or(focus);
                if let (Place::Settings(_), Id::Section(section)) = (self.place, self.wanted) {
                    self.place = Place::Settings(section);
                }
                Command::None
            }
        }
    }

    /// What OK does on `id`.
    fn act(&mut self, id: Id) -> Command {
        match id {
            Id::Tile(vm) => self.open(vm),
            Id::OpenSettings => self.go(Place::Settings(Section::Sound)),
            Id::OpenPower => self.go(Place::Power),
            Id::OpenTrouble => self.go(Place::Trouble),
            Id::SetUp => self.go(Place::Wizard(Step::Language)),
            Id::Volume if matches!(self.place, Place::Wizard(_)) => self.next_step(),
            Id::Volume | Id::VolumeOf(_) => Command::None,
            Id::CarryOn(vm) => self.go(Place::Watching(vm)),
            Id::ToLauncher => self.go(Place::Launcher),
            Id::Start(vm) => self.start(vm),
            Id::Close(vm) => self.ask(Question::Close, vm),
            Id::Restart(vm) => self.ask(Question::Restart, vm),
            Id::Yes => self.confirmed(),
            Id::Section(section) => self.go(Place::Section(section)),
            Id::Choice(choice) => self.choose(choice, true),
            Id::Autostart(vm) => self.toggle_autostart(vm),
            Id::Page(vm) => self.go(Place::Appliance(vm)),
            Id::Reconnect => Command::Reconnect,
            Id::Update if self.house.update == Update::Ready => Command::InstallUpdate,
            Id::Update => Command::LookForUpdate,
            Id::Done if self.place == Place::Trouble => self.understood(),
            Id::Done | Id::No => self.back(),
            Id::Sleep => self.sleep(),
            Id::RestartBox => Command::RestartBox,
            Id::PowerOff => Command::PowerOff,
            Id::Help => self.help(),
            Id::Speak(language) => {
                self.settings.language = language;
                self.next_step()
            }
            Id::Wear(look) => {
                self.settings.look = look;
                self.next_step()
            }
            Id::Next => self.next_step(),
        }
    }

    /// OK on a tile: on with what runs, start what does not.
    fn open(&mut self, vm: VmId) -> Command {
        match self.house.appliance(vm) {
            Some(appliance) if appliance.is_alive() => self.go(Place::Watching(vm)),
            Some(_) => self.start(vm),
            None => Command::None,
        }
    }

    fn start(&mut self, vm: VmId) -> Command {
        // Until the machine says otherwise, so that the picture is not left at once.
        if let Some(appliance) = self.house.appliances.iter_mut().find(|one| one.id == vm) {
            appliance.running = Running::Starting;
        }
        self.house.troubles.retain(
            |trouble| !matches!(trouble, Trouble::Stopped(of) | Trouble::KeepsFailing(of) if *of == vm),
        );
        self.go(Place::Watching(vm));
        Command::Start(vm)
    }

    fn ask(&mut self, question: Question, vm: VmId) -> Command {
        let over_picture = matches!(self.place, Place::Overlay(_));
        self.go(Place::Ask { question, vm, over_picture })
    }

    fn confirmed(&mut self) -> Command {
        let Place::Ask { question, vm, .. } = self.place else { return Command::None };
        match question {
            Question::Close => {
                self.go(Place::Launcher);
                Command::Close(vm)
            }
            Question::Restart => {
                self.go(Place::Watching(vm));
                Command::Restart(vm)
            }
        }
    }

    fn understood(&mut self) -> Command {
        if !self.house.troubles.is_empty() {
            self.house.troubles.remove(0);
        }
        self.go(Place::Launcher)
    }

    /// What the trouble screen offers: to try again, or the settings that matter.
    fn help(&mut self) -> Command {
        match self.house.troubles.first() {
            Some(&Trouble::Stopped(vm) | &Trouble::KeepsFailing(vm)) => self.start(vm),
            Some(Trouble::DiskFull) => self.go(Place::Section(Section::Storage)),
            Some(Trouble::Offline) => self.go(Place::Section(Section::Network)),
            Some(Trouble::UpdateFailed) | None => Command::None,
        }
    }

    fn next_step(&mut self) -> Command {
        let Place::Wizard(step) = self.place else { return Command::None };
        let next = Step::ALL.iter().skip_while(|&&other| other != step).nth(1);
        if let Some(&next) = next {
            self.go(Place::Wizard(next));
        } else {
            self.settings.set_up = true;
            self.go(Place::Launcher);
            let first = self.house.appliances.first();
            self.wanted = first.map_or(Id::OpenSettings, |first| Id::Tile(first.id));
        }
        Command::Settings(self.settings)
    }

    fn set_volume(&mut self, volume: u8) -> Command {
        self.settings.volume = volume.min(100);
        self.settings.muted = false;
        self.volume_changes = self.volume_changes.wrapping_add(1);
        Command::Settings(self.settings)
    }

    fn set_volume_of(&mut self, vm: VmId, up: bool) -> Command {
        let Some(appliance) = self.house.appliances.iter_mut().find(|one| one.id == vm) else {
            return Command::None;
        };
        appliance.volume = stepped(appliance.volume, up);
        Command::VolumeOf(vm, appliance.volume)
    }

    fn toggle_autostart(&mut self, vm: VmId) -> Command {
        let Some(appliance) = self.house.appliances.iter_mut().find(|one| one.id == vm) else {
            return Command::None;
        };
        appliance.autostart = !appliance.autostart;
        Command::Autostart(vm, appliance.autostart)
    }

    fn choose(&mut self, choice: Choice, forward: bool) -> Command {
        let settings = &mut self.settings;
        match choice {
            Choice::Mute => settings.muted = !settings.muted,
            Choice::NightSound => settings.night_sound = !settings.night_sound,
            Choice::Scaling => settings.sharp_scaling = !settings.sharp_scaling,
            Choice::Language => settings.language = following(&Language::ALL, settings.language, forward),
            Choice::Look => settings.look = following(&Look::ALL, settings.look, forward),
            Choice::ScreenOff => {
                settings.screen_off_after = following(&SCREEN_OFF_AFTER, settings.screen_off_after, forward);
            }
        }
        Command::Settings(*settings)
    }

    /// The picture of what has stopped, and the page of what was removed, are left.
    fn leave_what_is_gone(&mut self) -> Command {
        let (vm, needs_life) = match self.place {
            Place::Watching(vm) | Place::Overlay(vm) => (vm, true),
            Place::Ask { vm, over_picture, .. } => (vm, over_picture),
            Place::Appliance(vm) => (vm, false),
            _ => return Command::None,
        };
        let stays = self.house.appliance(vm).is_some_and(|appliance| appliance.is_alive() || !needs_life);
        if stays { Command::None } else { self.go(Place::Launcher) }
    }
}

fn stepped(volume: u8, up: bool) -> u8 {
    if up { volume.saturating_add(VOLUME_STEP).min(100) } else { volume.saturating_sub(VOLUME_STEP) }
}

/// The value after (or before) `now`, round and round.
fn following<T: Copy + PartialEq>(all: &[T], now: T, forward: bool) -> T {
    let at = all.iter().position(|&one| one == now).unwrap_or(0);
    let step = if forward { 1 } else { all.len().saturating_sub(1) };
    all.get((at + step) % all.len().max(1)).copied().unwrap_or(now)
}
