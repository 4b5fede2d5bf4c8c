//! What can have the focus at each place, and where the arrows lead.
//!
//! The focus can't be lost: the state keeps what is wanted, and what has the focus is that or, if
//! it is no longer there, the first thing that is.

use super::state::{Look, Place, Question, Running, Section, State, Step, Trouble, Update, VmId};
use super::words::Language;
use alloc::vec;
use alloc::vec::Vec;

/// Tiles side by side, when there are only a few.
const FEW_COLUMNS: usize = 3;
/// Tiles side by side, when there are more.
const MANY_COLUMNS: usize = 4;

/// What can have the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// An appliance's tile.
    Tile(VmId),
    /// To the settings.
    OpenSettings,
    /// To the power screen.
    OpenPower,
    /// To what went wrong.
    OpenTrouble,
    /// To the first run.
    SetUp,
    /// The volume of everything.
    Volume,
    /// The volume of one appliance.
    VolumeOf(VmId),
    /// Back to the picture.
    CarryOn(VmId),
    /// To the launcher.
    ToLauncher,
    /// Start it.
    Start(VmId),
    /// Close it (after a question).
    Close(VmId),
    /// Restart it (after a question).
    Restart(VmId),
    /// The question's yes.
    Yes,
    /// The question's no.
    No,
    /// A line of the settings' table of contents.
    Section(Section),
    /// A switch or a choice.
    Choice(Choice),
    /// Whether it starts with the box.
    Autostart(VmId),
    /// To an appliance's page.
    Page(VmId),
    /// Ask for a network address again.
    Reconnect,
    /// Look for updates, or install the one that is here.
    Update,
    /// Back to where one came from.
    Done,
    /// The screen off.
    Sleep,
    /// The box anew.
    RestartBox,
    /// The box off.
    PowerOff,
    /// What the trouble screen offers.
    Help,
    /// A language in the first run.
    Speak(Language),
    /// A look in the first run.
    Wear(Look),
    /// The next step of the first run.
    Next,
}

/// A setting that is one of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing is heard.
    Mute,
    /// Loud is softer.
    NightSound,
    /// The language.
    Language,
    /// The look.
    Look,
    /// How pictures are scaled.
    Scaling,
    /// When the screen goes off.
    ScreenOff,
}

/// A step of the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the row above.
    Up,
    /// To the row below.
    Down,
    /// To the neighbour at the left.
    Left,
    /// To the neighbour at the right.
    Right,
}

impl State {
    /// What has the focus; `None` only where there is nothing to choose (a picture, darkness).
    pub fn focus(&self) -> Option<Id> {
        let rows = self.rows();
        let mut all = rows.iter().flatten();
        let first = all.clone().next();
        all.find(|&&id| id == self.wanted).or(first).copied()
    }

    /// How many tiles stand side by side.
    pub fn columns(&self) -> usize {
        if self.house.appliances.len() <= FEW_COLUMNS { FEW_COLUMNS } else { MANY_COLUMNS }
    }

    /// All that can have the focus here, row by row.
    pub fn rows(&self) -> Vec<Vec<Id>> {
        self.rows_at(self.place)
    }

    /// All that could have the focus at another place.
    fn rows_at(&self, place: Place) -> Vec<Vec<Id>> {
        match place {
            Place::Launcher => self.launcher_rows(),
            Place::Watching(_) | Place::Dark => Vec::new(),
            Place::Overlay(vm) => vec![
                vec![Id::VolumeOf(vm)],
                vec![Id::CarryOn(vm), Id::ToLauncher, Id::Restart(vm), Id::Close(vm)],
            ],
            Place::Appliance(vm) => self.appliance_rows(vm),
            Place::Ask { .. } => vec![vec![Id::No, Id::Yes]],
            Place::Settings(_) => column(&Section::ALL.map(Id::Section)),
            Place::Section(section) => self.section_rows(section),
            Place::Power => vec![vec![Id::Sleep, Id::RestartBox, Id::PowerOff], vec![Id::Done]],
            Place::Trouble => match self.house.troubles.first() {
                Some(Trouble::UpdateFailed) | None => vec![vec![Id::Done]],
                Some(_) => vec![vec![Id::Help, Id::Done]],
            },
            Place::Wizard(Step::Language) => vec![Language::ALL.map(Id::Speak).to_vec()],
            Place::Wizard(Step::Look) => vec![Look::ALL.map(Id::Wear).to_vec()],
            Place::Wizard(Step::Sound) => column(&[Id::Volume, Id::Next]),
            Place::Wizard(Step::Network | Step::End) => column(&[Id::Next]),
        }
    }

    fn launcher_rows(&self) -> Vec<Vec<Id>> {
        let tiles = self.house.appliances.chunks(self.columns());
        let mut rows: Vec<Vec<Id>> =
            tiles.map(|row| row.iter().map(|appliance| Id::Tile(appliance.id)).collect()).collect();
        let mut last = vec![Id::OpenSettings, Id::OpenPower];
        if !self.settings.set_up {
            last.insert(0, Id::SetUp);
        }
        if !self.house.troubles.is_empty() {
            last.push(Id::OpenTrouble);
        }
        rows.push(last);
        rows
    }

    fn appliance_rows(&self, vm: VmId) -> Vec<Vec<Id>> {
        let alive = self.house.appliance(vm).is_some_and(super::state::Appliance::is_alive);
        let mut ids = vec![Id::VolumeOf(vm), Id::Autostart(vm)];
        if alive {
            ids.extend([Id::Restart(vm), Id::Close(vm)]);
        } else {
            ids.push(Id::Start(vm));
        }
        ids.push(Id::Done);
        column(&ids)
    }

    fn section_rows(&self, section: Section) -> Vec<Vec<Id>> {
        match section {
            Section::Sound => {
                column(&[Id::Volume, Id::Choice(Choice::Mute), Id::Choice(Choice::NightSound), Id::Done])
            }
            Section::Picture => column(&[
                Id::Choice(Choice::Language),
                Id::Choice(Choice::Look),
                Id::Choice(Choice::Scaling),
                Id::Choice(Choice::ScreenOff),
                Id::Done,
            ]),
            Section::Network => column(&[Id::Reconnect, Id::Done]),
            Section::Storage => column(&[Id::Done]),
            Section::Appliances => {
                let mut ids: Vec<Id> = self.house.appliances.iter().map(|one| Id::Page(one.id)).collect();
                ids.push(Id::Done);
                column(&ids)
            }
            Section::About => match self.house.update {
                Update::None | Update::Ready => column(&[Id::Update, Id::Done]),
                Update::Loading(_) | Update::Unsupported => column(&[Id::Done]),
            },
        }
    }

    /// What is in that direction, if anything is.
    pub fn neighbour(&self, direction: Direction) -> Option<Id> {
        let rows = self.rows();
        let focus = self.focus()?;
        let (row, column) = rows
            .iter()
            .enumerate()
            .find_map(|(row, ids)| ids.iter().position(|&id| id == focus).map(|column| (row, column)))?;
        match direction {
            Direction::Left => rows.get(row)?.get(column.checked_sub(1)?).copied(),
            Direction::Right => rows.get(row)?.get(column + 1).copied(),
            Direction::Up => nearest(rows.get(row.checked_sub(1)?)?, column),
            Direction::Down => nearest(rows.get(row + 1)?, column),
        }
    }

    /// Where Back leads; `None` where there is no further back.
    pub fn parent(&self) -> Option<Place> {
        match self.place {
            Place::Watching(_) | Place::Settings(_) | Place::Power | Place::Trouble | Place::Dark => {
                Some(Place::Launcher)
            }
            Place::Wizard(Step::Language) => Some(Place::Launcher),
            Place::Overlay(vm) => Some(Place::Watching(vm)),
            Place::Appliance(_) => Some(Place::Section(Section::Appliances)),
            Place::Ask { vm, over_picture: true, .. } => Some(Place::Overlay(vm)),
            Place::Ask { vm, over_picture: false, .. } => Some(Place::Appliance(vm)),
            Place::Section(section) => Some(Place::Settings(section)),
            Place::Wizard(step) => {
                let before = Step::ALL.iter().take_while(|&&other| other != step).last();
                before.copied().map(Place::Wizard)
            }
            Place::Launcher => None,
        }
    }
}

impl Place {
    /// What is focused first when one comes here from `before`.
    pub(super) fn first_focus(self, before: Self, state: &State) -> Id {
        match (self, before) {
            (Self::Launcher, Self::Watching(vm) | Self::Overlay(vm)) => Id::Tile(vm),
            (Self::Launcher, _) => state.launcher_focus,
            (Self::Overlay(vm), Self::Ask { question, .. })
            | (Self::Appliance(vm), Self::Ask { question, .. }) => match question {
                Question::Close => Id::Close(vm),
                Question::Restart => Id::Restart(vm),
            },
            (Self::Overlay(vm), _) => Id::CarryOn(vm),
            (Self::Section(Section::Appliances), Self::Appliance(vm)) => Id::Page(vm),
            (Self::Settings(section), _) => Id::Section(section),
            (Self::Appliance(vm), _)
                if state.house.appliance(vm).is_some_and(|one| one.running == Running::Failed) =>
            {
                Id::Start(vm)
            }
            (Self::Wizard(Step::Language), _) => Id::Speak(state.settings.language),
            (Self::Wizard(Step::Look), _) => Id::Wear(state.settings.look),
            (Self::Wizard(Step::Sound), _) => Id::Volume,
            (Self::Wizard(_), _) => Id::Next,
            // Whatever is first there; nothing of this name is.
            _ => state.rows_at(self).into_iter().flatten().next().unwrap_or(Id::Done),
        }
    }
}

/// One below the other.
fn column(ids: &[Id]) -> Vec<Vec<Id>> {
    ids.iter().map(|&id| vec![id]).collect()
}

/// What stands at `column` of a row, or at its end.
fn nearest(row: &[Id], column: usize) -> Option<Id> {
    row.get(column).or(row.last()).copied()
}
