//! What the interface knows: where the viewer is, what is set, and what there is in the house.

use super::focus::Id;
use super::words::{Language, Words};
use crate::theme::{self, Theme};
use alloc::string::String;
use alloc::vec::Vec;

/// Names an appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VmId(pub u16);

/// Where the viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tiles.
    Launcher,
    /// An appliance's picture; its keys are the appliance's.
    Watching(VmId),
    /// The panel over an appliance's picture.
    Overlay(VmId),
    /// An appliance's page in the settings.
    Appliance(VmId),
    /// Do you really want to?
    Ask {
        /// What is asked.
        question: Question,
        /// About whom.
        vm: VmId,
        /// Asked over its picture; else on its page.
        over_picture: bool,
    },
    /// The settings' table of contents.
    Settings(Section),
    /// One part of the settings.
    Section(Section),
    /// Sleep, restart, off.
    Power,
    /// The screen is off.
    Dark,
    /// Something went wrong.
    Trouble,
    /// The first run.
    Wizard(Step),
}

impl Place {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launcher => "launcher",
            Self::Watching(_) => "watching",
            Self::Overlay(_) => "overlay",
            Self::Appliance(_) => "appliance",
            Self::Ask { .. } => "ask",
            Self::Settings(_) => "settings",
            Self::Section(Section::Sound) => "settings-sound",
            Self::Section(Section::Picture) => "settings-picture",
            Self::Section(Section::Network) => "settings-network",
            Self::Section(Section::Storage) => "settings-storage",
            Self::Section(Section::Appliances) => "settings-appliances",
            Self::Section(Section::About) => "settings-about",
            Self::Power => "power",
            Self::Dark => "dark",
            Self::Trouble => "trouble",
            Self::Wizard(Step::Language) => "wizard-language",
            Self::Wizard(Step::Look) => "wizard-look",
            Self::Wizard(Step::Sound) => "wizard-sound",
            Self::Wizard(Step::Network) => "wizard-network",
            Self::Wizard(Step::End) => "wizard-end",
        }
    }
}

/// What is asked before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Close it?
    Close,
    /// Restart it?
    Restart,
}

/// A part of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Volume and the like.
    Sound,
    /// Language, look, scaling, when the screen goes off.
    Picture,
    /// Connection and addresses.
    Network,
    /// Disk and room.
    Storage,
    /// What is installed.
    Appliances,
    /// Version, hardware, updates.
    About,
}

impl Section {
    /// All, from the top.
    pub const ALL: [Self; 6] =
        [Self::Sound, Self::Picture, Self::Network, Self::Storage, Self::Appliances, Self::About];
}

/// A step of the first run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Language.
    Language,
    /// Look.
    Look,
    /// Volume.
    Sound,
    /// Whether the network is there.
    Network,
    /// The Home key.
    End,
}

impl Step {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Language, Self::Look, Self::Sound, Self::Network, Self::End];
}

/// What a look is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// [`theme::NORMAL`].
    #[default]
    Normal,
    /// [`theme::LARGE_TYPE`].
    LargeType,
    /// [`theme::HIGH_CONTRAST`].
    HighContrast,
}

impl Look {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Normal, Self::LargeType, Self::HighContrast];

    /// Its colours and sizes.
    pub const fn theme(self) -> &'static Theme {
        match self {
            Self::Normal => &theme::NORMAL,
            Self::LargeType => &theme::LARGE_TYPE,
            Self::HighContrast => &theme::HIGH_CONTRAST,
        }
    }
}

/// What the viewer chose; kept over power cuts by whoever owns the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the screen")]
pub struct Settings {
    /// The language spoken.
    pub language: Language,
    /// The look.
    pub look: Look,
    /// Volume of everything, 0 to 100.
    pub volume: u8,
    /// Nothing is heard.
    pub muted: bool,
    /// Loud is softer and soft is louder.
    pub night_sound: bool,
    /// Pictures are scaled pixel by pixel instead of smoothly.
    pub sharp_scaling: bool,
    /// Minutes without a key until the screen goes off; 0 is never.
    pub screen_off_after: u8,
    /// The first run is over.
    pub set_up: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            language: Language::English,
            look: Look::Normal,
            volume: 60,
            muted: false,
            night_sound: false,
            sharp_scaling: false,
            screen_off_after: 30,
            set_up: false,
        }
    }
}

/// How an appliance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// Not running.
    Off,
    /// Started, not ready yet.
    Starting,
    /// Ready.
    On,
    /// Keeps its memory, does nothing.
    Paused,
    /// Stopped by itself.
    Failed,
}

/// An appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// Names it to the machine.
    pub id: VmId,
    /// Names it to people.
    pub name: String,
    /// How it is.
    pub running: Running,
    /// Number of the frame it shows now; `None` without a picture.
    pub frame: Option<u64>,
    /// Its volume, 0 to 100.
    pub volume: u8,
    /// It starts when the box does.
    pub autostart: bool,
}

impl Appliance {
    /// Whether it uses memory and processor now.
    pub fn is_alive(&self) -> bool {
        matches!(self.running, Running::Starting | Running::On | Running::Paused)
    }
}

/// Local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 is Monday.
    pub weekday: u8,
    /// Of the month, from 1.
    pub day: u8,
    /// From 1.
    pub month: u8,
}

/// What is known of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// How far it reaches.
    pub reach: Reach,
    /// The box's name in the house.
    pub name: String,
    /// Its address, as text; empty without one.
    pub address: String,
}

/// How far the network reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// No cable or no address.
    #[default]
    Nowhere,
    /// The house.
    House,
    /// The world.
    Internet,
}

/// What is known of newer versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// The box can't look for any.
    #[default]
    Unsupported,
    /// There is none.
    None,
    /// So many percent are here.
    Loading(u8),
    /// It can be installed.
    Ready,
}

/// The disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Gigabytes (10⁹ bytes) in use.
    pub used: u32,
    /// Gigabytes in all.
    pub total: u32,
    /// Whether the disk says that it will fail; `None`: it is not asked.
    pub ailing: Option<bool>,
}

/// The box, in plain words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Of Hearth.
    pub version: String,
    /// The processor's name.
    pub processor: String,
    /// Gigabytes (2³⁰ bytes).
    pub memory: u32,
    /// What keeps the appliances apart ("AMD-V").
    pub isolation: String,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// An appliance stopped by itself.
    Stopped(VmId),
    /// An appliance stops whenever it is started.
    KeepsFailing(VmId),
    /// Hardly any room is left.
    DiskFull,
    /// No network.
    Offline,
    /// A new version did not work and was taken back.
    UpdateFailed,
}

/// All the interface knows of the house; the machine tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct House {
    /// What is installed, in the order of the tiles.
    pub appliances: Vec<Appliance>,
    /// Whether that is known already.
    pub known: bool,
    /// What time it is; `None` while nobody knows.
    pub clock: Option<Clock>,
    /// The network.
    pub network: Network,
    /// Newer versions.
    pub update: Update,
    /// The disk.
    pub storage: Storage,
    /// The box.
    pub machine: Machine,
    /// What went wrong and was not looked at yet, the newest first.
    pub troubles: Vec<Trouble>,
}

impl House {
    /// The appliance of that name, if it is still there.
    pub fn appliance(&self, id: VmId) -> Option<&Appliance> {
        self.appliances.iter().find(|appliance| appliance.id == id)
    }
}

/// The interface's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where the viewer is.
    pub place: Place,
    /// What was focused last; [`State::focus`] says what is.
    pub(super) wanted: Id,
    /// What was focused on the launcher when it was left.
    pub(super) launcher_focus: Id,
    /// What is set.
    pub settings: Settings,
    /// What there is.
    pub house: House,
    /// How often the volume was changed; a change shows the volume for a moment.
    pub volume_changes: u32,
}

impl State {
    /// The beginning: the launcher, where a box that was never set up offers the first run.
    pub fn new(settings: Settings) -> Self {
        let wanted = if settings.set_up { Id::OpenSettings } else { Id::SetUp };
        let (place, house) = (Place::Launcher, House::default());
        Self { place, wanted, launcher_focus: wanted, settings, house, volume_changes: 0 }
    }

    /// The texts in the viewer's language.
    pub fn words(&self) -> &'static Words {
        self.settings.language.words()
    }

    /// The look.
    pub fn theme(&self) -> &'static Theme {
        self.settings.look.theme()
    }
}

impl State {
    /// Shows `place` without having come from anywhere, as previews and a start into an
    /// appliance want it.
    pub fn show(&mut self, place: Place) {
        self.wanted = place.first_focus(place, self);
        self.place = place;
    }

    /// Gives `id` the focus, if it can have it here.
    pub fn focus_on(&mut self, id: Id) {
        self.wanted = id;
    }
}
