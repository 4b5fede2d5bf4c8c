//! Events of hv: which task has which.

use super::{Handle, Signal};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Deref;

/// How many events hv has.
pub const EVENTS: u32 = hv_abi::ioreq::EVENTS;

/// An event that somebody has. Its number is given to hv (a doorbell, a device's message, a VM's
/// requests) by whoever has it, and taken back before this is dropped: then the number is another's.
pub struct Event {
    handle: Handle,
    number: u32,
    signal: Rc<Signal>,
}

impl Event {
    pub(super) const fn new(handle: Handle, number: u32, signal: Rc<Signal>) -> Self {
        Self { handle, number, signal }
    }

    /// Its number, for hv.
    pub const fn number(&self) -> u32 {
        self.number
    }
}

impl Deref for Event {
    type Target = Signal;

    fn deref(&self) -> &Signal {
        &self.signal
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.handle.0.events.borrow_mut().free(self.number);
    }
}

/// The events by number, as far as they have been in use.
#[derive(Default)]
pub(super) struct Events(Vec<Option<Rc<Signal>>>);

impl Events {
    /// Takes the lowest number that nobody has.
    pub fn take(&mut self) -> Option<(u32, Rc<Signal>)> {
        let number = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if number >= EVENTS as usize {
            return None;
        }
        if number == self.0.len() {
            self.0.push(None);
        }
        let signal = Rc::new(Signal::default());
        *self.0.get_mut(number)? = Some(Rc::clone(&signal));
        Some((number as u32, signal))
    }

    pub fn get(&self, number: u32) -> Option<Rc<Signal>> {
        self.0.get(number as usize)?.clone()
    }

    fn free(&mut self, number: u32) {
        if let Some(place) = self.0.get_mut(number as usize) {
            *place = None;
        }
    }
}
