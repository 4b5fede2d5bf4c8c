//! The television: one task that has the screen and the keys.
//!
//! Keys and what the house tells change a state, the state is drawn, and what it wants done is done. It
//! draws when something changes and no more than sixty times a second, and in pieces, so that no task
//! waits for a whole picture.

mod desk;
mod facts;

pub use desk::Desk;

use crate::appliances::Clock;
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
use management::display::Display;
use management::executor::Handle;
use management::remote::{Key, Keys, Presses};
use management::supervisor::Wish;
use management::tv::{self, Pace};
use ui::tv::{Command, Event, Painter, Place, Settings, State, VmId, update};

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;
/// Pixels that are drawn or shown before other tasks have a turn.
const PIECE: u32 = 32 << 10;
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
}

/// What ends a wait.
enum Woken {
    Key(Key, bool),
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
                Woken::Key(key, down) => {
                    let now = self.now();
                    self.pace.touched(now);
                    if let Some((key, press)) = self.presses.key(key, down, now) {
                        self.on(Event::Key(tv::key(key), tv::press(press)));
                    }
                }
                Woken::News => {
                    self.keys.extend(self.desk.take_keys());
                    while let Some(event) = self.desk.take() {
                        self.on(event);
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
        poll_fn(|context| {
            for keys in &mut *keys {
                if let Poll::Ready((key, down)) = keys.poll_key(context) {
                    return Poll::Ready(Woken::Key(key, down));
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

    /// Something has happened.
    fn on(&mut self, event: Event) {
        let (state, command) = update(self.state.clone(), event);
        if state != self.state {
            self.pace.stale();
            self.state = state;
        }
        self.desk.set_front(front(&self.state));
        self.carry_out(command);
    }

    fn carry_out(&self, command: Command) {
        match command {
            Command::Start(vm) => self.desk.wish(vm, Wish::Start),
            Command::Close(vm) => self.desk.wish(vm, Wish::Stop),
            Command::Restart(vm) => self.desk.wish(vm, Wish::Restart),
            Command::VolumeOf(vm, volume) => self.desk.set_volume(vm, volume),
            Command::Reconnect => self.desk.reconnect(),
            Command::RestartBox => self.end(hypercall::restart_machine),
            Command::PowerOff => self.end(hypercall::switch_machine_off),
            Command::None
            | Command::Front(_)
            | Command::Pass(..)
            | Command::Autostart(..)
            | Command::Settings(_)
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

    /// Draws what is to be seen now.
    async fn draw(&mut self, now: u64) {
        let damage = self.painter.plan(&self.state, now);
        for piece in damage.iter().copied().flat_map(pieces) {
            self.painter.draw(piece, &());
            self.handle.give_way().await;
        }
        // The screen never shows what is drawn by half.
        for piece in damage.into_iter().flat_map(pieces) {
            self.display.present(self.painter.surface().pixels(), piece);
            self.handle.give_way().await;
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
