//! A house to look at: appliances, a film, and every screen.

use ui::tv::focus::Id;
use ui::tv::state::{
    Appliance, Clock, House, Machine, Network, Question, Reach, Running, Section, Step, Storage, Trouble,
    Update,
};
use ui::tv::{Picture, Pictures, Place, Settings, State, VmId};

/// What the film shows: a sunset over hills, 320×180.
pub struct Film;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;

impl Pictures for Film {
    fn picture(&self, _of: VmId) -> Option<Picture<'_>> {
        static PIXELS: std::sync::LazyLock<Vec<u32>> = std::sync::LazyLock::new(sunset);
        Some(Picture::new(WIDTH, &PIXELS))
    }
}

fn sunset() -> Vec<u32> {
    let at = |x: u32, y: u32| {
        let (dx, dy) = (x.abs_diff(220), y.abs_diff(96));
        let hill = 118 + (x.abs_diff(90) * x.abs_diff(90) / 420).min(40);
        let near = 140 + (x.abs_diff(250) * x.abs_diff(250) / 900).min(30);
        match () {
            () if y > near => 0x1b_2430,
            () if y > hill => 0x2b_3a4c,
            () if dx * dx + dy * dy < 22 * 22 => 0xff_e2a8,
            () => (0x50 + y) << 16 | (0x48 + y / 2) << 8 | (0x70 - y / 4),
        }
    };
    (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| at(x, y))).collect()
}

/// Four appliances, of which one runs, one starts, one is off, one failed.
pub fn house() -> House {
    let appliance = |id, name: &str, running, frame| Appliance {
        id: VmId(id),
        name: name.into(),
        running,
        frame,
        volume: 80,
        autostart: id == 1,
    };
    House {
        appliances: vec![
            appliance(1, "Television", Running::On, Some(1)),
            appliance(2, "Music", Running::On, None),
            appliance(3, "Games", Running::Starting, None),
            appliance(4, "Debian", Running::Off, None),
            appliance(5, "Photos", Running::Failed, None),
        ],
        known: true,
        clock: Some(Clock { hour: 20, minute: 15, weekday: 5, day: 28, month: 11 }),
        network: Network {
            reach: Reach::Internet,
            name: "hearth.local".into(),
            address: "192.168.178.20".into(),
        },
        update: Update::Ready,
        storage: Storage { used: 412, total: 1000, ailing: Some(false) },
        machine: Machine {
            version: "0.4.0".into(),
            processor: "AMD Ryzen 5 5600U".into(),
            memory: 16,
            isolation: "AMD-V".into(),
        },
        troubles: vec![Trouble::Stopped(VmId(5))],
    }
}

/// The house's state at `place`.
pub fn state(place: Place) -> State {
    let mut state = State::new(Settings { set_up: true, ..Settings::default() });
    state.house = house();
    state.show(place);
    state
}

/// Every screen with a name for its picture.
pub fn screens() -> Vec<(&'static str, State)> {
    let vm = VmId(1);
    let mut few = state(Place::Launcher);
    few.house.appliances.truncate(2);
    few.house.troubles.clear();
    few.house.network.reach = Reach::Nowhere;
    few.house.update = Update::Loading(40);
    let mut new = State::new(Settings::default());
    new.house = few.house.clone();
    let mut all = vec![
        ("launcher", state(Place::Launcher)),
        ("launcher-few", few),
        ("launcher-new", new),
        ("watching-starting", state(Place::Watching(VmId(3)))),
        ("overlay", state(Place::Overlay(vm))),
        ("ask", state(Place::Ask { question: Question::Restart, vm, over_picture: true })),
        ("settings", state(Place::Settings(Section::Sound))),
        ("settings-sound", state(Place::Section(Section::Sound))),
        ("settings-picture", state(Place::Section(Section::Picture))),
        ("settings-network", state(Place::Section(Section::Network))),
        ("settings-storage", state(Place::Section(Section::Storage))),
        ("settings-appliances", state(Place::Section(Section::Appliances))),
        ("settings-about", state(Place::Section(Section::About))),
        ("appliance", state(Place::Appliance(vm))),
        ("power", state(Place::Power)),
        ("trouble", state(Place::Trouble)),
        ("wizard-language", state(Place::Wizard(Step::Language))),
        ("wizard-look", state(Place::Wizard(Step::Look))),
        ("wizard-sound", state(Place::Wizard(Step::Sound))),
        ("wizard-network", state(Place::Wizard(Step::Network))),
        ("wizard-end", state(Place::Wizard(Step::End))),
    ];
    for (_, state) in &mut all {
        if state.place == Place::Launcher && state.settings.set_up {
            state.focus_on(Id::Tile(vm));
        }
    }
    all
}
