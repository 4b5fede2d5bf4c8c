//! What the television and the rest of the house tell each other.

use super::sound::Levels;
use crate::appliances::{Mail, Network, Remote, Screen, SoundCard};
use crate::hypercall;
use crate::log::event;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use hv_abi::appliance::Appliance;
use management::executor::Signal;
use management::remote::Keys;
use management::storage::settings::Kept;
use management::supervisor::{self, State, Wish};
use management::tv::Roster;
use management::virtio::gpu::Mode;
use management::virtio::input::InputEvent;
use ui::tv::{Event, Settings, VmId};

/// How urgent a VM is that is looked at, and one that is not (ABI.md, "Manifest").
const FRONT: u64 = 1;
const BACK: u64 = 2;

/// What the television needs of a VM.
pub struct Faces {
    /// hv's number for it.
    pub number: u64,
    /// Its appliance's name.
    pub name: String,
    /// Its screen.
    pub screen: Option<Screen>,
    /// Its remote control.
    pub remote: Option<Remote>,
    /// Its sound card.
    pub sound: Option<SoundCard>,
}

/// A guest's sound card.
pub struct Player {
    /// Whose it is.
    pub vm: VmId,
    /// Its appliance's name.
    pub name: String,
    /// The card.
    pub card: SoundCard,
}

/// Lies between the television and the house.
#[derive(Default)]
pub struct Desk {
    /// Somebody reads what is told: there is a television.
    read: Cell<bool>,
    news: RefCell<VecDeque<Event>>,
    keys: RefCell<Vec<Box<dyn Keys>>>,
    /// There are news or keys.
    pub came: Signal,
    roster: RefCell<Roster>,
    /// Who looks after each appliance, by its number.
    mails: RefCell<Vec<Rc<Mail>>>,
    /// The VMs of those that have one.
    running: RefCell<BTreeMap<u16, Faces>>,
    /// What guests' screens show.
    mode: Cell<Option<Mode>>,
    /// Who is looked at.
    front: Cell<Option<VmId>>,
    /// Who is to be heard.
    playing: RefCell<BTreeSet<u16>>,
    /// There are other sound cards than before.
    pub recabled: Signal,
    network: RefCell<Option<Rc<Network>>>,
    /// An appliance does something else than before.
    moved: Signal,
    /// What is set, if it changed since it was last kept, and that it did.
    set: Cell<Option<Settings>>,
    /// What is set.
    settings: Cell<Settings>,
    changed: Signal,
}

impl Desk {
    /// From now on somebody takes what is told.
    pub fn open(&self) {
        self.read.set(true);
    }

    /// Tells the television.
    pub fn tell(&self, event: Event) {
        if self.read.get() {
            self.news.borrow_mut().push_back(event);
            self.came.raise();
        }
    }

    /// What was told first and not taken yet.
    pub fn take(&self) -> Option<Event> {
        self.news.borrow_mut().pop_front()
    }

    /// Gives the television more keyboards.
    pub fn add_keys(&self, keys: Vec<Box<dyn Keys>>) {
        self.keys.borrow_mut().extend(keys);
        self.came.raise();
    }

    /// Takes those that were given.
    pub fn take_keys(&self) -> Vec<Box<dyn Keys>> {
        self.keys.take()
    }

    /// An appliance that is looked after by whoever has the other end of `mail`.
    pub fn add(&self, appliance: &Appliance, mail: &Rc<Mail>) -> VmId {
        self.mails.borrow_mut().push(Rc::clone(mail));
        self.roster.borrow_mut().add(appliance)
    }

    /// Tells the television which appliances there are; it knows them from now on, even if they are none.
    pub fn tell_appliances(&self) {
        self.tell(Event::Appliances(self.roster.borrow().all()));
    }

    /// An appliance does that now.
    pub fn is_now(&self, vm: VmId, state: State) {
        let trouble = self.roster.borrow_mut().is_now(vm, state);
        self.tell_appliances();
        if let Some(trouble) = trouble {
            self.tell(Event::Trouble(trouble));
        }
        self.moved.raise();
    }

    /// An appliance has a VM now.
    pub fn runs_as(&self, vm: VmId, faces: Faces) {
        self.running.borrow_mut().insert(vm.0, faces);
        if self.front.get() == Some(vm) {
            self.set_class(vm, FRONT);
        }
        self.recabled.raise();
        self.came.raise();
    }

    /// What the log calls it.
    pub fn name(&self, vm: VmId) -> String {
        self.roster.borrow().name(vm).into()
    }

    /// It has none any more.
    pub fn is_gone(&self, vm: VmId) {
        self.running.borrow_mut().remove(&vm.0);
        self.recabled.raise();
        self.roster.borrow_mut().shows(vm, false);
        self.tell_appliances();
    }

    /// The screens of all guests that have one.
    pub fn screens(&self) -> Vec<(VmId, Screen)> {
        let running = self.running.borrow();
        let screens = running.iter().map(|(&id, faces)| (VmId(id), faces.screen.clone()));
        screens.filter_map(|(id, screen)| Some((id, screen?))).collect()
    }

    /// The sound cards of all guests that have one.
    pub fn players(&self) -> Vec<Player> {
        let running = self.running.borrow();
        let players = running.iter().map(|(&id, faces)| {
            let card = faces.sound.clone()?;
            Some(Player { vm: VmId(id), name: faces.name.clone(), card })
        });
        players.flatten().collect()
    }

    /// How loud everything is.
    pub fn levels(&self) -> Levels {
        let Settings { volume, muted, night_sound, .. } = self.settings.get();
        Levels { volume, muted, night_sound }
    }

    /// How loud an appliance is, in percent.
    pub fn volume(&self, vm: VmId) -> u8 {
        self.roster.borrow().volume(vm)
    }

    /// A guest is to be heard, or no longer. One that is gets the CPUs as one that is looked at.
    pub fn plays(&self, vm: VmId, plays: bool) {
        let mut playing = self.playing.borrow_mut();
        let changes = if plays { playing.insert(vm.0) } else { playing.remove(&vm.0) };
        drop(playing);
        if changes {
            self.set_class(vm, self.class(vm));
        }
    }

    fn class(&self, vm: VmId) -> u64 {
        let urgent = self.front.get() == Some(vm) || self.playing.borrow().contains(&vm.0);
        if urgent { FRONT } else { BACK }
    }

    /// A key is down or up, by Linux's number, for a guest.
    pub fn send_key(&self, vm: VmId, code: u16, down: bool) {
        if let Some(Faces { remote: Some(remote), .. }) = self.running.borrow().get(&vm.0) {
            // A guest that does not listen learns later which keys are still down.
            remote.borrow_mut().device_mut().send(&[InputEvent::key(code, down)]);
        }
    }

    /// An appliance shows another picture, or none.
    pub fn shows(&self, vm: VmId, picture: bool) {
        self.roster.borrow_mut().shows(vm, picture);
    }

    /// What guests' screens show: what the television can show in its own pixels.
    pub fn mode(&self) -> Mode {
        self.mode.get().unwrap_or(Mode::Hd)
    }

    /// See [`Desk::mode`].
    pub fn set_mode(&self, mode: Mode) {
        self.mode.set(Some(mode));
    }

    /// Who is looked at gets the CPUs before those that are not.
    pub fn set_front(&self, vm: Option<VmId>) {
        let before = self.front.replace(vm);
        if before != vm {
            for vm in [before, vm].into_iter().flatten() {
                self.set_class(vm, self.class(vm));
            }
        }
    }

    fn set_class(&self, vm: VmId, class: u64) {
        if let Some(faces) = self.running.borrow().get(&vm.0)
            && let Err(refused) = hypercall::set_class(faces.number, class)
        {
            event!(Warn, "mgmt.trouble", what = "a VM is not as urgent as it should be", why = refused);
        }
    }

    /// Wishes something of an appliance.
    pub fn wish(&self, vm: VmId, wish: Wish) {
        if let Some(mail) = self.mails.borrow().get(usize::from(vm.0)) {
            mail.send(supervisor::Event::Wish(wish));
        }
    }

    /// Its volume is so many percent.
    pub fn set_volume(&self, vm: VmId, volume: u8) {
        self.roster.borrow_mut().set_volume(vm, volume);
    }

    /// It starts with the box, or not.
    pub fn set_autostart(&self, vm: VmId, autostart: bool) {
        self.roster.borrow_mut().set_autostart(vm, autostart);
    }

    /// Whether it does.
    pub fn starts(&self, vm: VmId) -> bool {
        self.roster.borrow().starts(vm)
    }

    /// This is set now, and is to be kept.
    pub fn set(&self, settings: Settings) {
        self.settings.set(settings);
        self.set.set(Some(settings));
        self.changed.raise();
    }

    /// What was kept counts again.
    pub fn recall(&self, kept: &Kept) {
        self.roster.borrow_mut().recall(&kept.appliances);
        self.settings.set(kept.settings());
        self.tell(Event::Settings(kept.settings()));
    }

    /// The next thing to be kept. One task may ask.
    pub async fn to_keep(&self) -> Kept {
        loop {
            if let Some(settings) = self.set.take() {
                return Kept::new(&settings, self.roster.borrow().chosen());
            }
            self.changed.wait().await;
        }
    }

    /// Wishes that every appliance stop, and waits until none runs. One task at a time may.
    pub async fn all_stopped(&self) {
        for mail in &*self.mails.borrow() {
            mail.send(supervisor::Event::Wish(Wish::Stop));
        }
        while !self.roster.borrow().is_quiet() {
            self.moved.wait().await;
        }
    }

    /// The network is there.
    pub fn set_network(&self, network: &Rc<Network>) {
        *self.network.borrow_mut() = Some(Rc::clone(network));
    }

    /// Asks for a network address again.
    pub fn reconnect(&self) {
        if let Some(network) = &*self.network.borrow() {
            network.reconnect();
        }
    }
}
