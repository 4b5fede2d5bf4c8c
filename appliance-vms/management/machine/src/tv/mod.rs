//! The television: one task that has the screen and the keys.
//!
//! Keys and what the house tells change a state, the state is drawn, and what it wants done is done. It
//! draws when something changes and no more than sixty times a second, and in pieces, so that no task
//! waits for a whole picture.

mod desk;
mod facts;
mod gallery;
mod sound;

pub use desk::{Desk, Faces};
pub use sound::listen;

use crate::appliances::{Clock, Screen};
use crate::drivers::framebuffer::Framebuffer;
use crate::drivers::ps2;
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
use management::tv::{self, Pace};
use management::virtio::gpu::{Changes, Mode};
use ui::tv::state::{Appliance, Running};
use ui::tv::{Command, Event, Painter, Pictures, Place, Settings, State, VmId, update};

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;
/// Pixels that are drawn or shown before other tasks have a turn.
const PIECE: u32 = 32 << 10;
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
    /// Keys that are down, and the guest that was told.
    passed: Vec<(VmId, Key)>,
}

/// What ends a wait.
enum Woken {
    Key(Key, bool),
    Screen(VmId, Changes),
    News,
    Time,
}

/// Begins with the screen that the door found. Without one, nobody reads what is told.
pub fn begin(handle: &Handle, handover: &Handover, desk: &Rc<Desk>, clock: &Rc<Clock>) {
    let display = match Framebuffer::open(handover.screen) {
        Ok(display) => display,
        Err(refused) => {
            event!(Warn, "ui.none", what = "there is no screen that can be drawn on", why = refused);
            return;
        }
    };
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
    event!(Info, "display.found", driver = "framebuffer", mode = format_args!("{width}x{height}"));
    let is_large = width >= Mode::FullHd.size().0 && height >= Mode::FullHd.size().1;
    desk.set_mode(if is_large { Mode::FullHd } else { Mode::Hd });
    desk.open();
    desk.tell(Event::Machine(facts::machine(handover)));
    let now = handle.now() / MILLI;
    let television = Television {
        handle: handle.clone(),
        desk: Rc::clone(desk),
        display: Box::new(display),
        keys: Vec::new(),
        presses: Presses::default(),
        pace: Pace::new(now),
        state: State::new(Settings::default()),
        painter,
        shown: "",
        fresh: Vec::new(),
        moved: Vec::new(),
        passed: Vec::new(),
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
                Woken::Key(key, down) => self.key(key, down),
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
                if let Poll::Ready((key, down)) = keys.poll_key(context) {
                    return Poll::Ready(Woken::Key(key, down));
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

    /// A key is down or up: for the guest that is watched, or for the interface.
    fn key(&mut self, key: Key, down: bool) {
        let now = self.now();
        self.pace.touched(now);
        let told = self.passed.iter().position(|passed| passed.1 == key);
        match (told, self.state.place) {
            (Some(at), _) if !down => {
                let (vm, _) = self.passed.swap_remove(at);
                self.desk.send_key(vm, key, false);
            }
            (None, Place::Watching(vm)) if down && tv::is_guests(key) => {
                self.passed.push((vm, key));
                self.desk.send_key(vm, key, true);
            }
            (Some(_), _) => {}
            (None, _) => {
                if let Some((key, press)) = self.presses.key(key, down, now) {
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
        let (state, command) = update(self.state.clone(), event);
        if state != self.state {
            self.pace.stale();
            self.state = state;
        }
        self.desk.set_front(front(&self.state));
        if !matches!(self.state.place, Place::Watching(_)) {
            for (vm, key) in self.passed.drain(..) {
                self.desk.send_key(vm, key, false);
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

    /// Shows a part of a guest's picture as it is.
    fn pass_on(&mut self, vm: VmId, piece: Rectangle, screens: &[(VmId, Screen)]) {
        let gallery = Gallery::open(screens);
        if let Some(picture) = gallery.picture(vm)
            && let Some(at) = in_own_size(&picture, self.display.size())
        {
            let stride = picture.stride as usize;
            let pixels = picture.pixels.get(start(piece, stride)..).unwrap_or_default();
            self.display.present(Rectangle::new(at + piece.top_left, piece.size), pixels, stride);
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

    /// Draws what is to be seen now.
    async fn draw(&mut self, now: u64) {
        let damage = self.painter.plan(&self.state, now);
        let screens = self.desk.screens();
        for piece in damage.iter().copied().flat_map(pieces) {
            self.painter.draw(piece, &Gallery::open(&screens));
            self.handle.give_way().await;
        }
        // The screen never shows what is drawn by half.
        for piece in damage.into_iter().flat_map(pieces) {
            let surface = self.painter.surface();
            let stride = surface.size().width as usize;
            let pixels = surface.pixels().get(start(piece, stride)..).unwrap_or_default();
            self.display.present(piece, pixels, stride);
            self.handle.give_way().await;
        }
        let fresh = core::mem::take(&mut self.fresh);
        if let Place::Watching(vm) = self.state.place
            && self.is_alone(vm)
        {
            for piece in fresh.into_iter().flat_map(pieces) {
                self.pass_on(vm, piece, &screens);
                self.handle.give_way().await;
            }
        }
        let name = self.state.place.name();
        if name != self.shown {
            self.shown = name;
            event!(Info, "ui.frame", screen = name);
        }
        if self.painter.in_motion(now) {
            self.pace.stale();
        }
    }
}

/// The first pixel of an area, in pixels that have so many a line.
fn start(area: Rectangle, stride: usize) -> usize {
    area.top_left.y.unsigned_abs() as usize * stride + area.top_left.x.unsigned_abs() as usize
}

/// Whose picture is on the screen.
fn front(state: &State) -> Option<VmId> {
    match state.place {
        Place::Watching(vm) | Place::Overlay(vm) | Place::Ask { vm, over_picture: true, .. } => Some(vm),
        _ => None,
    }
}

/// An area in pieces of about [`PIECE`] pixels: some lines each.
fn pieces(area: Rectangle) -> impl Iterator<Item = Rectangle> {
    let lines = (PIECE / area.size.width.max(1)).max(1);
    (0..area.size.height).step_by(lines as usize).map(move |y| {
        let height = lines.min(area.size.height - y);
        let at = area.top_left + Point::new(0, y.cast_signed());
        Rectangle::new(at, Size::new(area.size.width, height))
    })
}
