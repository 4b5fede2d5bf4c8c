//! The television: one task that has the screen and the keys.
//!
//! Keys and what the house tells change a state, the state is drawn, and what it wants done is done. It
//! draws when something changes and no more than sixty times a second.

mod desk;
mod drawing;
mod facts;
mod gallery;
mod sound;

pub use desk::{Desk, Faces};
pub use sound::listen;

use crate::appliances::Clock;
use crate::drivers::framebuffer::Framebuffer;
use crate::drivers::{self, ps2};
use crate::entry::Handover;
use crate::hypercall;
use crate::log::event;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use gallery::{Gallery, area, in_own_size};
use management::display::Display;
use management::executor::Handle;
use management::remote::{Key, Keys, Presses};
use management::supervisor::Wish;
use management::tv::{self, Pace, Record};
use management::virtio::gpu::{Changes, Mode};
use ui::tv::state::{Appliance, Running};
use ui::tv::{Command, Event, Painter, Pictures, Place, Settings, State, VmId, update};

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;
/// Most parts of a picture that are noted: after that it is all of it.
const MOST_FRESH: usize = 64;
/// How long appliances may take to stop before the box ends all the same: each may take half a minute.
const LAST_PATIENCE: u64 = 40_000 * MILLI;

/// The television.
struct Television {
    handle: Handle,
    desk: Rc<Desk>,
    display: Box<dyn Display>,
    keys: Vec<Box<dyn Keys>>,
    presses: Presses,
    pace: Pace,
    state: State,
    painter: Painter,
    /// The screen that was drawn last.
    shown: &'static str,
    /// Parts of the picture that is watched, which are new and go to the screen as they are.
    fresh: Vec<Rectangle>,
    /// Guests that show something new in a tile or behind something else.
    moved: Vec<VmId>,
    /// Keys that are down, of which a guest was told.
    passed: Vec<Passed>,
    /// What was drawn, for the log.
    record: Record,
}

/// A key that is down, of which a guest was told: by Linux's numbers, what was pressed and what it heard.
struct Passed {
    vm: VmId,
    pressed: u16,
    heard: u16,
}

/// What ends a wait.
enum Woken {
    Key(u16, bool),
    Screen(VmId, Changes),
    News,
    Time,
}

/// The screen that the door found, or else the first one that there is a driver for.
async fn find_display(handle: &Handle, handover: &Handover) -> Option<Box<dyn Display>> {
    let (driver, display) = match Framebuffer::open(handover.screen) {
        Ok(display) => ("framebuffer", Box::new(display) as Box<dyn Display>),
        Err(refused) => {
            let Some(display) = drivers::screen(handle).await else {
                event!(Warn, "ui.none", what = "there is no screen that can be drawn on", why = refused);
                return None;
            };
            ("virtio-gpu", display)
        }
    };
    let Size { width, height } = display.size();
    event!(Info, "display.found", driver = driver, mode = format_args!("{width}x{height}"));
    Some(display)
}

/// Begins with the screen that there is. Without one, nobody reads what is told.
pub async fn begin(handle: &Handle, handover: &Handover, desk: &Rc<Desk>, clock: &Rc<Clock>) {
    let Some(display) = find_display(handle, handover).await else { return };
    match ps2::Keyboard::begin(handle) {
        Ok(Some(keyboard)) => {
            event!(Info, "input.found", driver = "ps2");
            desk.add_keys([Box::new(keyboard) as Box<dyn Keys>].into());
        }
        Ok(None) => {}
        Err(refused) => event!(Warn, "input.unusable", driver = "ps2", what = refused),
    }
    let painter = match Painter::new(display.size()) {
        Ok(painter) => painter,
        Err(what) => {
            event!(Error, "ui.none", what = what);
            return;
        }
    };
    let Size { width, height } = display.size();
    let is_large = width >= Mode::FullHd.size().0 && height >= Mode::FullHd.size().1;
    desk.set_mode(if is_large { Mode::FullHd } else { Mode::Hd });
    desk.open();
    desk.tell(Event::Machine(facts::machine(handover)));
    let now = handle.now() / MILLI;
    let television = Television {
        handle: handle.clone(),
        desk: Rc::clone(desk),
        display,
        keys: Vec::new(),
        presses: Presses::default(),
        pace: Pace::new(now),
        state: State::new(Settings::default()),
        painter,
        shown: "",
        fresh: Vec::new(),
        moved: Vec::new(),
        passed: Vec::new(),
        record: Record::default(),
    };
    let time = facts::tell_time(handle.clone(), Rc::clone(clock), Rc::clone(desk));
    let spawned = [handle.spawn("clock", time), handle.spawn("tv", television.run())];
    if spawned.iter().any(Result::is_err) {
        event!(Error, "ui.none", what = "there are too many tasks");
    }
}

impl Television {
    async fn run(mut self) {
        loop {
            match self.next().await {
                Woken::Key(code, down) => self.key(code, down),
                Woken::Screen(vm, changes) => self.see(vm, changes),
                Woken::News => {
                    self.keys.extend(self.desk.take_keys());
                    while let Some(event) = self.desk.take() {
                        self.on(event);
                    }
                    if self.state.house.known {
                        self.pace.known();
                    }
                }
                Woken::Time => {}
            }
            let now = self.now();
            while let Some((key, press)) = self.presses.due(now) {
                self.on(Event::Key(tv::key(key), tv::press(press)));
            }
            if self.pace.is_idle(self.state.settings.screen_off_after, now) {
                self.on(Event::Idle);
            }
            if self.pace.glimpse(now) {
                for vm in core::mem::take(&mut self.moved) {
                    self.desk.shows(vm, true);
                }
                self.desk.tell_appliances();
            }
            if self.pace.draw(now) {
                self.draw(now).await;
            }
        }
    }

    /// Milliseconds since some moment.
    fn now(&self) -> u64 {
        self.handle.now() / MILLI
    }

    /// Waits for a key, for news, or until something is due.
    async fn next(&mut self) -> Woken {
        let idle = self.pace.deadline(self.state.settings.screen_off_after);
        let deadline = idle.into_iter().chain(self.presses.deadline()).min();
        let mut alarm = deadline.map(|deadline| self.handle.sleep_until(deadline * MILLI));
        let (keys, came) = (&mut self.keys, &self.desk.came);
        let screens = self.desk.screens();
        poll_fn(|context| {
            for keys in &mut *keys {
                if let Poll::Ready((code, down)) = keys.poll_key(context) {
                    return Poll::Ready(Woken::Key(code, down));
                }
            }
            for (vm, screen) in &screens {
                if let Poll::Ready(changes) = screen.borrow_mut().device_mut().poll_changes(context) {
                    return Poll::Ready(Woken::Screen(*vm, changes));
                }
            }
            if came.poll(context).is_ready() {
                return Poll::Ready(Woken::News);
            }
            match &mut alarm {
                Some(alarm) => Pin::new(alarm).poll(context).map(|()| Woken::Time),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// A key is down or up, by Linux's number: for the guest that is watched, or for the interface.
    fn key(&mut self, code: u16, down: bool) {
        let now = self.now();
        self.pace.touched(now);
        let told = self.passed.iter().position(|passed| passed.pressed == code);
        match (told, self.state.place) {
            (Some(at), _) if !down => {
                let Passed { vm, heard, .. } = self.passed.swap_remove(at);
                self.desk.send_key(vm, heard, false);
            }
            (Some(_), _) => {}
            (None, Place::Watching(vm)) if down && let Some(heard) = tv::for_guest(code) => {
                self.passed.push(Passed { vm, pressed: code, heard });
                self.desk.send_key(vm, heard, true);
            }
            (None, _) => {
                if let Some(key) = Key::from_evdev(code)
                    && let Some((key, press)) = self.presses.key(key, down, now)
                {
                    self.on(Event::Key(tv::key(key), tv::press(press)));
                }
            }
        }
    }

    /// A guest shows something new.
    fn see(&mut self, vm: VmId, changes: Changes) {
        let screens = self.desk.screens();
        let gallery = Gallery::open(&screens);
        let picture = gallery.picture(vm);
        let known = self.state.house.appliance(vm).is_some_and(|appliance| appliance.frame.is_some());
        if known != picture.is_some() {
            self.desk.shows(vm, picture.is_some());
            self.desk.tell_appliances();
        } else if self.is_alone(vm)
            && picture.is_some_and(|shown| in_own_size(&shown, self.display.size()).is_some())
        {
            self.fresh.extend(changes.damage.into_iter().map(area));
            if self.fresh.len() > MOST_FRESH {
                let everything = Rectangle::new(Point::zero(), self.display.size());
                self.fresh = [everything].into();
            }
            self.pace.stale();
        } else if picture.is_some() {
            if !self.moved.contains(&vm) {
                self.moved.push(vm);
            }
            self.pace.moved();
        }
    }

    /// Whether there is nothing but a guest's picture on the screen.
    fn is_alone(&self, vm: VmId) -> bool {
        let runs = |appliance: &Appliance| appliance.running == Running::On;
        self.state.place == Place::Watching(vm)
            && self.state.house.appliance(vm).is_some_and(runs)
            && !self.painter.in_motion(self.now())
    }

    /// Something has happened.
    fn on(&mut self, event: Event) {
        let is_key = matches!(event, Event::Key(..));
        let (state, command) = update(self.state.clone(), event);
        if state != self.state {
            if is_key {
                self.record.key(self.handle.now());
            }
            self.pace.stale();
            self.state = state;
        }
        self.desk.set_front(front(&self.state));
        if !matches!(self.state.place, Place::Watching(_)) {
            for Passed { vm, heard, .. } in self.passed.drain(..) {
                self.desk.send_key(vm, heard, false);
            }
        }
        self.carry_out(command);
    }

    fn carry_out(&self, command: Command) {
        match command {
            Command::Start(vm) => self.desk.wish(vm, Wish::Start),
            Command::Close(vm) => self.desk.wish(vm, Wish::Stop),
            Command::Restart(vm) => self.desk.wish(vm, Wish::Restart),
            Command::VolumeOf(vm, volume) => {
                self.desk.set_volume(vm, volume);
                self.desk.set(self.state.settings);
            }
            Command::Autostart(vm, autostart) => {
                self.desk.set_autostart(vm, autostart);
                self.desk.set(self.state.settings);
            }
            Command::Settings(settings) => self.desk.set(settings),
            Command::Reconnect => self.desk.reconnect(),
            Command::RestartBox => self.end(hypercall::restart_machine),
            Command::PowerOff => self.end(hypercall::switch_machine_off),
            Command::None
            | Command::Front(_)
            | Command::Pass(..)
            | Command::LookForUpdate
            | Command::InstallUpdate
            | Command::ScreenOff
            | Command::ScreenOn => {}
        }
    }

    /// Stops all appliances, and then the box.
    fn end(&self, how: fn() -> hypercall::Outcome) {
        let (handle, desk) = (self.handle.clone(), Rc::clone(&self.desk));
        let end = async move {
            handle.within(LAST_PATIENCE, desk.all_stopped()).await;
            if let Err(refused) = how() {
                event!(Warn, "mgmt.trouble", what = "the box does not end", why = refused);
            }
        };
        if self.handle.spawn("end", end).is_err() {
            event!(Warn, "mgmt.trouble", what = "the box does not end", why = "there are too many tasks");
        }
    }
}

/// Whose picture is on the screen.
fn front(state: &State) -> Option<VmId> {
    match state.place {
        Place::Watching(vm) | Place::Overlay(vm) | Place::Ask { vm, over_picture: true, .. } => Some(vm),
        _ => None,
    }
}
