//! The appliances, as the television shows them.

use crate::storage::settings::Chosen;
use crate::supervisor::State;
use alloc::string::String;
use alloc::vec::Vec;
use hv_abi::appliance::{self, Start};
use ui::tv::VmId;
use ui::tv::state::{Appliance, Running, Trouble};

/// Volume of an appliance that nobody has changed, in percent.
const VOLUME: u8 = 100;

/// An appliance.
#[derive(Debug)]
struct Row {
    shown: Appliance,
    /// Its name, which stays what it is when its title changes.
    name: String,
    /// What it does.
    state: State,
    /// It is to have a picture.
    display: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Roster(Vec<Row>);

impl Roster {
    /// Adds one that does not run yet.
    pub fn add(&mut self, appliance: &appliance::Appliance) -> VmId {
        let id = VmId(self.0.len() as u16);
        let shown = Appliance {
            id,
            name: appliance.title.clone(),
            running: Running::Off,
            frame: None,
            volume: VOLUME,
            autostart: appliance.start == Start::Boot,
        };
        self.0.push(Row {
            shown,
            name: appliance.name.clone(),
            state: State::Stopped,
            display: appliance.devices.display,
        });
        id
    }

    /// Its name, which is empty if there is none.
    pub fn name(&self, id: VmId) -> &str {
        self.0.get(usize::from(id.0)).map_or("", |row| &row.name)
    }

    /// It does that now. What there is to tell the family of it, beside the state.
    pub fn is_now(&mut self, id: VmId, state: State) -> Option<Trouble> {
        let row = self.get(id)?;
        row.state = state;
        row.settle();
        (state == State::Failed).then_some(Trouble::KeepsFailing(id))
    }

    /// Its volume is so many percent.
    pub fn set_volume(&mut self, id: VmId, volume: u8) {
        if let Some(row) = self.get(id) {
            row.shown.volume = volume;
        }
    }

    /// Its volume in percent.
    pub fn volume(&self, id: VmId) -> u8 {
        self.0.get(usize::from(id.0)).map_or(VOLUME, |row| row.shown.volume)
    }

    /// Whether it starts with the box.
    pub fn set_autostart(&mut self, id: VmId, autostart: bool) {
        if let Some(row) = self.get(id) {
            row.shown.autostart = autostart;
        }
    }

    /// What was chosen before counts again; what is not there any more is passed over.
    pub fn recall(&mut self, chosen: &[Chosen]) {
        for row in &mut self.0 {
            if let Some(chosen) = chosen.iter().find(|chosen| chosen.name == row.name) {
                row.shown.volume = chosen.volume.min(100);
                row.shown.autostart = chosen.autostart;
            }
        }
    }

    /// What is chosen, to be kept.
    pub fn chosen(&self) -> Vec<Chosen> {
        let chosen = |row: &Row| Chosen {
            name: row.name.clone(),
            volume: row.shown.volume,
            autostart: row.shown.autostart,
        };
        self.0.iter().map(chosen).collect()
    }

    /// Whether it is to start when the box does.
    pub fn starts(&self, id: VmId) -> bool {
        self.0.get(usize::from(id.0)).is_some_and(|row| row.shown.autostart)
    }

    /// It shows another picture, or none.
    pub fn shows(&mut self, id: VmId, picture: bool) {
        if let Some(row) = self.get(id) {
            row.shown.frame = picture.then(|| row.shown.frame.map_or(0, |frame| frame.wrapping_add(1)));
            row.settle();
        }
    }

    /// What the television is told.
    pub fn all(&self) -> Vec<Appliance> {
        self.0.iter().map(|row| row.shown.clone()).collect()
    }

    /// Whether none runs, or is about to.
    pub fn is_quiet(&self) -> bool {
        !self.0.iter().any(|row| row.shown.is_alive())
    }

    fn get(&mut self, id: VmId) -> Option<&mut Row> {
        self.0.get_mut(usize::from(id.0))
    }
}

impl Row {
    fn settle(&mut self) {
        self.shown.running = match self.state {
            State::Stopped => Running::Off,
            State::Starting => Running::Starting,
            // One that is to have a picture is not there before it has one.
            State::Running if self.display && self.shown.frame.is_none() => Running::Starting,
            // Until it is gone it is there.
            State::Running | State::Ready | State::Stopping => Running::On,
            State::Failed => Running::Failed,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hv_abi::appliance::{Blob, Devices, Format, Kernel};

    fn appliance(title: &str, start: Start) -> appliance::Appliance {
        let image = Blob { offset: 0, len: 0, digest: [0; 32] };
        appliance::Appliance {
            name: "tv".into(),
            title: title.into(),
            cpus: 1,
            memory: 0,
            start,
            kernel: Kernel { format: Format::Linux, image, initrd: None, cmdline: String::new() },
            devices: Devices::default(),
            disks: Vec::new(),
        }
    }

    #[test]
    fn what_runs_is_shown_by_its_title() {
        let mut roster = Roster::default();
        let television = roster.add(&appliance("Television", Start::Boot));
        let games = roster.add(&appliance("Games", Start::Demand));
        assert!(roster.is_quiet());
        assert_eq!(roster.is_now(television, State::Running), None);
        roster.set_volume(games, 40);
        assert_eq!([television, games, VmId(9)].map(|id| roster.volume(id)), [100, 40, 100]);
        let shown = roster.all();
        let rows: Vec<_> =
            shown.iter().map(|one| (one.name.as_str(), one.running, one.volume, one.autostart)).collect();
        assert_eq!(rows, [("Television", Running::On, 100, true), ("Games", Running::Off, 40, false)]);
        assert!(!roster.is_quiet());
    }

    #[test]
    fn what_was_chosen_is_recalled() {
        let mut roster = Roster::default();
        let id = roster.add(&appliance("Television", Start::Boot));
        assert!(roster.starts(id));
        roster.set_autostart(id, false);
        roster.set_volume(id, 30);
        let mut chosen = roster.chosen();
        chosen.push(Chosen { name: "gone".into(), volume: 1, autostart: true });
        let mut other = Roster::default();
        let id = other.add(&appliance("TV", Start::Boot));
        other.recall(&chosen);
        assert!(!other.starts(id));
        assert_eq!(other.all().first().map(|one| one.volume), Some(30));
    }

    #[test]
    fn one_with_a_screen_starts_until_it_has_a_picture() {
        let mut roster = Roster::default();
        let mut appliance = appliance("Television", Start::Boot);
        appliance.devices.display = true;
        let id = roster.add(&appliance);
        let shown = |roster: &Roster| roster.all().first().map(|one| (one.running, one.frame));
        roster.is_now(id, State::Running);
        assert_eq!(shown(&roster), Some((Running::Starting, None)));
        roster.shows(id, true);
        assert_eq!(shown(&roster), Some((Running::On, Some(0))));
        roster.shows(id, true);
        assert_eq!(shown(&roster), Some((Running::On, Some(1))));
        roster.shows(id, false);
        roster.is_now(id, State::Stopped);
        assert_eq!(shown(&roster), Some((Running::Off, None)));
    }

    #[test]
    fn one_that_was_given_up_is_a_trouble() {
        let mut roster = Roster::default();
        let id = roster.add(&appliance("Games", Start::Demand));
        for state in [State::Starting, State::Running, State::Stopping, State::Stopped] {
            assert_eq!(roster.is_now(id, state), None);
        }
        assert_eq!(roster.is_now(id, State::Failed), Some(Trouble::KeepsFailing(id)));
        assert!(roster.is_quiet());
        assert_eq!(roster.is_now(VmId(9), State::Failed), None, "there is none of that name");
    }
}
